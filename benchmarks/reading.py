"""Reading by itself: how near it is to what decompression alone takes, how far from uproot, and what memory slots need.

    python -m benchmarks.reading                     everything: about three minutes, the files written before
    python -m benchmarks.reading --cases zstd,lz4    some of it; --help lists the names
    python -m benchmarks.reading --events 1000000    a quick look: no case with more events than that
    python -m benchmarks.reading --readme            puts the table into benchmarks/README.md

The six branches of the analysis `dimuon`, on one core, all bytes in the page cache. Files are opened within the time.
In every case the three ways take turns in one process; times are medians. The first run writes the files (1.7 GB).
It ends with an error when the ways do not give the same numbers. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from eventmill.cli.sample import write_sample

from .analyses import ANALYSES
from .blocks import Block, blocks_of, decompress_all
from .children import MemoryWatch, launch, read_once, run_json
from .options import add_folder, add_names, command_line
from .rewriting import rewrite
from .systems import TREE
from .tables import heading, put, rows

BRANCHES = ANALYSES["dimuon"].branches
CHUNK = 100_000
"""Entries that are read at a time."""
PACKAGES = ("eventmill", "awkward", "cramjam", "numpy", "uproot")
SLOTS = 2
MEMORY_LIMIT = 400e6


@dataclass(frozen=True)
class Case:
    """Events in one codec and format. The others are of fewer events than zstd's, since they only show the codec."""

    title: str
    events: int
    files: int = 1
    codec: str = ""
    is_rntuple: bool = False


CASES = {
    "zstd": Case("TTree, zstd", 8_000_000, files=8),
    "lz4": Case("TTree, lz4", 2_000_000, codec="lz4"),
    "zlib": Case("TTree, zlib", 2_000_000, codec="zlib"),
    "lzma": Case("TTree, lzma", 500_000, codec="lzma"),
    "uncompressed": Case("TTree, uncompressed", 2_000_000, codec="uncompressed"),
    "rntuple": Case("RNTuple, zstd", 2_000_000, codec="zstd", is_rntuple=True),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line asks; 1 when the ways of reading do not agree."""
    options = _parse(arguments)
    load = os.getloadavg()[0]
    speeds = [_speed(CASES[name], options) for name in options.cases]
    text = [heading(PACKAGES, load), "", *_speed_table(speeds)]
    if options.memory:
        text += ["", *_memory_table(_memory(options.folder, options.events))]
    table = "\n".join(text)
    print(f"\n{table}")
    if options.readme:
        put("reading", table)
    return 0


# --- how fast -------------------------------------------------------------------------------------------------------------


def _speed(case: Case, options: argparse.Namespace) -> list[str]:
    """A line of the table, measured in a child process."""
    events = min(case.events, options.events)
    print(f"{case.title}, {events:,} events ...", flush=True)
    files = write_sample(options.folder / f"{events}-{case.files}", events, case.files)
    if case.codec:
        files = [rewrite(files, options.folder / f"{events}-rewritten", case.codec, case.is_rntuple)]
    read_once(files)
    times = run_json("benchmarks.reading", "speed", options.repeat, *files)
    ours, uproot = times["eventmill"], times["uproot"]
    alone = times.get("decompression")
    to_alone = [f"{alone:.2f}", f"{ours / alone:.2f}"] if alone else ["-", "-"]
    sizes = [f"{times['compressed'] / 1e6:.0f}", f"{times['plain'] / 1e6:.0f}"] if times["plain"] else ["-", "-"]
    return [
        f"{case.title}, {events / 1e6:g} million events",
        *sizes,
        to_alone[0],
        f"{ours:.2f}",
        f"{uproot:.2f}",
        to_alone[1],
        f"{uproot / ours:.2f}",
    ]


def _speed_table(lines: list[list[str]]) -> Iterator[str]:
    yield rows(
        [
            "six branches, one core, page cache warm",
            "MB in the file",
            "MB plain",
            "decompression alone [s]",
            "eventmill [s]",
            "uproot `arrays` [s]",
            "eventmill / decompression",
            "uproot / eventmill",
        ],
        lines,
    )


def measure_speed(repeat: int, files: list[str]) -> dict[str, float]:
    """Seconds of each way, taking turns, on one core; the median of `repeat` after one that does not count."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    blocks = [block for path in files for block in blocks_of(path, TREE, BRANCHES)]
    ways: dict[str, Callable[[], object]] = {"eventmill": lambda: ours(files), "uproot": lambda: theirs(files)}
    if any(block.codec for block in blocks):
        ways["decompression"] = lambda: decompress_all(blocks)
    check(files[0])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - begin)
    times = {name: statistics.median(some[1:]) for name, some in seconds.items()}
    return {**times, **_sizes(blocks)}


