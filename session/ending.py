"""What a query ended with: its result, its report, and the exception that ended it, raised in the session as in the slot."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ..display.account_text import counted
from ..display.report.report import Report
from ..protocol import errors, messages
from ..protocol.addresses import shown
from ..protocol.codec import Frames
from ..protocol.errors import AnalysisError, CountError, EventmillError, QueryFailed
from ..protocol.foreign import add_note, attribute
from ..protocol.messages import Failure
from .result import Result

_NOTHING = object()


@dataclass(frozen=True)
class Ending:
    """What a query ended with.

    Attributes:
        result: what is merged, also of a query that failed.
        report: what it cost.
        failure, exception: what ended it, and the exception itself as it was pickled in a slot.
        trouble: why its files could not be finished.
    """

    result: Result
    report: Report
    failure: Failure | None = None
    exception: bytes = b""
    trouble: Exception | None = None

    @classmethod
    def of(cls, message: messages.Ended, frames: Frames, name: str) -> Ending:
        """As the master tells it of the query of this name."""
        split = message.result_frames
        missing = msgspec.msgpack.decode(frames[split], type=list[messages.LostRange])
        lost, undone = [it for it in missing if not it.undone], [it for it in missing if it.undone]
        account = msgspec.structs.replace(message.account, lost=lost, undone=undone)
        report = Report(
            message.report,
            seconds=message.seconds,
            course=message.course,
            account=account,
            name=name,
            state=message.state,
            starts=message.starts,
        )
        exception = b"".join(bytes(frame) for frame in frames[split + 1 :])
        result = Result(frames[:split], account, message.seconds, message.state)
        return cls(result, report, message.failure, exception)

    def checked(self, query: str, name: str) -> Result:
        """The result, if there is one to give.

        Raises:
            Exception: what ended the query of this number and name; its `result` is what was merged before.
            QueryFailed: it was aborted.
            CountError: the result does not count the entries that it is said to hold.
        """
        if self.failure is not None:
            error = rebuild(self.failure, self.exception, self.result.account.files)
            if self._offers:
                _give(error, self._counted(query, name))
            raise error
        if self.trouble is not None:
            raise self.trouble
        if self.result.state == "aborted":
            raise QueryFailed(f"query {name} was aborted: there is no result")
        return self._counted(query, name)

    def part(self, query: str, name: str) -> Result:
        """What was merged before the query failed, which may be nothing.

        Raises as `checked` if it did not, or QueryFailed if what was cannot be relied on, or the rest cannot be told.
        """
        if self.failure is None:
            return self.checked(query, name)
        if not self._offers:
            raise QueryFailed(f"query {name} failed and offers no part of its result: process all of it again")
        return self._counted(query, name)

    @property
    def _offers(self) -> bool:
        """Whether a query that has failed offers its part, all the rest being in its account."""
        account = self.result.account
        return bool(self.result._frames) or (account.processed == 0 and bool(account.lost) and not account.estimated)

    def _counted(self, query: str, name: str) -> Result:
        try:
            self.result.check_count()
        except CountError as error:
            raise CountError(f"query {query} {name!r}: {error}") from None
        return self.result


def rebuild(failure: Failure, pickled: bytes, files: int = 1) -> BaseException:
    """The exception that a failure stands for: the original one where it can be unpickled, with a note of where it was
    raised, or an `AnalysisError` with its type and message, as for `sys.exit()`, which would end the user's script without
    a word. Of a query over so many `files`."""
    error: object = None
    if pickled:
        try:
            error = pickle.loads(pickled)
        except KeyboardInterrupt:  # the user's: it takes long
            raise
        except BaseException:
            error = None
    if not isinstance(error, BaseException) or isinstance(error, SystemExit | KeyboardInterrupt):
        kind = getattr(errors, failure.error, None)
        if isinstance(kind, type) and issubclass(kind, EventmillError):
            error = kind(failure.message)
        else:
            error = AnalysisError(f"{failure.error}: {failure.message}")
        if failure.notes:
            add_note(error, failure.notes)
    note = where(failure)
    if note:
        add_note(error, note)
    if failure.missing and files > 1:
        add_note(
            error,
            f"if other files of the dataset have {failure.missing}, say what it is in those that have not: "
            f"Dataset(..., defaults={{{failure.missing!r}: 0.0}})",
        )
    return error


def uncancelled(final: Callable[[], Result]) -> Result:
    """A result for a task of an event loop: what an analysis raised as cancelled does not cancel it."""
    try:
        return final()
    except asyncio.CancelledError as error:
        raise AnalysisError(f"CancelledError: {error}") from error


def _give(error: BaseException, part: Result) -> None:
    """Let the error of a failed query have what was merged of it as its `result`, and say so in a note.

    What a user's exception itself calls its result stays; `Query.partial` has the part, too.
    """
    where = "query.partial()"
    if attribute(error, "result", _NOTHING) is _NOTHING or isinstance(error, EventmillError):
        with contextlib.suppress(Exception):  # of a class whose attributes cannot be set
            error.result = part  # type: ignore[attr-defined]
            where = "error.result"
    account = part.account
    if account.processed:
        rest = "account.failed_dataset() the rest" if account.kind == "tree" else "account.lost the numbers of the rest"
        merged = f"{account.processed:,} {counted(account, account.processed)} were merged"
        add_note(error, f"{merged}: {where} is what they gave, its {rest}")


def where(failure: Failure) -> str:
    """The place of a failure, in lines for the end of a traceback."""
    lines = []
    if failure.path:
        place = f"in {shown(failure.path)}" + (f":{failure.tree}" if failure.tree else "")
        if failure.start is not None and failure.stop is not None:
            one = failure.stop == failure.start + 1
            place += f", entry {failure.start}" if one else f", entries {failure.start} to {failure.stop}"
        lines.append(place + (f" (worker {failure.worker})" if failure.worker else ""))
    if failure.traceback:
        lines.append("on the worker, most recent call last:\n" + failure.traceback.rstrip())
    return "\n".join(lines)
