"""Entry lists: which entries of a file are used, in the forms in which physicists have them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..packetizer.listed_entries import MOST_RUNS, EntryList
from ..protocol.errors import DatasetError

_LARGEST = 2**62
"""Numbers beyond do not travel."""


def entry_list_of(numbers: Any, path: str = "") -> EntryList | None:
    """What the entry list of one file lists; None is all entries, of which nobody knows the number.

    Args:
        numbers: entry numbers in any order: a list, array or `range`, or a `slice`; or a list of ranges and slices.
        path: the file, for messages.

    Raises:
        DatasetError: these are no entry numbers, or one of them is there twice.

    Example:
        >>> entry_list_of([range(10, 20), slice(2)]).runs()
        [0, 2, 10, 20]
    """
    where = f"the entry list of {path}" if path else "the entry list"
    if isinstance(numbers, slice) and numbers == slice(None):
        return None
    try:
        if isinstance(numbers, range | slice):
            return _range(numbers)
        if not hasattr(numbers, "dtype"):
            numbers = list(numbers)
            if numbers and all(isinstance(part, range | slice) for part in numbers):
                parts = [_range(part) for part in numbers]
                if all(part.parts == 1 for part in parts):
                    return _united(parts)
                numbers = np.concatenate([part.entries() for part in parts])
        return EntryList.from_entries(_whole(np.asarray(numbers)))
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{where} cannot be used: {error}") from None


def _range(numbers: range | slice) -> EntryList:
    """The entry list of a range or slice."""
    if isinstance(numbers, slice):
        if numbers.stop is None:
            raise ValueError(f"{numbers} has no end")
        numbers = range(numbers.start or 0, numbers.stop, numbers.step or 1)
    if not numbers:
        return EntryList([])
    if min(numbers[0], numbers[-1]) < 0:
        raise ValueError(f"{numbers} has negative entries")
    if abs(numbers.step) == 1:
        return EntryList([min(numbers[0], numbers[-1]), max(numbers[0], numbers[-1]) + 1])
    if len(numbers) > MOST_RUNS:
        raise ValueError(f"{numbers} has {len(numbers):,} entries apart from each other, more than {MOST_RUNS:,}")
    return EntryList.from_entries(np.arange(numbers.start, numbers.stop, numbers.step))


def _united(parts: list[EntryList]) -> EntryList:
    """One entry_list of those that are one run each."""
    runs = sorted(part.runs() for part in parts)
    for (_, stop), (start, _) in itertools.pairwise(runs):
        if start < stop:
            raise ValueError(f"entry {start} is there twice, it would count twice")
    return EntryList([bound for run in runs for bound in run])


def _whole(numbers: Any) -> Any:
    """Entry numbers as 64-bit integers."""
    if numbers.ndim != 1:
        raise ValueError(f"it has {numbers.ndim} dimensions, it must be a plain list of entry numbers")
    if numbers.dtype.kind == "b":
        raise ValueError("it has flags, it must have entry numbers; np.flatnonzero(flags) makes them")
    if numbers.dtype.kind == "f" and len(numbers):
        odd = numbers[(numbers != np.floor(numbers)) | (np.abs(numbers) > _LARGEST)]
        if len(odd):
            raise ValueError(f"{odd[0]} is no whole number of an entry")
    elif numbers.dtype.kind not in "iuf":
        raise ValueError(f"it has {shown(numbers.tolist())}, it must have whole numbers")
    return numbers.astype(np.int64)


def runs_of(entry_list: EntryList, path: str) -> list[int]:
    """An entry list as it travels. Raises `DatasetError` when it is too long for that."""
    if entry_list.parts > MOST_RUNS:
        raise DatasetError(
            f"the entry list of {path} has {entry_list.parts:,} entries apart from each other, more than {MOST_RUNS:,}: "
            "select them in the analysis instead"
        )
    return entry_list.runs()


def shown(value: Any) -> str:
    """The beginning of what may be long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
