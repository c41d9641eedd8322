"""Why a pool is asked for no more workers at the moment, and until when.

Four kinds of trouble, each with a time of its own:

- the system is *down* (its command fails, its daemon does not answer): nothing is asked for 5 s, then for twice as
  long each time it fails again, up to half an hour. The first call after that is the probe; one that succeeds ends
  the trouble.
- it *refused* what was asked (an unknown partition, an image that is not there): the same would be refused again, so
  nothing is asked for half an hour, or until the user changes something.
- it is *full* (a quota, a limit): for three minutes nobody asks for more than there are. That is no failure.
- three workers *failed* to start one after the other: so would the next. The pool is paused for five minutes, and for
  twice as long each time the one worker fails that is tried after that; until a worker joins, or the user changes
  something.
"""

from __future__ import annotations

from math import inf

from .pools.pool import Trouble

SHORTEST, LONGEST = 5.0, 1800.0
"""Seconds for which a system that is down is asked nothing: at first, and at most."""
FULL_SECONDS = 180.0
FAILED_STARTS = 3
PAUSE_SECONDS = 300.0


class Bans:
    """Those of one pool.

    Example:
        >>> bans = Bans()
        >>> bans.troubled("squeue: cannot connect", "down", have=0, now=0.0)
        >>> bans.forbid(now=1.0), bans.forbid(now=6.0), bans.words(now=1.0)
        (True, False, 'squeue: cannot connect; tried again in 4 s')
    """

    def __init__(self) -> None:
        self._down_until = 0.0
        self._delay = SHORTEST
        self._full_until = 0.0
        self._ceiling = 0
        self._failures = 0
        self._refused_until = 0.0
        self._pause = PAUSE_SECONDS
        self._paused_until = 0.0
        self._words = ""

    def troubled(self, words: str, trouble: Trouble, have: int, now: float) -> None:
        """A call failed, while there were so many workers."""
        self._words = words
        if trouble == "full":
            self._full_until, self._ceiling = now + FULL_SECONDS, have
        elif trouble == "refused":
            self._refused_until = now + LONGEST
        else:
            self._down_until = now + self._delay
            self._delay = min(2 * self._delay, LONGEST)

    def answered(self) -> None:
        """A call succeeded: the system is not down."""
        self._down_until, self._delay = 0.0, SHORTEST

    def failed(self, words: str, now: float) -> None:
        """A worker ended before it had joined."""
        self._failures += 1
        if self._failures >= FAILED_STARTS:
            self._words = words
            if now >= self._paused_until:  # those that were asked for together fail together
                self._paused_until = now + self._pause
                self._pause = min(2 * self._pause, LONGEST)

    def explain(self, words: str) -> None:
        """More is known of the last failure."""
        if self._failures >= FAILED_STARTS:
            self._words = words

    def joined(self) -> None:
        """A worker has joined: they can."""
        self._failures, self._paused_until, self._pause = 0, 0.0, PAUSE_SECONDS

    def changed(self) -> None:
        """The user has changed something: what was refused, paused or full may not be any more."""
        self.joined()
        self._refused_until = self._full_until = 0.0

    def is_down(self, now: float) -> bool:
        """Whether the system is to be asked nothing at all."""
        return now < self._down_until

    def forbid(self, now: float) -> bool:
        """Whether no more workers are to be asked for."""
        return now < max(self._refused_until, self._paused_until) or self.is_down(now)

    def allowed(self, wanted: int, alive: int, coming: int, now: float) -> int:
        """How many workers may be asked for, when so many are wanted, and there are so many, of which some are coming."""
        count = (min(wanted, self._ceiling) if now < self._full_until else wanted) - alive
        # When so many have failed, one is tried before others are asked for.
        return min(count, 1 - coming) if self._failures >= FAILED_STARTS else count

    def words(self, now: float) -> str:
        """Why there are no more workers, for those who wait for them; empty when nothing is in the way."""
        if now < self._refused_until:
            return (
                f"{self._words}; asked again in {_minutes(self._refused_until - now)}, or when the pool is scaled anew"
            )
        if now < self._paused_until:
            failed = f"{FAILED_STARTS} workers in a row failed to start, the last one: {self._words}"
            return (
                f"{failed}; one is tried again in {_minutes(self._paused_until - now)}, or when the pool is scaled anew"
            )
        if self.is_down(now):
            return f"{self._words}; tried again in {max(1.0, self._down_until - now):.0f} s"
        if now < self._full_until:
            return f"{self._words}; more are asked for in {max(1.0, self._full_until - now):.0f} s"
        return ""

    @property
    def suspect(self) -> bool:
        """Whether the last that was heard of the system is that it is down: the next call is a probe, and the only one."""
        return self._delay > SHORTEST

    def due(self, now: float) -> float:
        """When the next of the troubles that have a time ends; infinity if there is none."""
        times = (self._down_until, self._full_until, self._refused_until, self._paused_until)
        return min((at for at in times if at > now), default=inf)


def _minutes(seconds: float) -> str:
    return f"{max(1.0, seconds / 60):.0f} min"
