"""What displays draw of a query while it runs: its snapshots, or miniatures of them where they are large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..protocol import messages
from ..protocol.codec import Buffer
from ..protocol.messages import Message
from .feed import Feed
from .result import Snapshot

if TYPE_CHECKING:
    from .shown import Shown
    from .watch import Watch

Window = tuple[float, float]


class ResultFeed(Feed):
    """Follows the result of a query without waiting, for a display that draws itself again and again.

    Args:
        watch: the session's line to its master.
        query: whose result it is.

    Example:
        >>> feed = query.result_feed()                                                               # doctest: +SKIP
        >>> feed.poll()             # asks for what is new, where that takes asking                  # doctest: +SKIP
        >>> feed.snapshot.opened["mass"]          # with 2,000 bins, where it has a million          # doctest: +SKIP
    """

    def __init__(self, watch: Watch, query: Shown) -> None:
        super().__init__(watch)
        self._query = query
        self._names: list[str] = []
        self._windows: dict[str, Window] = {}
        self._after = 0
        self._asked: tuple[list[str], dict[str, Window]] = [], {}
        self._told: Snapshot | None = None
        self._made: tuple[Snapshot, Snapshot] | None = None

    def look(self, names: Sequence[str], windows: Mapping[str, Window]) -> None:
        """Say which histograms are looked at, and from where to where some of them are."""
        if list(names) != self._names or dict(windows) != self._windows:
            self._names, self._windows = list(names), dict(windows)
            self._after, self._made = 0, None

    def poll(self) -> None:
        """Ask for a miniature, if the result is large and goes on; else snapshots come by themselves."""
        whole = self._query._latest
        if whole is not None and not whole.final and whole.large:
            super().poll()

    @property
    def snapshot(self) -> Snapshot | None:
        """The latest there is, the result at the end; another object whenever there is another one."""
        whole, told = self._query._latest, self._told
        if whole is None or not whole.large:
            return whole
        if (
            told is not None
            and not whole.final
            and (whole.is_part or told.account.processed >= whole.account.processed)
        ):
            return told
        if self._made is None or self._made[0] is not whole:
            self._made = whole, whole.small(self._names, self._windows)
        return self._made[1]

    def _question(self, number: int) -> Message:
        self._asked = self._names, self._windows
        return messages.AskMiniature(number, self._query.id, self._after, self._names, self._windows)

    def _take(self, answer: Message, frames: Sequence[Buffer]) -> bool:
        """A master may not know the query any more, or have nothing new."""
        if isinstance(answer, messages.Miniature) and frames:
            self._told = Snapshot(list(frames), answer.account, answer.seconds, "running", self._query._steady_bins)
            if self._asked == (self._names, self._windows):  # else the same is to be seen in another way
                self._after = answer.account.processed
        return False
