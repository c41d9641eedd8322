"""ADL's eight queries: eventmill's kernels, columnar functions and processors beside coffea and ROOT's RDataFrame.

    python -m benchmarks.adl_table --root-python PYTHON     two million events: about eight minutes; PYTHON has ROOT
    python -m benchmarks.adl_table --queries q1,q5          some of it; --help lists the names
    python -m benchmarks.adl_table --readme ...             puts the table into benchmarks/README.md

Kernels and functions are those of `examples/adl.py`; the processor that of `benchmarks/adl.py`, with coffea's vectors,
for eventmill and for coffea, whose pool of processes is kept as eventmill keeps its slots. RDataFrame's queries are in
`adl_rdataframe.py`, in a process of its own. Of each query all run by turns, where another one has run before; the first run
counts, and the fastest of the others. It ends with an error unless all fill the same bins, up to single events at the edges
of bins, since vectors are added up in other precision.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from examples import adl as example

from . import adl
from .children import launch, read_once, run_json
from .collisions import TAGS, collision_files
from .options import add_names, add_sample, command_line
from .systems import TREE
from .tables import heading, put, rows

PACKAGES = ("eventmill", "awkward", "coffea", "hist", "numba", "numpy", "uproot")
CHUNK = 100_000
"""Entries of coffea's chunks: its default."""
KERNEL = "eventmill, kernel"
Bins = dict[str, Any]
System = Callable[[], Bins]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line asks."""
    options = _parse(arguments)
    load = os.getloadavg()[0]
    folder = options.folder / f"tagged-{options.events}-{options.files}"
    files = collision_files(folder, options.events, options.files, (*TAGS, "btag"))
    read_once(files)
    lines = []
    for query in options.queries:
        measured = run_json("benchmarks.adl_table", query, options.slots, options.runs, options.root_python, *files)
        for name, seconds, differ in measured:
            lines.append([query, name, f"{seconds[0]:.2f}", f"{min(seconds[1:] or seconds):.2f}", str(differ)])
            print(" | ".join(lines[-1]), flush=True)
    header = ["query", "system", "first [s]", "again [s]", "events in other bins"]
    what = (
        f"{options.events:,} events in {options.files} files, {options.slots} slots, processes or threads; the first "
    )
    what += f"and the fastest of {options.runs} runs, by turns. Compared with the kernel's histograms."
    if options.readme:
        put("adl", "\n".join([heading(PACKAGES, load), what, "", rows(header, lines)]))
    return 0


def measure(query: str, slots: str, runs: str, root_python: str, *files: str) -> list[tuple[str, list[float], int]]:
    """Run a query by turns in all systems: their names, seconds, and how many events are in other bins than the kernel's.

    Raises:
        RuntimeError: these are too many.
    """
    import eventmill as em
    from coffea.nanoevents import NanoAODSchema
    from coffea.processor import FuturesExecutor, Runner

    NanoAODSchema.warn_missing_crossrefs = False
    data = em.Dataset(list(files), tree=TREE)
    with ProcessPoolExecutor(int(slots)) as pool, em.connect(slots=int(slots)) as session:
        executor = FuturesExecutor(pool=pool, workers=int(slots), status=False)
        runner = Runner(executor=executor, pre_executor=executor, schema=NanoAODSchema, chunksize=CHUNK)

        def ours(analysis: Any) -> System:
            return lambda: _bins(session.process(data, analysis).result())

        def coffeas(processor: Any) -> System:
            return lambda: _bins(runner({"sample": list(files)}, processor_instance=processor, treename=TREE))

        for warm in (ours(_count), ours(adl.processor(_count)), coffeas(adl.processor(_count))):
            warm()
        processor = adl.processor(adl.PROCESSED[query])
        systems = {
            KERNEL: ours(example.KERNELS[query]),
            "eventmill, columnar function": ours(example.COLUMNAR[query]),
            "eventmill, coffea's processor": ours(processor),
            "coffea, FuturesExecutor": coffeas(processor),
        }
        times: dict[str, list[float]] = {name: [] for name in systems}
        found: dict[str, Bins] = {}
        for _ in range(int(runs)):
            for name, run in systems.items():
                began = time.perf_counter()
                found[name] = run()
                times[name].append(time.perf_counter() - began)
    if root_python:
        times["RDataFrame"], found["RDataFrame"] = _rdataframe(root_python, query, slots, runs, files)
    return [(name, times[name], _differ(query, name, found[KERNEL], found[name])) for name in times]


def _count(events: Any) -> adl.Output:
    return {"events": len(events)}


def _bins(output: Any) -> Bins:
    return {name: it.values(flow=True).astype(int) for name, it in dict(output).items() if hasattr(it, "axes")}


def _rdataframe(python: str, query: str, threads: str, runs: str, files: Sequence[str]) -> tuple[list[float], Bins]:
    """Seconds of each run, and the bins, in a process of its own."""
    script = Path(__file__).with_name("adl_rdataframe.py")
    command = [python, str(script), query, threads, runs, "btag", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    said = json.loads(done.stdout.splitlines()[-1])
    return said["seconds"], {name: np.array(filled) for name, filled in said["bins"].items()}


def _differ(query: str, name: str, right: Bins, found: Bins) -> int:
    """How many events are in other bins, of the histogram in which these are most.

    Raises:
        RuntimeError: more than can be at the edges of bins, or histograms are missing.
    """
    if right.keys() != found.keys():
        raise RuntimeError(f"{query}, {name}: not the same histograms: {sorted(right.keys() ^ found.keys())}")
    most = 0
    for key, contents in right.items():
        apart = int(np.abs(contents - found[key]).sum() + 1) // 2
        if apart > 2 + 1e-4 * contents.sum():
            raise RuntimeError(f"{query} {key}, {name}: {apart} of {contents.sum()} are in other bins")
        most = max(most, apart)
    return most


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line("adl_table", __doc__)
    add_sample(parser, events=2_000_000, files=4)
    add_names(parser, "--queries", adl.QUERIES)
    parser.add_argument("--runs", type=int, default=3, help="of each (default 3)")
    parser.add_argument("--root-python", default="", help="a Python that has ROOT; without, RDataFrame is left out")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    launch(measure, main)