def _sizes(blocks: list[Block]) -> dict[str, float]:
    return {"compressed": sum(len(block.raw) for block in blocks), "plain": sum(block.size for block in blocks)}


def ours(files: list[str]) -> None:
    """As a slot reads: in chunks, each let go before the next."""
    for path in files:
        for _ in _chunks(path):
            pass


def _chunks(path: str) -> Iterator[Any]:
    from eventmill.reading.reader import Reader

    reader = Reader(path, TREE)
    for start in range(0, reader.entries, CHUNK):
        yield reader.read(BRANCHES, start, min(start + CHUNK, reader.entries))
    reader.close()


def theirs(files: list[str]) -> None:
    """A file at a time."""
    import uproot

    for path in files:
        with uproot.open(path) as file:
            file[TREE].arrays(list(BRANCHES), library="ak")


def check(path: str) -> None:
    """Both ways give the same numbers, in the same lists.

    Raises:
        RuntimeError: they do not.
    """
    import awkward as ak
    import uproot

    with uproot.open(path) as file:
        expected = file[TREE].arrays(list(BRANCHES), library="ak")
    at = 0
    for columns in _chunks(path):
        for name, column in columns.items():
            some = expected[name][at : at + len(column)]
            if name == "MET_pt":
                same = np.array_equal(column.values, some)
            else:
                low, high = column.offsets[0], column.offsets[-1]
                same = np.array_equal(column.content.values[low:high], ak.flatten(some))
                same = same and np.array_equal(np.diff(column.offsets), ak.num(some))
            if not same:
                raise RuntimeError(f"{name} of {path} is not what uproot reads, from entry {at} on")
        at += len(columns["MET_pt"])


# --- how much memory ------------------------------------------------------------------------------------------------------


def _memory(folder: Path, most: int) -> dict[str, dict[str, dict[str, float]]]:
    """By name of an analysis and number of files, what slots took at most."""
    events = min(CASES["zstd"].events, most)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for number in (8, 1):
        files = write_sample(folder / f"{events}-{number}", events, number)
        read_once(files)
        for name in ANALYSES:
            print(f"memory of slots: {name}, {number} files ...", flush=True)
            found.setdefault(name, {})[str(number)] = run_json("benchmarks.reading", "memory", name, *files)
    return found


def _memory_table(found: dict[str, dict[str, dict[str, float]]]) -> Iterator[str]:
    yield "The most that one of two slots took, in MB; 400 is the target. *Own*: with its part only of what it shares with"
    yield "the process that it is a fork of (PSS, looked at every 50 ms). *Resident*: with all of that (the kernel's VmHWM)."
    yield ""
    header = ["analysis", "8 files: own", "resident", "1 file of as many events: own", "resident"]
    lines = []
    for name, by_files in found.items():
        cells = [f"{by_files[number][what] / 1e6:.0f}" for number in ("8", "1") for what in ("own", "resident")]
        lines.append([f"`{name}`", *cells])
    yield rows(header, lines)


def measure_memory(analysis: str, files: list[str]) -> dict[str, float]:
    """The peak of a slot in a session with two of them, in two queries."""
    import eventmill as em

    from .analyses import kernel

    with em.connect(slots=SLOTS) as session, MemoryWatch() as watch:
        for _ in range(2):
            session.process(em.Dataset(files, tree=TREE), kernel(analysis)).result()
    return {"own": watch.peak.own, "resident": watch.peak.resident}


def measure(what: str, first: str, *files: str) -> dict[str, float]:
    """The `speed` of the ways as the median of `first` turns, or the `memory` of slots with the analysis `first`."""
    return measure_speed(int(first), list(files)) if what == "speed" else measure_memory(first, list(files))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line("reading", __doc__)
    add_names(parser, "--cases", CASES)
    parser.add_argument("--events", type=int, default=8_000_000, help="at most so many in each case")
    parser.add_argument("--repeat", type=int, default=5, help="of which the median counts")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the memory of slots")
    add_folder(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    launch(measure, main)
