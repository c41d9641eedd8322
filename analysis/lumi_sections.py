"""Luminosity sections of which there are rows: what a luminosity is computed from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..protocol.errors import AnalysisError

SECTION_BITS = 32
"""Runs and sections are numbers of 32 bits; both together, the run in front, are the key of a section."""


class LumiSections:
    """An analysis: the sections of all rows, as a set of keys.

    Args:
        branches: names of the columns with a row's run and section.

    Example:
        >>> import awkward as ak
        >>> rows = ak.Array({"run": [1, 1, 1], "luminosityBlock": [7, 7, 8]})
        >>> by_run(LumiSections(("run", "luminosityBlock")).of_rows(rows))
        {'1': [[7, 8]]}
    """

    def __init__(self, branches: tuple[str, str]) -> None:
        self.branches = branches

    def of_file(self, rows: Any, file: Any) -> dict[str, set[int]]:
        """The sections of some rows of a file, by its path."""
        return {file.path: self.of_rows(rows)}

    def of_rows(self, rows: Any) -> set[int]:
        """The sections of some rows."""
        runs, sections = (np.asarray(rows[name]) for name in self.branches)
        for name, numbers in zip(self.branches, (runs, sections), strict=True):
            inside = not len(numbers) or (numbers.min() >= 0 and numbers.max() < 1 << (SECTION_BITS - 1))
            if numbers.dtype.kind not in ("u", "i") or not inside:
                raise AnalysisError(f"{name} is no number of a run or luminosity section: {numbers.dtype}")
        return set(np.unique((runs.astype(np.int64) << SECTION_BITS) + sections.astype(np.int64)).tolist())


def by_run(keys: Iterable[int]) -> dict[str, list[list[int]]]:
    """Sections as CMS' JSON files have them: ranges `[first, last]` by run, in their order."""
    found: dict[str, list[list[int]]] = {}
    for key in sorted(keys):
        run, section = str(key >> SECTION_BITS), key & ((1 << SECTION_BITS) - 1)
        ranges = found.setdefault(run, [])
        if ranges and ranges[-1][1] == section - 1:
            ranges[-1][1] = section
        else:
            ranges.append([section, section])
    return found
