"""Queries over Parquet files, with real workers: kernels, functions of events, coffea, looks, and skims of skims."""

from __future__ import annotations

import shutil
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
from eventmill.protocol.errors import DatasetError
from xrootd_server import serving

from benchmarks.range_server import range_server, send_part

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = (5000, 0, 3000)
SECONDS = 60


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Files with flat, jagged and nullable columns, in row groups of 700 rows; one has none."""
    folder, random = tmp_path_factory.mktemp("parquet"), np.random.default_rng(7)
    paths = []
    for number, rows in enumerate(ROWS):
        counts = random.integers(0, 4, rows)
        pt = ak.unflatten(random.exponential(30, counts.sum()), counts)
        met = random.exponential(40, rows)
        table = ak.to_arrow_table(
            ak.zip({"met": met, "pt": pt, "number": 10_000 * number + np.arange(rows)}, depth_limit=1),
            extensionarray=False,
        )
        quality = pa.array(np.where(met > 60, 1, 0), mask=met < 20)
        paths.append(str(folder / f"{number}.parquet"))
        parquet.write_table(table.append_column("quality", quality), paths[-1], row_group_size=700)
    return paths


@pytest.fixture(scope="module")
def rows(files: list[str]) -> ak.Array:
    """All of them, by awkward alone."""
    return ak.concatenate([ak.from_parquet(path) for path in (files[0], files[2])])


def sums(events: ak.Array) -> dict[str, Any]:
    return {
        "n": len(events),
        "met": ak.sum(events.met),
        "pt": ak.sum(events.pt),
        "numbers": ak.sum(events.number),
        "good": ak.sum(events.quality == 1),
        "missing": ak.sum(ak.is_none(events.quality)),
    }


def test_a_function_of_events(session: em.Session, files: list[str], rows: ak.Array) -> None:
    """Each row counts once, whatever the packets, which end where row groups do; only what is touched is read."""
    result = session.process(em.Dataset({"data": files}), sums).result(SECONDS)
    assert dict(result) == pytest.approx(sums(rows))
    assert result.account.processed == sum(ROWS)


def test_a_kernel_and_an_alias_for_what_is_missing(session: em.Session, files: list[str], rows: ak.Array) -> None:
    @em.kernel(n=np.zeros(4))
    def kernel(n: Any, met: float, pt: Any, q: int) -> None:
        n[0] += 1
        n[1] += met
        for each in pt:
            n[2] += each
        n[3] += q

    aliases = {"q": "ak.fill_none(quality, 100)"}
    found = session.process(em.Dataset(files, aliases=aliases), kernel).result(SECONDS)["n"]
    right = [len(rows), ak.sum(rows.met), ak.sum(rows.pt), ak.sum(ak.fill_none(rows.quality, 100))]
    assert found.tolist() == pytest.approx(right)

    @em.kernel(n=np.zeros(1))
    def nulls(n: Any, quality: int) -> None:
        n[0] += quality

    with pytest.raises(
        DatasetError, match=r"column quality of .*\d.parquet, of type \?int64, has values that are missing"
    ):
        session.process(files, nulls).result(SECONDS)


def test_looks(session: em.Session, files: list[str], rows: ak.Array) -> None:
    """Quick looks, sums, entry lists and the catalogue do not care which format a file has."""
    drawn = session.draw(files, "met", bins=(10, 0, 100))
    assert drawn.sum(flow=True) == len(rows)
    assert session.sum({"data": files}, "number")["data"] == ak.sum(rows.number)
    with pytest.raises(DatasetError, match=r"has no tree Runs: it is of Parquet"):
        session.sum({"data": files}, "number", tree="Runs")
    session.datasets.register("of_parquet", files)
    assert session.process(em.Dataset("of_parquet"), sums).result(SECONDS)["n"] == sum(ROWS)
    assert session.datasets.verify("of_parquet").ok


def test_a_skim_of_a_skim(session: em.Session, files: list[str], rows: ak.Array, tmp_path: Path) -> None:
    """What has been written is a dataset to go on with, in any format."""

    def skim(least: float, folder: str, form: Any) -> Any:
        def selected(events: ak.Array) -> dict[str, Any]:
            return {"skim": em.write(events[events.met > least], tmp_path / folder, format=form)}

        return selected

    first = session.process({"data": files}, skim(50, "first", "parquet")).result(SECONDS)["skim"]
    second = session.process(first.dataset(), skim(80, "second", "parquet")).result(SECONDS)["skim"]
    expected = rows[rows.met > 80]
    again = session.process(second.dataset(), sums).result(SECONDS)
    assert dict(again) == pytest.approx(sums(expected))
    assert [file.dataset for file in second] == ["data"]
    right = ak.to_list(expected[ak.argsort(expected.number)])
    found = ak.from_parquet(second.paths)
    assert ak.to_list(found[ak.argsort(found.number)]) == right


def test_far_files(session: em.Session, files: list[str], rows: ak.Array) -> None:
    """Of an XRootD server, found by a pattern, and of a web server, by ranges of bytes."""
    with serving() as server:
        for path in files:
            shutil.copy(path, server.folder)
        assert dict(session.process(f"{server.url}/*.parquet", sums).result(SECONDS)) == pytest.approx(sums(rows))
    content = {f"/{Path(path).name}": Path(path).read_bytes() for path in files}

    def answer(request: BaseHTTPRequestHandler, start: int, stop: int) -> None:
        send_part(request, content[request.path], start, stop)

    with range_server(answer, size=lambda path: len(content[path])) as address:
        urls = [address + name for name in content]
        assert dict(session.process(urls, sums).result(SECONDS)) == pytest.approx(sums(rows))


def test_coffeas_processors(session: em.Session, files: list[str], rows: ak.Array) -> None:
    """NanoEvents of Parquet, by coffea's own factory: chunks of them have their own rows, also across row groups."""
    coffea = pytest.importorskip("coffea.processor")
    from coffea.nanoevents import BaseSchema

    class Sums(coffea.ProcessorABC):  # type: ignore[misc]
        schema = BaseSchema

        def process(self, events: Any) -> dict[str, Any]:
            about = events.metadata
            return {
                "rows": {(about["filename"], about["entrystart"], about["entrystop"])},
                "pt": float(ak.sum(events.pt)),
                "numbers": int(ak.sum(events.number)),
            }

        def postprocess(self, accumulator: Any) -> Any:
            return accumulator

    result = session.process({"data": files}, Sums(), chunk=1000).result(SECONDS)
    assert result["numbers"] == ak.sum(rows.number) and result["pt"] == pytest.approx(ak.sum(rows.pt), rel=1e-4)
    assert sum(stop - start for _, start, stop in result["rows"]) == sum(ROWS)
    with pytest.raises(DatasetError, match=r"its column quality has values that are missing"):
        session.process(files, lambda events: {"q": ak.sum(events.quality)}, schema=BaseSchema).result(SECONDS)


