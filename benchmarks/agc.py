"""The ttbar analysis of the Analysis Grand Challenge: eventmill beside coffea and RDataFrame, on generated input.

    python -m benchmarks.agc --root-python /path/to/python        three minutes; a Python that has ROOT (`pip install root`)
    python -m benchmarks.agc --readme ...                         puts the table into benchmarks/README.md

The processor is the notebook's; `examples/agc_ttbar.py` has it, the kernel, and the generator, which writes files in the
layout of the AGC's. RDataFrame's is ROOT's own implementation (`benchmarks/agc_rdataframe.py`). All run by turns; the first
run of each counts, and the fastest of the others. coffea keeps its pool of processes, as eventmill keeps its slots. It ends
with an error unless all fill the same histograms: coffea and eventmill with a processor up to the last digits, all others up
to single events at the edges of bins, since vectors are added up in other precision.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from examples import agc_ttbar

from .children import launch, read_once, run_json
from .options import add_folder, command_line
from .tables import heading, put, rows

PACKAGES = ("eventmill", "awkward", "coffea", "hist", "numpy", "uproot")
CHUNK = 100_000
"""Entries of coffea's chunks: its default."""
Contents = dict[tuple[str, str, str], Any]
Timed = tuple[list[float], Contents]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line asks."""
    parser = command_line("agc", __doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="in all nine samples (default 2000000)")
    parser.add_argument("--slots", type=int, default=2, help="slots, processes and threads (default 2)")
    parser.add_argument("--runs", type=int, default=3, help="of each (default 3)")
    parser.add_argument("--root-python", default="", help="a Python that has ROOT; without, RDataFrame is left out")
    add_folder(parser)
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    folder = options.folder / "agc"
    fileset = agc_ttbar.make_fileset(folder, options.events)
    read_once(Path(path) for sample in fileset.values() for path in sample["files"])
    description = folder / f"fileset-{options.events}.json"
    description.write_text(json.dumps(fileset))
    lines = run_json("benchmarks.agc", description, options.slots, options.runs, options.root_python)
    header = ["analysis", "first [s]", "again [s]", "bins that differ", "most events that differ"]
    cells = [
        [name, f"{first:.2f}", f"{again:.2f}", str(bins), f"{most:.1f}"] for name, first, again, bins, most in lines
    ]
    bins = 2 * 25 * sum(len(agc_ttbar.variations(name)) for name in fileset)
    total = sum(sample["metadata"]["nevts"] for sample in fileset.values())
    what = (
        f"{total:,} events in nine samples, {options.slots} slots, processes or threads; the first and the fastest of "
    )
    what += f"{options.runs} runs, by turns. Differences from coffea's histograms, of {bins:,} bins."
    table = "\n".join([heading(PACKAGES, load), what, "", rows(header, cells)])
    print(table)
    if options.readme:
        put("agc", table)
    return 0


def measure(
    description: str, slots: str, runs: str, root_python: str = ""
) -> list[tuple[str, float, float, int, float]]:
    """Run all by turns: name, first and fastest seconds, and how its histograms differ from coffea's.

    Raises:
        RuntimeError: they differ more than they may.
    """
    import eventmill as em
    from coffea.nanoevents import NanoAODSchema
    from coffea.processor import FuturesExecutor, Runner

    NanoAODSchema.warn_missing_crossrefs = False
    fileset, processor = json.loads(Path(description).read_text()), agc_ttbar.processor()
    with ProcessPoolExecutor(int(slots)) as pool, em.connect(slots=int(slots)) as session:

        def with_runner(executor: Any) -> Callable[[], Contents]:
            runner = Runner(executor=executor, schema=NanoAODSchema, chunksize=CHUNK)
            return lambda: agc_ttbar.by_name(runner(fileset, processor_instance=processor)["hist_dict"])

        systems: dict[str, Callable[[], Contents | tuple[float, Contents]]] = {
            "coffea, FuturesExecutor": with_runner(FuturesExecutor(pool=pool, workers=int(slots), status=False)),
            "eventmill as coffea's executor": with_runner(em.coffea.Executor(session, status=False)),
            "eventmill, the processor": lambda: agc_ttbar.by_name(
                session.process(em.Dataset(fileset), processor).result()["hist_dict"]
            ),
            "eventmill, a kernel": lambda: agc_ttbar.run_kernel(session, fileset),
        }
        if root_python:
            systems["RDataFrame"] = lambda: _rdataframe(root_python, description, slots)
        times: dict[str, list[float]] = {name: [] for name in systems}
        found: dict[str, Contents] = {}
        for _ in range(int(runs)):
            for name, system in systems.items():
                began = time.perf_counter()
                output = system()
                seconds = time.perf_counter() - began
                if isinstance(output, tuple):
                    seconds, output = output
                times[name].append(seconds)
                found[name] = output
    right = found["coffea, FuturesExecutor"]
    lines = []
    for name in systems:
        bins, most = _difference(fileset, right, found[name], exact="kernel" not in name and name != "RDataFrame")
        lines.append((name, times[name][0], min(times[name][1:] or times[name]), bins, most))
    return lines


def _rdataframe(python: str, description: str, slots: str) -> tuple[float, Contents]:
    """Seconds without the import of ROOT, and the contents."""
    script = Path(__file__).with_name("agc_rdataframe.py")
    done = subprocess.run([python, script, description, slots], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    said = json.loads(done.stdout.splitlines()[-1])
    return said["seconds"], {
        (region, process, name): np.array(bins) for region, process, name, bins in said["contents"]
    }


def _difference(fileset: Any, right: Contents, found: Contents, exact: bool) -> tuple[int, float]:
    """Bins that differ, and the most, in events of their sample.

    Raises:
        RuntimeError: a histogram is missing, or differs more than by events at the edges of bins.
    """
    if right.keys() != found.keys():
        raise RuntimeError(f"not the same histograms: {sorted(right.keys() ^ found.keys())}")
    bins, most = 0, 0.0
    for key, contents in right.items():
        about = fileset[_sample(key[1], key[2])]["metadata"]
        weight = about["xsec"] * agc_ttbar.LUMINOSITY / about["nevts"]
        apart = np.abs(contents - found[key]) / weight
        bins += int(np.sum(apart > 1e-3))
        most = max(most, float(apart.max()))
        if apart.max() > (1e-3 if exact else 2 + 1e-4 * contents.sum() / weight):
            raise RuntimeError(f"{key} differs by {apart.max()} events")
    return bins, most


def _sample(process: str, variation: str) -> str:
    name = f"{process}__{variation}"
    return name if name in agc_ttbar.SAMPLES else f"{process}__nominal"


if __name__ == "__main__":
    launch(measure, main)
