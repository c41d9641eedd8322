"""Views: friends, aliases, defaults and nested names, over real files; in slots, and in whole queries."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.analysis.expressions import Expression
from eventmill.dataset.shared_inputs import SharedInputs, aliases_of, defaults_of
from eventmill.packetizer.listed_entries import EntryList
from eventmill.protocol.errors import AnalysisError, DatasetError
from eventmill.reading.cached_range import CachedRange
from eventmill.reading.columns import Flat, Jagged, column_of
from eventmill.reading.groups import Group, nested
from eventmill.reading.lazy_events import AtWork
from eventmill.reading.reader import Reader
from eventmill.reading.schema_check import SchemaCheck
from eventmill.reading.selection import Selection
from eventmill.reading.view import View
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples
from view_files import ENTRIES, write, write_friend

ALIASES = {
    "ht": "ak.sum(Jet_pt, axis=1)",
    "jet_pt": "Jet.pt",
    "pt2": "Jet_pt**2",
    "ht2": "ht * 2",
    "odd": 'events["a-b"]',
    "root": "sqrt(x * x)",
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("view") / "events.root")


@pytest.fixture(scope="module")
def friend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_friend(tmp_path_factory.mktemp("view") / "scores.root")


@pytest.fixture(scope="module")
def expected(path: Path) -> ak.Array:
    return uproot.open(path)["Events"].arrays()


def view_of(path: Path, friend: Path | None = None, **shared_inputs: Any) -> View:
    friends = {} if friend is None else {"bdt": Reader(str(friend), "scores")}
    made = SharedInputs(b"", aliases_of(shared_inputs.get("aliases")), defaults_of(shared_inputs.get("defaults")))
    return View(Reader(str(path), "Events"), friends, made)


def same(column: Any, array: Any) -> bool:
    """Whether a column has these values, of this type."""
    return ak.array_equal(ak.Array(_layout(column)), array, dtype_exact=True)


def _layout(column: Any) -> Any:
    from eventmill.reading.lazy_events import layout_of

    return layout_of(column)


# --- nested names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ttree", "rntuple"])
def test_lists_with_one_counter_are_a_list_of_records(tmp_path: Path, kind: str) -> None:
    reader = Reader(str(write(tmp_path / "a.root", kind=kind)), "Events")
    arrays = uproot.open(tmp_path / "a.root")["Events"].arrays(["Jet_pt", "Jet_eta", "MET_pt"])
    events = reader.events(100, 900)
    if kind == "rntuple":  # uproot writes each list with offsets of its own: nothing says that they are the same
        assert ak.array_equal(events.Jet.pt, arrays.Jet_pt[100:900])
        return
    assert events.Jet.pt.ndim == 2 and ak.array_equal(events.Jet.pt, arrays.Jet_pt[100:900])
    cut = events.Jet[events.Jet.pt > 20]
    assert ak.array_equal(cut.eta, arrays.Jet_eta[arrays.Jet_pt > 20][100:900])
    assert ak.array_equal(events[events.MET.pt > 20].Jet.pt, arrays.Jet_pt[100:900][arrays.MET_pt[100:900] > 20])
    assert ak.array_equal(events[50:70].Jet.eta, arrays.Jet_eta[150:170])
    pairs = ak.combinations(events.Jet, 2)
    assert len(pairs) == 800 and ak.array_equal(ak.num(pairs), ak.num(ak.combinations(arrays.Jet_pt[100:900], 2)))


def test_only_what_is_touched_is_read(path: Path) -> None:
    reader = Reader(str(path), "Events")
    events = reader.events(0, ENTRIES)
    assert events.Jet is not None and reader.touched == set()
    assert len(events.Jet.pt) == ENTRIES and reader.touched <= {"nJet"}
    assert ak.sum(events.Jet.pt) > 0 and reader.touched == {"nJet", "Jet_pt"}
    assert ak.sum(events.MET.pt) > 0 and reader.touched == {"nJet", "Jet_pt", "MET_pt"}
    named = ak.with_name(events.Jet, "Momentum")
    assert reader.touched == {"nJet", "Jet_pt", "MET_pt"} and named.layout.content.parameter("__record__") == "Momentum"


def test_behaviours_work_as_on_any_records(path: Path, expected: ak.Array) -> None:
    class Jets(ak.Array):  # type: ignore[misc]
        @property
        def twice(self) -> Any:
            return 2 * self.pt

    jets = ak.with_name(
        Reader(str(path), "Events").events(0, ENTRIES).Jet, "Momentum", behavior={("*", "Momentum"): Jets}
    )
    assert ak.array_equal(jets.twice, 2 * expected.Jet_pt)


def test_a_branch_is_never_hidden_by_a_group() -> None:
    assert nested(["Muon", "Muon_pt", "Muon_eta"], {}) == {}
    assert nested(["Muon", "Muon.pt"], {}) == {}
    assert nested(["_x", "x_", "plain", "9_a"], {}) == {}


def test_lists_with_different_counters_are_no_list_of_records() -> None:
    """But those with the counter that has the group's name are."""
    assert nested(["A_x", "A_y"], {"A_x": "n1", "A_y": "n2"}) == {"A": Group({"x": "A_x", "y": "A_y"})}
    assert nested(["A_x", "A_y", "A_z"], {"A_x": "nA", "A_y": "n2"}) == {"A": Group({"x": "A_x"}, "nA")}


