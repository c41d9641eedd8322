"""What tests of clouds give to a pool, and ask it."""

from __future__ import annotations

from pathlib import Path

from eventmill.launch.pools.cloud import Cloud
from eventmill.launch.pools.pool import Assignment

TOKEN = "a-token-that-nobody-else-may-see"


def assigned(folder: Path, call: str = "1") -> Assignment:
    (folder / "token").touch(0o600)
    (folder / "token").write_text(TOKEN)
    return Assignment("burst", folder / "token", folder, f"eventmill-burst-{call}", "f00d")


def states(pool: Cloud, jobs: list[str]) -> list[str]:
    return [job.state for job in pool.listing(jobs).values()]
