"""Lists of records of columns that share no counter: what is read, what is compared, and what stays reachable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.protocol.errors import AnalysisError
from eventmill.reading.groups import Group, nested
from eventmill.reading.reader import Reader
from eventmill.reading.view import View

EVENTS = 200
rng = np.random.default_rng(5)
COUNTS = rng.poisson(2, EVENTS)
TRACKS = rng.poisson(5, EVENTS)


def lists(counts: Any) -> ak.Array:
    return ak.unflatten(rng.exponential(30.0, int(counts.sum())), counts)


COLUMNS = {
    "lep_n": COUNTS.astype("int32"),
    "lep_pt": lists(COUNTS),
    "lep_eta": lists(COUNTS),
    "lep_phi": lists(COUNTS),
    "jet_trk_pt": lists(TRACKS),
    "jet_pt": lists(COUNTS),
    "jet_eta": lists(COUNTS),
}


@pytest.fixture(scope="module", params=["TTree", "RNTuple"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As uproot writes columns: a counter for each in a tree, none in an RNTuple."""
    made = tmp_path_factory.mktemp("groups") / f"{request.param}.root"
    with uproot.recreate(made) as file:
        if request.param == "TTree":
            file["t"] = COLUMNS
        else:
            file.mkrntuple("t", COLUMNS)
    return made


def reader(path: Path) -> Reader:
    return Reader(str(path), "t")


def touched(opened: Reader) -> set[str]:
    """The columns that were read, but for counters."""
    return {name for name in opened.touched if not name.startswith("n")}


def test_a_selection_reads_what_it_names(path: Path) -> None:
    """It read all columns of the group, and with a number among them it was an error."""
    opened = reader(path)
    events = opened.events(0, EVENTS)
    expected = COLUMNS["lep_eta"][COLUMNS["lep_pt"] > 20]
    assert ak.array_equal(events.lep[events.lep.pt > 20].eta, expected, dtype_exact=False)
    assert touched(opened) == {"lep_pt", "lep_eta"}
    assert len(opened.touched) in (2, 3), "and a counter in a tree"


def test_a_selection_of_chosen_events_reads_what_it_names(path: Path) -> None:
    opened = reader(path)
    events = opened.events(10, EVENTS)[50:]
    chosen = events[ak.num(events.lep.pt) >= 2]
    pt, eta = COLUMNS["lep_pt"][60:], COLUMNS["lep_eta"][60:]
    keep = ak.num(pt) >= 2
    assert ak.array_equal(chosen.lep[chosen.lep.pt > 20].eta, eta[keep][pt[keep] > 20], dtype_exact=False)
    assert touched(opened) == {"lep_pt", "lep_eta"}
    assert ak.to_list(ak.num(chosen.lep)) == COUNTS[60:][keep].tolist()
    assert ak.to_list(chosen.lep[:, :1].phi) == ak.to_list(COLUMNS["lep_phi"][60:][keep][:, :1])
    assert ak.to_list(chosen.lep.n) == COUNTS[60:][keep].tolist()


def test_what_takes_records_takes_them(path: Path) -> None:
    lep = reader(path).events(0, EVENTS).lep
    pt = COLUMNS["lep_pt"]
    assert ak.to_list(ak.num(lep)) == COUNTS.tolist()
    assert ak.to_list(ak.flatten(lep).pt) == ak.to_list(ak.flatten(pt))
    pairs, expected = ak.combinations(lep, 2, fields=["a", "b"]), ak.combinations(pt, 2, fields=["a", "b"])
    assert ak.to_list(pairs.a.pt + pairs.b.pt) == ak.to_list(expected.a + expected.b)
    assert ak.to_list(ak.cartesian([lep, lep])["1"].pt) == ak.to_list(ak.cartesian([pt, pt])["1"])
    best = ak.argmax(lep.pt, axis=1, keepdims=True)
    assert ak.to_list(lep[best].phi) == ak.to_list(COLUMNS["lep_phi"][ak.argmax(pt, axis=1, keepdims=True)])
    assert ak.to_list(ak.with_name(lep, "Momentum").eta) == ak.to_list(COLUMNS["lep_eta"])
    assert ak.to_list(lep[["pt", "eta"]][3]) == ak.to_list(ak.zip({"pt": pt, "eta": COLUMNS["lep_eta"]})[3])


def test_a_number_beside_lists_is_a_field_once_an_event(path: Path) -> None:
    events = reader(path).events(0, EVENTS)
    assert set(ak.fields(events.lep)) == {"n", "pt", "eta", "phi"}
    assert ak.to_list(events.lep.n) == ak.to_list(events.lep_n) == COUNTS.tolist()
    assert ak.to_list(events.lep[["n", "pt"]][4]) == {"n": COUNTS[4], "pt": ak.to_list(COLUMNS["lep_pt"][4])}
    assert "n" not in ak.fields(events.lep[:, :1]), "it is in no record"


