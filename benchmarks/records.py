# mypy: allow-untyped-defs, allow-untyped-decorators
"""Queries of the ADL benchmark as kernels with collections (`Muon[i].pt`), and with a parameter for each branch.

    python -m benchmarks.records                    two minutes, most of which compiles
    python -m benchmarks.records --readme           puts the table into benchmarks/README.md

CPU time of the compiled loop over columns in memory, in one process: the two differ in nothing else, and fill the same bins.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from eventmill import delta_phi, kernel
from eventmill.reading.columns import Flat, Jagged
from eventmill.reading.groups import Group
from eventmill.worker.kernels.compile import CompiledKernel
from hist import Hist

from .options import command_line
from .tables import heading, put, rows

EXAMPLES = Path(__file__).parents[1] / "examples" / "adl.py"
EVENTS, REPEATS, Z, TOP = 200_000, 9, 91.2, 172.5
MEAN_NUMBERS = {"Muon": 1.5, "Electron": 1.2, "Jet": 3.0}
FIELDS = ("pt", "eta", "phi", "mass", "charge", "btag")
PACKAGES = ("eventmill", "numba", "numpy")


def axis(low: float = 0.0, high: float = 200.0) -> Any:
    """The axis of the queries' histograms."""
    return Hist.new.Reg(100, low, high, name="x").Int64()


# --- with a parameter for each branch ---------------------------------------------------------------------------------


def momentum(pt, eta, phi, mass):
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return px, py, pz, np.sqrt(px * px + py * py + pz * pz + mass * mass)


def total(a, b):
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]


def mass_of(p):
    return np.sqrt(max(p[3] * p[3] - p[0] * p[0] - p[1] * p[1] - p[2] * p[2], 0.0))


@kernel(pt=axis())
def q3(pt, Jet_pt, Jet_eta):
    for i in range(len(Jet_pt)):
        if abs(Jet_eta[i]) < 1:
            pt.fill(Jet_pt[i])


@kernel(met=axis())
def q5(met, Muon_pt, Muon_eta, Muon_phi, Muon_mass, Muon_charge, MET_pt):
    for i in range(len(Muon_pt)):
        for j in range(i + 1, len(Muon_pt)):
            if Muon_charge[i] != Muon_charge[j]:
                a = momentum(Muon_pt[i], Muon_eta[i], Muon_phi[i], Muon_mass[i])
                b = momentum(Muon_pt[j], Muon_eta[j], Muon_phi[j], Muon_mass[j])
                if 60 < mass_of(total(a, b)) < 120:
                    met.fill(MET_pt)
                    return


@kernel(pt=axis(), tag=axis(0.0, 1.0))
def q6(pt, tag, Jet_pt, Jet_eta, Jet_phi, Jet_mass, Jet_btag):
    off, best, largest = np.inf, 0.0, 0.0
    for i in range(len(Jet_pt)):
        for j in range(i + 1, len(Jet_pt)):
            a = momentum(Jet_pt[i], Jet_eta[i], Jet_phi[i], Jet_mass[i])
            pair = total(a, momentum(Jet_pt[j], Jet_eta[j], Jet_phi[j], Jet_mass[j]))
            for k in range(j + 1, len(Jet_pt)):
                triple = total(pair, momentum(Jet_pt[k], Jet_eta[k], Jet_phi[k], Jet_mass[k]))
                if abs(mass_of(triple) - TOP) < off:
                    off, best = abs(mass_of(triple) - TOP), np.sqrt(triple[0] * triple[0] + triple[1] * triple[1])
                    largest = max(Jet_btag[i], Jet_btag[j], Jet_btag[k])
    if off < np.inf:
        pt.fill(best)
        tag.fill(largest)


