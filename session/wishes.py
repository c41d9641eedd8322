"""What a session wishes of pools that follow the work, and what becomes of it."""

from __future__ import annotations

import contextlib
import html
import logging
import math
import time
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from ..display.report.report import Report
from ..display.wishes import wish_words
from ..launch.pools.pool import PoolError
from ..protocol import messages
from ..protocol.errors import EventmillError, QueryFailed
from ..protocol.messages import WishInfo, WishTerms
from ..system.quantities import parse_seconds

if TYPE_CHECKING:
    from .watch import Watch

log = logging.getLogger(__name__)


class WishHandle:
    """A wish that pools follow; `Session.scale("auto", ...)` gives it. Shown, it says what will become of the wish.

    Args:
        watch: the session's line to its master.

    Example:
        >>> session.scale("auto", pool=[em.Local(most=4), em.Slurm()], finish_in="20 min")            # doctest: +SKIP
        done in 14 min with 12 workers, cost 0.00
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @classmethod
    def wish(cls, watch: Watch, terms: WishTerms | None, wait: float) -> WishHandle:
        """Tell the master, and warn if the wish cannot be met.

        Raises:
            PoolError: there is no such pool, or it is another user's.
            ConnectionFailed: the master does not answer.
        """
        try:
            answer = watch.request(partial(messages.MakeWish, terms=terms, wait=wait), messages.Wished)
        except QueryFailed as error:
            raise PoolError(str(error), "refused") from None
        if terms is not None and answer.wish.late > 0:
            log.warning("%s", wish_words(answer.wish))
        return cls(watch)

    @property
    def info(self) -> WishInfo | None:
        """What will become of the wish, as far as can be told now; None when it was withdrawn.

        Raises:
            ConnectionFailed: the master does not answer.
        """
        return wish_of(self._watch)

    def off(self) -> None:
        """Wish nothing any more: idle workers go, the others when they are through.

        Raises:
            ConnectionFailed: the master does not answer.
        """
        WishHandle.wish(self._watch, None, 0.0)

    def __repr__(self) -> str:
        info = self.info
        return wish_words(info) if info is not None else "no pool follows the work any more"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"


def wish_of(watch: Watch) -> WishInfo | None:
    """The wish of this session's user, if she has one.

    Raises:
        ConnectionFailed: the master does not answer.
    """
    answer = watch.request(messages.AskPools, messages.Pools)
    return next((wish for wish in answer.wishes if wish.owner == answer.user), None)


def with_wish(report: Report, watch: Watch) -> Report:
    """A report with what became by now of the wish that the pools follow which its workers came from. When the master does
    not answer, as in a session that is closed, it has what was known before."""
    if report.facts.starts:
        with contextlib.suppress(EventmillError):
            report.follow(wish_of(watch))
    return report


def terms_of(
    finish_in: str | float | None = None,
    deadline: str | float | datetime | None = None,
    max_workers: int | None = None,
    max_cost: float | None = None,
    now: float | None = None,
) -> WishTerms:
    """A wish as it is told to the master, from what a user writes.

    Args:
        finish_in, deadline, max_workers, max_cost: as in `Session.scale`.
        now: seconds since 1970; None: it is now.

    Raises:
        ValueError: one of them makes no sense; the text says which, and why.

    Example:
        >>> terms_of(finish_in="20 min", max_workers=40)
        WishTerms(pools=[], finish_in=1200.0, deadline=None, max_workers=40, max_cost=None)
    """
    if max_workers is not None and (
        not isinstance(max_workers, int) or isinstance(max_workers, bool) or max_workers < 1
    ):
        raise ValueError(f"max_workers={max_workers!r}: it must be a whole number from 1 on")
    if max_cost is not None and not (isinstance(max_cost, int | float) and 0 <= max_cost < math.inf):
        raise ValueError(f"max_cost={max_cost!r}: it must be a number from 0 on, in the currency of the pools' prices")
    seconds = None if finish_in is None else _seconds("finish_in", finish_in)
    until = None if deadline is None else _until(deadline, time.time() if now is None else now)
    return WishTerms([], seconds, until, max_workers, None if max_cost is None else float(max_cost))


def _seconds(name: str, value: str | float) -> float:
    """A positive time."""
    if isinstance(value, str):
        try:
            return parse_seconds(value)
        except ValueError as error:
            raise ValueError(f"{name}={value!r}: {error}") from None
    if not 0 < value < math.inf:
        raise ValueError(f"{name}={value!r}: it must be more than nothing, in seconds, or with a unit, as '20 min'")
    return float(value)


def _until(value: str | float | datetime, now: float) -> float:
    """Seconds until a time of the clock."""
    if isinstance(value, int | float):
        return _seconds("deadline", value)
    today = datetime.fromtimestamp(now)
    if isinstance(value, datetime):
        when = value
    else:
        try:
            when = datetime.fromisoformat(value) if len(value) > len("18:30:00") else _next(value, today)
        except ValueError:
            raise ValueError(
                f"deadline={value!r}: give a time of the day ('18:30'), a date and time ('2026-11-30 08:00'), or seconds"
            ) from None
    seconds = when.timestamp() - now
    if seconds <= 0:
        raise ValueError(f"deadline={value!r} has passed: it is {today:%Y-%m-%d %H:%M} now")
    return seconds


def _next(text: str, today: datetime) -> datetime:
    """The next time that a clock shows this."""
    when = datetime.combine(today.date(), datetime.strptime(text, "%H:%M").time())
    return when if when > today else when + timedelta(days=1)
