"""Pools as a session has them: workers where batch systems, other clusters and machines start them."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from msgspec import structs

from ..display.pools import LaunchList, pool_cells
from ..launch.config import check_name
from ..launch.own import OwnLauncher
from ..launch.pools.pool import Pool, PoolError
from ..protocol import messages
from ..protocol.errors import EventmillError, QueryFailed
from ..protocol.messages import Message, PoolInfo, WishTerms
from .wishes import WishHandle, terms_of

if TYPE_CHECKING:
    from .watch import Watch

START_SECONDS = 20.0
"""For which a launcher that was just started may take to join."""
BACK_SECONDS = 3.0
"""For which another one may be away, as after its master was started again."""


class PoolHandle:
    """A pool of a session's master; `Session.scale` gives it.

    Args:
        watch: the session's line to its master.
        name: of the pool.

    Example:
        >>> pool = session.scale(1, pool=em.Local())                                                  # doctest: +SKIP
        >>> pool.scale(4)                                                                             # doctest: +SKIP
        >>> pool.launches()                                                                           # doctest: +SKIP
        job             pool   stage  host   worker   reason    since  start took
    """

    def __init__(self, watch: Watch, name: str) -> None:
        self._watch = watch
        self.name = name

    @property
    def info(self) -> PoolInfo:
        """What its launcher says of it.

        Raises:
            QueryFailed: no launcher has it (any more).
        """
        for info in self._watch.request(messages.AskPools, messages.Pools).pools:
            if info.pool == self.name:
                return info
        raise QueryFailed(f"no launcher of this master has a pool {self.name} any more")

    def launches(self) -> LaunchList:
        """Its workers, and how far each of them is: a list that is shown as a table."""
        return LaunchList(self.info)

    def scale(self, workers: int) -> None:
        """Have so many workers, no more and no fewer.

        Raises:
            PoolError: the system does not take them, or they are more than the pool may have.
        """
        _scale(self._watch, self.name, workers, BACK_SECONDS)

    def stop(self) -> None:
        """Have none."""
        self.scale(0)

    def __repr__(self) -> str:
        try:
            cells = pool_cells(self.info)
        except EventmillError as error:
            return f"<pool {self.name}: {error}>"
        trouble = f"; {cells[4]}" if cells[4] else ""
        return f"<pool {self.name} ({cells[1]}): {cells[5]} wanted, {cells[3]}{trouble}>"

    def _repr_html_(self) -> str:
        try:
            table = self.launches()._repr_html_()
        except EventmillError:
            table = ""
        return f"<p>{html.escape(repr(self))}</p>{table}"


class Scaling:
    """The part of a `Session` that has workers started and let go.

    Args:
        watch: the session's line to its master.
        connection: its connection file.
        is_own: the master is the session's own.
        is_private: it listens on this machine only.

    Attributes:
        launchers: the session's own, which end with it.
    """

    def __init__(self, watch: Watch, connection: Path, is_own: bool, is_private: bool) -> None:
        self._watch = watch
        self._connection = connection
        self._is_private = is_private
        self._suffix = "" if is_own else f"-{os.urandom(2).hex()}"  # others have pools there, too
        self._launchers: dict[str, OwnLauncher] = {}

    @overload
    def scale(self, workers: int, pool: Pool | str, *, name: str | None = None) -> PoolHandle: ...

    @overload
    def scale(
        self,
        workers: Literal["auto", "off"],
        pool: Pool | str | Iterable[Pool | str] = (),
        *,
        finish_in: str | float | None = None,
        deadline: str | float | datetime | None = None,
        max_workers: int | None = None,
        max_cost: float | None = None,
    ) -> WishHandle: ...

    def scale(
        self,
        workers: int | Literal["auto", "off"],
        pool: Pool | str | Iterable[Pool | str] = (),
        *,
        name: str | None = None,
        finish_in: str | float | None = None,
        deadline: str | float | datetime | None = None,
        max_workers: int | None = None,
        max_cost: float | None = None,
    ) -> PoolHandle | WishHandle:
        """Have so many workers in a pool, no more and no fewer; or as many as there is work for, in one pool or several
        ("auto"). Returns at once, and they come as the pools can.

        A number: workers are replaced when they end before their time, as by a walltime or a node that fails. Those that
        nobody has needed for a while (the pool's `idle`, five minutes) leave, and are wanted no more: scale again when there
        is more to do.

        "auto": workers are started when queries have work for them, where they cost least, and let go when they have rested
        for a while and what is paid for has passed, whatever queries come; until "off", or until a pool is scaled by a
        number. Without a time to finish in they are started as long as they are of use for longer than they take to start.
        docs/elastic.md has the rules.

        Args:
            workers: how many; each has as many slots as the pool says (`cores`). Or "auto", or "off".
            pool: where they are started, as `em.Local(cores=2)` or `em.Slurm(partition="short", walltime="2h")`: a process
                beside this session does that, and they end with it. Or the name of a pool that the master has
                (`session.pools()`), whose workers stay. With "auto", several of them, or none: all pools of the master that
                serve this session.
            name: what to call the pool; its system by default.
            finish_in: seconds after its submission, or "20 min", in which each query is to be finished, at the least cost.
            deadline: when all that there is to do is to be finished: "18:30", "2026-11-30 08:00", a datetime, or seconds
                from now.
            max_workers: at most, all pools together.
            max_cost: that may be spent from now on, in the currency of the pools' prices.

        Returns:
            A handle to scale the pool again, and to see how far its workers are; with "auto", to see what will become of
            the wish.

        Raises:
            PoolError: the system does not take them, they are more than the pool may have, there is no such pool, or it is
                another user's.
            ConnectionFailed: the master does not answer.
            ValueError: a bound makes no sense.

        Example:
            >>> with em.connect(slots=1) as other:
            ...     pool = other.scale(0, em.Local(cores=1))
            ...     pool.info.wanted, len(pool.launches())
            (0, 0)
        """
        bounds = {"finish_in": finish_in, "deadline": deadline, "max_workers": max_workers, "max_cost": max_cost}
        if workers == "auto":
            return self._follow(pool, terms_of(finish_in, deadline, max_workers, max_cost))
        if workers == "off":
            return WishHandle.wish(self._watch, None, 0.0)
        given = [bound for bound, value in bounds.items() if value is not None]
        if given:
            raise ValueError(
                f'{given[0]} goes with scale("auto"): {workers!r} workers are so many until somebody says otherwise'
            )
        if not isinstance(pool, Pool | str):
            raise ValueError("in which pool? Give one, as em.Local(), or the name of one that the master has")
        if isinstance(pool, str):
            _scale(self._watch, pool, workers, BACK_SECONDS)
            return PoolHandle(self._watch, pool)
        launcher = self._launcher(pool, name)
        try:
            _scale(self._watch, launcher.name, workers, START_SECONDS)
        except PoolError:
            launcher.check()
            raise
        return PoolHandle(self._watch, launcher.name)

    def _follow(self, pool: Pool | str | Iterable[Pool | str], terms: WishTerms) -> WishHandle:
        """Have pools follow the work."""
        given = [pool] if isinstance(pool, Pool | str) else list(pool)
        launchers = [self._launcher(it, None) for it in given if isinstance(it, Pool)]
        names = [*(it for it in given if isinstance(it, str)), *(launcher.name for launcher in launchers)]
        try:
            return WishHandle.wish(
                self._watch, structs.replace(terms, pools=names), START_SECONDS if launchers else BACK_SECONDS
            )
        except PoolError:
            for launcher in launchers:
                launcher.check()
            raise

    def stop_launches(self, pool: str, jobs: Iterable[str]) -> None:
        """Let these jobs of a pool go, and have so many fewer workers there.

        Raises:
            PoolError: there is no such pool, or it is another user's.
        """
        request = partial(messages.StopLaunches, pool=pool, jobs=list(jobs))
        _request(self._watch, request)

    def _launcher(self, pool: Pool, name: str | None) -> OwnLauncher:
        """The launcher of these settings; it is started if there is none."""
        self._watch.link.check_not_forked()
        for launcher in self._launchers.values():
            if launcher.pool == pool and name in (None, launcher.name):
                return launcher
        if self._is_private and not pool.runs_here:
            raise PoolError(
                f"a master of this session's own listens on this machine only, where workers of {pool.system} do not reach "
                'it: start it with em.connect(host="*"), or with the name or address under which they reach this machine',
                "refused",
            )
        chosen = name or self._free_name(pool.system)
        check_name(chosen, "session.scale")
        if chosen in self._launchers:
            raise PoolError(f"this session has a pool {chosen} with other settings: give another name", "refused")
        launcher = self._launchers[chosen] = OwnLauncher(chosen, pool, self._connection)
        return launcher

    def _free_name(self, system: str) -> str:
        base = f"{system}{self._suffix}"
        names = (base, *(f"{base}-{number}" for number in range(2, len(self._launchers) + 3)))
        return next(name for name in names if name not in self._launchers)


def _scale(watch: Watch, pool: str, workers: int, wait: float) -> None:
    if not isinstance(workers, int) or workers < 0:
        raise ValueError(f"{workers!r} workers: it must be a whole number from 0 on")
    _request(watch, partial(messages.Scale, pool=pool, workers=workers, wait=wait))


def _request(watch: Watch, make: Callable[[int], Message]) -> None:
    try:
        watch.request(make, messages.Done)
    except QueryFailed as error:
        raise PoolError(str(error), "refused") from None
