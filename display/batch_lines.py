"""What a script without a terminal says of a query that takes long: a line now and then, rarer the longer it takes."""

from __future__ import annotations

from .query_view import QueryView

FIRST_SECONDS = 30.0
"""Before, nothing is said: a query that is over by then needs no line."""
GROWTH = 1.25
"""The next line comes when so many times as long has passed: a batch job of a day has some thirty lines of a query."""
STEPS = 4
"""A line also comes at each of so many equal parts of the query, but no two within `CLOSEST_SECONDS`."""
CLOSEST_SECONDS = 10.0


class BatchLines:
    """Decides when a line is due; it is pure, and the times are those of the query.

    Example:
        >>> lines = BatchLines()
        >>> [second for second in range(600) if lines.due(QueryView("MET", seconds=float(second), heard=True))]
        [30, 60, 90, 120, 150, 188, 235, 294, 368, 460, 575]
    """

    def __init__(self) -> None:
        self._last = 0.0
        self._step = 0

    @property
    def said(self) -> bool:
        """Whether there was any."""
        return self._last > 0.0

    def due(self, view: QueryView) -> bool:
        """Whether a line is to be said now; each is asked for once."""
        if view.final or view.seconds < FIRST_SECONDS:
            return False
        step = int(STEPS * (view.fraction or 0.0))
        next_one = max(self._last + FIRST_SECONDS, self._last * GROWTH)
        passed = step > self._step and view.seconds >= self._last + CLOSEST_SECONDS
        if self._last and view.seconds < next_one and not passed:
            return False
        self._last, self._step = view.seconds, step
        return True
