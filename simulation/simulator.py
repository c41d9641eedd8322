"""The simulator: the real master core in virtual time, with simulated workers. `eventmill simulate` and tests run it.

It lies in `master/` and not beside the packetizer, because a layer below the master cannot import the master's core, and
that core with its packetizer and ledger is what is simulated: the very code that runs under `master.serve`. Merging is
instantaneous here; what workers, links and file servers do is in `machines`, what they are in `profiles`.

One seed gives one trace: there is one random generator, one heap of events, no wall clock, and nothing iterates over an
unordered set.
"""

from __future__ import annotations

import hashlib
from heapq import heappop
from math import inf
from random import Random

import msgspec

from ..master import effects
from ..master.core import MasterCore
from ..merge import Total
from ..protocol import messages
from ..protocol.codec import Frames
from ..protocol.errors import LocalProtocolError
from ..protocol.messages import Message
from .environment import Clock, Record, Server, SimulatedFile
from .outcome import Outcome, WorkerOutcome, limit
from .profiles import Data, Group, Profile, Trouble, spread
from .simulated_workers import PYTHON, Worker

SESSION = b"session"
STALLED = 60.0
"""Seconds in which no slot works and nothing is due to happen, after which the query will never end."""
MESSAGE_BYTES = 200.0


def simulate(profile: Profile, seed: int = 0, *, trace: bool = False, check: bool = False) -> Outcome:
    """Run one query on the workers and data of a profile.

    Args:
        profile: what there is; see `profiles.load`.
        seed: of all that is drawn at random: the same seed gives the same run, message by message.
        trace: digest every message, with its time and peer, into `Outcome.trace` (half as fast again).
        check: assert the core's invariants after every message (many times slower: for tests).

    Raises:
        AssertionError: an entry was merged twice, or never although the query is done.

    Example:
        >>> from eventmill.simulation.profiles import Data, Group, Profile
        >>> simulate(Profile(Data(files=4, entries=100_000), [Group(speed=1000, slots=10)])).complete
        True
    """
    return Simulation(profile, seed, trace=trace, check=check).run()