def test_dotted_names_are_records_in_records() -> None:
    names = ["P.momentum.x", "P.momentum.y", "P.charge"]
    counters = dict.fromkeys(names, "P_")
    group = nested(names, counters)["P"]
    assert group.counter == "P_" and group.fields["charge"] == "P.charge"
    assert group.fields["momentum"] == Group({"x": "P.momentum.x", "y": "P.momentum.y"})


def test_a_dotted_name_is_a_field_of_all_that_is_before_the_dot() -> None:
    """`events.mc_trks.E` (KM3NeT) and `events.MET_Core_AnalysisMETAuxDyn.mpx` (ATLAS) were errors: there was `mc` only."""
    groups = nested(["mc_trks.E", "mc_trks.dir.z", "mc_id", "Muon#0.index"], {}, ["mc_trks.E", "mc_trks.dir.z"])
    assert groups["mc_trks"].fields["E"] == "mc_trks.E" and groups["mc_trks"].lists == ("mc_trks.E", "mc_trks.dir.z")
    assert groups["mc"].fields["id"] == "mc_id" and groups["Muon#0"].fields == {"index": "Muon#0.index"}


@given(st.lists(st.text("ab_.", min_size=1, max_size=6), unique=True, max_size=12), st.data())
def test_every_field_of_a_group_is_a_column_of_its_name(names: list[str], data: st.DataObject) -> None:
    counters = {name: data.draw(st.sampled_from(["n1", "n2", "na"])) for name in names if data.draw(st.booleans())}
    for prefix, group in nested(names, counters).items():
        assert prefix not in names and group.fields
        for rest, field in group.fields.items():
            if isinstance(field, str):
                assert field in names and field in (f"{prefix}_{rest}", f"{prefix}.{rest}")
                assert not group.counter or counters.get(field) == group.counter


# --- aliases ----------------------------------------------------------------------------------------------------------


def values(expected: ak.Array) -> dict[str, Any]:
    """Of 64 bits, where anything is computed."""
    pt = ak.values_astype(expected.Jet_pt, "float64")
    ht = ak.sum(pt, axis=1)
    return {
        "ht": ht,
        "jet_pt": expected.Jet_pt,
        "pt2": pt**2,
        "ht2": ht * 2,
        "odd": expected["a-b"],
        "root": np.abs(expected.x),
    }


def test_aliases_are_read_as_branches_are(path: Path, expected: ak.Array) -> None:
    view = view_of(path, aliases=ALIASES)
    columns = view.read([*ALIASES, "n"], 100, 700)
    for name, array in {**values(expected), "n": expected.n}.items():
        assert same(columns[name], array[100:700]), name


def test_aliases_are_columns_of_events(path: Path, expected: ak.Array) -> None:
    view = view_of(path, aliases={**ALIASES, "name": "Jet_pt > 20", "deep": "Jet_pt[:, :, np.newaxis]"})
    events = view.events(100, 700)
    for name, array in values(expected).items():
        assert ak.array_equal(events[name], array[100:700], dtype_exact=True), name
    assert ak.array_equal(events[events.ht > 40].pt2, values(expected)["pt2"][100:700][events.ht > 40])
    assert ak.array_equal(ak.flatten(events.deep, axis=2), expected.Jet_pt[100:700], dtype_exact=False)


