"""What a session promises when something is wrong: absurd input, a master that is gone or new, a cell that is run again."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import os
import queue
import re
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import psutil
import pytest
import uproot
from eventmill.analysis.analysis import pack
from eventmill.launch.kept import Kept
from eventmill.launch.local import Embedded
from eventmill.protocol import codec, messages
from eventmill.protocol.connection import find_connection, make_keys, named
from eventmill.protocol.errors import ConnectionFailed, DatasetError, QueryFailed
from eventmill.session import notices
from eventmill.session.requests import checked
from eventmill.session.submission import Submission
from eventmill.system.restarts import Restarts
from processes import SECONDS, Running, Standing, call, eventually

from tests.world.proxy import Proxy


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> em.Dataset:
    """Four files with the numbers from 0 to 999, and lists of them."""
    folder = tmp_path_factory.mktemp("numbers")
    lists = ak.unflatten(np.arange(500), [0, 1] * 500)
    for file in range(4):
        with uproot.recreate(folder / f"{file}.root") as target:
            tree = target.mktree("tree", {"number": "int64", "x": "float64", "list": "var * int64"})
            tree.extend({"number": np.arange(1000), "x": np.linspace(0, 1, 1000), "list": lists})
    return em.Dataset(str(folder / "*.root"), tree="tree")


SUM = 4 * sum(range(1000))


def total(events: ak.Array) -> int:
    return int(ak.sum(events.number))


def slow(events: ak.Array) -> int:

    time.sleep(100e-6 * len(events))
    return int(ak.sum(events.number))


def endless(events: ak.Array) -> int:

    while True:
        time.sleep(0.01)


def children() -> set[psutil.Process]:
    """Not theirs: slots of the session that all files share are replaced at any time."""
    return set(psutil.Process(os.getpid()).children())


# --- absurd input -----------------------------------------------------------------------------------------------------


def test_a_long_name_is_clipped_and_breaks_nothing(session: em.Session, numbers: em.Dataset) -> None:
    other = session.process(numbers, slow)
    query = session.process(numbers, total, name="x" * 2000 + "\udc80")
    assert query.name == "x" * 200
    assert session.process(numbers, total, name="muons\udc80").name == "muons?"
    assert query.result(SECONDS).value == other.result(SECONDS).value == SUM


@pytest.mark.parametrize("path", ["root://host//" + "x" * 200_000, "root://host//\udc80"], ids=["long", "no text"])
def test_a_path_that_cannot_travel_is_named(session: em.Session, numbers: em.Dataset, path: str) -> None:
    files = [*(file.path for file in numbers.files), path]
    with pytest.raises(DatasetError, match=r"root://host//.*cannot be named to the master") as caught:
        session.process(em.Dataset(files, tree="tree"), total)
    assert len(str(caught.value)) < 500


def test_metadata_that_cannot_travel_is_an_error_of_the_dataset(session: em.Session, numbers: em.Dataset) -> None:
    files = [file.path for file in numbers.files]
    with pytest.raises(DatasetError):
        session.process(em.Dataset(files, tree="tree", metadata={"lumi": 2**80}), total)


def test_a_user_without_a_name_can_submit(
    session: em.Session, numbers: em.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs under a number nobody has entered in /etc/passwd."""

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", unknown)
    query = session.process(numbers, total)
    assert next(info.owner for info in session.queries() if info.query == query.id) == f"user {os.getuid()}"
    query.result(SECONDS)


def test_a_message_that_the_master_refuses_leaves_running_queries_alone(
    session: em.Session, numbers: em.Dataset
) -> None:
    """It fails the requests that are open, since one of them may be meant, and no more."""
    query = session.process(numbers, slow)
    nonsense: list[codec.Buffer] = [codec.encode(messages.Ask(1, "queries"))[0].replace(b"queries", b"nothing")]
    answers: queue.SimpleQueue[messages.Message] = queue.SimpleQueue()
    session._link.ask(lambda number: messages.Heartbeat(), answers.put)  # nobody answers it
    session._link._outbox.put(None, nonsense)
    with pytest.raises(ConnectionFailed, match="Invalid enum value 'nothing'"):
        checked(answers.get(timeout=SECONDS), messages.Queries)
    assert query.result(SECONDS).value == SUM
    assert session.process(numbers, total).result(SECONDS).value == SUM


