"""What real masters and workers are given to do in tests: the sum of numbers, as fast or as slow as a test wants it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import uproot

FILES, ENTRIES = 10, 10_000
SUM = FILES * sum(range(ENTRIES // FILES))


def write_numbers(folder: Path) -> em.Dataset:
    """Ten files that each have one branch, with the numbers from 0 to 999."""
    for file in range(FILES):
        with uproot.recreate(folder / f"{file}.root") as target:
            target.mktree("tree", {"number": "int64"}).extend({"number": np.arange(ENTRIES // FILES)})
    return em.Dataset(str(folder / "*.root"), tree="tree")


def total(events: ak.Array) -> int:
    return int(ak.sum(events.number))


class Gate:
    """Holds an analysis up: some files are processed at once, the query has no end before the gate is opened."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def open(self) -> None:
        self.file.touch()

    @property
    def total(self) -> Callable[..., int]:
        """The analysis: the sum of the numbers."""
        gate = str(self.file)

        def total(events: ak.Array, file: Any) -> int:
            import os
            import time

            time.sleep(0.06)
            while file.path[-6] >= "7" and not os.path.exists(gate):  # noqa: PTH110
                time.sleep(0.01)
            return int(ak.sum(events.number))

        return total

    @property
    def unhurried(self) -> Callable[..., int]:
        """The same for all files: slow until the gate is opened, so that there is a middle."""
        gate = str(self.file)

        def total(events: ak.Array) -> int:
            import os
            import time

            if not os.path.exists(gate):  # noqa: PTH110
                time.sleep(0.005 * len(events))
            return int(ak.sum(events.number))

        return total


def committed(query: em.Query) -> bool:
    """Whether some of it is, and not all."""
    return query.account.processed > 0 and query.state == "running"
