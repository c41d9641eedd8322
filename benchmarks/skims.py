"""Skims: one event in ten of eight million, with all of its branches, written to files by eventmill and its peers.

    python -m benchmarks.skims --root ~/root/bin/python              with the RDataFrame of that interpreter
    python -m benchmarks.skims --events 1000000 --systems eventmill  a quick look
    python -m benchmarks.skims --readme                              puts the table into benchmarks/README.md

Every measurement is a child process of its own: the same skim twice, after all files have been read once. Wall time is what
a user waits for in a session that runs already; seconds of CPU are those of all processes for both skims, with all starts.
It ends with an error unless all systems write the same number of rows and the same sum of MET. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CUT = 46.0
"""GeV of MET, which a tenth of the sample's events has."""
SLOTS = 2
Run = Callable[[Path], list[str]]
"""Writes the skim to a folder, and says which files it has written."""


@contextmanager
def eventmill(form: Any, files: list[str]) -> Iterator[Run]:
    """A session of its own; the skim is a columnar function."""
    import eventmill as em

    def run(folder: Path) -> list[str]:
        def skim(events: Any) -> dict[str, Any]:
            return {"skim": em.write(events[events.MET_pt > CUT], folder, format=form)}

        paths: list[str] = session.process(em.Dataset(files, tree="Events"), skim).result()["skim"].paths
        return paths

    with em.connect(slots=SLOTS) as session:
        yield run


@contextmanager
def rdataframe(_form: str, files: list[str]) -> Iterator[Run]:
    """ROOT's RDataFrame on two threads, with its Snapshot."""
    import ROOT  # type: ignore[import-not-found]

    ROOT.EnableImplicitMT(SLOTS)

    def run(folder: Path) -> list[str]:
        folder.mkdir(parents=True)
        path = str(folder / "skim.root")
        ROOT.RDataFrame("Events", files).Filter(f"MET_pt > {CUT}").Snapshot("Events", path)
        return [path]

    yield run


@contextmanager
def dask(_form: str, files: list[str]) -> Iterator[Run]:
    """coffea on Dask: a processor that writes a file for each chunk."""
    from coffea.nanoevents import BaseSchema
    from coffea.processor import DaskExecutor, ProcessorABC, Runner
    from distributed import Client, LocalCluster

    class Skim(ProcessorABC):  # type: ignore[misc]
        def __init__(self, folder: Path) -> None:
            self._folder = folder

        def process(self, events: Any) -> list[str]:
            import awkward as ak

            selected = ak.materialize(events[events.MET_pt > CUT])
            about = events.metadata
            path = self._folder / f"{Path(about['filename']).stem}-{about['entrystart']}.parquet"
            ak.to_parquet(selected, str(path))
            return [str(path)]

        def postprocess(self, paths: list[str]) -> list[str]:
            return paths

    with (
        LocalCluster(n_workers=SLOTS, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(SLOTS)

        def run(folder: Path) -> list[str]:
            folder.mkdir(parents=True)
            runner = Runner(executor=DaskExecutor(client=client, status=False), schema=BaseSchema, chunksize=500_000)
            paths: list[str] = runner({"s": files}, processor_instance=Skim(folder), treename="Events")
            return paths

        yield run


SYSTEMS: dict[str, tuple[str, Callable[[str, list[str]], Any], str]] = {
    "eventmill-parquet": ("eventmill, Parquet", eventmill, "parquet"),
    "eventmill-root": ("eventmill, TTree", eventmill, "root"),
    "eventmill-rntuple": ("eventmill, RNTuple", eventmill, "rntuple"),
    "dask-parquet": ("coffea on Dask, Parquet", dask, "parquet"),
    "rdataframe-root": ("RDataFrame's Snapshot, TTree", rdataframe, "root"),
}


def measure(system: str, folder: Path, files: list[str]) -> dict[str, Any]:
    """Two skims by one system, in this process."""
    _, opened, form = SYSTEMS[system]
    seconds = []
    with opened(form, files) as run:
        for number in range(2):
            began = time.perf_counter()
            paths = run(folder / str(number))
            seconds.append(time.perf_counter() - began)
    cpu = sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    size = sum(Path(path).stat().st_size for path in paths)
    return {"first": seconds[0], "again": seconds[1], "cpu": cpu, "paths": paths, "bytes": size}


def contents(paths: Sequence[str]) -> tuple[int, float]:
    """Rows in files, and the sum of their MET, read by uproot and pyarrow alone."""
    import numpy as np

    rows, total = 0, 0.0
    for path in paths:
        if path.endswith(".parquet"):
            import pyarrow.parquet as parquet

            met = parquet.read_table(path, columns=["MET_pt"])["MET_pt"].to_numpy()
        else:
            import uproot

            met = uproot.open(path)["Events"].arrays(["MET_pt"])["MET_pt"].to_numpy()
        rows, total = rows + len(met), total + float(np.sum(met, dtype=np.float64))
    return rows, total


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, compare, and print the table; 1 when two systems do not agree."""
    if arguments is None and sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])))
        return 0
    from eventmill.cli.sample import write_sample

    from .tables import heading, put

    options = _parse(arguments)
    base = options.folder / "skims"
    base.mkdir(parents=True, exist_ok=True)
    paths = write_sample(options.folder / f"{options.events}-events", events=options.events, files=options.files)
    for path in paths:
        path.read_bytes()
    known, lines = set(), list[str]()
    for name, (title, _, _) in SYSTEMS.items():
        if not name.startswith(tuple(options.systems.split(","))) or (
            name.startswith("rdataframe") and not options.root
        ):
            continue
        with tempfile.TemporaryDirectory(dir=base) as folder:
            python = options.root if name.startswith("rdataframe") else sys.executable
            command = [python, __file__ if python == options.root else "-mbenchmarks.skims", "--one", name, folder]
            said = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=True)
            found = json.loads(said.stdout.splitlines()[-1])
            rows, total = contents(found["paths"])
            known.add((rows, round(total, 1)))
            sizes = f"{rows:,} | {len(found['paths'])} | {found['bytes'] / 1e6:.1f}"
        lines.append(f"| {title} | {found['first']:.2f} | {found['again']:.2f} | {found['cpu']:.1f} | {sizes} |")
        print(lines[-1], flush=True)
    table = "| skim | first [s] | again [s] | CPU of both, with starts [s] | rows | files | MB |\n"
    table += "| --- | --: | --: | --: | --: | --: | --: |\n" + "\n".join(lines)
    print(table)
    if options.readme:
        put("skims", f"{heading(('eventmill', 'awkward', 'coffea', 'pyarrow', 'uproot'), options.load)}\n\n{table}")
    if len(known) > 1:
        print(f"the systems do not agree: {known}")
        return 1
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    from .options import add_sample, command_line

    parser = command_line("skims", __doc__)
    add_sample(parser, 8_000_000, 8)
    parser.add_argument("--root", default=shutil.which("root-python"), help="an interpreter that can import ROOT")
    parser.add_argument("--systems", default="eventmill,dask,rdataframe", help="the beginnings of names")
    options = parser.parse_args(arguments)
    options.load = os.getloadavg()[0]
    return options


if __name__ == "__main__":
    sys.exit(main())
