"""A launcher of its own for a standing master, as users start one beside a batch system."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from processes import Running, Standing


@contextlib.contextmanager
def agent(fleet: Standing, folder: Path, **pools: dict[str, object]) -> Iterator[Running]:
    """`eventmill pool agent` with these pools."""
    folder.mkdir(exist_ok=True)
    file = folder / "pools.json"
    file.write_text(json.dumps({name: {"system": "local", **settings} for name, settings in pools.items()}))
    running = Running("pool", "agent", str(file), "--master", fleet.name, state=fleet.state)
    try:
        running.wait_for("for the master at")
        yield running
    finally:
        running.close()
