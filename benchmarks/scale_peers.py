"""Thousands of workers in one process: sockets that speak the protocol and do no work.

A peer says hello, answers its leases at once or after a while, commits, sends heartbeats as often as its welcome says, and
starts afresh when the master no longer knows it.
"""

from __future__ import annotations

import heapq
import json
import random
import resource
import select
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path

import zmq
from eventmill.master.credit import CREDIT
from eventmill.merge import encode
from eventmill.protocol import codec, messages
from eventmill.protocol.bundles import Bundle
from eventmill.protocol.connection import load_connection
from eventmill.protocol.dial import HANDSHAKE_SECONDS, PING_SECONDS, PONG_SECONDS, hello_of
from eventmill.protocol.messages import Message, Part
from eventmill.worker.agent.outbox import HOLD

ENTRIES = 100
"""Of every file: a packet each."""
KEPT = 200_000
"""Latencies that are remembered."""


@dataclass
class Told:
    """What a process of peers has seen so far."""

    welcomes: int = 0
    unknown: int = 0
    joined: int = 0
    last_join: float = 0.0
    first_lease: float = 0.0
    packets: int = 0
    cpu: float = 0.0
    answers: list[float] = field(default_factory=list)
    """Seconds from a commit to its answer."""
    first_packets: list[float] = field(default_factory=list)
    """Seconds from a hello to the first lease of its peer."""


