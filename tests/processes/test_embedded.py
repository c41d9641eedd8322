"""A session of its own that lives: its processes are killed, and its queries go on, exact."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import eventmill as em
import psutil
import pytest
from eventmill.protocol.errors import ConnectionFailed
from eventmill.system.logs import keep_within, last_lines, older
from eventmill.system.restarts import MOST, Restarts
from eventmill.worker.agent.forkserver_client import LONGEST_PATH
from processes import SECONDS, Standing, eventually
from reports import check_report

CYCLES = 20_000


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[em.Session]:
    """Of these tests alone, which kill its processes. The folder for temporary files is as batch systems give them."""
    long = tmp_path_factory.mktemp("x" * 120)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TMPDIR", str(long))
        with em.connect(slots=2) as made:
            yield made


def test_a_long_temporary_folder_does_not_keep_a_worker_from_starting(session: em.Session) -> None:
    """Batch systems give jobs folders with long names; the path of a Unix socket has 107 bytes."""
    worker = process_of(session, "agent")
    assert len(worker.environ()["TMPDIR"]) > LONGEST_PATH
    assert session.process(em.items([1, 2, 3]), lambda item: item).result(SECONDS).value == 6


def slow(gate: Path) -> Callable[[Any], dict[str, int]]:
    """Adds up the numbers of cycles, a millisecond each until the gate is opened."""
    name = str(gate)

    def analysis(cycles: Any) -> dict[str, int]:
        import os
        import time

        if not os.path.exists(name):  # noqa: PTH110
            time.sleep(0.002 * len(cycles.number))
        return {"n": len(cycles.number), "added": int(cycles.number.sum())}

    return analysis


def process_of(session: em.Session, name: str) -> psutil.Process:
    assert session._embedded is not None
    worker = psutil.Process(session._embedded.processes["worker" if name in ("agent", "forkserver") else name].pid)
    return worker.children()[0] if name == "forkserver" else worker


def processed(query: em.Query) -> int:
    return query.progress.account.processed if query.progress is not None else 0


LONG = pytest.mark.long("other processes are killed as the agent is")


@pytest.mark.parametrize("name", ["agent", pytest.param("forkserver", marks=LONG), pytest.param("master", marks=LONG)])
def test_a_query_goes_on_when_a_process_of_its_session_is_killed(
    session: em.Session, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = tmp_path / "gate"
    query = session.process(em.cycles(CYCLES, seed=1), slow(gate))
    eventually(lambda: processed(query) > 0 or query.state != "running", "something is committed")
    time.sleep(2.1 if name == "master" else 0.0)  # a checkpoint's interval, so that there is something to go on from
    killed = process_of(session, name)
    family = killed.children(recursive=True)
    killed.kill()
    gate.touch()
    result = query.result(SECONDS)
    assert (result["n"], result["added"]) == (CYCLES, sum(range(CYCLES)))
    assert (result.account.processed, result.account.failed) == (CYCLES, 0)
    check_report(query)
    if name == "agent":
        assert result.account.workers_lost == 1 and [info.left is None for info in query.report()] == [False, True]
    if name != "master":
        _, alive = psutil.wait_procs(family, timeout=SECONDS)
        assert not alive
    if name != "forkserver":
        assert [it.levelname for it in caplog.records if "Another one is started" in it.getMessage()] == ["WARNING"]
    assert session.process(em.items([1, 2]), lambda item: item).result(SECONDS).value == 3


@pytest.mark.nightly  # each by itself is tried above, and another forkserver takes three seconds of a core
def test_master_and_worker_are_killed_together(session: em.Session, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    query = session.process(em.cycles(CYCLES, seed=1), slow(gate))
    eventually(lambda: processed(query) > 0 or query.state != "running", "something is committed")
    for name in ("master", "agent"):
        process_of(session, name).kill()
    gate.touch()
    result = query.result(SECONDS)
    assert (result["n"], result["added"]) == (CYCLES, sum(range(CYCLES)))


def test_results_of_before_are_there_after_the_master_was_killed(session: em.Session) -> None:
    query = session.process(em.items([1, 2, 3]), lambda item: item)
    assert query.result(SECONDS).value == 6
    before = process_of(session, "master")
    before.kill()
    before.wait()
    eventually(
        lambda: session._embedded is not None and session._embedded.processes["master"].pid != before.pid, "another"
    )

    def attached() -> em.Query | None:
        try:
            return session.attach(query.id)
        except ConnectionFailed:  # it was being started
            return None

    eventually(lambda: (again := attached()) is not None and again.result(SECONDS).value == 6, "its result")


def test_a_loop_of_kills_ends_with_an_error_that_shows_the_log() -> None:
    with em.connect(slots=1) as session:
        embedded = session._embedded
        assert embedded is not None
        embedded.kept["master"].restarts = Restarts(most=1)
        for _ in range(2):
            process = embedded.processes["master"]
            process.kill()
            eventually(lambda gone=process: embedded.processes["master"] is not gone or embedded.ended() != "", "seen")  # type: ignore[misc]
        assert repr(session) == "<Session of an embedded master, its master process has ended>"
        with pytest.raises(
            ConnectionFailed, match=r"(?s)makes a new session.*2 times.*SIGKILL.*last words.*listening at"
        ):
            session.queries()
    assert not embedded.folder.exists()


def test_restarts_have_a_limit() -> None:
    restarts = Restarts()
    assert [restarts.allowed(0.0) for _ in range(MOST + 1)] == [*[True] * MOST, False]


# --- a standing worker ----------------------------------------------------------------------------------------------------


@pytest.mark.long("two forkservers start; a session's own is killed above")
def test_a_standing_worker_starts_another_forkserver(standing: Standing, tmp_path: Path) -> None:
    with standing.connect() as session:
        eventually(lambda: bool(session.workers()), "the worker has joined")
        (worker,) = (command for command in standing.commands if command.pid == session.workers()[0].pid)
        query = session.process(em.cycles(CYCLES, seed=1), slow(tmp_path / "gate"))
        eventually(lambda: processed(query) > 0 or query.state != "running", "something is committed")
        (forkserver,) = psutil.Process(worker.pid).children()
        forkserver.send_signal(signal.SIGKILL)
        (tmp_path / "gate").touch()
        result = query.result(SECONDS)
        assert (result["n"], result["added"]) == (CYCLES, sum(range(CYCLES)))
    worker.wait_for("the process that starts slots was killed")
    assert worker.process.poll() is None


# --- the log --------------------------------------------------------------------------------------------------------------


def test_a_log_keeps_its_newest_lines_and_does_not_grow_without_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        for number in range(1000):
            writer.write(b"line %06d\n" % number)
            keep_within(log, most=1000)
            assert log.stat().st_size <= 1000
            assert last_lines(log, 20)[-1] == f"line {number:06}"
    assert last_lines(log, 50) == [f"line {number:06}" for number in range(950, 1000)]
    assert older(log).stat().st_size <= 1000
    assert {path.name for path in tmp_path.iterdir()} == {"log", "log.1"}


def test_a_log_is_cut_to_its_bounds_while_others_write_without_end(tmp_path: Path) -> None:
    """Whoever copies until the end of what grows as fast, copies all of it, and the disk is full."""
    log = tmp_path / "log"
    log.touch()
    writer = subprocess.Popen([sys.executable, "-c", f"""
with open({str(log)!r}, "ab", buffering=0) as log:
    while True:
        log.write(b"x" * 99 + b"\\n" + b"y" * 10**6 + b"\\n")
"""])  # fmt: skip
    try:
        for _ in range(5):
            eventually(lambda: log.stat().st_size > 10**7, "it grows")
            keep_within(log, most=10**7)
            assert older(log).stat().st_size <= 10**7
    finally:
        writer.kill()
        writer.wait()


def test_what_an_analysis_prints_does_not_fill_the_disk(session: em.Session) -> None:
    def talks(item: int) -> int:
        for _ in range(10):
            print("x" * 999_999)
        print("the last words of", item)
        return item

    assert session.process(em.items([1, 2, 3, 4]), talks).result(SECONDS).value == 10
    log = session.log
    assert log is not None
    eventually(lambda: "the last words of" in log.read_text(), "what came last is kept")
    assert log.stat().st_size < 4_000_000 and not older(log).exists()
