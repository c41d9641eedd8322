# mypy: allow-untyped-defs, allow-untyped-decorators
"""What kernels know of where they are, and constants: arguments of the compiled code, never a part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import eventmill as em
import numpy as np
import pytest
from columns import flat
from eventmill.analysis.analysis import kernel, pack, unpack
from eventmill.merge.histograms import FilledHistogram
from eventmill.protocol.errors import AnalysisError
from eventmill.worker.kernels.compile import CompiledKernel
from eventmill.worker.kernels.given import Place
from hist import Hist

COLUMNS = {"x": flat(1.0, 2.0, 3.0)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


def prepared(thing: Any, cache: Path, place: Place) -> CompiledKernel:
    compiled = CompiledKernel(thing, cache)
    compiled.parameters.turn_to(place)
    compiled.prepare(lambda names: {name: COLUMNS[name].slice(0, 0) for name in names})
    return compiled


def run(compiled: CompiledKernel, place: Place, numbers: Any = None) -> dict[str, Any]:
    compiled.parameters.turn_to(place)
    compiled.run({name: COLUMNS[name] for name in compiled.branches}, 100, numbers, entries=3)
    return {name: it.array if isinstance(it, FilledHistogram) else it for name, it in compiled.take()[0].items()}


@kernel(
    of=Hist.new.StrCat(["ttbar", "wjets"], name="of").Double(),
    era=Hist.new.StrCat(["2017", "2018"], name="era").Double(),
    n=np.zeros(8),
)
def everything(of, era, n, x, here=em.here):
    of.fill(here.dataset, weight=x * here.metadata["weight"])
    era.fill(here.metadata["era"])
    n[0] += here.entry
    n[1] += here.dataset == "ttbar"
    n[2] += here.metadata["era"] in ("2016", "2018")
    n[3] += here.metadata["year"] // 2
    n[4] += here.metadata["is data"]
    n[5] += here.path != "b.root" and here.tree == "Events"
    label = "ttbar" if x > 1.5 else "wjets"
    of.fill(label)
    n[6] += here.dataset == label


TTBAR = Place("ttbar", "a.root", "Events", {"weight": 0.5, "era": "2018", "year": 2019, "is data": False, "unused": []})
WJETS = Place("wjets", "b.root", "Events", {"weight": 2.0, "era": "2017", "year": 2017, "is data": True})


def test_two_datasets_run_through_one_code_with_their_own_values(cache: Path) -> None:
    compiled = prepared(everything, cache, TTBAR)
    first = run(compiled, TTBAR)
    assert first["of"].tolist() == [3.0 + 2, 1, 0]
    assert first["era"].tolist() == [0, 3, 0]
    assert first["n"].tolist() == [303, 3, 3, 3 * 1009, 0, 3, 2, 0]
    second = run(compiled, WJETS, numbers=np.array([7, 9, 11]))
    assert second["of"].tolist() == [2, 12.0 + 1, 0]
    assert second["era"].tolist() == [3, 0, 0]
    assert second["n"].tolist() == [27, 0, 0, 3 * 1008, 3, 0, 1, 0]
    assert compiled.compiled + compiled.loaded == 1


def test_metadata_of_another_type_and_metadata_that_are_missing(cache: Path) -> None:
    @kernel(total=np.zeros(1))
    def weighted(total, here=em.here):
        total[0] += here.metadata["weight"] / 2

    compiled = prepared(weighted, cache, Place("a", metadata={"weight": 3}))
    assert run(compiled, Place("a", metadata={"weight": 3}))["total"] == [4.5]
    assert run(compiled, Place("b", metadata={"weight": 0.25, "more": 1}))["total"] == [0.375]
    with pytest.raises(AnalysisError, match=r"weighted: the dataset c has no metadata 'weight'; it has wait"):
        run(compiled, Place("c", metadata={"wait": 1.0}))
    with pytest.raises(AnalysisError, match=r"the metadata 'weight' of the dataset d are a list: kernels take numbers"):
        run(compiled, Place("d", metadata={"weight": [1.0]}))
    for place, said in (
        (Place("e", metadata={"wait": 1.0}), r"the dataset e has no metadata 'weight'; it has wait"),
        (Place("f", metadata={"weight": None}), "the metadata 'weight' of the dataset f are a NoneType"),
    ):
        with pytest.raises(AnalysisError, match=said):
            prepared(weighted, cache, place)


def test_what_here_does_not_have_is_said(cache: Path) -> None:
    @kernel(total=np.zeros(1))
    def method(total, x, here=em.here):
        total[0] += here.dataset.startswith("tt")

    with pytest.raises(AnalysisError, match=r"a word of here has no startswith in compiled code: it can be compared"):
        prepared(method, cache, TTBAR)


def of_constants(array: Any, number: Any) -> Any:
    @kernel(total=np.zeros(2))
    def looked_up(total, x, table=em.constant(array), scale=em.constant(number)):  # noqa: B008 - as users write it
        total[0] += table[int(x), 1] * scale
        total[1] += len(table)

    return looked_up


def test_another_constant_is_another_result_and_no_other_code(cache: Path) -> None:
    table = np.arange(8.0).reshape(4, 2)
    thing = of_constants(table, 2.0)
    table[:] = -1  # the constant is what it was
    first, second = prepared(thing, cache, Place()), prepared(of_constants(np.full((5, 2), 7.0), 3.0), cache, Place())
    assert run(first, Place())["total"].tolist() == [(3 + 5 + 7) * 2, 12]
    assert run(second, Place())["total"].tolist() == [63, 15]
    assert (second.compiled, second.loaded) == (0, 1)
    assert run(prepared(of_constants(np.ones((4, 2), "i4"), 3), cache, Place()), Place())["total"].tolist() == [9, 12]


def test_constants_travel_and_name_the_analysis() -> None:
    """An analysis that differs in a constant only is another one for whoever keeps results or code by its digest."""
    one, same, other = (of_constants(np.full((4, 2), value), 1.0) for value in (2.0, 2.0, 3.0))
    assert pack(one).digest == pack(same).digest != pack(other).digest
    again = unpack(pack(other).blob)
    assert again.given["table"].value.tolist() == [[3.0, 3.0]] * 4
    assert again.branches == ("x",)


NAMES, NUMBERS, CUTS = ["wjets", "ttbar"], [1, 2.5, 3], {"2017": 1.5, "2018": 2.5}
BY_YEAR = {2017: (1.0, 2.0), 2019: (3.0, 4.0)}
SETTINGS = {"cut": 0.5, "names": ["a", "ttbar"], "table": [[1, 2], [3, 4]], "inner": {"low": 10.0}}
YEARS = {2016, 2019}


@kernel(n=np.zeros(9))
def captured(n, x, here=em.here):
    n[0] += here.dataset in NAMES
    n[1] += NUMBERS[int(x) - 1] + len(NUMBERS)
    for it in NUMBERS:
        n[2] += it
    n[3] += CUTS[here.metadata["era"]] + CUTS.get("2016", -1.0) + ("2019" in CUTS)
    n[4] += BY_YEAR[here.metadata["year"]][1]
    n[5] += SETTINGS["cut"] + SETTINGS["table"][1, 0] + SETTINGS["inner"]["low"]
    n[6] += here.dataset in SETTINGS["names"]
    n[7] += here.metadata["year"] in YEARS


def test_lists_and_dicts_outside_are_constants(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also another time in the same process, when what is in them has changed."""
    out = run(prepared(captured, cache, TTBAR), TTBAR)["n"]
    assert out.tolist() == [3, 6.5 + 9, 3 * 6.5, 3 * (2.5 - 1), 12, 3 * 13.5, 3, 3, 0]
    monkeypatch.setitem(CUTS, "2018", 7.5)
    again = run(prepared(captured, cache, TTBAR), TTBAR)["n"]
    assert again.tolist() == [*out[:3], 3 * (7.5 - 1), *out[4:]]


def test_what_compiled_code_does_not_take_from_outside_is_said(cache: Path) -> None:
    odd, ragged = Path("a"), [[1], [2, 3]]

    @kernel(n=np.zeros(1))
    def of_an_object(n, x):
        n[0] += odd.x

    @kernel(n=np.zeros(1))
    def of_lists(n, x):
        n[0] += ragged[0][0]

    for thing in (of_an_object, of_lists):
        with pytest.raises(AnalysisError, match="From outside, kernels take numbers, words, tuples, lists"):
            prepared(thing, cache, TTBAR)


def test_a_constant_is_numbers_and_no_output() -> None:
    with pytest.raises(AnalysisError, match=r"em.constant takes numbers, or an array of them, not \['a'\]"):
        em.constant(["a"])
    with pytest.raises(AnalysisError, match=r"out is an output, and has a default: em\.here"):

        @kernel(out=np.zeros(1))
        def confused(x, out=em.here):
            pass
