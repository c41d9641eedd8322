"""Rows that slots write to files, from the user's side: real processes, real files, compared with uproot and awkward."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import AnalysisError, MergeError, OutputError, QueryFailed
from processes import eventually
from xrootd_server import serving

SECONDS = 60


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Two datasets with flat and jagged branches; one of their files is empty. `number` is unique, and not in the order of
    the names of files."""
    folder = tmp_path_factory.mktemp("events")
    random = np.random.default_rng(1)
    files: dict[str, list[str]] = {"tt/bar": [], "data": []}
    first = 0
    for name, dataset, entries in (
        ("b", "tt/bar", 3000),
        ("c", "tt/bar", 0),
        ("a", "tt/bar", 4000),
        ("d", "data", 2000),
    ):
        counts = random.integers(0, 4, entries)
        path = folder / f"{name}.root"
        with uproot.recreate(path) as file:
            tree = file.mktree("Events", {"met": "float32", "number": "int64", "pt": "var * float32"})
            if entries:
                pt = ak.unflatten(random.exponential(30, counts.sum()).astype("f4"), counts)
                number = np.arange(first, first + entries)
                tree.extend({"met": random.exponential(40, entries).astype("f4"), "number": number, "pt": pt})
        files[dataset].append(str(path))
        first += entries
    return files


def expected(files: list[str], least: float = 50) -> ak.Array:
    """The answer, by uproot alone, in the order of the input."""
    arrays = [tree.arrays() for path in files if (tree := uproot.open(path)["Events"]).num_entries]
    every = ak.concatenate(arrays)
    return every[every.met > least][["met", "number", "pt"]]


def skim(folder: Path | str, **options: Any) -> Callable[[ak.Array], dict[str, Any]]:
    def selected(events: ak.Array) -> dict[str, Any]:
        chosen = events[events.met > 50]
        return {"n": len(events), "skim": em.write(chosen[["met", "number", "pt"]], folder, **options)}

    return selected


def sorted_rows(array: ak.Array) -> list[Any]:
    return ak.to_list(array[ak.argsort(array.number)])


def read(path: str) -> ak.Array:
    """What other programs see in a file."""
    if path.endswith(".parquet"):
        return ak.from_parquet(path)
    return uproot.open(path)["Events"].arrays(["met", "number", "pt"])


def left_in(folder: Path) -> list[str]:
    """What else than files and their list is there."""
    return [path.name for path in folder.rglob("*") if path.suffix not in (".parquet", ".root", ".json")]


@pytest.mark.parametrize("form", ["parquet", "root", "rntuple"])
def test_a_skim_has_the_selected_rows_once_by_dataset(
    session: em.Session, events: Any, tmp_path: Path, form: Any
) -> None:
    selected = skim(tmp_path / "out", format=form)
    result = session.process(em.Dataset(events, tree="Events"), selected).result(SECONDS)
    files = result["skim"]
    ending = "parquet" if form == "parquet" else "root"
    assert [(Path(it.path).name, it.dataset) for it in files] == [
        (f"data-0000.{ending}", "data"),
        (f"tt=2Fbar-0000.{ending}", "tt/bar"),
    ]
    for it in files:
        data = Path(it.path).read_bytes()
        rows = read(it.path)
        assert sorted_rows(rows) == sorted_rows(expected(events[it.dataset]))
        assert str(rows.type.content) == "{met: float32, number: int64, pt: var * float32}"
        assert (it.rows, it.bytes) == (len(rows), len(data))
        assert it.checksum == f"adler32:{zlib.adler32(data):08x}"
    assert result["n"] == 9000 and files.rows == sum(it.rows for it in files)
    assert left_in(tmp_path) == ["out"]
    if form != "parquet":
        numbers = session.process(files.dataset(), lambda events: {"sum": ak.sum(events.number), "n": len(events)})
        again = numbers.result(SECONDS)
        right = ak.concatenate([expected(each) for each in events.values()])
        assert (again["n"], again["sum"]) == (files.rows, ak.sum(right.number))


