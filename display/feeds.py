"""What displays follow without waiting, as they see it: a session has both (`session.cluster`, `session.logs`)."""

from __future__ import annotations

from typing import Protocol

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
