"""Messages that come in one turn of the master's loop: what follows is worked out once, and nobody waits."""

from __future__ import annotations

from collections import Counter
from math import inf
from pathlib import Path

import pytest
from eventmill.master import serve
from eventmill.master.core import MasterCore
from eventmill.master.dispatcher import Dispatcher
from eventmill.master.effects import Effect
from eventmill.master.serve import Binding, Master
from eventmill.protocol import messages as m
from eventmill.protocol.connection import make_keys
from eventmill.protocol.pieces import MARK, Joiner, Joiners
from eventmill.protocol.usage import Usage
from eventmill.protocol.values import LONGEST, MOST
from fleet import PYTHON, World, packed


@pytest.mark.interpreted("calls of a core's methods are counted")
def test_leases_go_out_once_for_all_that_was_heard_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """`expire`, which ends a turn, is due at once; answers to commits do not wait for it."""
    fed = 0
    feed = Dispatcher.feed

    def counted(self: Dispatcher, now: float) -> None:
        nonlocal fed
        fed += 1
        feed(self, now)

    monkeypatch.setattr(Dispatcher, "feed", counted)
    made = World([10] * 40)
    made.hello(b"session", "session")
    workers = [f"worker{index}".encode() for index in range(5)]
    for worker in workers:
        made.hello(worker, "worker", slots=1)
    query = made.submit()
    assert all(made.workers[worker].queues for worker in workers)
    before = fed
    for commit, worker in enumerate(workers):
        lease = made.workers[worker].queues[0].pop(0)
        count = packed(Counter((lease.file.path, entry) for entry in range(10)))
        for message, frames in (
            (m.Opened(query, lease.lease, 10, 10, [0, 10]), []),
            (m.Finished(query, lease.lease, 10, 0.1, 0.1, 0), []),
            (m.Commit(commit, query, [m.Part(lease.lease, 0, 10)]), count),
        ):
            made.carry_out(made.core.receive(worker, "worker", message, frames, made.now, more=True))
        assert made.inbox[worker][-1] == m.Committed(commit, True)
        assert not isinstance(made.inbox[worker][-1], m.Lease) and made.core.deadline() == -inf
    assert fed == before
    made.carry_out(made.core.expire(made.now))
    assert fed == before + 1 and made.core.deadline() > made.now
    assert all(isinstance(made.inbox[worker][-1], m.Lease) for worker in workers)
    made.run()
    assert made.ended[query].account.processed == 400


def test_who_is_not_known_is_told_once_for_all_that_it_says_in_a_turn() -> None:
    """Ten thousand workers whose master was started again have said ten things each, and each answer was sent."""
    made = World([10])

    def says(*said: m.Message) -> list[m.Message]:
        """All of it in one turn; what is answered."""
        made.inbox[b"worker"] = []
        for message in said:
            made.carry_out(made.core.receive(b"worker", "worker", message, [], made.now, more=True))
        made.carry_out(made.core.expire(made.now))
        return made.inbox[b"worker"]

    stale, hello = m.Truncated("q1", 3, 5), m.Hello("worker", "w", python=PYTHON, slots=1)
    assert says(stale, m.Heartbeat(), stale) == [m.Unknown()] == says(stale)
    assert [type(it) for it in says(stale, hello, stale, m.Heartbeat())] == [m.Unknown, m.Welcome]
    assert says(m.Bye(), stale, m.Bye(), m.Heartbeat()) == [m.Unknown()] and says(m.Bye()) == []


def test_of_many_who_go_at_once_some_are_lost_in_each_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn ends in time. The leases of a worker are to be leased again, and to lose ten thousand took a second."""
    made = Master(make_keys(tmp_path / "keys", "tcp://127.0.0.1:1"), Binding("127.0.0.1"))
    turns = list[list[bytes]]()

    def expire(*_: object) -> list[Effect]:
        turns.append([])
        made._running = bool(made._gone)
        return []

    def disconnected(_: MasterCore, peer: bytes, now: float) -> list[Effect]:
        turns[-1].append(peer)
        return []

    monkeypatch.setattr(serve, "TURN_SECONDS", 1e-9)
    monkeypatch.setattr(MasterCore, "expire", expire)
    monkeypatch.setattr(MasterCore, "disconnected", disconnected)
    made._gone.update(dict.fromkeys([b"one", b"two", b"three"]))
    made.run()
    assert turns == [[b"one"], [b"two"], [b"three"], []]


def test_a_small_message_is_whole_whatever_came_before_it() -> None:
    """Of another peer, of the same one in the middle of a large one; an empty one is none."""
    joiners = Joiners(lambda: Joiner(10**6, 100))
    assert joiners.add(b"a", [b"header", b"rest"]) == [b"header", b"rest"] and b"a" not in joiners
    assert joiners.add(b"a", [memoryview(b"header")]) == [b"header"]
    assert joiners.add(b"a", []) == []
    assert joiners.add(b"a", [MARK]) is None, "the middle of one whose beginning was lost"
    label = MARK + bytes([0x91, 0xCE, 0, 2, 0, 0])
    assert joiners.add(b"a", [label, bytes(65536)]) is None and b"a" in joiners
    assert joiners.add(b"b", [b"header"]) == [b"header"]
    assert joiners.add(b"a", [b"header"]) == [b"header"] and b"a" not in joiners, "the half of one is forgotten"


def test_usage_adds_up_within_what_can_travel() -> None:
    full = Usage(MOST, MOST, *[LONGEST] * 3, MOST, MOST, LONGEST, MOST, *[LONGEST] * 4)
    assert full + full == full == full + Usage()
    one = Usage(1, 2, 0.5, 0.25, 0.125, 10**12, 4, 0.1, 5, 1.0, 2.0, 3.0, 4.0)
    assert Usage() + Usage() == Usage()
    assert one + Usage() == one
    assert one + one == Usage(2, 4, 1.0, 0.5, 0.25, 2 * 10**12, 8, 0.1, 10, 2.0, 4.0, 6.0, 8.0)
