"""What user code and workers have said, asked of the master: once, or again and again for what is new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..display.logs import LogLine, Logs
from ..protocol import messages
from ..protocol.codec import Buffer
from ..protocol.messages import Message
from .feed import Feed

if TYPE_CHECKING:
    from .watch import Watch

MOST_ANSWERS = 200
"""That are taken in at once: a worker that goes on talking is not to keep anybody from getting an answer."""


def ask(watch: Watch, query: str = "", cursor: str = "") -> Logs:
    """All that the master has, or that is new since a cursor.

    Args:
        watch: the session's line to its master.
        query: the query; "" for all that there is.
        cursor: `Logs.cursor` of an earlier answer.

    Raises:
        ConnectionFailed: the master does not answer.
        QueryFailed: it knows no such query.
    """
    logs = Logs(cursor=cursor)
    for _ in range(MOST_ANSWERS):
        at = logs.cursor
        answer = watch.request(lambda number, at=at: messages.AskLogs(number, query, at), messages.Logs)  # type: ignore[misc]
        logs = logs.updated(_taken(answer))
        if not answer.more:
            break
    return logs


class LogFeed(Feed):
    """What is said for a query, followed without waiting: for a display that draws itself again and again.

    Args:
        watch: the session's line to its master.
        query: gives the number of the query; "" for all that there is.

    Example:
        >>> feed = query.log_feed()                                                                  # doctest: +SKIP
        >>> feed.poll()             # asks for what is new, and does not wait                         # doctest: +SKIP
        >>> feed.version, feed.logs.selected(tail=20)     # a version that has not changed: nothing is new  # doctest: +SKIP
    """

    def __init__(self, watch: Watch, query: Callable[[], str]) -> None:
        super().__init__(watch)
        self._query = query
        self._version = 0
        self._logs = Logs()

    @property
    def version(self) -> int:
        """Changes whenever `logs` does."""
        return self._version

    @property
    def logs(self) -> Logs:
        """All that has come so far; a new object whenever there is more."""
        return self._logs

    def _question(self, number: int) -> Message:
        return messages.AskLogs(number, self._query(), self._logs.cursor)

    def _take(self, answer: Message, frames: Sequence[Buffer]) -> bool:
        """A master may not know the query any more."""
        if not isinstance(answer, messages.Logs):
            return False
        news = _taken(answer)
        if len(news) or news.unkept != self._logs.unkept:
            self._logs = self._logs.updated(news)
            self._version += 1
        return answer.more


def _taken(answer: messages.Logs) -> Logs:
    now = datetime.now().astimezone()
    return Logs([LogLine.of(entry, now) for entry in answer.entries], answer.unkept, answer.cursor)
