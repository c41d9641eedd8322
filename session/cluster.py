"""What is going on at a session's master, asked once, or again and again for what is new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..display.cluster_view import ClusterHistory, ClusterView
from ..protocol import messages
from ..protocol.codec import Buffer
from ..protocol.messages import Message
from .feed import Feed

if TYPE_CHECKING:
    from .watch import Watch


class ClusterFeed(Feed):
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
        super().__init__(watch)
        self._tell = answered
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

    def now(self) -> ClusterView:
        """The same, waiting for the answer. To be called by who does not `poll`.

        Raises:
            ConnectionFailed: the master does not answer.
        """
        while self._take(self._watch.request(self._question, messages.Cluster), ()):
            pass
        return self.view

    def _question(self, number: int) -> Message:
        return messages.AskCluster(number, self._cursor)

    def _take(self, answer: Message, frames: Sequence[Buffer]) -> bool:
        if not isinstance(answer, messages.Cluster):
            return False
        self._history.heard(answer)
        self._cursor = answer.cursor
        self._answers += 1
        return answer.more

    def _answered(self, answer: Message, frames: Sequence[Buffer]) -> None:
        super()._answered(answer, frames)
        if self._tell is not None and isinstance(answer, messages.Cluster) and not answer.more:
            self._tell()
