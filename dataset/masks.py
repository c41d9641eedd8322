"""Run/lumi masks: which luminosity sections of which runs are good, as a "golden" JSON file says it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..packetizer.listed_entries import EntryList
from ..protocol.errors import DatasetError

BRANCHES = ("run", "luminosityBlock")
"""What NanoAOD calls the number of the run and that of the luminosity section."""
_BITS = 32
"""Runs and sections are numbers of 32 bits; both together, the run in front, are the key of a section."""


class Mask:
    """The good luminosity sections of some runs; an event of any other is not used.

    Args:
        sections: for each run its good sections as ranges `[first, last]`, the last one included.
        branches: names of the branches with an event's run and section.
        name: what messages call it.

    Raises:
        DatasetError: the sections are no such thing; names the run.

    Example:
        >>> mask = Mask({"194050": [[1, 3], [7, 7]]})
        >>> mask.entry_list(np.array([194050, 194050, 194050, 1]), np.array([3, 4, 7, 1])).runs()
        [0, 1, 2, 3]
    """

    def __init__(
        self, sections: Mapping[Any, Any], branches: tuple[str, str] = BRANCHES, name: str = "the mask"
    ) -> None:
        self.branches = branches
        if not isinstance(sections, Mapping):
            raise DatasetError(f'{name} is no dict of runs, such as {{"194050": [[1, 113], [117, 120]]}}')
        ranges = sorted(bounds for run, given in sections.items() for bounds in _ranges(run, given, name))
        self._bounds = np.array(_united(ranges), dtype=np.int64).reshape(-1)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], branches: tuple[str, str] = BRANCHES) -> Mask:
        """The mask in a JSON file. Raises `DatasetError` when there is none, or when it is malformed."""
        where = Path(path).expanduser()
        try:
            sections = json.loads(where.read_text())
        except OSError as error:
            raise DatasetError(f"the mask {where} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise DatasetError(f"the mask {where} is not JSON: {error}") from error
        return cls(sections, branches, f"the mask {where}")

    @classmethod
    def unpack(cls, packed: bytes | memoryview) -> Mask:
        """The mask that `pack` has packed."""
        content = json.loads(bytes(packed))
        mask = cls({}, tuple(content["branches"]))
        mask._bounds = np.array(content["bounds"], dtype=np.int64)
        return mask

    def pack(self) -> bytes:
        """The mask as it travels."""
        return json.dumps({"branches": self.branches, "bounds": self._bounds.tolist()}).encode()

    def entry_list(self, runs: NDArray[Any], sections: NDArray[Any]) -> EntryList:
        """The entries that the mask leaves, of those whose runs and sections these are."""
        if not len(runs) or not len(self._bounds):
            return EntryList([])
        # Sections last for many entries in a row, so that only where they change there is something to look up.
        changed = np.flatnonzero((runs[1:] != runs[:-1]) | (sections[1:] != sections[:-1])) + 1
        starts = np.concatenate([[0], changed])
        stops = np.concatenate([changed, [len(runs)]])
        keys = (runs[starts].astype(np.int64) << _BITS) + sections[starts].astype(np.int64)
        good = self._bounds.searchsorted(keys, "right") % 2 == 1
        return EntryList(np.stack([starts[good], stops[good]], axis=1).reshape(-1))


def _ranges(run: Any, given: Any, name: str) -> list[tuple[int, int]]:
    """The good sections of one run as half-open ranges of keys."""
    text = str(run)
    if isinstance(run, bool) or not text.isdecimal() or int(text) >= 1 << (_BITS - 1):
        raise DatasetError(f"{name} has {run!r} where the number of a run should be")
    number, ranges = int(text), []
    for pair in given if isinstance(given, list | tuple) else [given]:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(map(_is_section, pair)) or pair[0] > pair[1]:
            raise DatasetError(f"{name} has {pair!r} in run {run}, where [first, last] section should be")
        first, last = pair
        ranges.append(((number << _BITS) + int(first), (number << _BITS) + int(last) + 1))
    return ranges


def _is_section(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < (1 << _BITS) - 1


def _united(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted ranges, with those that overlap or touch made one."""
    united: list[tuple[int, int]] = []
    for start, stop in ranges:
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(stop, united[-1][1]))
        else:
            united.append((start, stop))
    return united
