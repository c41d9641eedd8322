"""An agent of two slots, of which a test is the master and the slots."""

from __future__ import annotations

from eventmill.merge import encode
from eventmill.protocol import messages as m
from eventmill.worker.agent.core import AgentCore
from eventmill.worker.agent.effects import Effect, Fork, ToMaster


def sent(effects: list[Effect], kind: type[m.Message]) -> list[m.Message]:
    return [effect.message for effect in effects if isinstance(effect, ToMaster) and isinstance(effect.message, kind)]


class Agent:
    """An agent of two slots that has been welcomed, with a query set up."""

    def __init__(self) -> None:
        self.core = AgentCore(m.Hello("worker", "w", slots=2))
        assert self.core.start() == [Fork(0), Fork(1)]
        assert sent(self.slot(0, m.Ready()), m.Hello) == []
        assert sent(self.slot(1, m.Ready()), m.Hello) == [self.core.state.hello]
        self.master(m.Welcome("w-1", "test", 1.0, 5.0))
        self.master(m.Setup("q", "kernel", "digest"), [b"code"])

    def master(self, message: m.Message, frames: list[bytes] | None = None, now: float = 0.0) -> list[Effect]:
        effects = self.core.from_master(message, frames or [], now)
        self.core.check()
        return effects

    def slot(self, index: int, message: m.Message, value: object = None, now: float = 0.0) -> list[Effect]:
        frames = []
        if isinstance(message, m.Commit):
            entries = sum(part.stop - part.start - part.skipped for part in message.parts)
            frames = encode(value, entries).to_frames()
        effects = self.core.from_slot(index, message, frames, now)
        self.core.check()
        return effects

    def lease(self, number: int, slot: int, start: int = 0, stop: int = 10) -> list[Effect]:
        return self.master(m.Lease(number, "q", slot, m.File("f"), start, stop, 1.0))

    def finish(self, number: int, slot: int, stop: int = 10) -> None:
        self.slot(slot, m.Finished("q", number, stop, 0.1, 0.1, 0))

    def hand_over(self, slot: int, parts: list[tuple[int, int, int]], value: object, now: float = 0.0) -> list[Effect]:
        return self.slot(slot, m.Commit(1, "q", [m.Part(*part) for part in parts]), value, now)
