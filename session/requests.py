"""What a session has asked its master and has had no answer to."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..protocol import messages
from ..protocol.codec import Buffer
from ..protocol.errors import ConnectionFailed, EventmillError, QueryFailed, RemoteProtocolError
from ..protocol.messages import Message

Answer = TypeVar("Answer", bound=Message)
Said = TypeVar("Said")
Answered = Callable[[Message, Sequence[Buffer]], None]
"""Is called with an answer and the frames that belong to it."""
BROKEN = messages.Fault(
    "the connection to the master broke before its answer came, and nobody knows whether it took the request: "
    "session.queries() lists what is running"
)
"""The answer to all that is open when the connection breaks."""


TELLING: frozenset[type[Message]] = frozenset(
    {
        messages.AccessList,
        messages.Cluster,
        messages.DatasetIs,
        messages.Datasets,
        messages.Logs,
        messages.Pools,
        messages.PartIs,
        messages.Queries,
        messages.Workers,
    }
)
"""Answers to questions that change nothing, which may be asked again."""

log = logging.getLogger(__name__)


class Interrupted(ConnectionFailed):
    """The connection broke before the answer to a request came: nobody knows whether the master took it."""


class Lacks(EventmillError):
    """The master does not have all attachments of an analysis: it is to be submitted again, with these."""

    def __init__(self, digests: list[str]) -> None:
        super().__init__(f"the master lacks {len(digests)} arrays of the analysis")
        self.digests = digests


class OpenRequests:
    """The requests without an answer, by number, and who waits for each.

    Threads of the session add and withdraw; the link's thread answers. Each is answered once at most.

    Example:
        >>> requests, heard = OpenRequests(), []
        >>> number = requests.add(lambda message, frames: heard.append(message))
        >>> requests.answer(number, messages.Bye())
        >>> heard, number in requests
        ([Bye(reason='')], False)
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Answered] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, number: object) -> bool:
        return number in self._waiting

    def add(self, answered: Answered) -> int:
        """A new request's number; `answered` is called with its answer."""
        number = next(self._numbers)
        self._waiting[number] = answered
        return number

    def withdraw(self, number: int) -> None:
        """Nobody waits for this answer any more."""
        self._waiting.pop(number, None)

    def answer(self, number: int, message: Message, frames: Sequence[Buffer] = ()) -> None:
        """Hand the answer, and its frames, to who waits for it, if somebody does."""
        answered = self._waiting.pop(number, None)
        if answered is not None:
            answered(message, frames)

    def answer_all(self, message: messages.Fault) -> None:
        """No request of before will have another answer."""
        for number in list(self._waiting):
            self.answer(number, message)


def until_answered(ask: Callable[[], Said], expect: type[Message]) -> Said:
    """What `ask` returns. Whenever the connection breaks before the answer came, a question is asked once more.

    Args:
        ask: asks and waits; it raises `Interrupted` when the connection broke.
        expect: the type of a good answer, which says whether it is a question that changes nothing.
    """
    while True:
        try:
            return ask()
        except Interrupted:
            if expect not in TELLING:
                raise
            log.info("the connection broke before the master told its %s: asked once more", expect.__name__)


def checked(answer: Message, expect: type[Answer]) -> Answer:
    """The answer, if it is what was asked for.

    Raises:
        QueryFailed: the master refuses; the text says why.
        Lacks: it does not have what belongs to a submission.
        ConnectionFailed: the connection is lost; `Interrupted` when that was after the question.
        RemoteProtocolError: it answers something else.
    """
    if isinstance(answer, messages.Refused):
        raise QueryFailed(answer.reason)
    if isinstance(answer, messages.Lacking):
        raise Lacks(answer.digests)
    if isinstance(answer, messages.Fault):
        raise (Interrupted if answer is BROKEN else ConnectionFailed)(answer.reason)
    if not isinstance(answer, expect):
        raise RemoteProtocolError(f"the master answered {type(answer).__name__}, not {expect.__name__}")
    return answer
