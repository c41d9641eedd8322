# mypy: allow-untyped-defs, allow-untyped-decorators
"""Cutflows: they count what boolean algebra counts, in masks and in kernels; they add up; odd input is told."""

from __future__ import annotations

import itertools
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
from eventmill.analysis.analysis import kernel
from eventmill.analysis.cutflow import Cutflow
from eventmill.display.drawings import find, named
from eventmill.merge import Partial, Total, decode, encode, plain
from eventmill.protocol.errors import AnalysisError, MergeError, RemoteProtocolError
from eventmill.reading.columns import Flat
from eventmill.worker.kernels.compile import CompiledKernel
from hist import Hist

CUTS = ("trigger", "two muons", "mass")


def events(entries: int, seed: int = 1) -> tuple[dict[str, Any], Any]:
    """Masks, and weights of both signs whose sums are exact."""
    random = np.random.default_rng(seed)
    masks = {name: random.random(entries) < part for name, part in zip(CUTS, (0.8, 0.5, 0.3), strict=True)}
    return masks, random.integers(-8, 32, entries) / 8


def filled(masks: dict[str, Any], weight: Any = None) -> Cutflow:
    cuts = Cutflow(weight=weight)
    for name, mask in masks.items():
        cuts.add(name, mask)
    return cuts


def test_masks_are_counted_in_order_alone_and_all_but_one() -> None:
    masks, weight = events(1000)
    cuts = filled({name: ak.Array(mask) for name, mask in masks.items()}, ak.Array(weight.astype("f4")))
    everything = np.ones(1000, bool)
    rows = [everything, *masks.values()]
    for passed, expected in (
        (cuts.sequential, [np.all(rows[: row + 1], axis=0) for row in range(4)]),
        (cuts.alone, rows),
        (cuts.nminusone, [np.all(rows[:row] + rows[row + 1 :] if row else rows, axis=0) for row in range(4)]),
    ):
        assert passed.names == ("all", *CUTS)
        assert passed.counts.tolist() == [int(mask.sum()) for mask in expected]
        assert passed.weights.tolist() == [float(weight[mask].sum()) for mask in expected]
        assert passed.variances.tolist() == [float((weight[mask] ** 2).sum()) for mask in expected]
    assert np.array_equal(cuts.mask, np.all(rows, axis=0))
    assert np.array_equal(cuts.passing("trigger", "mass"), masks["trigger"] & masks["mass"])
    unweighted = filled(masks)
    assert unweighted.weights.tolist() == unweighted.variances.tolist() == unweighted.counts.tolist()


def test_efficiencies_are_those_of_boost_histograms_and_of_root() -> None:
    """Without weights e (1 - e) / n; with weights the variance of w_p / (w_p + w_f), its two parts being independent."""
    masks, weight = events(1000)
    weight = np.abs(weight)
    cuts = filled(masks, weight)
    part, error = cuts.efficiency(weighted=False)
    expected = cuts.counts / 1000
    assert part == pytest.approx(expected)
    assert error == pytest.approx(np.sqrt(expected * (1 - expected) / 1000))
    part, error = cuts.efficiency(of_previous=True)
    passed, failed = cuts.weights[2], cuts.weights[1] - cuts.weights[2]
    v_passed, v_failed = cuts.variances[2], cuts.variances[1] - cuts.variances[2]
    assert part[2] == pytest.approx(passed / (passed + failed))
    propagated = np.sqrt(failed**2 * v_passed + passed**2 * v_failed) / (passed + failed) ** 2
    assert error[2] == pytest.approx(propagated)


@kernel(cuts=Cutflow("all", *CUTS), seen=np.zeros(1))
def looping(cuts, seen, trigger, muons, mass, weight):
    cuts.passed("all", weight)
    if not trigger:
        return
    cuts.passed("trigger", weight=weight)
    for _ in range(2):  # of two candidates; the event is counted once
        if muons:
            cuts.passed("two muons", weight)
            if mass:
                cuts.passed("mass", weight)
                seen[0] += 1


