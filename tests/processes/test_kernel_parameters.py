# mypy: allow-untyped-defs, allow-untyped-decorators
"""Kernels with collections and places, wherever kernels run: with variations, as parts by tree, over listed entries."""

from __future__ import annotations

from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from hist import Hist

COUNTS = np.random.default_rng(1).poisson(1.5, 400)
PT = ak.unflatten((1 + np.arange(COUNTS.sum()) % 64).astype("f4"), COUNTS)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("files") / "events.root"
    with uproot.recreate(path) as file:
        jet = ak.zip({"pt": PT, "eta": PT / 2, "odd": PT})
        file.mktree("Events", {"Jet": jet.type.content, "weight": "float64"})
        file["Events"].extend({"Jet": jet, "weight": np.full(400, 0.5)})
        file.mktree("Runs", {"Sum_w": "float64", "Sum_n": "int64"})
        file["Runs"].extend({"Sum_w": np.array([1.5, 2.0]), "Sum_n": np.array([3, 4])})
    return str(path)


@em.kernel(total=np.zeros(2))
def jets(total, Jet, here=em.here):
    for jet in Jet:
        total[0] += jet.pt
    total[1] += here.entry * here.metadata["scale"]


@em.kernel(total=np.zeros(2))
def runs(total, Sum, here=em.here):
    total[0] += Sum.w * Sum.n
    total[1] += here.tree == "Runs"


def test_with_variations(session: em.Session, path: str) -> None:
    data = em.Dataset(path, tree="Events", metadata={"scale": 2})
    varied = em.vary(jets, {"up": {"Jet_pt": "Jet_pt * 2"}, "of others": {"Jet_odd": "Jet_odd * 2"}})
    result = session.process(data, varied).result()
    entries = 2 * sum(range(400))
    for variation, scale in (("nominal", 1), ("up", 2), ("of others", 1)):
        assert result[variation]["total"].tolist() == [scale * ak.sum(PT), entries]


@em.kernel(pt=Hist.new.Reg(4, 0, 64).Weight())
def weighted(pt, Jet, weight, here=em.here):
    for jet in Jet:
        pt.fill(jet.pt, weight=weight * here.metadata["scale"])


def test_with_variations_of_weights(session: em.Session, path: str) -> None:
    """Which are lanes of one run."""
    data = em.Dataset(path, tree="Events", metadata={"scale": 2.0})
    varied = em.vary(weighted, {"up": {"weight": "weight * 4"}, "shifted": {"Jet_pt": "Jet_pt * 0 + 1"}})
    result = session.process(data, varied).result()
    expected = np.histogram(ak.flatten(PT), bins=[0, 16, 32, 48, 64])[0]
    for variation, scale in (("nominal", 1), ("up", 4)):
        assert result[variation]["pt"].values()[:3].tolist() == (scale * expected[:3]).tolist()
    assert result["shifted"]["pt"].values().tolist() == [len(ak.flatten(PT)), 0, 0, 0]


def test_as_parts_by_tree(session: em.Session, path: str) -> None:
    data = em.Dataset(path, metadata={"scale": 0.5})
    result: Any = session.process(data, {"Events": jets, "Runs": runs}).result()
    assert result["Events"]["total"].tolist() == [ak.sum(PT), sum(range(400)) / 2]
    assert result["Runs"]["total"].tolist() == [4.5 + 8.0, 2]


def test_an_entry_that_raises_is_left_out_alone(session: em.Session, path: str) -> None:
    @em.kernel(total=np.zeros(2))
    def second(total, Jet, here=em.here):
        total[0] += Jet[1].pt
        total[1] += here.entry

    result = session.process(em.Dataset(path, tree="Events", max_entries=40), second, on_error="skip").result()
    left = [entry for entry in range(40) if COUNTS[entry] > 1]
    assert result["total"].tolist() == [sum(PT[entry][1] for entry in left), sum(left)]
    assert result.account.processed == len(left) < 40
