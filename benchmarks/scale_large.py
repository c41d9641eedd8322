"""A worker that commits large results without end: one entry of its file at a time, each with as many bytes.

It has one slot, works on nothing, and says the next result as soon as the one before is answered.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import zmq
from eventmill.merge import encode
from eventmill.protocol import codec, messages
from eventmill.protocol.connection import load_connection
from eventmill.protocol.dial import Dial, hello_of
from eventmill.protocol.messages import Message, Part


def commit_for_ever(file: Path, size: int, report: Path) -> None:
    """Commit results of `size` bytes until the lease is used up or our parent ends us; say how many there were."""
    dial = Dial(zmq.Context(), load_connection(file))
    result = encode(np.ones(size // 8), 1).to_frames()

    def say(message: Message, frames: codec.Frames = ()) -> None:
        dial.send(codec.encode(message, frames))

    say(hello_of("worker", "large", slots=1))
    lease: messages.Lease | None = None
    done = 0
    while True:
        if not dial.socket.poll(1000):
            say(messages.Heartbeat())
        for message, _ in dial.receive():
            if isinstance(message, messages.Lease) and lease is None:
                lease = message
                say(messages.Opened(lease.query, lease.lease, lease.stop, lease.stop, []))
            elif isinstance(message, messages.Committed):
                done += 1
                report.write_text(json.dumps([done, time.monotonic()]))
            else:
                continue
            if lease is None or done == lease.stop:
                return
            say(messages.Commit(done, lease.query, [Part(lease.lease, done, done + 1)]), result)


if __name__ == "__main__":
    file, size, report = sys.argv[1:]
    commit_for_ever(Path(file), int(size), Path(report))