def test_kernels_pass_cuts_one_by_one_each_once_an_event(tmp_path) -> None:
    """The same as masks, also for the plain function, called as one tries it without a session."""
    masks, weight = events(1000)
    columns = dict(zip(("trigger", "muons", "mass"), masks.values(), strict=True)) | {"weight": weight}
    compiled = CompiledKernel(looping, tmp_path)
    for start in (0, 400):
        stop = start + 400 if start == 0 else 1000
        compiled.run({name: Flat(column[start:stop]) for name, column in columns.items()}, start)
    outputs, _ = compiled.take()
    by_hand, seen = Cutflow("all", *CUTS), np.zeros(1)
    for row in zip(*columns.values(), strict=True):
        looping(by_hand, seen, *row)
    of_masks = filled(masks, weight)
    cuts: Any = outputs["cuts"]
    assert cuts.names == by_hand.names == of_masks.names
    assert cuts == by_hand
    for name in ("counts", "weights", "variances"):
        assert np.array_equal(getattr(cuts, name), getattr(of_masks, name)), name
    with pytest.raises(AnalysisError, match="what passes is not known of all cuts but one"):
        _ = cuts.nminusone
    again: Any = compiled.take()[0]["cuts"]
    assert again.counts.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ("cuts.passed('alll')", AnalysisError, "the cutflow has no cut 'alll'; it has all, b"),
        ("cuts.passed('ALL'.lower())", AnalysisError, "takes the name of a cut as it stands"),
        ("cuts.passed('all', 'b')", AnalysisError, "the weight of a cut is a number, not"),
        ("cuts.passed()", AnalysisError, "takes the name of a cut, and perhaps weight="),
        ("cuts.passed('b')", ValueError, "a cut is passed before one in front of it"),
        ("cuts.passed('all', np.nan)", ValueError, "the weight of an event is not a finite number"),
        ("cuts.passed('all', -np.inf)", ValueError, "the weight of an event is not a finite number"),
    ],
)
def test_what_a_kernel_does_wrong_is_told(tmp_path, body: str, error: type[Exception], said: str) -> None:
    names: dict[str, Any] = {"np": np, "__name__": "__main__"}
    exec(f"def wrong(cuts, x):\n    {body}\n", names)
    with pytest.raises(error, match=said):
        CompiledKernel(kernel(cuts=Cutflow("all", "b"))(names["wrong"]), tmp_path).run({"x": Flat(np.ones(3))}, 0)


def test_a_cutflow_without_names_is_no_output() -> None:
    with pytest.raises(AnalysisError, match=r'output cuts names no cuts: for a kernel, write Cutflow\("all"'):
        kernel(cuts=Cutflow())(lambda cuts, x: None)


# --- merging ----------------------------------------------------------------------------------------------------------


def test_cutflows_add_up_in_any_order_and_travel() -> None:
    """Also packets without events; in an agent and a master, which see frames."""
    masks, weight = events(900)
    parts = [slice(0, 300), slice(300, 300), slice(300, 900)]
    frames = [
        encode({"cuts": filled({name: mask[part] for name, mask in masks.items()}, weight[part])}, 1).to_frames()
        for part in parts
    ]
    for order in itertools.permutations(frames):
        total = Total()
        for each in order:
            total.add(Partial.from_frames([bytes(frame) for frame in each]))
        merged: Any = decode(total.partial())
        assert merged["cuts"] == filled(masks, weight)
        assert dict(plain(total.partial()))["cuts"] == merged["cuts"]  # type: ignore[call-overload]
    assert sum([filled(masks, weight), filled(masks, weight)]).counts[0] == 1800  # type: ignore[union-attr]


@pytest.mark.parametrize("other", [("two muons", "trigger"), ("trigger",), ("trigger", "two muons", "mass")])
def test_cuts_that_differ_between_packets_are_refused(other: tuple[str, ...]) -> None:
    """In another order, too: a line would count two things."""
    masks, _ = events(10)
    total = Total()
    total.add(encode({"cuts": filled({name: masks[name] for name in ("trigger", "two muons")})}, 10))
    with pytest.raises(
        MergeError, match=r"result\['cuts'\]: cutflows of two packets do not add up: the cuts all, trigger"
    ):
        total.add(encode({"cuts": filled({name: masks[name] for name in other})}, 10))
    with pytest.raises(AnalysisError, match="cutflows that do not add up"):
        _ = filled(masks) + filled({"other": masks["mass"]})


def test_a_cutflow_of_masks_and_one_of_a_kernel_do_not_mix() -> None:
    with pytest.raises(AnalysisError, match="cuts of masks in one, and passed one by one in the other"):
        _ = filled({"x": np.ones(2, bool)}) + Cutflow("all", "x")


def test_a_damaged_cutflow_is_refused_on_the_wire() -> None:
    frames = encode(filled({"x": np.ones(2, bool)}), 2).to_frames()
    with pytest.raises(RemoteProtocolError):
        Partial.from_frames([*map(bytes, frames[:1]), b"\0" * 8, bytes(frames[2])])