def test_only_what_an_alias_names_is_read(path: Path) -> None:
    view = view_of(path, aliases=ALIASES)
    view.read(["ht2"], 0, 10)
    assert view.reader.touched == {"Jet_pt", "nJet"}
    view = view_of(path, aliases=ALIASES)
    assert ak.sum(view.events(0, 10).root) > 0 and view.touched == {"x"}


def test_what_events_and_their_aliases_read_is_read_once(path: Path) -> None:
    view, asked = view_of(path, aliases=ALIASES), list[str]()
    read = view.reader.read_ranges
    view.reader.read_ranges = lambda names, ranges: (asked.extend(names), read(names, ranges))[1]  # type: ignore
    events = view.events(0, ENTRIES)
    assert ak.sum(events.Jet_pt) + ak.sum(events.ht) + ak.sum(events.pt2) + ak.sum(events.ht2) > 0
    assert sorted(asked) == ["Jet_pt", "nJet"]


@examples(10)
@given(st.sets(st.integers(0, ENTRIES - 1), min_size=1, max_size=30))
def test_of_listed_entries_aliases_see_no_others(path: Path, expected: ak.Array, listed: set[int]) -> None:
    """Not even to be evaluated on: an alias may be fit for the listed ones only."""
    some = np.array(sorted(listed))
    view = view_of(
        path, aliases={"ht": ALIASES["ht"], "seen": f"ak.Array([[1], []])[np.isin(n, {some.tolist()}) * 1 - 1]"}
    )
    selection = Selection(view, EntryList.from_entries(some))
    assert same(selection.read(["ht", "n"], 0, len(some))["ht"], values(expected)["ht"][some])
    assert ak.array_equal(selection.events(0, len(some)).ht, values(expected)["ht"][some])


def test_held_entries_are_evaluated_piece_by_piece(path: Path, expected: ak.Array) -> None:
    view = view_of(path, aliases={"first": "Jet_pt[:, 0]"})
    held = CachedRange(view, 0, 100)
    full = [entry for entry in range(100) if len(expected.Jet_pt[entry])]
    for entry in range(20):
        if entry in full:
            assert held.read(["first"], entry, entry + 1)["first"].values.tolist() == [expected.Jet_pt[entry, 0]]  # type: ignore
            assert held.events(entry, entry + 1).first[0] == expected.Jet_pt[entry, 0]
        else:
            with pytest.raises(IndexError):
                held.read(["first"], entry, entry + 1)


def test_the_aliases_of_the_tree_itself(path: Path) -> None:
    """Those that mean the same in Python: in TTreeFormula, `^` is a power and [0] the first of an entry's list."""
    reader = Reader(str(path), "Events")
    said = {
        "double": "2*x",
        "root": "sqrt(x*x)",
        "power": "x^2",
        "first": "Jet_pt[0]",
        "both": "x>0 && n>0",
        "of": "gone+1",
    }
    reader.stored.__dict__["tree_aliases"] = said
    view = View(reader, {}, SharedInputs())
    assert set(view.aliases) == {"double", "root"}
    column = view.read(["double"], 0, 10)["double"]
    assert isinstance(column, Flat) and same(column, 2 * reader.array("x", 0, 10))


