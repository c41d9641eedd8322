"""That a master does not take for silence what it did not listen to."""

from __future__ import annotations

from eventmill.master.effects import Send
from eventmill.master.listening import HEARTBEAT, IDLE_HEARTBEAT, Hearing, Listening
from eventmill.master.roster import SESSION_SILENCE, SILENCE
from eventmill.protocol import messages as m
from fleet import World
from hypothesis import given
from hypothesis import strategies as st


def world() -> World:
    made = World([])
    made.hello(b"session", "session")
    for number in range(3):
        made.hello(b"worker%d" % number, "worker", slots=1)
    made.carry_out(made.core.expire(made.now))
    return made


def test_a_master_that_stood_still_throws_nobody_out() -> None:
    """Stopped, or busy for a minute with what somebody submitted: what its workers said meanwhile lies unread."""
    made = world()
    for _ in range(10):
        made.now += 10 * SESSION_SILENCE
        made.carry_out(made.core.expire(made.now))
        made.pass_time(SILENCE - 2 * HEARTBEAT)
        for peer in (*made.core.workers, *made.core.sessions):
            made.tell(peer, "session" if peer in made.core.sessions else "worker", m.Heartbeat())
    assert len(made.core.workers) == 3 and len(made.core.sessions) == 1
    made.tell(b"worker1", "worker", m.Heartbeat())
    made.pass_time(SILENCE + HEARTBEAT)
    assert not made.core.workers and len(made.core.sessions) == 1, "those that are silent while it listens are lost"


def test_an_idle_worker_may_be_silent_for_longer_and_not_for_as_long_as_it_likes() -> None:
    made = world()
    made.tell(b"worker0", "worker", m.Heartbeat(IDLE_HEARTBEAT))
    made.tell(b"worker1", "worker", m.Heartbeat(1000.0))
    made.tell(b"worker2", "worker", m.Heartbeat(IDLE_HEARTBEAT))
    made.tell(b"worker2", "worker", m.Draining(1000.0))
    made.pass_time(SILENCE + HEARTBEAT / 2)
    assert list(made.core.workers) == [b"worker0", b"worker1"], "who has said something else is to go on as one at work"
    made.pass_time(IDLE_HEARTBEAT - HEARTBEAT)
    assert not made.core.workers


def test_workers_are_told_nothing_for_as_long_as_there_is_nothing() -> None:
    """That ten thousand are there is known by what they say; that the master is, by their connection."""
    made = world()
    told = [made.core.expire(made.now + seconds) for seconds in range(5)]
    peers = {it.peer for effects in told for it in effects if isinstance(it, Send)}
    assert peers == {b"session"}


def test_what_lies_unread_is_no_silence() -> None:
    """Ten thousand say hello at once: it takes longer to take in all of them than each may be silent."""
    made = world()
    for _ in range(100):
        made.now += 1.0
        made.carry_out(made.core.expire(made.now, heard_all=False))
    assert len(made.core.workers) == 3
    for _ in range(7):  # everybody has been heard from time to time, though never all that was there
        for _ in range(100):
            made.now += 0.1
            made.carry_out(made.core.expire(made.now, heard_all=False))
        made.carry_out(made.core.expire(made.now))
    assert not made.core.workers, "who floods it hides nobody's silence"


@given(st.lists(st.tuples(st.integers(0, 800), st.booleans()), max_size=50))
def test_no_more_is_listened_than_has_passed_and_no_more_than_a_heartbeat_at_a_time(
    turns: list[tuple[int, bool]],
) -> None:
    """In eighths of a second, which add up to what they are."""
    listening, now = Listening(), 0.0
    before = listening.looked(now)
    for eighths, heard_all in turns:
        now += eighths / 8
        after = listening.looked(now, heard_all)
        assert 0.0 <= after - before <= HEARTBEAT and (heard_all or after == before) and after <= now
        before = after


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=50), st.integers(0, 30))
def test_everybody_is_heard_after_as_many_messages_as_there_are_connections(
    turns: list[tuple[int, bool]], connections: int
) -> None:
    hearing, taken = Hearing(), 0
    for messages, more in turns:
        taken += messages
        heard = hearing.took(messages, connections, more)
        assert heard == (not more or taken > connections)
        taken = 0 if heard else taken
