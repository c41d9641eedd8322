# mypy: allow-untyped-defs
"""What awkward computes once for all variations: the same, bit for bit, as if each had computed all of it by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.analysis.analysis import pack
from eventmill.analysis.variations import vary
from eventmill.merge import decode
from eventmill.protocol.messages import File, Setup
from eventmill.reading.reader import Reader
from eventmill.worker.slot.recalled_arrays import RecalledArrays
from eventmill.worker.slot.tasks import load
from eventmill.worker.slot.varied_tasks import VariedColumnarTask
from hist import Hist

ENTRIES = 600
VARIATIONS = {
    "weight": {"weight": "weight * np.float32(1.5)"},
    "same": {"weight": "weight"},
    "met": {"MET_pt": "MET_pt * np.float32(1.25)"},
    "jets": {"Jet_pt": "Jet_pt * np.float32(0.5)"},
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    random = np.random.default_rng(5)
    lengths = random.poisson(2, ENTRIES)
    jets = {
        name: ak.unflatten(random.normal(20, 9, lengths.sum()).astype("f4"), lengths) for name in ("pt", "eta", "phi")
    }
    met = random.exponential(30, ENTRIES).astype("f4")
    met[7] = np.nan
    path = tmp_path_factory.mktemp("recalled") / "events.root"
    with uproot.recreate(path) as file:
        columns = {"Jet": ak.zip(jets), "MET_pt": met, "weight": random.normal(1, 0.3, ENTRIES).astype("f4")}
        kinds = {name: it.type if isinstance(it, ak.Array) else it.dtype for name, it in columns.items()}
        file.mktree("Events", kinds).extend(columns)
    made = Reader(str(path), "Events")
    yield made
    made.close()


def masses(events: Any) -> Any:
    """Combinations of records, ufuncs, masks of several kinds, and reductions."""
    jets = ak.zip({"pt": events.Jet_pt, "eta": events.Jet_eta, "phi": events.Jet.phi})
    a, b = ak.unzip(ak.combinations(jets, 2))
    mass = np.sqrt(abs(2 * a.pt * b.pt * (np.cosh(a.eta / 9 - b.eta / 9) - np.cos(a.phi - b.phi))))
    passed = ak.any(mass > 20, axis=1) & (events.MET_pt > 10)
    best = ak.firsts(mass[ak.argsort(abs(mass - 91), axis=1)])[passed]
    return {
        "mass": Hist.new.Reg(40, 0, 200).Weight().fill(ak.fill_none(best, -1), weight=events.weight[passed]),
        "sum": ak.sum(mass),
        "met": ak.Array(np.asarray(events.MET_pt[passed])),
        "first": np.asarray(ak.sum(mass, axis=1)[:1]),
        "lists": mass[passed],
    }


def selected(events: Any) -> Any:
    """Events and records of collections that are selected before their columns are looked at."""
    good = events[np.asarray(events.MET_pt) > 15]
    jets = good.Jet[good.Jet.pt > 20]
    jets["double"] = jets.pt * 2
    pairs = ak.cartesian([jets, jets], axis=1)
    return {
        "n": ak.num(jets),
        "pairs": ak.sum(pairs["0"].double * pairs["1"].eta, axis=1),
        "ht": Hist.new.Reg(40, 0, 200).Weight().fill(ak.sum(jets.double, axis=1), weight=good.weight),
        "leading": ak.pad_none(jets, 1)[:, 0].double,
        "kinds": ak.where(ak.num(jets) > 1, 2, 1),
    }


def written_into(events: Any) -> Any:
    """What awkward gave is changed in place."""
    ht = ak.sum(events.Jet_pt, axis=1)
    values = np.asarray(ht)
    values[::2] *= 2
    return {"ht": ak.sum(ht * events.weight), "again": ak.sum(ak.sum(events.Jet_pt, axis=1) * events.weight)}


def of_own_memory(events: Any) -> Any:
    """Memory of the user's is changed between operations that look the same, and is in records with other columns."""
    scale = np.linspace(0.5, 2, len(events))
    array = ak.Array(scale)
    before = array * events.MET_pt
    records = ak.zip({"met": events.MET_pt, "scale": scale})
    scale[:] = np.arange(len(events)) + np.asarray(events.weight)
    return {
        "before": before,
        "after": array * events.MET_pt,
        "records": records.met * records.scale,
        "whole": ak.Array(np.arange(len(events)) * 1.0)[array > 300],
    }


