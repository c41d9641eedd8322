"""A master that is killed and started again, with real processes: queries go on, and nobody who waits has to know."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import awkward as ak
import eventmill as em
import msgspec
import numpy as np
import processes
import psutil
import pytest
from eventmill.master.journal import Journal
from eventmill.protocol import messages
from eventmill.protocol.errors import ConnectionFailed, QueryFailed
from processes import SECONDS, Standing, eventually
from sums import ENTRIES, SUM, committed, total

from tests.world.fleet import free_port

PACKET, COMMIT, CHECKPOINT = 1.0, 0.5, 2.0
"""Seconds of work that a slot has not handed over, its worker not committed, and the master not written down."""


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A master with a worker of two slots."""
    made = Standing(tmp_path_factory.mktemp("state"))
    made.worker(slots=2)
    yield made
    made.close()


@pytest.fixture
def fleet(standing: Standing) -> Standing:
    """The same, and the master runs, whatever the last test has done to it."""
    if standing.master.process.poll() is not None:
        standing.start_master()
    return standing


def slow_total(counter: Path, cost: float) -> Callable[..., int]:
    """The sum of the numbers, `cost` seconds each until there is a file "hurry" beside the counter. Every entry that is
    worked on leaves a byte in that."""
    name, hurry = str(counter), str(counter.with_name("hurry"))

    def slow(events: ak.Array) -> int:
        import os
        import time

        if not os.path.exists(hurry):  # noqa: PTH110
            time.sleep(cost * len(events))
        descriptor = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, bytes(len(events)))
        os.close(descriptor)
        return int(ak.sum(events.number))

    return slow


def killed_during(query: em.Query, fleet: Standing, moments: list[float]) -> em.Result:
    """Kill the master so many seconds after the query was seen to run, again and again, and wait for the result."""
    for moment in moments:
        eventually(lambda: committed(query) or query.state != "running", "the query runs")
        time.sleep(moment)
        fleet.crash()
        fleet.start_master()
    return query.result(SECONDS)


@pytest.mark.long("a master is killed and started again several times")
def test_a_query_survives_a_master_that_is_killed_at_random_moments(
    fleet: Standing, numbers: em.Dataset, tmp_path: Path
) -> None:
    """The call that waits for the result knows nothing of it, every entry counts once, and little is done again."""
    moments = [random.Random(seed).uniform(0.0, 2.5) for seed in range(3)]
    cost = 0.0008
    with fleet.connect() as session:
        query = session.process(numbers, slow_total(tmp_path / "counter", cost))
        result = killed_during(query, fleet, moments)
        assert result.value == SUM
        account = result.account
        assert (account.processed, account.total, account.failed) == (ENTRIES, ENTRIES, 0)
        assert sum(info.entries for info in query.report()) >= ENTRIES
    redone = (tmp_path / "counter").stat().st_size - ENTRIES
    assert redone <= len(moments) * 2 * (PACKET + COMMIT + CHECKPOINT) / cost


def test_questions_that_a_master_takes_with_it_are_asked_again(fleet: Standing) -> None:
    """What changes nothing is asked of the next master; of what may have been done, the user is told."""
    with fleet.connect() as session, ThreadPoolExecutor() as pool:
        eventually(lambda: bool(session.workers()), "its worker is there")
        questions: list[Callable[[], object]] = [session.workers, session.queries, session.pools, session.datasets.list]
        before = [len(question()) for question in questions]  # type: ignore[arg-type]
        fleet.master.process.send_signal(signal.SIGSTOP)
        asked = [pool.submit(question) for question in questions]
        removed = pool.submit(session.datasets.remove, "nothing")
        eventually(lambda: len(session._link._requests) == len(asked) + 1, "all are asked")
        eventually(lambda: session._link._outbox.is_empty, "all are sent")
        session._link._silence = (
            SECONDS  # on a busy machine the next master is longer in coming than it is waited for in silence
        )
        fleet.crash()
        fleet.start_master()
        eventually(lambda: len(session.workers()) == before[0], "its worker is there again")
        after = [len(it.result(SECONDS)) for it in asked]  # type: ignore[arg-type]
        assert after[1:] == before[1:]
        with pytest.raises(ConnectionFailed, match="nobody knows whether it took the request"):
            removed.result(SECONDS)


