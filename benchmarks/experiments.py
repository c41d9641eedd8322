"""What it costs to open a file of each experiment, and to read the columns of its first analysis, beside uproot.

    python -m benchmarks.experiments                        all files: about a minute
    python -m benchmarks.experiments --cases cms,delphes    some of them; --help lists the names
    python -m benchmarks.experiments --readme               puts the table into benchmarks/README.md

The files are those of docs/experiments.md, all in the page cache. Each is measured in a process of its own, on one core:
the ways take turns there, and the first turn, in which modules and compiled loops are loaded, does not count. It ends with
an error when the ways do not give the same numbers. Needs the extra `test`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from .children import launch, read_once, run_json
from .coffea_samples import coffea_samples
from .options import add_names, command_line
from .tables import heading, put, rows

WRITTEN = Path(__file__).parents[1] / "tests" / "data" / "experiments"
PACKAGES = ("eventmill", "awkward", "numpy", "uproot")


@dataclass(frozen=True)
class Case:
    """A file of an experiment and the columns of its first analysis.

    Attributes:
        of: `coffea`, `scikit-hep`, or `us` for files that are not real but written with an experiment's names.
    """

    title: str
    of: str
    file: str
    tree: str
    columns: tuple[str, ...]


def _members(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(prefix + name for name in names)


_FOUR = ("pt", "eta", "phi", "charge")
_PARTICLES = ("energy", "charge", "momentum.x", "momentum.y", "momentum.z")
CASES = {
    "cms": Case(
        "CMS NanoAOD", "coffea", "nano_tt_v15.root", "Events", (*_members("Muon_", *_FOUR, "mediumId"), "nMuon")
    ),
    "physlite": Case(
        "ATLAS PHYSLITE",
        "coffea",
        "PHYSLITE_example.root",
        "CollectionTree",
        (*_members("AnalysisElectronsAuxDyn.", *_FOUR, "DFCommonElectronsLHLoose"), "AnalysisJetsAuxDyn.pt"),
    ),
    "opendata": Case(
        "ATLAS Open Data",
        "us",
        "atlas_open_data.root",
        "mini",
        (*_members("lep_", *_FOUR, "n", "type", "isTightID"), "trigE", "trigM", "mcWeight"),
    ),
    "lhcb": Case(
        "LHCb DecayTree",
        "us",
        "lhcb_decay_tree.root",
        "B2JpsiKTuple/DecayTree",
        ("B_M", "B_PT", "B_IPCHI2_OWNPV", "B_L0MuonDecision_TOS", "Kplus_ProbNNk", "B_DTF_M"),
    ),
    "ao2d": Case(
        "ALICE AO2D", "us", "AO2D.root", "DF_*/O2track_iu", ("fIndexCollisions", "fSigned1Pt", "fTgl", "fTrackType")
    ),
    "esd": Case(
        "ALICE ESD",
        "us",
        "AliESDs.root",
        "esdTree",
        ("PrimaryVertex.AliVertex.fPosition[3]", *_members("Tracks.", "fP[5]", "fTPCncls", "fTPCsignal")),
    ),
    "v0s": Case(
        "ALICE, V⁰s",
        "scikit-hep",
        "uproot-issue187.root",
        "fTreeV0",
        _members("V0s.", "fV0pt", "fV0CosPA", "fInvMass[2]"),
    ),
    "belle2": Case("Belle II", "us", "belle2_ntuple.root", "Bp", ("Mbc", "deltaE", "R2", "Kp_kaonID", "isSignal")),
    "fcc": Case(
        "FCC, TTree",
        "coffea",
        "test_FCC_Winter2023.root",
        "events",
        ("Muon#0.index", *_members("ReconstructedParticles.", *_PARTICLES)),
    ),
    "rntuple": Case(
        "FCC, RNTuple",
        "us",
        "edm4hep_rntuple.root",
        "events",
        ("Muon_objIdx.index", *_members("ReconstructedParticles.", *_PARTICLES)),
    ),
    "delphes": Case(
        "Delphes", "coffea", "delphes.root", "Delphes", (*_members("Jet.", "PT", "Eta", "BTag"), "MissingET.MET")
    ),
    "dune": Case(
        "DUNE",
        "coffea",
        "pduneana.root",
        "pduneana/beamana",
        _members("reco_daughter_allTrack_", "Chi2_proton", "Chi2_ndof", "resRange_SCE", "calibrated_dEdX_SCE"),
    ),
    "km3net": Case(
        "KM3NeT", "scikit-hep", "uproot-issue431.root", "E", ("trks.dir.z", "mc_trks.E", "hits.tot", "hits.trig")
    ),
    "babar": Case(
        "BaBar, blocks CS", "us", "babar_ntp1.root", "ntp1", ("R2All", "DstarMass", "Dstarp3CM", "Dstard2Idx", "D0Mass")
    ),
    "old": Case("ROOT 4.00", "scikit-hep", "uproot-from-geant4.root", "HitStrips", ("Event", "Laystrip", "Energy")),
}
UNKNOWN_TO_UPROOT = ("babar",)


def path_of(case: Case) -> Path:
    """Where a case's file is; fetches coffea's samples if they are not there."""
    if case.of == "us":
        return WRITTEN / case.file
    if case.of == "coffea":
        return coffea_samples() / case.file
    import skhep_testdata

    return Path(skhep_testdata.data_path(case.file))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line asks."""
    options = _parse(arguments)
    load = os.getloadavg()[0]
    lines = []
    for name in options.cases:
        print(f"{CASES[name].title} ...", flush=True)
        read_once([path_of(CASES[name])])
        lines.append(_line(CASES[name], run_json("benchmarks.experiments", name, options.repeat)))
    header = [
        "file",
        "entries",
        "branches",
        "columns",
        "uproot, open + read",
        "kernel: first",
        "told",
        "columns: first",
        "told",
    ]
    header += ["uproot / kernel, first", "told", "uproot / columns, first", "told", "kB read", "uproot kB"]
    what = f"CPU milliseconds of one core, medians of {options.repeat} turns; ratios are medians of those of each turn."
    table = "\n".join([heading(PACKAGES, load), what, "", rows(header, lines)])
    print(f"\n{table}")
    if options.readme:
        put("experiments", table)
    return 0


