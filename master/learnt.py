"""What queries have taught of their analyses, for the next queries of the same ones."""

from __future__ import annotations

from collections.abc import Sequence

from ..packetizer.calls import Call, Calls

MOST_ANALYSES = 1000


class Learnt:
    """How fast slots are with an analysis, and what its calls take, by its digest; of the last analyses that were at work.

    Example:
        >>> learnt = Learnt()
        >>> learnt.of("an analysis")
        (0.0, ())
        >>> learnt.keep("an analysis", 1000.0, Calls([(100, 0.1)]))
        >>> learnt.of("an analysis")
        (1000.0, [(100, 0.1)])
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Calls]] = {}

    def keep(self, digest: str, rate: float, calls: Calls) -> None:
        """Slots do `rate` entries a second with an analysis, in these calls."""
        self._known.pop(digest, None)
        self._known[digest] = rate, calls
        if len(self._known) > MOST_ANALYSES:
            del self._known[next(iter(self._known))]

    def of(self, digest: str) -> tuple[float, Sequence[Call]]:
        """Entries a second of a slot, 0 where nothing is known, and some calls of every size."""
        rate, calls = self._known.get(digest, (0.0, None))
        return rate, () if calls is None else calls.tell()
