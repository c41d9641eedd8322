"""A session with a master and workers of its own: real processes, real files, from the user's side."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import psutil
import pytest
import uproot
from hist import Hist

SECONDS = 60


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three small files with flat and jagged branches, one of them without entries."""
    folder = tmp_path_factory.mktemp("events")
    random = np.random.default_rng(1)
    for number, entries in enumerate((5000, 0, 20_000)):
        counts = random.integers(0, 4, entries)
        with uproot.recreate(folder / f"events_{number}.root") as file:
            tree = file.mktree("Events", {"MET_pt": "float32", "number": "int64", "Muon_pt": "var * float32"})
            if entries:
                muons = ak.unflatten(random.exponential(30, counts.sum()).astype("f4"), counts)
                numbers = np.arange(entries)
                tree.extend(
                    {"MET_pt": random.exponential(40, entries).astype("f4"), "number": numbers, "Muon_pt": muons}
                )
    return sorted(str(path) for path in folder.glob("*.root"))


@em.kernel(met=Hist.new.Reg(50, 0, 200).Double(), muons=Hist.new.Int(0, 5).Weight())
def spectrum(met, muons, MET_pt, Muon_pt):
    met.fill(MET_pt)
    muons.fill(len(Muon_pt), weight=2.0)


def columnar(events: ak.Array) -> dict[str, Any]:
    return {
        "met": Hist.new.Reg(50, 0, 200).Double().fill(events.MET_pt),
        "muons": Hist.new.Int(0, 5).Weight().fill(ak.num(events.Muon_pt), weight=2.0),
    }


def expected(files: list[str]) -> dict[str, Hist]:
    """The answer in one process, by uproot and hist alone."""
    met, muons = Hist.new.Reg(50, 0, 200).Double(), Hist.new.Int(0, 5).Weight()
    for path in files:
        with uproot.open(path) as file:
            if file["Events"].num_entries:
                arrays = file["Events"].arrays(["MET_pt", "Muon_pt"])
                met.fill(arrays.MET_pt)
                muons.fill(ak.num(arrays.Muon_pt), weight=2.0)
    return {"met": met, "muons": muons}


@pytest.mark.parametrize("analysis", [spectrum, columnar], ids=["kernel", "columnar"])
def test_the_result_is_that_of_one_process_bin_by_bin(session: em.Session, events: list[str], analysis: Any) -> None:
    result = session.process(em.Dataset(events, tree="Events"), analysis).result(SECONDS)
    answer = expected(events)
    assert result["met"] == answer["met"] and result["muons"] == answer["muons"]
    assert isinstance(result["met"], Hist)
    assert result.account.total == result.account.processed == 25_000
    assert (result.account.files, result.account.files_opened, result.account.failed) == (3, 3, 0)
    assert result.fraction == 1.0 and result.state == "done"


def test_snapshots_stream_and_end_with_the_result(session: em.Session, events: list[str]) -> None:
    snapshots = list(session.process(em.Dataset(events, tree="Events"), spectrum).stream())
    assert snapshots[-1].final and snapshots[-1].fraction == 1.0
    fractions = [snapshot.account.processed for snapshot in snapshots]
    assert fractions == sorted(fractions)
    assert snapshots[-1]["met"] == expected(events)["met"]


def test_queries_are_awaited_in_an_event_loop_which_goes_on(
    session: em.Session, events: list[str], tmp_path: Path
) -> None:
    """As a notebook's cells do it: what the query waits for is done by another task, while snapshots are awaited."""
    done = tmp_path / "done"

    def waits(events: ak.Array) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS / 2
        while not done.exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the other task had no turn")
            time.sleep(0.002)
        return columnar(events)

    def fails(events: ak.Array) -> int:
        raise ValueError("on purpose")

    async def other_task() -> None:
        done.touch()

    async def cell() -> tuple[em.Result, list[int]]:
        watched = session.process(em.Dataset(events, tree="Events"), waits)
        other = asyncio.ensure_future(other_task())
        entries = [snapshot.account.processed async for snapshot in watched]
        await other
        queries = (session.process(em.Dataset(events, tree="Events"), it) for it in (columnar, fails))
        result, error = await asyncio.gather(*queries, return_exceptions=True)
        assert isinstance(error, ValueError) and isinstance(result, em.Result)
        return result, entries

    result, entries = asyncio.run(asyncio.wait_for(cell(), SECONDS))
    assert result["met"] == expected(events)["met"]
    assert entries[-1] == 25_000 and entries == sorted(entries)


