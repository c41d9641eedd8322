"""What user code does to its slot, and what a slot does to its agent: real processes, on one slot."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
import zmq
from bench import Bench
from eventmill.master.serve import Binding, Master
from eventmill.protocol import codec, messages
from eventmill.protocol.connection import load_connection, make_keys
from eventmill.protocol.errors import ConnectionFailed, DatasetError
from eventmill.reading.reader import Reader
from eventmill.session import notices
from eventmill.session.ending import rebuild
from eventmill.worker.agent import forkserver_client
from eventmill.worker.agent.serve import Worker
from eventmill.worker.cache_eviction import make_whole
from eventmill.worker.slot.chunks import FIRST_CHUNK, ChunkSizes
from eventmill.worker.slot.failures import describe
from eventmill.worker.slot.packets import Compaction
from processes import Standing
from skhep_testdata import data_path

SECONDS = 60
FILE = messages.File("f.root")


@pytest.fixture(scope="module")
def session(standing: Standing) -> Iterator[em.Session]:
    with standing.connect() as made:
        yield made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> em.Dataset:
    folder = tmp_path_factory.mktemp("events")
    for number in range(4):
        with uproot.recreate(folder / f"{number}.root") as file:
            file["Events"] = {"x": np.arange(1000.0)}
    return em.Dataset(str(folder / "*.root"), tree="Events")


def count(events: Any) -> int:
    return len(events)


def assert_slot_works(session: em.Session, data: em.Dataset) -> None:
    assert session.process(data, count).result(SECONDS).value == 4000


# --- slots in user code ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [True, False], ids=["stop", "abort"])
def test_a_slot_in_an_endless_loop_is_freed_when_its_query_ends(
    session: em.Session, data: em.Dataset, keep: bool
) -> None:
    def endless(events: Any) -> int:
        while True:
            pass

    query = session.process(data, endless)
    waiting = session.process(data, count)
    while not (query.progress and query.progress.slots):
        session.queries()
    query.stop() if keep else query.abort()
    assert waiting.result(SECONDS).value == 4000, "what waited behind it in the same slot"
    assert_slot_works(session, data)


def test_a_stop_keeps_what_the_progress_had_counted(session: em.Session, data: em.Dataset) -> None:
    def slow(events: Any) -> int:
        import time

        time.sleep(0.3)
        return len(events)

    query = session.process(data, slow)
    while not (query.progress and query.progress.reached):
        session.queries()
    reached = query.progress.reached
    query.stop()
    result = query.result(SECONDS)
    assert result.value == result.account.processed >= reached > 0


@pytest.mark.long("it is told after seconds")
def test_a_script_is_told_which_server_does_not_answer(
    session: em.Session, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be tried for minutes, without a word."""
    monkeypatch.setattr(notices, "_SILENT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        waiting = session.process(em.Dataset(f"root://{place}//store/a.root", tree="Events"), count)
        late = time.monotonic() + SECONDS
        said = rf"query count is waiting: {place} has not answered for \d+ s \(a\.root\)"
        while not re.search(said, caplog.text) and time.monotonic() < late:  # a busy slot may be waited for before
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
        waiting.abort()
    assert re.search(said, caplog.text)


def test_results_that_cannot_be_pickled_fail_the_query_once(session: em.Session, data: em.Dataset) -> None:
    """Each used to take its slot down, and to be done again, without end."""

    class Locked:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __add__(self, other: Locked) -> Locked:
            return self

    class Rude(Locked):
        def __reduce__(self) -> Any:
            raise SystemExit("no")

    with pytest.raises(em.errors.MergeError, match="Locked in the result cannot be pickled"):
        session.process(data, lambda events: Locked()).result(SECONDS)
    with pytest.raises((em.errors.EventmillError, SystemExit)):
        session.process(data, lambda events: Rude()).result(SECONDS)
    assert_slot_works(session, data)


def test_results_of_too_many_objects_fail_the_query_in_words(session: em.Session, data: em.Dataset) -> None:
    def crowd(events: Any) -> dict[str, Any]:
        from fractions import Fraction

        return {str(number): Fraction(number) for number in range(codec.MAX_FRAMES + 1)}

    with pytest.raises(em.errors.MergeError, match="the limit is 10,000"):
        session.process(data, crowd).result(SECONDS)
    assert_slot_works(session, data)


def test_an_exception_whose_text_is_no_unicode_arrives(session: em.Session, data: em.Dataset) -> None:
    def odd(events: Any) -> int:
        raise ValueError("\udc80")

    with pytest.raises(ValueError, match="\udc80"):
        session.process(data, odd).result(SECONDS)
    assert_slot_works(session, data)


def test_a_slot_that_sends_nonsense_is_replaced_and_its_worker_goes_on(session: em.Session, data: em.Dataset) -> None:
    def damage(events: Any) -> int:
        import gc
        import time

        from eventmill.worker.slot.process import SlotProcess

        (slot,) = (thing for thing in gc.get_objects() if type(thing) is SlotProcess)
        slot.link._socket.send(b"nonsense")
        time.sleep(SECONDS)
        return 0

    with pytest.raises(em.errors.AnalysisError, match=r"took down its slot.*nonsense"):
        session.process(data, damage).result(SECONDS)
    assert_slot_works(session, data)


@pytest.mark.parametrize("merging", [True, False])
def test_a_release_drops_all_there_is_of_a_query_but_a_compaction_while_it_is_merging(
    tmp_path: Path, merging: bool
) -> None:
    release = messages.Release("q", merging)
    bench = Bench(tmp_path)
    bench.tell(messages.Setup("q", "columnar", "digest"), [b""])
    bench.tell(messages.Lease(1, "q", 0, FILE, 0, 10, 1.0))
    for query in ("q", "other"):
        bench.tell(messages.Compact(query, 0), [b"", b""])
    bench.tell(release)
    slot = bench.slot
    assert [thing.query for thing in slot.queue.todo] == (["q", "other"] if merging else ["other"])
    assert all(isinstance(thing, Compaction) for thing in slot.queue.todo) and not slot.queue.queries
    assert bench.line.answers == [(release, [])], "the agent knows then that it is not stuck"


# --- the forkserver and its folder -----------------------------------------------------------------------


FORKSERVER = """#!{python} -IS
import os, sys
os.write(descriptor := int(sys.argv[4]), b"warm")
os.read(descriptor, 1)
"""
"""Says that it is warm and does nothing, which takes no time."""


@pytest.fixture
def signals_missed() -> Iterator[list[int]]:
    """Signals to end that neither worker nor master takes, which would be the end of the process."""
    missed: list[int] = []
    before = [
        (number, signal.signal(number, lambda number, _: missed.append(number)))
        for number in (signal.SIGINT, signal.SIGTERM)
    ]
    yield missed
    for number, handler in before:
        signal.signal(number, handler)


def fake_forkserver(folder: Path) -> str:
    """What to run in the place of Python, which runs `FORKSERVER`."""
    program = folder / "forkserver"
    program.write_text(FORKSERVER.format(python=sys.executable))
    program.chmod(0o700)
    return str(program)


def test_a_forkserver_that_is_killed_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its agent, which is not thrown by the pipe that is broken before it knows. (What the real one leaves when it is
    killed: test_embedded.)"""
    monkeypatch.setattr(sys, "executable", fake_forkserver(tmp_path))
    made = forkserver_client.ForkserverClient(tmp_path)
    try:
        assert made.receive() == ["warm"]
        made._process.kill()
        assert made.receive() == ["ended"]
        made.fork(0)  # nobody hears it, and the agent is told by `receive`
        made.start_again()
        assert made.receive() == ["warm"]
    finally:
        made.close()


@pytest.mark.parametrize(
    "unread", [b"", b"ping", b"fork 0 1"], ids=["closed", "when asked for a sign of life", "for a slot"]
)
def test_a_forkserver_whose_agent_is_gone_ends_without_a_word(unread: bytes) -> None:
    """Also where it was just asked for something: its answer finds nobody, which is no error."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with tempfile.TemporaryFile() as word:
        socket.send_fds(ours, [unread], [word.fileno()])
    ours.close()
    with its:
        script = "import socket, sys; from eventmill.worker.forkserver import Forkserver as F; "
        script += "F(socket.socket(fileno=int(sys.argv[1])), None).run()"
        command = [sys.executable, "-c", script, str(its.fileno())]
        ended = subprocess.run(command, pass_fds=[its.fileno()], capture_output=True, timeout=SECONDS)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_user_code_cannot_read_the_terminal_of_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A slot has its standard input from its forkserver: `input()` was what somebody typed there."""
    typed, typing = os.pipe()
    kept = os.dup(0)
    request.addfinalizer(lambda: [os.dup2(kept, 0), *map(os.close, (kept, typed, typing))])
    os.dup2(typed, 0)
    monkeypatch.setattr(sys, "executable", fake_forkserver(tmp_path))
    with contextlib.closing(forkserver_client.ForkserverClient(tmp_path)) as made:
        assert made.receive() == ["warm"]
        assert Path(f"/proc/{made._process.pid}/fd/0").readlink() == Path("/dev/null")


@pytest.mark.parametrize("whose", ["of another user", "writable"])
def test_a_cache_that_others_may_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, whose: str
) -> None:
    """What lies in it is unpickled and imported: it ran as root that way."""
    cache, instead = tmp_path / "cache", tmp_path / "instead"
    assert forkserver_client._usable(cache, instead) == cache and cache.stat().st_mode & 0o777 == 0o700
    if whose == "writable":
        cache.chmod(0o770)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    assert forkserver_client._usable(cache, instead) == instead
    assert ("others may write to it (mode 0770)" if whose == "writable" else "belongs to another user") in caplog.text


def test_a_module_of_another_user_in_a_cache_is_not_imported(tmp_path: Path) -> None:
    folder = tmp_path / ("0" * 40)
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match=r"others may write to it .*: remove it"):
        make_whole(folder, ".part", lambda part: None)


def test_a_signal_while_a_worker_ends_comes_too_late_to_disturb_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals_missed: list[int]
) -> None:
    """A batch system tells a worker again that has drained and is about to go: that was "Aborted!", with code 1, and left
    its folder."""

    class Told(Worker):
        def _close(self) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            super()._close()

    nobody = load_connection(make_keys(tmp_path / "keys", "tcp://127.0.0.1:1").worker)
    monkeypatch.setattr(sys, "executable", fake_forkserver(tmp_path))
    worker = Told(nobody, 1, "told", patience=0.0, forkserver=forkserver_client.ForkserverClient(tmp_path))
    with pytest.raises(ConnectionFailed, match="no master answers"):
        worker.run()
    assert not signals_missed


def test_a_signal_while_a_master_ends_comes_too_late_to_disturb_it(tmp_path: Path, signals_missed: list[int]) -> None:
    """It may be writing down what is merged."""

    class Told(Master):
        def _close(self, broken: bool) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            super()._close(broken)

    keys = make_keys(tmp_path / "keys", "tcp://127.0.0.1:0")
    Told(keys, Binding("127.0.0.1", 0, "127.0.0.1")).run(on_ready=lambda _: signal.raise_signal(signal.SIGTERM))
    assert not signals_missed


def test_the_folder_for_the_socket_is_the_first_whose_path_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert forkserver_client.LONGEST_PATH <= zmq.IPC_PATH_MAX_LEN
    short = Path(tempfile.mkdtemp(dir="/tmp"))
    long = tmp_path / ("é" * 60)
    long.mkdir()
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
        for folder, expected in ((short, short), (long, short)):
            monkeypatch.setattr(tempfile, "tempdir", str(folder))
            assert forkserver_client.folder_for_socket() == str(expected)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
        assert forkserver_client.folder_for_socket() == "/tmp"
    finally:
        short.rmdir()


# --- exceptions on their way ----------------------------------------------------------------------------------------------


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle")


def huge() -> Exception:
    return ValueError(b"x" * 20 * 2**20)


@pytest.mark.parametrize(
    "error",
    [Mute(), huge(), type("E" * 5000, (Exception,), {})("x"), ValueError("y" * 10**6), OSError(2, "no", "\udcff")],
    ids=["mute", "huge", "long name", "long text", "file name"],
)
def test_whatever_a_user_raises_can_be_told(error: Exception) -> None:
    failure, frames = describe(error, FILE, 0, 10)
    header, *rest = codec.encode(messages.Failed("q", 1, failure), frames)
    decoded, _ = codec.decode([header, *rest])
    assert isinstance(decoded, messages.Failed) and decoded.failure.message
    assert sum(map(len, rest)) < 17 * 2**20


def raised_in(filename: Path) -> str:
    """The traceback that a user sees of a function that is in `filename`, called by eventmill's worker."""
    names: dict[str, Any] = {}
    exec(compile("def analysis():\n    raise ValueError('no')\n", str(filename), "exec"), names)
    analysis = names["analysis"]
    assert isinstance(analysis, FunctionType)
    ours = Path(forkserver_client.__file__).with_name("tasks.py")
    exec(compile("def run():\n    analysis()\n", str(ours), "exec"), names)
    with pytest.raises(ValueError) as caught:
        names["run"]()
    error = caught.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next
    return describe(error, FILE, None, None)[0].traceback


def test_tracebacks_begin_with_the_users_code_also_in_a_checkout() -> None:
    """The package is the root of the repository: examples in it are users' code."""
    example = Path(em.__file__).with_name("examples") / "dimuon.py"
    text = raised_in(example)
    assert str(example) in text and "tasks.py" not in text


def test_what_is_wrong_with_a_file_is_told_without_our_lines(tmp_path: Path) -> None:
    """Sixty lines of how we read it, with the reason in the middle, used to follow; a user's own line says more."""
    path = tmp_path / "cut.root"
    path.write_bytes(Path(data_path("uproot-HZZ.root")).read_bytes()[:5000])
    with pytest.raises(DatasetError) as caught:
        Reader(str(path), "events")
    failure, _ = describe(caught.value, messages.File(str(path)), None, None)
    assert "it has 5000 bytes of" in failure.message
    assert failure.traceback.count("File ") == 1 and __file__ in failure.traceback, (
        "where there is no user's line, nothing"
    )

    damaged = bytearray(Path(data_path("uproot-HZZ-zlib.root")).read_bytes())
    with uproot.open(data_path("uproot-HZZ-zlib.root")) as file:
        damaged[int(file["events/MET_px"].member("fBasketSeek")[0]) + 500] ^= 255
    path.write_bytes(damaged)
    events = Reader(str(path), "events").events(0, 100)
    with pytest.raises(DatasetError) as caught:
        ak.sum(events.MET_px)
    failure, pickled = describe(caught.value, messages.File(str(path)), 0, 100)
    assert "basket 0 of branch MET_px" in failure.message
    assert failure.traceback.count("File ") == 1 and "ak.sum(events.MET_px)" in failure.traceback
    assert len("".join(rebuild(failure, pickled[0]).__notes__).splitlines()) < 10


def test_an_exception_is_told_once_and_in_the_users_lines() -> None:
    """Its type and message come with it; the causes that the user names are told, those of libraries are not."""

    def reads(number: int) -> int:
        try:
            return {"a": 1}["b"]
        except KeyError as error:
            if number:
                return reads(number - 1)
            raise ValueError("no b") from error

    with pytest.raises(ValueError) as caught:
        reads(20)
    lines = describe(caught.value, FILE, None, None)[0].traceback.splitlines()
    assert "because of KeyError: 'b'" in lines and "ValueError: no b" not in lines
    assert len(lines) < 20 and sum(line.startswith("  File ") for line in lines) == 5
    with pytest.raises(IndexError) as deep:
        ak.Array([[1], []])[:, 0]
    assert describe(deep.value, FILE, None, None)[0].traceback.count("File ") == 1


# --- chunks ----------------------------------------------------------------------------------------------------------------


def chunks(fixed: float, each: float, number: int = 40) -> list[tuple[int, float]]:
    """Sizes and seconds of the chunks of an analysis that takes `fixed` for each call and `each` for each event."""
    sizes, made = ChunkSizes(), []
    for _ in range(number):
        entries = sizes.next(left=10**9)
        made.append((entries, fixed + each * entries))
        sizes.learn(*made[-1])
    return made


def test_a_slow_analysis_is_deaf_for_a_moment_only() -> None:
    """At 50 ms an event, the first chunk decides how long the slot hears nothing."""
    made = chunks(fixed=0.0, each=0.05)
    assert made[0][0] == FIRST_CHUNK and made[0][1] <= 5.0
    assert all(seconds <= 2.5 for _, seconds in made[1:]), "while it is not certain that calls cost nothing"
    assert made[-1][1] <= 0.2


@pytest.mark.parametrize("fixed", [0.3, 1.0, 10.0])
def test_calls_that_take_their_time_are_few(fixed: float) -> None:
    """Smaller chunks would not be shorter; they used to shrink to one event each."""
    made = chunks(fixed, each=1e-5)
    assert sum(entries * 1e-5 < 0.5 * fixed and entries != 500_000 for entries, _ in made[20:]) <= 1, "one looks around"
    assert all(seconds <= max(3 * fixed, 6.5) for _, seconds in made)


@pytest.mark.parametrize("fixed", [0.02, 0.06, 0.12])
def test_calls_of_some_hundredths_are_few_too(fixed: float) -> None:
    """An analysis with columns takes 60 ms for 100 events as for 4,000: chunks used to grow by a tenth each."""
    made = chunks(fixed, each=1e-6)
    assert sum(entries * 1e-6 < 2 * fixed for entries, _ in made[8:]) <= 2, "those look around"
    assert all(seconds <= 1.3 for _, seconds in made)


def test_the_end_of_a_packet_is_no_reason_for_small_chunks() -> None:
    sizes = ChunkSizes()
    for entries in (100, 400, 3200, 25_600, 300):
        sizes.learn(entries, 0.06 + 1e-6 * entries)
    assert sizes.next(left=10**9) > 100_000


@pytest.mark.parametrize("rest", [1, 2, 3, 5])
def test_a_slot_that_begins_with_the_rest_of_a_file_does_not_stay_at_single_entries(rest: int) -> None:
    """One entry took 0.4 s, as the call before it: chunks could not become smaller to find out why, and never grew."""
    sizes = ChunkSizes()
    sizes.learn(rest, 0.4 + 1e-6 * rest)
    for _ in range(15):
        entries = sizes.next(left=10**9)
        sizes.learn(entries, 0.4 + 1e-6 * entries)
    assert sizes.next(left=10**9) > 300_000


def test_items_that_take_a_minute_are_taken_one_by_one() -> None:
    sizes = ChunkSizes(first=1)
    for _ in range(3):
        assert sizes.next(left=100) == 1
        sizes.learn(1, 60.0)


def test_chunks_that_have_to_be_small_say_nothing_of_others() -> None:
    """Entries that are suspected of taking slots down are taken in small chunks."""
    sizes = ChunkSizes()
    for entries in (100, 400, 3200, 25_600):
        sizes.learn(entries, 0.06 + 1e-6 * entries)
    before = sizes.next(left=10**9)
    for _ in range(60):
        sizes.learn(13, 0.06, most=13)
    assert sizes.next(left=10**9) == before
    fresh = ChunkSizes()
    fresh.learn(100, 0.01, most=2500)
    assert fresh.next(left=10**9) == 1600, "they grow up to that"


def test_a_fast_analysis_has_large_chunks_at_once() -> None:
    made = chunks(fixed=0.001, each=1e-7)
    assert made[5][0] == 500_000
