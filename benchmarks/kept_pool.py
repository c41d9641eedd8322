"""Analyses of columns beside coffea's FuturesExecutor with a pool of processes that is kept, as eventmill keeps its slots.

    python -m benchmarks.kept_pool                        ADL's eight queries twice, and a ttbar analysis: ten minutes
    python -m benchmarks.kept_pool --analyses q6,ttbar    some of it; --help lists the names
    python -m benchmarks.kept_pool --readme               puts the table into benchmarks/README.md

`q1` to `q8` are processors, `q1-function` to `q8-function` the same as functions of columns, `ttbar` a processor with many
histograms a call. For each there is a process with a session and a pool, which have run another analysis before; in it, the
two run by turns. The fastest run of each counts, and the first one, in which nothing is known of the analysis: what else is
at work on the machine slows down both. It ends with an error unless both fill the same histograms, bin by bin.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hist
import numpy as np

from . import adl, ttbar
from .children import launch, read_once, run_json
from .collisions import collision_files
from .options import add_names, add_sample, command_line
from .systems import TREE
from .tables import heading, put, rows

PACKAGES = ("eventmill", "awkward", "coffea", "hist", "numpy", "uproot")
CHUNK = 100_000
"""Entries of coffea's chunks: its default."""
FUNCTION = "-function"
ANALYSES = (*adl.QUERIES, *(f"{name}{FUNCTION}" for name in adl.QUERIES), "ttbar")


@dataclass(frozen=True)
class Times:
    """Seconds of the runs of both, the first ones first."""

    ours: list[float]
    theirs: list[float]
    calls: list[int]
    chunks: int

    @property
    def first(self) -> float:
        """How much longer eventmill's first run took."""
        return self.ours[0] / self.theirs[0]

    @property
    def again(self) -> float:
        """How much longer eventmill's fastest run took of those that knew the analysis."""
        return min(self.ours[1:]) / min(self.theirs[1:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line asks."""
    options = _parse(arguments)
    load = os.getloadavg()[0]
    folder = options.folder / f"collisions-{options.events}-{options.files}"
    plain = collision_files(folder, options.events, options.files)
    read_once([*plain, *(Path(path) for some in ttbar.fileset(folder).values() for path in some["files"])])
    lines = []
    for name in options.analyses:
        found = Times(**run_json("benchmarks.kept_pool", name, options.slots, options.runs, folder, *plain))
        times = [found.theirs[0], found.ours[0], min(found.theirs[1:]), min(found.ours[1:])]
        cells = [f"{seconds:.2f}" for seconds in times]
        lines.append([name, *cells[:2], f"{found.first:.2f}", *cells[2:], f"{found.again:.2f}",
                      f"{found.calls[0]}, {found.calls[-1]}", str(found.chunks)])  # fmt: skip
        print(" | ".join(lines[-1]), flush=True)
    header = ["analysis", "coffea, first [s]", "eventmill, first [s]", "ratio", "coffea, again [s]",
              "eventmill, again [s]", "ratio", "calls of eventmill, first and last run", "of coffea"]  # fmt: skip
    what = (
        f"{options.events:,} events in {options.files} files (`ttbar`: {_events():,} in 11), {options.slots} slots or"
    )
    what += f" processes each; the fastest of {options.runs - 1} further runs, by turns, in seconds."
    if options.readme:
        put("kept_pool", "\n".join([heading(PACKAGES, load), what, "", rows(header, lines)]))
    return 0


def measure(name: str, slots: str, runs: str, folder: str, *files: str) -> Times:
    """Run an analysis by turns in eventmill and in coffea.

    Raises:
        RuntimeError: they filled different histograms.
    """
    import eventmill as em
    from coffea.nanoevents import NanoAODSchema
    from coffea.processor import FuturesExecutor, Runner

    NanoAODSchema.warn_missing_crossrefs = False
    fileset: Any = ttbar.fileset(Path(folder)) if name == "ttbar" else {"sample": list(files)}
    of = name.removesuffix(FUNCTION)
    if name == "ttbar":
        processor: Any = ttbar.processor()
    else:
        processor = adl.processor((adl.QUERIES if name.endswith(FUNCTION) else adl.PROCESSED)[of])
    analysis = adl.QUERIES[of] if name.endswith(FUNCTION) else processor
    times = Times([], [], [], 0)
    with ProcessPoolExecutor(int(slots)) as pool, em.connect(slots=int(slots)) as session:
        executor = FuturesExecutor(pool=pool, workers=int(slots), status=False)
        runner = Runner(
            executor=executor, pre_executor=executor, schema=NanoAODSchema, chunksize=CHUNK, savemetrics=True
        )
        data = em.Dataset(fileset, tree=TREE)

        def theirs() -> Any:
            return runner(fileset, processor_instance=processor, treename=TREE)

        def ours() -> Any:
            query = session.process(data, analysis)
            query.result()
            return query

        runner({"sample": list(files)}, processor_instance=adl.processor(_count), treename=TREE)
        session.process(em.Dataset(list(files), tree=TREE), adl.processor(_count)).result()
        for _ in range(int(runs)):
            (output, metrics), seconds = _timed(theirs)
            times.theirs.append(seconds)
            query, seconds = _timed(ours)
            result = query.result()
            times.ours.append(seconds)
            times.calls.append(query.report().total.calls)
            if not _same(output, {key: result[key] for key in result}):
                raise RuntimeError(f"{name}: eventmill and coffea filled different histograms")
    return Times(times.ours, times.theirs, times.calls, int(metrics["chunks"]))


def _count(events: Any) -> adl.Output:
    return {"events": len(events)}


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return run(), time.perf_counter() - began


def _same(one: Any, other: Any) -> bool:
    """Whether results are the same; sums of weights as far as the order of their addition lets them be."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if not hasattr(one, "axes"):
        return bool(one == other)
    mine, yours = _by_category(one), _by_category(other)
    return mine.keys() == yours.keys() and all(np.allclose(mine[key], yours[key], 1e-12, 1e-9) for key in mine)


def _by_category(histogram: Any) -> dict[tuple[str, ...], Any]:
    """The bins for each combination of categories, whatever the order in which these came; without empty ones."""
    named = [axis for axis in histogram.axes if isinstance(axis, hist.axis.StrCategory)]
    found = {}
    for categories in itertools.product(*map(list, named)):
        of = dict(zip((axis.name for axis in named), categories, strict=True))
        view = histogram[of].view(flow=True)
        bins = np.stack([view["value"], view["variance"]]) if view.dtype.names else np.asarray(view)
        if bins.any():
            found[categories] = bins
    return found


def _events() -> int:
    return sum(map(sum, ttbar.FILES.values()))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line("kept_pool", __doc__)
    add_sample(parser, events=600_000, files=4)
    add_names(parser, "--analyses", ANALYSES)
    parser.add_argument("--runs", type=int, default=5, help="runs of each, the first one among them")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    launch(measure, main)
