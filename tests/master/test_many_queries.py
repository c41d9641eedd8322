"""A master that has ten thousand queries behind it is as quick as a new one: it does not look at them."""

from __future__ import annotations

import pytest
from eventmill.protocol import messages as m
from fleet import JournaledWorld


class NotToBeSeen:
    """In the place of a query that is over."""

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(f"somebody looks at {name} of a query that is over")


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