def test_the_order_of_the_input_and_rows_per_file(session: em.Session, events: Any, tmp_path: Path) -> None:
    """Files of a dataset, one after the other, have its rows in the order of its files, not of their names."""
    dataset = em.Dataset(events["tt/bar"], tree="Events", chunk=97)
    files = session.process(dataset, skim(tmp_path, order="input", rows=300)).result(SECONDS)["skim"]
    rows = ak.from_parquet(files.paths)
    right = expected(events["tt/bar"])
    assert ak.to_list(rows) == ak.to_list(right)
    assert [it.rows for it in files] == [300] * (len(right) // 300) + [len(right) % 300]


def test_outputs_of_one_query_in_one_folder_keep_their_own_rows(
    session: em.Session, events: Any, tmp_path: Path
) -> None:
    """The end of one left the other without its pieces, and its list with the files of the first one."""

    def both(events: ak.Array) -> dict[str, Any]:
        few, many = events[events.met > 50], events[events.met <= 50]
        columns = ["met", "number", "pt"]
        return {
            "few": em.write(few[columns], tmp_path, name="few"),
            "many": em.write(many[columns], tmp_path, name="many"),
            "again": em.write(few[columns], tmp_path, name="few", format="root"),
        }

    result = session.process(em.Dataset(events["data"], tree="Events"), both).result(SECONDS)
    (few,), (many,), (again,) = (result[key] for key in ("few", "many", "again"))
    every, selected = expected(events["data"], 0), expected(events["data"])
    assert sorted_rows(read(few.path)) == sorted_rows(read(again.path)) == sorted_rows(selected)
    assert sorted_rows(read(many.path)) == sorted_rows(every[every.met <= 50])
    assert not left_in(tmp_path)

    def alike(events: ak.Array) -> dict[str, Any]:
        return {name: em.write(events, tmp_path / "out", name=name, overwrite=True) for name in ("a", "a-b")}

    datasets = {"b-c": {"files": events["data"]}, "c": {"files": events["data"]}}
    with pytest.raises(OutputError, match=r"a-b-c-0000.parquet is a file of another output of this query, too"):
        session.process(em.Dataset(datasets, tree="Events"), alike).result(SECONDS)


def test_values_that_may_be_missing_and_nested_ones(session: em.Session, events: Any, tmp_path: Path) -> None:
    """A column lacks values in some packets only, whose files have them as null all the same; types stay."""

    def analysis(events: ak.Array) -> dict[str, Any]:
        leading = ak.firsts(events.pt)
        if ak.all(events.number < 2000):
            leading = ak.fill_none(leading, np.float32(-1))  # no value is missing here
        record = ak.zip({"x": events.met, "y": events.number}, depth_limit=1)
        words = ak.from_iter(["many" if len(pt) > 1 else "few" for pt in events.pt])
        return {"out": em.write({"leading": leading, "p": record, "word": words, "number": events.number}, tmp_path)}

    dataset = em.Dataset(events["tt/bar"][:1], tree="Events", chunk=1000)
    (file,) = session.process(dataset, analysis).result(SECONDS)["out"]
    rows = ak.from_parquet(file.path)
    rows = rows[ak.argsort(rows.number)]
    right = uproot.open(events["tt/bar"][0])["Events"].arrays()
    leading = ak.to_list(ak.firsts(right.pt))
    assert ak.to_list(rows.leading) == [
        -1.0 if it is None and number < 2000 else it for it, number in zip(leading, right.number, strict=True)
    ]
    assert None in leading[2000:]
    assert ak.to_list(rows.p) == [
        {"x": x, "y": y} for x, y in zip(right.met.tolist(), right.number.tolist(), strict=True)
    ]
    assert ak.to_list(rows.word) == ["many" if n > 1 else "few" for n in ak.num(right.pt)]


def test_no_row_at_all_makes_a_file_with_the_schema(session: em.Session, events: Any, tmp_path: Path) -> None:
    def nothing(events: ak.Array) -> dict[str, Any]:
        return {"out": em.write(events[events.met < 0][["met", "number", "pt"]], tmp_path)}

    (file,) = session.process(em.Dataset(events["data"], tree="Events"), nothing).result(SECONDS)["out"]
    rows = ak.from_parquet(file.path)
    assert (file.rows, len(rows)) == (0, 0)
    assert str(rows.type) == "0 * {met: float32, number: int64, pt: var * float32}"


def test_files_that_are_there_are_refused_or_replaced(session: em.Session, events: Any, tmp_path: Path) -> None:
    dataset = em.Dataset(events["tt/bar"], tree="Events")
    first = session.process(dataset, skim(tmp_path, rows=100)).result(SECONDS)["skim"]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=r"rows-0000.parquet is there already: .*overwrite=True"):
        session.process(dataset, skim(tmp_path)).result(SECONDS)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    again = session.process(dataset, skim(tmp_path, overwrite=True)).result(SECONDS)["skim"]
    assert len(first) > 1 and len(again) == 1
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == [
        "rows-0000.parquet"
    ]  # of the earlier ones, none
    assert len(list(tmp_path.glob(".*.json"))) == 1
    assert sorted_rows(ak.from_parquet(tmp_path)) == sorted_rows(expected(events["tt/bar"]))


