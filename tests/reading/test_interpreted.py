"""Branches that are read as the user says: KM3NeT's online files, with uproot's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.dataset.shared_inputs import SharedInputs, interpretations_of
from eventmill.packetizer.listed_entries import EntryList
from eventmill.protocol.errors import DatasetError
from eventmill.protocol.messages import FriendTree
from eventmill.reading.columns import Jagged
from eventmill.reading.interpreted import unpacked
from eventmill.reading.lazy_events import layout_of
from eventmill.reading.selection import Selection
from eventmill.reading.tree_series import open_tree
from eventmill.reading.view import View
from processes import Standing
from skhep_testdata import data_path
from uproot.interpretation.custom import CustomInterpretation
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

FILE = data_path("uproot-issue434.root")
TREE = "KM3NET_EVENT"
HIT = [("dom_id", ">i4"), ("channel_id", "u1"), ("time", ">u4"), ("tot", "u1")]
HITS = AsJagged(AsDtype(HIT), header_bytes=10)
BYTES = AsJagged(AsDtype("u1"), header_bytes=10)
HEADER = AsDtype(
    [(f" {name}{i}", kind) for i in range(3) for name, kind in (("cnt", ">u4"), ("vers", ">u2"))]
    + [("detector_id", ">i4"), ("run", ">i4"), ("frame_index", ">i4")]
    + [(f" rest{i}", ">u2") for i in range(13)]
    + [("trigger", ">u8"), ("mask", ">u8"), ("overlays", ">u4")]
)


def uproots(name: str, kind: Any) -> ak.Array:
    with uproot.open(FILE) as file:
        return file[TREE][name].array(kind)


def view_of(path: str = FILE, tree: str = TREE, **kinds: Any) -> View:
    return View(open_tree(path, tree), {}, SharedInputs(), kinds=unpacked(interpretations_of(kinds)))


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (1, 2), (2, 2), (2, 3)])
def test_columns_are_what_uproot_reads_at_any_cut(start: int, stop: int) -> None:
    view = view_of(snapshotHits=HITS)
    right = uproots("snapshotHits", HITS)[start:stop]
    events = view.events(start, stop)
    assert ak.to_list(events.snapshotHits.tot) == ak.to_list(right.tot)
    assert ak.to_list(events.snapshotHits[events.snapshotHits.tot > 30].time) == ak.to_list(right[right.tot > 30].time)
    listed = Selection(view, EntryList([0, 3])).array("snapshotHits", start, stop)
    assert ak.to_list(listed) == ak.to_list(right)


def test_lists_of_numbers_are_columns_for_kernels() -> None:
    column = view_of(snapshotHits=BYTES).read(["snapshotHits"], 1, 3)["snapshotHits"]
    right = uproots("snapshotHits", BYTES)[1:3]
    assert isinstance(column, Jagged) and np.diff(column.offsets).tolist() == ak.num(right).to_list()
    assert column.content.values.tolist() == ak.flatten(right).to_list()  # type: ignore[union-attr]
    with pytest.raises(
        DatasetError, match=r"snapshotHits of .*, read as var .* by its interpretation, cannot be used in a"
    ):
        view_of(snapshotHits=HITS).read(["snapshotHits"], 0, 1)


class FirstBytes(CustomInterpretation):  # type: ignore[misc]
    """A user's own: the first byte behind the header of each entry."""

    def basket_array(self, data: Any, byte_offsets: Any, *rest: Any) -> Any:
        return data[byte_offsets[:-1] + 10]

    def final_array(
        self, basket_arrays: Any, start: int, stop: int, entry_offsets: Any, library: Any, branch: Any, options: Any
    ) -> Any:
        whole = np.concatenate([basket_arrays[i] for i in sorted(basket_arrays)])
        return ak.Array(whole[start - entry_offsets[0] : stop - entry_offsets[0]])


@em.kernel(tot=np.zeros(1), run=np.zeros(1))
def summed(tot: Any, run: Any, tots: Any, run_number: Any) -> None:
    for i in range(len(tots)):
        tot[0] += tots[i]
    run[0] += run_number


def test_queries_have_each_its_own_in_columns_and_kernels(standing: Standing) -> None:
    """In the same slot, which keeps the file open from one to the next."""
    hits, raw = uproots("snapshotHits", HITS), uproots("snapshotHits", BYTES)
    aliases = {"tots": "snapshotHits.tot", "run_number": 'events["KM3NETDAQ::JDAQEventHeader"].run'}
    kinds = {"snapshotHits": HITS, "KM3NETDAQ::JDAQEventHeader": HEADER}
    with standing.connect() as session:

        def result(analysis: Any, **about: Any) -> Any:
            return session.process(em.Dataset(FILE, tree=TREE, **about), analysis).result()

        both = result(summed, interpretations=kinds, aliases=aliases)
        assert (both["tot"].tolist(), both["run"].tolist()) == ([float(ak.sum(hits.tot))], [3 * 6633.0])
        for _ in range(2):
            found = result(lambda events: {"n": ak.sum(events.snapshotHits)}, interpretations={"snapshotHits": BYTES})
            assert found["n"] == int(ak.sum(raw))
            found = result(lambda events: {"n": ak.sum(events.snapshotHits.tot)}, interpretations=kinds)
            assert found["n"] == int(ak.sum(hits.tot))
        first = result(lambda events: {"n": ak.sum(events.snapshotHits)}, interpretations={"snapshotHits": FirstBytes})
        assert first["n"] == int(ak.sum(raw[:, 0]))
        with pytest.raises(DatasetError, match=r"cannot be read in its branch snapshotHits.*interpretations"):
            result(lambda events: {"n": ak.sum(events.snapshotHits.tot)})


