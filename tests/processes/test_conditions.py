"""Conditions and other files beside the data, read by workers from a real server: pinned, once a host, in the account."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import AnalysisError, DatasetError
from eventmill.reading import aux_files
from xrootd_server import XRootDServer

SCALES = [{"since": 1, "until": 9, "scale": 2.0}, {"since": 20, "scale": 3.0}]


@pytest.fixture
def runs(tmp_path: Path) -> em.Dataset:
    """Events of the runs 1 to 9, and 20 to 29."""
    for at, first in enumerate((1, 20)):
        numbers = np.arange(first, first + 9 + at, dtype=np.uint32)
        with uproot.recreate(tmp_path / f"{at}.root") as file:
            file.mktree("Events", {"run": "uint32"})
            file["Events"].extend({"run": numbers})
    return em.Dataset(str(tmp_path / "*.root"), tree="Events")


def test_what_holds_for_a_run_is_read_by_workers_and_is_in_the_account(
    session: em.Session, xrootd_server: XRootDServer, runs: em.Dataset
) -> None:
    """The version that was meant when the analysis was made, and no other."""
    file = xrootd_server.folder / "scales.json.gz"
    file.write_bytes(gzip.compress(json.dumps(SCALES).encode()))
    scales = em.conditions(f"{xrootd_server.url}/scales.json.gz")

    def scaled(events: ak.Array) -> float:
        return float(ak.sum(scales.of(events, "scale")))

    result = session.process(runs, scaled).result()
    assert result.value == 9 * 2.0 + 10 * 3.0
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert result.account.inputs == [f"{xrootd_server.url}/scales.json.gz (sha256 {checksum})"]
    file.unlink()  # this host has it

    def again(events: ak.Array) -> float:
        return 2 * float(ak.sum(scales.of(events, "scale")))

    assert session.process(runs, again).result().value == 2 * 48.0


def test_a_run_of_which_nothing_is_said_is_an_error(session: em.Session, runs: em.Dataset, tmp_path: Path) -> None:
    (tmp_path / "gap.json").write_text(json.dumps({"1": {"scale": 1.0}, "5": {"scale": 2.0}}))
    by_first = em.conditions(tmp_path / "gap.json")
    assert [by_first.at(run)["scale"] for run in (4, 5, 1000)] == [1.0, 2.0, 2.0]
    (tmp_path / "scales.json").write_text(json.dumps(SCALES[:1]))
    scales = em.conditions(tmp_path / "scales.json")

    def scaled(events: ak.Array) -> float:
        return float(ak.sum(scales.of(events, "scale")))

    with pytest.raises(AnalysisError, match=r"scales.json says nothing of run 20: it goes to run 9 before it"):
        session.process(runs, scaled).result()
    part = session.process(runs, scaled, on_error="skip").result()
    assert (part.value, part.account.failed) == (18.0, 10)  # these runs have no conditions, and are listed as lost
    with pytest.raises(AnalysisError, match=r"has no number factor for run 1: it has scale"):
        scales.values([3], "factor")


def test_a_file_that_has_changed_or_is_gone_is_an_error_with_its_name(
    session: em.Session, xrootd_server: XRootDServer, runs: em.Dataset
) -> None:
    url, file = f"{xrootd_server.url}/model.bin", xrootd_server.folder / "model.bin"
    file.write_bytes(b"second")
    meant = em.aux_file(url, checksum=hashlib.sha256(b"first").hexdigest())

    def use(events: ak.Array) -> int:
        return len(meant.read())

    with pytest.raises(AnalysisError, match=r"model.bin has changed since the analysis was made: its SHA-256 was"):
        session.process(runs, use, on_error="skip").result()
    file.unlink()
    with pytest.raises(AnalysisError, match=r"model.bin, which the analysis needs, is not to be had"):
        session.process(runs, use, on_error="skip").result()
    with pytest.raises(DatasetError, match=r"model.bin"):
        em.aux_file(url)
    with pytest.raises(ValueError, match="must be a SHA-256"):
        em.aux_file(url, checksum="abc")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "are no JSON"),
        ("3", "are no intervals"),
        ('[{"run": 3}]', "are no intervals"),
        ('{"first": 1.0}', "'first' where a number of a run should be"),
        ('[{"since": 1, "until": 20}, {"since": 10}]', "what holds since 1 ends at 20, and the next begins at 10"),
        ('[{"since": 5, "until": 4}]', "what holds since 5 ends at 4"),
    ],
)
def test_what_are_no_conditions_is_said_where_they_are_named(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "odd.json").write_text(content)
    with pytest.raises(AnalysisError, match=says):
        em.conditions(tmp_path / "odd.json")


def test_what_cannot_be_had_fails_the_query_once_and_skips_nothing(
    session: em.Session, runs: em.Dataset, tmp_path: Path
) -> None:
    """With `on_error="skip"` it was as if the events were bad that need it: they were left out, packet by packet."""
    (tmp_path / "model.bin").write_bytes(b"second")
    (tmp_path / "odd.json").write_text("{")
    changed = em.aux_file(tmp_path / "model.bin", checksum=hashlib.sha256(b"first").hexdigest())
    odd = em.conditions(tmp_path / "odd.json", checksum=hashlib.sha256(b"{").hexdigest())
    for needs in (changed.read, lambda: odd.at(1)):

        def some(events: ak.Array, needs: object = needs) -> int:
            return needs() and 1 if events.run[0] < 10 else 1  # type: ignore[operator, no-any-return]

        query = session.process(runs, some, on_error="skip")
        with pytest.raises(AnalysisError, match=r"model.bin has changed|odd.json are no JSON"):
            query.result()


def test_kernels_take_what_conditions_say_and_others_are_told_so(
    session: em.Session, runs: em.Dataset, tmp_path: Path
) -> None:
    """As parameters; conditions, files and what is loaded once are refused when the kernel is declared."""
    (tmp_path / "scales.json").write_text(json.dumps(SCALES))
    ecal = em.conditions(tmp_path / "scales.json")

    scale = ecal.correction("scale")

    @em.kernel(total=np.zeros(1))
    def scaled(total, run, scale=scale):  # type: ignore[no-untyped-def]
        total[0] += scale.evaluate(run)

    result = session.process(runs, scaled).result()
    assert result["total"] == [9 * 2.0 + 10 * 3.0]
    checksum = hashlib.sha256((tmp_path / "scales.json").read_bytes()).hexdigest()
    assert result.account.inputs == [f"{tmp_path}/scales.json (sha256 {checksum})"]

    @em.once
    def factors() -> list[float]:
        return [1.0]

    def global_of(total, run):  # type: ignore[no-untyped-def]
        total[0] += ecal.at(run)["scale"]

    def loaded(total, run):  # type: ignore[no-untyped-def]
        total[0] += factors()[run]

    def default(total, run, ecal=ecal):  # type: ignore[no-untyped-def]
        total[0] += ecal.at(run)["scale"]

    for function, said in (
        (global_of, r'global_of cannot use ecal: .*scale=ecal.correction\("scale"\)'),
        (default, r"default cannot use ecal: kernels read no files"),
        (loaded, r"loaded cannot use factors: .*factors=em.constant"),
    ):
        with pytest.raises(AnalysisError, match=said):
            em.kernel(total=np.zeros(1))(function)


def test_kernels_are_given_no_number_of_a_run_of_which_nothing_is_said(session: em.Session, tmp_path: Path) -> None:
    """Protects from the scale of another run: before all, in a gap, behind the last, and where there is no such number."""
    (tmp_path / "scales.json").write_text(
        json.dumps([*SCALES[:1], {"since": 20, "until": 29, "scale": 3}, {"since": 30, "until": 39, "shift": 1.0}])
    )
    ecal = em.conditions(tmp_path / "scales.json")
    scale, numbers = ecal.correction("scale"), [-1, 0, 1, 9, 10, 19, 20, 29, 30, 39, 40, 2**40]
    with uproot.recreate(tmp_path / "events.root") as file:
        file["Events"] = {"run": np.array(numbers)}

    @em.kernel(total=np.zeros(1), seen=np.zeros(50, np.int64))
    def scaled(total, seen, run, scale=scale):  # type: ignore[no-untyped-def]
        total[0] += scale.evaluate(run)
        seen[run] += 1

    data = em.Dataset(str(tmp_path / "events.root"), tree="Events")
    with pytest.raises(IndexError, match=r"scale of .*scales.json"):
        session.process(data, scaled).result()
    result = session.process(data, scaled, on_error="skip").result()
    assert np.flatnonzero(result["seen"]).tolist() == [1, 9, 20, 29]
    assert result["total"][0] == 2 * 2.0 + 2 * 3.0 == ecal.values([1, 9, 20, 29], "scale").sum()
    assert result.account.processed == 4
    assert ecal.correction("shift").evaluate(39) == 1.0
    with pytest.raises(AnalysisError, match="has no number scael for any run: it has scale"):
        ecal.correction("scael")
    (tmp_path / "far.json").write_text(json.dumps([{"since": 2**53 + 1, "scale": 1.0}]))
    with pytest.raises(AnalysisError, match=r"beyond 2\*\*53 is not exact"):
        em.conditions(tmp_path / "far.json").correction("scale")


def test_the_cache_keeps_what_was_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aux_files._Process, "folder", tmp_path / "cache")
    monkeypatch.setattr(aux_files._Process, "used", set())
    monkeypatch.setattr(aux_files, "LARGEST_CACHE", 250)
    files = []
    for at in range(3):
        (tmp_path / f"{at}").write_bytes(bytes([at]) * 100)
        files.append(em.aux_file(tmp_path / f"{at}"))
    kept = {path.name for path in (tmp_path / "cache").iterdir()}
    assert kept == {files[1].checksum, files[2].checksum}
    assert files[0].read() == bytes(100)  # it is read again
