# mypy: allow-untyped-defs, allow-untyped-decorators
"""Variations: each equals, bit for bit, a pass over files whose columns are shifted; data are read once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import AnalysisError, DatasetError
from eventmill.reading.reader import Reader
from eventmill.reading.variations import FileVariations
from eventmill.reading.varied_range import VariedChunk
from hist import Hist

ENTRIES = 3000
ALIASES = {"ht": "ak.sum(Jet_pt, axis=1)", "twice": "2 * ht", "weight": "genWeight"}


def written(folder: Path, shift: Callable[[dict[str, Any]], dict[str, Any]] = lambda columns: {}) -> em.Dataset:
    """Three files, the last without entries, some of whose columns are shifted; weights whose sums are exact."""
    folder.mkdir()
    for number, entries in enumerate([ENTRIES, ENTRIES // 2, 0]):
        random = np.random.default_rng(number)
        lengths = random.poisson(2, entries)
        columns: dict[str, Any] = {
            f"Jet_{name}": ak.unflatten(random.exponential(scale, lengths.sum()).astype("f4"), lengths)
            for name, scale in (("pt", 30.0), ("eta", 1.0))
        }
        columns["MET_pt"] = random.exponential(30, entries).astype("f4")
        columns["genWeight"] = (random.integers(1, 32, entries) / 8).astype("f4")
        columns["puUp"] = (random.integers(1, 32, entries) / 16).astype("f4")
        columns |= shift(columns)
        with uproot.recreate(folder / f"{number}.root") as file:
            jets = {name.removeprefix("Jet_"): it for name, it in columns.items() if name.startswith("Jet_")}
            others = {name: it for name, it in columns.items() if not name.startswith("Jet_")}
            whole = {**others, "Jet": ak.zip(jets)}
            tree = file.mktree("Events", {name: getattr(it, "type", None) or it.dtype for name, it in whole.items()})
            for start in range(0, entries, 500):
                tree.extend({name: it[start : start + 500] for name, it in whole.items()})
    return em.Dataset(str(folder / "*.root"), tree="Events", aliases=ALIASES)


def harder(columns: Any) -> Any:
    return columns["Jet_pt"] * np.float32(1.03)


def smeared(events: Any) -> Any:
    """Draws numbers, which are not to be missing to those who come later."""
    np.random.normal(size=len(events))
    return events.Jet.pt * np.float32(1.03)


VARIATIONS: dict[str, Any] = {
    "jes_up": {"Jet_pt": smeared, "MET_pt": "MET_pt * 0.5"},
    "collection": {"Jet": lambda events: ak.with_field(events.Jet, events.Jet.eta + np.float32(0.25), "eta")},
    "together": {("Jet_pt", "Jet_eta"): lambda events: (events.Jet_pt + np.float32(1), -events.Jet_eta)},
    "pileup": {"weight": "puUp"},
    "unused": {"puUp": "puUp * 2"},
}
SHIFTED: dict[str, Callable[[Any], Any]] = {
    "jes_up": lambda columns: {"Jet_pt": harder(columns), "MET_pt": columns["MET_pt"] * np.float32(0.5)},
    "collection": lambda columns: {"Jet_eta": columns["Jet_eta"] + np.float32(0.25)},
    "together": lambda columns: {"Jet_pt": columns["Jet_pt"] + np.float32(1), "Jet_eta": -columns["Jet_eta"]},
    "pileup": lambda columns: {"genWeight": columns["puUp"]},
}


def columnar(events: Any) -> Any:
    drawn = np.random.normal(size=len(events))
    hard = events.Jet[events.Jet.pt > 20]
    leading = ak.fill_none(ak.firsts(hard.eta), -1)
    return {
        "ht": Hist.new.Reg(50, 0, 500).Weight().fill(events.twice, weight=events.weight),
        "eta": Hist.new.Reg(50, -4, 4).Double().fill(leading),
        "met": Hist.new.Reg(50, 0, 100).Double().fill(events.MET_pt[ak.num(hard) > 0]),
        "drawn": Hist.new.Reg(50, -4, 4).Double().fill(drawn),
        "events": len(events),
    }


@em.kernel(
    spectrum=Hist.new.Reg(50, 0, 500).Reg(10, 0, 100).Weight(), eta=Hist.new.Reg(50, -4, 4).Double(), drawn=np.zeros(2)
)
def kernel(spectrum, eta, drawn, twice, weight, MET_pt, Jet, Jet_eta):
    spectrum.fill(twice, MET_pt, weight=weight)
    drawn[0] += np.floor(np.random.random() * 1024)
    for i in range(len(Jet)):
        if Jet[i].pt > 20:
            eta.fill(Jet_eta[i])
            drawn[1] += 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> em.Dataset:
    return written(tmp_path_factory.mktemp("varied") / "nominal")


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory, data: em.Dataset) -> dict[str, em.Dataset]:
    folder = tmp_path_factory.mktemp("shifted")
    return {"nominal": data, **{name: written(folder / name, shift) for name, shift in SHIFTED.items()}}


def same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)


@pytest.mark.parametrize(
    "analysis",
    [
        pytest.param(columnar, id="columnar"),
        pytest.param(kernel, id="kernel", marks=pytest.mark.long("compiles for four seconds, as tests of lanes do")),
    ],
)
def test_each_variation_equals_a_pass_over_shifted_files(session, data, shifted, analysis: Any) -> None:
    """Flat, jagged, collections, aliases, weights, several files. Random numbers are those of nominal: drawn[0] of a
    kernel, and the histogram of a function, are the same in all variations."""
    result = session.process(data, em.vary(analysis, VARIATIONS), chunk=(200, 700)).result()
    assert list(result) == ["nominal", *VARIATIONS]
    assert all(same(result["unused"][output], value) for output, value in result["nominal"].items())
    alone = {name: session.process(changed, analysis) for name, changed in shifted.items()}
    for name, query in alone.items():
        for output, value in query.result().items():
            if output != "drawn":
                assert same(result[name][output], value), (name, output)
    drawn = [result[name]["drawn"] for name in result]
    if analysis is kernel:
        assert len({float(each[0]) for each in drawn}) == 1
        assert [each[1] for each in drawn] == [result[name]["eta"].sum(flow=True) for name in result]
    else:
        assert all(each == drawn[0] for each in drawn)
    moved = {name for name in result if not same(result[name]["eta"], result["nominal"]["eta"])}
    assert moved == {"jes_up", "collection", "together"}


def test_a_slot_that_dies_in_a_variation_changes_nothing(session, data, tmp_path: Path) -> None:
    once = tmp_path / "died"

    def dying(events: Any) -> Any:
        if ak.any(events.MET_pt < 0) and not once.exists():
            once.touch()
            os._exit(3)
        return {"met": Hist.new.Reg(50, -100, 100).Double().fill(events.MET_pt), "events": len(events)}

    varied = em.vary(dying, {"negative": {"MET_pt": "-MET_pt"}, "half": {"MET_pt": "MET_pt / 2"}})
    result = session.process(data, varied).result()
    assert once.exists()
    assert [result[name]["events"] for name in result] == [ENTRIES * 3 // 2] * 3
    arrays = [np.asarray(tree["MET_pt"].array()) for tree in trees(data)]
    for name, factor in (("nominal", 1), ("negative", -1), ("half", np.float32(0.5))):
        assert result[name]["met"] == Hist.new.Reg(50, -100, 100).Double().fill(np.concatenate(arrays) * factor)


def test_an_event_that_raises_in_a_variation_is_missing_in_all_of_them(session, data) -> None:
    """What is counted as lost is in no variation, and what is processed in each."""
    met = np.concatenate([np.asarray(tree["MET_pt"].array()) for tree in trees(data)])
    bad = np.float32(np.sort(met)[-1])

    @em.kernel(seen=np.zeros(1, np.int64))
    def raising(seen, MET_pt):
        if MET_pt <= -bad:
            raise ValueError("too negative")
        seen[0] += 1

    result = session.process(data, em.vary(raising, {"down": {"MET_pt": "-MET_pt"}}), on_error="skip").result()
    assert result.account.failed == 1
    assert result["nominal"]["seen"] == result["down"]["seen"] == [len(met) - 1]


def trees(data: em.Dataset) -> list[Any]:
    (pattern,) = {Path(file.path) for file in data.files}
    return [uproot.open({path: "Events"}) for path in sorted(pattern.parent.glob("*.root"))]


# --- what is read, and what is run ------------------------------------------------------------------------------------


class Counting:
    """A source that counts how often each column is read."""

    def __init__(self, reader: Reader) -> None:
        self.reads: list[str] = []
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def read(self, branches: Any, start: int, stop: int) -> Any:
        self.reads += branches
        return self._reader.read(branches, start, stop)


def test_columns_are_read_once_and_what_is_not_touched_is_not_run(data) -> None:
    """Forty variations of two columns: each column is read once, and unaffected ones are known as such."""
    (first, *_) = trees(data)
    reader = Reader(first.file.file_path, "Events")
    shifts = {f"jes_{n}": {"Jet_pt": f"Jet_pt * {1.5 + n}"} for n in range(20)}
    shifts |= {f"met_{n}": {"MET_pt": f"MET_pt * {1.5 + n}"} for n in range(20)}
    known = FileVariations(reader, em.vary(columnar, shifts))
    source: Any = Counting(reader)
    chunk = VariedChunk(source, known, 0, 100, lambda: None)
    sums = [float(ak.sum(chunk.nominal.events(0, 100).Jet_pt))]
    assert [variation.name for variation in known.variations if variation.changes(chunk.nominal.touched)] == [*shifts][
        :20
    ]
    for variation in known.variations[:20]:
        columns = chunk.of(variation)
        columns.prepare(["Jet_pt"])
        events = columns.events(0, 100)
        sums.append(float(ak.sum(events.Jet_pt) + ak.sum(events.MET_pt)))
    reader.close()
    assert len(set(sums)) == 21
    assert sorted(source.reads) == ["Jet_pt", "MET_pt", "nJet"]


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"Jet_ptt": "Jet_pt"}, r"the variation up names Jet_ptt, and nothing is called so .*nearest names are Jet_pt"),
        ({"nJet": "nJet + 1"}, "the variation up names nJet, which counts lists"),
        ({"Jet_pt": lambda events: events.Jet_pt[:, :1]}, "the variation up of Jet_pt .* lists of other lengths"),
        ({"MET_pt": lambda events: events.MET_pt[1:]}, "the variation up of MET_pt .* for .* events"),
        ({"MET_pt": lambda events: 1.0}, "the variation up of MET_pt .* one float for .* events"),
        ({"MET_pt": "Jet_pt"}, "the variation up of MET_pt .* lists of numbers where the column has numbers"),
        (
            {"MET_pt": lambda events: ak.mask(events.MET_pt, events.MET_pt > 5)},
            "the variation up of MET_pt .*fill_none",
        ),
        ({"Jet": lambda events: events.MET_pt}, "the variation up of Jet_pt .* records of Jet"),
        ({("Jet_pt", "MET_pt"): lambda events: events.Jet_pt}, "the variation up of .* 2 arrays in a tuple"),
        ({"MET_pt": lambda events: events.Nothing}, "(?s)no field.*|the events have no Nothing"),
        ({"Jet_pt": "Jet_pt * 2", "Jet": lambda events: events.Jet}, "the variation up replaces Jet_pt twice"),
    ],
)
def test_a_variation_that_does_not_fit_is_told_with_its_name(session, data, columns: Any, said: str) -> None:
    with pytest.raises((AnalysisError, DatasetError, AttributeError), match=said) as caught:
        session.process(data, em.vary(columnar, {"up": columns}), chunk=(200, 700)).result()
    notes = getattr(caught.value, "__notes__", [])
    assert "the variation up" in "\n".join([str(caught.value), *notes])


@pytest.mark.parametrize(
    ("variations", "said"),
    [
        ({}, "takes variations by name"),
        ({"nominal": {"x": "y"}}, "no variation can be called nominal"),
        ({"up": {}}, "the variation up is to say"),
        ({"up": "Jet_pt * 2"}, "the variation up is to say"),
        ({"up": {"x": 1.03}}, "the variation up of x is 1.03: it has to be an expression"),
        ({"up": {"x": "x *"}}, "the variation up of x: cannot read"),
        ({"up": {"x": lambda: 1}}, "the variation up of x: <lambda> is to take the events"),
        ({"up": {("x", "y"): "x"}}, "several columns take a function"),
        ({"up": {("x", "y"): np.sqrt, "x": "x"}}, "the variation up replaces x twice"),
        ({1: {"x": "x"}}, "1 is no name for a variation"),
    ],
)
def test_what_is_no_variation_is_refused_at_once(variations: Any, said: str) -> None:
    with pytest.raises(AnalysisError, match=said):
        em.vary(columnar, variations)


@pytest.mark.parametrize("entries", [em.cycles(10), em.items([1, 2])], ids=["cycles", "items"])
def test_entries_in_no_file_have_nothing_to_vary(session, entries: Any) -> None:
    with pytest.raises(AnalysisError, match=r"has variations of columns, and (these entries|items) are in no file"):
        session.process(entries, em.vary(lambda thing: 1, {"up": {"x": "x"}})).result()
