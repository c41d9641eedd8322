"""Isolation: whatever raises in a chunk is found and named, everything else is in the result exactly once."""

from __future__ import annotations

import errno
import itertools
import pickle
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import eventmill as em
import numpy as np
import pytest
import uproot
from bench import Bench, only
from eventmill.analysis.analysis import pack
from eventmill.analysis.items import pack_items
from eventmill.protocol import messages as m
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Flat
from eventmill.reading.read_errors import _may_pass
from eventmill.reading.reader import Reader
from eventmill.worker.slot import isolation
from eventmill.worker.slot.failures import describe
from eventmill.worker.slot.isolation import GRAIN, IN_A_ROW, MOST_FAULTS, Fault, Isolation, between, gaps
from eventmill.worker.slot.tasks import load
from hypothesis import given
from hypothesis import strategies as st

ENTRIES = 4000


class Analysis:
    """Raises for some entries. Its result is the list of those it was called for.

    Args:
        bad: the entries that raise.
        tells: it names the entry, as kernels and functions of items do.
        keeps: what it did of a range that raised is in its result, as with a kernel; by default for those that tell.
        error: what it raises.
        moody: entries that raise only where none of them was analysed right before: what it does depends on that.
    """

    def __init__(
        self,
        bad: set[int],
        tells: bool,
        error: type[Exception] = ValueError,
        keeps: bool | None = None,
        moody: Collection[int] = (),
    ) -> None:
        self.bad, self.tells, self.error = bad, tells, error
        self.keeps = tells if keeps is None else keeps
        self.moody, self.before = moody, -1
        self.done: list[int] = []
        self.aside: list[int] = []
        self.calls = 0
        self.isolation = Isolation(self.attempt, self.keep, self.done.clear, all_or_nothing=not self.keeps)

    def attempt(self, start: int, stop: int) -> Fault | None:
        self.calls += 1
        done: list[int] = []
        for entry in range(start, stop):
            lonely = entry in self.moody and self.before not in self.moody
            self.before = entry
            if entry in self.bad or lonely:
                if self.keeps:
                    self.done += [*done, entry]
                return Fault.of(self.error("no"), start, stop, entry - start if self.tells else None)
            done.append(entry)
        self.done += done
        return None

    def keep(self) -> None:
        self.aside += self.done
        self.done.clear()

    def run(self, start: int, stop: int) -> tuple[list[Fault], int]:
        first = self.attempt(start, stop)
        assert first is not None
        if self.keeps:
            self.done.clear()
        return self.isolation.run(start, stop, first)


KINDS = [(True, True), (True, False), (False, False), (False, True)]
"""Kernels, items, columnar functions and processors, and kernels whose data cannot be read: whether it `tells`, and whether
it `keeps` a part of what raised."""


@pytest.mark.parametrize(("tells", "keeps"), KINDS)
@given(
    bad=st.sets(st.integers(100, 400), min_size=1) | st.integers(110, 380).map(lambda first: set(range(first, 400))),
    moody=st.sets(st.integers(100, 400), max_size=20),
)
def test_every_entry_is_either_in_the_result_once_or_named(
    tells: bool, keeps: bool, bad: set[int], moody: set[int]
) -> None:
    """Whatever raises, and also where an entry raises or not by what came before it: no sound entry is lost in silence.

    Protects from: items in front of one that raised were never analysed, and the account called them processed.
    """
    analysis = Analysis(bad, tells, keeps=keeps, moody=moody)
    if not bad & set(range(100, 400)):
        return
    faults, stop = analysis.run(100, 400)
    named = [entry for fault in faults for entry in range(fault.start, fault.stop)]
    assert stop == 400
    assert sorted([*analysis.aside, *analysis.done, *named]) == list(range(100, 400))
    assert bad & set(range(100, 400)) <= set(named)
    if not moody and not any(len(set(range(start, start + IN_A_ROW)) - bad) == 0 for start in range(100, 400)):
        assert set(named) == bad & set(range(100, 400)), "and nothing else"


