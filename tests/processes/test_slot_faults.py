"""Faults of user code and data in real slots: every loss is listed, the rest is exact, and nothing goes on for ever."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import AnalysisError, DatasetError
from hist import Hist
from processes import eventually

SECONDS = 60
FILES, EACH, BASKET = 4, 5000, 500
CULPRIT = 2 * EACH + 1234


def write(path: Path, first: int, entries: int = EACH) -> None:
    """A file with the numbers from `first` on, in baskets of `BASKET` entries that follow each other."""
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", {"x": "int64"})
        for start in range(first, first + entries, BASKET):
            tree.extend({"x": np.arange(start, min(start + BASKET, first + entries))})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> em.Dataset:
    folder = tmp_path_factory.mktemp("events")
    for number in range(FILES):
        write(folder / f"{number}.root", number * EACH)
    return em.Dataset(str(folder / "*.root"), tree="Events")


def total(events: Any) -> dict[str, int]:
    return {"n": len(events), "added": int(np.asarray(events.x).sum())}


def lost(result: em.Result) -> set[int]:
    """The numbers in the entries that are listed as lost."""
    return {
        int(Path(it.path).stem) * EACH + entry
        for it in result.account.lost
        for entry in range(it.start, it.stop if it.stop is not None else it.start)
    }


def assert_exact(result: em.Result, expected: set[int], all_numbers: int = FILES * EACH) -> None:
    """What is lost is what was expected, listed, and nothing else."""
    assert lost(result) == expected
    left = sorted(set(range(all_numbers)) - expected)
    assert (result["n"], result["added"]) == (len(left), sum(left))
    assert (result.account.processed, result.account.failed) == (len(left), len(expected))


def restarts(session: em.Session, before: int = 0) -> int:
    assert session.log is not None
    log = session.log.read_text()
    return log.count("went down") - before


# --- events that take slots down ------------------------------------------------------------------------------------------


def segfault(events: Any) -> dict[str, int]:
    if (np.asarray(events.x) == CULPRIT).any():
        ctypes.string_at(0)
    return total(events)


def vanish(events: Any) -> dict[str, int]:
    if (np.asarray(events.x) == CULPRIT).any():
        os._exit(3)
    return total(events)


def hang(events: Any) -> dict[str, int]:
    while (np.asarray(events.x) == CULPRIT).any():
        pass
    return total(events)


@pytest.mark.parametrize(
    ("analysis", "reason"),
    [(segfault, "SIGSEGV"), (vanish, "exited with code 3"), (hang, "an endless loop?")],
    ids=["segfault", "os._exit", "endless"],
)
def test_an_event_that_takes_slots_down_is_found_in_a_few_restarts_and_listed(
    session: em.Session, data: em.Dataset, analysis: Any, reason: str
) -> None:
    before = restarts(session)
    result = session.process(data, analysis, on_error="skip", timeout=0.3).result(SECONDS)
    assert_exact(result, {CULPRIT})
    assert reason in result.account.lost[0].reason
    assert restarts(session, before) <= 7


def test_an_event_that_takes_slots_down_fails_the_query_by_default_and_is_named(
    session: em.Session, data: em.Dataset
) -> None:
    with pytest.raises(AnalysisError, match=rf"entry {CULPRIT % EACH} took down its slot.*SIGSEGV"):
        session.process(data, segfault).result(SECONDS)


def test_a_kernel_in_an_endless_loop_names_its_entry_at_once(session: em.Session, data: em.Dataset) -> None:
    culprit = CULPRIT

    @em.kernel(n=np.zeros(2, np.int64))
    def endless(n, x):
        while x == culprit:
            n[1] += 1
        n[0] += 1

    before = restarts(session)
    result = session.process(data, endless, on_error="skip", timeout=0.3).result(SECONDS)
    assert lost(result) == {CULPRIT}
    assert result["n"].tolist() == [FILES * EACH - 1, 0]
    assert restarts(session, before) == 2, "the slot status names the entry: twice is proof"


# --- events that raise ----------------------------------------------------------------------------------------------------

BAD = {x for x in range(FILES * EACH) if x * 2654435761 % 2**32 % 100 == 0}


def one_percent(events: Any) -> dict[str, int]:
    x = np.asarray(events.x)
    if (x * 2654435761 % 2**32 % 100 == 0).any():
        raise ValueError("one percent")
    return total(events)


def test_events_that_raise_in_a_function_are_listed_and_the_rest_is_exact(
    session: em.Session, data: em.Dataset
) -> None:
    result = session.process(data, one_percent, on_error="skip").result(SECONDS)
    assert_exact(result, BAD)
    assert {it.reason for it in result.account.lost} == {"ValueError: one percent"}


def test_events_that_raise_in_a_kernel_leave_no_trace_though_they_had_filled(
    session: em.Session, data: em.Dataset
) -> None:
    @em.kernel(h=Hist.new.Reg(10, 0, FILES * EACH).Double(), n=np.zeros(1, np.int64), added=np.zeros(1, np.int64))
    def analysis(h, n, added, x):
        h.fill(x)
        n[0] += 1
        if x * 2654435761 % 2**32 % 100 == 0:
            raise ValueError("one percent")
        added[0] += x

    result = session.process(data, analysis, on_error="skip").result(SECONDS)
    assert_exact(result, BAD)
    expected = np.histogram(sorted(set(range(FILES * EACH)) - BAD), bins=10, range=(0, FILES * EACH))[0]
    assert result["h"].values().tolist() == expected.tolist()


def test_items_that_raise_are_listed(session: em.Session) -> None:
    def inverse(item: int) -> float:
        return 12 // item

    result = session.process(em.items([1, 2, 0, 3, 0, 4]), inverse, on_error="skip").result(SECONDS)
    assert result.value == 12 + 6 + 4 + 3
    assert sorted((it.start, it.stop) for it in result.account.lost) == [(2, 3), (4, 5)]


def test_an_analysis_that_always_raises_fails_soon_with_its_own_error(
    session: em.Session, data: em.Dataset, tmp_path: Path
) -> None:
    """A mistyped name raises for every event: they are not tried one by one."""
    calls = str(tmp_path / "calls")

    def mistyped(events: Any) -> int:
        with open(calls, "ab") as file:  # noqa: PTH123
            file.write(b".")
        return len(events.y)

    with pytest.raises(AttributeError, match="y"):
        session.process(data, mistyped, on_error="skip").result(SECONDS)
    assert 0 < Path(calls).stat().st_size < FILES * EACH / 5


def test_the_first_error_still_ends_a_query_that_does_not_skip(session: em.Session, data: em.Dataset) -> None:
    with pytest.raises(ValueError, match="one percent"):
        session.process(data, one_percent).result(SECONDS)


# --- data -----------------------------------------------------------------------------------------------------------------


def test_bad_files_are_listed_and_the_rest_is_exact(session: em.Session, tmp_path: Path) -> None:
    """One of twenty is cut off, one is no ROOT file."""
    for number in range(20):
        write(tmp_path / f"{number:02}.root", number * EACH)
    whole = (tmp_path / "07.root").read_bytes()
    (tmp_path / "07.root").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "13.root").write_bytes(b"garbage" * 1000)
    result = session.process(str(tmp_path / "*.root"), total, on_error="skip").result(SECONDS)
    assert sorted(Path(it.path).name for it in result.account.lost) == ["07.root", "13.root"]
    left = [x for number in range(20) if number not in (7, 13) for x in range(number * EACH, (number + 1) * EACH)]
    assert (result["n"], result["added"]) == (len(left), sum(left))


def test_a_local_file_that_is_not_there_is_listed_and_can_be_done_later(session: em.Session, tmp_path: Path) -> None:
    """Protects the sum of the files that are there, and that the missing one is neither forgotten nor waited for."""
    paths = [tmp_path / f"{number}.root" for number in range(3)]
    write(paths[0], 0)
    write(paths[2], 2 * EACH)
    numbers = [*range(EACH), *range(2 * EACH, 3 * EACH)]
    with pytest.raises(DatasetError, match=r"there is no 1\.root in "):
        session.process(paths, total)
    first = session.process(paths, total, on_error="skip").result(SECONDS)
    assert (first["n"], first["added"]) == (len(numbers), sum(numbers))
    (missing,) = first.account.lost
    assert (missing.path, missing.reason) == (str(paths[1]), f"DatasetError: there is no file {paths[1]}")
    assert not first.account.notes, "it is not tried again"
    write(paths[1], EACH)
    whole = first.merged(session.process(first.account.failed_dataset(), total).result(SECONDS))
    assert (whole["n"], whole["added"]) == (3 * EACH, sum(range(3 * EACH))) and not whole.account.lost


def test_when_no_file_is_there_a_query_that_skips_fails_all_the_same(session: em.Session, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no file"):
        session.process([tmp_path / "a.root", tmp_path / "b.root"], total, on_error="skip").result(SECONDS)
    with pytest.raises(DatasetError, match="no file fits"):
        session.process(str(tmp_path / "*.root"), total, on_error="skip")


@pytest.mark.parametrize("kind", ["columnar", "kernel"])
def test_a_damaged_basket_costs_little_more_than_its_entries(session: em.Session, tmp_path: Path, kind: str) -> None:
    entries = 40_000
    write(tmp_path / "0.root", 0, entries)
    with uproot.open(tmp_path / "0.root") as file:
        seek = int(file["Events"]["x"].member("fBasketSeek")[50])
    damaged = bytearray((tmp_path / "0.root").read_bytes())
    damaged[seek + 100 : seek + 200] = b"\0" * 100
    (tmp_path / "0.root").write_bytes(damaged)

    @em.kernel(n=np.zeros(1, np.int64), added=np.zeros(1, np.int64))
    def kernel(n, added, x):
        n[0] += 1
        added[0] += x

    analysis: Any = kernel if kind == "kernel" else total
    result = session.process(em.Dataset(str(tmp_path / "0.root"), tree="Events"), analysis, on_error="skip")
    found = lost(result.result(SECONDS))
    assert set(range(50 * BASKET, 51 * BASKET)) <= found
    assert len(found) <= BASKET + 2000
    assert_exact(result.result(SECONDS), found, entries)


@pytest.mark.parametrize("how", ["replaced", "overwritten"])
def test_a_file_that_is_replaced_while_it_is_read_is_not_mixed(session: em.Session, tmp_path: Path, how: str) -> None:
    """What was committed of the old file counts; the rest is listed, and nothing of the new one is in the result."""
    write(tmp_path / "0.root", 0, 10 * EACH)
    write(tmp_path / "new", 10**6, 10 * EACH + 1000)

    changed = str(tmp_path / "changed")

    def slowly(events: Any) -> dict[str, int]:
        if not os.path.exists(changed):  # noqa: PTH110
            time.sleep(1e-3 * len(events))
        return total(events)

    query = session.process(em.Dataset(str(tmp_path / "0.root"), tree="Events"), slowly, on_error="skip")
    eventually(lambda: query.account.processed > 0 or query.state != "running", f"something is committed of {query}")
    assert query.state == "running", query.account
    if how == "replaced":
        (tmp_path / "new").rename(tmp_path / "0.root")
    else:
        (tmp_path / "0.root").write_bytes((tmp_path / "new").read_bytes())
    Path(changed).touch()
    result = query.result(SECONDS)
    found = lost(result)
    assert found
    assert_exact(result, found, 10 * EACH)
    assert any("changed" in it.reason or "written to" in it.reason for it in result.account.lost)
