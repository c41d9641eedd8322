"""Faults: what is tried again and where, and how the event that takes slots down is found."""

from __future__ import annotations

import msgspec
import pytest
from eventmill.packetizer.faults import FIRST_PAUSE, LEAST_NARROWING, PROOF, TRIES, Quarantine, Retries, Suspect
from eventmill.protocol import messages as m
from fleet import FakeWorker, World
from hypothesis import given
from hypothesis import strategies as st


def world(lengths: list[int], workers: int = 1, slots: int = 1) -> World:
    made = World(lengths, 0)
    made.hello(b"session", "session")
    for index in range(workers):
        made.hello(f"worker{index}".encode(), "worker", slots)
    return made


# --- slots that go down -----------------------------------------------------------------------------------------------


def chunks(lease: m.Lease, stop: int, usual: int) -> list[tuple[int, int]]:
    size = min(usual, lease.chunk or usual)
    return [(at, min(at + size, stop)) for at in range(lease.start, stop, size)]


def work_or_die(made: World, worker: FakeWorker, deadly: set[int], usual: int) -> bool:
    """A slot processes its next lease in chunks; false when one of them has a deadly entry in it."""
    lease = worker.queues[0][0]
    stop = min(lease.stop, made.lengths[lease.file.path])
    if lease.opening:
        made.tell(
            worker.identity, "worker", m.Opened(lease.query, lease.lease, made.lengths[lease.file.path], stop, [])
        )
    if lease.apart and worker.waiting:
        made.commit(worker)
    for start, end in chunks(lease, stop, usual):
        if deadly & set(range(start, end)):
            keys = [m.LeaseKey(it.query, it.lease) for it in worker.queues[0]]
            keys += [m.LeaseKey(it.query, it.lease) for it, _, _ in worker.waiting]
            worker.queues[0].clear()
            worker.waiting.clear()
            made.tell(worker.identity, "worker", m.SlotDown(0, keys, "killed by SIGSEGV", keys[0], "", start, end))
            made.tell(worker.identity, "worker", m.SlotUp(0))
            return False
    worker.queues[0].pop(0)
    worker.waiting.append((lease, lease.start, stop))
    made.tell(worker.identity, "worker", m.Finished(lease.query, lease.lease, stop, 0.1, 0.0, 0))
    if lease.apart:
        made.commit(worker)
    return True


@pytest.mark.parametrize("usual", [1, 1000, 50_000])
def test_an_event_that_takes_slots_down_is_found_in_a_few_restarts_and_the_rest_is_exact(usual: int) -> None:
    made = world([150_000])
    query = made.submit(on_error="skip")
    worker, restarts = made.workers[b"worker0"], 0
    while query not in made.ended:
        if worker.queues.get(0):
            restarts += not work_or_die(made, worker, {77_777}, usual)
        elif worker.waiting:
            made.commit(worker)
        elif made.to_take:
            made.take()
    assert restarts <= 6
    account = made.ended[query].account
    assert (account.processed, account.failed) == (149_999, 1)
    (lost,) = made.lost[query]
    assert (lost.start, lost.stop) == (77_777, 77_778)
    assert "SIGSEGV" in lost.reason
    assert ("file0", 77_777) not in made.merged[query]
    assert set(made.merged[query].values()) == {1}


def test_by_default_the_query_fails_and_names_the_event() -> None:
    made = world([150_000])
    query = made.submit()
    while made.core.queries[query].running:
        work_or_die(made, made.workers[b"worker0"], {77_777}, 1000)
    made.run()  # the total is taken, which is offered
    failure = made.ended[query].failure
    assert failure is not None
    assert "entry 77777 took down its slot" in failure.message
    assert (failure.start, failure.stop) == (77_777, 77_778)


@given(st.data())
def test_suspicion_narrows_to_the_culprit_and_spares_everybody_else(data: st.DataObject) -> None:
    """Whatever the sizes of chunks, and whatever each of them costs, only the deadly entry is ever blamed."""
    length = data.draw(st.integers(1, 10**6))
    deadly = data.draw(st.integers(0, length - 1))
    overhead = data.draw(st.sampled_from([0.0, 0.1, 0.4, 30.0]))
    kills, span = Quarantine(), (0, length)
    for _ in range(10):
        blamed = kills.add(0, span)
        if blamed is not None:
            assert blamed == (deadly, deadly + 1)
            return
        found = kills.suspect(0, 0, length, overhead)
        assert found is not None and found.start <= deadly < found.stop
        start = found.start + (deadly - found.start) // found.chunk * found.chunk
        span = (start, min(start + found.chunk, found.stop))
    raise AssertionError("not found")


