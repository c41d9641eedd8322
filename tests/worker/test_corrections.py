# mypy: allow-untyped-defs, allow-untyped-decorators
"""Corrections in kernels: the values are correctionlib's own, at edges, outside of bins, by category, of formulas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import eventmill as em
import numpy as np
import pytest
from columns import flat
from eventmill.analysis.analysis import kernel, pack, unpack
from eventmill.protocol.errors import AnalysisError
from eventmill.worker.kernels.compile import CompiledKernel

correctionlib = pytest.importorskip("correctionlib")

INPUTS = [("era", "string"), ("n", "int"), ("eta", "real"), ("pt", "real"), ("which", "int")]
EDGES = [-2.0, -1.0, 0.5, 3.0]
UNIFORM = {"n": 7, "low": 0.0, "high": 0.7}
EXPRESSIONS = [
    "x+[0]*y^2-[1]", "max(x,y)/min(x,3)", "(x>1)*5+sqrt(abs(x))", "1e3*exp(-x)+erf(y)", "atan2(x,y)+cosh(x)-tanh(y)",
    "log(x)", "(x>=1)&&(y<2)", "(x==y)||(x!=2)", "acos(x/10)+asinh(y)", "x/y", "pow(2,-x)",
]  # fmt: skip


def formula(expression: str, names: tuple[str, ...] = ("eta", "pt")) -> dict[str, Any]:
    told = {"nodetype": "formula", "expression": expression, "parser": "TFormula", "parameters": [0.5, 2.0]}
    return {**told, "variables": list(names)}


def binning(flow: Any, edges: Any = EDGES, of: str = "eta") -> dict[str, Any]:
    bins = edges["n"] if isinstance(edges, dict) else len(edges) - 1
    return {
        "nodetype": "binning",
        "input": of,
        "edges": edges,
        "content": [1.5 * i + 1 for i in range(bins)],
        "flow": flow,
    }


def category(of: str, content: dict[Any, Any], **default: Any) -> dict[str, Any]:
    items = [{"key": key, "value": value} for key, value in content.items()]
    return {"nodetype": "category", "input": of, "content": items, **default}


CONTENTS: dict[str, Any] = {
    "plain": 3.5,
    "clamp": binning("clamp"),
    "other": binning(formula("x*100")),
    "wrap": binning("wrap"),
    "equal": binning("clamp", UNIFORM),
    "equal-wrap": binning("wrap", UNIFORM),
    "whole": binning(-5.0, [0.0, 1.0, 3.0, 9.0], "n"),
    "infinite": binning("error", ["-inf", 0.0, "inf"]),
    "two": {
        "nodetype": "multibinning", "inputs": ["eta", "pt"], "edges": [EDGES, [0.0, 1.0, 2.0]], "flow": 9.0,
        "content": [0.0, 1.0, 2.0, 3.0, formula("x*y"), binning("clamp")],
    },
    "two-clamped": {
        "nodetype": "multibinning", "inputs": ["pt", "n"], "edges": [UNIFORM, [0.0, 1.0, 2.0]], "flow": "clamp",
        "content": [float(i) for i in range(14)],
    },
    "words": category("era", {"2017": 1.0, "2018": binning("clamp"), "häufig": 7.0}, default=-1.0),
    "numbers": category("n", {-1: 1.0, 2: category("era", {"2017": 4.0, "2018": 5.0, "": 6.0, "häufig": 1.5})}, default=0.0),
    "referred": category("n", {1: {"nodetype": "formularef", "index": 0, "parameters": [3.0, 4.0]}}, default=2.0),
    "transformed": {"nodetype": "transform", "input": "eta", "rule": formula("x*y-1"), "content": binning("clamp")},
    "transformed-whole": {
        "nodetype": "transform", "input": "n", "rule": formula("x*1.7"),
        "content": category("n", {0: 1.0, 1: 2.0, -1: 3.0, 2: 4.0}, default=9.0),
    },
} | {expression: formula(expression) for expression in EXPRESSIONS}  # fmt: skip


def correction_set(contents: dict[str, Any]) -> Any:
    inputs = [{"name": name, "type": kind} for name, kind in INPUTS]
    told = {
        "version": 1,
        "inputs": inputs,
        "output": {"name": "w", "type": "real"},
        "generic_formulas": [formula("[0]*x+[1]")],
    }
    corrections = [{"name": name, **told, "data": data} for name, data in contents.items()]
    return correctionlib.CorrectionSet.from_string(json.dumps({"schema_version": 2, "corrections": corrections}))


def weighing(corrected: Any) -> Any:
    @kernel(values=np.zeros(20_000))
    def weigh(values, place, era, n, eta, pt, which, sf=em.correction(corrected)):  # noqa: B008 - as users write it
        label = "2017" if era == 0 else "2018" if era == 1 else "häufig" if era == 2 else ""
        values[place] = sf.evaluate(label, n, eta, pt, which)

    return weigh


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def points() -> dict[str, Any]:
    """Random ones, and all edges with what is next to them."""
    random = np.random.default_rng(5)
    edges = [*EDGES, *np.linspace(0, 0.7, 8), 1.0, 2.0, 1e9, -1e9]
    near = [at for edge in edges for at in (edge, np.nextafter(edge, 9e9), np.nextafter(edge, -9e9))]
    near = [at for at in near if not -1e-300 < at < 0]  # there, correctionlib reads beyond its bins where they wrap
    size = 400
    eta, pt = (np.concatenate([random.permutation(near), random.normal(0, 2, size - len(near))]) for _ in range(2))
    return {"era": random.integers(0, 4, size), "n": random.integers(-2, 10, size), "eta": eta, "pt": pt}


def test_values_are_those_of_correctionlib(cache: Path, points: dict[str, Any]) -> None:
    size, words = len(points["eta"]), np.array(["2017", "2018", "häufig", ""])[points["era"]]
    its = correction_set({"sf": category("which", dict(enumerate(CONTENTS.values())))})["sf"]
    columns = {name: flat(*np.tile(values, len(CONTENTS)), dtype=values.dtype) for name, values in points.items()}
    columns["which"] = flat(*np.repeat(np.arange(len(CONTENTS)), size), dtype="i8")
    columns["place"] = flat(*range(len(columns["which"])), dtype="i8")
    compiled = CompiledKernel(unpack(pack(weighing(its)).blob), cache)
    compiled.run(columns, 0)
    mine = np.split(compiled.take()[0]["values"][: size * len(CONTENTS)], len(CONTENTS))
    arguments = list(zip(map(str, words), *(points[name].tolist() for name in ("n", "eta", "pt")), strict=True))
    for which, (name, content) in enumerate(CONTENTS.items()):
        theirs = [its.evaluate(*values, which) for values in arguments]
        exact = not any(it in str(content) for it in ("exp", "cosh", "log", "acos", "atan"))
        np.testing.assert_allclose(mine[which], theirs, rtol=0 if exact else 1e-14, err_msg=name)


def test_what_correctionlib_refuses_is_refused(cache: Path) -> None:
    whole = {name: flat(value, dtype="i8") for name, value in (("place", 0), ("era", 3), ("n", 5), ("which", 0))}
    columns = {**whole, "eta": flat(7.0), "pt": flat(1.0)}
    for content, said in (
        (binning("error"), "sf: an input is outside of all bins, and its flow is error"),
        (category("era", {"2017": 1.0}), "sf: an input is none of its categories, and there is no default"),
    ):
        its = correction_set({"sf": content})["sf"]
        with pytest.raises((IndexError, RuntimeError)):
            its.evaluate("", 5, 7.0, 1.0, 0)
        compiled = CompiledKernel(weighing(its), cache)
        with pytest.raises(IndexError, match=said):
            compiled.run(columns, 0)
        assert compiled.loaded == 1, "another file needs no other code"


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_has_no_place_on_an_axis_weighs_nothing_by_itself(cache: Path, odd: float) -> None:
    """NaN on equal bins was the last bin or a weight of 0, without a word; correctionlib has no bin for it either."""
    nowhere = [binning("wrap"), binning("wrap", UNIFORM)]
    nowhere += [binning(flow, UNIFORM) for flow in ("clamp", "error", 5.0)] if np.isnan(odd) else []
    whole = {name: flat(value, dtype="i8") for name, value in (("place", 0), ("era", 3), ("n", 5), ("which", 0))}
    for content in nowhere:
        compiled = CompiledKernel(weighing(correction_set({"sf": content})["sf"]), cache)
        with pytest.raises(IndexError, match="sf: an input is not a number, or not a finite one"):
            compiled.run({**whole, "eta": flat(odd), "pt": flat(1.0)}, 0)
    for content in (binning("clamp"), binning(5.0)):
        its = correction_set({"sf": content})["sf"]
        compiled = CompiledKernel(weighing(its), cache)
        compiled.run({**whole, "eta": flat(odd), "pt": flat(1.0)}, 0)
        assert compiled.take()[0]["values"][0] == its.evaluate("", 5, odd, 1.0, 0)


def test_what_cannot_be_evaluated_is_said_at_once() -> None:
    hashed = {"nodetype": "hashprng", "inputs": ["eta"], "distribution": "stdflat"}
    with pytest.raises(AnalysisError, match=r"the correction sf has a node hashprng, which kernels cannot evaluate"):
        em.correction(correction_set({"sf": hashed})["sf"])
    with pytest.raises(AnalysisError, match=r"em.correction takes a correction of correctionlib"):
        em.correction("muon.json")