def test_the_records_are_counted_only_where_all_lists_agree(path: Path) -> None:
    """Those of the first column might be tracks, not jets."""
    events = reader(path).events(0, EVENTS)
    with pytest.raises(AnalysisError, match="jet_eta and jet_trk_pt are no fields of one list of records"):
        ak.num(events.jet)
    again = reader(path).events(0, EVENTS)
    assert ak.to_list(again.jet.trk_pt) == ak.to_list(COLUMNS["jet_trk_pt"]), "each is reachable by itself"
    with pytest.raises(AnalysisError, match="jet_eta and jet_trk_pt"):
        ak.num(again.jet)


def test_a_selection_works_among_columns_that_agree(path: Path) -> None:
    events = reader(path).events(0, EVENTS)
    good = events.jet[events.jet.pt > 20]
    assert ak.to_list(good.eta) == ak.to_list(COLUMNS["jet_eta"][COLUMNS["jet_pt"] > 20])
    with pytest.raises(AnalysisError, match=r'jet_pt and jet_trk_pt .*use each by itself.*events\["jet_trk_pt"\]'):
        ak.sum(good.trk_pt)


def test_the_fields_that_agree_are_records_of_their_own(path: Path) -> None:
    jets = reader(path).events(0, EVENTS).jet[["pt", "eta"]]
    assert ak.to_list(ak.num(jets)) == COUNTS.tolist()
    assert ak.to_list(jets[jets.pt > 20].eta) == ak.to_list(COLUMNS["jet_eta"][COLUMNS["jet_pt"] > 20])


def test_an_alias_reads_what_it_names(path: Path) -> None:
    opened = reader(path)
    view = View(opened, {"bdt": opened}, SharedInputs(aliases={"s": "ak.sum(lep[lep.pt > 20].eta, axis=1)"}))
    right = ak.sum(COLUMNS["lep_eta"][COLUMNS["lep_pt"] > 20], axis=1)
    assert np.allclose(view.read(["s"], 0, EVENTS)["s"].values, right)
    assert {name for name in view.aliases["s"].reads if not name.startswith("n")} == {"lep_pt", "lep_eta"}
    lep = view.events(0, EVENTS).bdt.lep
    assert ak.to_list(lep[lep.pt > 20].eta) == ak.to_list(COLUMNS["lep_eta"][COLUMNS["lep_pt"] > 20]), "of a friend"


def test_lists_of_lists_are_fields_of_records_too(tmp_path: Path) -> None:
    """And a list that lacks one element in one event is never taken for the others."""
    hits = ak.unflatten(lists(np.full(COUNTS.sum(), 2)), COUNTS)
    short = COUNTS.copy()
    short[EVENTS - 1 - int((COUNTS[::-1] > 0).argmax())] -= 1
    made = tmp_path / "nested.root"
    with uproot.recreate(made) as file:
        file.mkrntuple("t", {"trk_pt": COLUMNS["lep_pt"], "trk_hits": hits, "trk_bad": lists(short)})
    opened = reader(made)
    trk = opened.events(0, EVENTS).trk
    good = trk[trk.pt > 20]
    assert ak.to_list(good.hits) == ak.to_list(hits[COLUMNS["lep_pt"] > 20])
    assert opened.touched == {"trk_pt", "trk_hits"}
    with pytest.raises(AnalysisError, match="trk_pt and trk_bad"):
        ak.sum(good.bad)
    half = opened.events(20, 100).trk
    assert ak.to_list(half[half.pt > 20].hits) == ak.to_list(hits[20:100][COLUMNS["lep_pt"][20:100] > 20])


def test_agreement_is_looked_for_once_a_file(path: Path) -> None:
    opened = reader(path)
    ak.num(opened.events(0, 100).lep)
    assert touched(opened) <= {"lep_pt", "lep_eta", "lep_phi"}
    opened.events(100, EVENTS)
    ak.num(opened.events(100, EVENTS).lep)
    assert len(opened.touched) == 1


def test_what_says_that_columns_are_lists_of_records() -> None:
    names = ["X.a", "X.m.x", "X.m.y", "X_1.b", "X_0", "X_n"]
    group = nested(names, {}, {*names} - {"X_n"})["X"]
    assert group.lists == ("X.a", "X.m.x", "X.m.y", "X_1.b", "X_0")
    assert group.fields["m"] == Group({"x": "X.m.x", "y": "X.m.y"}, lists=("X.m.x", "X.m.y"))
    assert group.own_lists == ["X.a"], "what is called X_1 and X_0 may be collections of their own"
    assert "n" not in group.elements and group.only(["n", "a"]) == Group({"n": "X_n", "a": "X.a"})
    assert nested(["E_a", "E_b", "E_c"], {}, {"E_a"})["E"].lists == (), "few of them are"


def test_a_field_that_is_not_there_is_missed_as_in_other_arrays(path: Path) -> None:
    """As `KeyError` it went past what names the nearest ones."""
    events = reader(path).events(0, EVENTS)
    with pytest.raises(ak.errors.FieldNotFoundError, match="no field 'nope' in record with"):
        events["lep"]["nope"]
