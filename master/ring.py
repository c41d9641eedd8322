"""The last things of a kind, numbered."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class Ring(Generic[T]):
    """The last things of a kind, each with a number: what came after a number can be asked for.

    Example:
        >>> ring = Ring(most=2)
        >>> for thing in "abc":
        ...     ring.add(thing)
        >>> ring.since(0, 10), ring.since(2, 10), ring.since(3, 10)
        ((['b', 'c'], 3), (['c'], 3), ([], 3))
    """

    def __init__(self, most: int) -> None:
        self._things: deque[T] = deque(maxlen=most)
        self.count = 0

    def add(self, thing: T) -> None:
        """One more; the oldest one makes room."""
        self._things.append(thing)
        self.count += 1

    def since(self, number: int, most: int) -> tuple[list[T], int]:
        """Those after the first `number`, as far as they are here and not more than so many; and the number of the last."""
        first = max(number, self.count - len(self._things))
        skipped = first - (self.count - len(self._things))
        found = list(islice(self._things, skipped, skipped + most))
        return found, first + len(found)

    @property
    def oldest(self) -> int:
        """What came after so many is all here."""
        return self.count - len(self._things)