def test_a_number_of_a_query_that_cannot_be_is_not_there(session: em.Session) -> None:
    for ask in (session.attach, session.stop):
        with pytest.raises(QueryFailed, match="no query yyy"):
            ask("y" * 2000)


# --- the master is gone, or another one -------------------------------------------------------------------------------


@pytest.mark.long("waits for a session and a worker that lose patience")
def test_a_master_that_was_restarted_hears_one_hello_and_gets_what_waited(tmp_path: Path, numbers: em.Dataset) -> None:
    """Requests made while it was away are answered once it is there; a query of before, which a master without a journal has
    forgotten, is submitted again; who only watched it is told. A worker gives up when its patience ends."""
    standing = Standing(tmp_path / "state")
    try:
        with standing.connect() as session, standing.connect() as other:
            before = session.process(numbers, total)
            watched, number = other.attach(before.id), before.id
            assert before.state == "running"
            standing.master.process.kill()
            standing.master.wait()
            eventually(lambda: not session._link._dial.connected, "the session notices")
            session._link._silence = SECONDS  # a busy machine may take longer to start a master than requests wait
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                asked = [pool.submit(session.workers) for _ in range(3)]
                submitted = pool.submit(session.process, numbers, total)
                eventually(lambda: len(session._link._requests) == 4, "all ask")
                arguments = (standing.name, "--no-journal", "--host", "127.0.0.1")
                again = Running("master", *arguments, "--interface", "127.0.0.1", state=standing.state)
                standing.commands.append(again)
                assert [request.result(SECONDS) for request in asked] == [[], [], []]
                query = submitted.result(SECONDS)
            eventually(lambda: again.output.count(" joined from ") >= 2, "both sessions join")
            worker = standing.worker(options=("--patience", "1"))
            assert query.result(SECONDS).value == SUM
            assert before.result(SECONDS).value == SUM and before.id != number
            with pytest.raises(QueryFailed, match="the master was started again and has forgotten query total"):
                watched.result(SECONDS)
            assert len(re.findall("session .* joined from ", again.output)) == 2, again.output
        again.process.kill()
        assert worker.wait() == 1 and "no master answers" in worker.output
    finally:
        standing.close()


def test_what_was_sent_and_not_answered_when_the_connection_broke_fails(standing: Standing, tmp_path: Path) -> None:
    """Nobody knows whether it arrived; to wait for ever would be worse, and to send it again could start it twice."""
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(contextlib.closing(Proxy(lambda: standing.port)))
        session = stack.enter_context(em.connect(proxy.save(standing.client, tmp_path / "behind.json")))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        # A heartbeat with the number of a request: the master takes it and has nothing to answer.
        waiting = pool.submit(session._link.request, lambda number: messages.Heartbeat(), messages.Queries)
        eventually(lambda: bool(session._link._requests), "it waits")
        assert session.queries() is not None, "it has been sent"
        proxy.cut()
        with pytest.raises(ConnectionFailed, match="broke before its answer"):
            waiting.result(SECONDS)
        assert session.queries() is not None


def test_a_session_that_was_given_up_by_its_master_joins_again_once(standing: Standing, numbers: em.Dataset) -> None:
    """As after a computer slept: the connection stands, but the master does not know who it is."""
    with standing.connect() as session:
        query = session.process(numbers, slow)
        standing.wait_until_told_of(query)
        joined = len(re.findall("session .* joined", standing.master.output))
        session._link.send(messages.Bye())
        for _ in range(3):
            session._link.send(messages.Heartbeat())
        assert query.result(SECONDS).value == SUM
        assert session.workers()
        standing.wait_until_told_of(session.process(numbers, total))
        assert len(re.findall("session .* joined", standing.master.output)) == joined + 1