@pytest.mark.parametrize(
    ("aliases", "words"),
    [
        ({"a": "Jet_pt +"}, "the alias a: cannot read 'Jet_pt \\+'"),
        ({"a": "b", "b": "c + 1", "c": "a"}, "in a circle: .* -> .* -> .*"),
        ({"a": "a + 1"}, "in a circle: a -> a"),
        ({"a": 'events["a"]'}, "in a circle"),
        ({"a-b": "x"}, "must be a name that Python can read"),
        ({"np": "x"}, "np, which is taken"),
        ({"a": 3}, "must be an expression"),
        ({"a": "1 + 1"}, "names no branch"),
        (["a"], "must be a dict"),
    ],
)
def test_aliases_that_are_none_are_refused_at_once(aliases: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        em.Dataset("a.root", aliases=aliases)


@pytest.mark.parametrize(
    ("aliases", "words"),
    [
        ({"a": "Jet_pT + 1"}, "names Jet_pT, and nothing is called so in .*events.root; the nearest names are Jet_pt"),
        ({"x": "Jet_pt"}, "has a branch x: give the alias of this name another one"),
    ],
)
def test_aliases_that_do_not_fit_a_file_are_told_when_it_is_opened(path: Path, aliases: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        view_of(path, aliases=aliases)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (
            "Jet.pT",
            AnalysisError,
            "the alias a, 'Jet.pT', cannot be evaluated over .*events.root: AttributeError: Jet has no pT; it has ",
        ),
        ("ak.sum(Jet_pt)", DatasetError, r"is of all events of a call. Of each event is 'ak.sum\(..., axis=1\)'"),
        ("ak.flatten(Jet_pt)", DatasetError, "does not give one value for each event: is axis=1 missing"),
        ("ak.max(Jet_pt, axis=1)", DatasetError, r"gives \?float64: .*ak.fill_none"),
        ("Jet", DatasetError, "an alias for each field of a record"),
    ],
)
def test_aliases_that_are_no_columns(path: Path, text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        view_of(path, aliases={"a": text}).read(["a"], 0, 10)


def test_an_alias_that_fails_on_events_says_which_it_is(path: Path) -> None:
    with pytest.raises(IndexError) as caught:
        view_of(path, aliases={"first": "Jet_pt[:, 0]"}).read(["first"], 0, 100)
    assert any("the alias first, 'Jet_pt[:, 0]'," in note for note in caught.value.__notes__)


def test_expressions_know_their_names() -> None:
    assert Expression("[v for v in x] + y").names == ("x", "y")
    assert Expression("np.where(events.a > 0, events['b'], c)").names == ("a", "b", "c")
    assert (
        Expression("a * (b > 3)").is_simple
        and not Expression("a[:, 0]").is_simple
        and not Expression("a ^ 2").is_simple
    )


def test_what_was_read_goes_with_the_last_array(path: Path) -> None:
    """Without the collector of rubbish, which may come chunks later."""
    view = view_of(path, aliases=ALIASES)
    gc.collect()
    gc.disable()
    try:
        events = view.events(0, ENTRIES)
        kept = [events.Jet_pt, events.Jet.eta, events.ht, events[events.MET.pt > 20].Jet.btag]
        assert all(ak.sum(array) > 0 for array in kept)
        chunks = [it for it in gc.get_objects() if type(it) is AtWork and it._lazy is view.lazy]
        assert len(chunks) == 1
        alive = weakref.ref(chunks.pop())
        del events, kept
        assert alive() is None
    finally:
        gc.enable()


# --- friends ----------------------------------------------------------------------------------------------------------


def test_branches_of_friends(path: Path, friend: Path, expected: ak.Array) -> None:
    view = view_of(path, friend, aliases={"good": "bdt.score * x", "shift": "score + bdt_score"})
    other = uproot.open(friend)["scores"].arrays()
    columns = view.read(["score", "bdt_score", "bdt.score", "Jet_qgl", "Jet_pt", "good", "shift"], 200, 500)
    for name in ("score", "bdt_score", "bdt.score"):
        assert same(columns[name], other.score[200:500])
    assert same(columns["Jet_qgl"], other.Jet_qgl[200:500]) and same(columns["Jet_pt"], expected.Jet_pt[200:500])
    assert same(columns["good"], (other.score * expected.x)[200:500])
    assert same(columns["shift"], (2 * other.score)[200:500])
    events = view.events(200, 500)
    assert view.traffic.bytes_read > view.reader.bytes_read
    for array in (events.bdt.score, events.score, events.bdt_score):
        assert ak.array_equal(array, other.score[200:500])
    assert ak.array_equal(events[events.bdt.score > 0.5].Jet.pt, expected.Jet_pt[200:500][other.score[200:500] > 0.5])
    assert ak.array_equal(events.bdt.Jet.qgl, other.Jet_qgl[200:500])


@given(st.sets(st.integers(0, ENTRIES - 1), min_size=1, max_size=20))
@examples(10)
def test_listed_entries_of_friends(path: Path, friend: Path, listed: set[int]) -> None:
    some = np.array(sorted(listed))
    selection = Selection(view_of(path, friend), EntryList.from_entries(some))
    read = selection.read(["n", "bdt_score", "Jet_qgl"], 0, len(some))
    assert same(read["n"], some)
    assert same(read["bdt_score"], uproot.open(friend)["scores/score"].array()[some])
    assert ak.array_equal(
        selection.events(0, len(some)).bdt.Jet_qgl, uproot.open(friend)["scores/Jet_qgl"].array()[some]
    )


def test_a_friend_of_another_length_is_refused(path: Path, tmp_path: Path) -> None:
    other = write_friend(tmp_path / "short.root", ENTRIES - 1)
    with pytest.raises(
        DatasetError, match=r"short.root has 999 entries in scores, and .*events.root, whose friend bdt"
    ):
        view_of(path, other)


def test_what_a_friend_has_too_is_the_files_own(path: Path, tmp_path: Path, expected: ak.Array) -> None:
    other = write_friend(tmp_path / "other.root", x=np.zeros(ENTRIES))
    view = view_of(path, other)
    assert same(view.read(["x"], 0, 50)["x"], expected.x[:50])
    assert not np.any(view.read(["bdt_x"], 0, 50)["bdt_x"].values)  # type: ignore[union-attr]
    assert ak.array_equal(view.events(0, 50).x, expected.x[:50]) and not ak.any(view.events(0, 50).bdt.x)


def test_names_that_two_friends_have(path: Path, friend: Path) -> None:
    view = View(Reader(str(path)), {"a": Reader(str(friend)), "b": Reader(str(friend))}, SharedInputs())
    with pytest.raises(
        DatasetError, match=r"score is in several friends of .*: say which is meant, a_score or b_score"
    ):
        view.read(["score"], 0, 1)
    assert "score" not in view.events(0, 1).fields and len(view.read(["a_score"], 0, 5)["a_score"]) == 5
    with pytest.raises(
        DatasetError, match="has no branch scor in its tree Events, nor have its friends a, b; the nearest"
    ):
        view.read(["scor"], 0, 1)
    with pytest.raises(DatasetError, match="has a branch x: give its friend of this name another one"):
        View(Reader(str(path)), {"x": Reader(str(friend))}, SharedInputs())


@pytest.mark.parametrize(
    ("friends", "words"),
    [
        ({"bdt": "one.root"}, "in one.root, one file, and the dataset has 2"),
        ({"bdt": "{steam}.root"}, "{steam} means nothing there: there are {stem}"),
        ({"bdt": "{stem.root"}, "cannot be read"),
        ({"b d": "one.root"}, "a name that Python can read"),
        ({"bdt": {"a.root": "x.root"}}, "b.root has no friend bdt"),
        (
            {"bdt": {"a.root": "x.root", "c.root": "y.root"}},
            "which is not in the dataset; the nearest names are .*a.root",
        ),
        ({"bdt": lambda path: None}, "has no friend bdt"),
        ({"bdt": lambda path: "*.root"}, "a pattern is no file"),
        ({"bdt": 3}, "must be a path, a dict of paths, or a function"),
        ("one.root", "must be a dict"),
    ],
)
def test_friends_that_are_none(friends: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        em.Dataset(["a.root", "b.root"], friends=friends).expanded(lambda path: [str(Path(path).absolute())])


def test_where_friends_are_said_to_be() -> None:
    rules = {
        "a": "{folder}/{stem}_s.root:t",
        "b": lambda path: path.replace("data", "mc"),
        "c": {"/data/y.root": "q.root"},
    }
    data = em.Dataset("/data/y.root", friends={**rules, "d": Path("z.root")}).expanded(lambda path: [path])
    friends = {name: (friend.path, friend.tree) for name, friend in data.files[0].friends.items()}
    here = Path.cwd()
    assert friends == {
        "a": ("/data/y_s.root", "t"), "b": ("/mc/y.root", ""), "c": (f"{here}/q.root", ""), "d": (f"{here}/z.root", "")
    }  # fmt: skip
    assert data.has_columns


# --- defaults ---------------------------------------------------------------------------------------------------------


def test_missing_branches_hold_what_they_are_said_to(tmp_path: Path) -> None:
    old = write(tmp_path / "old.root", Jet_btag=None, MET_phi=None)
    defaults = {"Jet_btag": np.float32(-1), "MET_phi": 0.5, "new": True, "x": 7, "Jet_n": 1}
    view = view_of(old, defaults=defaults, aliases={"tag": "ak.sum(Jet.btag, axis=1) + MET_phi"})
    pt = uproot.open(old)["Events/Jet_pt"].array()[100:200]
    columns = view.read(["Jet_btag", "MET_phi", "new", "x", "tag", "Jet_n"], 100, 200)
    assert isinstance(columns["Jet_btag"], Jagged) and same(columns["Jet_btag"], ak.full_like(pt, -1))
    assert columns["Jet_n"].content.values.dtype == np.int64  # type: ignore[union-attr]
    assert same(columns["MET_phi"], np.full(100, 0.5)) and same(columns["new"], np.full(100, True))
    assert np.any(columns["x"].values != 7), "a branch that is there is not replaced"  # type: ignore[union-attr]
    events = view.events(100, 200)
    assert ak.array_equal(events.Jet.btag, ak.full_like(pt, -1)) and ak.array_equal(events.tag, -ak.num(pt) + 0.5)
    assert ak.all(events.MET.phi == 0.5) and ak.all(events.new) and view.filled(["tag", "x"]) == ["Jet_btag", "MET_phi"]


@pytest.mark.parametrize("default", ["a", [1, 2], None, 1j, 10**30])
def test_defaults_that_are_none(default: Any) -> None:
    with pytest.raises(DatasetError, match=r"the default of x is .*: it must be a number or a flag"):
        em.Dataset("a.root", defaults={"x": default})


def test_one_name_means_one_thing() -> None:
    with pytest.raises(DatasetError, match="x is an alias, and has a default too"):
        em.Dataset("a.root", defaults={"x": 1}, aliases={"x": "y"})
    with pytest.raises(DatasetError, match="x is an alias, and a friend is called so too"):
        em.Dataset("a.root", friends={"x": "b.root"}, aliases={"x": "y"})


# --- types ------------------------------------------------------------------------------------------------------------


def test_files_must_agree_on_types(path: Path, tmp_path: Path) -> None:
    agreement = SchemaCheck()
    first = Reader(str(path), "Events")
    types, filled = agreement.check(first, {"x", "Jet_pt", "n"})
    assert {name: it.kind for name, it in types.items()} == {"x": "float64", "Jet_pt": "var * float32", "n": "int64"}
    assert filled == [] and agreement.check(first, {"x", "n"}) == ({}, [])
    same_types = Reader(str(write(tmp_path / "same.root", seed=2)), "Events")
    assert agreement.check(same_types, {"x", "n"}) == ({}, [])
    other = Reader(str(write(tmp_path / "other.root", x=np.zeros(ENTRIES, "f4"))), "Events")
    assert agreement.check(other, {"n"}) == ({}, [])
    with pytest.raises(
        DatasetError, match=r"the type of x changes between files: float64 in .*events.root, float32 in .*oth"
    ):
        agreement.check(other, {"x"})


def test_types_are_those_of_the_events(path: Path, friend: Path) -> None:
    view = view_of(path, friend, aliases={**ALIASES, "deep": "Jet_pt[:, :, np.newaxis]"})
    names = ["x", "Jet_pt", "nJet", "bdt_score", "ht", "pt2", "deep"]
    events = view.events(0, 10)
    assert view.types(names) == {name: str(events[name].layout.form.type) for name in names}


def test_the_read_is_cut_to_what_is_listed(tmp_path: Path) -> None:
    """Of 100 baskets, those with listed entries are read, whatever the columns are for."""
    path = tmp_path / "many.root"
    with uproot.recreate(path, compression=None) as file:
        tree = file.mktree("Events", {"x": "f8", "y": "f8"})
        for start in range(0, 100_000, 1000):
            tree.extend({"x": np.arange(start, start + 1000.0), "y": np.zeros(1000)})
    view = View(Reader(str(path)), {}, SharedInputs(aliases={"twice": "2 * x"}))
    whole = 8 * 100_000
    for listed in ([5, 10, 50_000, 50_001], [100, 900, 20_500, 20_700, 99_999, 100_000]):
        for read in (lambda s: s.read(["x"], 0, len(s.entry_list)), lambda s: s.read(["twice"], 0, len(s.entry_list))):
            selection = Selection(view, EntryList(listed), branches=["x"])
            view.layout(["x"])
            before = view.traffic.bytes_read
            assert len(next(iter(read(selection).values()))) == len(selection.entry_list)
            assert view.traffic.bytes_read - before <= whole * len(listed) / 2 / 100 * 1.1
    assert column_of(ak.Array([1.0]).layout, "").values.tolist() == [1.0]  # type: ignore[union-attr]
