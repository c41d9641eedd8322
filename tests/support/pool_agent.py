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
    with agent_of(fleet, file, "for the master at") as running:
        yield running


@contextlib.contextmanager
def agent_of(fleet: Standing, file: Path, says: str) -> Iterator[Running]:
    """The same with a file of pools; `says` are words by which it is known to be there."""
    running = Running("pool", "agent", str(file), "--master", fleet.name, state=fleet.state)
    try:
        running.wait_for(says)
        yield running
    finally:
        running.close()
