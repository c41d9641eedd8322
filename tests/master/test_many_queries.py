"""A master that has ten thousand queries behind it is as quick as a new one: it does not look at them."""

from __future__ import annotations

import pytest
from eventmill.master import requests
from eventmill.master.dispatcher import Dispatcher
from eventmill.protocol import messages as m
from fleet import JournaledWorld, World


class NotToBeSeen:
    """In the place of a query that is over."""

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(f"somebody looks at {name} of a query that is over")


@pytest.mark.interpreted("a query is put aside for what is none")
def test_nobody_visits_queries_that_are_over(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """Whatever happens: queries come and end, workers come, are silent, leave and die, sessions come and go."""
    made = JournaledWorld([300, 0, 40], tmp_path)
    for session in (b"session", b"other"):
        made.hello(session, "session")
    for index in range(3):
        made.hello(f"worker{index}".encode(), "worker", slots=2)
    over = [made.submit() for _ in range(5)]
    made.run()
    made.do_all()
    assert made.ended.keys() == set(over)

    monkeypatch.setattr(made.core, "check", lambda: None)
    for number in over:
        made.core.queries._all[number] = NotToBeSeen()  # type: ignore[assignment]
    first = made.submit(token="a")
    made.tell(b"other", "session", m.Submit(4, "test", "kernel", "digest", token="a"), [b"", b"\x90"])
    assert any(isinstance(it, m.Accepted) and it.query == first for it in made.inbox[b"other"])
    second = made.submit(b"other")
    made.tell(b"session", "session", m.Attach(5, second))
    for _ in range(5):
        made.step()
    made.kill(b"worker0")
    made.tell(b"worker1", "worker", m.SlotDown(0, [], "killed"))
    made.tell(b"worker1", "worker", m.SlotUp(0))
    made.pass_time(2.0)  # suspected, and heard of again
    made.drain(b"worker2", seconds=1.0)
    made.carry_out(made.core.disconnected(b"session", made.now))
    made.run()
    made.do_all()
    assert {made.ended[query].state for query in (first, second)} == {"done"}
    assert list(made.core.queries.live) == [] and list(made.core.queries) == [*over, first, second]
    for _ in made.core.suspend():
        pass
    made.close()


@pytest.mark.interpreted("calls of a core's methods are counted")
def test_queries_that_wait_for_workers_do_not_look_at_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn of the loop each of them would look at all others for slots that make way. Where nobody is at work there is
    none: two hundred took 5 ms of a master for each message. As soon as somebody is, the others get their share."""
    asked = []
    make_room = Dispatcher._make_room

    def counted(self, query, queries, now):  # type: ignore[no-untyped-def]
        asked.append(query.number)
        make_room(self, query, queries, now)

    monkeypatch.setattr(Dispatcher, "_make_room", counted)
    made = World([1000] * 6)
    made.hello(b"session", "session")
    first, second, *others = [made.submit() for _ in range(5)]
    made.pass_time(3.0)
    assert not asked
    made.hello(b"worker", "worker", slots=2)
    made.step()
    assert asked
    made.run()
    assert {made.ended[query].state for query in (first, second, *others)} == {"done"}


def test_what_is_to_be_nowhere_written_is_in_no_journal_and_not_kept_for_ever(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Queries whose addresses have a token in them; those beside them are in the journal."""
    monkeypatch.setattr(requests, "KEPT_RESULTS", 2)
    made = JournaledWorld([300, 0, 40], tmp_path)
    made.hello(b"session", "session")
    for index in range(3):
        made.hello(f"worker{index}".encode(), "worker", slots=2)
    written = made.submit()
    unwritten = [made.submit(unwritten=True) for _ in range(4)]
    told = {it.query: it.unsaved for it in made.inbox[b"session"] if isinstance(it, m.Accepted)}
    assert not told[written] and all("nowhere written down" in told[it] for it in unwritten)
    made.run()
    made.do_all()
    assert {made.ended[query].state for query in (written, *unwritten)} == {"done"}
    made.now += 10_000.0
    made.submit()
    assert len(made.core.queries.in_memory) == 2 and set(made.core.queries.in_memory) < set(unwritten)
    made.run()
    made.do_all()
    made.crash()
    assert written in made.core.queries and not set(unwritten) & set(made.core.queries)
    made.close()
