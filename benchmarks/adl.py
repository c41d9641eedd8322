"""The eight queries of the ADL benchmark (github.com/iris-hep/adl-benchmarks-index), as an analysis of columns writes them.

Each is a function of events whose fields are `MET`, `Jet`, `Muon` and `Electron`: eventmill's own, or coffea's NanoEvents.
Kinematics are written out, so that it needs neither's behaviors; `processor` makes a coffea processor of it. Those whose
names end with `_vectors` are as coffea's users write them, with its vectors, for processors only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import hist
import numpy as np

Output = dict[str, Any]
Query = Callable[[Any], Output]
Z, TOP = 91.2, 172.5


def _filled(values: Any, low: float = 0.0, high: float = 200.0, name: str = "x") -> hist.Hist[Any]:
    return hist.Hist.new.Reg(100, low, high, name=name).Int64().fill(ak.to_numpy(ak.flatten(values, axis=None)))


def q1(events: Any) -> Output:
    """MET of all events."""
    return {"met": _filled(events.MET.pt)}


def q2(events: Any) -> Output:
    """pt of all jets."""
    return {"pt": _filled(events.Jet.pt)}


def q3(events: Any) -> Output:
    """pt of central jets."""
    return {"pt": _filled(events.Jet.pt[abs(events.Jet.eta) < 1])}


def q4(events: Any) -> Output:
    """MET of events with two jets above 40 GeV."""
    return {"met": _filled(events.MET.pt[ak.sum(events.Jet.pt > 40, axis=1) >= 2])}


def q5(events: Any) -> Output:
    """MET of events with an opposite-charge muon pair between 60 and 120 GeV."""
    pairs = ak.combinations(events.Muon, 2, fields=["a", "b"])
    mass = _mass(_sum(_cartesian(pairs.a), _cartesian(pairs.b)))
    good = (mass > 60) & (mass < 120) & (pairs.a.charge != pairs.b.charge)
    return {"met": _filled(events.MET.pt[ak.any(good, axis=1)])}


def q6(events: Any) -> Output:
    """pt of the jet triple whose mass is nearest to the top quark's, and the largest b tag in it."""
    jets = events.Jet[ak.num(events.Jet) >= 3]
    triples = ak.combinations(jets, 3, fields=["a", "b", "c"])
    total = _sum(_cartesian(triples.a), _cartesian(triples.b), _cartesian(triples.c))
    nearest = ak.argmin(abs(_mass(total) - TOP), axis=1, keepdims=True)
    best = triples[nearest]
    tag = np.maximum(best.a.btagCSVV2, np.maximum(best.b.btagCSVV2, best.c.btagCSVV2))
    pt = np.hypot(total[0][nearest], total[1][nearest])
    return {"pt": _filled(pt), "tag": _filled(tag, 0.0, 1.0)}


def q7(events: Any) -> Output:
    """Scalar sum of the pt of jets above 30 GeV that are farther than 0.4 from every lepton above 10 GeV."""
    jets = events.Jet[events.Jet.pt > 30]
    far = _far_from(jets, events.Muon) & _far_from(jets, events.Electron)
    return {"ht": _filled(ak.sum(jets.pt[far], axis=1))}


def q8(events: Any) -> Output:
    """Transverse mass of MET and the leading lepton beside the pair of one flavour that is nearest to the Z."""
    muon, electron = events.Muon, events.Electron
    leptons = ak.concatenate([_lepton(muon, 0), _lepton(electron, 1)], axis=1)
    enough = ak.num(leptons) >= 3
    leptons, met = leptons[enough], events.MET[enough]
    leptons = ak.with_field(leptons, ak.local_index(leptons), "index")
    pairs = ak.combinations(leptons, 2, fields=["a", "b"])
    pairs = pairs[(pairs.a.charge != pairs.b.charge) & (pairs.a.flavour == pairs.b.flavour)]
    mass = _mass(_sum(_cartesian(pairs.a), _cartesian(pairs.b)))
    nearest = ak.singletons(ak.argmin(abs(mass - Z), axis=1))
    best = ak.firsts(pairs[nearest])
    good = ~ak.is_none(best)
    leptons, best, met = leptons[good], best[good], met[good]
    others = leptons[(leptons.index != best.a.index) & (leptons.index != best.b.index)]
    leading = ak.firsts(others[ak.argmax(others.pt, axis=1, keepdims=True)])
    mt = np.sqrt(2 * leading.pt * met.pt * (1 - np.cos(_delta(leading.phi, met.phi))))
    return {"mt": _filled(ak.drop_none(mt))}


