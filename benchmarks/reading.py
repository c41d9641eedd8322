"""How fast columns are read: eventmill's reader beside decompression alone, and beside uproot.

    python -m benchmarks.reading             # about two minutes; --help lists the options
    python -m benchmarks.reading --readme    # puts the table into benchmarks/README.md

The six branches of the dimuon analysis are read from a cache folder, where the events lie in several formats. One child
process does all, on one core, its measurements in turn, so that whatever else the machine does slows all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import platformdirs
import uproot
from eventmill.session.sample import _branch_type, make_events, write_sample
from eventmill.worker.codecs import decompressed
from eventmill.worker.pages import Pages
from eventmill.worker.readers import Reader

from .analyses import MUONS
from .readme import put

BRANCHES = [*MUONS, "MET_pt"]
BITE = 100_000
"""Entries that slots read at a time, about."""
TREE = "Events"
BASKET, CLUSTER = 10_000, 200_000
CODECS = {"lz4": uproot.LZ4(4), "zlib": uproot.ZLIB(1), "lzma": uproot.LZMA(1), "uncompressed": None}
FEW = {"lzma": 200_000}
"""Events of what takes long."""


def write_formats(folder: Path, events: int) -> dict[str, list[Path]]:
    """The same kind of events in every format, written once; those of zstd are the sample that the other benchmarks read."""
    files = {"zstd": write_sample(folder / "8000000-8", 8_000_000, 8)}
    for codec, compression in CODECS.items():
        files[codec] = [_written(folder / f"{codec}.root", FEW.get(codec, events), compression, ntuple=False)]
    files["RNTuple, zstd"] = [_written(folder / "rntuple.root", events, uproot.ZSTD(5), ntuple=True)]
    return files


def _written(path: Path, events: int, compression: uproot.compression.Compression | None, ntuple: bool) -> Path:
    path = path.with_stem(f"{path.stem}-{events}")
    if path.exists():
        return path
    rng, partial = np.random.default_rng(5), path.with_suffix(".partial")
    with uproot.recreate(partial, compression=compression) as file:
        writer = None
        for _ in range(0, events, BASKET if not ntuple else CLUSTER):
            chunk = make_events(BASKET if not ntuple else CLUSTER, rng)
            if ntuple:  # it has no counters: what belongs to the same lists is one record in the sample
                muons = chunk["Muon"]
                chunk = {f"Muon_{name}": muons[name] for name in muons.fields} | {"MET_pt": chunk["MET_pt"]}
            if writer is None:
                if ntuple:
                    writer = file.mkrntuple(TREE, chunk)
                    continue
                writer = file.mktree(TREE, {name: _branch_type(column) for name, column in chunk.items()})
            writer.extend(chunk)
    partial.replace(path)
    return path


# --- in the child -------------------------------------------------------------------------------------------------------


def ours(path: Path) -> None:
    """As a slot reads: bite after bite."""
    reader = Reader(str(path), TREE)
    for start in range(0, reader.entries, BITE):
        reader.read(BRANCHES, start, min(start + BITE, reader.entries))
    reader.close()


def uproots(path: Path) -> None:
    """All at once, as most do."""
    with uproot.open(path) as file:
        file[TREE].arrays(BRANCHES)


def alone(path: Path) -> Callable[[], None]:
    """Decompression alone, of what lies in memory already."""
    reader = Reader(str(path), TREE)
    assert not isinstance(reader.baskets, Pages)
    baskets = [(bytes(raw), size) for raw, size in reader.baskets.compressed(BRANCHES)]
    reader.close()

    def run() -> None:
        for raw, size in baskets:
            decompressed(raw, size)

    return run


def measure(paths: list[Path], repeat: int) -> dict[str, float]:
    """Medians in seconds of each way to read the files, file after file."""
    ways: dict[str, list[Callable[[], None]]] = {
        "ours": [lambda path=path: ours(path) for path in paths],
        "uproot": [lambda path=path: uproots(path) for path in paths],
    }
    if "rntuple" not in paths[0].name:
        ways["alone"] = [alone(path) for path in paths]
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeat + 1):
        for way, runs in ways.items():
            began = time.perf_counter()
            for run in runs:
                run()
            if turn:  # the first fills the page cache
                times[way].append(time.perf_counter() - began)
    return {way: median(seconds) for way, seconds in times.items()}


# --- the table ----------------------------------------------------------------------------------------------------------


def table(figures: dict[str, dict[str, float]], events: dict[str, int]) -> str:
    """The figures as Markdown."""
    heads = [
        "decompression alone [s]",
        "eventmill [s]",
        "uproot [s]",
        "eventmill / decompression",
        "uproot / eventmill",
    ]
    lines = [f"| format | events | {' | '.join(heads)} |", f"| --- | --: |{' --: |' * len(heads)}"]
    for name, times in figures.items():
        floor = times.get("alone", 0.0)
        ratio = f"{times['ours'] / floor:.2f}" if floor and name != "uncompressed" else "-"
        lines.append(
            f"| {name} | {events[name]:,} | {f'{floor:.3f}' if floor else '-'} | {times['ours']:.3f} | "
            f"{times['uproot']:.3f} | {ratio} | {times['uproot'] / times['ours']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2_000_000, help="in each format but zstd (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="the median of so many (default: %(default)s)")
    parser.add_argument("--formats", nargs="+", help="only these")
    parser.add_argument("--readme", action="store_true", help="put the table into benchmarks/README.md")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        paths = [Path(path) for path in json.loads(options.child)]
        print(json.dumps(measure(paths, options.repeat)))
        return
    folder = platformdirs.user_cache_path("eventmill") / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    figures, events = {}, {}
    for name, paths in write_formats(folder, options.events).items():
        if options.formats and name not in options.formats:
            continue
        given = json.dumps([str(path) for path in paths])
        command = [sys.executable, "-m", "benchmarks.reading", "--child", given, "--repeat", str(options.repeat)]
        figures[name] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        events[name] = sum(Reader(str(path), TREE).entries for path in paths)
        print(name, figures[name], file=sys.stderr)
    text = table(figures, events)
    print(text)
    if options.readme:
        put("reading", text)


if __name__ == "__main__":
    main()
