"""A slot on a test bench: in the test's own process, on a line where the test speaks as its agent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import platformdirs
import zmq
from eventmill.analysis.analysis import pack
from eventmill.merge import Partial, decode
from eventmill.protocol import codec
from eventmill.protocol import messages as m
from eventmill.worker.slot.process import SlotProcess


class Line:
    """A slot's socket.

    Attributes:
        said: what the agent has said, and the slot has not heard yet.
        answers: what the slot has said, with the frames.
        together: how many messages came as one, each time.
    """

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.answers: list[tuple[m.Message, list[Any]]] = []
        self.together: list[int] = []

    def say(self, message: m.Message, frames: codec.Frames = ()) -> None:
        self.said.append(codec.encode(message, frames))

    def recv_multipart(self, flags: int) -> Any:
        if not self.said:
            raise zmq.Again
        return self.said.pop(0)

    def send_multipart(self, frames: Any, copy: bool) -> None:
        said = codec.decode_all([bytes(frame) for frame in frames])
        self.answers += said
        self.together.append(len(said))


class Bench:
    """A slot with queries.

    Args:
        folder: for compiled code; by default that of all slots of the run, in which hardly anything is compiled twice.
        spare: it has a core for its thread.
        shared_inputs: the frames of what comes with the queries.
        analyses: by the names of the queries.
    """

    def __init__(
        self,
        folder: Path | None = None,
        spare: bool = False,
        on_error: str = "fail",
        shared_inputs: Sequence[Any] = (),
        **analyses: Any,
    ) -> None:
        self.line = Line()
        folder = folder or Path(platformdirs.user_cache_dir("eventmill"))
        self.slot = SlotProcess(0, self.line, folder, spare=spare)  # type: ignore[arg-type]
        for query, analysis in analyses.items():
            packed = pack(analysis)
            self.tell(m.Setup(query, packed.kind, packed.digest, on_error=on_error), [packed.blob, *shared_inputs])

    def tell(self, message: m.Message, frames: codec.Frames = ()) -> None:
        """Say something to the slot, which takes it in."""
        self.line.say(message, frames)
        self.slot.queue.listen()

    def work(self, *leases: m.Lease) -> list[m.Message]:
        """All that the slot says of these leases. It always has the next one while it works on one, and hands over last."""
        waiting = list(leases)
        self.line.answers.clear()
        queue = self.slot.queue
        while waiting or queue.todo:
            while waiting and len(queue.todo) < 2:
                self.tell(waiting.pop(0))
            self.slot.work(queue.todo.popleft())  # type: ignore[arg-type]
        for running in queue.queries.values():
            self.slot.handover.of(running)
        return [message for message, _ in self.line.answers]

    def results(self) -> dict[str, Any]:
        """What was handed over last, by query."""
        return {
            message.query: decode(Partial.from_frames(frames))
            for message, frames in self.line.answers
            if isinstance(message, m.Commit)
        }


def only(kind: type[m.Message], said: Sequence[m.Message]) -> Any:
    """The one message of its kind."""
    (found,) = (message for message in said if isinstance(message, kind))
    return found
