"""Datasets that are in no file: cycles, which are made where they are needed, and items, which come with the query."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..analysis.items import pack_items
from ..protocol.errors import AnalysisError, DatasetError
from ..protocol.messages import File
from .dataset import MOST_ENTRIES, Dataset

MOST_SEED = 2**62
CYCLE_PARAMETERS = ("cycle", "random")
"""What a kernel over cycles can take: the number of the cycle, and its random numbers."""


class Generated(Dataset):
    """A dataset of one thing that stands for many entries and is in no file; `cycles` and `items` make it."""

    def __repr__(self) -> str:
        (file,) = self.files
        seed = f" with seed {file.seed}" if file.kind == "cycles" else ""
        return f"<Dataset of {file.entries or 0:,} {file.kind}{seed}>"


def cycles(n: float, seed: int = 0, *, name: str = "", metadata: Mapping[str, Any] | None = None) -> Dataset:
    """Cycles without input data, each with random numbers of its own: for Monte Carlo production.

    A kernel takes `cycle`, the number of the cycle from 0, and `random`, a numpy `Generator`, by these names. A columnar
    function takes some cycles in a row (`eventmill.worker.slot.cycles.Cycles`), and perhaps the file.

    Cycle i always draws the same numbers for one seed: its generator is `Generator(Philox(key=seed, counter=[0, 0, 0, i]))`.
    So the result depends neither on how many workers there are nor on how they share the cycles, and the first cycles of a
    larger `n` are those of a smaller one. What is to be independent needs another seed.

    Args:
        n: number of cycles; 1e6 may be written for a million.
        seed: from 0 to 2**62.
        name: the dataset's name, `file.dataset` in a function.
        metadata: numbers, words and flags for the function, in `file.metadata`.

    Raises:
        DatasetError: a number is not whole, or out of range.

    Example:
        >>> cycles(1e6, seed=7)
        <Dataset of 1,000,000 cycles with seed 7>
    """
    number = _whole(n, "n, the number of cycles,", 1, MOST_ENTRIES)
    start = _whole(seed, "seed", 0, MOST_SEED)
    file = _file(f"cycles(seed={start})", metadata, dataset=name, entries=number, kind="cycles", seed=start)
    return Generated._of((file,), None, ())


def items(things: Iterable[Any], *, name: str = "", metadata: Mapping[str, Any] | None = None) -> Dataset:
    """A list of anything that can be pickled (paths of images, URLs, numbers, arrays): one item is one event.

    The function is called with one item at a time, and perhaps the file; what it returns for all of them is added up.

    Args:
        things: the items. They travel with the query, so large ones are better given as the paths of files.
        name: the dataset's name, `file.dataset` in a function.
        metadata: numbers, words and flags for the function, in `file.metadata`.

    Raises:
        DatasetError: there are no items, one of them cannot be pickled, or all of them are too large to be sent.

    Example:
        >>> items(["night1.fits", "night2.fits"])
        <Dataset of 2 items>
    """
    if isinstance(things, str | bytes | Mapping) or not isinstance(things, Iterable):
        raise DatasetError(f"items takes a list of things, not {things!r:.100}")
    listed = list(things)
    if not listed:
        raise DatasetError("the dataset is empty: the list has no items")
    file = _file("items", metadata, dataset=name, entries=len(listed), kind="items")
    return Generated._of((file,), None, (pack_items(listed),))


def check_analysis(dataset: Dataset, kind: str, name: str, branches: Sequence[str] | None) -> None:
    """Check that an analysis can run over what a dataset is made of, as far as this is known beforehand.

    Args:
        dataset: of any kind; what files have, only those who open them know.
        kind: "kernel", "columnar" or "processor", as in `analysis.analysis.Analysis`.
        name: of the analysis, for the message.
        branches: of a kernel, None for others.

    Raises:
        AnalysisError: it cannot; the text says what can.
    """
    made_of = dataset.files[0].kind
    if made_of == "tree":
        if kind == "processor" and dataset.has_columns:
            raise AnalysisError(
                f"{name} is a coffea processor, which reads files by itself: it cannot have the dataset's aliases, friends, "
                "defaults and interpretations; write a function of events, or a kernel"
            )
        return
    if kind == "processor":
        raise AnalysisError(f"{name} is a coffea processor, which needs events from files: {_FUNCTION[made_of]}")
    if kind == "kernel" and made_of == "items":
        raise AnalysisError(f"{name} is a kernel, which reads branches, and items have none: {_FUNCTION[made_of]}")
    unknown = [branch for branch in branches or () if branch not in CYCLE_PARAMETERS]
    if unknown:
        raise AnalysisError(
            f"{name} takes {unknown[0]}, which cycles do not have: beside its outputs, a kernel over cycles takes "
            "`cycle`, the number of the cycle, and `random`, its random numbers (a numpy Generator)"
        )


_FUNCTION = {
    "items": "pass a function of one item, which returns what is to be added up",
    "cycles": "pass a kernel with the parameters cycle and random, or a function of cycles",
}


def _file(path: str, metadata: Mapping[str, Any] | None, **about: Any) -> File:
    """What stands for the file; its metadata are checked as those of files are."""
    (file,) = Dataset(path, metadata=metadata).files
    return msgspec.structs.replace(file, **about)


def _whole(value: Any, what: str, least: int, most: int) -> int:
    """A whole number, also when it was written as 1e6 or is numpy's."""
    try:
        number = operator.index(int(value) if isinstance(value, float) and value.is_integer() else value)
    except TypeError:
        raise DatasetError(f"{what} is {value!r}: it must be a whole number") from None
    if isinstance(value, bool) or not least <= number <= most:
        raise DatasetError(f"{what} is {value!r}: it must be from {least} to {most}")
    return number
