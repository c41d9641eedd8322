# mypy: allow-untyped-defs, allow-untyped-decorators
"""Variations of weights as lanes of one run: bit for bit what separate runs give, and only where weights are weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.analysis.analysis import Kernel, kernel
from eventmill.analysis.cutflow import Cutflow
from eventmill.analysis.variations import vary
from eventmill.merge import decode
from eventmill.protocol.messages import File
from eventmill.reading.reader import Reader
from eventmill.worker.kernels.weights_only import perhaps_weights
from eventmill.worker.slot.seeding import Seed
from eventmill.worker.slot.varied_kernels import VariedKernelTask
from hist import Hist

ENTRIES, WEIGHTS = 1500, 5


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Any:
    random = np.random.default_rng(5)
    lengths = random.poisson(2, ENTRIES)
    columns = {
        "pt": ak.unflatten(random.exponential(30, lengths.sum()).astype("f4"), lengths),
        "met": random.exponential(30, ENTRIES).astype("f4"),
        "n": random.integers(0, 5, ENTRIES).astype("i4"),
        **{f"w{number}": random.normal(1, 0.3, ENTRIES).astype("f4") for number in range(WEIGHTS)},
        "sf": random.normal(1, 0.1, ENTRIES),
        "sf_up": random.normal(1.1, 0.1, ENTRIES),
    }
    path = tmp_path_factory.mktemp("lanes") / "events.root"
    with uproot.recreate(path) as file:
        kinds = {name: it.type if isinstance(it, ak.Array) else it.dtype for name, it in columns.items()}
        file.mktree("Events", kinds).extend(columns)
    made = Reader(str(path), "Events")
    yield made
    made.close()


def task(thing: Kernel, variations: Any, reader: Reader, folder: Path) -> VariedKernelTask:
    made = VariedKernelTask(vary(thing, variations), folder, None)
    made.seed = Seed(3, "file")
    made.look_at(reader)
    made.prepare(reader, File("x", "Events"))
    return made


def run(made: VariedKernelTask, reader: Reader) -> Any:
    for start, stop in ((0, 700), (700, ENTRIES)):
        made.run(reader, File("x", "Events"), start, stop)
    return decode(made.take())


WEIGHT_ONLY = {f"w{number}": {"w0": f"w{number}"} for number in range(1, WEIGHTS)} | {"sf": {"sf": "sf_up"}}
MIXED = WEIGHT_ONLY | {"met_up": {"met": "met * 1.1"}, "both": {"met": "met * 0.9", "w0": "w1"}}


def helper(weight, factor):
    return 0.5 * weight * factor + weight / 3 - 1


@kernel(
    h=Hist.new.Reg(20, 0, 100).Reg(5, 0, 5).Weight(),
    d=Hist.new.Reg(20, 0, 100).Double(),
    n_seen=Hist.new.Reg(20, 0, 100).Int64(),
    mean=Hist.new.Reg(20, 0, 100).Mean(),
    cuts=Cutflow("all", "jets", "met"),
    seen=np.zeros(2),
)
def all_kinds(h, d, n_seen, mean, cuts, seen, pt, met, n, w0, sf):
    weight = w0 * sf
    cuts.passed("all", weight)
    seen[0] += np.floor(100 * np.random.random())
    for i in range(len(pt)):
        cuts.passed("jets", weight=helper(w0, sf))
        h.fill(pt[i], n, weight=weight * n)
        d.fill(pt[i], weight=2 + weight - w0)
    n_seen.fill(met)
    mean.fill(met, sample=n)
    d.fill(met)
    weight *= 2
    if met > 40:
        if len(pt):
            cuts.passed("met", weight)
        h.fill(met, 1.5)
        seen[1] += 1


def same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)


@pytest.mark.long("compiles for seconds what tests/processes/test_variations.py has some of")
def test_lanes_are_bit_for_bit_what_separate_runs_give(reader, tmp_path: Path) -> None:
    """Histograms, cutflows, arrays, helpers, arithmetic, random numbers; beside variations that run by themselves."""
    together = task(all_kinds, MIXED, reader, tmp_path)
    assert together._weighted is not None
    assert together._weighted.names == list(WEIGHT_ONLY)
    found = run(together, reader)
    assert list(found) == ["nominal", *MIXED]
    alone = task(all_kinds, MIXED, reader, tmp_path)
    alone._weighted = None
    for name, outputs in run(alone, reader).items():
        for output, value in outputs.items():
            assert same(found[name][output], value), (name, output)
    assert found["w1"]["h"] != found["nominal"]["h"]
    assert found["w1"]["n_seen"] == found["nominal"]["n_seen"]
    again = run(together, reader)
    assert again["sf"]["cuts"] == found["sf"]["cuts"]
    together.run(reader, File("x", "Events"), 0, 700)
    together.discard()
    assert run(together, reader)["both"]["d"] == found["both"]["d"]


@kernel(h=Hist.new.Reg(20, 0, 100).Weight())
def compares(h, met, w0):
    if w0 > 1:
        h.fill(met, weight=w0)


@kernel(h=Hist.new.Reg(20, 0, 3).Double())
def fills(h, w0, sf):
    h.fill(w0, weight=sf)


@kernel(h=Hist.new.Reg(20, 0, 3).Double(), total=np.zeros(1))
def sums(h, total, met, w0, sf):
    total[0] += w0
    h.fill(met, weight=sf)


@kernel(h=Hist.new.Reg(20, 0, 100).WeightedMean())
def means(h, met, w0):
    h.fill(met, weight=w0, sample=met)


@pytest.mark.parametrize(("thing", "light"), [(compares, None), (fills, ["sf"]), (sums, ["sf"]), (means, None)])
def test_what_is_more_than_a_weight_is_run_by_itself(reader, tmp_path: Path, thing: Kernel, light: Any) -> None:
    """Compared, filled as a value, summed into an array, or filled into means: what each gives is right all the same."""
    variations = {"w1": {"w0": "w1"}} | ({"sf": {"sf": "sf_up"}} if "sf" in thing.branches else {})
    made = task(thing, variations, reader, tmp_path)
    assert (made._weighted and made._weighted.names) == light
    found = run(made, reader)
    made._weighted = None
    for name, outputs in run(made, reader).items():
        assert all(same(found[name][output], value) for output, value in outputs.items()), name


def test_a_division_by_zero_is_one_in_lanes_too(reader, tmp_path: Path) -> None:
    @kernel(h=Hist.new.Reg(20, 0, 100).Weight())
    def divides(h, met, n, w0):
        h.fill(met, weight=w0 / n)

    made = task(divides, {"w1": {"w0": "w1"}}, reader, tmp_path)
    assert made._weighted is not None
    with pytest.raises(ZeroDivisionError):
        run(made, reader)
    assert made.entry == int(np.flatnonzero(reader.read(["n"], 0, ENTRIES)["n"].values == 0)[0])


def test_the_source_of_a_kernel_tells_what_is_no_weight() -> None:
    """So that nothing is compiled in vain."""
    perhaps = perhaps_weights(all_kinds.__wrapped__)
    assert perhaps is not None
    assert {"w0", "sf"} <= perhaps
    assert "met" not in perhaps
    assert not {"w0", "met"} & (perhaps_weights(compares.__wrapped__) or set())
