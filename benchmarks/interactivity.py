"""How soon, and how often, a session sees results: the child's side of the second table of `throughput`."""

from __future__ import annotations

import platform
import time
from statistics import median
from typing import Any

import zmq
from eventmill.protocol import codec, messages
from eventmill.protocol.connection import Connection, KeyFolder, load_connection
from eventmill.protocol.dial import Dial

from .analyses import kernel
from .children import launch
from .systems import TREE

SMALL_QUERIES = 20
NEWCOMERS = 20
SECONDS = 30.0


def measure(slots: str, small: str, *files: str) -> dict[str, float | None]:
    """The figures by name: seconds, a second, or milliseconds, as `throughput.INTERACTIVITY` says.

    Raises RuntimeError when a query ended without having shown a snapshot.
    """
    import eventmill as em

    begin = time.perf_counter()
    with em.connect(slots=int(slots)) as session:
        data = em.Dataset(list(files), tree=TREE)
        connect_to_first_result = _snapshots(session.process(data, kernel("dimuon")), begin)[0]

        begin = time.perf_counter()
        query = session.process(data, kernel("dimuon"))
        snapshots = _snapshots(query, begin)

        one_file = em.Dataset(small, tree=TREE)
        latencies = []
        for _ in range(SMALL_QUERIES):
            begin = time.perf_counter()
            session.process(one_file, kernel("dimuon")).result()
            latencies.append(time.perf_counter() - begin)

        return {
            "connect_to_first_result": connect_to_first_result,
            "process_to_first_snapshot": snapshots[0],
            "snapshots_per_second": len(snapshots) / snapshots[-1],
            "small_query": 1000.0 * median(latencies),
            "hello_to_first_packet": 1000.0 * hello_to_first_packet(session, data),
        }


def hello_to_first_packet(session: Any, data: Any) -> float:
    """Median seconds from the hello of a worker that joins a running query to its first packet, all slots being busy.

    The newcomers are nothing but a connection: their packets go back to the master as they leave.
    """
    connection = load_connection(KeyFolder(session.log.parent).worker)
    query = session.process(data, endless)
    deadline = time.monotonic() + SECONDS
    while not (query.progress and query.progress.slots):
        if time.monotonic() > deadline:
            raise RuntimeError("no slot began to work")
        time.sleep(0.01)
    seconds = median(newcomer(connection) for _ in range(NEWCOMERS))
    query.abort()
    return seconds


def endless(_events: Any) -> int:
    """Keep a slot computing until its worker ends."""
    while True:
        pass


def newcomer(connection: Connection) -> float:
    """Connect as a worker of one slot, say hello, and leave with the first packet: seconds between the last two."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dial = Dial(context, connection)
    try:
        while not dial.connected:
            if not dial.monitor.poll(int(SECONDS * 1000)):
                raise RuntimeError(dial.trouble())
            dial.take_events()
        hello = messages.Hello("worker", "newcomer", python=".".join(platform.python_version_tuple()[:2]), slots=1)
        begin = time.perf_counter()
        dial.send(codec.encode(hello))
        while True:
            if not dial.socket.poll(int(SECONDS * 1000)):
                raise RuntimeError("the master gave the newcomer no packet")
            if any(isinstance(message, messages.Lease) for message, _ in dial.receive()):
                return time.perf_counter() - begin
    finally:
        dial.send(codec.encode(messages.Bye()))
        dial.close()
        context.term()


def _snapshots(query: Any, begin: float) -> list[float]:
    """Seconds from `begin` to each snapshot with events in it, up to the end of the query."""
    times = [time.perf_counter() - begin for snapshot in query.stream() if snapshot.fraction > 0]
    if not times:
        raise RuntimeError("the query ended without a snapshot")
    return times


if __name__ == "__main__":
    launch(measure)
