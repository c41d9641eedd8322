"""Cycles: entries that are in no file, each with a number and with random numbers of its own."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ...reading.columns import Column, Flat
from ...reading.source import Generated
from ...reading.storage.sources import Traffic
from ..kernels.random_streams import Stream, Streams, filling, generator
from .chunks import FIRST_CHUNK


class Cycle:
    """One cycle: its `number`, and `random`, a numpy Generator that draws the same numbers wherever the cycle is made."""

    def __init__(self, number: int, seed: int) -> None:
        self.number = number
        self._seed = seed

    @functools.cached_property
    def random(self) -> Generator:
        """The stream that a kernel's `random` is for this cycle."""
        return generator(self._seed, self.number)


class Cycles:
    """Some cycles in a status, as a columnar function gets them.

    `len(cycles)` is how many, `cycles.number` their numbers. `uniform`, `normal` and `exponential` draw for all of them at
    once, which is fast. A loop over them gives each `Cycle`, which takes ten microseconds and more.

    Each call draws from other streams than the calls before it and than `Cycle.random`: a status of what it returns
    depends on the seed, the number of the cycle and the number of the call, never on which other cycles are here.

    Example:
        >>> cycles = CycleSource(seed=7).events(1000, 1003)
        >>> cycles.number, cycles.uniform().shape, cycles.normal(2).shape
        (array([1000, 1001, 1002]), (3,), (3, 2))
        >>> [round(cycle.random.random(), 3) for cycle in cycles]
        [0.898, 0.664, 0.538]
    """

    def __init__(self, stream: Stream, seed: int, start: int, stop: int, cache: Path | None = None) -> None:
        self.number: NDArray[np.int64] = np.arange(start, stop)
        self._stream, self._seed, self._calls, self._cache = stream, seed, 0, cache

    def __len__(self) -> int:
        return len(self.number)

    def __iter__(self) -> Iterator[Cycle]:
        return (Cycle(number, self._seed) for number in self.number.tolist())

    def uniform(self, k: int | None = None) -> NDArray[np.float64]:
        """Numbers from 0 to 1 (exclusive): one a cycle, shape (n,); or `k` a cycle, shape (n, k)."""
        return self._drawn("uniform", k)

    def normal(self, k: int | None = None) -> NDArray[np.float64]:
        """Normally distributed numbers of mean 0 and width 1: one a cycle, shape (n,); or `k` a cycle, shape (n, k)."""
        return self._drawn("normal", k)

    def exponential(self, k: int | None = None) -> NDArray[np.float64]:
        """Exponentially distributed numbers of mean 1: one a cycle, shape (n,); or `k` a cycle, shape (n, k)."""
        return self._drawn("exponential", k)

    def _drawn(self, draw: str, k: int | None) -> NDArray[np.float64]:
        self._calls += 1
        rows = np.empty((len(self), 1 if k is None else k))
        if len(self):
            filling(draw, self._cache)(*self._stream.arguments, int(self.number[0]), self._calls, rows)
        return rows[:, 0] if k is None else rows


class CycleSource(Generated):
    """Makes the cycles of a seed, for any range of them.

    Args:
        seed: from 0 to 2**62.
        cache: folder for compiled code, which processes may share; None: this process compiles what it needs.
    """

    first_chunk = FIRST_CHUNK
    traffic = Traffic()

    def __init__(self, seed: int, cache: Path | None = None) -> None:
        self._seed, self._cache = seed, cache
        self._stream = Stream(seed)

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Any]:
        """What a kernel takes: `cycle`, the numbers `[start, stop)`, and `random`, their streams."""
        numbers = np.arange(start, stop)
        made: dict[str, Column | Streams] = {"cycle": Flat(numbers), "random": Streams(self._stream, numbers)}
        return {name: made[name] for name in branches}

    def events(self, start: int, stop: int) -> Cycles:
        """What a columnar function takes."""
        return Cycles(self._stream, self._seed, start, stop, self._cache)