def test_a_tree_as_nanoaod_has_one_counter_for_a_collection(session: em.Session, tmp_path: Path) -> None:
    """`nMuon` counts Muon_pt and Muon_eta in the skim, too; where it does not, that is said."""
    with uproot.recreate(tmp_path / "nano.root") as file:
        pt = ak.Array([[1.0, 2.0], [], [3.0]])
        muons = ak.zip({"pt": pt, "eta": -pt})
        tree = file.mktree("Muons", {"Muon": muons.type.content, "met": "float64"})
        tree.extend({"Muon": muons, "met": np.array([5.0, 6.0, 7.0])})
    dataset = em.Dataset(str(tmp_path / "nano.root"), tree="Muons")
    (out,) = session.process(
        dataset, lambda events: {"out": em.write(events[events.met > 5], tmp_path / "out", format="root")}
    ).result(SECONDS)["out"]
    tree = uproot.open(out.path)["Events"]
    assert sorted(tree.keys()) == ["Muon_eta", "Muon_pt", "met", "nMuon"]
    assert ak.to_list(tree.arrays(["nMuon", "Muon_pt", "Muon_eta", "met"])) == ak.to_list(
        uproot.open(dataset.files[0].path)["Muons"].arrays()[1:]
    )

    def cut(events: ak.Array) -> dict[str, Any]:
        kept = events[["nMuon", "Muon_eta"]]
        kept["Muon_pt"] = events.Muon_pt[events.Muon_pt > 1]
        return {"out": em.write(kept, tmp_path / "cut", format="root")}

    def differ(events: ak.Array) -> dict[str, Any]:
        kept = ak.with_field(events, events.Muon_pt + 1, "Muon_pt")
        return {"out": em.write(kept, tmp_path / "cut", format="root")}

    with pytest.raises(MergeError, match=r"Muon\.pt and Muon_pt differ, and would be one column"):
        session.process(dataset, differ).result(SECONDS)
    with pytest.raises(OutputError, match="nMuon is not how many elements Muon_pt has in each row"):
        session.process(dataset, cut).result(SECONDS)


def early(events: ak.Array) -> bool:
    return bool(ak.any(events.number < 1000))


def union(events: ak.Array) -> ak.Array:
    return ak.concatenate([events.met, ak.Array(["a"])])


