"""Why a pool is asked for no more workers at the moment, and until when.

Four kinds of trouble, each with a time of its own:

- the system is *down* (its command fails, its daemon does not answer): nothing is asked for 5 s, then for twice as
  long each time it fails again, up to half an hour. The first call after that is the probe; one that succeeds ends
  the trouble.
- it *refused* what was asked (an unknown partition, an image that is not there): the same would be refused again, so
  nothing is asked until the user changes something.
- it is *full* (a quota, a limit): for three minutes nobody asks for more than there are. That is no failure.
- three workers *failed* to start one after the other: so would the next. The pool is paused until the user changes
  something, or a worker that was asked for before joins after all.
"""

from __future__ import annotations

from math import inf

from .pools.pool import Trouble

SHORTEST, LONGEST = 5.0, 1800.0
"""Seconds for which a system that is down is asked nothing: at first, and at most."""
FULL_SECONDS = 180.0
FAILED_STARTS = 3


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
        self._refused = False
        self._paused = False
        self._words = ""

    def troubled(self, words: str, trouble: Trouble, have: int, now: float) -> None:
        """A call failed, while there were so many workers."""
        self._words = words
        if trouble == "full":
            self._full_until, self._ceiling = now + FULL_SECONDS, have
        elif trouble == "refused":
            self._refused = True
        else:
            self._down_until = now + self._delay
            self._delay = min(2 * self._delay, LONGEST)

    def answered(self) -> None:
        """A call succeeded: the system is not down."""
        self._down_until, self._delay = 0.0, SHORTEST

    def failed(self, words: str) -> None:
        """A worker ended before it had joined."""
        self._failures += 1
        if self._failures >= FAILED_STARTS:
            self._paused, self._words = True, words

    def explain(self, words: str) -> None:
        """More is known of the last failure."""
        if self._paused:
            self._words = words

    def joined(self) -> None:
        """A worker has joined: they can."""
        self._failures, self._paused = 0, False

    def changed(self) -> None:
        """The user has changed something: what was refused, paused or full may not be any more."""
        self._failures, self._paused, self._refused, self._full_until = 0, False, False, 0.0

    def is_down(self, now: float) -> bool:
        """Whether the system is to be asked nothing at all."""
        return now < self._down_until

    def forbid(self, now: float) -> bool:
        """Whether no more workers are to be asked for."""
        return self._refused or self._paused or self.is_down(now)

    def ceiling(self, now: float) -> float:
        """Workers at most."""
        return self._ceiling if now < self._full_until else inf

    def words(self, now: float) -> str:
        """Why there are no more workers, for those who wait for them; empty when nothing is in the way."""
        if self._refused:
            return f"{self._words}; not asked again until the pool is scaled anew"
        if self._paused:
            failed = f"{FAILED_STARTS} workers in a row failed to start, the last one: {self._words}"
            return f"{failed}; scale the pool to try again"
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
        return min((at for at in (self._down_until, self._full_until) if at > now), default=inf)
