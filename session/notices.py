"""What is said of a query, once each, where nothing of it is drawn: in the output of a script."""

from __future__ import annotations

import logging
import time

from ..display.waits import is_starting, waiting
from ..protocol.messages import Progress

log = logging.getLogger(__name__)

_SILENT = 4.0
"""Seconds that a query may wait for something before a script is told what for."""
_STARTING = 30.0
"""The same, while the session's own workers start: a machine may be busy, and there is nothing to be done about it."""


class Notices:
    """Of one query.

    Args:
        name: what it is called.
        starts_workers: whether its workers start by themselves.

    Attributes:
        shows_waiting: something else shows what the query waits for.
        lines: that the analysis has said.
        shows_output: somebody has asked for what its analysis says.
    """

    def __init__(self, name: str, starts_workers: bool) -> None:
        self._name = name
        self._starts_workers = starts_workers
        self._waiting_since: float | None = None
        self.lines = 0
        self.shows_waiting = False
        self.shows_output = False

    def waits(self, progress: Progress | None) -> None:
        """The query is waited for: say what it has been waiting for for long."""
        wait = "" if progress is None else waiting(progress, self._starts_workers)
        starting = progress is not None and is_starting(progress, self._starts_workers)
        patience = _STARTING if starting else _SILENT
        now = time.monotonic()
        self._waiting_since = (self._waiting_since or now) if wait else None
        if not self.shows_waiting and self._waiting_since is not None and now - self._waiting_since > patience:
            self.shows_waiting = True
            log.warning("query %s is waiting: %s", self._name, wait)

    def ended(self) -> None:
        """The query is over: say that its analysis has said something, which somebody may look for."""
        if self.lines and not self.shows_output:
            self.shows_output = True
            output = "1 line of output" if self.lines == 1 else f"{self.lines:,} lines of output"
            log.warning("query %s: %s from the analysis, which query.logs() shows", self._name, output)
