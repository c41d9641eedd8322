"""What the slots of a query are doing, as far as they have said that it takes long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..packetizer.leases import Lease
from ..protocol.messages import Activity, Doing, Wait

QUIET = 2.0
"""Seconds without an answer of a file server after which a query says that it waits for it."""
FEW = 16
"""Leases of which something is remembered beside those that are live, and as many as these again."""
_BEGINNINGS: tuple[Activity, ...] = ("running", "compiling", "reading", "opening", "loading")
"""What the first slots do, the nearest to a result first."""


class Activities:
    """What slots have said of the leases of one query."""

    def __init__(self) -> None:
        self._said: dict[int, tuple[Doing, float]] = {}
        self._most = FEW

    def said(self, message: Doing, leases: Mapping[int, Lease[Any]], now: float) -> None:
        """A slot says what it has been doing. What was said of leases that are not live is forgotten."""
        self._said[message.lease] = message, now - message.seconds
        if len(self._said) > self._most:
            self._said = {number: said for number, said in self._said.items() if number in leases}
            self._most = 2 * len(self._said) + FEW

    def at(self, lease: int, leases: Mapping[int, Lease[Any]]) -> Activity:
        """What the slot is at that works on a live lease."""
        if lease in self._said:
            return self._said[lease][0].what
        return "opening" if lease in leases and leases[lease].opening else "running"

    def wait(self, leases: Mapping[int, Lease[Any]], now: float) -> Wait | None:
        """The slots that wait for file servers, None when none does for longer than is usual."""
        waits = [
            (since, it) for it, since in self._live(leases)
            if it.what in ("opening", "reading") and "://" in it.path and now - since >= QUIET
        ]  # fmt: skip
        if not waits:
            return None
        since, longest = min(waits, key=lambda wait: wait[0])
        address = urlsplit(longest.path)
        server, file = address.netloc.rpartition("@")[2], address.path.rpartition("/")[2]
        return Wait("server", len(waits), server, file, now - since)

    def beginning(self, leases: Mapping[int, Lease[Any]], otherwise: Activity) -> Activity:
        """What there is before the first result; `otherwise` is taken when nothing has been said."""
        said = {it.what for it, _ in self._live(leases)} or {otherwise}
        return next(what for what in _BEGINNINGS if what in said)

    def _live(self, leases: Mapping[int, Lease[Any]]) -> Iterable[tuple[Doing, float]]:
        return [said for number, said in self._said.items() if number in leases and not leases[number].finished]
