"""Queries in notebooks: a query shows itself as a live view."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..display.show import Widget, widget_of
from .remainder import Remainder
from .result import Snapshot
from .result_feed import ResultFeed

if TYPE_CHECKING:
    from ..merge.sketch_bins import SteadyBins
    from ..protocol import messages
    from ..protocol.codec import Frames
    from ..protocol.messages import Failure
    from .demand import Demand
    from .ending import Ending
    from .session import Session


class Shown:
    """The part of a `Query` that is its view in a notebook."""

    _widget: Widget | None = None
    _ending: Ending | None
    _snapshot: Snapshot | None
    _steady_bins: SteadyBins
    _demand: Demand
    id: str
    _session: Session

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

    def settle(self) -> None:
        """Wait until the widget that shows it, if there is one, shows how it ended.

        Example:
            >>> query.settle()                                                                    # doctest: +SKIP
        """
        if self._widget is not None:
            self._widget.settle()

    @property
    def _latest(self) -> Snapshot | None:
        """As `Query.snapshot`, for displays, which need no other one sent."""
        return (self._ending.result if self._ending is not None else None) or self._snapshot

    def result_feed(self) -> ResultFeed:
        """What is merged, for a display that draws itself again and again: of a large result, what a screen can show of it.

        Example:
            >>> feed = query.result_feed()                                                        # doctest: +SKIP
            >>> feed.poll()                 # asks for what is new, and does not wait              # doctest: +SKIP
            >>> feed.snapshot.opened["mass"]                                                      # doctest: +SKIP
        """
        return ResultFeed(self._session._watch, self)

    def wants_all(self) -> None:
        """Have all of its result in each snapshot, also when it is large: for displays, which wait for nothing.

        Example:
            >>> session.attach(query.id).wants_all()                                              # doctest: +SKIP
        """
        self._demand.wants(None)
        self._session._watch.seen(self)  # type: ignore[arg-type]

    def _snapshot_of(self, message: messages.Snapshot, frames: Frames) -> Snapshot:
        rest = Remainder(self) if message.part else None  # type: ignore[arg-type]
        return Snapshot(frames, message.account, message.seconds, "running", self._steady_bins, rest)

    @property
    def failure(self) -> Failure | None:
        """What ended the query, as the slot told it; None if nothing did, or it is not over."""
        return self._ending.failure if self._ending is not None else None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, in an event loop, until what is looked at here is as `condition` wants it.

        Raises:
            QueryFailed, ConnectionFailed: nothing more will come of the query.
        """
        await self._awaited(condition)

    def leave(self) -> None:
        """Hear no more of the query: it goes on, and this object stays as it is. Whoever else watches it, watches on.

        Example:
            >>> session.attach(query.id).leave()                                                  # doctest: +SKIP
        """
        self._session._watch.leave(self)  # type: ignore[arg-type]

    async def _awaited(self, condition: Callable[[], bool]) -> None:
        raise NotImplementedError

    def _ipython_display_(self) -> None:
        self._widget = None  # as often as the user asks
        if not self.show():
            print(self)  # noqa: T201