def drawn(events: Any) -> Any:
    """Random numbers, zeros of both signs, and counting across calls by an argument that changes."""
    smeared = events.Jet_pt * np.random.normal(1, 0.1, len(events))
    zeros = [np.copysign(1, 0.0 * events.MET_pt), np.copysign(events.MET_pt, 0.0), np.copysign(events.MET_pt, -0.0)]
    return {"smeared": smeared, "zeros": ak.concatenate(zeros), "weight": ak.sum(events.weight)}


def columns(events: Any) -> Any:
    """Columns as they are, which all variations share that leave them so."""
    return {
        "met": np.asarray(events.MET_pt[:1]),
        "pt": np.asarray(ak.flatten(events.Jet_pt))[:0],
        "weight": ak.sum(events.weight),
    }


@pytest.mark.parametrize("size", [ENTRIES, 7, pytest.param(1, marks=pytest.mark.long("a call for each entry"))])
@pytest.mark.parametrize("function", [columns, masses, selected, written_into, of_own_memory, drawn])
def test_all_variations_are_what_they_are_alone(
    reader: Reader, tmp_path: Path, function: Any, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, also where a function makes that impossible: then nothing is recalled."""
    made, recalls = results(function, reader, tmp_path, size)
    if size == ENTRIES:
        assert recalls is (function is not written_into)
    monkeypatch.setattr(RecalledArrays, "listening", lambda *_, **__: nullcontext())
    alone, _ = results(function, reader, tmp_path, size)
    assert [*made] == ["nominal", *VARIATIONS]
    for name, outputs in alone.items():
        assert outputs.keys() == made[name].keys()
        for output, value in outputs.items():
            assert same(made[name][output], value), (name, output)
    assert all(same(made["same"][output], value) for output, value in made["nominal"].items())


def results(function: Any, reader: Reader, folder: Path, size: int) -> Any:
    packed = pack(vary(function, VARIATIONS))
    task = load(Setup("q", packed.kind, packed.digest, seed=3), packed.blob, folder)
    file = File(reader.path, "Events")
    task.turn_to("file")
    for start in range(0, min(ENTRIES, 3 * size), size):
        task.run(reader, file, start, min(start + size, ENTRIES))
    assert isinstance(task, VariedColumnarTask)
    return decode(task.take()), task.recalls


def same(one: Any, other: Any) -> bool:
    if isinstance(one, ak.Array):
        form, length, buffers = ak.to_buffers(ak.to_packed(one))
        others = ak.to_buffers(ak.to_packed(other))
        return (form, length) == others[:2] and all(
            it.tobytes() == others[2][key].tobytes() for key, it in buffers.items()
        )
    if isinstance(one, np.ndarray | np.generic):
        return bool(np.asarray(one).tobytes() == np.asarray(other).tobytes())
    return bool(one == other)


def test_another_weight_computes_what_is_filled_and_nothing_else(reader: Reader) -> None:
    """Forty variations of a weight cost about forty fills."""
    recalled, computed = RecalledArrays(), []
    ufunc = ak.Array.__array_ufunc__

    def counted(its: Any, function: Any, method: str, *inputs: Any, **named: Any) -> Any:
        computed.append(function.__name__)
        return ufunc(its, function, method, *inputs, **named)

    ak.Array.__array_ufunc__ = counted
    try:
        pt, weight = reader.events(0, ENTRIES).Jet_pt, reader.events(0, ENTRIES).weight
        pt, weight = ak.Array(ak.to_packed(pt).layout), np.asarray(weight)
        for factor in (1, 2, 3):
            with recalled.listening(is_first=factor == 1):
                passed = ak.any(np.cosh(pt) * 2 > 8, axis=1)
                assert ak.sum((ak.Array(weight * factor))[passed]) != 0
    finally:
        ak.Array.__array_ufunc__ = ufunc
    assert computed == ["cosh", "multiply", "greater"]
    assert recalled.hits == 8
