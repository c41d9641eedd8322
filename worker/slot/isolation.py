"""Which entries of a chunk raise: found by running parts of it, so that what is sound is kept and the rest is named.

A kernel and a function of items tell the entry. Of a columnar function, and of data that cannot be read, only the range is
known: the first entry at fault is found by halving, then the next one behind it. Each costs about as many calls as the
distance between two has binary digits, and no way of asking needs fewer.

Every entry ends up in exactly one call that returned and whose result is kept, or in exactly one fault. So what is in front
of a fault that was told has to be analysed by itself where the call that raised has added nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ...protocol.errors import DatasetError
from ...protocol.messages import Gap
from .failures import reason

GRAIN = 1000
"""Entries around damaged data that are not looked at more closely."""
IN_A_ROW = 50
"""Faults one after the other, with nothing sound between, after which the rest of a chunk is sampled."""
SAMPLES = 20
MOST_FAULTS = 10_000
"""A message names them: a packet with more ends early."""
LONGEST = 60.0
"""Seconds after which ranges that raise are given up as they are."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The entries `[start, stop)`, or something among them, raise `error`."""

    start: int
    stop: int
    error: BaseException

    @classmethod
    def of(cls, error: BaseException, start: int, stop: int, index: int | None) -> Fault:
        """What a run over `[start, stop)` has raised, at the entry of this index in it if that is known."""
        if index is not None and start + index < stop:
            return cls(start + index, start + index + 1, error)
        return cls(start, stop, error)

    @property
    def is_narrow(self) -> bool:
        """Whether it need not be known more exactly."""
        return self.stop - self.start <= (GRAIN if isinstance(self.error, DatasetError) else 1)

    def behind(self, start: int) -> Fault:
        """The same without the entries before `start`."""
        return Fault(max(start, self.start), self.stop, self.error)


@dataclass(frozen=True, slots=True)
class Isolation:
    """Takes a chunk that has raised apart.

    Args:
        attempt: analyses entries and adds to the result, or answers with the fault among them.
        keep: puts the result aside, so that later attempts cannot spoil it.
        discard: forgets what is not put aside.
        all_or_nothing: whether an attempt that raises adds nothing to the result.

    Example:
        >>> result = []
        >>> def attempt(start, stop):
        ...     if {3, 4} & set(range(start, stop)):
        ...         return Fault(start, stop, ValueError("odd"))
        ...     result.extend(range(start, stop))
        >>> isolation = Isolation(attempt, keep=lambda: None, discard=result.clear, all_or_nothing=True)
        >>> faults, end = isolation.run(0, 8, first=Fault(0, 8, ValueError("odd")))
        >>> [(fault.start, fault.stop) for fault in faults], end, result
        ([(3, 4), (4, 5)], 8, [0, 1, 2, 5, 6, 7])
    """

    attempt: Callable[[int, int], Fault | None]
    keep: Callable[[], None]
    discard: Callable[[], None]
    all_or_nothing: bool

    def run(self, start: int, stop: int, first: Fault) -> tuple[list[Fault], int]:
        """Find the faults of a chunk that has raised `first`, and leave the result of all its other entries.

        Returns the faults in ascending order, and where the chunk ends: before `stop` when there are too many of them.
        """
        late = time.monotonic() + LONGEST
        faults = []
        for fault in self._search(start, stop, first, late):
            faults.append(fault)
            if len(faults) == MOST_FAULTS:
                stop = fault.stop
                break
        while not self.all_or_nothing:
            self.discard()
            another = next(filter(None, (self.attempt(*span) for span in between(faults, start, stop))), None)
            if another is None:
                break
            faults = sorted([*faults, another], key=lambda fault: fault.start)  # it depends on what came before
            if time.monotonic() > late:
                faults = [Fault(start, stop, another.error)]
        return faults, stop

    def _search(self, start: int, stop: int, first: Fault | None, late: float) -> Iterator[Fault]:
        """The faults of a range, in ascending order."""
        position, size, found, in_a_row, tells = start, stop - start, 0, 0, False
        while position < stop:
            high = min(position + size, stop)
            fault, first = first or self.attempt(position, high), None
            if fault is None:
                position, size, in_a_row = high, 2 * size, 0
                continue
            tells = tells or fault.start > position or fault.stop < high
            fault, end = self._narrowed(position, fault, late)
            if fault is None:
                position = end
                continue
            yield fault
            found += 1
            in_a_row = in_a_row + 1 if fault.start == position else 1
            if in_a_row % IN_A_ROW == 0 and end < stop and self._nothing_is_sound(end, stop):
                yield Fault(end, stop, fault.error)
                return
            position = end
            if tells:
                size = stop - position
            else:
                size = fault.stop - fault.start if in_a_row > 1 else max(1, 7 * (position - start) // (10 * found))

    def _narrowed(self, low: int, fault: Fault, late: float) -> tuple[Fault | None, int]:
        """The first fault from `low` to the end of a range that has raised, and where the search goes on. Everything before
        the fault is sound, and has been analysed where an attempt that raises adds nothing. No fault when all of the range
        is sound, part by part.
        """
        while True:
            over = time.monotonic() > late
            if not over and not fault.behind(low).is_narrow:
                high = (low + fault.stop) // 2
            elif fault.start < low:
                high = fault.stop  # what is left of the range may be sound by itself
            elif fault.start > low and self.all_or_nothing:
                high = (
                    fault.start
                )  # sound as far as is known, and not in the result: the attempt that raised added nothing
            else:
                return fault, fault.stop
            part = self.attempt(low, high)
            if part is None:
                low = high
                if low == fault.stop:
                    return None, low
            elif over and fault.start > low:
                return Fault(low, fault.stop, part.error), fault.stop
            else:
                fault = part

    def _nothing_is_sound(self, start: int, stop: int) -> bool:
        """Whether entries from all over a range raise, each by itself."""
        if self.all_or_nothing:
            self.keep()
        step = max(1, (stop - start) // SAMPLES)
        sound = any(self.attempt(entry, entry + 1) is None for entry in range(start, stop, step))
        self.discard()
        return not sound


def between(faults: Sequence[Fault], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """What of a range has no fault."""
    for fault in faults:
        if start < fault.start:
            yield start, fault.start
        start = fault.stop
    if start < stop:
        yield start, stop


def gaps(faults: Sequence[Fault]) -> list[Gap]:
    """Faults as a commit names them; neighbours of the same reason are one."""
    found: list[Gap] = []
    for fault in faults:
        why = reason(fault.error)
        if found and found[-1].stop == fault.start and found[-1].reason == why:
            found[-1] = Gap(found[-1].start, fault.stop, why)
        else:
            found.append(Gap(fault.start, fault.stop, why))
    return found