def test_results_are_there_after_a_restart_until_they_are_removed(fleet: Standing, numbers: em.Dataset) -> None:
    with fleet.connect() as session:
        query = session.process(numbers, total)
        assert query.result(SECONDS).value == SUM

        def broken(events: ak.Array) -> int:
            raise ArithmeticError("minus one muon")

        failed = session.process(numbers, broken)
        with pytest.raises(ArithmeticError):
            failed.result(SECONDS)
        assert session.attach(query.id).result(SECONDS).value == SUM
    fleet.crash()
    fleet.start_master()
    with fleet.connect() as session:
        states = {info.query: info.state for info in session.queries()}
        assert (states[query.id], states[failed.id]) == ("done", "failed")
        again = session.attach(query.id)
        result = again.result(SECONDS)
        assert result.value == SUM and result.account.processed == ENTRIES and again.report() == query.report()
        with pytest.raises(ArithmeticError, match="minus one muon"):
            session.attach(failed.id).result(SECONDS)
        code, said = processes.call("remove", query.id, "--master", fleet.name, state=fleet.state)
        assert code == 0 and f"removed query {query.id}" in said
        with pytest.raises(QueryFailed, match=f"no query {query.id} on this master; there are: .*{failed.id}"):
            session.remove(query.id)
        session.remove(failed.id)
        third = session.process(numbers, total)
        assert third.id not in (query.id, failed.id) and third.result(SECONDS).value == SUM
    fleet.crash()
    fleet.start_master()
    with fleet.connect() as session:
        numbers_left = [info.query for info in session.queries()]
        assert numbers_left[-1] == third.id and not {query.id, failed.id} & set(numbers_left)


def test_a_query_that_runs_is_not_removed(fleet: Standing, numbers: em.Dataset, tmp_path: Path) -> None:
    with fleet.connect() as session:
        query = session.process(numbers, slow_total(tmp_path / "counter", 0.01))
        with pytest.raises(QueryFailed, match=f"query {query.id} is running: stop it"):
            session.remove(query.id)
        query.abort()


def test_a_second_master_with_the_same_journal_is_told_who_has_it(fleet: Standing) -> None:
    code, said = processes.run("master", fleet.name, "--port", "0", state=fleet.state)
    assert code == 1 and len(said.splitlines()) == 1
    assert "another master uses the journal" in said and f"process {fleet.master.pid}" in said


def test_a_journal_that_makes_no_sense_is_refused_with_words(tmp_path: Path) -> None:
    """Ranges of a file that was never opened, as a bug or a bad disk might leave them."""
    journal = Journal(tmp_path / "test" / "journal.sqlite")
    submit = messages.Submit(1, "test", "kernel", "digest")
    journal.submitted("q1", submit, [b"", msgspec.msgpack.encode([messages.File("a.root")])], started=0.0)
    journal.merged("q1", [(0, 0, 10)])
    journal.checkpoint("q1", [], messages.Account())
    journal.close()
    code, said = processes.run("master", "test", "--port", "0", state=tmp_path)
    assert code == 1 and "does not fit together" in said and "journal.sqlite" in said and "move it away" in said
    assert "Traceback" not in said


@pytest.mark.long("a checkpoint is waited for on a disk that is full")
def test_a_full_disk_stops_no_query_and_its_user_is_told(fleet: Standing, numbers: em.Dataset, tmp_path: Path) -> None:
    """The note goes away when there is room again, and what was merged meanwhile outlives the master."""
    with fleet.connect() as session:
        query = session.process(numbers, slow_total(tmp_path / "counter", 0.005))
        eventually(lambda: committed(query), "the query runs")
        master = psutil.Process(fleet.master.pid)
        limits = master.rlimit(psutil.RLIMIT_FSIZE)
        master.rlimit(psutil.RLIMIT_FSIZE, (4096, limits[1]))
        eventually(lambda: bool(query.account.notes), "the journal cannot be written")
        (note,) = query.account.notes
        assert "the journal cannot be written" in note and "if the master dies now, work since" in note
        master.rlimit(psutil.RLIMIT_FSIZE, limits)
        eventually(lambda: not query.account.notes, "there is room again")
        assert query.state == "running"
        fleet.crash()
        fleet.start_master()
        with fleet.connect() as other:
            written = next(info.account for info in other.queries() if info.query == query.id)
        assert written.processed > 0
        (tmp_path / "hurry").touch()
        result = query.result(SECONDS)
        assert result.value == SUM and not result.account.notes