@kernel(mt=axis())
def q8(
    mt, Muon_pt, Muon_eta, Muon_phi, Muon_mass, Muon_charge, Electron_pt, Electron_eta, Electron_phi, Electron_mass,
    Electron_charge, MET_pt, MET_phi,
):  # fmt: skip
    muons, leptons = len(Muon_pt), len(Muon_pt) + len(Electron_pt)
    if leptons < 3:
        return
    pt, phi, charge = np.empty(leptons), np.empty(leptons), np.empty(leptons)
    momenta = np.empty((leptons, 4))
    for i in range(leptons):
        if i < muons:
            pt[i], phi[i], charge[i] = Muon_pt[i], Muon_phi[i], Muon_charge[i]
            px, py, pz, e = momentum(Muon_pt[i], Muon_eta[i], Muon_phi[i], Muon_mass[i])
        else:
            k = i - muons
            pt[i], phi[i], charge[i] = Electron_pt[k], Electron_phi[k], Electron_charge[k]
            px, py, pz, e = momentum(Electron_pt[k], Electron_eta[k], Electron_phi[k], Electron_mass[k])
        momenta[i, 0], momenta[i, 1], momenta[i, 2], momenta[i, 3] = px, py, pz, e
    off, first, second, other = np.inf, -1, -1, -1
    for i in range(leptons):
        for j in range(i + 1, leptons):
            if (i < muons) == (j < muons) and charge[i] != charge[j]:
                distance = abs(mass_of(total(momenta[i], momenta[j])) - Z)
                if distance < off:
                    off, first, second = distance, i, j
    if first >= 0:
        for i in range(leptons):
            if i != first and i != second and (other < 0 or pt[i] > pt[other]):
                other = i
        mt.fill(np.sqrt(2 * pt[other] * MET_pt * (1 - np.cos(delta_phi(phi[other], MET_phi)))))


# --- measuring --------------------------------------------------------------------------------------------------------


def columns() -> dict[str, Any]:
    """Events in memory, in 32 bits as NanoAOD has them."""
    random = np.random.default_rng(2026)
    found: dict[str, Any] = {f"MET_{name}": Flat(random.exponential(2, EVENTS).astype("f4")) for name in ("pt", "phi")}
    for name, mean in MEAN_NUMBERS.items():
        offsets = np.cumsum([0, *random.poisson(mean, EVENTS)])
        size = int(offsets[-1])
        values = {
            "pt": 15 + random.exponential(30, size), "eta": random.normal(0, 1.2, size), "mass": random.exponential(5, size),
            "phi": random.uniform(-np.pi, np.pi, size), "charge": random.choice([-1, 1], size), "btag": random.random(size),
        }  # fmt: skip
        for field, its in values.items():
            found[f"{name}_{field}"] = Jagged(offsets, Flat(its.astype("i4" if field == "charge" else "f4")))
    return found


def measured(thing: Any, cache: Path, data: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Nanoseconds of CPU an event, the least of some runs; and what the first of them filled."""
    groups = {name: Group({field: f"{name}_{field}" for field in FIELDS}, f"n{name}") for name in MEAN_NUMBERS}
    groups["MET"] = Group({name: f"MET_{name}" for name in ("pt", "phi")})
    compiled = CompiledKernel(thing, cache)
    compiled.parameters.look_at(groups.get)
    compiled.prepare(lambda names: {name: data[name].slice(0, 0) for name in names})
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        compiled.run(data, 0)
        times.append(time.process_time() - began)
    outputs, _ = compiled.take()
    return min(times) / EVENTS * 1e9, outputs


def main() -> None:
    """Measure, and print the table."""
    parser = command_line("records", __doc__)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    specification = importlib.util.spec_from_file_location("adl", EXAMPLES)
    assert specification is not None and specification.loader is not None
    examples = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(examples)
    data, lines = columns(), []
    with tempfile.TemporaryDirectory() as folder:
        for flat in (q3, q5, q6, q8):
            by_record, first = measured(examples.KERNELS[flat.__name__], Path(folder), data)
            by_branch, second = measured(flat, Path(folder), data)
            assert all((first[name].array == second[name].array).all() for name in first), flat.__name__
            lines.append([flat.__name__, f"{by_record:.0f}", f"{by_branch:.0f}", f"{by_record / by_branch:.2f}"])
    header = ["query", "collections [ns/event]", "branches [ns/event]", "ratio"]
    table = (
        f"{heading(PACKAGES, load)}\n{EVENTS:,} events in memory; the least of {REPEATS} runs.\n\n{rows(header, lines)}"
    )
    print(table)
    if options.readme:
        put("records", table)


if __name__ == "__main__":
    main()
