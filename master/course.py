"""How long it took from there being something to do to the first packet, and from the last one until no worker was left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

FIRST, LAST = "to the first packet", "from the last packet to the last worker gone"


class Observed(Protocol):
    """A query: when it was submitted, when entries of it counted for the first time, and when it was over."""

    started: float
    first_commit: float | None
    ended: float | None


@dataclass(slots=True)
class Course:
    """Of one user's wish: times, as far as they have come. Queries tell them themselves: one may begin to count and be over
    between two looks."""

    began: float | None = None
    first: float | None = None
    done: float | None = None
    gone: float | None = None
    _seen: list[Observed] = field(default_factory=list)

    def look(self, queries: Sequence[Observed], workers: int, now: float) -> None:
        """See how things stand: those of her queries that are not over, and the workers of her pools."""
        if queries and (self.began is None or self.done is not None):
            self.began, self.first, self.done, self.gone = min(query.started for query in queries), None, None, None
            self._seen = []
        self._seen += [query for query in queries if not any(query is seen for seen in self._seen)]
        if self.began is not None and self.first is None:
            self.first = min((it.first_commit for it in self._seen if it.first_commit is not None), default=None)
        if self.began is not None and not queries and self.done is None:
            self.done = max((it.ended for it in self._seen if it.ended is not None), default=now)
        if self.first is not None or not queries:
            self._seen = list(queries)
        if self.done is not None and self.gone is None and not workers:
            self.gone = now

    @property
    def seconds(self) -> Mapping[str, float]:
        """What it took, as far as it has come.

        Example:
            >>> from types import SimpleNamespace
            >>> course, query = Course(), SimpleNamespace(started=5.0, first_commit=None, ended=None)
            >>> course.look([query], workers=0, now=5.5)
            >>> query.first_commit, query.ended = 8.0, 60.0
            >>> course.look([], workers=1, now=61.0)
            >>> course.look([], workers=0, now=130.0)
            >>> course.seconds
            {'to the first packet': 3.0, 'from the last packet to the last worker gone': 70.0}
        """
        found = {}
        if self.began is not None and self.first is not None:
            found[FIRST] = self.first - self.began
        if self.done is not None and self.gone is not None:
            found[LAST] = self.gone - self.done
        return found
