"""The journal: what a master finds again after it was killed is exactly what was written, total and ranges together."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from eventmill.master import journal_frames, journal_tables
from eventmill.master.finished import Finished
from eventmill.master.journal import Journal, Unwritten
from eventmill.master.journal_database import APPLICATION
from eventmill.master.journal_sums import row_sum
from eventmill.master.saved import Saved
from eventmill.packetizer.files import Loss, OpenedFile
from eventmill.packetizer.ranges import Ranges
from eventmill.protocol.errors import ConnectionFailed, QueryFailed
from eventmill.protocol.messages import Account, Ended, Failure, QueryInfo, Submit
from eventmill.protocol.usage import WorkerInfo
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from property_tests import examples

SUBMIT = Submit(1, "dimuon", "kernel", "digest", owner="marie", limit=1000)
FRAMES = [b"the analysis", b"the files"]
REPORT = [WorkerInfo("worker-1", "host", 1, 2, 0, 3, 100, 1.5)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


@contextlib.contextmanager
def journal_at(path: Path, **limits: Any) -> Iterator[Journal]:
    with contextlib.closing(Journal(path, **limits)) as journal:
        yield journal


@contextlib.contextmanager
def files_up_to(size: int | None) -> Iterator[None]:
    """A disk on which no file can be written behind `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def loaded(path: Path) -> list[Saved | Finished]:
    with journal_at(path) as journal:
        return journal.load()


def after_a_kill(path: Path, elsewhere: Path) -> Path:
    """A copy of the files as they are at this moment: what is there when the process is killed now."""
    for suffix in ("", "-wal"):
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", elsewhere / f"{path.name}{suffix}")
    return elsewhere / path.name


def weight(file: int, entry: int) -> int:
    return (file * 1_000_003 + entry * entry) % 1009


def total_of(done: dict[int, Ranges]) -> list[bytes]:
    """The total that these ranges add up to."""
    entries = ((file, i) for file, ranges in done.items() for start, stop in ranges for i in range(start, stop))
    return [str(sum(weight(file, i) for file, i in entries)).encode()]


def plain(opened: OpenedFile) -> OpenedFile:
    listed = None if opened.listed is None else list(opened.listed)
    return replace(opened, clusters=list(opened.clusters), listed=listed)


def pairs(done: dict[int, Ranges]) -> dict[int, list[tuple[int, int]]]:
    return {file: list(ranges) for file, ranges in done.items()}


# --- any order of things that happen, on a disk that may be full, with kills in between ---------------------------------


@dataclass
class Told:
    """What a journal was told of a query."""

    frames: list[bytes]
    started: float
    opened: dict[int, OpenedFile] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    skipped: tuple[Failure, list[bytes]] | None = None
    done: dict[int, Ranges] = field(default_factory=dict)
    total: list[bytes] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    report: list[WorkerInfo] = field(default_factory=list)
    ended: tuple[Ended, list[bytes], float] | None = None


room = st.none() | st.integers(0, 300_000)
ascending = st.lists(st.integers(0, 2**62), max_size=6).map(sorted)
some_frames = st.lists(st.binary(max_size=30) | st.integers(0, 60_000).map(bytes), max_size=4)


class JournalMachine(RuleBasedStateMachine):
    """`told` is what the journal was told, `kept` what must be found again.

    A write that fails is `in_doubt`: where the end of a frame of SQLite's log cannot be written, but is there already since
    it would overwrite the same bytes, all of the transaction is on the disk, and is found after a kill.
    """

    @initialize()
    def start(self) -> None:
        self.folders = contextlib.ExitStack()
        for name in ("LARGE_TOTAL", "PIECE_OF_TOTAL"):  # so that totals are large here
            self.folders.enter_context(patch.object(journal_frames, name, 1500))
        self.path = self._folder() / "journal.sqlite"
        self.journal = Journal(self.path)
        self.told: dict[str, Told] = {}
        self.kept: dict[str, Told] = {}
        self.in_doubt: list[dict[str, Told]] = []
        self.numbers = 0

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.kill()
            self.journal.close()
            self.folders.close()

    def _folder(self) -> Path:
        return Path(self.folders.enter_context(tempfile.TemporaryDirectory()))

    def _write(self, size: int | None, write: Callable[[], None], checkpoint: str = "") -> bool:
        """Write on a disk of this size: all that was told is kept then, or nothing of it; ranges with a checkpoint only."""
        kept = deepcopy(self.told)
        for number in kept.keys() - {checkpoint}:
            before = self.kept.get(number, Told([], 0.0))
            kept[number].done, kept[number].total = before.done, before.total
        try:
            with files_up_to(size):
                write()
        except Unwritten as problem:
            if size is None or str(self.path) not in str(problem):
                raise
            self.in_doubt.append(kept)
            return False
        self.kept, self.in_doubt = kept, []
        return True

    @property
    def running(self) -> list[str]:
        return [number for number, told in self.told.items() if told.ended is None]

    def _query(self, data: st.DataObject) -> tuple[str, Told]:
        number = data.draw(st.sampled_from(self.running))
        return number, self.told[number]

    @precondition(lambda self: len(self.running) < 2)
    @rule(frames=some_frames, started=st.floats(0, 1e10), size=room)
    def submit(self, frames: list[bytes], started: float, size: int | None) -> None:
        self.numbers += 1
        number = f"q{self.numbers}"
        self.told[number] = Told(frames, started)
        self._write(size, lambda: self.journal.submitted(number, SUBMIT, frames, started))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), file=st.integers(0, 1), entries=st.integers(0, 2**62), clusters=ascending)
    def open(self, data: st.DataObject, file: int, entries: int, clusters: list[int]) -> None:
        number, told = self._query(data)
        told.opened[file] = OpenedFile(entries, clusters, f"uuid {entries}", data.draw(st.none() | ascending))
        self.journal.opened(number, file, told.opened[file])

    @precondition(lambda self: self.running)
    @rule(data=st.data(), file=st.integers(0, 1), stop=st.none() | st.integers(0, 2**62), reason=st.text(max_size=20))
    def lose(self, data: st.DataObject, file: int, stop: int | None, reason: str) -> None:
        number, told = self._query(data)
        told.losses.append(Loss(file, 0, stop, reason))
        self.journal.lost(number, told.losses[-1])

    @precondition(lambda self: self.running)
    @rule(data=st.data(), frames=some_frames)
    def skip(self, data: st.DataObject, frames: list[bytes]) -> None:
        number, told = self._query(data)
        told.skipped = Failure("data", "DatasetError", "cannot be read"), frames
        self.journal.skipped(number, *told.skipped)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), file=st.integers(0, 1), start=st.integers(0, 30), length=st.integers(0, 9))
    def merge(self, data: st.DataObject, file: int, start: int, length: int) -> None:
        number, told = self._query(data)
        free = [i for i in range(start, start + length) if not any(a <= i < b for a, b in told.done.get(file, ()))]
        parts = [(file, i, i + 1) for i in free] or [(file, start, start)]
        for _, a, b in parts:
            told.done.setdefault(file, Ranges()).add(a, b)
        self.journal.merged(number, parts)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), padding=st.sampled_from([0, 1, 6000, 6001, 100_000]), last=st.binary(max_size=1), size=room)
    def checkpoint(self, data: st.DataObject, padding: int, last: bytes, size: int | None) -> None:
        number, told = self._query(data)
        before = replace(told)
        told.total = [*total_of(told.done), bytes(padding) + last * padding]
        told.account, told.report = Account(processed=padding), REPORT
        if not self._write(
            size, lambda: self.journal.checkpoint(number, told.total, told.account, told.report), number
        ):
            told.total, told.account, told.report = before.total, before.account, before.report

    @precondition(lambda self: self.running)
    @rule(data=st.data(), frames=some_frames, size=room)
    def end(self, data: st.DataObject, frames: list[bytes], size: int | None) -> None:
        number, told = self._query(data)
        ended = Ended(number, "done", Account(total=7), 1.0, REPORT, result_frames=len(frames))
        told.ended = ended, frames, 5.0
        self._write(size, lambda: self.journal.ended(number, ended, frames, 5.0))
        assert self.journal.end(number) == (ended, frames)

    @precondition(lambda self: self.told)
    @rule(data=st.data(), size=room)
    def remove(self, data: st.DataObject, size: int | None) -> None:
        number = data.draw(st.sampled_from(list(self.told)))
        del self.told[number]
        self._write(size, lambda: self.journal.remove(number))
        with pytest.raises(QueryFailed, match=number):
            self.journal.end(number)

    @rule(size=room)
    def flush(self, size: int | None) -> None:
        self._write(size, self.journal.flush)

    @rule(size=room)
    def shrink(self, size: int | None) -> None:
        with contextlib.suppress(Unwritten), files_up_to(size):
            self.journal.shrink()

    @rule()
    def kill(self) -> None:
        """The master is killed: all that was not written is gone, and all that was written is there."""
        copy = after_a_kill(self.path, self._folder())
        self.journal.close()
        self.path, self.journal = copy, Journal(copy)
        found = self.journal.load()
        for kept in self.in_doubt:
            with contextlib.suppress(AssertionError):
                self._compare_all(found, kept)
                self.kept = kept
        self._compare_all(found, self.kept)
        self.told, self.in_doubt = deepcopy(self.kept), []

    def _compare_all(self, found: list[Saved | Finished], kept: dict[str, Told]) -> None:
        assert [saved.number for saved in found] == list(kept)
        for saved, told in zip(found, kept.values(), strict=True):
            self._compare(saved, told)

    def _compare(self, saved: Saved | Finished, kept: Told) -> None:
        assert saved.started == kept.started
        if isinstance(saved, Finished):
            assert kept.ended is not None
            ended, frames, _ = kept.ended
            assert self.journal.end(saved.number) == (ended, frames)
            line = QueryInfo(saved.number, SUBMIT.name, SUBMIT.owner, ended.state, ended.account, ended.seconds)
            assert saved.info(kept.started) == line
            return
        assert kept.ended is None and (saved.submit, saved.frames) == (SUBMIT, kept.frames)
        assert saved.total[:1] == (total_of(saved.done) if saved.total else [])
        assert (saved.total, pairs(saved.done)) == (kept.total, pairs(kept.done))
        assert {file: plain(opened) for file, opened in saved.opened.items()} == kept.opened
        assert (saved.losses, saved.skipped) == (kept.losses, kept.skipped)
        assert (saved.account, saved.report) == (kept.account, kept.report)


TestJournalMachine = pytest.mark.interpreted("what is told is copied with deepcopy")(JournalMachine.TestCase)
TestJournalMachine.settings = examples(8, night=20, stateful_step_count=30)


@given(st.lists(st.integers(0, 2**62)))
def test_numbers_survive_packing(numbers: list[int]) -> None:
    assert list(journal_tables._unpack(journal_tables._pack(numbers))) == numbers


# --- kill -9 ------------------------------------------------------------------------------------------------------------

WRITER = """
import random, sys
from pathlib import Path
from eventmill.master.journal import Journal
from eventmill.protocol.messages import Account, Submit

FILES, BLOCKS = 7, 4000
journal = Journal(Path(sys.argv[1]))
queries = {saved.number: saved for saved in journal.load()}
sums, todo = {}, {}
for number in ("q1", "q2"):
    if number not in queries:
        journal.submitted(number, Submit(1, "n", "kernel", "d"), [b"analysis", b"files"], 0.0)
    saved = queries.get(number)
    sums[number] = int(saved.total[0]) if saved and saved.total else 0
    done = set() if saved is None else {(f, b // 10) for f, r in saved.done.items() for s, e in r for b in range(s, e, 10)}
    todo[number] = [(f, b) for f in range(FILES) for b in range(BLOCKS) if (f, b) not in done]
    random.shuffle(todo[number])
while True:
    for number in ("q1", "q2"):
        taken, todo[number] = todo[number][:5], todo[number][5:]
        for file, block in taken:
            start, stop = 10 * block, 10 * block + 10
            journal.merged(number, [(file, start, stop)])
            sums[number] += sum((file * 1_000_003 + i * i) % 1009 for i in range(start, stop))
        padding = [bytes(random.randrange(400_000)) for _ in range(3)]
        journal.checkpoint(number, [str(sums[number]).encode(), *padding], Account())
    print(FILES * BLOCKS - len(todo["q2"]), flush=True)
"""


DOZEN = pytest.param(12, marks=pytest.mark.long("each is a process that starts; of four the last is killed as it does"))


@pytest.mark.parametrize("kills", [4, DOZEN, pytest.param(40, marks=pytest.mark.nightly)])
def test_total_and_ranges_agree_after_kill_9_at_any_moment(path: Path, kills: int) -> None:
    """Many masters in a row are killed while they start or write; each goes on with what the one before has left."""
    before, moment = 0, random.Random(7)
    for attempt in range(kills):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            writes = attempt % 4 != 3
            said = [process.stdout.readline()] if writes else []
            time.sleep(moment.uniform(0.0, 0.05 if writes else 0.2))
            process.kill()
            said += process.stdout
        assert process.returncode == -signal.SIGKILL
        acknowledged = [int(line) for line in said if line.endswith("\n")]
        queries = loaded(path)
        assert [saved.number for saved in queries] == ["q1", "q2"]
        for saved in queries:
            assert saved.total[:1] == total_of(saved.done)
            assert saved.frames == [b"analysis", b"files"]
        blocks = sum(ranges.entries for ranges in queries[1].done.values()) // 10
        assert blocks >= max(acknowledged, default=before) >= before, "what was written before the kill is there"
        before = blocks
    assert before > 0


# --- a full disk --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def full_database(journal: Journal) -> Iterator[None]:
    """SQLite says "database or disk is full" as it does for ENOSPC."""
    execute = journal._database.execute
    execute(f"PRAGMA max_page_count = {execute('PRAGMA page_count').fetchone()[0]}")
    try:
        yield
    finally:
        execute("PRAGMA max_page_count = 4294967294")


def failing_disk(journal: Journal) -> contextlib.AbstractContextManager[None]:
    """SQLite says "disk I/O error", as it does for a quota."""
    return files_up_to(0)


@pytest.mark.parametrize("fault", [full_database, failing_disk])
def test_a_full_disk_loses_nothing_and_the_next_checkpoint_writes_what_was_missed(
    path: Path, tmp_path: Path, fault: Callable[[Journal], contextlib.AbstractContextManager[None]]
) -> None:
    """Files, losses and ranges told before the failure, during it and after it are all there, with the right total."""
    with journal_at(path) as journal:
        journal.submitted("q1", SUBMIT, FRAMES, 1.0)
        journal.merged("q1", [(0, 0, 10)])
        journal.checkpoint("q1", [b"ten"], Account(processed=10))
        journal.opened("q1", 0, OpenedFile(100, [0, 50, 100], "uuid"))
        journal.lost("q1", Loss(1, 0, None, "no such file"))
        journal.merged("q1", [(0, 10, 20)])
        with fault(journal):
            for total in (b"twenty", b"thirty"):
                with pytest.raises(Unwritten, match=f"{path} cannot be written: d.* Queries go on"):
                    journal.checkpoint("q1", [total, bytes(10**6)], Account())
                journal.merged("q1", [(0, 20, 30)] if total == b"twenty" else [(3, 0, 5)])
        (saved,) = loaded(after_a_kill(path, tmp_path))
        assert (saved.total, pairs(saved.done), saved.opened) == ([b"ten"], {0: [(0, 10)]}, {})
        journal.checkpoint("q1", [b"35"], Account(processed=35))
        (saved,) = loaded(after_a_kill(path, tmp_path))
        assert (saved.total, pairs(saved.done)) == ([b"35"], {0: [(0, 30)], 3: [(0, 5)]})
        assert plain(saved.opened[0]) == OpenedFile(100, [0, 50, 100], "uuid")
        assert saved.losses == [Loss(1, 0, None, "no such file")] and saved.account.processed == 35


@pytest.mark.parametrize("fault", [full_database, failing_disk])
def test_beginnings_ends_and_removals_come_with_the_first_write_that_succeeds(
    path: Path, fault: Callable[[Journal], contextlib.AbstractContextManager[None]]
) -> None:
    """What happens once only is not forgotten while the disk is full; a result can be had meanwhile."""
    with journal_at(path) as journal:
        journal.submitted("old", SUBMIT, FRAMES, 1.0)
        big = [b"analysis", bytes(10**6)]
        with fault(journal):
            with pytest.raises(Unwritten):
                journal.submitted("q1", SUBMIT, big, 2.0)
            with pytest.raises(Unwritten):
                journal.submitted("q2", SUBMIT, big, 3.0)
            with pytest.raises(Unwritten):
                journal.ended("q2", Ended("q2", "done", Account(), 1.0), [bytes(10**6)], 4.0)
            with pytest.raises(Unwritten):
                journal.remove("old")
            assert journal.end("q2")[1] == [bytes(10**6)]
            assert [saved.number for saved in journal.load()] == ["old"]
        journal.flush()
        assert [(saved.number, type(saved)) for saved in journal.load()] == [("q1", Saved), ("q2", Finished)]
        assert journal.end("q2")[1] == [bytes(10**6)]


def test_what_a_session_was_told_is_on_the_disk_before_it_hears_of_it(path: Path) -> None:
    """A machine that goes down forgets what SQLite had not synchronised: ranges are done again, a query would be gone.
    SQLite is told when that changes, not with each write."""
    said: list[str] = []
    with journal_at(path) as journal:
        journal._database.set_trace_callback(said.append)
        for step in (
            lambda: journal.submitted("q1", SUBMIT, FRAMES, 1.0),
            lambda: journal.submitted("q2", SUBMIT, FRAMES, 1.0),
            lambda: (journal.merged("q1", [(0, 0, 10)]), journal.checkpoint("q1", [b"ten"], Account(processed=10))),
            lambda: (journal.merged("q1", [(0, 10, 20)]), journal.checkpoint("q1", [b"20"], Account(processed=20))),
            lambda: journal.ended("q1", Ended("q1", "done", Account(), 1.0), [b"ten"], 2.0),
        ):
            step()
    levels = [it.rpartition(" ")[2] for it in said if it.startswith("PRAGMA synchronous = ")]
    assert levels == ["FULL", "NORMAL", "FULL"], said


def test_the_write_of_one_query_writes_no_ranges_of_another(path: Path, tmp_path: Path) -> None:
    """Ranges are written with a total that holds them, and never otherwise."""
    with journal_at(path) as journal:
        for number in ("q1", "q2"):
            journal.submitted(number, SUBMIT, FRAMES, 1.0)
            journal.merged(number, [(0, 0, 10)])
        journal.checkpoint("q2", [b"ten"], Account())
        first, second = loaded(after_a_kill(path, tmp_path))
        assert (first.total, first.done) == ([], {}) and pairs(second.done) == {0: [(0, 10)]}
        journal.checkpoint("q1", [b"ten"], Account())
        assert pairs(journal.load()[0].done) == {0: [(0, 10)]}


# --- what is stored -----------------------------------------------------------------------------------------------------


def test_the_empty_result_of_an_empty_file_is_found_again(path: Path) -> None:
    """A file without entries is done when its empty result is in the total, and not before."""
    with journal_at(path) as journal:
        journal.submitted("q1", SUBMIT, FRAMES, 1.0)
        journal.opened("q1", 0, OpenedFile(0))
        journal.opened("q1", 1, OpenedFile(0))
        journal.merged("q1", [(1, 0, 0)])
        journal.checkpoint("q1", [b"nothing"], Account())
    (saved,) = loaded(path)
    assert saved.opened.keys() == {0, 1} and pairs(saved.done) == {1: []}


def test_frames_over_the_limit_of_a_piece_come_back_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of any length, also none, and views of memory, in their order."""
    monkeypatch.setattr(journal_frames, "PIECE", 1000)
    frames = [os.urandom(size) for size in (0, 1, 999, 1000, 1001, 2000, 5500, 0)]
    with journal_at(path) as journal:
        journal.submitted("q1", SUBMIT, [memoryview(frame) for frame in frames], 1.0)
        journal.checkpoint("q1", frames[::-1], Account())
    (saved,) = loaded(path)
    assert (saved.frames, saved.total) == (frames, frames[::-1])


def test_of_a_large_total_what_has_changed_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A total of gigabytes, of which a megabyte has changed, keeps nobody from merging; what is found again is all of it."""
    monkeypatch.setattr(journal_frames, "PIECE_OF_TOTAL", 1000)
    monkeypatch.setattr(journal_frames, "LARGE_TOTAL", 5000)
    total = [b"ten", os.urandom(10_500), b""]
    with journal_at(path) as journal:
        journal.submitted("q1", SUBMIT, FRAMES, 1.0)

        def rows_written() -> int:
            before = journal._database.total_changes
            journal.checkpoint("q1", total, Account())
            return journal._database.total_changes - before

        whole = rows_written()
        assert whole >= 13
        for first in (0, 4999, 10_499):
            total[0], total[1] = b"of %d" % first, total[1][:first] + b"!" + total[1][first + 1 :]
            changed = rows_written()
            assert changed <= whole - 9
        total[1] = total[1][::-1]
        with files_up_to(1000), pytest.raises(Unwritten):
            rows_written()
        assert rows_written() >= whole, "nobody knows what is written"
        assert rows_written() <= changed
    with journal_at(path) as journal:
        assert journal.load()[0].total == total
        total[0] = b"after a start"
        assert rows_written() >= whole
        for total[1] in (os.urandom(20_000), os.urandom(5000), os.urandom(100), os.urandom(5500)):
            rows_written()
            assert journal.load()[0].total == total


def test_what_is_told_of_an_unknown_query_does_not_hurt_the_others(path: Path) -> None:
    with journal_at(path) as journal:
        journal.submitted("q1", SUBMIT, FRAMES, 1.0)
        tells: list[Callable[[], None]] = [
            lambda: journal.opened("q9", 0, OpenedFile(1)),
            lambda: journal.lost("q9", Loss(0, 0, 1, "")),
            lambda: journal.merged("q9", [(0, 0, 1)]),
            lambda: journal.checkpoint("q9", [], Account()),
            lambda: journal.ended("q9", Ended("q9", "done", Account(), 1.0), [], 1.0),
        ]
        for tell in tells:
            with pytest.raises(KeyError, match="q9"):
                tell()
        journal.remove("q9")
        journal.checkpoint("q1", [b"total"], Account())
        assert journal.load()[0].total == [b"total"]


def test_ranges_that_are_told_twice_are_refused_and_nothing_is_written(path: Path) -> None:
    """An entry in two ranges would be counted twice: the journal says so and stays as it was."""
    with journal_at(path) as journal:
        journal.submitted("q1", SUBMIT, FRAMES, 1.0)
        journal.merged("q1", [(0, 0, 10)])
        with pytest.raises(ValueError, match="overlaps"):
            journal.merged("q1", [(0, 5, 6)])
        journal.checkpoint("q1", [b"ten"], Account())
        journal.merged("q1", [(0, 9, 20)])
        with pytest.raises(ValueError, match="overlaps"):
            journal.checkpoint("q1", [b"twenty-one"], Account())
        journal.submitted("q2", SUBMIT, FRAMES, 2.0)
        first, second = journal.load()
        assert (first.total, pairs(first.done)) == ([b"ten"], {0: [(0, 10)]}) and second.frames == FRAMES


# --- quota and age ------------------------------------------------------------------------------------------------------


def finish(journal: Journal, number: str, size: int, now: float) -> None:
    journal.submitted(number, SUBMIT, FRAMES, now)
    journal.ended(number, Ended(number, "done", Account(), 1.0), [os.urandom(size)], now)


def test_the_oldest_results_go_when_the_quota_is_exceeded(path: Path) -> None:
    """The quota holds for what is over; what runs, and the last result, are kept whatever their size."""
    with journal_at(path, quota=250_000) as journal:
        journal.submitted("running", SUBMIT, [bytes(10**6)], 0.0)
        for number in range(4):
            finish(journal, f"q{number}", 100_000, float(number))
        assert sorted(journal.trim(10.0)) == ["q0", "q1"]
        assert journal.trim(10.0) == []
        assert [saved.number for saved in journal.load()] == ["running", "q2", "q3"]
        finish(journal, "q4", 900_000, 4.0)
        assert sorted(journal.trim(10.0)) == ["q2", "q3"]
        assert len(journal.end("q4")[1][0]) == 900_000
        with pytest.raises(QueryFailed, match="no result of query q2"):
            journal.end("q2")


def test_results_that_are_too_old_go(path: Path) -> None:
    """Age counts from the end of a query, also for the last one."""
    with journal_at(path, age=100.0) as journal:
        finish(journal, "q1", 10, now=1000.0)
        finish(journal, "q2", 10, now=1050.0)
        assert journal.trim(1100.0) == []
        assert journal.trim(1101.0) == ["q1"]
        assert journal.trim(2000.0) == ["q2"]
        assert journal.load() == []


def test_room_of_what_a_query_needs_no_more_goes_back_to_the_disk(path: Path) -> None:
    """When it ends, its code and its total; when its result is removed, all of it."""
    with journal_at(path) as journal:
        journal.submitted("q1", SUBMIT, [bytes(2_000_000), b""], 0.0)
        journal.checkpoint("q1", [bytes(3_000_000)], Account())
        journal.ended("q1", Ended("q1", "aborted", Account(), 1.0), [], 1.0)
        journal.shrink()
        journal.remove("q1")
    assert path.stat().st_size < 300_000
    with journal_at(path, age=1.0) as journal:
        finish(journal, "q1", 5_000_000, now=0.0)
    assert path.stat().st_size > 5_000_000
    with journal_at(path, age=1.0) as journal:
        assert journal.trim(10.0) == ["q1"]
        journal.shrink()
    assert path.stat().st_size < 300_000


# --- whose journal it is ------------------------------------------------------------------------------------------------


def test_two_masters_cannot_use_one_journal(path: Path) -> None:
    """The second one is told which process on which host has it; the first goes on."""
    with journal_at(path) as journal:
        with pytest.raises(
            ConnectionFailed, match=f"another master uses the journal {path}: process {os.getpid()} on "
        ):
            Journal(path)
        journal.submitted("q1", SUBMIT, FRAMES, 1.0)
    assert len(loaded(path)) == 1


def test_nobody_else_can_read_a_journal(path: Path) -> None:
    """All its files have mode 0600; one that is open to others is refused."""
    with journal_at(path) as journal:
        journal.submitted("q1", SUBMIT, FRAMES, 1.0)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    path.chmod(0o640)
    with pytest.raises(ConnectionFailed, match=f"mode 0640.*chmod 600 {path}"):
        Journal(path)


def of_another_program(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE mail (text)")


def of_a_later_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
        database.execute("PRAGMA user_version = 99")


def no_database(path: Path) -> None:
    path.write_bytes(b"this is no database at all" * 100)


def torn(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:20_000] + os.urandom(len(content) - 20_000))


@pytest.mark.parametrize(
    ("spoil", "empty", "words"),
    [
        (of_another_program, True, "another program.*move it away"),
        (of_a_later_version, False, "layout 99.*use the version that wrote it, or move it away"),
        (no_database, True, "damaged or no journal.*move it and journal.sqlite-wal away"),
        (torn, False, "damaged.*move it and journal.sqlite-wal away"),
        (overwritten, False, "damaged.*move it and journal.sqlite-wal away"),
    ],
)
def test_a_file_that_is_no_whole_journal_is_named_and_left_as_it_is(
    path: Path, spoil: Callable[[Path], None], empty: bool, words: str
) -> None:
    """Found at the start, with what to do; once it is moved away, a new journal takes its place."""
    with journal_at(path) as journal:
        finish(journal, "q1", 500_000, 1.0)
    if empty:
        path.unlink()
        path.touch(0o600)
    spoil(path)
    content = path.read_bytes()
    for _ in range(2):
        with pytest.raises(ConnectionFailed, match=f"{path}.*{words}"):
            Journal(path)
    assert path.read_bytes() == content
    path.rename(path.with_suffix(".damaged"))
    assert loaded(path) == []


def test_content_that_cannot_be_understood_is_a_damaged_journal(path: Path) -> None:
    """A database can be whole, and what stands in it no message of ours."""
    with journal_at(path) as journal:
        journal.submitted("q1", SUBMIT, FRAMES, 1.0)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        own = row_sum(["q1", b"\0", 1.0], [None] * 7)
        database.execute("UPDATE queries SET submit = x'00', sum = ?", (own,))
    with journal_at(path) as journal, pytest.raises(ConnectionFailed, match=f"{path} is damaged"):
        journal.load()


def test_a_journal_that_cannot_be_made_says_why(path: Path) -> None:
    """A folder in its place, a file in the place of its folder, a disk without room."""
    path.mkdir(parents=True)
    with pytest.raises(ConnectionFailed, match=f"{path} cannot be used: Is a directory"):
        Journal(path)
    path.with_name("file").touch()
    with pytest.raises(ConnectionFailed, match="cannot be used: File exists"):
        Journal(path.with_name("file") / "journal.sqlite")
    with pytest.raises(ConnectionFailed, match="cannot be used: "), files_up_to(200):
        Journal(path.with_name("other.sqlite"))


def test_a_master_killed_while_it_makes_its_journal_can_make_it_again(path: Path) -> None:
    """The first half of a new journal is no journal of another program."""
    path.parent.mkdir()
    path.touch(0o600)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    assert loaded(path) == []