REFUSED: dict[str, tuple[type[Exception], str, Callable[[ak.Array, Path], Any]]] = {
    "no folder": (OutputError, r"on \S+: .*file/out.* cannot be written to: Not a directory",
                  lambda events, folder: em.write(events, folder / "file" / "out")),
    "a union": (OutputError, "Parquet cannot hold the column 'mix': values of several kinds",
                lambda events, folder: em.write({"mix": union(events)}, folder / "out")),
    "other types": (MergeError, "the column 'x' is (float32|int64) in one packet and (float32|int64) in another",
                    lambda events, folder: em.write({"x": events.met if early(events) else events.number}, folder / "out")),
    "another column": (MergeError, "there is a column 'extra' in one packet, and none in another",
                       lambda events, folder: em.write(
                           {"x": events.met, **({"extra": events.met} if early(events) else {})}, folder / "out")),
    "lengths": (MergeError, "columns of different lengths: x [0-9,]+, y [0-9,]+",
                lambda events, folder: em.write({"x": events.met, "y": events.met[1:]}, folder / "out")),
    "no names": (MergeError, "an array of float32 without names: give a dict",
                 lambda events, folder: em.write(events.met, folder / "out")),
    "no array": (MergeError, "a builtins.list; give an awkward array of records",
                 lambda events, folder: em.write([1, 2], folder / "out")),
    "missing values": (OutputError, "a TTree cannot hold the column 'x': values that may be missing; .*fill_none",
                       lambda events, folder: em.write({"x": ak.firsts(events.pt)}, folder / "out", format="root")),
    "nested lists": (OutputError, "a TTree cannot hold the column 'x': lists of more than numbers; write format='rntuple'",
                     lambda events, folder: em.write({"x": events.pt[:, np.newaxis]}, folder / "out", format="root")),
    "missing records": (OutputError, "an RNTuple cannot hold the column 'x': records that may be missing; write ",
                        lambda events, folder: em.write(
                            {"x": ak.firsts(ak.zip({"pt": events.pt}))}, folder / "out", format="rntuple")),
    "one number": (MergeError, "the column 'x' is one float; give it a value for each row, an array",
                   lambda events, folder: em.write({"x": 1.5, "y": events.met}, folder / "out")),
    "two of a name": (OutputError, "two outputs in .*out whose files have the same names: give em.write a name=",
                      lambda events, folder: [em.write(events, folder / "out"), em.write(events, folder / "out")]),
    "a format": (AnalysisError, "there is no format 'csv'; there are parquet, root, rntuple",
                 lambda events, folder: em.write(events, folder / "out", format="csv")),  # type: ignore[arg-type]
}  # fmt: skip
"""What is wrong: its error, its words, and how it is returned."""


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_written_is_refused_in_a_line(
    session: em.Session, events: Any, tmp_path: Path, what: str
) -> None:
    kind, words, make = REFUSED[what]
    (tmp_path / "file").touch()
    dataset = em.Dataset(events["tt/bar"], tree="Events", chunk=501)
    with pytest.raises(kind, match=words) as caught:
        session.process(dataset, lambda events: {"out": make(events, tmp_path)}).result(SECONDS)
    assert "\n" not in str(caught.value)
    # Not by rglob, to which it is an error that a slot removes the folder of its pieces meanwhile.
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name.endswith(".parquet")]


def test_abort_leaves_no_file_and_stop_those_that_count(session: em.Session, tmp_path: Path) -> None:
    """Pieces are on disk when it is aborted; none of them is left."""

    def endless(cycles: Any) -> dict[str, Any]:
        some = cycles.number[cycles.number % 1000 == 0]
        return {"n": len(some), "out": em.write({"cycle": some}, tmp_path / "out")}

    def begun() -> em.Query:
        query = session.process(em.cycles(10**10, seed=1), endless)
        next(query.stream())
        return query

    aborted = begun()
    assert list((tmp_path / "out").glob(".eventmill-*/*.piece"))
    aborted.abort()
    with pytest.raises(QueryFailed):
        aborted.result(SECONDS)
    eventually(lambda: not list((tmp_path / "out").iterdir()), "both slots have heard of it")
    stopped = begun()
    stopped.stop()
    result = stopped.result(SECONDS)
    rows = ak.from_parquet(result["out"].paths)
    assert len(rows) == result["n"] > 0 and len(np.unique(rows.cycle)) == len(rows)


