"""How a lease flows through a slot: one is traced through the code, and drawn.

    python -m benchmarks.lease_journey              what is traced, in words
    python -m benchmarks.lease_journey --picture    puts the picture into docs/architecture.md

Followed is the lease itself, from the message in which it came: a call counts where it is handed in or out, alone or as
the packet at work. What is used on the way and never sees the lease (the meter, the guard, the task, the files of `reading`,
what the packet notes of itself) is no part of the journey: whoever wants to know what becomes of a lease need not look
there. A test compares the picture with the code.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import eventmill
import numpy as np
import uproot
import zmq
from eventmill.analysis.analysis import pack
from eventmill.protocol import codec, messages
from eventmill.worker.slot.packet_run import PacketRun
from eventmill.worker.slot.packets import Packet
from eventmill.worker.slot.process import SlotProcess

ENTRIES = 1000
LEASE = 2
DOCS = Path(__file__).parents[1] / "docs/architecture.md"
BEGIN, END = "<!-- a lease in a slot: made by benchmarks/lease_journey.py -->\n", "<!-- end of it -->\n"
PACKAGE = Path(eventmill.__file__).parent


@dataclass
class Journey:
    """Where a lease has been.

    Attributes:
        stays: the files in which it was, in their order, as often as it came there.
        ways: from which file to which it was handed, and by which function: that which is called with it, or gives it.
    """

    stays: list[str] = field(default_factory=list)
    ways: dict[tuple[str, str, str], None] = field(default_factory=dict)

    def stay(self, file: str) -> None:
        """It is in this file now."""
        if not self.stays or self.stays[-1] != file:
            self.stays.append(file)

    @property
    def files(self) -> list[str]:
        """Each once, in the order of the first visit."""
        return list(dict.fromkeys(self.stays))

    @property
    def returns(self) -> int:
        """How often it came back to a file where it had been before."""
        return len(self.stays) - len(self.files)


class Line:
    """A slot's socket, at whose other end nobody is: what is said to the slot was said before."""

    def __init__(self) -> None:
        self.said: deque[list[Any]] = deque()

    def say(self, message: messages.Message, frames: codec.Frames = ()) -> None:
        self.said.append(codec.encode(message, frames))

    def recv_multipart(self, flags: int = 0) -> list[Any]:
        if not self.said:
            raise zmq.Again
        return self.said.popleft()

    def send_multipart(self, frames: Any, copy: bool = True) -> None:
        """Nobody answers."""


def columnar(events: Any) -> dict[str, Any]:
    """The analysis of the traced lease."""
    return {"n": len(events), "sum": np.asarray(events.x).sum()}


def trace(folder: Path) -> Journey:
    """Follow the second lease of a query, of one file and one chunk: the first one loads the analysis, too."""
    path = folder / "events.root"
    with uproot.recreate(path) as file:
        file["Events"] = {"x": np.arange(float(ENTRIES))}
    line = Line()
    slot = SlotProcess(0, line, folder)  # type: ignore[arg-type]
    packed = pack(columnar)
    line.say(messages.Setup("q", packed.kind, packed.digest, chunk=(ENTRIES, ENTRIES)), [packed.blob])
    for number in (1, LEASE):
        line.say(messages.Lease(number, "q", 0, messages.File(str(path), "Events"), 0, ENTRIES, 10.0))
        if number != LEASE:
            slot.step()
    return _followed(slot.step)


def _followed(act: Any) -> Journey:
    journey, stack = Journey(), list[tuple[str, str]]()

    def profile(frame: FrameType, event: str, result: object) -> None:
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(str(PACKAGE)):
            return
        place = _file_of(frame), frame.f_code.co_qualname
        if event == "call" and _is_handed_the_lease(frame):
            if journey.stays and journey.stays[-1] != place[0]:
                journey.ways[journey.stays[-1], place[0], place[1]] = None
            stack.append(place)
        elif event == "return" and stack and stack[-1] == place:
            stack.pop()
        elif event == "return" and _has_the_lease(result):
            journey.stay(place[0])
            if frame.f_back is not None and _file_of(frame.f_back) != place[0]:
                journey.ways[place[0], _file_of(frame.f_back), place[1]] = None
        if stack:
            journey.stay(stack[-1][0])

    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(None)
    return journey


def _file_of(frame: FrameType) -> str:
    return frame.f_code.co_filename.removeprefix(f"{PACKAGE}/")


def _is_handed_the_lease(frame: FrameType) -> bool:
    """Whether a function is handed the lease; a packet is not handed to its own methods."""
    code = frame.f_code
    handed = [frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount]]
    return any(map(_has_the_lease, handed[1:] if handed and isinstance(handed[0], Packet) else handed))


def _has_the_lease(thing: object) -> bool:
    """Whether something is the lease, or the packet at work, or has it as a part."""
    if isinstance(thing, tuple):
        return any(map(_has_the_lease, thing))
    lease = getattr(thing, "lease", None) if isinstance(thing, PacketRun | Packet) else thing
    return isinstance(lease, messages.Lease) and lease.lease == LEASE


def drawn(journey: Journey) -> str:
    """The journey as a picture (mermaid), and what it counts."""
    name = {file: f"f{number}" for number, file in enumerate(journey.files)}
    lines = [f'    {name[file]}["{file}"]' for file in journey.files]
    handed: dict[tuple[str, str], list[str]] = {}
    for start, stop, function in journey.ways:
        handed.setdefault((start, stop), []).append(function.rpartition(".")[2].strip("_"))
    for (start, stop), functions in handed.items():
        lines.append(f'    {name[start]} -- "{", ".join(dict.fromkeys(functions))}" --> {name[stop]}')
    picture = "\n".join(["```mermaid", "flowchart LR", *lines, "```"])
    entered = f"The lease enters {len(journey.files)} files"
    return f"{picture}\n\n{entered}, and is handed back {journey.returns} times to a file that it had left.\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Trace a lease, and say or draw where it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", action="store_true", help="put the picture into docs/architecture.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        journey = trace(Path(folder))
    print(" > ".join(journey.stays))
    print(drawn(journey))
    if options.picture:
        before, _, rest = DOCS.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCS.write_text(f"{before}{BEGIN}{drawn(journey)}{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