@pytest.mark.parametrize(("tells", "keeps"), KINDS)
@given(
    bad=st.sets(st.integers(0, 200), min_size=1),
    seconds=st.lists(st.sampled_from([0.0, 0.0, 0.0, 40.0]), min_size=1),
    moody=st.sets(st.integers(0, 199), max_size=20),
)
def test_so_it_is_when_the_time_is_over_or_a_message_is_full(
    tells: bool, keeps: bool, bad: set[int], seconds: list[float], moody: set[int]
) -> None:
    if not bad & set(range(200)):
        return
    clock = itertools.chain(itertools.accumulate(seconds), itertools.repeat(sum(seconds)))
    analysis = Analysis(bad, tells, keeps=keeps, moody=moody)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(isolation, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        patch.setattr(isolation, "MOST_FAULTS", 30)
        patch.setattr(isolation, "IN_A_ROW", 5)
        faults, stop = analysis.run(0, 200)
    named = [entry for fault in faults for entry in range(fault.start, fault.stop)]
    assert sorted([*analysis.aside, *analysis.done, *named]) == list(range(stop))
    assert bad & set(range(stop)) <= set(named)


def test_the_calls_that_it_takes_are_few() -> None:
    """The distance of two faults has seven binary digits here."""
    bad = {entry for entry in range(20_000) if entry * 2654435761 % 2**32 % 100 == 0}
    by_halves, told = Analysis(bad, tells=False), Analysis(bad, tells=True)
    assert len(by_halves.run(0, 20_000)[0]) == len(told.run(0, 20_000)[0]) == len(bad)
    assert by_halves.calls < 10 * len(bad)
    assert told.calls < 3 * len(bad)


@pytest.mark.parametrize("tells", [True, False])
def test_an_analysis_that_always_raises_is_given_up_soon(tells: bool) -> None:
    analysis = Analysis(set(range(100_000)), tells)
    faults, stop = analysis.run(0, 100_000)
    assert analysis.calls < 150
    assert stop == 100_000 and list(between(faults, 0, stop)) == [] and not analysis.done


def test_sound_entries_behind_many_faults_are_not_given_up() -> None:
    analysis = Analysis(set(range(200)), tells=False)
    faults, _ = analysis.run(0, 10_000)
    assert gaps(faults) == [m.Gap(0, 200, "ValueError: no")]
    assert sorted([*analysis.aside, *analysis.done]) == list(range(200, 10_000))


def test_damaged_data_are_isolated_to_about_a_basket() -> None:
    analysis = Analysis(set(range(50_000, 60_000)), tells=False, error=DatasetError)
    faults, _ = analysis.run(0, 200_000)
    named = {entry for fault in faults for entry in range(fault.start, fault.stop)}
    assert analysis.bad <= named and len(named) <= 10_000 + 2 * GRAIN
    assert sorted([*analysis.aside, *analysis.done]) == sorted(set(range(200_000)) - named)


def test_a_chunk_ends_early_when_it_has_more_faults_than_a_message_holds() -> None:
    analysis = Analysis(set(range(0, 3 * MOST_FAULTS, 2)), tells=True)
    faults, stop = analysis.run(0, 3 * MOST_FAULTS)
    assert len(faults) == MOST_FAULTS and stop == 2 * MOST_FAULTS - 1
    assert analysis.done == list(range(1, stop, 2))


def test_what_raises_only_together_is_not_named() -> None:
    """As what needs more memory for many events than there is."""
    done: list[int] = []

    def attempt(start: int, stop: int) -> Fault | None:
        if stop - start > 10:
            return Fault(start, stop, MemoryError())
        done.extend(range(start, stop))
        return None

    found = Isolation(attempt, lambda: None, done.clear, all_or_nothing=True).run(0, 100, Fault(0, 100, MemoryError()))
    assert found == ([], 100) and sorted(done) == list(range(100))


@pytest.mark.parametrize("tells", [True, False])
def test_isolation_comes_to_an_end(monkeypatch: pytest.MonkeyPatch, tells: bool) -> None:
    """An hour for one chunk is of no use: after a while ranges are given up as they are."""
    monkeypatch.setattr(isolation, "LONGEST", 0.0)
    analysis = Analysis({3, 70}, tells)
    faults, stop = analysis.run(0, 100)
    named = {entry for fault in faults for entry in range(fault.start, fault.stop)}
    assert {3, 70} <= named and stop == 100
    assert sorted([*analysis.aside, *analysis.done]) == sorted(set(range(100)) - named)


def test_neighbours_of_the_same_reason_are_one_gap() -> None:
    faults = [Fault(1, 2, ValueError("a")), Fault(2, 3, ValueError("a")), Fault(3, 4, ValueError("b"))]
    assert gaps([*faults, Fault(7, 8, ValueError("b"))]) == [
        m.Gap(1, 3, "ValueError: a"), m.Gap(3, 4, "ValueError: b"), m.Gap(7, 8, "ValueError: b"),
    ]  # fmt: skip


# --- in a slot ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    name = tmp_path_factory.mktemp("events") / "f.root"
    with uproot.recreate(name) as file:
        tree = file.mktree("Events", {"x": "int64"})
        for start in range(0, ENTRIES, 1000):
            tree.extend({"x": np.arange(start, start + 1000)})
    return str(name)


def kernel_that_fills_first() -> Any:
    @em.kernel(n=np.zeros(1, np.int64))
    def analysis(n, x):
        n[0] += 1
        if x == 700 or x == 2500:
            raise ValueError("no")

    return analysis


def function() -> Any:
    def analysis(events: Any) -> dict[str, Any]:
        if np.isin(np.asarray(events.x), [700, 2500]).any():
            raise ValueError("no")
        return {"n": np.array([len(events)])}

    return analysis


@pytest.mark.parametrize("chunk", [None, 50])
@pytest.mark.parametrize("make", [kernel_that_fills_first, function])
def test_a_part_names_its_gaps_and_the_first_error_is_told(path: str, make: Any, chunk: int | None) -> None:
    lease = m.Lease(1, "q", 0, m.File(path, "Events"), 100, 3000, 60.0, chunk=chunk)
    bench = Bench(on_error="skip", q=make())
    said = bench.work(lease)
    gaps = [m.Gap(700, 701, "ValueError: no"), m.Gap(2500, 2501, "ValueError: no")]
    assert only(m.Commit, said).parts == [m.Part(1, 100, 3000, gaps)]
    assert bench.results()["q"] == {"n": np.array([2898])}
    skipped = only(m.Skipped, said).failure
    assert (skipped.error, skipped.start, skipped.stop) == ("ValueError", 700, 701)
    assert [type(message) for message in said].index(m.Skipped) < len(said) - 1, "before the commit"


@pytest.mark.parametrize("chunk", [None, 1, 3, 100])
def test_items_in_front_of_one_that_raises_are_in_the_result(chunk: int | None) -> None:
    """A function of items tells which one raised, and adds nothing then: those before it were lost, and called processed."""

    def inverse(item: int) -> int:
        return 360360 // item

    items = [1, 2, 0, 3, 0, 4, *range(5, 14), 0, 0, 14, 15, 0]
    bench = Bench(on_error="skip", shared_inputs=[pack_items(items)], q=inverse)
    file = m.File("items", kind="items", entries=len(items))
    said = bench.work(
        m.Lease(1, "q", 0, file, 0, 7, 60.0, chunk=chunk), m.Lease(2, "q", 0, file, 7, len(items), 60.0, chunk=chunk)
    )
    parts = only(m.Commit, said).parts
    lost = [entry for part in parts for gap in part.gaps for entry in range(gap.start, gap.stop)]
    assert lost == [index for index, item in enumerate(items) if item == 0]
    assert bench.results()["q"] == sum(360360 // item for item in items if item)


def test_data_that_cannot_be_read_are_not_blamed_on_an_entry_of_the_run_before(tmp_path: Path) -> None:
    """Else that one would be skipped, and the columns of the run before would be taken for those at hand."""
    packed = pack(kernel_that_fills_first())
    task = load(m.Setup("q", packed.kind, packed.digest), packed.blob, tmp_path)
    source, broken = mock.Mock(), mock.Mock()
    source.read.return_value = {"x": Flat(np.arange(10))}
    broken.read.side_effect = DatasetError("no")
    task.run(source, m.File("f"), 0, 10)
    assert task.index == 9
    with pytest.raises(DatasetError):
        task.run(broken, m.File("f"), 10, 20)
    assert task.index is None and task.entry is None


def test_listed_entries_are_skipped_by_their_positions(path: str) -> None:
    """The ledger counts the listed ones; the error names the entry of the file."""
    runs = [0, 3, 700, 701, 2000, 2002]
    lease = m.Lease(1, "q", 0, m.File(path, "Events"), 10, 16, 60.0, runs=runs)
    said = Bench(on_error="skip", q=kernel_that_fills_first()).work(lease)
    assert only(m.Commit, said).parts == [m.Part(1, 10, 16, [m.Gap(13, 14, "ValueError: no")])]
    assert only(m.Skipped, said).failure.start == 700


def test_a_lease_with_suspects_is_worked_on_in_small_chunks(path: str) -> None:
    def analysis(events: Any) -> list[int]:
        return [len(events)]

    lease = m.Lease(1, "q", 0, m.File(path, "Events"), 0, 50, 60.0, apart=True, chunk=7)
    bench = Bench(q=analysis)
    bench.work(lease)
    sizes = bench.results()["q"]
    assert max(sizes) == 7 and sum(sizes) == 50


def unreadable(monkeypatch: pytest.MonkeyPatch, transient: bool) -> None:
    """Entries from 1000 to 1999 cannot be read."""
    whole = Reader.read_ranges

    def read_ranges(self: Reader, branches: Any, ranges: Any) -> Any:
        if any(start < 2000 and stop > 1000 for start, stop in ranges):
            raise DatasetError("the server does not answer", transient=transient)
        return whole(self, branches, ranges)

    monkeypatch.setattr(Reader, "read_ranges", read_ranges)


def test_what_may_pass_is_for_others_to_try(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    unreadable(monkeypatch, transient=True)
    said = Bench(on_error="skip", q=function()).work(m.Lease(1, "q", 0, m.File(path, "Events"), 900, 2400, 60.0))
    failure = only(m.Failed, said).failure
    assert failure.transient and failure.kind == "data"
    assert not any(isinstance(message, m.Commit | m.Skipped) for message in said)


@pytest.mark.parametrize("transient", [True, False])
def test_what_nobody_tries_again_is_isolated(monkeypatch: pytest.MonkeyPatch, path: str, transient: bool) -> None:
    unreadable(monkeypatch, transient)
    lease = m.Lease(1, "q", 0, m.File(path, "Events"), 0, 4000, 60.0, last_try=transient)
    said = Bench(on_error="skip", q=function()).work(lease)
    (part,) = only(m.Commit, said).parts
    lost = {entry for gap in part.gaps for entry in range(gap.start, gap.stop)} - {700, 2500}
    assert set(range(1000, 2000)) <= lost and len(lost) <= 1000 + 2 * GRAIN
    assert only(m.Finished, said).stop == 4000


# --- errors that may pass -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "error", "expected"),
    [
        ("/f.root", ValueError("corrupt"), False),
        ("root://host//f.root", ValueError("corrupt"), True),
        ("/f.root", OSError(errno.EIO, "I/O error"), True),
        ("/f.root", OSError(errno.ESTALE, "stale file handle"), True),
        ("/f.root", PermissionError(errno.EACCES, "no"), False),
        ("/f.root", OSError("it ends before byte 7"), False),
        ("root://host//f.root", OSError("XRootD error: connection reset"), True),
        ("root://host//f.root", ConnectionResetError(errno.ECONNRESET, "reset"), True),
        ("root://host//f.root", NotImplementedError("a type"), False),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_may_pass_is_told_from_what_stays(path: str, error: Exception, expected: bool) -> None:
    assert _may_pass(path, error) is expected


def test_that_an_error_may_pass_survives_its_journey() -> None:
    error = pickle.loads(pickle.dumps(DatasetError("no", transient=True)))
    assert error.transient and str(error) == "no"
    assert describe(error, m.File("f"), None, None)[0].transient
    assert not describe(DatasetError("no"), m.File("f"), None, None)[0].transient
    assert not describe(ValueError("no"), m.File("f"), None, None)[0].transient


def test_arrays_of_events_cannot_be_changed_in_place(path: str) -> None:
    """When a chunk raises its parts are analysed again, over the same arrays: a change would be in them twice."""

    def changes(events: Any) -> float:
        x = np.asarray(events.x)
        x += 1000
        if (x == 1013).any():
            raise KeyError("no")
        return float(x.sum())

    def copies(events: Any) -> float:
        x = np.array(events.x)
        x += 1000
        if (x == 1013).any():
            raise KeyError("no")
        return float(x.sum())

    lease = m.Lease(1, "q", 0, m.File(path, "Events"), 0, 20, 60.0)
    refused = only(m.Failed, Bench(q=changes).work(lease)).failure
    assert "read-only" in refused.message and "change a copy" in str(refused)
    bench = Bench(on_error="skip", q=copies)
    bench.work(lease)
    assert bench.results()["q"] == sum(1000 + x for x in range(20) if x != 13)