# --- processes of a session's own -------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["master", "worker"])
def test_a_process_that_does_not_start_is_told_at_once_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, which: str, numbers: em.Dataset
) -> None:
    start, attempts = Kept._start, list[str]()

    def broken(self: Kept) -> subprocess.Popen[bytes]:
        if self._name != which:
            return start(self)
        attempts.append(which)
        assert self._log is not None
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", "raise SystemExit('no such library')"], stdout=log, stderr=log
            )

    monkeypatch.setattr(Kept, "_start", broken)
    before = children()
    with pytest.raises(ConnectionFailed, match=rf"(?s)the {which} process of this session has ended.*no such library"):
        em.connect(slots=1).process(numbers, total)
    assert len(attempts) == 1, "it is told, not tried again"
    gc.collect()
    assert children() <= before


def test_a_session_without_slots_of_its_own_computes_nothing_here(numbers: em.Dataset) -> None:
    """On a login node: it had a slot a core. What its queries wait for is said, and no worker is told to be on its way."""
    with em.connect(slots=0) as session:
        assert session._embedded is not None and [*session._embedded.processes] == ["master"]
        query = session.process(numbers, total)
        eventually(lambda: "no worker has joined yet" in repr(query), "it says so")
        assert not session.workers()
        query.abort()
    with pytest.raises(ValueError, match="slots=-1: a session has 0 worker slots of its own, or more"):
        em.connect(slots=-1)


@pytest.mark.long("starts two masters and their workers")
def test_running_the_cell_that_connects_again_leaves_nothing_of_the_first_time(numbers: em.Dataset) -> None:
    """A session that nobody refers to closes itself, even when one of its queries runs; who has a query refers to it."""
    before = children()
    made: Any = em.connect(slots=1).process(numbers, total)
    gc.collect()
    assert made.result(SECONDS).value == SUM, "a query keeps its session"
    first = children() - before
    assert first
    made = em.connect(slots=1)
    assert not first & children(), "by the time the name is taken, the first one has ended"
    made.process(numbers, endless)
    del made
    gc.collect()
    assert children() <= before


def test_results_are_remembered_as_long_as_their_user_does(session: em.Session, numbers: em.Dataset) -> None:
    query = session.process(numbers, total)
    query.result(SECONDS)
    number, forgotten = query.id, weakref.ref(query)
    del query
    eventually(lambda: forgotten() is None, "the session forgets it")
    assert session.attach(number).result(SECONDS).value == SUM, "the master does not"


def test_running_queries_are_remembered(session: em.Session, numbers: em.Dataset) -> None:
    number = session.process(numbers, endless).id
    gc.collect()
    session._watch.running[number].abort()
    eventually(lambda: number not in session._watch.running, "it is over")


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_the_stream_of_an_aborted_query_raises_as_its_result_does(session: em.Session, numbers: em.Dataset) -> None:
    query = session.process(numbers, endless)
    query.abort()
    with pytest.raises(QueryFailed, match="endless was aborted"):
        list(query.stream())


def test_stop_of_the_command_line_does_not_fetch_the_result(standing: Standing, numbers: em.Dataset) -> None:
    with standing.connect() as session:
        query = session.process(numbers, slow)
        eventually(lambda: query.account.processed > 0, "the worker commits")
        received: list[Any] = []
        with standing.connect() as other:
            other._watch._receive = lambda message, frames: received.append(message)  # type: ignore[method-assign]
            other.stop(query.id)
            assert query.result(SECONDS).state in ("stopped", "done")
            other.queries()
        assert not received
        code, said = call("stop", "q999", "--master", standing.name, state=standing.state)
        assert code == 1 and "no query q999 on this master; there are: " in said and query.id in said


# --- names of masters -------------------------------------------------------------------------------------------------


def test_a_folder_that_happens_to_have_the_masters_name_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTMILL_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    make_keys(named("default").path, "tcp://lab:8786")
    (tmp_path / "default").mkdir()
    assert find_connection("default").address == "tcp://lab:8786"
    make_keys(tmp_path / "default", "tcp://here:8786")
    assert find_connection("default").address == "tcp://lab:8786", "whoever may write here would be who we talk to"
    assert find_connection("./default").address == "tcp://here:8786"
    make_keys(tmp_path / "other", "tcp://here:8786")
    with pytest.raises(ConnectionFailed, match=r"no master called 'other'.*masters known here: default.*is \./other"):
        find_connection("other")
    with pytest.raises(ConnectionFailed, match="no connection file and no master called"):
        find_connection(tmp_path)


