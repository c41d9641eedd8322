"""What is going on at a session's master, asked once, or again and again for what is new."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..display.cluster_view import ClusterHistory, ClusterView
from ..protocol import messages
from ..protocol.errors import EventmillError
from ..protocol.messages import Message

if TYPE_CHECKING:
    from .watch import Watch

log = logging.getLogger(__name__)


def ask(watch: Watch, starts_workers: bool) -> ClusterView:
    """All that there is.

    Raises:
        ConnectionFailed: the master does not answer.
    """
    history, cursor, more = ClusterHistory(starts_workers), "", True
    while more:
        at = cursor
        answer = watch.request(lambda number, at=at: messages.AskCluster(number, at), messages.Cluster)  # type: ignore[misc]
        history.heard(answer)
        cursor, more = answer.cursor, answer.more
    return history.view


class ClusterFeed:
    """What is going on, followed without waiting: for a display that draws itself again and again.

    Args:
        watch: the session's line to its master.
        starts_workers: whether its workers start by themselves.
        answered: called when the master has answered, in another thread.

    Example:
        >>> feed = session.cluster_feed()                                                            # doctest: +SKIP
        >>> feed.poll()                     # asks for what is new, and does not wait                 # doctest: +SKIP
        >>> feed.view.busy, feed.view.slots                                                          # doctest: +SKIP
    """

    def __init__(self, watch: Watch, starts_workers: bool, answered: Callable[[], None] | None = None) -> None:
        self._watch = watch
        self._tell = answered
        self._lock = threading.Lock()
        self._asking = False
        self._cursor = ""
        self._history = ClusterHistory(starts_workers)
        self._answers = 0

    @property
    def view(self) -> ClusterView:
        """All that has come so far; a new object whenever there is more."""
        return self._history.view

    @property
    def answers(self) -> int:
        """How often the master has answered; it stands still while that is away."""
        return self._answers

    def poll(self) -> None:
        """Ask for what is new; nothing happens while an answer is awaited. To be called once a second or so."""
        with self._lock:
            if self._asking or self._watch.link.closed:
                return
            self._asking = True
        self._ask()

    def _ask(self) -> None:
        cursor = self._cursor
        try:
            self._watch.link.ask(lambda number: messages.AskCluster(number, cursor), self._answered)
        except EventmillError as error:  # the master is away, or the session was closed: perhaps it is there next time
            log.debug("not asked for what is going on: %s", error)
            self._asking = False

    def _answered(self, answer: Message) -> None:
        """In the link's thread. A master that does not answer is asked again later."""
        if isinstance(answer, messages.Cluster):
            self._history.heard(answer)
            self._cursor = answer.cursor
            self._answers += 1
            if answer.more:
                self._ask()
                return
        self._asking = False
        if self._tell is not None and isinstance(answer, messages.Cluster):
            self._tell()