WAYS = ("kernel", "kernel told", "columns", "columns told")


def _line(case: Case, found: dict[str, Any]) -> list[str]:
    """A line of the table."""
    turns: dict[str, list[list[float]]] = found["turns"]

    def milliseconds(way: str) -> str:
        opening, reading = (statistics.median(some) * 1e3 for some in zip(*turns[way], strict=True))
        return f"{opening:.1f} + {reading:.1f}"

    def ratio(way: str) -> str:
        if "uproot" not in turns:
            return "-"
        pairs = zip(turns["uproot"], turns[way], strict=True)
        return f"{statistics.median(sum(its) / sum(ours) for its, ours in pairs):.1f}"

    title = f"{case.title}{' (not real)' if case.of == 'us' else ''}"
    return [
        title,
        f"{found['entries']:,}",
        f"{found['branches']:,}",
        str(len(case.columns)),
        milliseconds("uproot") if "uproot" in turns else "refused",
        *(milliseconds(way) for way in WAYS),
        *(ratio(way) for way in WAYS),
        f"{found['bytes']['kernel'] / 1e3:.0f}",
        f"{found['bytes']['uproot'] / 1e3:.0f}" if "uproot" in turns else "-",
    ]


# --- in a process of its own -------------------------------------------------------------------------------------------


@dataclass
class Turn:
    """What one way cost once, and what it gave."""

    opening: float
    reading: float
    bytes: int
    columns: dict[str, Any]


