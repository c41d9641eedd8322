"""Reading across a wide-area link: the jet triple from an XRootD server that is 0, 10 and 100 ms away.

    python -m benchmarks.wan                           8 million events at 1 Gb/s: about five minutes
    python -m benchmarks.wan --events 1000000 --files 2    a quick look
    python -m benchmarks.wan --gigabits 0              a link as fast as the proxy is
    python -m benchmarks.wan --readme                  puts the table into benchmarks/README.md

A real server of this machine stands behind a proxy (`delay_proxy`), which delays and slows down what passes: the
rate is that of all connections together, in each direction. It has no loss and no TCP window that opens slowly, and,
like the server, it shares the cores with what is measured. It ends with an error unless everybody fills the same histogram.
Needs the extra `bench`, and a server of XRootD.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventmill.cli.sample import write_sample

from .analyses import kernel
from .children import cpu_seconds, launch, read_once, run_json, slots_below
from .delay_proxy import far_away
from .options import add_sample, command_line
from .systems import SYSTEMS, TREE
from .tables import heading, put, rows
from .xrootd_server import serving

ANALYSIS = "trijet"
ROUND_TRIPS = (0.0, 0.010, 0.100)
TITLES = {"eventmill": "eventmill", "one": "eventmill, 1 slot", "uproot": "uproot + numba, 1 process"}
"""Where all slots together compute faster than the link carries, one of them by itself shows what waiting is left."""
PACKAGES = ("eventmill", "fsspec-xrootd", "numba", "uproot", "xrootd")


@dataclass(frozen=True)
class Run:
    """One query: seconds of wall time, CPU seconds of those who read and compute, and what was filled."""

    wall: float
    cpu: float
    size: int
    contents: list[float]


Runs = dict[str, list[tuple[Run, Run]]]
"""For each system the first query and the second one, as often as it was repeated."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line asks; 1 when histograms differ, else 0."""
    options = _parse(arguments)
    if shutil.which("xrootd") is None:
        raise SystemExit("there is no server of XRootD here: apt-get install xrootd-server")
    load = os.getloadavg()[0]
    files = write_sample(options.folder / f"{options.events}-{options.files}", options.events, options.files)
    small = write_sample(options.folder / "small", events=2421, files=1)[0]
    found: dict[float, Runs] = {delay: {name: [] for name in TITLES} for delay in ROUND_TRIPS}
    with serving() as server:
        names = [server.take_in(path).rpartition("/")[2] for path in files]
        read_once(server.folder.iterdir())
        for turn in range(options.repeat):
            for delay, runs in found.items():
                print(f"{1000 * delay:.0f} ms, turn {turn + 1} ...", flush=True)
                with far_away(server.port, delay, options.gigabits * 1e9 / 8) as port:
                    urls = [f"root://127.0.0.1:{port}//{name}" for name in names]
                    for name in TITLES:
                        runs[name].append(_in_child(name, _processes(name, options), small, urls))
    table = _report(found, options, load)
    print(f"\n{table}")
    contents = [run.contents for runs in found.values() for pairs in runs.values() for pair in pairs for run in pair]
    if any(some != contents[0] for some in contents):
        print("NOT everybody filled the same histogram", file=sys.stderr)
        return 1
    if options.readme:
        put("wan", table)
    return 0


def _in_child(name: str, slots: int, small: Path, urls: list[str]) -> tuple[Run, Run]:
    first, again = run_json("benchmarks.wan", name, slots, small, *urls)
    return Run(**first), Run(**again)


# --- the report -----------------------------------------------------------------------------------------------------------


def _report(found: dict[float, Runs], options: argparse.Namespace, load: float) -> str:
    size = max(run.size for runs in found.values() for pair in runs["eventmill"] for run in pair)
    rate = options.gigabits * 1e9 / 8
    link = f"{options.gigabits:g} Gb/s" if rate else "as fast as the proxy is"
    fastest = f", which take {size / rate:.2f} s by themselves" if rate else ""
    header = ["round trip", "system"]
    for what in ("files not opened before", "again"):
        header += [f"{what} [s]", "to 0 ms", "CPU [s]", "CPU efficiency"]
    lines = []
    for delay, runs in found.items():
        for name, pairs in runs.items():
            cells = [f"{1000 * delay:.0f} ms", TITLES[name]]
            for which in (0, 1):
                wall, cpu = (_median(pairs, which, what) for what in ("wall", "cpu"))
                at_once = _median(found[0.0][name], which, "wall")
                efficiency = cpu / wall / _processes(name, options)
                cells += [f"{wall:.2f}", f"{wall / at_once:.3f}", f"{cpu:.2f}", f"{efficiency:.0%}"]
            lines.append(cells)
    what = f"{options.events:,} events in {options.files} files, {options.slots} slots, kernels compiled before"
    how = f"link of {link}; {size / 1e6:.0f} MB pass{fastest}; medians of {options.repeat}."
    return "\n".join([heading(PACKAGES, load), f"{what}; {how}", "", rows(header, lines)])


def _processes(name: str, options: argparse.Namespace) -> int:
    """How many of a system read and compute."""
    return int(options.slots) if name == "eventmill" else 1


def _median(pairs: list[tuple[Run, Run]], which: int, what: str) -> float:
    return statistics.median(getattr(pair[which], what) for pair in pairs)


# --- one system -----------------------------------------------------------------------------------------------------------


def with_eventmill(slots: int, small: str, urls: list[str]) -> list[Run]:
    """In a session that has compiled the kernel for a local file of the same structure; CPU time is that of the slots."""
    import eventmill as em

    work = kernel(ANALYSIS)
    runs = []
    with em.connect(slots=slots) as session:
        session.process(em.Dataset(small, tree=TREE), work).result()
        for _ in range(2):
            processes = slots_below(os.getpid())
            before = sum(map(cpu_seconds, processes))
            begin = time.perf_counter()
            query = session.process(em.Dataset(urls, tree=TREE), work)
            histogram: Any = query.result()["histogram"]
            wall = time.perf_counter() - begin
            cpu = sum(map(cpu_seconds, processes)) - before
            size = query.progress.bytes_read if query.progress is not None else 0
            runs.append(Run(wall, cpu, size, histogram.view(flow=True).tolist()))
    return runs


def with_uproot(small: str, urls: list[str]) -> list[Run]:
    """In this process, file after file, with a loop that is compiled before."""
    runs = []
    files = [small]
    with SYSTEMS["numba"].open(ANALYSIS, files, 1) as run:
        run()
        files[:] = urls
        for _ in range(2):
            begin, cpu = time.perf_counter(), time.process_time()
            contents = run().view(flow=True).tolist()
            runs.append(Run(time.perf_counter() - begin, time.process_time() - cpu, 0, contents))
    return runs


def measure(name: str, slots: str, small: str, *urls: str) -> list[Run]:
    """Two runs of a system."""
    return with_uproot(small, list(urls)) if name == "uproot" else with_eventmill(int(slots), small, list(urls))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line("wan", __doc__)
    add_sample(parser, events=8_000_000, files=8)
    parser.add_argument("--gigabits", type=float, default=1.0, help="rate of the link a second; 0 for any (default 1)")
    parser.add_argument("--repeat", type=int, default=3, help="of which the median counts")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    launch(measure, main)
