"""The master core under a rule machine: any peer says anything it may say, at any time, also again and too late.

After every step the core's invariants hold; at the end, with workers that behave, every query ends and every entry was
merged exactly once.
"""

from __future__ import annotations

import msgspec
from eventmill.protocol import messages as m
from fleet import World
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from property_tests import examples

WORKERS = [b"worker0", b"worker1", b"worker2"]
SESSIONS = [b"session", b"other"]


class MasterMachine(RuleBasedStateMachine):
    """A world of up to three workers and two sessions."""

    @initialize(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=4), seed=st.integers(0, 1000))
    def start(self, lengths: list[int], seed: int) -> None:
        self.world = World(lengths, seed)
        self.names = list(self.world.lengths)
        self.queries: list[str] = []
        self.expected: dict[str, int] = {}
        self.stopped: set[str] = set()
        for session in SESSIONS:
            self.world.hello(session, "session")

    @rule(worker=st.sampled_from(WORKERS), slots=st.integers(1, 3))
    def hello(self, worker: bytes, slots: int) -> None:
        """A worker comes, or comes back under the same identity."""
        self.world.hello(worker, "worker", slots)

    @precondition(lambda self: len(self.queries) < 3)
    @rule(
        session=st.sampled_from(SESSIONS),
        priority=st.integers(-1, 1),
        readers=st.none() | st.integers(1, 3),
        limit=st.none() | st.integers(0, 40),
        announced=st.sampled_from([None, 0, 1, 2]),
    )
    def submit(
        self, session: bytes, priority: int, readers: int | None, limit: int | None, announced: int | None
    ) -> None:
        """A query over files, perhaps over their first entries, on servers that may have only so many readers; how many
        entries they have may have been announced, rightly or not."""
        lengths = self.world.lengths
        known = {name: None if announced is None else announced * lengths[name] for name in self.names}
        files = [m.File(name, entries=known[name]) for name in self.names]
        self.submit_files(files, session, priority=priority, most_readers=readers, limit=limit)

    @precondition(lambda self: len(self.queries) < 3)
    @rule(session=st.sampled_from(SESSIONS), known=st.booleans())
    def submit_counted_or_listed(self, session: bytes, known: bool) -> None:
        """A query over cycles, or over every other entry of the files."""
        lengths = self.world.lengths
        if known:
            files = [m.File(name, entries=lengths[name], kind="cycles") for name in self.names]
        else:
            lists = {
                name: [i for entry in range(0, lengths[name], 2) for i in (entry, entry + 1)] for name in self.names
            }
            files = [m.File(name, listed=runs) for name, runs in lists.items()]
        self.submit_files(files, session)

    def submit_files(self, files: list[m.File], session: bytes, **options: object) -> None:
        query = self.world.submit_files(files, session, **options)
        self.queries.append(query)
        halved = files[0].listed is not None
        all_ = sum((length + halved) // (1 + halved) for length in self.world.lengths.values())
        limit = options.get("limit")
        self.expected[query] = all_ if limit is None else min(all_, limit)

    @precondition(lambda self: self.queries)
    @rule(keep=st.booleans(), data=st.data())
    def stop(self, keep: bool, data: st.DataObject) -> None:
        query = data.draw(st.sampled_from(self.queries))
        self.stopped.add(query)
        self.world.tell(b"session", "session", m.Stop(query, keep))

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data(), quietly=st.booleans())
    def die(self, data: st.DataObject, quietly: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(self.world.workers)))
        if quietly:
            del self.world.workers[worker]
        else:
            self.world.kill(worker)

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.5, 5.0, 100.0]))
    def has_to_leave(self, data: st.DataObject, seconds: float) -> None:
        """A worker says that it leaves soon; how soon it does is another matter."""
        self.world.drain(data.draw(st.sampled_from(sorted(self.world.workers))), seconds)

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data())
    def turn_deaf_or_hear_again(self, data: st.DataObject) -> None:
        worker = self.world.workers[data.draw(st.sampled_from(sorted(self.world.workers)))]
        worker.deaf = not worker.deaf

    @precondition(lambda self: any(queue for w in self.world.workers.values() for queue in w.queues.values()))
    @rule(data=st.data())
    def slot_goes_down(self, data: st.DataObject) -> None:
        """A slot ends, with all that it had not handed over, and another takes its place."""
        holders = [(w, slot) for w in self.world.workers.values() for slot, queue in w.queues.items() if queue]
        worker, slot = data.draw(st.sampled_from(holders))
        keys = [m.LeaseKey(lease.query, lease.lease) for lease in worker.queues[slot]]
        worker.queues[slot].clear()
        self.world.tell(worker.identity, "worker", slot_down(slot, keys))
        self.world.tell(worker.identity, "worker", m.SlotUp(slot))

    @rule(steps=st.integers(1, 10))
    def let_things_happen(self, steps: int) -> None:
        for _ in range(steps):
            self.world.step()

    @rule(seconds=st.floats(0.0, 8.0))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @precondition(lambda self: len(self.world.sent) > 4)
    @rule(data=st.data(), worker=st.sampled_from(WORKERS))
    def say_again(self, data: st.DataObject, worker: bytes) -> None:
        """An old message comes once more, from the one who said it or from somebody else."""
        message = data.draw(st.sampled_from(self.world.sent))
        if isinstance(message, m.Hello | m.Submit | m.Attach | m.Ask | m.Stop | m.SlotUp):
            return
        self.world.tell(worker, "worker", message, [msgspec.msgpack.encode([])])

    @precondition(lambda self: self.queries)
    @rule(data=st.data(), worker=st.sampled_from(WORKERS), number=st.integers(0, 30), entry=st.integers(0, 40))
    def invent(self, data: st.DataObject, worker: bytes, number: int, entry: int) -> None:
        """A report about any lease that may or may not be the worker's."""
        query = data.draw(st.sampled_from(self.queries))
        kinds = (m.Truncated(query, number, entry), m.Reached(query, number, entry))
        held = (query, number) in getattr(self.world.core.workers.get(worker), "leases", ())
        message = data.draw(st.sampled_from(kinds))
        if not held or isinstance(message, m.Reached):
            self.world.tell(worker, "worker", message)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.pass_time(10.0)
        for worker in WORKERS:
            world.kill(worker) if worker in world.workers else None
        for session in SESSIONS:
            world.hello(session, "session")
        for query in self.queries:
            world.tell(b"session", "session", m.Attach(9, query))
        world.hello(b"good", "worker", 2)
        world.run()
        for query in self.queries:
            merged = world.merged[query]
            assert set(merged.values()) <= {1}, "an entry was merged twice"
            assert query in world.ended, "a query never ended"
            if query not in self.stopped:
                ended = world.ended[query]
                assert ended.state in ("done", "failed"), ended
                if ended.state == "done":
                    assert len(merged) == ended.account.processed == self.expected[query]


def slot_down(slot: int, keys: list[m.LeaseKey]) -> m.SlotDown:
    """As an agent says it: the first lease was at work."""
    if "working" in m.SlotDown.__struct_fields__:
        return m.SlotDown(slot, keys, "killed", working=keys[0] if keys else None)
    return m.SlotDown(slot, keys, "killed", running=True)


TestMaster = MasterMachine.TestCase
TestMaster.settings = examples(40, stateful_step_count=40)
