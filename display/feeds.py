"""What displays follow without waiting, as they see it: a session has both (`session.cluster`, `session.logs`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from .cluster_view import ClusterView
from .logs import Logs


class ClusterFeed(Protocol):
    """What goes on at a master."""

    @property
    def view(self) -> ClusterView:
        """All that has come so far."""

    @property
    def answers(self) -> int:
        """How often the master has answered."""

    def poll(self) -> None:
        """Ask for what is new."""


S_co = TypeVar("S_co", covariant=True)


class ResultFeed(Protocol[S_co]):
    """What is merged of a query, as far as a display draws it."""

    @property
    def snapshot(self) -> S_co | None:
        """The latest: of large results, with as many bins as a screen shows."""

    def look(self, names: Sequence[str], windows: Mapping[str, tuple[float, float]]) -> None:
        """Say which histograms are looked at, and from where to where some of them are."""

    def poll(self) -> None:
        """Ask for what is new."""


class LogFeed(Protocol):
    """What is said, by all or for a query."""

    @property
    def version(self) -> int:
        """Changes whenever `logs` does."""

    @property
    def logs(self) -> Logs:
        """All that has come so far."""

    def poll(self) -> None:
        """Ask for what is new."""