def measure(name: str, repeat: str) -> dict[str, Any]:
    """CPU seconds of opening and reading in each way and turn, and bytes read.

    Raises:
        RuntimeError: the ways do not give the same numbers.
    """
    from eventmill.reading.tree_series import open_tree

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    case, path = CASES[name], str(path_of(CASES[name]))
    with closing(open_tree(path, case.tree)) as reader:
        layout, entries, branches = reader.news(), reader.entries, len(reader.names)
    ways: dict[str, Callable[[], Turn]] = {
        "uproot": lambda: by_uproot(path, case),
        "kernel": lambda: as_kernels_read(path, case),
        "kernel told": lambda: as_kernels_read(path, case, layout),
        "columns": lambda: as_functions_read(path, case),
        "columns told": lambda: as_functions_read(path, case, layout),
    }
    if name in UNKNOWN_TO_UPROOT:
        del ways["uproot"]
    turns: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    sizes: dict[str, int] = {}
    for number in range(int(repeat) + 1):
        given = {}
        for way, run in ways.items():
            turn = run()
            turns[way].append((turn.opening, turn.reading))
            sizes[way], given[way] = turn.bytes, turn.columns
        if number == 0:
            _check(given)
    return {
        "turns": {way: some[1:] for way, some in turns.items()},
        "bytes": sizes,
        "entries": entries,
        "branches": branches,
    }


def _check(given: dict[str, dict[str, Any]]) -> None:
    import awkward as ak

    for way, columns in given.items():
        for name, values in columns.items():
            # uproot gives strings of numbers another type, and lists of fixed length are lists
            options = {"equal_nan": True, "dtype_exact": False, "check_parameters": False, "check_regular": False}
            if not ak.array_equal(values, given["kernel"][name], same_content_types=False, **options):
                raise RuntimeError(f"{name} is another one in {way} than in kernels")


def by_uproot(path: str, case: Case) -> Turn:
    """All columns in one call."""
    import awkward as ak
    import uproot
    from eventmill.reading.tree_series import fits

    times = [time.process_time()]
    with uproot.open(path, object_cache=None, array_cache=None) as file:
        if "*" in case.tree:
            trees = [file[key] for key in file.keys(cycle=False) if fits(key, case.tree)]
        else:
            trees = [file[case.tree]]
        times.append(time.process_time())
        arrays = [tree.arrays(list(case.columns)) for tree in trees]
        columns = {name: ak.concatenate([_touched(some, name) for some in arrays]) for name in case.columns}
        times.append(time.process_time())
        return Turn(times[1] - times[0], times[2] - times[1], file.file.source.num_requested_bytes, columns)


def as_kernels_read(path: str, case: Case, layout: bytes = b"") -> Turn:
    """What a kernel of these parameters costs in a slot, but for the kernel."""
    import awkward as ak
    from eventmill.reading.lazy_events import layout_of
    from eventmill.reading.tree_series import open_tree

    times = [time.process_time()]
    with closing(open_tree(path, case.tree, layout=layout)) as reader:
        times.append(time.process_time())
        columns = reader.read(case.columns, 0, reader.entries)
        times.append(time.process_time())
        arrays = {name: ak.Array(layout_of(column)) for name, column in columns.items()}
        return Turn(times[1] - times[0], times[2] - times[1], reader.traffic.bytes_read, arrays)


def as_functions_read(path: str, case: Case, layout: bytes = b"") -> Turn:
    """What a columnar function that touches these columns costs."""
    import awkward as ak
    from eventmill.reading.tree_series import open_tree

    times = [time.process_time()]
    with closing(open_tree(path, case.tree, layout=layout)) as reader:
        events = reader.events(0, reader.entries)
        times.append(time.process_time())
        columns = {name: ak.materialize(_touched(events, name)) for name in case.columns}
        times.append(time.process_time())
        return Turn(times[1] - times[0], times[2] - times[1], reader.traffic.bytes_read, columns)


def _touched(events: Any, name: str) -> Any:
    return events[name] if name in events.fields else reduce(lambda array, field: array[field], name.split("."), events)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line("experiments", __doc__)
    add_names(parser, "--cases", CASES)
    parser.add_argument("--repeat", type=int, default=15, help="turns of each way, of which the median counts")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    launch(measure, main)