def test_a_killed_slot_leaves_its_rows_once(session: em.Session, events: Any, tmp_path: Path) -> None:
    """A slot is killed with rows that are in no piece yet; they are done again."""
    selected = skim(tmp_path / "out")

    def deadly(events: ak.Array) -> dict[str, Any]:
        if ak.any(events.number == 2500) and not (tmp_path / "dead").exists():
            (tmp_path / "dead").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return selected(events)

    result = session.process(em.Dataset(events["tt/bar"], tree="Events", chunk=100), deadly).result(SECONDS)
    rows = ak.from_parquet(result["skim"].paths)
    assert sorted_rows(rows) == sorted_rows(expected(events["tt/bar"])) and result["n"] == 7000
    assert sorted(left_in(tmp_path)) == ["dead", "out"]


@pytest.mark.parametrize("checksums", [True, False])
def test_a_skim_on_an_xrootd_server(session: em.Session, events: Any, tmp_path: Path, checksums: bool) -> None:
    """With a server that makes checksums, and one that does not; the files go on as a dataset of that server."""
    with serving("xrootd.chksum max 2 adler32 crc32\n" if checksums else "") as server:
        target = f"{server.url}/store/skim"
        dataset = em.Dataset(events, tree="Events")
        files = session.process(dataset, skim(target, format="root")).result(SECONDS)["skim"]
        again = session.process(files.dataset(), lambda events: {"sum": ak.sum(events.number), "n": len(events)})
        right = ak.concatenate([expected(each) for each in events.values()])
        assert (again.result(SECONDS)["n"], again.result()["sum"]) == (len(right), ak.sum(right.number))
        folder = server.folder / "store" / "skim"
        for it in files:
            data = (folder / Path(it.path).name).read_bytes()
            assert it.path.startswith(target) and it.checksum == f"adler32:{zlib.adler32(data):08x}"
        assert sorted(path.suffix for path in folder.rglob("*")) == [".json", ".root", ".root"]
        with pytest.raises(OutputError, match="is there already"):
            session.process(dataset, skim(target, format="root")).result(SECONDS)
        (server.folder / "mine").mkdir(mode=0o555)
        with pytest.raises(
            OutputError, match=r"on \S+: root://.*/mine/skim/.* cannot be written to, for .*: .*permission denied"
        ):
            session.process(dataset, skim(f"{server.url}/mine/skim")).result(SECONDS)


def test_a_skim_where_fsspec_writes(session: em.Session, events: Any, tmp_path: Path) -> None:
    files = session.process(em.Dataset(events, tree="Events"), skim(f"local://{tmp_path}/skim")).result(SECONDS)["skim"]
    rows = ak.concatenate([ak.from_parquet(tmp_path / "skim" / Path(it.path).name) for it in files])
    assert sorted_rows(rows) == sorted_rows(ak.concatenate([expected(each) for each in events.values()]))
    assert sorted(path.suffix for path in (tmp_path / "skim").rglob("*")) == [".json", ".parquet", ".parquet"]
    with pytest.raises(OutputError, match="nowhere:// cannot be written to: Protocol not known"):
        session.process(em.Dataset(events, tree="Events"), skim("nowhere://skim")).result(SECONDS)


@pytest.mark.long("writes rows until files are full")
def test_full_files_are_joined_while_the_query_runs(session: em.Session, tmp_path: Path) -> None:
    """Under no name of their own before the end, when they have every row once."""

    def endless(cycles: Any) -> dict[str, Any]:
        some = cycles.number[cycles.number % 5_000 == 0]
        return {"n": len(some), "out": em.write({"cycle": some}, tmp_path, size=0.01)}

    query = session.process(em.cycles(10**10, seed=1), endless)
    for _ in query.stream():
        if len(list(tmp_path.glob(".eventmill-*/*-rows-????.parquet"))) >= 2:
            break
    assert query.state == "running" and not list(tmp_path.glob("*.parquet"))
    query.stop()
    result = query.result(SECONDS)
    cycles = ak.from_parquet(result["out"].paths).cycle
    assert len(cycles) == result["n"] == len(np.unique(cycles)) and len(result["out"]) > 2
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", *[".parquet"] * len(result["out"])]
