"""Throughput of eventmill and of its peers: three analyses over the same files, on this machine, in one run.

    python -m benchmarks.throughput                                   everything, 8 million events: about five minutes
    python -m benchmarks.throughput --events 200000 --files 2         a quick look
    python -m benchmarks.throughput --systems eventmill,futures --analyses dimuon --repeat 3

The first run writes the events, about 90 bytes each, to a cache folder. Every measurement is a child process of its
own, after all files have been read once, so that they come from memory for everybody. It ends with an error unless all
systems fill the same histogram bin by bin. Needs the extra `bench`: `pip install eventmill[bench]`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from eventmill.cli.sample import write_sample

from .analyses import ANALYSES
from .children import read_once, run_json
from .options import add_names, add_sample, command_line
from .systems import SYSTEMS, Measurement
from .tables import machine, package_version, put, today, versions

PACKAGES = ("eventmill", "awkward", "coffea", "dask", "distributed", "hist", "numba", "numpy", "uproot")
INTERACTIVITY = {
    "connect_to_first_result": "`connect()` to the first merged result, nothing compiled before [s]",
    "process_to_first_snapshot": "`process()` to the first snapshot, warm session [s]",
    "snapshots_per_second": "snapshots a second",
    "small_query": "a query over one file of 2,421 events, warm session, median [ms]",
    "hello_to_first_packet": "a worker's `hello` to its first packet [ms]",
}
COLUMNS = (
    "system",
    "imports",
    "start",
    "first query",
    "cold: start + first",
    "warm: second query",
    "eventmill's cold / its cold",
    "eventmill's warm / its warm",
)

Results = dict[str, dict[str, Measurement]]  # analysis -> system -> measurement


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark as the command line asks; 1 when histograms differ or a system fails, else 0."""
    options = _parse(arguments)
    options.load = os.getloadavg()[0]
    print(f"{options.events:,} events in {options.files} files in {options.folder}")
    files = write_sample(options.folder / f"{options.events}-{options.files}", options.events, options.files)
    small = write_sample(options.folder / "small", events=2421, files=1)
    read_once([*files, *small])

    results: Results = {}
    for analysis in options.analyses:
        results[analysis] = {}
        for system in options.systems:
            print(f"{analysis}: {SYSTEMS[system].title} ...", flush=True)
            runs = [run_child(system, analysis, options.slots, files) for _ in range(options.repeat)]
            results[analysis][system] = middle(runs)
    interactivity = run_interactivity(options.slots, small[0], files) if "eventmill" in options.systems else {}

    table = markdown(results, interactivity, options)
    print(f"\n{table}")
    if options.json:
        options.json.write_text(json.dumps(record(results, interactivity, options), indent=1))
    disagreements = list(compare(results))
    for line in disagreements:
        print(line, file=sys.stderr)
    if options.readme and not disagreements:
        put("table", table)
    return 1 if disagreements else 0


def run_child(system: str, analysis: str, slots: int, files: Sequence[Path]) -> Measurement:
    """Measure one system with one analysis in a child process.

    eventmill keeps compiled kernels in the user's cache folder. The child gets an empty one; for `eventmill-cached` a
    child before it, which is not counted, has filled it.
    """
    turns = 2 if system == "eventmill-cached" else 1
    return Measurement(**run_json("benchmarks.systems", system, analysis, slots, *files, turns=turns))


def run_interactivity(slots: int, small: Path, files: Sequence[Path]) -> dict[str, float | None]:
    """Measure, in a child process, how soon and how often a session sees results: the keys of INTERACTIVITY."""
    print("eventmill: interactivity ...", flush=True)
    figures: dict[str, float | None] = run_json("benchmarks.interactivity", slots, small, *files)
    return figures


def middle(runs: Sequence[Measurement]) -> Measurement:
    """Median of every time over several runs of the same measurement; their histograms must be the same."""
    if any(run.contents != runs[0].contents for run in runs):
        raise SystemExit("the same system filled different histograms in different runs")
    times = {name: median(getattr(run, name) for run in runs) for name in ("imports", "start", "first", "again")}
    return Measurement(**times, contents=runs[0].contents)


def compare(results: Results) -> Iterator[str]:
    """One line for every system whose histogram is not, bin by bin, that of the first system of its analysis."""
    for analysis, by_system in results.items():
        reference, *others = by_system
        expected = by_system[reference].contents
        for system in others:
            contents = by_system[system].contents
            differing = [i for i, (a, b) in enumerate(zip(expected, contents, strict=True)) if a != b]
            if differing:
                first = differing[0]
                yield (
                    f"{analysis}: {system} differs from {reference} in {len(differing)} of {len(expected)} bins; "
                    f"bin {first} holds {contents[first]:g} instead of {expected[first]:g}"
                )


def markdown(results: Results, interactivity: dict[str, float | None], options: argparse.Namespace) -> str:
    """The report: machine and versions, one table an analysis, and how interactive eventmill is."""
    lines = [
        f"{today()}, {machine()}; {versions(PACKAGES)}.",
        f"{options.events:,} events in {options.files} files, {options.slots} slots or workers each.",
        f"Times in seconds, medians of {options.repeat}. Load before the run: {options.load:.2f}; it should be 0.",
    ]
    ours_cold = next((name for name in ("eventmill", "eventmill-cached") if name in options.systems), None)
    for analysis, by_system in results.items():
        entries = sum(next(iter(by_system.values())).contents)
        agreement = "the same in every bin" if not list(compare({analysis: by_system})) else "NOT the same in every bin"
        lines += [
            "",
            f"**{ANALYSES[analysis].title}**: {entries:,.0f} entries, {agreement} for {len(by_system)} systems",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "| --- | --: | --: | --: | --: | --: | --: | --: |",
        ]
        ours = by_system[ours_cold] if ours_cold else None
        for system, run in by_system.items():
            cold = run.start + run.first
            times = [f"{seconds:.2f}" for seconds in (run.imports, run.start, run.first, cold, run.again)]
            ratios = [f"{(ours.start + ours.first) / cold:.2f}", f"{ours.again / run.again:.2f}"] if ours else ["", ""]
            lines.append(f"| {' | '.join([SYSTEMS[system].title, *times, *ratios])} |")
    if interactivity:
        lines += ["", "| how soon eventmill shows something | |", "| --- | --: |"]
        for name, title in INTERACTIVITY.items():
            value = interactivity[name]
            lines.append(f"| {title} | {'not reported' if value is None else f'{value:.3g}'} |")
    return "\n".join(lines)


def record(results: Results, interactivity: dict[str, float | None], options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was measured, for `--json`."""
    return {
        "date": today(),
        "machine": machine(),
        "versions": {package: package_version(package) for package in PACKAGES},
        "events": options.events,
        "files": options.files,
        "slots": options.slots,
        "repeat": options.repeat,
        "load": options.load,
        "results": {name: {system: asdict(run) for system, run in runs.items()} for name, runs in results.items()},
        "interactivity": interactivity,
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line("throughput", __doc__)
    add_sample(parser, events=8_000_000, files=8)
    add_names(parser, "--systems", SYSTEMS)
    add_names(parser, "--analyses", ANALYSES)
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; their median counts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
