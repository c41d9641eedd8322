"""What workers did for queries, and what that cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..protocol.usage import NOTHING, Course, Span, Usage, WorkerInfo
from .timeline import Timeline


@dataclass(slots=True)
class Share:
    """What one worker did for a query, and what that cost, by its slots and by the file servers that it read from.

    `joined`, `left` and `spans` are in seconds since the query began, as in `WorkerInfo`.
    """

    host: str
    pid: int
    slots: int
    packets: int = 0
    entries: int = 0
    seconds: float = 0.0
    site: str = ""
    by_slot: dict[int, Usage] = field(default_factory=dict)
    by_server: dict[str, Usage] = field(default_factory=dict)
    processed: int = 0
    joined: float | None = None
    left: float | None = None
    spans: dict[int, Span] = field(default_factory=dict)

    @classmethod
    def of(cls, info: WorkerInfo) -> Share:
        """The share that a report tells of."""
        return cls(
            info.host, info.pid, info.slots, info.packets, info.entries, info.seconds,
            info.site, dict(info.by_slot), dict(info.by_server),
            info.processed, info.joined, info.left, dict(info.spans),
        )  # fmt: skip

    def add(self, usage: Usage, seconds: float, slot: int, server: str, ended: float | None = None) -> None:
        """One more packet; it ended so many seconds after the query had begun, where that is asked for."""
        self.packets += usage.packets
        self.entries += usage.entries
        self.seconds += seconds
        self.by_slot[slot] = self.by_slot.get(slot, NOTHING) + usage
        self.by_server[server] = self.by_server.get(server, NOTHING) + usage
        if ended is not None:
            began = max(0.0, ended - usage.elapsed)
            self.spans[slot] = self.spans[slot][0] if slot in self.spans else began, ended

    def info(self, name: str, busy: int = 0) -> WorkerInfo:
        """What is told of it."""
        return WorkerInfo(
            name, self.host, self.pid, self.slots, busy, self.packets, self.entries, self.seconds,
            self.site, dict(self.by_slot), dict(self.by_server),
            self.processed, self.joined, self.left, dict(self.spans),
        )  # fmt: skip


class Shares(dict[str, Share]):
    """Those of all workers of a query, by name.

    Attributes:
        timeline: what their slots did when, `since` this master has the query.
        merging: seconds after its beginning from which on all was committed, and only to be merged.
    """

    def __init__(self) -> None:
        super().__init__()
        self.timeline = Timeline()
        self.merging: float | None = None
        self.since = 0.0

    @classmethod
    def of(cls, report: Iterable[WorkerInfo]) -> Shares:
        """The shares that a report tells of."""
        shares = cls()
        shares.update((info.worker, Share.of(info)) for info in report)
        return shares

    def report(self) -> list[WorkerInfo]:
        """What each worker did."""
        return [share.info(name) for name, share in self.items()]

    def course(self, seconds: float) -> Course:
        """How the query went that took so many seconds."""
        return self.timeline.course(0.0 if self.merging is None else max(0.0, seconds - self.merging), self.since)

    def leave(self, seconds: float) -> None:
        """The master was started again, so many seconds after the query began: whoever is there joins under another name."""
        self.since = seconds
        for share in self.values():
            if share.left is None:
                share.left = max((end for _, end in share.spans.values()), default=0.0)

    def distrust(self) -> None:
        """Nothing is in the result any more."""
        for share in self.values():
            share.processed = 0