class Simulation:
    """One run: the core, the clock, and everybody who talks to the core. Arguments are those of `simulate`."""

    def __init__(self, profile: Profile, seed: int, *, trace: bool, check: bool) -> None:
        self.profile = profile
        self.seed = seed
        self.random = Random(seed)  # noqa: S311 - nothing secret is drawn
        self.clock = Clock()
        self.record = Record()
        self.core = MasterCore("simulated", PYTHON)
        self.workers: list[Worker] = []
        self.messages = 0
        self.ended: messages.Ended | None = None
        self.over = False
        self._peers: dict[bytes, Worker] = {}
        self._files = _files(profile.data, self.clock, self.random)
        self._by_path = {file.path: file for file in self._files}
        self._of_lease: dict[int, int] = {}
        self._done: list[tuple[int, int, int]] = []
        self._total = Total()
        self._deadline = 0.0
        self._planned = 0.0
        self._trace = hashlib.blake2b(digest_size=8) if trace else None
        self._check = check

    # --- the run --------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Submit the query, let everything happen, and say how it went."""
        self._submit()
        for group in self.profile.workers:
            for index in range(group.count):
                self._plan_worker(group, index)
        heap, clock = self.clock.heap, self.clock
        while not self.over:
            if heap[0][0] > self._deadline:
                clock.now = max(clock.now, self._deadline)
                self._carry_out(self.core.expire(clock.now))
            else:
                time, _, act, argument = heappop(heap)
                clock.now = max(clock.now, time)
                act(argument)
        return self._outcome()

    def _submit(self) -> None:
        hello = messages.Hello("session", "simulation", python=PYTHON)
        self._receive(SESSION, "session", hello)
        known = self.profile.data.known
        files = [messages.File(file.path, entries=file.entries if known else None) for file in self._files]
        submit = messages.Submit(1, "simulation", "kernel", "simulation")
        self._receive(SESSION, "session", submit, [b"", msgspec.msgpack.encode(files)])
        self.clock.at(20.0, self._session_heartbeat, None)

    def _session_heartbeat(self, _: object) -> None:
        """The session stays in touch, and gives up when nothing will ever happen any more."""
        working = any(slot.working for worker in self.workers for slot in worker.slots)
        last = self.record.activity[-1][0] if self.record.activity else 0.0
        if not working and self.clock.now > max(self._planned, last) + STALLED:
            self.over = True
        self._receive(SESSION, "session", messages.Heartbeat())
        self.clock.at(self.clock.now + 20.0, self._session_heartbeat, None)

    # --- workers --------------------------------------------------------------------------------------------------

    def _plan_worker(self, group: Group, index: int) -> None:
        """A worker of the profile, when it arrives and what happens to it."""
        worker = self._new_worker(group, spread(group.speed, index, group.count))
        if group.walltime is not None:
            worker.walltime = spread(group.walltime, index, group.count)
        self._boot_at(spread(group.arrive, index, group.count), worker)
        for trouble in group.troubles:
            if trouble.worker == index:
                self.clock.at(trouble.at, self._trouble, (worker, trouble))

    def _new_worker(self, group: Group, speed: float) -> Worker:
        name = f"{group.name or group.site or 'worker'}.{len(self.workers)}"
        worker = Worker(name.encode(), group, speed, self._by_path, self.clock, self.record, self.random, self._send)
        worker.result_bytes = self.profile.data.result
        self.workers.append(worker)
        self._peers[worker.identity] = worker
        return worker

    def _boot_at(self, time: float, worker: Worker) -> None:
        self._planned = max(self._planned, time)
        self.clock.at(time, self._boot, worker)

    def _boot(self, worker: Worker) -> None:
        if worker.alive:
            return
        worker.boot()
        if worker.walltime < inf:
            notice = worker.walltime if worker.group.notice is None else min(worker.group.notice, worker.walltime)
            end = self.clock.now + worker.walltime
            if notice > 0.0:
                self.clock.at(end - notice, self._give_notice, (worker, worker.boots, notice))
            self.clock.at(end, self._end_walltime, (worker, worker.boots))
        churn = worker.group.churn
        if churn is not None:
            lifetime = self.random.expovariate(churn.per_minute / 60.0)
            self.clock.at(self.clock.now + lifetime, self._churn, (worker, worker.boots))

    def _churn(self, who: tuple[Worker, int]) -> None:
        """A worker dies of churn, unless it died otherwise; another may take its place."""
        worker, boots = who
        churn = worker.group.churn
        if not worker.alive or worker.boots != boots or churn is None:
            return
        self._kill(worker, silent=self.random.random() < churn.silent)
        if churn.replaced_after is not None:
            heir = worker if churn.same_identity else self._new_worker(worker.group, worker.speed)
            self._boot_at(self.clock.now + churn.replaced_after, heir)

    def _give_notice(self, what: tuple[Worker, int, float]) -> None:
        worker, boots, seconds = what
        if worker.boots == boots:
            worker.drain(seconds)

    def _end_walltime(self, what: tuple[Worker, int]) -> None:
        """The batch system asks nobody."""
        worker, boots = what
        if worker.alive and worker.boots == boots:
            self._kill(worker, silent=False)

    def _trouble(self, what: tuple[Worker, Trouble]) -> None:
        worker, trouble = what
        if not worker.alive:
            return
        if trouble.what in ("die", "vanish"):
            self._kill(worker, silent=trouble.what == "vanish")
        elif trouble.what == "drain":
            worker.drain(worker.group.grace)
            return
        else:
            factor = 1.0 / trouble.times if trouble.what == "slower" else 0.0
            worker.slow_down(factor, frozen=trouble.what == "freeze")
        if trouble.seconds is None:
            return
        end = self.clock.now + trouble.seconds
        if trouble.what in ("die", "vanish"):
            self._boot_at(end, worker)
        else:
            self._planned = max(self._planned, end)
            self.clock.at(end, self._recover, worker)

    def _recover(self, worker: Worker) -> None:
        if worker.alive:
            worker.slow_down(1.0)

    def _kill(self, worker: Worker, silent: bool) -> None:
        worker.die()
        if not silent:
            # What it sent before arrives before.
            time = max(worker.link_free, self.clock.now) + worker.group.latency
            self.clock.at(time, self._disconnected, worker.identity)

    def _disconnected(self, identity: bytes) -> None:
        self._carry_out(self.core.disconnected(identity, self.clock.now))

    # --- messages -------------------------------------------------------------------------------------------------

    def _send(self, worker: Worker, message: Message, frames: Frames, size: float) -> None:
        """A worker says something: it arrives at the master when the link has carried it, in the order it was said."""
        link, now = worker.group, self.clock.now
        if link.rate is not None:
            worker.link_free = max(worker.link_free, now) + (MESSAGE_BYTES + size) / link.rate
            now = worker.link_free
        self.clock.at(now + link.latency, self._arrive, (worker.identity, message, frames))

    def _arrive(self, what: tuple[bytes, Message, Frames]) -> None:
        identity, message, frames = what
        self._receive(identity, "worker", message, frames)

    def _receive(self, identity: bytes, role: str, message: Message, frames: Frames = ()) -> None:
        self.messages += 1
        if self._trace is not None:
            self._digest(identity, message)
        todo = self.core.receive(identity, role, message, frames, self.clock.now)
        if isinstance(message, messages.Commit) and any(type(effect) is effects.Merge for effect in todo):
            self._done += [(self._of_lease[part.lease], part.start, part.stop) for part in message.parts]
        self._carry_out(todo)

    def _carry_out(self, todo: list[effects.Effect]) -> None:
        """Do what the core asks for, as the master's loop does."""
        for effect in todo:
            if type(effect) is effects.Send:
                self._say(effect.peer, effect.message, effect.frames)
            elif type(effect) is effects.Merge:
                self._total.add_frames(effect.frames)
            elif type(effect) is effects.Take:
                total = self._total.to_frames()
                self._carry_out(self.core.taken(effect.query, total, effect.final, self.clock.now))
        self._deadline = self.core.deadline()
        if self._check:
            self.core.check()

    def _say(self, identity: bytes, message: Message, frames: Frames) -> None:
        """The master says something."""
        self.messages += 1
        if self._trace is not None:
            self._digest(identity, message)
        if isinstance(message, messages.Lease):
            self._of_lease[message.lease] = self._by_path[message.file.path].index
        elif isinstance(message, messages.Ended):
            self.ended, self.over = message, True
        elif isinstance(message, messages.Fault):
            raise LocalProtocolError(f"the master refuses what a simulated peer said: {message.reason}")
        worker = self._peers.get(identity)
        if worker is not None and worker.alive:
            arrival = self.clock.now + worker.group.latency
            self.clock.at(arrival, self._deliver, (worker, worker.boots, message, frames))

    def _digest(self, identity: bytes, message: Message) -> None:
        if self._trace is not None:
            self._trace.update(msgspec.msgpack.encode((self.clock.now, identity, message)))

    def _deliver(self, what: tuple[Worker, int, Message, Frames]) -> None:
        """What was meant for a worker that has died since is lost with its connection."""
        worker, boots, message, frames = what
        if worker.alive and worker.boots == boots:
            worker.receive(message, frames)

    # --- the outcome ----------------------------------------------------------------------------------------------

    def _outcome(self) -> Outcome:
        data, record = self.profile.data, self.record
        work = float(sum(file.entries for file in self._files))
        ceiling = sum(server.bandwidth for server in data.servers) / data.bytes if data.bytes and data.servers else None
        analytical = limit(record.capacity, work, ceiling)
        complete = self.ended is not None and self.ended.state == "done"
        if complete:
            self._check_once()
        return Outcome(
            seed=self.seed,
            complete=complete,
            seconds=self.clock.now,
            limit=analytical,
            record=record,
            account=next(iter(self.core.queries.values())).account(),
            messages=self.messages,
            workers=[_worker_outcome(worker) for worker in self.workers],
            trace=self._trace.hexdigest() if self._trace is not None else "",
        )

    def _check_once(self) -> None:
        """Assert from what was merged, not from the ledger, that every entry was merged exactly once."""
        at = {file.index: 0 for file in self._files}
        for file, start, stop in sorted(self._done):
            assert start == at[file], f"file {file}: merged up to {at[file]}, then from {start} (seed {self.seed})"
            at[file] = stop
        for simulated in self._files:
            merged = at[simulated.index]
            assert merged == simulated.entries, f"{simulated.path}: {merged} of {simulated.entries} (seed {self.seed})"


def _worker_outcome(worker: Worker) -> WorkerOutcome:
    """End a worker, and say what it did."""
    ends, left = tuple(slot.ended for slot in worker.slots if slot.packets and slot.factor), worker.left
    worker.die()
    packets = sum(slot.packets for slot in worker.slots_before)
    return WorkerOutcome(worker.identity.decode(), worker.speed, packets, ends, left)


def _files(data: Data, clock: Clock, random: Random) -> list[SimulatedFile]:
    """The files of the dataset, on the servers in turn."""
    servers = [(server.name, Server(clock, server.bandwidth)) for server in data.servers]
    files = []
    for index in range(data.files):
        entries = data.entries if isinstance(data.entries, int) else random.randint(*data.entries)
        host, server = servers[index % len(servers)] if servers else ("store", None)
        path = f"root://{host}//{index:06}.root"
        if not data.bytes:
            server = None
        files.append(SimulatedFile(index, path, entries, data.cluster, server, data.bytes))
    return files