def test_one_that_does_not_fit_is_told_when_it_is_touched() -> None:
    view = view_of(snapshotHits=AsDtype(">i8"), triggeredHits=BYTES)
    assert len(view.events(0, 3)) == 3 and ak.count(view.events(0, 3).triggeredHits) > 0
    with pytest.raises(DatasetError, match=r"cannot be read in its branch snapshotHits: .*wrong number of bytes"):
        ak.sum(view.events(0, 3).snapshotHits)


def test_an_alias_of_what_cannot_be_read_tells_why() -> None:
    """It said that no column is called so."""
    shared = SharedInputs(aliases={"run": 'events["KM3NETDAQ::JDAQEventHeader"].run'})
    with pytest.raises(
        DatasetError, match=r"cannot be read in its branch KM3NETDAQ::JDAQEventHeader: .*interpretations"
    ):
        View(open_tree(FILE, TREE), {}, shared).read(["run"], 0, 1)


def test_a_branch_that_is_not_there_and_an_ntuple_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"has no branch snapshotHit in its tree .*; the nearest names are snapshotHits"
    ):
        view_of(snapshotHit=HITS)
    with uproot.recreate(tmp_path / "n.root") as file:
        file.mkrntuple("n", {"x": np.ones(3)})
    with pytest.raises(DatasetError, match=r"RNTuple, and interpretations are of the branches of TTrees"):
        view_of(str(tmp_path / "n.root"), "n", x=BYTES).array("x", 0, 3)


@pytest.mark.parametrize("order", [None, [2, 0, 1, 1]])
def test_branches_of_friends_are_read_so_too(tmp_path: Path, order: list[int] | None) -> None:
    """By the same numbers, and where a column says which entry of the friend belongs to each."""
    with uproot.recreate(tmp_path / "main.root") as file:
        file.mktree("t", {"which": "int32"})
        file["t"].extend({"which": np.array(order or [0, 1, 2], "i4")})
    told = None if order is None else {"online": FriendTree(FILE, TREE, index="which")}
    kinds = unpacked(interpretations_of({"online.snapshotHits": HITS, "online.triggeredHits": BYTES}))
    main, friend = open_tree(str(tmp_path / "main.root"), "t"), open_tree(FILE, TREE)
    view = View(main, {"online": friend}, SharedInputs(aliases={"tots": "online.snapshotHits.tot"}), told, kinds)
    hits, raw = (
        uproots(name, kind)[order or [0, 1, 2]] for name, kind in (("snapshotHits", HITS), ("triggeredHits", BYTES))
    )
    for start, stop in ((0, 3), (1, 2), (2, 2)):
        events = view.events(start, stop)
        for found in (events.online.snapshotHits, events.online_snapshotHits, events.snapshotHits):
            assert ak.to_list(found.tot) == ak.to_list(hits[start:stop].tot)
        columns = view.read(["online_triggeredHits", "tots", "which"], start, stop)
        assert ak.to_list(layout_of(columns["online_triggeredHits"])) == ak.to_list(raw[start:stop])
        assert ak.to_list(layout_of(columns["tots"])) == ak.to_list(hits[start:stop].tot)
    with pytest.raises(DatasetError, match=r"has no branch snapshotHit in its tree KM3NET_EVENT"):
        View(main, {"online": friend}, SharedInputs(), told, unpacked(interpretations_of({"online.snapshotHit": HITS})))


def test_trees_that_are_one_table_are_read_so_too(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "s.root") as file:
        for folder in ("a", "b"):
            file.mktree(f"{folder}/t", {"x": "int32"})
            file[f"{folder}/t"].extend({"x": np.array([1, 256], "i4")})
    view = view_of(str(tmp_path / "s.root"), "*/t", x=AsDtype(np.dtype(("u1", (4,)))))
    assert ak.to_list(view.events(1, 4).x) == [[0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0]]


def test_lists_do_not_take_their_lengths_from_a_counter_that_is_read_in_another_way(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "c.root") as file:
        file.mktree("t", {"x": "var * float64"})
        file["t"].extend({"x": ak.Array([[1.0, 2.0], [], [3.0]])})
    view = view_of(str(tmp_path / "c.root"), "t", nx=AsDtype(">f4"))
    events = view.events(0, 3)
    assert events.x.to_list() == [[1, 2], [], [3]] and ak.num(events.x).to_list() == [2, 0, 1]
    assert str(events.nx.type) == "3 * float32" and events.nx[1] == 0
    assert np.diff(view.read(["x"], 0, 3)["x"].offsets).tolist() == [2, 0, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ({"x": "f4"}, "the interpretation of x is 'f4': it must be one of uproot's"),
        ({"x": AsJagged(AsDtype("f4"), (i for i in range(3)))}, "the interpretation of x cannot be sent"),
        (["x"], r"interpretations is \['x'\]: it must be a dict"),
    ],
)
def test_what_is_no_interpretation_is_refused(kinds: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        em.Dataset("a.root", interpretations=kinds)
