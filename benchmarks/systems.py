"""The systems that are compared: how each is started, and how it runs an analysis. One child process a measurement.

A system is a context manager: entering it starts what must be started (a session, a cluster), and gives a function that
runs the analysis over the files and returns the histogram. `python -m benchmarks.systems` is what `throughput` runs.
"""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from hist import Hist

from .analyses import ANALYSES, coffea_processor, kernel, numba_loop
from .children import launch

TREE = "Events"
COFFEA_CHUNK = 500_000  # entries; half a file of the benchmark. 250,000 was 10 % slower

Run = Callable[[], "Hist[Any]"]


@dataclass(frozen=True)
class Measurement:
    """Seconds of wall time that one child process measured, and the histogram's contents with both overflows."""

    imports: float  # importing the system's libraries
    start: float  # starting a session or a cluster
    first: float  # first query, with everything that is compiled or looked up on the way
    again: float  # the same query a second time
    contents: list[float]


@contextmanager
def eventmill(analysis: str, files: list[str], slots: int) -> Iterator[Run]:
    """A session of its own, with a master and `slots` slots on this machine; the analysis is a kernel."""
    import eventmill as em

    with em.connect(slots=slots) as session:
        data = em.Dataset(files, tree=TREE)
        work = kernel(analysis)

        def run() -> Hist[Any]:
            result = session.process(data, work).result()
            histogram: Hist[Any] = result["histogram"]
            return histogram

        yield run


@contextmanager
def awkward(analysis: str, files: list[str], _slots: int) -> Iterator[Run]:
    """Plain uproot and awkward in one process, file after file."""
    import uproot

    def run() -> Hist[Any]:
        histogram = ANALYSES[analysis].histogram()
        for path in files:
            with uproot.open(path) as file:
                events = file[TREE].arrays(list(ANALYSES[analysis].branches))
            histogram += ANALYSES[analysis].columnar(events)["histogram"]
        return histogram

    yield run


@contextmanager
def numba(analysis: str, files: list[str], _slots: int) -> Iterator[Run]:
    """Plain uproot and a loop compiled by numba in one process, file after file."""
    import awkward as ak
    import uproot

    loop = numba_loop(analysis)

    def run() -> Hist[Any]:
        histogram = ANALYSES[analysis].histogram()
        counts = histogram.view(flow=True)
        high = histogram.axes[0].edges[-1]
        for path in files:
            with uproot.open(path) as file:
                events = file[TREE].arrays(list(ANALYSES[analysis].branches))
            layouts = [ak.to_packed(events[name]).layout for name in ANALYSES[analysis].branches]
            columns = [(layout.content if layout.is_list else layout).data for layout in layouts]
            offsets = [layouts[0].offsets.data] if layouts[0].is_list else []
            loop(counts, high, *offsets, *columns)
        return histogram

    yield run


@contextmanager
def futures(analysis: str, files: list[str], slots: int) -> Iterator[Run]:
    """coffea with its FuturesExecutor: a pool of processes for each query."""
    from coffea.processor import FuturesExecutor

    yield _coffea(analysis, files, FuturesExecutor(workers=slots, status=False))


@contextmanager
def kept(analysis: str, files: list[str], slots: int) -> Iterator[Run]:
    """coffea with its FuturesExecutor and a pool of processes that all queries share, as eventmill keeps its slots."""
    from concurrent.futures import ProcessPoolExecutor

    from coffea.processor import FuturesExecutor

    with ProcessPoolExecutor(slots) as pool:
        yield _coffea(analysis, files, FuturesExecutor(pool=pool, workers=slots, status=False))


@contextmanager
def dask(analysis: str, files: list[str], slots: int) -> Iterator[Run]:
    """coffea on a Dask cluster of single-threaded worker processes on this machine."""
    from coffea.processor import DaskExecutor
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=slots, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(slots)
        yield _coffea(analysis, files, DaskExecutor(client=client, status=False))


def _coffea(analysis: str, files: list[str], executor: Any) -> Run:
    from coffea.nanoevents import BaseSchema
    from coffea.processor import Runner

    def run() -> Hist[Any]:
        # A new Runner for each query: one that is used again keeps what it learned about the files
        runner = Runner(executor=executor, schema=BaseSchema, chunksize=COFFEA_CHUNK)
        output = runner({"sample": files}, processor_instance=coffea_processor(analysis), treename=TREE)
        histogram: Hist[Any] = output["histogram"]
        return histogram

    return run


@dataclass(frozen=True)
class System:
    """A system to measure: its name in the tables, what it imports, and how it is started."""

    title: str
    imports: tuple[str, ...]
    open: Callable[[str, list[str], int], AbstractContextManager[Run]]


SYSTEMS = {
    "eventmill": System("eventmill, nothing compiled before", ("eventmill", "hist"), eventmill),
    "eventmill-cached": System("eventmill, kernel compiled before", ("eventmill", "hist"), eventmill),
    "awkward": System("uproot + awkward, 1 process", ("awkward", "uproot"), awkward),
    "numba": System("uproot + numba, 1 process", ("awkward", "numba", "uproot"), numba),
    "futures": System("coffea FuturesExecutor", ("coffea.processor", "coffea.nanoevents"), futures),
    "kept": System("coffea FuturesExecutor, kept pool", ("coffea.processor", "coffea.nanoevents"), kept),
    "dask": System("coffea on Dask", ("coffea.processor", "coffea.nanoevents", "distributed"), dask),
}


def measure(system: str, analysis: str, slots: str, *files: str) -> Measurement:
    """Run an analysis twice on a system, in this process, and say how long each step took.

    Raises RuntimeError when the second histogram differs from the first.
    """
    times = [time.perf_counter()]
    for module in SYSTEMS[system].imports:
        importlib.import_module(module)
    times.append(time.perf_counter())
    with SYSTEMS[system].open(analysis, list(files), int(slots)) as run:
        times.append(time.perf_counter())
        contents = run().view(flow=True).tolist()
        times.append(time.perf_counter())
        if run().view(flow=True).tolist() != contents:
            raise RuntimeError(f"{system} filled two different histograms when it ran {analysis} twice")
        times.append(time.perf_counter())
    imports, start, first, again = (stop - begin for begin, stop in itertools.pairwise(times))
    return Measurement(imports, start, first, again, contents)


if __name__ == "__main__":
    launch(measure)