def test_what_was_done_in_the_end_is_not_suspected_any_more() -> None:
    kills = Quarantine()
    assert kills.add(0, (100, 200)) is None
    kills.clear(0, 100, 150)
    assert kills.suspect(0, 0, 1000) == Suspect(150, 200, chunk=2)
    kills.clear(0, 120, 300)
    assert kills.suspect(0, 0, 1000) is None


def test_suspects_are_divided_once_and_not_anew_as_they_become_fewer() -> None:
    kills = Quarantine()
    kills.add(0, (0, 64_000))
    kills.clear(0, 0, 10_000)
    kills.clear(0, 20_000, 63_000)
    assert kills.suspect(0, 0, 64_000) == Suspect(10_000, 20_000, chunk=1000)
    assert kills.suspect(0, 12_345, 12_400) == Suspect(12_345, 12_400, chunk=1000)
    assert kills.suspect(0, 20_000, 64_000) == Suspect(63_000, 64_000, chunk=1000)


@pytest.mark.parametrize(("overhead", "chunks"), [(0.0, 64), (0.1, 64), (0.5, 16), (10.0, LEAST_NARROWING)])
def test_dear_chunks_are_few(overhead: float, chunks: int) -> None:
    """An analysis may take half a second a call: doing 64 of them again cost more than the whole query."""
    kills = Quarantine()
    kills.add(0, (0, 64_000))
    assert kills.suspect(0, 0, 64_000, overhead) == Suspect(0, 64_000, chunk=64_000 // chunks)


def test_the_account_says_that_a_slot_went_down_and_the_progress_forgets_what_it_had() -> None:
    made = world([150_000])
    query = made.submit()
    worker = made.workers[b"worker0"]
    first = worker.queues[0][0]
    made.tell(worker.identity, "worker", m.Opened(query, first.lease, 150_000, 100_000, []))
    second = worker.queues[0][1]
    made.tell(worker.identity, "worker", m.Finished(query, first.lease, 100_000, 0.1, 0.0, 0))
    assert made.core.queries[query].ledger.reached == 100_000
    keys = [m.LeaseKey(query, first.lease), m.LeaseKey(query, second.lease)]
    span = (second.start, second.stop)
    worker.queues[0].clear()
    made.tell(worker.identity, "worker", m.SlotDown(0, keys, "killed by signal 9", keys[1], "", *span))
    account = made.core.queries[query].account()
    where = f"entries {span[0]} to {span[1]} of file0"
    assert account.notes == [
        f"a slot went down at work on {where}, killed by signal 9: they are done again in small chunks"
    ]
    assert made.core.queries[query].ledger.reached == 0
    made.tell(worker.identity, "worker", m.SlotUp(0))
    made.run()
    account = made.ended[query].account
    assert account.processed == 150_000
    assert len(account.notes) == 1


def test_one_death_proves_nothing() -> None:
    """A slot may be killed for reasons of its machine: the second death at the same entry decides."""
    kills = Quarantine()
    deaths = [kills.add(0, (7, 8)) for _ in range(PROOF)]
    assert deaths == [None] * (PROOF - 1) + [(7, 8)]


# --- data that cannot be read -----------------------------------------------------------------------------------------

TRANSIENT = m.Failure("data", "DatasetError", "the server does not answer", transient=True)


def fail_opening(made: World, identity: bytes, failure: m.Failure) -> m.Lease:
    """The slot cannot open the file of its first lease."""
    lease = made.workers[identity].queues[0].pop(0)
    failure = msgspec.structs.replace(failure, path=lease.file.path)
    made.tell(identity, "worker", m.Failed(lease.query, lease.lease, failure))
    return lease


def test_what_cannot_be_read_is_tried_again_after_growing_pauses() -> None:
    made = world([10])
    query = made.submit()
    for attempt in range(TRIES - 1):
        fail_opening(made, b"worker0", TRANSIENT)
        pause = FIRST_PAUSE * 2**attempt
        assert not made.workers[b"worker0"].queues[0]
        assert made.core.deadline() <= made.now + pause
        made.tell(b"worker0", "worker", m.Heartbeat())
        made.now += pause - 0.01
        made.tell(b"worker0", "worker", m.Heartbeat())
        made.carry_out(made.core.expire(made.now))
        assert not made.workers[b"worker0"].queues[0], "too early"
        made.now += 0.02
        made.tell(b"worker0", "worker", m.Heartbeat())
        made.carry_out(made.core.expire(made.now))
    assert made.workers[b"worker0"].queues[0][0].last_try
    fail_opening(made, b"worker0", TRANSIENT)
    assert made.ended[query].state == "failed"
    assert "does not answer" in made.ended[query].failure.message


def test_the_query_says_what_it_waits_for_meanwhile() -> None:
    made = world([10])
    made.submit()
    fail_opening(made, b"worker0", TRANSIENT)
    made.now += 0.3
    made.carry_out(made.core.expire(made.now))
    progress = [it for it in made.inbox[b"session"] if isinstance(it, m.Progress)][-1]
    assert progress.waits == m.Wait("retry", reason="the server does not answer")


def test_another_slot_tries_first_and_another_replica() -> None:
    made = world([], workers=2)
    near, far = "root://a.x//f", "root://b.y//f"
    made.lengths = {near: 10, far: 10}
    made.submit_files([m.File(near, replicas=(far,))])
    (holder,) = [name for name, worker in made.workers.items() if worker.queues.get(0)]
    first = fail_opening(made, holder, m.Failure("data", "DatasetError", "there is no file"))
    (other,) = [name for name, worker in made.workers.items() if worker.queues.get(0)]
    assert other != holder
    assert {first.file.path, made.workers[other].queues[0][0].file.path} == {near, far}


def test_a_permanent_error_is_not_tried_again_where_there_is_no_other_replica() -> None:
    made = world([10], workers=2)
    query = made.submit()
    (holder,) = [name for name, worker in made.workers.items() if worker.queues.get(0)]
    fail_opening(made, holder, m.Failure("data", "DatasetError", "there is no file"))
    assert made.ended[query].state == "failed"


def test_a_fault_that_passes_leaves_no_trace_in_the_result() -> None:
    """Any file may fail a few times, anywhere: all entries are merged once in the end."""
    made = world([50] * 6, workers=3)
    query = made.submit()
    faults = 0
    for _ in range(2000):
        holders = [name for name, worker in made.workers.items() if worker.queues.get(0)]
        if holders and faults < 12 and made.random.random() < 0.2:
            fail_opening(made, made.random.choice(holders), TRANSIENT)
            faults += 1
        elif not made.step():
            made.now += 0.25
            for worker in made.workers:
                made.tell(worker, "worker", m.Heartbeat())
            made.tell(b"session", "session", m.Heartbeat())
            made.carry_out(made.core.expire(made.now))
        if query in made.ended:
            break
    assert made.ended[query].state == "done"
    assert len(made.merged[query]) == 300
    assert set(made.merged[query].values()) == {1}


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 50)), max_size=20))
def test_no_entries_are_tried_for_ever(spans: list[tuple[int, int]]) -> None:
    """However the failing range is cut, an entry is tried `TRIES` times at most."""
    retries, tried = Retries(), dict.fromkeys(range(200), 0)
    for start, length in spans:
        span = (start, start + length)
        pause = retries.pause(0, span, transient=True, replicas=1)
        for entry in range(*span):
            tried[entry] += 1
        assert (pause is None) or max(tried[entry] for entry in range(*span)) < TRIES


def test_who_reads_a_damaged_replica_is_told_whether_there_are_others() -> None:
    """It does not skip entries that another copy still has."""
    made = world([])
    near, far = "root://a.x//f", "root://b.y//f"
    made.lengths = {near: 10, far: 10}
    query = made.submit_files([m.File(near, replicas=(far,))], on_error="skip")
    first = made.workers[b"worker0"].queues[0][0]
    assert first.other_replicas
    fail_opening(made, b"worker0", m.Failure("data", "DatasetError", "it is damaged"))
    second = made.workers[b"worker0"].queues[0][0]
    assert second.file.path != first.file.path
    assert not second.other_replicas
    made.run()
    assert made.ended[query].account.processed == 10
    assert made.ended[query].account.notes == ["data had to be read again once, the last time because it is damaged"]
