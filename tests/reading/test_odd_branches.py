"""One branch that cannot be read keeps no other from being read, in any way to use a tree, and is refused in words.

`data/write_odd_branches.py` has written the file; its formulas are the right values.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Flat, Jagged
from eventmill.reading.reader import Reader
from eventmill.reading.ttree import interpretations
from eventmill.reading.view import View

PATH = str(Path(__file__).parents[1] / "data" / "odd_branches.root")
EVENTS = 60
X = [i / 2 for i in range(EVENTS)]
LIST = [[i + j for j in range(i % 3)] for i in range(EVENTS)]
REFUSED = {
    "objects": {
        "lists": r"branch lists: .*\(it has several leaves, which are lists\); it is of type a\[n\]/F:b\[n\]/I\. .*Define",
        "array": r"branch array: .*\(TObjArray makes no awkward array\); it is of type TObjArray\. .*Snapshot",
        "histogram": r"branch histogram: .*\(TList makes no awkward array\); it is of type TH1F\. .*Snapshot",
        "empty": r"branch empty of .* has fewer entries than its tree objects",
    },
    "ntuple": {
        "streamed": r"branch streamed: Unsplit fields are not supported; it is of type TLorentzVector\. .*Define"
    },
}
ALL = [(tree, name) for tree, refused in REFUSED.items() for name in refused]


@pytest.fixture(params=REFUSED)
def tree(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["opened", "told"])
def reader(tree: str, request: pytest.FixtureRequest) -> Reader:
    """A tree as the slot that opens it has it, and as others have it who were told its layout."""
    first = Reader(PATH, tree)
    return first if request.param == "opened" else Reader(PATH, tree, layout=first.news())


def test_columns_beside_odd_ones_are_read(reader: Reader) -> None:
    events = reader.events(0, EVENTS)
    assert len(events) == EVENTS and not {"lists", "array", "histogram", "streamed"} & set(events.fields)
    assert events.x.tolist() == X and events.list.tolist() == LIST
    assert events[events.x > 10].list.tolist() == LIST[21:]
    assert events[7:9].x.tolist() == X[7:9]


def test_kernels_that_name_other_branches_run(reader: Reader) -> None:
    columns = reader.read(["x", "list"], 10, 20)
    assert isinstance(columns["x"], Flat) and isinstance(columns["list"], Jagged)
    assert columns["x"].values.tolist() == X[10:20]
    assert np.diff(columns["list"].offsets).tolist() == [i % 3 for i in range(10, 20)]
    assert reader.layout(["x"]).entries == reader.layout().entries == EVENTS and reader.stride() > 0


@pytest.mark.parametrize(("tree", "name"), ALL)
def test_who_touches_one_is_told_which_of_what_type_and_what_to_do(reader: Reader, tree: str, name: str) -> None:
    """Whatever way it is asked for: by a kernel, a columnar function, as a friend's."""
    for ask in (
        lambda: reader.read([name], 0, EVENTS),
        lambda: reader.array(name, 0, EVENTS),
        lambda: View(Reader(PATH, "objects"), {"other": reader}, SharedInputs()).read([f"other_{name}"], 0, EVENTS),
    ):
        with pytest.raises(DatasetError, match=REFUSED[tree][name]) as raised:
            ask()
        assert PATH in str(raised.value) and len(str(raised.value)) < 600 and not raised.value.transient


def test_a_friend_or_an_alias_of_such_a_tree_is_read(reader: Reader) -> None:
    view = View(reader, {"other": reader}, SharedInputs(aliases={"double": "2 * x", "most": "ak.sum(list, axis=1)"}))
    events = view.events(0, EVENTS)
    assert len(events) == EVENTS and events.other.x.tolist() == X
    assert events.double.tolist() == [2 * x for x in X] and events.most.tolist() == [sum(some) for some in LIST]


def test_types_are_compared_though_one_is_unknown(reader: Reader, tree: str) -> None:
    """Before files are read together the types of their columns are."""
    found = reader.types(["x", *REFUSED[tree]])
    assert found["x"] == "float32" and set(found) == {"x", *REFUSED[tree]}


@pytest.mark.parametrize(
    "error",
    [UnboundLocalError("x"), KeyError("m"), RecursionError("deep"), NotImplementedError("not yet"), AssertionError()],
)
def test_whatever_uproot_raises_for_a_branch_is_said_of_this_branch(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    original = interpretations.interpretation_of

    def raising(branch: Any, *rest: Any) -> Any:
        if branch.name == "histogram":
            raise error
        return original(branch, *rest)

    monkeypatch.setattr(interpretations, "interpretation_of", raising)
    reader = Reader(PATH, "objects")
    events = reader.events(0, EVENTS)
    assert len(events) == EVENTS and "histogram" not in events.fields and events.x.tolist() == X
    with pytest.raises(
        DatasetError, match=r"branch histogram: uproot does not know a type in it .*; it is of type TH1F"
    ):
        reader.array("histogram", 0, 1)
    assert reader.array("named", 0, 1).fields == ["fName", "fTitle"], "it is read without uproot"


def test_objects_that_uproot_could_not_read_are_read() -> None:
    reader = Reader(PATH, "objects")
    assert reader.array("bits", 0, EVENTS).fAllBits.tolist() == [[min(2 ** (i + 1) - 1, 255)] for i in range(EVENTS)]


# --- structures in a row ----------------------------------------------------------------------------------------------


def test_structures_up_to_the_end_of_a_basket_are_read() -> None:
    """uproot asks for the next basket, too, which was not read: any chunk that ends where a basket does was an error."""
    edges = Reader(PATH, "objects").layout(["p4"]).clusters
    assert len(edges) > 4
    reader = Reader(PATH, "objects")
    more = [(0, edges[1]), (edges[1], edges[3]), (3, edges[2]), (0, EVENTS)]
    for start, stop in [*itertools.pairwise(edges), *more]:
        array = reader.array("p4", start, stop)
        assert array.fP.fX.tolist() == list(range(start, stop)) and array.fE.tolist() == list(
            range(start + 1, stop + 1)
        )
        plain = reader.names["p4"].array(entry_start=start, entry_stop=stop)
        assert ak.array_equal(plain, array), "a coffea processor reads it so"