def test_an_empty_tree_gives_an_empty_result(session: em.Session, events: list[str]) -> None:
    empty = [path for path in events if path.endswith("_1.root")]
    for analysis in (spectrum, columnar):
        result = session.process(em.Dataset(empty, tree="Events"), analysis).result(SECONDS)
        assert result["met"].sum(flow=True) == 0 and result["met"].axes == expected([])["met"].axes
        assert result.account.total == 0 and result.fraction == 1.0


def test_several_queries_run_side_by_side(session: em.Session, events: list[str]) -> None:
    queries = [session.process(em.Dataset(events, tree="Events"), spectrum) for _ in range(5)]
    answer = expected(events)["met"]
    assert all(query.result(SECONDS)["met"] == answer for query in queries)
    listed = {info.query: info.state for info in session.queries()}
    assert all(listed[query.id] == "done" for query in queries)
    assert len(session.workers()) == 1 and session.workers()[0].slots == 2


def test_everything_that_merges_comes_back_merged(session: em.Session, events: list[str]) -> None:
    def everything(events: ak.Array, file: Any) -> dict[str, Any]:
        return {
            "count": len(events),
            "sum": np.array([1.0, float(len(events))]),
            "names": {file.path.rpartition("/")[2]},
            "muons": events.Muon_pt[events.MET_pt > 150],
            "own": Box(len(events)),
        }

    class Box:
        def __init__(self, content: int) -> None:
            self.content = content

        def __add__(self, other: Box) -> Box:
            return Box(self.content + other.content)

    result = session.process(em.Dataset(events, tree="Events"), everything).result(SECONDS)
    assert result["count"] == 25_000 and result["own"].content == 25_000
    assert result["names"] == {Path(path).name for path in events}
    total = sum(int((uproot.open(path)["Events"]["MET_pt"].array(library="np") > 150).sum()) for path in events)
    assert len(result["muons"]) == total


def test_many_objects_of_the_users_own_are_merged_in_slots(session: em.Session, events: list[str]) -> None:
    """More commits than the master keeps objects apart; merging them there fails, because the class refuses to be
    unpickled anywhere but in a slot or here."""

    class Wary:
        def __init__(self, content: int) -> None:
            self.content = content

        def merge(self, other: Wary) -> Wary:
            import sys

            assert "eventmill.master.core" not in sys.modules
            return Wary(self.content + other.content)

    def slow(events: ak.Array) -> Wary:
        import time

        time.sleep(len(events) / 100_000)
        return Wary(len(events))

    query = session.process(em.Dataset(events, tree="Events"), slow)
    assert query.result(SECONDS).value.content == 25_000


def test_helpers_and_constants_of_the_users_script_travel(session: em.Session, events: list[str]) -> None:
    threshold = 25.0

    def passes(value: float) -> bool:
        return value > threshold

    @em.kernel(hard=Hist.new.Int(0, 5).Double())
    def hard_muons(hard, Muon_pt):
        count = 0
        for pt in Muon_pt:
            if passes(pt):
                count += 1
        hard.fill(count)

    def same(events: ak.Array) -> dict[str, Any]:
        return {"hard": Hist.new.Int(0, 5).Double().fill(ak.sum(events.Muon_pt > threshold, axis=1))}

    data = em.Dataset(events, tree="Events")
    assert (
        session.process(data, hard_muons).result(SECONDS)["hard"] == session.process(data, same).result(SECONDS)["hard"]
    )


