"""What disks and people do to journals: bits that flip, files that go, clocks that jump. What is found again is exact, or
what is damaged is named; never is it something else."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eventmill.master import journal_frames
from eventmill.master import recorder as recording
from eventmill.master.effects import Checkpoint, SaveEnd, SaveSubmission, Tidy
from eventmill.master.finished import Finished
from eventmill.master.journal import Journal
from eventmill.master.query import Query
from eventmill.master.recorder import Recorder, Tidied, Written
from eventmill.master.saved import Saved
from eventmill.packetizer.files import Loss, OpenedFile
from eventmill.protocol.errors import ConnectionFailed, QueryFailed
from eventmill.protocol.messages import Account, Ended, Failure, Submit
from eventmill.system.content_folder import digest_of

SUBMIT = Submit(1, "dimuon", "kernel", "digest", owner="marie")
TABLE = b"a large array" * 100
FILES = ["journal.sqlite", "journal.sqlite-wal"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


@contextlib.contextmanager
def journal_at(path: Path, **limits: Any) -> Iterator[Journal]:
    with contextlib.closing(Journal(path, **limits)) as journal:
        yield journal


def killed(path: Path, elsewhere: Path) -> Path:
    """All files as they are at this moment: what the next master finds if this one is killed now."""
    shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.copytree(path.parent, elsewhere)
    return elsewhere / path.name


def write_some(journal: Journal, rounds: int = 1) -> None:
    """Two queries that run, with all that there is to know of them, and one that is over."""
    numbers = random.Random(3)
    for number in ("q1", "q2"):
        submit = Submit(1, "dimuon", "kernel", "digest", owner="marie", attachments=[digest_of(TABLE)])
        journal.submitted(number, submit, [numbers.randbytes(900), b"files"], 1.0, {digest_of(TABLE): TABLE})
        for file in range(3):
            journal.opened(number, file, OpenedFile(100, [0, 50, 100], f"uuid {file}", [0, 100], b"place"))
        journal.lost(number, Loss(1, 0, 10, "no such basket"))
        journal.skipped(number, Failure("data", "DatasetError", "no such basket"), [b"exception"])
    journal.submitted("q3", SUBMIT, [b"analysis", b"files"], 1.0)
    journal.ended("q3", Ended("q3", "done", Account(total=9), 1.0, result_frames=2), [b"result", b"more", b"[]"], 2.0)
    for step in range(rounds):
        for number in ("q1", "q2"):
            journal.merged(number, [(file, 10 * step, 10 * step + 10) for file in range(3)])
            total = [b"%s %d" % (number.encode(), step), numbers.randbytes(3000), b""]
            journal.checkpoint(number, total, Account(processed=30 * step))


def test_pieces_of_two_totals_are_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a disk has when it had written some of what belongs together: each piece is what it was, and the sum is that of
    no entries."""
    monkeypatch.setattr(journal_frames, "LARGE_TOTAL", 1000)
    monkeypatch.setattr(journal_frames, "PIECE_OF_TOTAL", 1000)
    totals = [[b"count %d" % step, bytes([step]) * 5000] for step in range(3)]
    query = "SELECT sum, data, id FROM frames WHERE role = 'total' AND frame = 1 AND piece = 2"
    with journal_at(path) as journal:
        journal.submitted("q1", SUBMIT, [b"analysis", b"files"], 1.0)
        for step, total in enumerate(totals):
            if step:
                before = journal._database.execute(query).fetchone()
            journal.merged("q1", [(0, step, step + 1)])
            journal.checkpoint("q1", total, Account())
        after = journal._database.execute(query).fetchone()
        assert before[2] == after[2] and journal.load()[0].total == totals[-1]
        journal._database.execute("UPDATE frames SET sum = ?, data = ? WHERE id = ?", before)
    with journal_at(path) as journal:
        (saved,) = journal.load()
        assert isinstance(saved, Saved) and saved.damage and (saved.total, saved.done) == ([], {})
        journal.merged("q1", [(0, 0, 3)])
        journal.checkpoint("q1", totals[1], Account())
    with journal_at(path) as journal:
        (saved,) = journal.load()
        assert isinstance(saved, Saved) and not saved.damage and saved.total == totals[1]


def content(journal: Journal) -> dict[str, Any]:
    """All that a master finds, by query; without what is only of this moment."""
    found: dict[str, Any] = {}
    for it in journal.load():
        if isinstance(it, Finished):
            line = it.info(it.started)
            remembered = SUBMIT if (line.name, line.owner) == (SUBMIT.name, SUBMIT.owner) else line
            found[it.number] = (remembered, it.started, [], {}, line), NOTHING_DONE, "", journal.end(it.number)
            continue
        opened = {
            file: (o.entries, list(o.clusters), o.identity, list(o.listed or ()), o.place)
            for file, o in it.opened.items()
        }
        done = {file: list(ranges) for file, ranges in it.done.items()}
        arrays = {digest: bytes(array) for digest, array in it.attachments.items()}
        progress = opened, done, it.losses, it.total, it.account, it.report, it.skipped
        found[it.number] = (it.submit, it.started, it.frames, arrays, None), progress, it.damage
    return found


