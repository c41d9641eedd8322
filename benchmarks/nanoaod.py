"""An ordinary analysis of real NanoAOD, of whose 1,499 branches it reads twenty, in eventmill and its peers.

    python -m benchmarks.nanoaod                                     everything, a million events: about three minutes
    python -m benchmarks.nanoaod --events 100000 --files 2           a quick look
    python -m benchmarks.nanoaod --systems eventmill,coffea          some of it; --help lists the names
    python -m benchmarks.nanoaod --readme                            puts the table into benchmarks/README.md

The first run fetches 40 events of CMS (a sample in coffea's source distribution), copies them (`nanoaod_sample`) and
writes 0.8 GB into a cache folder. Every measurement is a child process of its own, after all files have been read once.
It ends with an error unless all systems fill the same histograms bin by bin. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from hist import Hist

from . import lepton_jets
from .children import launch, read_once, run_json
from .nanoaod_sample import branches_of, write_nanoaod
from .options import add_names, add_sample, command_line
from .systems import TREE, Measurement, System
from .tables import heading, put, rows
from .throughput import compare, middle

STEP = 100_000
"""Events that uproot and coffea take at a time."""
PACKAGES = ("eventmill", "awkward", "coffea", "numba", "numpy", "uproot")

Histograms = dict[str, "Hist[Any]"]
Run = Callable[[], Histograms]


@contextmanager
def eventmill(analysis: str, files: list[str], slots: int) -> Iterator[Run]:
    """A session of its own; the analysis is a kernel or a columnar function."""
    import eventmill as em

    with em.connect(slots=slots) as session:
        data = em.Dataset(files, tree=TREE)
        work = lepton_jets.kernel() if analysis == "kernel" else lepton_jets.columnar

        def run() -> Histograms:
            result = session.process(data, work).result()
            return {name: result[name] for name in lepton_jets.HISTOGRAMS}

        yield run


@contextmanager
def awkward(_analysis: str, files: list[str], _slots: int) -> Iterator[Run]:
    """Plain uproot and awkward in one process, step after step."""
    import uproot

    def run() -> Histograms:
        total = lepton_jets.histograms()
        for path in files:
            with uproot.open(path) as file:
                for events in file[TREE].iterate(lepton_jets.BRANCHES, step_size=STEP):
                    for name, histogram in lepton_jets.columnar(events).items():
                        total[name] += histogram
        return total

    yield run


@contextmanager
def coffea(_analysis: str, files: list[str], slots: int) -> Iterator[Run]:
    """coffea's NanoEvents with its FuturesExecutor: a pool of processes for each query."""
    from coffea.nanoevents import NanoAODSchema
    from coffea.processor import FuturesExecutor, Runner

    NanoAODSchema.warn_missing_crossrefs = False

    def run() -> Histograms:
        executor = FuturesExecutor(workers=slots, status=False)
        runner = Runner(executor=executor, schema=NanoAODSchema, chunksize=STEP)
        processor = lepton_jets.coffea_processor()
        output: Histograms = runner({"sample": files}, processor_instance=processor, treename=TREE)
        return output

    yield run


SYSTEMS: dict[str, tuple[str, System]] = {
    "eventmill": ("kernel", System("eventmill, kernel, nothing compiled before", ("eventmill", "hist"), eventmill)),
    "cached": ("kernel", System("eventmill, kernel compiled before", ("eventmill", "hist"), eventmill)),
    "columnar": ("columnar", System("eventmill, columnar function", ("eventmill", "hist"), eventmill)),
    "awkward": ("", System("uproot + awkward, 1 process", ("awkward", "uproot"), awkward)),
    "coffea": (
        "",
        System("coffea NanoEvents, FuturesExecutor", ("coffea.processor", "coffea.nanoevents"), coffea),
    ),
}
"""Each with what of the analysis it runs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line asks; 1 when histograms differ, else 0."""
    options = _parse(arguments)
    load = os.getloadavg()[0]
    print(f"{options.events:,} events in {options.files} files in {options.folder}")
    files = write_nanoaod(options.folder / f"nanoaod-{options.events}-{options.files}", options.events, options.files)
    read_once(files)
    found: dict[str, Measurement] = {}
    for name in options.systems:
        print(f"{SYSTEMS[name][1].title} ...", flush=True)
        found[name] = middle([_run_child(name, options.slots, files) for _ in range(options.repeat)])
    disagreements = list(compare({"NanoAOD": found}))
    what = f"{options.events:,} events with {branches_of(files):,} branches in {options.files} files"
    how = f"{options.slots} slots or workers each; medians of {options.repeat}, in seconds."
    table = "\n".join([heading(PACKAGES, load), f"{what}, {how}", "", _table(found)])
    print(f"\n{table}")
    for line in disagreements:
        print(line, file=sys.stderr)
    if options.readme and not disagreements:
        put("nanoaod", table)
    return 1 if disagreements else 0


def _table(found: dict[str, Measurement]) -> str:
    header = ["system", "imports", "start", "first query", "cold: start + first", "warm: second query"]
    ours = {name: run for name, run in found.items() if SYSTEMS[name][1].open is eventmill}
    header += [f"its {when} / {of}" for of in ours for when in ("cold", "warm")]
    lines = []
    for name, run in found.items():
        cold = run.start + run.first
        cells = [f"{seconds:.2f}" for seconds in (run.imports, run.start, run.first, cold, run.again)]
        for own in ours.values():
            cells += [f"{cold / (own.start + own.first):.2f}", f"{run.again / own.again:.2f}"]
        lines.append([SYSTEMS[name][1].title, *cells])
    return rows(header, lines)


def _run_child(name: str, slots: int, files: Sequence[Path]) -> Measurement:
    """One system in a child process, with an empty cache of kernels; for `cached`, one that a child before it filled."""
    turns = 2 if name == "cached" else 1
    return Measurement(**run_json("benchmarks.nanoaod", name, slots, *files, turns=turns))


def measure(name: str, slots: str, *files: str) -> Measurement:
    """Run the analysis twice in this process, and say how long each step took.

    Raises:
        RuntimeError: the second time gave other histograms.
    """
    analysis, system = SYSTEMS[name]
    times = [time.perf_counter()]
    for module in system.imports:
        importlib.import_module(module)
    times.append(time.perf_counter())
    opened: AbstractContextManager[Any] = system.open(analysis, list(files), int(slots))
    with opened as run:
        times.append(time.perf_counter())
        contents = _contents(run())
        times.append(time.perf_counter())
        if _contents(run()) != contents:
            raise RuntimeError(f"{name} filled different histograms when it ran twice")
        times.append(time.perf_counter())
    imports, start, first, again = (stop - begin for begin, stop in itertools.pairwise(times))
    return Measurement(imports, start, first, again, contents)


def _contents(histograms: Histograms) -> list[float]:
    return [value for name in lepton_jets.HISTOGRAMS for value in histograms[name].view(flow=True).tolist()]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line("nanoaod", __doc__)
    add_sample(parser, events=1_000_000, files=4)
    add_names(parser, "--systems", SYSTEMS)
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; their median counts")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    launch(measure, main)