class Peer:
    """A worker with one slot."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        connection = crowd.connection
        self.crowd, self.number = crowd, number
        socket = self.socket = crowd.context.socket(zmq.DEALER)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RECONNECT_IVL, 50)
        socket.set(zmq.RECONNECT_IVL_MAX, 2000)
        socket.set(zmq.HANDSHAKE_IVL, int(HANDSHAKE_SECONDS * 1000))
        socket.set(zmq.HEARTBEAT_IVL, int(PING_SECONDS * 1000))
        socket.set(zmq.HEARTBEAT_TIMEOUT, int(PONG_SECONDS * 1000))
        socket.set(zmq.CURVE_SERVERKEY, connection.server_key.encode())
        socket.set(zmq.CURVE_PUBLICKEY, connection.public_key.encode())
        socket.set(zmq.CURVE_SECRETKEY, connection.secret_key.encode())
        socket.connect(connection.address)
        self.hellos = 0
        self.welcome: messages.Welcome | None = None
        self.spoken, self.within = 0.0, 1.0
        self.commits = 0
        self.waiting: dict[int, float] = {}
        self.said_hello = 0.0
        self.leased = False
        self.leases: deque[messages.Lease] = deque()
        self.given = self.at_work = 0

    def hello(self) -> None:
        self.welcome, self.leased = None, False
        self.waiting.clear()
        self.leases.clear()
        self.at_work = 0
        self.said_hello = time.monotonic()
        name = f"w{self.crowd.first + self.number}"
        self.say((hello_of("worker", name, slots=1, incarnation=self.hellos), []))
        self.hellos += 1

    def say(self, *said: tuple[Message, codec.Frames]) -> None:
        """Say this, together, as an agent does what it says in a turn."""
        bundle = Bundle()
        for message, frames in said:
            bundle.add(codec.encode(message, frames))
        self.socket.send_multipart(bundle.taken())
        self.spoken, self.within = time.monotonic(), 1.0

    def hear(self) -> None:
        """Take in all that is there."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            for message, _ in codec.decode_all(frames):
                self.take(message)
        if not self.at_work:
            self.begin()

    def take(self, message: Message) -> None:
        told, now = self.crowd.told, time.monotonic()
        if isinstance(message, messages.Welcome):
            if message.incarnation == self.hellos - 1:
                told.joined += self.welcome is None
                told.welcomes += 1
                told.last_join = now
                self.welcome = message
                self.crowd.beat(self)
        elif isinstance(message, messages.Unknown):
            told.unknown += 1
            if self.welcome is not None:
                told.joined -= 1
                self.hello()
        elif isinstance(message, messages.Lease):
            if not self.leased:
                self.leased = True
                told.first_packets.append(now - self.said_hello)
                told.first_lease = told.first_lease or now
            self.leases.append(message)
            self.given = len(self.leases)
        elif isinstance(message, messages.Committed):
            since = self.waiting.pop(message.commit, None)
            if since is not None and len(told.answers) < KEPT:
                told.answers.append(now - since)

    def begin(self) -> None:
        """Work on the next lease, if there is one. Of short packets, on half of those that there were when the last one
        came: an agent reports so many together.
        """
        seconds = self.crowd.seconds
        self.at_work = min(len(self.leases), max(1, self.given // 2 if seconds < HOLD else 1))
        if self.at_work and seconds:
            spread = random.uniform(0.5, 1.5)  # or a thousand ended at once for ever
            self.crowd.later(self.at_work * seconds * spread, self)
        elif self.at_work:
            self.crowd.now.append(self)

    def finish(self) -> None:
        """The work on some leases is done."""
        done = [self.leases.popleft() for _ in range(min(self.at_work, len(self.leases)))]
        self.at_work = 0
        if not done:
            return
        seconds = self.crowd.seconds or 0.001
        said: list[tuple[Message, codec.Frames]] = []
        for lease in done:
            if lease.opening:
                said.append((messages.Opened(lease.query, lease.lease, ENTRIES, ENTRIES, []), []))
            took = messages.Finished(lease.query, lease.lease, ENTRIES, seconds, seconds, 0, elapsed=seconds, made=1)
            said.append((took, []))
        self.commits += 1
        self.waiting[self.commits] = time.monotonic()
        parts = [Part(lease.lease, lease.start, ENTRIES) for lease in done]
        commit = messages.Commit(self.commits, done[0].query, parts)
        self.say(*said, (commit, self.crowd.results[len(done)]))
        self.crowd.told.packets += len(done)
        self.begin()


class Crowd:
    """Peers, and one loop for all of them.

    Args:
        file: the connection file of workers.
        first: the number of the first one.
        count: how many.
        seconds: that packets take, half of it to one and a half; 0: none.
    """

    def __init__(self, file: Path, first: int, count: int, seconds: float) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, count + 10)
        self.connection = load_connection(file)
        self.first, self.seconds = first, seconds
        self.told = Told()
        self.results = [encode(float(packets), packets * ENTRIES).to_frames() for packets in range(CREDIT + 1)]
        self.now: deque[Peer] = deque()
        self._later: list[tuple[float, int, bool, Peer]] = []
        self._number = 0
        self.peers = [Peer(self, number) for number in range(count)]

    def later(self, seconds: float, peer: Peer, beat: bool = False) -> None:
        self._number += 1
        heapq.heappush(self._later, (time.monotonic() + seconds, self._number, beat, peer))

    def beat(self, peer: Peer) -> None:
        """Say that a peer is there, if it has said nothing else."""
        if peer.welcome is None:
            return
        pause = peer.welcome.heartbeat if peer.at_work else peer.welcome.idle
        if time.monotonic() >= peer.spoken + min(peer.within, pause):
            peer.say((messages.Heartbeat(pause), []))
            peer.within = pause
        self.later(peer.spoken + min(peer.within, pause) - time.monotonic() + 0.001, peer, beat=True)

    def run(self, report: Path, seconds: float) -> None:
        """Be there until our parent closes our input; write what was seen to a file from time to time."""
        poller = select.epoll()
        by_descriptor = {}
        for peer in self.peers:
            descriptor = peer.socket.FD
            by_descriptor[descriptor] = peer
            poller.register(descriptor, select.EPOLLIN | select.EPOLLET)
            peer.hello()
            peer.hear()  # from now on its descriptor tells
        poller.register(0, select.EPOLLIN)
        next_report = 0.0
        while True:
            now = time.monotonic()
            wait = 0.0 if self.now else min(0.1, max(0.0, self._later[0][0] - now) if self._later else 0.1)
            touched = []
            for descriptor, _ in poller.poll(wait):
                if descriptor == 0:
                    self._write(report)
                    return
                peer = by_descriptor[descriptor]
                peer.hear()
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                _, _, beat, peer = heapq.heappop(self._later)
                if beat:
                    self.beat(peer)
                else:
                    peer.finish()
                touched.append(peer)
            for _ in range(min(len(self.now), 500)):
                peer = self.now.popleft()
                peer.finish()
                touched.append(peer)
            for peer in touched:  # sending may have taken in what the descriptor would have told of
                peer.hear()
            if now >= next_report:
                next_report = now + seconds
                self._write(report)

    def _write(self, report: Path) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.told.cpu = usage.ru_utime + usage.ru_stime
        new = report.with_suffix(".new")
        new.write_text(json.dumps(asdict(self.told)))
        new.rename(report)
        del self.told.answers[:-KEPT]


if __name__ == "__main__":
    file, first, count, pace, report = sys.argv[1:]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Crowd(Path(file), int(first), int(count), float(pace)).run(Path(report), 0.5)