NOTHING_DONE = ({}, {}, [], [], Account(), [], None)


def flip(file: Path, bit: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(bit // 8)
        (byte,) = opened.read(1)
        opened.seek(bit // 8)
        opened.write(bytes([byte ^ (1 << bit % 8)]))


def check_flipped(found_at: Path, whole: dict[str, Any], logged: pytest.LogCaptureFixture) -> str:
    """What became of a journal in which a bit is another one."""
    logged.clear()
    refused = ""
    try:
        with journal_at(found_at) as journal:
            found = content(journal)
        with journal_at(found_at) as journal:
            assert content(journal) == {number: (*its[:2], "", *its[3:]) for number, its in found.items()}
            for number, its in found.items():
                if its[0][4] is None:  # it can go on, whatever was found
                    journal.merged(number, [(0, 90, 100)])
                    journal.checkpoint(number, [b"more"], Account())
    except (ConnectionFailed, QueryFailed) as error:
        refused = str(error)
    if refused:
        assert str(found_at) in refused
        return "refused"
    if found == whole:
        return "exact"
    gone = ("cannot be read; submit it again", "of its table", "not in it")  # its number may be what is damaged
    assert whole.keys() == found.keys() or any(words in logged.text for words in gone)
    cut = "not in it" in logged.text
    for number, (own, progress, damage, *result) in found.items():
        expected_own, expected, _, *expected_result = whole[number]
        if damage:
            assert "was damaged: all of this query is done again" in damage and progress == NOTHING_DONE
        elif progress != expected:  # as it was earlier
            assert cut
            done, total = progress[1], progress[3]
            steps = int(total[0].split()[1]) + 1 if total else 0
            assert done == ({file: [(0, 10 * steps)] for file in range(3)} if steps else {})
        assert result == expected_result or (cut and not result)
        if own != expected_own:
            assert own[:2] == expected_own[:2] and (own[2] == expected_own[2] or cut)
            assert cut or (not own[3] and "an array of its analysis" in logged.text)
    assert logged.text
    return "named"


@pytest.mark.parametrize("flips", [120, pytest.param(20_000, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("closed", [True, False], ids=["database", "log"])
def test_after_any_flipped_bit_the_journal_is_exact_or_what_is_damaged_is_named(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, closed: bool, flips: int
) -> None:
    """Anywhere in its files; where there is something in them, more often."""
    with journal_at(path) as journal:
        write_some(journal, 3)
        whole = content(journal)
        if not closed:
            copy = killed(path, tmp_path / "copy")
    if closed:
        copy = killed(path, tmp_path / "copy")
    rng, seen = random.Random(int(closed)), set()
    files = [file for file in sorted(copy.parent.rglob("*")) if file.is_file()]
    used = [(file, at) for file in files for at, byte in enumerate(file.read_bytes()) if byte]
    for attempt in range(flips):
        file, at = rng.choice(used)
        if attempt % 5 == 0:
            at = rng.randrange(file.stat().st_size)
        flipped = killed(copy, tmp_path / "flipped")
        flip(flipped.parent / file.relative_to(copy.parent), 8 * at + rng.randrange(8))
        try:
            seen.add(check_flipped(flipped, whole, caplog))
        except BaseException as error:
            error.add_note(f"{file.name}, byte {at}")
            raise
    assert {"exact", "named"} <= seen


# --- files that go ------------------------------------------------------------------------------------------------------


def test_a_log_that_is_cut_or_missing_at_the_start_is_named(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is left is whole, and SQLite says nothing. The journal itself is there from its first moment."""
    with journal_at(path) as journal:
        write_some(journal)
        whole = content(journal)
        copy = killed(path, tmp_path / "copy")
    log = copy.with_name("journal.sqlite-wal")
    with journal_at(copy) as journal:
        assert content(journal) == whole and not caplog.text
    for spoil in (lambda file: os.truncate(file, 60_000), os.remove):
        with journal_at(path) as journal:
            journal.checkpoint("q1", [b"more"], Account())
            copy = killed(path, tmp_path / "copy")
        spoil(log)
        caplog.clear()
        with journal_at(copy) as journal:
            assert "not in it: its write-ahead log was removed, cut off or damaged" in caplog.text
            content(journal)
        caplog.clear()
        with journal_at(copy) as journal:
            content(journal)
            assert "not in it" in caplog.text, "until something is written"
            journal.submitted("q9", SUBMIT, [b"analysis", b"files"], 1.0)
        caplog.clear()
        with journal_at(copy) as journal:
            content(journal)
        assert not caplog.text


def test_a_journal_that_was_removed_is_named_at_the_start(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With all of its files but the lock."""
    with journal_at(path) as journal:
        write_some(journal)
    path.unlink()
    with journal_at(path) as journal:
        assert journal.load() == []
    assert "the one that was written to before, 6 times, is not in its place any more" in caplog.text


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_a_journal_that_goes_while_a_master_runs_is_not_written_to_quietly(path: Path, what: str) -> None:
    """Whoever submits is told, and whose query runs; put back in its place, it has all that was told meanwhile."""
    with contextlib.closing(Recorder(Journal(path))) as recorder:
        recorder.do(SaveSubmission("q1", SUBMIT, [b"analysis", b"files"], {}))
        away = path.rename(path.with_suffix(".away"))
        if what == "replaced":
            shutil.copy(away, path)
        recorder.merged("q1", [(0, 0, 10)])
        checkpoint = Checkpoint("q1", Account(), [])
        for answer in (
            recorder.checkpoint(checkpoint, [b"ten"]),
            recorder.do(SaveSubmission("q2", SUBMIT, [b"analysis", b"files"], {})),
        ):
            assert isinstance(answer, Written)
            assert f"{path} was removed, or another file is in its place" in answer.note
            assert "if the master dies now, this query is lost" in answer.note
        assert recorder.do(Tidy()) == Tidied([], written=False)
        away.replace(path)
        assert recorder.checkpoint(checkpoint, [b"ten"]) == Written("q1", pytest.approx(0, abs=60))
    with journal_at(path) as journal:
        first, second = journal.load()
        assert first.total == [b"ten"] and second.frames == [b"analysis", b"files"]


def test_a_log_that_goes_while_a_master_runs_takes_nothing_with_it(path: Path, tmp_path: Path) -> None:
    with journal_at(path) as journal:
        write_some(journal)
        path.with_name("journal.sqlite-wal").unlink()
        journal.merged("q1", [(0, 10, 20)])
        journal.checkpoint("q1", [b"more"], Account())
        whole = content(journal)
        with journal_at(killed(path, tmp_path / "copy")) as found:
            assert content(found) == whole
        journal.checkpoint("q2", [b"more"], Account())
        with journal_at(killed(path, tmp_path / "copy")) as found:
            assert content(found)["q2"][1][3] == [b"more"]


# --- clocks that jump ---------------------------------------------------------------------------------------------------

DAY = 86400.0


class Clock:
    """In the place of the module `time` where the journal is written: what a clock on the wall says, and what has passed."""

    wall, passed = 1.8e9, 100.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.passed

    def run(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


def test_no_clock_that_jumps_makes_results_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 days ahead at the start, back again, and ahead while the master runs; what counts is how long masters run."""
    clock = Clock()
    monkeypatch.setattr(recording, "time", clock)

    def master(*jumps: float, days: float = 0.0) -> list[str]:
        removed: list[str] = []
        with contextlib.closing(Recorder(Journal(path))) as recorder:
            for jump in jumps:
                clock.wall += jump
                removed += recorder.do(Tidy()).removed  # type: ignore[union-attr]
            clock.run(days * DAY)
            return removed + recorder.do(Tidy()).removed  # type: ignore[union-attr,operator]

    with contextlib.closing(Recorder(Journal(path))) as recorder:
        recorder.do(SaveSubmission("q1", SUBMIT, [b"analysis", b"files"], {}))
        recorder.do(SaveEnd("q1", Ended("q1", "done", Account(), 1.0), [b"result"]))
    clock.wall += 32 * DAY
    assert master() == []
    clock.wall -= 64 * DAY
    assert master(32 * DAY, 400 * DAY, days=20.0) == []
    clock.passed = 5.0  # the machine has been started again
    assert master(days=9.0) == []
    assert master(days=1.5) == ["q1"]


# --- what users hear ----------------------------------------------------------------------------------------------------


def test_a_query_whose_progress_was_damaged_says_so(path: Path, tmp_path: Path) -> None:
    """All of it is to do, and its account has a note, to the end."""
    files = b"\x91" + b"\x82\xa4path\xa6a.root\xa4kind\xa4tree"
    with journal_at(path) as journal:
        journal.submitted("q1", SUBMIT, [b"analysis", files], 1.0)
        journal.merged("q1", [(0, 0, 10)])
        journal.opened("q1", 0, OpenedFile(100))
        journal.checkpoint("q1", [b"the total of ten entries"], Account())
    stored = path.read_bytes()
    path.write_bytes(stored.replace(b"the total of ten", b"the total of tem"))
    with journal_at(path) as journal:
        (saved,) = journal.load()
    query = Query.restored(saved, now=0.0, wall=0.0)
    assert not query.ledger.processed and query.account().notes == [saved.damage]
    assert "was damaged: all of this query is done again" in saved.damage
