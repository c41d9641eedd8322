"""An ordinary analysis of NanoAOD files: 20 branches of 1,500, in eventmill and in its peers, on this machine, in one run.

    python -m benchmarks.nanoaod                                 1 million events in 4 files
    python -m benchmarks.nanoaod --events 40000 --files 2        a quick look
    python -m benchmarks.nanoaod --repeat 3 --readme             puts the table into benchmarks/README.md

The first run downloads coffea's source distribution (30 MB), which has real events, and writes many of them to a cache
folder: 1 GB. It ends with an error unless all systems fill the same histograms bin by bin. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from .nano_analysis import BRANCHES
from .nano_sample import write_nano
from .nano_systems import SYSTEMS
from .systems import Measurement
from .throughput import compare, middle, names, provenance, read_once, rows, run_child, write_readme

ANALYSIS = "leptons and jets"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line asks; 1 when histograms differ, else 0."""
    options = _parse(arguments)
    load = os.getloadavg()[0]
    folder = options.folder or platformdirs.user_cache_path("eventmill") / "benchmarks"
    files = write_nano(folder / f"nano-{options.events}-{options.files}", options.events, options.files, BRANCHES)
    read_once(files)

    runs: dict[str, list[Measurement]] = {system: [] for system in options.systems}
    for _ in range(options.repeat):
        for system in options.systems:
            print(f"{SYSTEMS[system].title} ...", flush=True)
            runs[system].append(run_child(system, ANALYSIS, options.slots, files, "benchmarks.nano_systems"))
    by_system = {system: middle(measured) for system, measured in runs.items()}

    disagreements = list(compare({ANALYSIS: by_system}))
    same = "not the same" if disagreements else "the same in every bin"
    table = "\n".join(
        [
            provenance(),
            f"{options.events:,} events in {options.files} files, {options.slots} slots or workers each.",
            f"Times in seconds, medians of {options.repeat}. Load before the run: {load:.2f}; it should be 0.",
            f"The six histograms are {same} for {len(by_system)} systems.",
            "",
            *rows(by_system, {name: SYSTEMS[name].title for name in by_system}),
        ]
    )
    print(f"\n{table}")
    for line in disagreements:
        print(line, file=sys.stderr)
    if options.readme and not disagreements:
        write_readme(table, "nanoaod")
    return 1 if disagreements else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nanoaod", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--slots", type=int, default=2, help="slots of eventmill, workers of coffea (default 2)")
    parser.add_argument("--systems", type=names(SYSTEMS), default=list(SYSTEMS), help=", ".join(SYSTEMS))
    parser.add_argument("--repeat", type=int, default=1, help="runs of each, in turn; their median counts")
    parser.add_argument("--folder", type=Path, help="where the events lie (default: the user's cache folder)")
    parser.add_argument("--readme", action="store_true", help="put the table into benchmarks/README.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
