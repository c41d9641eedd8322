"""A query as its user sees it: watch it, wait for it, stop it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from ..display.account_text import describe_account
from ..display.logs import Logs
from ..display.progress_line import ProgressDisplay
from ..display.query_view import QueryHistory, QueryView
from ..display.report.report import Report
from ..merge.sketch_bins import SteadyBins
from ..protocol import messages
from ..protocol.codec import Buffer
from ..protocol.errors import QueryFailed
from ..protocol.messages import Account, Message, State
from .changes import Changes
from .delegation import Delegation
from .demand import Demand
from .ending import Ending, uncancelled
from .finishing import Finishes
from .logs import LogFeed, ask
from .notices import Notices
from .result import RETURNED_NONE, Result, Snapshot
from .shown import Shown
from .submission import Submission
from .wishes import with_wish

if TYPE_CHECKING:
    from .session import Session


class Query(Shown, Finishes):
    """One analysis over one dataset, running on a master. `Session.process` makes it.

    Attributes:
        id: its number on the master, as text: for `Session.attach`, `eventmill status` and the like.
        name: what it is called in displays.

    Example:
        >>> query = session.process("events.root", missing_energy, name="MET")
        >>> query.name, query.result()["met"].sum(), query.state
        ('MET', 10000.0, 'done')
    """

    def __init__(self, session: Session, number: str, name: str) -> None:
        self._session = session
        self._changed = Changes()
        self._progress: messages.Progress | None = None
        self._snapshot: Snapshot | None = None
        self._snapshots = 0
        self._ending: Ending | None = None
        self._lost = ""
        self._steady_bins = SteadyBins()
        self._demand = Demand()
        self._claims = 0
        self._history = QueryHistory(name, session.starts_workers)
        self._notices = Notices(name, session.starts_workers)
        self._delegation: Delegation | None = None
        self._submission: Submission | None = None
        self.id = number
        self.name = name

    # --- watching -------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """ "running", "done", "stopped", "aborted" or "failed"."""
        return self._result.state if self._result is not None else "running"

    @property
    def account(self) -> Account:
        """What became of the dataset's entries, as far as it is known here."""
        if self._result is not None:
            return self._result.account
        return self._progress.account if self._progress is not None else Account()

    @property
    def progress(self) -> messages.Progress | None:
        """The master's latest report: entries reached, bytes read, slots at work; None before the first."""
        return self._progress

    @property
    def snapshot(self) -> Snapshot | None:
        """The latest merged result, None before the first.

        Of more than a megabyte, what is under a key is sent when it is read (`snapshot["mass"]`), and with each after it.
        """
        if self._demand.looked():
            self._session._watch.seen(self)
        return self._latest

    @property
    def view(self) -> QueryView:
        """Where it stands, as displays show it: rates, the time left, what it waits for, its past.

        Example:
            >>> query.view.state, query.view.fraction
            ('done', 1.0)
        """
        with self._changed.lock:
            return self._history.view()

    def report(self) -> Report:
        """What held the query back, and what each worker did and what it cost; there once the query is over.

        Printed it is words and a table; in a notebook, and as a file (`report.html(path)`), it has pictures.

        Example:
            >>> result = query.result()
            >>> report = query.report()
            >>> report.total.entries, list(report.servers)
            (10000, ['local files'])
        """
        return Report() if self._ending is None else with_wish(self._ending.report, self._session._watch)

    def logs(self, worker: str | None = None, grep: str | None = None, tail: int | None = None) -> Logs:
        """What the analysis has said so far: prints, warnings, log records, and its errors, the first of each kind in full.

        Arguments and errors are those of `Session.logs`, and `QueryFailed` when the master knows the query no more.

        Example:
            >>> query.logs(grep="Error")
            (nothing was said)
        """
        self._notices.shows_output = True
        return ask(self._session._watch, self.id).selected(worker, grep, tail)

    def log_feed(self) -> LogFeed:
        """The same for a display that draws itself again and again, and does not wait."""
        self._notices.shows_output = True
        return LogFeed(self._session._watch, lambda: self.id)

    def stream(self) -> Iterator[Snapshot]:
        """Merged snapshots as they come, about two a second, the last one being the result.

        A slow consumer misses snapshots in between, never the last.

        Raises:
            Exception: the query failed or was aborted; see `result`.

        Example:
            >>> [snapshot.account.processed for snapshot in query.stream()][-1]
            10000
        """
        seen = 0
        while True:
            try:
                self._wait(partial(self._newer_than, seen))
            except KeyboardInterrupt:
                self._stop_on_interrupt()
            if self._result is not None:
                yield self._final()
                return
            with self._changed.lock:
                snapshot, seen = self.snapshot, self._snapshots
            if snapshot is not None:
                yield snapshot

    async def __aiter__(self) -> AsyncIterator[Snapshot]:
        """As `stream`, in an event loop: `async for snapshot in query`.

        Example:
            >>> import asyncio
            >>> async def last(query):
            ...     return [snapshot.account.processed async for snapshot in query][-1]
            >>> asyncio.run(last(query))
            10000
        """
        seen = 0
        while self._result is None:
            await self._awaited(partial(self._newer_than, seen))
            with self._changed.lock:
                snapshot, seen = self.snapshot, self._snapshots
            if snapshot is not None and not snapshot.final:
                yield snapshot
        yield uncancelled(partial(self._final, 4))

    def __await__(self) -> Generator[Any, None, Result]:
        """As `result`, in an event loop: `result = await query`. A task that is cancelled leaves the query as it is."""
        yield from self._awaited(lambda: self._result is not None).__await__()
        return uncancelled(partial(self._final, 4))

    def result(self, timeout: float | None = None, *, progress: bool | None = None) -> Result:
        """Wait for the end of the query and return its result.

        Ctrl-C stops the query and returns what is done by then; a second Ctrl-C leaves.

        Args:
            timeout: seconds to wait at most.
            progress: show a progress bar; by default when the output is a terminal or a notebook.

        Raises:
            TimeoutError: the query was not over in time; it goes on.
            Exception: an exception of the analysis itself, with a note of where. What `partial` gives is its `result`.
            DatasetError: a file could not be read.
            QueryFailed: the query was aborted.
            ConnectionFailed: the master is gone, and did not come back within the session's `patience`.

        Example:
            >>> query.result(timeout=100)["met"].sum()
            10000.0
        """
        try:
            with ProgressDisplay(self, progress) as display:
                self._notices.shows_waiting = display.shown
                self._wait(lambda: self._result is not None, timeout)
        except KeyboardInterrupt:
            self._stop_on_interrupt()
        return self._final()

    def partial(self, timeout: float | None = None) -> Result:
        """What was merged before the query failed; its account lists all the rest. Of a query that has not, the result.

        The rest is a dataset: process it, with what was wrong put right, and merge the two.

        Args:
            timeout: seconds to wait at most for the end of the query.

        Raises:
            TimeoutError: the query was not over in time; it goes on.
            QueryFailed: what was merged cannot be trusted or completed.
            Exception: the query was aborted; see `result`.

        Example:
            >>> part = query.partial()                                        # or: error.result   # doctest: +SKIP
            >>> rest = session.process(part.account.failed_dataset(), corrected).result()          # doctest: +SKIP
            >>> whole = part.merged(rest)                                                          # doctest: +SKIP
        """
        self._wait(lambda: self._result is not None, timeout)
        assert self._ending is not None
        return self._finished(self._ending.part(self.id, self.name))

    # --- steering -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the query and keep what is done: `result()` then returns that, after two seconds at the latest.

        Nothing happens to a query that is over.

        Example:
            >>> query.stop()
            >>> query.result().state in ("done", "stopped")
            True
        """
        self._session._send(messages.Stop(self.id, keep=True))

    def abort(self) -> None:
        """End the query and drop what is merged: `result()` raises `QueryFailed` then.

        Nothing happens to a query that is over.

        Example:
            >>> endless = session.process(em.cycles(10**12, seed=1), lambda cycles: {"n": len(cycles)}, name="endless")
            >>> endless.abort()
            >>> endless.result()
            Traceback (most recent call last):
            eventmill.protocol.errors.QueryFailed: query endless was aborted: there is no result
        """
        self._session._send(messages.Stop(self.id, keep=False))

    def __repr__(self) -> str:
        wait = self.view.wait
        wait = f", waiting: {wait}" if wait else ""
        return f"<Query {self.id} {self.name!r} {self.state}: {describe_account(self.account)}{wait}>"

    # --- inside ---------------------------------------------------------------------------------------------------

    def _receive(self, message: Message, frames: list[Buffer]) -> None:
        """Take in a message about this query; called in the link's thread."""
        with self._changed:
            match message:
                case messages.Progress():
                    self._progress, self._notices.lines = message, message.lines
                    self._history.heard(message)
                case messages.Snapshot():
                    self._snapshot = self._snapshot_of(message, frames)
                    self._snapshots += 1
                    self._heard(self._snapshot)
                case messages.Ended():
                    self._notices.lines = message.lines
                    self._over(Ending.of(message, frames, self.name))
                    self._snapshots += 1

    def _lose(self, reason: str) -> None:
        """The master does not know this query any more; called in the link's thread."""
        with self._changed:
            self._lost = reason

    def _newer_than(self, seen: int) -> bool:
        return self._snapshots > seen

    def _wait(self, condition: Callable[[], bool], timeout: float | None = None) -> None:
        """Wait until `condition`, in ticks in which the master's health is looked at."""
        if self._result is None:
            self._session._check_not_forked()
        elif condition():  # without the lock: in a fork nobody may ever release it
            return
        if not self._changed.wait(condition, self._look, timeout):
            raise TimeoutError(f"query {self.name} is not over yet: {describe_account(self.account)}")

    async def _awaited(self, condition: Callable[[], bool]) -> None:
        if self._result is None:
            self._session._check_not_forked()
        await self._changed.awaited(condition, self._look)

    def _look(self) -> None:
        """Raise when nothing can come of the query any more; say what it waits for."""
        if self._result is None:
            if self._lost:
                raise QueryFailed(self._lost)
            self._session._check()
            self._notices.waits(self._progress)

    def _stop_on_interrupt(self) -> None:
        """The first Ctrl-C: stop the query and wait for what is done. A second one goes through to the user's script."""
        print("stopping; Ctrl-C again leaves without the result", file=sys.stderr)
        self.stop()
        self._wait(lambda: self._result is not None)

    @property
    def _result(self) -> Result | None:
        return self._ending.result if self._ending is not None else None

    def _final(self, level: int = 3) -> Result:
        """The result, if there is one to give; so many calls below the user's."""
        assert self._ending is not None
        self._notices.ended()
        result = self._ending.checked(self.id, self.name)
        if result.returned_none:
            warnings.warn(RETURNED_NONE, stacklevel=level)
        return result
