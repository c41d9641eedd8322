"""`eventmill top`: the full-screen view (`display.terminal`) of the master that a session is connected to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..session.query import Query
    from ..session.session import Session


class SessionSource:
    """What the view shows, from a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._watched: Query | None = None
        self.address = session.address
        self.starts_workers = session.starts_workers
        self.feed = session.cluster_feed()
        self.said = session.log_feed()

    def watch(self, query: str) -> Query:
        """Have a query's snapshots come, and those of no other."""
        before, self._watched = self._watched, None
        if before is not None:
            before.leave()
        self._watched = self._session.attach(query)
        self._watched.wants_all()
        return self._watched

    def stop(self, query: str, keep: bool) -> None:
        """End a query."""
        self._session.stop(query, keep=keep)


def run(connect: Callable[[], Session]) -> None:
    """Show the view until the user has seen enough.

    Raises:
        ClickException: there is no terminal to show it in, or what it is made of is not installed.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.ClickException(
            "this is no terminal; `eventmill status --json` and `eventmill logs --json` are for programs"
        )
    try:
        import histoprint  # noqa: F401

        from ..display.terminal.app import Top
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("histoprint", "textual"):
            raise
        raise click.ClickException(f"there is no {error.name} here: pip install 'eventmill[top]'") from None
    with connect() as session:
        Top(SessionSource(session)).run()
