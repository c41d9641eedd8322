"""How long it took from there being something to do to the first packet, and from the last one until no worker was left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FIRST, LAST = "to the first packet", "from the last packet to the last worker gone"


@dataclass(slots=True)
class Course:
    """Of one user's wish: times, as far as they have come."""

    began: float | None = None
    first: float | None = None
    done: float | None = None
    gone: float | None = None

    def look(self, queries: Sequence[float], processed: int, workers: int, now: float) -> None:
        """See how things stand: when those of her queries were submitted that are not over, the entries of them that are
        processed, and the workers of her pools."""
        if queries and (self.began is None or self.done is not None):
            self.began, self.first, self.done, self.gone = min(queries), None, None, None
        if self.began is not None and self.first is None and processed:
            self.first = now
        if self.began is not None and not queries and self.done is None:
            self.done = now
        if self.done is not None and self.gone is None and not workers:
            self.gone = now

    @property
    def seconds(self) -> Mapping[str, float]:
        """What it took, as far as it has come.

        Example:
            >>> course = Course()
            >>> looks = (([5.0], 0, 0, 5.0), ([5.0], 9, 1, 8.0), ([], 0, 1, 60.0), ([], 0, 0, 130.0))
            >>> for look in looks:
            ...     course.look(*look)
            >>> course.seconds
            {'to the first packet': 3.0, 'from the last packet to the last worker gone': 70.0}
        """
        found = {}
        if self.began is not None and self.first is not None:
            found[FIRST] = self.first - self.began
        if self.done is not None and self.gone is not None:
            found[LAST] = self.gone - self.done
        return found
