"""A worker enrols: it comes to the master with a token, makes a key pair of its own, and goes on with that.

It tells of the stages that it has reached from its first line on, so that whoever waits for it knows how far it is.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import zmq

from ...protocol import codec, messages
from ...protocol.connection import Connection
from ...protocol.dial import COMPLAINT_SECONDS, LOOK_SECONDS, Dial
from ...protocol.errors import ConnectionFailed
from ...protocol.messages import Message

log = logging.getLogger(__name__)


def enrol(
    token: Connection, slots: int, launch: tuple[str, str] = ("", ""), patience: float = 600.0
) -> tuple[Connection, float | None]:
    """Have the master let this worker in.

    Args:
        token: what the token says.
        slots: of this worker.
        launch: the pool that has started it, and what its system calls the job.
        patience: seconds to try to reach the master.

    Returns:
        The connection to go on with, whose key no other process has; and the seconds for which it is good, if there is an
        end to that.

    Raises:
        ConnectionFailed: the master cannot be reached, or the token is used up, over, revoked or for other workers.
    """
    public, secret = (half.decode() for half in zmq.curve_keypair())
    pool, job = launch
    host = platform.node()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dial = Dial(context, token)
    try:
        stage = messages.Stage("environment", seconds_since_start(), "", pool, job, host)
        answer = _answer(dial, [stage, messages.Enrol(public, pool, job, host, slots)], time.monotonic() + patience)
    finally:
        dial.close()
        context.term()
    if isinstance(answer, messages.Fault):
        raise ConnectionFailed(f"the master at {token.address} does not let this worker in: {answer.reason}")
    log.info("enrolled with the master at %s", token.address)
    own = msgspec.structs.replace(token, role="worker", public_key=public, secret_key=secret)
    return own, answer.seconds


def _answer(dial: Dial, said: Sequence[Message], late: float) -> messages.Enrolled | messages.Fault:
    """What the master answers to what is said to it, on each connection: what was on its way when one broke is lost."""
    poller = zmq.Poller()
    for item in (dial.socket, dial.monitor):
        poller.register(item, zmq.POLLIN)
    complains, connections = time.monotonic() + COMPLAINT_SECONDS, 0
    while True:
        poller.poll(int(LOOK_SECONDS * 1000))
        dial.take_events()
        if dial.connections > connections:
            connections = dial.connections
            for words in said:
                dial.send(codec.encode(words))
        for message, _ in dial.receive():
            if isinstance(message, messages.Enrolled | messages.Fault):
                return message
        now = time.monotonic()
        if dial.refused or now > late:
            raise ConnectionFailed(dial.trouble())
        if now > complains:
            complains = late
            log.warning("%s; trying for %.0f s more", dial.trouble(), late - now)


def seconds_since_start() -> float:
    """Seconds since this process was started."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
