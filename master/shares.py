"""What workers did for queries, and what that cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..protocol.usage import Usage, WorkerInfo


@dataclass(slots=True)
class Share:
    """What one worker did for a query, and what that cost, by its slots and by the file servers that it read from."""

    host: str
    pid: int
    slots: int
    packets: int = 0
    entries: int = 0
    seconds: float = 0.0
    site: str = ""
    by_slot: dict[int, Usage] = field(default_factory=dict)
    by_server: dict[str, Usage] = field(default_factory=dict)

    @classmethod
    def of(cls, info: WorkerInfo) -> Share:
        """The share that a report tells of."""
        return cls(
            info.host, info.pid, info.slots, info.packets, info.entries, info.seconds,
            info.site, dict(info.by_slot), dict(info.by_server),
        )  # fmt: skip

    def add(self, usage: Usage, seconds: float, slot: int, server: str) -> None:
        """One more packet."""
        self.packets += usage.packets
        self.entries += usage.entries
        self.seconds += seconds
        self.by_slot[slot] = self.by_slot.get(slot, Usage()) + usage
        self.by_server[server] = self.by_server.get(server, Usage()) + usage

    def info(self, name: str, busy: int = 0) -> WorkerInfo:
        """What is told of it."""
        return WorkerInfo(
            name, self.host, self.pid, self.slots, busy, self.packets, self.entries, self.seconds,
            self.site, dict(self.by_slot), dict(self.by_server),
        )  # fmt: skip