def test_files_that_differ(session: em.Session, files: list[str], tmp_path: Path) -> None:
    """In types, or in which columns there are: an error that names them, or the file is left out and listed."""
    odd, lacking = tmp_path / "odd.parquet", tmp_path / "lacking.parquet"
    parquet.write_table(pa.table({"met": pa.array([1.0], pa.float32()), "number": [1]}), odd)
    parquet.write_table(pa.table({"number": [1]}), lacking)

    def met(events: ak.Array) -> dict[str, Any]:
        return {"met": ak.sum(events.met)}

    with pytest.raises(
        DatasetError, match=r"the type of met changes between files: \??float.*odd.parquet|odd.parquet.*\??float"
    ):
        session.process([*files, str(odd)], met).result(SECONDS)
    with pytest.raises(AttributeError, match=r"events have no met"):
        session.process([*files, str(lacking)], met).result(SECONDS)
    filled = session.process(em.Dataset([files[0], str(lacking)], defaults={"met": 0.0}), met).result(SECONDS)
    assert filled["met"] == pytest.approx(ak.sum(ak.from_parquet(files[0]).met))
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(Path(files[0]).read_bytes()[:-50])
    left = session.process([files[2], str(cut)], met, on_error="skip").result(SECONDS)
    assert [Path(lost.path).name for lost in left.account.lost] == ["cut.parquet"]