def test_messages_of_a_session_are_checked_before_they_leave(session: em.Session) -> None:
    with pytest.raises(em.errors.ProtocolError, match="the master would refuse this"):
        session._send(messages.Stop("x" * 2000, keep=True))
    assert session.queries() is not None


@pytest.mark.long("scripts are told after seconds")
def test_a_script_is_told_what_its_query_waits_for(
    tmp_path: Path, numbers: em.Dataset, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees a progress bar there: silence would look like work."""
    monkeypatch.setattr(notices, "_SILENT", 0.2)
    lonely = Standing(tmp_path, "lonely")
    try:
        with lonely.connect() as session:
            waiting = session.process(numbers, lambda events: len(events))
            with pytest.raises(TimeoutError):
                waiting.result(timeout=3.0)
            assert "no worker has joined yet" in caplog.text
            assert "no worker has joined yet" in repr(waiting)
    finally:
        lonely.close()


def test_whether_its_processes_live_is_asked_without_a_lock_that_ctrl_c_leaves_taken() -> None:
    """Interrupted in `Popen.poll` at the wrong moment, a session waited for ever for its master to end."""
    embedded = Embedded(slots=1)
    embedded.kept["master"].restarts = Restarts(most=0)
    process = embedded.processes["master"]
    assert process._waitpid_lock.acquire(timeout=10)  # type: ignore[attr-defined]
    try:
        assert embedded.ended() == ""
        process.send_signal(9)
        eventually(lambda: embedded.ended() == "master", "the end of the master is seen")
    finally:
        process._waitpid_lock.release()  # type: ignore[attr-defined]
    with pytest.raises(ConnectionFailed, match="the last time by SIGKILL"):
        embedded.check()
    embedded.close()


# --- large arrays ----------------------------------------------------------------------------------------------------


def test_a_large_array_is_sent_once_and_again_when_it_has_changed(
    session: em.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 MB took twelve seconds a query. One that is changed in place between two queries is not taken for the same."""
    table = np.arange(3 * 2**20)
    sent: list[int] = []
    carrying = Submission.carrying

    def counting(submission: Submission, digests: Sequence[str]) -> Any:
        sent.append(len(digests))
        return carrying(submission, digests)

    def look_up(item: int) -> int:
        return int(table[item])

    def other(item: int) -> int:
        return int(table[item]) * 2

    monkeypatch.setattr(Submission, "carrying", counting)
    values = [session.process(em.items([1, 2, 3]), analysis).result(SECONDS).value for analysis in (look_up, other)]
    table[1] = 100
    values.append(session.process(em.items([1, 2, 3]), look_up).result(SECONDS).value)
    assert values == [6, 12, 105]
    assert sent == [0, 1, 0, 0, 1], "asked what the master lacks, sent it; known to it; another one"


def test_what_is_sent_as_an_array_is_the_array_that_was_submitted() -> None:
    """Another content would be kept under its digest, for all queries to come, and give the numbers of no analysis."""
    table = np.zeros(2**18)
    packed = pack(lambda item: table[item])
    submission = Submission.new(messages.Submit(0, "mine", "columnar", "d"), [packed.blob], packed.attachments)
    (digest,) = submission.submit.attachments
    sent = submission.carrying([digest])
    assert sent.message(3).carried == [digest] and sent.frames == [packed.blob, table.tobytes()]
    table[0] = 1
    with pytest.raises(QueryFailed, match="mine was changed after it was submitted"):
        submission.carrying([digest])
    assert sent.frames[-1] == bytes(8 * 2**18), "what is on its way is no part of the array"


def test_an_array_changed_while_it_is_submitted_gives_no_number(
    session: em.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another thread, before the master has asked for it. Submitted again, the analysis has the new one."""
    table = np.full(2**20, 7)

    def look_up(item: int) -> int:
        return int(table[item])

    new = Submission.new

    def changed_meanwhile(*arguments: Any) -> Submission:
        table[1] += 1
        return new(*arguments)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Submission, "new", changed_meanwhile)
        with pytest.raises(QueryFailed, match=r"an array of the analysis look_up was changed .* submit it again"):
            session.process(em.items([1, 2]), look_up)
    assert session.process(em.items([1, 2]), look_up).result(SECONDS).value == 15
