"""What the system of a pool is asked: what there is, often while something changes, and what became of doubtful calls.

A system that was down is asked one thing at a time: the answer says whether it still is.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from .bans import Bans
from .effects import Effect, Find, FindLeft, List
from .holdings import Holdings
from .open_calls import OpenCalls

FASTEST, SLOWEST = 1.0, 30.0
"""Seconds between listings: while there is news of workers on their way, and when all are there."""
SLOWER = 1.5
"""By this factor the next listing comes later when there was no news."""


class Inquiries:
    """Those of one pool.

    Args:
        pool: its name.
        holdings: what may be there.
        calls: that have no answer yet.
        bans: whether the system is down.
        do: has an effect carried out.
        due: when the first listing is.
        left: jobs may be left that are in no record.

    Attributes:
        know_all: all jobs that may be there are known.
    """

    def __init__(
        self,
        pool: str,
        holdings: Holdings,
        calls: OpenCalls,
        bans: Bans,
        do: Callable[[Effect], None],
        due: float,
        left: bool = False,
    ) -> None:
        self._pool = pool
        self._holdings, self._calls, self._bans = holdings, calls, bans
        self._do = do
        self._due = due
        self._interval = FASTEST
        self._under_way = False
        self._looks_for_left = False
        self.know_all = not left

    def soon(self, now: float) -> None:
        """Something is about to change."""
        self._interval = FASTEST
        self._due = min(self._due, now + FASTEST)

    def answered(self, news: bool, now: float) -> None:
        """A list came, or did not: with news, the next one is asked for soon."""
        self._under_way = False
        self._interval = FASTEST if news else min(self._interval * SLOWER, SLOWEST)
        self._due = now + self._interval

    @property
    def is_probing(self) -> bool:
        """Whether a system that was down is being asked something."""
        return self._bans.suspect and (self._under_way or self._looks_for_left or self._calls.under_way)

    @property
    def come_first(self) -> bool:
        """Whether nothing is to be started before an answer has come."""
        return self.is_probing or not self.know_all

    def looked_for_left(self, found: bool) -> None:
        """What is left is known now; or nobody could say."""
        self._looks_for_left, self.know_all = False, found

    def look(self, now: float) -> None:
        """Ask what is due."""
        if self._bans.is_down(now) or self.is_probing:
            return
        call = self._calls.look(now)
        if call is not None:
            self._do(Find(self._pool, call))
        if self._is_left_due and not (call and self._bans.suspect):
            self._looks_for_left = True
            self._do(FindLeft(self._pool))
            if self._bans.suspect:
                return
        live = self._holdings.live
        if not live:
            self._due = inf
        elif now >= self._due and not self._under_way and not (call and self._bans.suspect):
            self._under_way = True
            self._do(List(self._pool, [launch.job for launch in live]))

    def deadline(self, now: float) -> float:
        """When `look` is to be called at the latest."""
        if self._bans.is_down(now) or self.is_probing:
            return inf
        return now if self._is_left_due else min(self._calls.due(), inf if self._under_way else self._due)

    @property
    def _is_left_due(self) -> bool:
        """Jobs of calls without an answer would be among those that are left: they are looked for first."""
        return not (self.know_all or self._looks_for_left or self._calls.open)
