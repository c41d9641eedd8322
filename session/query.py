"""A query as its user sees it: watch it, wait for it, stop it."""

from __future__ import annotations

import pickle
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ..display.account_text import counted, describe_account
from ..display.logs import Logs
from ..display.progress_line import ProgressDisplay
from ..display.query_view import QueryHistory, QueryView
from ..display.report.report import Report
from ..display.show import widget_of
from ..protocol import errors, messages
from ..protocol.codec import Buffer
from ..protocol.credentials import Credentials
from ..protocol.errors import AnalysisError, CountError, EventmillError, QueryFailed
from ..protocol.messages import Account, Failure, Message, State
from .logs import LogFeed, ask
from .notices import Notices
from .result import RETURNED_NONE, Result, Snapshot
from .submission import Submission

if TYPE_CHECKING:
    from .session import Session

_TICK = 0.25
"""How often a waiting call looks whether master and worker are still alive."""


class Query:
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
        self._changed = threading.Condition()
        self._progress: messages.Progress | None = None
        self._snapshot: Snapshot | None = None
        self._snapshots = 0
        self._result: Result | None = None
        self._failure: Failure | None = None
        self._exception: bytes = b""
        self._report = Report()
        self._lost = ""
        self._history = QueryHistory(name, session.starts_workers)
        self._notices = Notices(name, session.starts_workers)
        self._widget: object = None
        self._credentials: Credentials | None = None
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
        """The latest merged result, None before the first."""
        return self._result or self._snapshot

    @property
    def view(self) -> QueryView:
        """Where it stands, as displays show it: rates, the time left, what it waits for, its past.

        Example:
            >>> query.view.state, query.view.fraction
            ('done', 1.0)
        """
        with self._changed:
            return self._history.view()

    def report(self) -> Report:
        """What each worker did and what it cost, a table when it is shown; there once the query is over.

        Example:
            >>> result = query.result()
            >>> report = query.report()
            >>> report.total.entries, list(report.servers)
            (10000, ['local files'])
        """
        return self._report

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

    def show(self) -> bool:
        """Show it in a notebook while it runs: how far it is, its histograms as they fill, buttons to stop and to abort it.

        A query that is the last value of a cell is shown so, and one that `result` waits for. One that is shown already
        stays where it is.

        Returns:
            whether a widget shows it: that takes a notebook, and the extra `notebook` (anywidget).

        Example:
            >>> query.show()                                                                      # doctest: +SKIP
        """
        if self._widget is None:
            self._widget = widget_of(self)
        return self._widget is not None

    def _ipython_display_(self) -> None:
        self._widget = None  # as often as the user asks
        if not self.show():
            print(self)

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
                yield self._checked(self._result)
                return
            with self._changed:
                snapshot, seen = self.snapshot, self._snapshots
            if snapshot is not None:
                yield snapshot

    def result(self, timeout: float | None = None, *, progress: bool | None = None) -> Result:
        """Wait for the end of the query and return its result.

        Ctrl-C stops the query and returns what is done by then; a second Ctrl-C leaves.

        Args:
            timeout: seconds to wait at most.
            progress: show a progress bar; by default when the output is a terminal or a notebook.

        Raises:
            TimeoutError: the query was not over in time; it goes on.
            Exception: an exception of the analysis itself, as it was raised, with a note of where.
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
        assert self._result is not None
        return self._checked(self._result)

    def partial(self, timeout: float | None = None) -> Result:
        """What was merged before the query failed; its account lists all the rest. Of a query that has not, the result.

        The rest is a dataset: process it, with what was wrong put right, and merge the two.

        Args:
            timeout: seconds to wait at most for the end of the query.

        Raises:
            TimeoutError: the query was not over in time; it goes on.
            QueryFailed: nothing was merged, or what was cannot be trusted or completed.
            Exception: the query was aborted; see `result`.

        Example:
            >>> part = query.partial()                                                             # doctest: +SKIP
            >>> rest = session.process(part.account.failed_dataset(), corrected).result()          # doctest: +SKIP
            >>> whole = part.merged(rest)                                                          # doctest: +SKIP
        """
        self._wait(lambda: self._result is not None, timeout)
        result = self._result
        assert result is not None
        if self._failure is None:
            return self._checked(result)
        if not result._frames:
            raise QueryFailed(f"query {self.name} failed and offers no part of its result: process all of it again")
        self._check_count(result)
        return result

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
        wait = self._notices.waits_for(self._progress) if self._result is None else ""
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
                    self._snapshot = Snapshot(frames, message.account, message.seconds, "running")
                    self._snapshots += 1
                case messages.Ended():
                    split = message.result_frames
                    lost = msgspec.msgpack.decode(frames[split], type=list[messages.LostRange])
                    account = msgspec.structs.replace(message.account, lost=lost)
                    self._result = Result(frames[:split], account, message.seconds, message.state)
                    self._failure, self._notices.lines = message.failure, message.lines
                    self._exception = b"".join(bytes(frame) for frame in frames[split + 1 :])
                    self._report = Report(
                        message.report,
                        seconds=message.seconds,
                        course=message.course,
                        account=account,
                        name=self.name,
                        state=message.state,
                    )
                    self._history.ended(self._result)
                    self._snapshots += 1
            self._changed.notify_all()

    def _lose(self, reason: str) -> None:
        """The master does not know this query any more; called in the link's thread."""
        with self._changed:
            self._lost = reason
            self._changed.notify_all()

    def _newer_than(self, seen: int) -> bool:
        return self._snapshots > seen

    def _wait(self, condition: Callable[[], bool], timeout: float | None = None) -> None:
        """Wait until `condition`, in ticks in which the master's health is looked at."""
        if self._result is None:
            self._session._check_not_forked()
        elif condition():  # without the lock: in a fork nobody may ever release it
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not condition():
                if self._result is None:
                    if self._lost:
                        raise QueryFailed(self._lost)
                    self._session._check()
                    self._notices.waits(self._progress)
                left = _TICK if deadline is None else min(_TICK, deadline - time.monotonic())
                if left <= 0:
                    raise TimeoutError(f"query {self.name} is not over yet: {describe_account(self.account)}")
                self._changed.wait(left)

    def _stop_on_interrupt(self) -> None:
        """The first Ctrl-C: stop the query and wait for what is done. A second one goes through to the user's script."""
        print("stopping; Ctrl-C again leaves without the result", file=sys.stderr)
        self.stop()
        self._wait(lambda: self._result is not None)

    def _checked(self, result: Result) -> Result:
        """The result, if there is one to give."""
        self._notices.ended()
        if self._failure is not None:
            error = rebuild(self._failure, self._exception, result.account.files)
            if result._frames:
                error.add_note(_offer(result.account))
            raise error
        if result.state == "aborted":
            raise QueryFailed(f"query {self.name} was aborted: there is no result")
        self._check_count(result)
        if result.returned_none:
            warnings.warn(RETURNED_NONE, stacklevel=3)
        return result

    def _check_count(self, result: Result) -> None:
        try:
            result.check_count()
        except CountError as error:
            raise CountError(f"query {self.id} {self.name!r}: {error}") from None