# --- odd input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mask", "said"),
    [
        ("x", np.ones(3, bool), "the cut 'x' is there twice"),
        ("all", np.ones(3, bool), "the cut 'all' is there twice"),
        ("", np.ones(3, bool), "a cut has a text for its name"),
        ("y", np.ones(2, bool), "the cut 'y' is about 2 events, and the cutflow about 3"),
        ("y", np.ones(3, int), "the cut 'y' is of int64: it takes a truth value for each event"),
        ("y", ak.Array([True, None, None]), "the cut 'y' has None for 2 events"),
        ("y", np.ma.masked_array([True, True, True], [False, True, False]), "the cut 'y' has None for 1 events"),
        ("y", ak.Array([[True], [], [True, False]]), r"the cut 'y' has var \* bool for each event"),
        ("y", np.ones((3, 2), bool), "the cut 'y' has 2 dimensions"),
    ],
)
def test_masks_that_are_none_are_refused(name: str, mask: Any, said: str) -> None:
    cuts = Cutflow().add("x", np.ones(3, bool))
    with pytest.raises(AnalysisError, match=said):
        cuts.add(name, mask)
    assert cuts.counts.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (np.array([1, np.nan, np.inf]), "no finite number in 2 of 3 events, the first at 1: nan"),
        (ak.Array([1.0, None]), "the weight of a cutflow has None for 1 events"),
        (np.array(["a"]), "the weight of a cutflow is of"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(weight: Any, said: str) -> None:
    with pytest.raises(AnalysisError, match=said):
        Cutflow(weight=weight)


def test_options_without_none_and_no_events_are_fine_and_an_empty_cutflow_is_told() -> None:
    assert filled({"x": ak.Array([True, None])[:1]}).counts.tolist() == [1, 1]
    assert filled({"x": np.zeros(0, bool)}, np.zeros(0)).counts.tolist() == [0, 0]
    assert "-" in repr(filled({"x": np.zeros(0, bool)}))
    with pytest.raises(MergeError, match="this cutflow is empty"):
        encode({"cuts": Cutflow()}, 1)


# --- shown, by datasets and variations, and coffea --------------------------------------------------------------------


def test_a_result_has_a_table_by_dataset_and_variation_and_displays_have_its_lines(session, tmp_path) -> None:
    import uproot

    for name, factor in (("signal", 2.0), ("background", 1.0)):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file.mktree("Events", {"met": "float64"}).extend({"met": np.arange(100) * factor})
    data = em.Dataset({name: [str(tmp_path / f"{name}.root")] for name in ("signal", "background")}, tree="Events")

    def analysis(events: Any, file: Any) -> Any:
        cuts = em.Cutflow().add("hard", events.met >= 50).add("harder", events.met >= 90)
        return {file.dataset: {"cuts": cuts, "met": Hist.new.Reg(10, 0, 200).Double().fill(events.met[cuts.mask])}}

    result = session.process(data, em.vary(analysis, {"up": {"met": "met + 10"}})).result()
    counts = {
        (variation, name): it["cuts"].counts.tolist() for variation, by in result.items() for name, it in by.items()
    }
    assert counts == {
        ("nominal", "signal"): [100, 75, 55],
        ("nominal", "background"): [100, 50, 10],
        ("up", "signal"): [100, 80, 60],
        ("up", "background"): [100, 60, 20],
    }
    rows = dict(named(result.value))
    assert rows["nominal/signal/cuts/hard"].startswith("75 events, 75.00 ± 4.33 % of all")
    assert find(result.value, "nominal/signal/cuts/hard") == rows["nominal/signal/cuts/hard"]
    assert '<td style="text-align:right">55</td>' in result["nominal"]["signal"]["cuts"]._repr_html_()
    lines = repr(result["nominal"]["background"]["cuts"]).splitlines()
    assert lines[-1].split() == ["harder", "10", "10.00", "±", "3.00", "%", "20.00", "±", "5.66", "%"]


def test_cutflows_are_those_of_coffeas_packed_selection() -> None:
    tools = pytest.importorskip("coffea.analysis_tools")
    masks, _ = events(1000)
    cuts = filled(masks)
    selection = cuts.to_coffea()
    assert isinstance(selection, tools.PackedSelection)
    theirs, but_one = selection.cutflow(*CUTS).result(), selection.nminusone(*CUTS).result()
    assert cuts.counts.tolist() == [int(n) for n in theirs.nevcutflow]
    assert cuts.alone.counts.tolist() == [int(n) for n in theirs.nevonecut]
    first, *others = cuts.nminusone.counts.tolist()
    assert [*others, first] == [int(n) for n in but_one.nev[1:]]
    assert Cutflow.from_coffea(selection) == cuts
    assert Cutflow.from_coffea(selection, names=["mass", "trigger"]).names == ("all", "mass", "trigger")
    with pytest.raises(AnalysisError, match="this cutflow has no masks"):
        decode_of(cuts).to_coffea()


def decode_of(cuts: Cutflow) -> Any:
    return decode(encode(cuts, 1))


# --- all cuts in each event of a kernel -------------------------------------------------------------------------------


@kernel(cuts=Cutflow(*CUTS, nminusone=True))
def adding(cuts, trigger, muons, mass, weight):
    if weight == 0:
        return  # adds none, and is in no line
    cuts.add("trigger", trigger, weight)
    cuts.add("two muons", muons, weight=weight)
    cuts.add("mass", mask=mass, weight=weight)


def test_kernels_that_add_all_cuts_count_what_masks_do(tmp_path, session) -> None:
    """In order, alone, and all but one; for the plain function, too, and for variations of a weight that are one run."""
    import uproot

    masks, weight = events(1000)
    columns = dict(zip(("trigger", "muons", "mass"), masks.values(), strict=True)) | {"weight": weight}
    compiled = CompiledKernel(adding, tmp_path)
    for start, stop in ((0, 400), (400, 400), (400, 1000)):
        compiled.run({name: Flat(column[start:stop]) for name, column in columns.items()}, start)
    by_hand = Cutflow(*CUTS, nminusone=True)
    for row in zip(*columns.values(), strict=True):
        adding(by_hand, *row)
    some = weight != 0
    of_masks = filled({name: mask[some] for name, mask in masks.items()}, weight[some])
    outputs: Any = compiled.take()[0]
    assert outputs["cuts"] == by_hand == of_masks
    assert outputs["cuts"] + of_masks == by_hand + by_hand
    with uproot.recreate(tmp_path / "events.root") as file:
        file.mktree("Events", {name: column.dtype for name, column in columns.items()}).extend(columns)
    data = em.Dataset(str(tmp_path / "events.root"), tree="Events")
    varied = em.vary(adding, {f"w{n}": {"weight": f"weight * {n}"} for n in (2, 4)} | {"inverted": {"mass": "~mass"}})
    result = session.process(data, varied).result()
    for name, factor in (("nominal", 1), ("w2", 2), ("w4", 4)):
        assert result[name]["cuts"] == filled({key: it[some] for key, it in masks.items()}, weight[some] * factor)
    masks["mass"] = ~masks["mass"]
    assert result["inverted"]["cuts"] == filled({name: it[some] for name, it in masks.items()}, weight[some])


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ("cuts.add('b', True)", ValueError, "a cut is added out of order, or twice"),
        ("cuts.add('a', True); cuts.add('a', True)", ValueError, "a cut is added out of order, or twice"),
        ("cuts.add('a', x > 2)", ValueError, "an event has added some cuts of a cutflow and not all of them"),
        ("cuts.add('a', True, np.nan)", ValueError, "the weight of an event is not a finite number"),
        ("cuts.add('all', True)", AnalysisError, "the cutflow has no cut 'all'; it has a, b"),
        ("cuts.add('a', x)", AnalysisError, "whether an event passes a cut is a truth value, not float64"),
        ("cuts.add('a')", AnalysisError, "takes the name of a cut, whether the event passes it"),
        ("cuts.passed('a')", AnalysisError, r"nminusone=True takes add\(name, passed, weight\)"),
    ],
)
def test_what_a_kernel_adds_wrong_is_told(tmp_path, body: str, error: type[Exception], said: str) -> None:
    names: dict[str, Any] = {"np": np, "__name__": "__main__"}
    exec(f"def wrong(cuts, x):\n    {body}\n", names)
    declared = kernel(cuts=Cutflow("a", "b", nminusone=True))(names["wrong"])
    with pytest.raises(error, match=said):
        CompiledKernel(declared, tmp_path).run({"x": Flat(np.ones(3))}, 0)


def test_cutflows_of_each_kind_say_what_they_take(tmp_path) -> None:
    with pytest.raises(AnalysisError, match="is for cutflows of kernels, which name their cuts"):
        Cutflow(nminusone=True)
    with pytest.raises(AnalysisError, match="is for cutflows of kernels, which name their cuts, 50 of them at most"):
        Cutflow(*map(str, range(51)), nminusone=True)
    with pytest.raises(AnalysisError, match="'all' is there twice"):
        Cutflow("all", nminusone=True)
    adds = kernel(cuts=Cutflow("a"))(lambda cuts, x: cuts.add("a", x > 0))
    with pytest.raises(AnalysisError, match=r"with Cutflow\(\.\.\., nminusone=True\) it takes add"):
        CompiledKernel(adds, tmp_path).run({"x": Flat(np.ones(3))}, 0)
