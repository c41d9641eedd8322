"""A quick look: `session.draw` in one pass over the data, in whatever packets they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import AnalysisError, DatasetError
from eventmill.session.draw import Drawing
from hist import Hist

ENTRIES = 3000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> em.Dataset:
    """Three files with numbers and lists of them."""
    folder = tmp_path_factory.mktemp("drawn")
    for file in range(3):
        random = np.random.default_rng(file)
        pt = ak.unflatten(random.exponential(30.0, 2 * ENTRIES).astype("f4"), np.resize([0, 1, 2, 5], ENTRIES))
        met = random.exponential(20.0, ENTRIES)
        met[:3] = [np.nan, np.inf, -np.inf]
        columns = {"met": met, "pt": pt, "n": ak.num(pt), "good": random.uniform(size=ENTRIES) < 0.5}
        with uproot.recreate(folder / f"{file}.root") as target:
            for start in range(0, ENTRIES, 500):
                chunk = {name: column[start : start + 500] for name, column in columns.items()}
                if start:
                    target["Events"].extend(chunk)
                else:
                    target.mktree("Events", chunk)
    return em.Dataset(str(folder / "*.root"), tree="Events")


@pytest.fixture(scope="module")
def events(data: em.Dataset) -> Any:
    """All of it, by uproot."""
    return uproot.concatenate({data.files[0].path: "Events"}, ["met", "pt", "n", "good"])


def counted(values: Any, edges: Any) -> list[int]:
    values = np.where(np.isnan(values), np.inf, np.asarray(values, float))
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).tolist()


def flow(histogram: Any) -> list[float]:
    counts: list[float] = histogram.view(flow=True).tolist()
    return counts


def test_counts_are_those_of_numpy_over_all_values(session: em.Session, data: em.Dataset, events: Any) -> None:
    """In the edges of the axis, in one pass, whichever slot sees what first; what is no number is above all."""
    wide = ak.values_astype(events.pt, "f8")
    expected = {
        ("pt", None): events.pt,
        ("pt", "n > 1"): events.pt[events.n > 1],
        ("pt[pt > 20]", "good"): events.pt[events.pt > 20][events.good],
        ("met", None): events.met,
        ("n", None): events.n,
        ("good", None): events.good,
        ("ak.sum(pt, axis=1) - met", "met < 50"): (ak.sum(wide, axis=1) - events.met)[events.met < 50],
        ("pt", "n > 99"): events.pt[events.n > 99],
    }
    queries = {given: session.draw(data, *given, wait=False) for given in expected}
    for given, query in queries.items():
        drawn = query.result().value
        values = ak.to_numpy(ak.ravel(expected[given]))
        assert flow(drawn) == counted(values, drawn.axes[0].edges), given
        assert drawn.axes[0].label == given[0] and given[0] in query.name


@pytest.mark.parametrize("bins", [None, (30, 0.0, 90.0)])
def test_weights_of_events_and_of_values_are_those_of_numpy(
    session: em.Session, data: em.Dataset, events: Any, bins: Any
) -> None:
    """Their sums, and the sums of their squares, as variances; on one axis, on two, and over each other."""
    pt, weights = events.pt, events.n - 2.0
    each = ak.flatten(ak.broadcast_arrays(weights, pt)[0])
    squares = ak.flatten(pt) / 10
    given = {"n - 2.0": each, "pt / 10": squares, "good": ak.flatten(ak.broadcast_arrays(events.good, pt)[0])}
    queries = {weight: session.draw(data, "pt", weight=weight, bins=bins, wait=False) for weight in given}
    for weight, query in queries.items():
        drawn, of = query.result().value, np.asarray(given[weight], float)
        places = np.searchsorted(drawn.axes[0].edges, np.asarray(ak.flatten(pt), float), side="right")
        size = drawn.axes[0].size + 2
        np.testing.assert_allclose(drawn.values(flow=True), np.bincount(places, of, size), atol=1e-6)
        np.testing.assert_allclose(drawn.variances(flow=True), np.bincount(places, of**2, size), atol=1e-6)
        assert f"weight={weight}" in query.name
    chosen = session.draw(data, "pt", "pt > 20", weight="n - 2.0", bins=bins)
    assert chosen.sum(flow=True).value == pytest.approx(float(ak.sum(each[ak.flatten(pt) > 20])))
    two = session.draw(data, "pt", y="n", weight="n - 2.0", bins=bins and [bins, 5])
    assert two.sum(flow=True).value == pytest.approx(float(ak.sum(each)))
    over = session.draw(data, {"all": "pt", "hard": "pt[pt > 20]"}, weight="n - 2.0", bins=bins)
    assert over["hard", :].sum(flow=True).value == pytest.approx(float(ak.sum(each[ak.flatten(pt) > 20])))


def test_a_histogram_is_the_same_however_the_data_are_cut(session: em.Session, data: em.Dataset) -> None:
    """Bins are chosen from all values: the chunks of a call, and slots, do not show."""
    folder = str(Path(data.files[0].path).parent)
    cuts: list[Any] = [None, (1, 400), (700, 700)]
    queries = [
        session.draw(em.Dataset(folder, tree="Events", chunk=chunk), "pt", y="met", where="pt < 1e4", wait=False)
        for chunk in cuts
    ]
    first, *others = [query.result().value for query in queries]
    assert all(other == first for other in others)
    assert session.draw(data, "pt", bins=50) == session.draw(
        em.Dataset(folder, tree="Events", chunk=(1, 900)), "pt", bins=50
    )


def test_a_drawing_is_seen_to_fill(session: em.Session, data: em.Dataset, events: Any) -> None:
    """Each snapshot is a histogram of what is processed by then, and another session sees the same."""
    query = session.draw(data, "met", wait=False)
    for snapshot in query.stream():
        assert snapshot.value.sum(flow=True) == snapshot.account.processed
    assert flow(session.attach(query.id).result().value) == flow(snapshot.value)
    assert flow(snapshot.value) == counted(ak.to_numpy(events.met), snapshot.value.axes[0].edges)


def test_two_axes_and_several_expressions(session: em.Session, data: em.Dataset, events: Any) -> None:
    both = session.draw(data, "pt", y="n", bins=[(20, 0, 100), None])
    pt, n = (ak.to_numpy(ak.ravel(column)) for column in ak.broadcast_arrays(events.pt, events.n))
    assert np.array_equal(both.view(flow=True), Hist(*both.axes).fill(pt, n).view(flow=True))
    assert [axis.label for axis in both.axes] == ["pt", "n"] and both.axes[1].size == 5
    over = session.draw(data, {"all": "pt", "high": "pt[pt > 20]"}, where="n > 1")
    assert list(over.axes[0]) == ["all", "high"]
    several = events.pt[events.n > 1]
    for case, values in {"all": several, "high": several[several > 20]}.items():
        assert flow(over[{"expression": case}]) == counted(ak.to_numpy(ak.ravel(values)), over.axes[1].edges)
    fixed = session.draw(data, ["met", "2 * met"], bins=(10, 0, 50))
    assert list(fixed.axes[0]) == ["met", "2 * met"] and fixed.sum(flow=True) == 2 * 3 * ENTRIES


def test_bins_that_are_given_are_those_of_a_plain_histogram(session: em.Session, data: em.Dataset, events: Any) -> None:
    drawn = session.draw(data, "np.sqrt(n)", bins=(10, 0, 40))
    assert drawn == Hist.new.Reg(10, 0, 40, label="np.sqrt(n)").Double().fill(np.sqrt(ak.to_numpy(events.n)))


def test_of_no_events_there_is_an_empty_histogram(session: em.Session, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "empty.root") as file:
        file.mktree("Events", {"x": "f8"})
    for bins in (None, (4, 0, 1)):
        drawn = session.draw(f"{tmp_path}/empty.root", "x", bins=bins)
        assert isinstance(drawn, Hist) and drawn.sum(flow=True) == 0


def test_what_cannot_be_drawn_is_refused(session: em.Session, data: em.Dataset) -> None:
    """At once, or with the words of the slot; a branch that is missing with those that are near."""
    with pytest.raises(AnalysisError, match=r"cannot read 'n >': invalid syntax\n    n >\n       \^"):
        session.draw(data, "n >")
    with pytest.raises(AnalysisError, match="names no branch"):
        session.draw(data, "met", where="3 > 2")
    with pytest.raises(AnalysisError, match="'Met' names Met, and no column is called so; the nearest names are met"):
        session.draw(data, "Met")
    with pytest.raises(AnalysisError, match=r"'\(n >= 2\) & \(met > 0\) | ~\(met > 9\)'"):
        session.draw(data, "met", where="n >= 2 and met > 0 or not met > 9")
    with pytest.raises(AnalysisError, match=r"where='n' gives u?int\d\d, not true or false"):
        session.draw(data, "met", where="n")
    with pytest.raises(DatasetError, match="only branches can be drawn, and cycles have none"):
        session.draw(em.cycles(10), "met")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"bins": 0}, r"as in bins=\(50, 0, 100\)"),
        ({"bins": (1, 2)}, r"as in bins=\(50, 0, 100\)"),
        ({"bins": (10, 1, 1)}, r"as in bins=\(50, 0, 100\)"),
        ({"bins": (10, 0, float("inf"))}, r"as in bins=\(50, 0, 100\)"),
        ({"bins": "50"}, r"as in bins=\(50, 0, 100\)"),
        ({"bins": (2.5, 0, 1)}, r"as in bins=\(50, 0, 100\)"),
        ({"bins": (50, 0, 100), "y": "b"}, r"for each: bins=\[\(50, 0, 100\), 20\]"),
        ({"bins": 10_000, "y": "b"}, "100,040,004 bins are more than"),
        ({"drawn": ("a", "b")}, "for two axes write draw"),
        ({"drawn": ["a", "b"], "y": "c"}, "draw one"),
        ({"drawn": []}, "0 expressions"),
        ({"drawn": ["a", 3]}, "give an expression as a text"),
        ({"drawn": {"": "a"}}, "give an expression as a text"),
    ],
)
def test_what_is_no_drawing_is_said(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Drawing.of(**({"drawn": "a", "where": None, "y": None, "bins": None} | given))