@pytest.mark.long("real masters at their pace; tests/master/test_master_restart.py has it in virtual time")
def test_a_query_that_could_not_be_written_down_begins_anew_though_the_master_dies(
    fleet: Standing, numbers: em.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk when it was submitted, and the master is killed: its session, which is told so, submits it again."""
    with fleet.connect() as session:
        master = psutil.Process(fleet.master.pid)
        master.rlimit(psutil.RLIMIT_FSIZE, (4096, master.rlimit(psutil.RLIMIT_FSIZE)[1]))
        query = session.process(numbers, slow_total(tmp_path / "counter", 0.005))
        assert (
            "the journal cannot be written" in caplog.text
            and "if the master dies now, this query is lost" in caplog.text
        )
        eventually(lambda: committed(query), "the query runs")
        number = query.id
        fleet.crash()
        fleet.start_master()
        (tmp_path / "hurry").touch()
        assert query.result(SECONDS).value == SUM
        assert f"had lost query {number}: it begins anew as {query.id}" in caplog.text
        assert number not in [info.query for info in session.queries()]


class Muons:
    """An object that only Python can merge; those of two slots are merged when there is a file."""

    def __init__(self, count: int, gate: str) -> None:
        import os

        self.count, self.gate, self.slot = count, gate, os.getpid()

    def __add__(self, other: Muons) -> Muons:
        import os
        import time

        while self.slot != other.slot and not os.path.exists(self.gate):  # noqa: PTH110
            time.sleep(0.01)
        self.count += other.count
        return self


@pytest.mark.long("as above")
def test_objects_are_merged_though_the_master_dies_while_they_are(
    fleet: Standing, numbers: em.Dataset, tmp_path: Path
) -> None:
    """All entries are processed, and a slot merges the objects of the total when the master is killed."""
    gate = tmp_path / "gate"
    name = str(gate)

    def objects(events: ak.Array) -> Muons:
        import time

        time.sleep(0.0002 * len(events))
        return Muons(len(events), name)

    with fleet.connect() as session:
        query = session.process(numbers, objects)
        eventually(
            lambda: query.progress is not None and query.progress.waits == messages.Wait("merging"), "it is merging"
        )
        fleet.crash()
        fleet.start_master()
        gate.touch()
        result = query.result(SECONDS)
        assert result.value.count == result.account.processed == ENTRIES


@pytest.mark.long("as above")
def test_a_master_that_moves_is_found_by_the_connection_file(
    fleet: Standing, numbers: em.Dataset, tmp_path: Path
) -> None:
    with fleet.connect() as session:
        query = session.process(numbers, slow_total(tmp_path / "counter", 0.005))
        eventually(lambda: committed(query), "the query runs")
        before = session.address
        fleet.crash()
        fleet.start_master("--port", str(free_port()))
        (tmp_path / "hurry").touch()
        assert query.result(SECONDS).value == SUM
        assert session.address != before


@pytest.mark.long("as above")
def test_a_master_that_the_machine_ends_is_waited_for(fleet: Standing, numbers: em.Dataset, tmp_path: Path) -> None:
    """As before a reboot: nothing that was committed is done again, and workers and sessions stay."""
    counter = tmp_path / "counter"
    with fleet.connect() as session:
        query = session.process(numbers, slow_total(counter, cost := 0.0005))
        eventually(lambda: committed(query), "the query runs")
        assert fleet.master.end(signal.SIGTERM) == 0
        fleet.start_master()
        assert query.result(SECONDS).value == SUM
    assert counter.stat().st_size - ENTRIES <= 2 * (PACKET + COMMIT) / cost


@pytest.mark.long("as above")
def test_a_query_with_a_large_array_goes_on_after_the_master_is_killed(
    fleet: Standing, numbers: em.Dataset, tmp_path: Path
) -> None:
    """Its array is beside the journal: the worker, which has joined anew, gets it from there."""
    table = np.full(2**21, 2)
    slow = slow_total(tmp_path / "counter", 0.0004)

    def weighted(events: ak.Array) -> int:
        return int(table[-1]) * slow(events)

    with fleet.connect() as session:
        query = session.process(numbers, weighted)
        result = killed_during(query, fleet, [0.3])
        assert result.value == 2 * SUM and result.account.processed == ENTRIES
    assert list((fleet.state).rglob("*.attachments/*"))
