"""Disks that are full or can only be read: a query is not forgotten, and none fails that needs no room."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
from eventmill.protocol.errors import AnalysisError
from processes import SECONDS, Standing, eventually
from small_disk import SmallDisk, small_disk
from sums import ENTRIES, SUM, Gate, committed, total


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 24 << 20) as made:
        yield made


@pytest.fixture
def fleet(disk: SmallDisk) -> Iterator[Standing]:
    """A master whose keys and journal are on a small disk, and a worker."""
    made = Standing(disk.folder / "state")
    made.worker(slots=2)
    yield made
    made.close()


@pytest.mark.long("it waits for checkpoints")
def test_a_query_that_a_full_disk_has_no_room_for_is_written_down_with_the_next_checkpoint(
    fleet: Standing, disk: SmallDisk, numbers: em.Dataset, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """`process` says so, and the account; once there is room, a master that is killed has it, under its number. A result
    that has no room in the end says so."""
    with fleet.connect() as session:
        assert session.process(numbers, gate.total, name="first").name == "first"
        disk.fill()
        query = session.process(numbers, gate.unhurried)
        assert "the journal cannot be written" in caplog.text
        assert "if the master dies now, this query is lost" in caplog.text
        eventually(lambda: committed(query), "the query runs")
        eventually(lambda: any("this query is lost" in note for note in query.account.notes), "its account says so")
        disk.free()
        eventually(lambda: not query.account.notes, "it is written down")
        number = query.id
        fleet.crash()
        fleet.start_master()
        gate.open()
        result = query.result(SECONDS)
        assert (query.id, result.value, result.account.processed) == (number, SUM, ENTRIES)
        assert not result.account.notes
        disk.fill()
        result = session.process(numbers, total).result(SECONDS)
        assert result.value == SUM
        assert any("the journal could not be written when the query ended" in note for note in result.account.notes)


@em.kernel(sum=np.zeros(1, np.int64))
def kernel(sum: Any, number: Any) -> None:  # noqa: A002 - what comes out is called so
    sum[0] += number


@pytest.fixture
def own(beside: Path) -> Any:
    """Modules beside the script, which travel with its analyses."""
    (beside / "own_words.py").write_text("def spoken(number):\n    return number\n")
    (beside / "own_numbers.py").write_text("def counted(number):\n    return number + 1\n")
    (beside / "own_rest.py").write_text("def spoken(number):\n    return 2 * number\n")
    import own_numbers  # type: ignore[import-not-found]
    import own_rest  # type: ignore[import-not-found]
    import own_words  # type: ignore[import-not-found]

    return own_words, own_numbers, own_rest


def talkative(module: Any) -> Callable[..., int]:
    """An analysis that prints, and calls what is in a module of the user's."""

    def total(events: ak.Array) -> int:
        print("I have met", len(events), "events", "x" * 3000)
        print("oh", file=sys.stderr)
        return int(ak.sum((getattr(module, "spoken", None) or module.counted)(events.number)))

    return total


@pytest.mark.long("sessions of its own on disks of its own")
def test_no_room_for_temporary_files_or_in_the_cache_fails_no_query_that_needs_none(
    disk: SmallDisk, numbers: em.Dataset, own: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that prints, one that brings modules along, one that is compiled; modules have another place. If that is full,
    too, the error says so."""
    words, counted, rest = own
    made = Standing(tmp_path / "state")
    try:
        # Not below tmp_path, which may be too long for sockets: workers have another folder for them then.
        with (
            tempfile.TemporaryDirectory(prefix="small-") as short,
            small_disk(Path(short) / "disk", 24 << 20) as temporary,
        ):
            monkeypatch.setenv("TMPDIR", str(temporary.folder))
            monkeypatch.setenv("XDG_CACHE_HOME", str(disk.folder / "cache"))
            worker = made.worker()
            with made.connect() as session:
                assert session.process(numbers, talkative(words)).result(SECONDS).value == SUM
                temporary.fill()
                query = session.process(numbers, talkative(words))
                assert query.result(SECONDS).value == SUM
                assert any("I have met" in line.text for line in query.logs())
                temporary.free()
                disk.fill()
                assert session.process(numbers, talkative(counted)).result(SECONDS).value == SUM + ENTRIES
                assert session.process(numbers, kernel).result(SECONDS)["sum"][0] == SUM
                temporary.fill()
                disk.fill()  # what the compiler could not keep has left some room
                with pytest.raises(
                    AnalysisError, match=r"own_rest .* no place on this worker: neither in .* make room"
                ):
                    session.process(numbers, talkative(rest)).result(SECONDS)
                temporary.free()
                assert session.process(numbers, talkative(rest)).result(SECONDS).value == 2 * SUM
            worker.close()
    finally:
        made.close()


@pytest.mark.long("as above")
def test_a_cache_that_can_only_be_read_fails_no_query(
    disk: SmallDisk, numbers: em.Dataset, own: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Standing(tmp_path / "state")
    try:
        (disk.folder / "cache").mkdir()
        disk.only_read()
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk.folder / "cache"))
        worker = made.worker()
        with made.connect() as session:
            assert session.process(numbers, talkative(own[1])).result(SECONDS).value == SUM + ENTRIES
            assert session.process(numbers, kernel).result(SECONDS)["sum"][0] == SUM
        worker.close()
    finally:
        made.close()
