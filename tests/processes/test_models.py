"""The models of the guide: a network of onnxruntime, a booster of xgboost and corrections, each loaded once a slot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import correctionlib
import eventmill as em
import numpy as np
import onnxruntime
import pytest
import uproot
import xgboost

SECONDS = 60
EVENTS = 4000


def network(path: Path) -> None:
    """Write sigmoid(x @ weights + 0.5) as a file of ONNX: protocol buffers, field by field."""

    def number(field: int, value: int) -> bytes:
        return varint(field << 3) + varint(value)

    def some(field: int, *parts: bytes) -> bytes:
        content = b"".join(parts)
        return varint(field << 3 | 2) + varint(len(content)) + content

    def varint(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    def tensor(name: bytes, values: np.ndarray[Any, Any]) -> bytes:
        shape = b"".join(number(1, size) for size in values.shape)
        return some(5, shape, number(2, 1), some(8, name), some(9, values.astype("<f4").tobytes()))

    def node(kind: bytes, output: bytes, *inputs: bytes) -> bytes:
        return some(1, *(some(1, name) for name in inputs), some(2, output), some(4, kind))

    def place(field: int, name: bytes, width: int) -> bytes:
        shape = some(2, some(1, some(2, b"n")), some(1, number(1, width)))
        return some(field, some(1, name), some(2, some(1, number(1, 1), shape)))

    graph = some(
        7,
        node(b"MatMul", b"product", b"x", b"weights"),
        node(b"Add", b"sum", b"product", b"bias"),
        node(b"Sigmoid", b"y", b"sum"),
        some(2, b"tagger"),
        tensor(b"weights", np.array([[0.03], [-1.2]])),
        tensor(b"bias", np.array([0.5])),
        place(11, b"x", 2),
        place(12, b"y", 1),
    )
    path.write_bytes(number(1, 8) + graph + some(8, some(1, b""), number(2, 17)))


def booster(path: Path, features: np.ndarray[Any, Any]) -> None:
    """Train and write trees that tell central from forward."""
    labels = (np.abs(features[:, 1]) < 1).astype(int)
    known = xgboost.DMatrix(features[:1000], labels[:1000])
    xgboost.train({"max_depth": 3, "objective": "binary:logistic", "nthread": 1}, known, 5).save_model(path)


def corrections(path: Path) -> None:
    """Write weights by eta, of another form in each bin."""
    formula = {"nodetype": "formula", "expression": "1+0.1*x", "parser": "TFormula", "variables": ["eta"]}
    binning = {
        "nodetype": "binning", "input": "eta", "edges": [-2.5, -1.0, 1.0, 2.5], "content": [0.9, formula, 1.1],
        "flow": "clamp",
    }  # fmt: skip
    its = {
        "name": "NUM_TightID", "version": 1, "inputs": [{"name": "eta", "type": "real"}],
        "output": {"name": "weight", "type": "real"}, "data": binning,
    }  # fmt: skip
    path.write_text(json.dumps({"schema_version": 2, "corrections": [its]}))


@em.once
def tagger(path: str) -> Any:
    return onnxruntime.InferenceSession(path)


@em.once
def trees(path: str) -> Any:
    model = xgboost.Booster()
    model.load_model(path)
    return model


@em.once
def weights(path: str) -> Any:
    return correctionlib.CorrectionSet.from_file(path)


def evaluated(folder: Path, pt: Any, eta: Any) -> dict[str, Any]:
    """What each model gives, as the guide has it."""
    features = np.stack([np.asarray(pt), np.asarray(eta)], axis=1)
    scores = tagger(str(folder / "tagger.onnx")).run(None, {"x": features})[0]
    ranks = trees(str(folder / "bdt.ubj")).inplace_predict(features)
    factors = weights(str(folder / "muon_Z.json"))["NUM_TightID"].evaluate(np.asarray(eta))
    return {"scores": scores[:, 0], "ranks": ranks, "weights": factors}


@pytest.mark.parametrize("chunk", [None, 97])
def test_models_give_what_they_give_for_all_events_at_once(
    session: em.Session, tmp_path: Path, chunk: int | None
) -> None:
    """Protects scores and weights: they are the model's own for each event, however events are cut into calls."""
    random = np.random.default_rng(17)
    pt, eta = random.exponential(40, EVENTS).astype("f4"), random.normal(0, 1.5, EVENTS).astype("f4")
    with uproot.recreate(tmp_path / "events.root") as file:
        file["Events"] = {"pt": pt, "eta": eta, "number": np.arange(EVENTS)}
    network(tmp_path / "tagger.onnx")
    booster(tmp_path / "bdt.ubj", np.stack([pt, eta], axis=1))
    corrections(tmp_path / "muon_Z.json")

    def analysis(events: Any) -> dict[str, Any]:
        found = evaluated(tmp_path, events.pt, events.eta)
        return {name: ak.Array(values) for name, values in {**found, "number": events.number}.items()}

    data = em.Dataset(str(tmp_path / "events.root"), tree="Events")
    result = session.process(data, analysis, chunk=chunk).result(SECONDS)
    order = np.argsort(np.asarray(result["number"]))
    assert np.array_equal(np.asarray(result["number"])[order], np.arange(EVENTS))
    right = evaluated(tmp_path, pt, eta)
    by_hand = 1 / (1 + np.exp(-(0.03 * pt - 1.2 * eta + 0.5)))
    assert np.allclose(right["scores"], by_hand, rtol=1e-5) and len(np.unique(right["ranks"])) > 5
    for name, values in right.items():
        found = np.asarray(result[name])[order]
        assert np.allclose(found, values, rtol=1e-6, atol=0), name