def test_stop_keeps_what_is_merged_and_abort_drops_it(session: em.Session, events: list[str], tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def slow(events: ak.Array) -> int:
        import time

        time.sleep(0.05)
        return len(events)

    def waits(events: ak.Array) -> int:
        import time

        while not gate.exists():
            time.sleep(0.01)
        return len(events)

    data = em.Dataset(events[2:], tree="Events")
    query = session.process(data, slow)
    next(query.stream())
    query.stop()
    result = query.result(SECONDS)
    assert result.state in ("stopped", "done") and result.value == result.account.processed > 0
    query = session.process(data, waits)
    query.abort()
    with pytest.raises(em.errors.QueryFailed, match="aborted"):
        query.result(SECONDS)
    gate.touch()


def test_attach_gives_the_result_of_an_earlier_query(session: em.Session, events: list[str]) -> None:
    first = session.process(em.Dataset(events, tree="Events"), spectrum)
    answer = first.result(SECONDS)["met"]
    with pytest.raises(em.errors.QueryFailed, match="no query nonsense on this master"):
        session.attach("nonsense")
    assert session.attach(first.id).result(SECONDS)["met"] == answer


# --- bad input ----------------------------------------------------------------------------------------------------------


def test_an_exception_arrives_as_itself_with_the_users_line_file_and_entries(
    session: em.Session, events: list[str]
) -> None:
    def broken(events: ak.Array) -> int:
        numbers = {"a": 1}
        return numbers["b"] + len(events)

    query = session.process(em.Dataset(events, tree="Events"), broken)
    with pytest.raises(KeyError, match="b") as caught:
        query.result(SECONDS)
    note = "\n".join(caught.value.__notes__)
    assert 'return numbers["b"] + len(events)' in note and "events_" in note and "entries" in note
    assert note.count('["b"]') == 1 and "KeyError" not in note, "once"
    assert "eventmill/worker" not in note, "our own frames say nothing to a user"


def test_an_exception_in_one_event_of_a_kernel_names_the_event(session: em.Session, events: list[str]) -> None:
    @em.kernel(met=Hist.new.Reg(50, 0, 200).Double())
    def fragile(met, MET_pt, number):
        met.fill(1.0 / (number - 12_345))

    query = session.process(em.Dataset(events, tree="Events"), fragile)
    with pytest.raises(ZeroDivisionError) as caught:
        query.result(SECONDS)
    note = "\n".join(caught.value.__notes__)
    assert "entry 12345" in note and "events_2.root" in note and "met.fill(1.0 / (number - 12_345))" in note


def test_an_index_out_of_range_in_a_kernel_is_an_error_not_garbage(session: em.Session, events: list[str]) -> None:
    @em.kernel(pt=Hist.new.Reg(50, 0, 200).Double())
    def leading(pt, Muon_pt):
        pt.fill(Muon_pt[0])

    with pytest.raises(IndexError):
        session.process(em.Dataset(events, tree="Events"), leading).result(SECONDS)


def test_a_kernel_that_does_not_compile_shows_numbas_reason_and_the_users_line(
    session: em.Session, events: list[str]
) -> None:
    @em.kernel(pt=Hist.new.Reg(50, 0, 200).Double())
    def uncompilable(pt, MET_pt):
        pt.fill(MET_pt.nonsense())

    with pytest.raises(em.errors.AnalysisError) as caught:
        session.process(em.Dataset(events, tree="Events"), uncompilable).result(SECONDS)
    assert "nonsense" in str(caught.value) and "test_session.py" in str(caught.value)
    assert len(str(caught.value).splitlines()) < 30, "one screen"


def test_results_that_cannot_be_merged_say_so(session: em.Session, events: list[str]) -> None:
    data = em.Dataset(events, tree="Events")
    with pytest.raises(em.errors.MergeError, match="generator"):
        session.process(data, lambda events: {"a": (i for i in range(3))}).result(SECONDS)
    with pytest.raises(em.errors.MergeError, match="shape"):
        session.process(data, lambda events: {"a": np.zeros(1 + len(events))}).result(SECONDS)


@pytest.mark.parametrize("how", ["os._exit(3)", "os.kill(os.getpid(), 11)"], ids=["exit", "segfault"])
def test_a_slot_that_is_taken_down_is_told_to_the_user(session: em.Session, events: list[str], how: str) -> None:
    def deadly(events: ak.Array) -> int:
        import os

        return eval(how, {"os": os}) or 0

    with pytest.raises(em.errors.AnalysisError, match="took down its slot") as caught:
        session.process(em.Dataset(events, tree="Events"), deadly).result(SECONDS)
    assert ("code 3" if "exit" in how else "SIGSEGV") in str(caught.value)
    assert session.process(em.Dataset(events, tree="Events"), spectrum).result(SECONDS).state == "done", (
        "slots are back"
    )


def test_missing_and_broken_files_are_named(session: em.Session, events: list[str], tmp_path: Path) -> None:
    with pytest.raises(em.errors.DatasetError, match=r"nowhere\.root"):
        session.process(em.Dataset(str(tmp_path / "nowhere.root"), tree="Events"), spectrum)
    with pytest.raises(em.errors.DatasetError):
        session.process(em.Dataset(str(tmp_path / "*.root"), tree="Events"), spectrum)
    text = tmp_path / "text.root"
    text.write_text("not ROOT at all\n" * 100)
    cut = tmp_path / "cut.root"
    cut.write_bytes(Path(events[2]).read_bytes()[:20_000])
    for path in (text, cut):
        with pytest.raises(em.errors.DatasetError, match=path.name):
            session.process(em.Dataset(str(path), tree="Events"), spectrum).result(SECONDS)


def test_a_wrong_tree_or_branch_names_the_nearest(session: em.Session, events: list[str]) -> None:
    with pytest.raises(em.errors.DatasetError, match=r"Event.*Events"):
        session.process(em.Dataset(events, tree="Event"), spectrum).result(SECONDS)

    @em.kernel(met=Hist.new.Reg(50, 0, 200).Double())
    def misspelt(met, MET_tp):
        met.fill(MET_tp)

    with pytest.raises(em.errors.DatasetError, match=r"MET_tp.*MET_pt"):
        session.process(em.Dataset(events, tree="Events"), misspelt).result(SECONDS)


def test_bad_files_can_be_skipped_and_are_listed(session: em.Session, events: list[str], tmp_path: Path) -> None:
    """By the whole name: behind a `?`, only a URL has what nobody is to see."""
    text = tmp_path / "text?.root"
    text.write_text("not ROOT at all\n" * 100)
    query = session.process(em.Dataset([*events, str(text)], tree="Events"), spectrum, on_error="skip")
    result = query.result(SECONDS)
    assert result["met"] == expected(events)["met"]
    assert [lost.path for lost in result.account.lost] == [str(text)]
    assert result.account.lost[0].reason


# --- processes -----------------------------------------------------------------------------------------------------------


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_leaving_a_session_leaves_no_process_behind() -> None:
    before = {process.pid for process in descendants(os.getpid())}
    with em.connect(slots=2) as session:
        session.workers()
        started = [process for process in descendants(os.getpid()) if process.pid not in before]
        assert len(started) >= 2
        folder = session.log.parent if session.log else None
    _, alive = psutil.wait_procs(started, timeout=10)
    assert not alive
    assert folder is not None and not folder.exists(), "keys are not left on disk"


# No handler is there for SIGTERM: the kernel ends the script as SIGKILL does.
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)], ids=["SIGKILL", "SIGTERM"]
)
def test_ctrl_c_returns_what_is_merged_and_a_session_that_dies_leaves_no_process_behind(
    tmp_path: Path, events: list[str], number: signal.Signals
) -> None:
    """The one stops the query, and the script goes on; the other even with user code in an endless loop."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, threading, time
        import eventmill as em
        def endless(events):
            while True:
                pass
        def slow(events, file):
            import time
            time.sleep(3600 if file.path.endswith("events_2.root") else 0.1)
            return len(events)
        def main_waits():
            frame = sys._current_frames()[threading.main_thread().ident]
            while frame and frame.f_code.co_name != "_wait":
                frame = frame.f_back
            return frame is not None
        def tell(query):
            next(snapshot for snapshot in query.stream() if snapshot.account.processed)
            while not main_waits():
                pass
            print("merged", flush=True)
        if __name__ == "__main__":
            session = em.connect(slots=2)
            query = session.process(em.Dataset({events!r}, tree="Events"), slow)
            threading.Thread(target=tell, args=(query,)).start()
            result = query.result(progress=False)
            print(result.state, result.value == result.account.processed > 0, flush=True)
            query = session.process(em.Dataset({events!r}, tree="Events"), endless)
            while not (query.progress and query.progress.slots == 2):
                time.sleep(0.02)
            print("working", flush=True)
            query.result(progress=False)
        """)
    )
    said = tmp_path / "stderr"
    with (
        said.open("wb") as errors,
        subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdout is not None and process.stdout.readline() == b"merged\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"stopped True\n", said.read_text()
        assert process.stdout.readline() == b"working\n", said.read_text()
        assert "stopping" in said.read_text()
        started = descendants(process.pid)
        assert len(started) >= 5, "master, agent, forkserver, two slots"
        process.send_signal(number)
        process.wait(30)
        _, alive = psutil.wait_procs(started, timeout=15)
        assert not alive