def rebuild(failure: Failure, pickled: bytes, files: int = 1) -> Exception:
    """The exception that a failure stands for: the original one where it can be unpickled, with a note of where it was
    raised, or an `AnalysisError` with its type and message. Of a query over so many `files`."""
    error: object = None
    if pickled:
        try:
            error = pickle.loads(pickled)
        except Exception:
            error = None
    if not isinstance(error, Exception):
        kind = getattr(errors, failure.error, None)
        if isinstance(kind, type) and issubclass(kind, EventmillError):
            error = kind(failure.message)
        else:
            error = AnalysisError(f"{failure.error}: {failure.message}")
        if failure.notes:
            error.add_note(failure.notes)
    note = where(failure)
    if note:
        error.add_note(note)
    if failure.missing and files > 1:
        error.add_note(
            f"if other files of the dataset have {failure.missing}, say what it is in those that have not: "
            f"Dataset(..., defaults={{{failure.missing!r}: 0.0}})"
        )
    return error


def _offer(account: Account) -> str:
    """What is to be had of a failed query, as a note of its error."""
    rest = "account.failed_dataset() the rest" if account.kind == "tree" else "account.lost the numbers of the rest"
    merged = f"{account.processed:,} {counted(account, account.processed)} were merged"
    return f"{merged}: query.partial() is their result, its {rest}"


def where(failure: Failure) -> str:
    """The place of a failure, in lines for the end of a traceback."""
    lines = []
    if failure.path:
        place = f"in {failure.path}" + (f":{failure.tree}" if failure.tree else "")
        if failure.start is not None and failure.stop is not None:
            one = failure.stop == failure.start + 1
            place += f", entry {failure.start}" if one else f", entries {failure.start} to {failure.stop}"
        lines.append(place + (f" (worker {failure.worker})" if failure.worker else ""))
    if failure.traceback:
        lines.append("on the worker, most recent call last:\n" + failure.traceback.rstrip())
    return "\n".join(lines)