QUERIES: dict[str, Query] = {"q1": q1, "q2": q2, "q3": q3, "q4": q4, "q5": q5, "q6": q6, "q7": q7, "q8": q8}


def q5_vectors(events: Any) -> Output:
    """As `q5`."""
    pairs = ak.combinations(events.Muon, 2, fields=["a", "b"])
    mass = (pairs.a + pairs.b).mass
    good = (mass > 60) & (mass < 120) & (pairs.a.charge != pairs.b.charge)
    return {"met": _filled(events.MET.pt[ak.any(good, axis=1)])}


def q6_vectors(events: Any) -> Output:
    """As `q6`."""
    jets = events.Jet[ak.num(events.Jet) >= 3]
    triples = ak.combinations(jets, 3, fields=["a", "b", "c"])
    total = triples.a + triples.b + triples.c
    nearest = ak.argmin(abs(total.mass - TOP), axis=1, keepdims=True)
    best = triples[nearest]
    tag = np.maximum(best.a.btagCSVV2, np.maximum(best.b.btagCSVV2, best.c.btagCSVV2))
    return {"pt": _filled(total[nearest].pt), "tag": _filled(tag, 0.0, 1.0)}


def q7_vectors(events: Any) -> Output:
    """As `q7`."""
    jets = events.Jet[events.Jet.pt > 30]
    far: Any = True
    for leptons in (events.Muon, events.Electron):
        apart = jets.metric_table(leptons[leptons.pt > 10])
        far = far & ak.all(apart > 0.4, axis=2)
    return {"ht": _filled(ak.sum(jets.pt[far], axis=1))}


PROCESSED: dict[str, Query] = {**QUERIES, "q5": q5_vectors, "q6": q6_vectors, "q7": q7_vectors}
"""The queries as processors have them."""


def processor(query: Query) -> Any:
    """A coffea processor that runs a query."""
    from coffea.processor import ProcessorABC

    class Processor(ProcessorABC):  # type: ignore[misc]
        def __init__(self) -> None:
            self.query = query

        def process(self, events: Any) -> Output:
            return self.query(events)

        def postprocess(self, accumulator: Output) -> Output:
            return accumulator

    return Processor()


# --- kinematics -----------------------------------------------------------------------------------------------------------


def _lepton(collection: Any, flavour: int) -> Any:
    fields = {name: collection[name] for name in ("pt", "eta", "phi", "mass", "charge")}
    return ak.zip({**fields, "flavour": ak.full_like(collection.charge, flavour)})


def _cartesian(particle: Any) -> tuple[Any, Any, Any, Any]:
    pt, eta, phi, mass = (ak.values_astype(particle[name], np.float64) for name in ("pt", "eta", "phi", "mass"))
    x, y, z = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return x, y, z, np.sqrt(x * x + y * y + z * z + mass * mass)


def _sum(*momenta: tuple[Any, Any, Any, Any]) -> tuple[Any, Any, Any, Any]:
    x, y, z, e = (sum(components[1:], start=components[0]) for components in zip(*momenta, strict=True))
    return x, y, z, e


def _mass(momentum: tuple[Any, Any, Any, Any]) -> Any:
    x, y, z, e = momentum
    return np.sqrt(np.maximum(e * e - x * x - y * y - z * z, 0.0))


def _delta(phi: Any, other: Any) -> Any:
    return (phi - other + np.pi) % (2 * np.pi) - np.pi


def _far_from(jets: Any, leptons: Any) -> Any:
    jet, lepton = ak.unzip(ak.cartesian([jets, leptons[leptons.pt > 10]], nested=True))
    apart = (jet.eta - lepton.eta) ** 2 + _delta(jet.phi, lepton.phi) ** 2
    return ak.all(apart > 0.16, axis=2)
