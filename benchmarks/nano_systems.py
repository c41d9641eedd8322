"""The systems that `nanoaod` compares, each with the same analysis. One child process a measurement."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .nano_analysis import BRANCHES, coffea_processor, columnar, histograms, kernel
from .nano_sample import TREE
from .systems import Histograms, Run, System, measure

COFFEA_CHUNK = 125_000
"""Entries: half a file of the benchmark; its own default is 100,000."""


def eventmill(analysis: Callable[[], Any]) -> Callable[[str, list[str], int], AbstractContextManager[Run]]:
    """A session of its own with an analysis, with a master and some slots on this machine."""

    @contextmanager
    def opened(_analysis: str, files: list[str], slots: int) -> Iterator[Run]:
        import eventmill as em

        with em.connect(slots=slots) as session:
            data, work = em.Dataset(files, tree=TREE), analysis()
            yield lambda: dict(session.process(data, work).result())

    return opened


@contextmanager
def awkward(_analysis: str, files: list[str], _slots: int) -> Iterator[Run]:
    """Plain uproot and awkward in one process, file after file."""
    import uproot

    def run() -> Histograms:
        total = histograms()
        for path in files:
            with uproot.open(path) as file:
                events = file[TREE].arrays(BRANCHES)
            for name, histogram in columnar(events).items():
                total[name] += histogram
        return total

    yield run


@contextmanager
def futures(_analysis: str, files: list[str], slots: int) -> Iterator[Run]:
    """coffea's NanoEvents with its FuturesExecutor: a pool of processes for each query."""
    from coffea.nanoevents import NanoAODSchema
    from coffea.processor import FuturesExecutor, Runner

    def run() -> Histograms:
        # A new Runner for each query: one that is used again keeps what it learned about the files
        executor = FuturesExecutor(workers=slots, status=False)
        runner = Runner(executor=executor, schema=NanoAODSchema, chunksize=COFFEA_CHUNK)
        output: Histograms = runner({"sample": files}, processor_instance=coffea_processor(), treename=TREE)
        return output

    yield run


SYSTEMS = {
    "eventmill": System("eventmill kernel, nothing compiled before", ("eventmill", "hist"), eventmill(kernel)),
    "eventmill-cached": System("eventmill kernel, compiled before", ("eventmill", "hist"), eventmill(kernel)),
    "eventmill-columnar": System("eventmill, columns", ("eventmill", "hist"), eventmill(lambda: columnar)),
    "eventmill-coffea": System(
        "eventmill, coffea's processor", ("eventmill", "hist", "coffea.processor"), eventmill(coffea_processor)
    ),
    "awkward": System("uproot + awkward, 1 process", ("awkward", "uproot"), awkward),
    "futures": System("coffea FuturesExecutor", ("coffea.processor", "coffea.nanoevents"), futures),
}


def main(arguments: list[str]) -> None:
    """`python -m benchmarks.nano_systems OUTPUT SYSTEM ANALYSIS SLOTS FILE...`: write a Measurement as JSON to OUTPUT."""
    output, system, analysis, slots, *files = arguments
    Path(output).write_text(json.dumps(asdict(measure(SYSTEMS[system], analysis, int(slots), files))))


if __name__ == "__main__":
    main(sys.argv[1:])
