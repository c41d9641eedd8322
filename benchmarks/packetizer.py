"""What the packetizer is worth: each figure beside its target.

    python -m benchmarks.packetizer                        everything: about five minutes
    python -m benchmarks.packetizer --rows ramp,trouble    some of it; --help lists the names
    python -m benchmarks.packetizer --readme               puts the table into benchmarks/README.md

Most rows are simulations (docs/simulator.md): the real master core in virtual time. `real` runs processes that sleep, and
`decision` and `ledger` take the time and memory of the core itself. It ends with an error when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from heapq import heapify, heapreplace
from pathlib import Path

from eventmill.simulation.profiles import Churn, Data, FileServer, Group, Profile, Trouble, spread
from eventmill.simulation.simulator import simulate

from .core_cost import cost_of_decisions, ledger_memory, start_of_query
from .options import add_names, command_line
from .tables import put
from .throttled import ends_of_throttled_slots

WORKS = (1_000, 2_000, 5_000, 10_000, 20_000, 35_000)
SITES = {
    "CERN": (0.0, 400.0),
    "CNAF": (100.0, 900.0),
    "Roma": (200.0, 1600.0),
    "Napoli": (500.0, 2500.0),
    "Milano": (800.0, 3500.0),
}
"""Five sites whose jobs start over 0 to 3500 s, as in the talk; the ramp inside each is even."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    case: str
    target: str
    measured: str
    met: bool


def mixed() -> Iterator[Row]:
    """16 workers, speeds 4:1, jitter 10 %: a query of about 2287 s."""
    runs = [simulate(sixteen(), seed) for seed in range(3)]
    spreads = max(run.spread for run in runs)
    case = f"16 workers, speeds 4:1, jitter 10 %, {runs[0].seconds:.0f} s, the worst of {len(runs)} seeds"
    yield Row(f"{case}: spread (RMS/mean)", "0.05 % (PROOF 0.73 %)", f"{spreads:.4%}", spreads <= 0.0005)
    exchange = max(run.exchange for run in runs)
    yield Row("the same: exchange overhead", "under 1 %", f"{exchange:.2%}", exchange < 0.01)
    reached = min(run.reached for run in runs)
    yield Row("the same: of the analytical limit", "-", f"{reached:.2%}", True)


def ramp() -> Iterator[Row]:
    """100 workers on the five-site start-up ramp."""
    for work in WORKS:
        run = simulate(on_ramp(work))
        target = 0.99 if work >= 5_000 else 0.97
        measured = f"{run.reached:.2%} ({run.seconds:.0f} s; ideal batch {batch(work):.0f} s)"
        case = f"100 workers, five-site ramp, {work:,} s of work: of the analytical limit"
        yield Row(case, f"{target:.0%}", measured, run.reached >= target)


def trouble() -> Iterator[Row]:
    """One of 16 workers becomes 20 times slower or freezes, at any time."""
    for what, notice in (("slower", 0.0), ("freeze", 5.0), ("hang", 5.0)):
        worst = 0.0
        for at in (100.0, 1500.0, 2270.0, 2284.0):
            for worker in (0, 15):
                happens = Trouble(what, at, worker, times=20.0)  # type: ignore[arg-type]
                run = simulate(sixteen([happens]))
                late = run.seconds / run.limit - 1.0 if run.complete else float("inf")
                worst = max(worst, late - notice / run.limit)
        text = f"one of 16 workers: {what}" + (" (after 5 s to notice it)" if notice else " (20 times)")
        yield Row(f"{text}: later than the limit", "2 %", f"{worst:.2%}", worst <= 0.02)


def cloud() -> Iterator[Row]:
    """1,000 cloud workers, churn of 5 % a minute, file servers of 10 Gb/s; `simulate` asserts that no entry counts twice."""
    for silent in (0.0, 0.2):
        run = simulate(churning(silent))
        case = f"1,000 cloud workers, 5 %/min die and join, {silent:.0%} of them silently, 10 Gb/s servers"
        measured = f"{run.reached:.2%} ({run.record.packets:,} packets, {run.seconds:.0f} s)"
        yield Row(f"{case}: of the limit", "97 %", measured, run.reached >= 0.97)


def real() -> Iterator[Row]:
    """8 real slots throttled 1:8."""
    with tempfile.TemporaryDirectory() as folder:
        ends, seconds = ends_of_throttled_slots(Path(folder))
    width = max(ends) - min(ends)
    case = f"real processes: 8 slots throttled 1:8, {seconds:.0f} s query: last slot after the first"
    yield Row(case, "0.25 s", f"{width:.3f} s ({len(ends)} slots)", width <= 0.25 and len(ends) == 8)


def decision() -> Iterator[Row]:
    """What the core needs for one message."""
    costs = {slots: cost_of_decisions(slots, files=100_000) for slots in (100, 1_000, 10_000)}
    for slots, cost in costs.items():
        case = f"a decision with {slots:,} slots and 100,000 files"
        measured = f"{cost.message * 1e6:.1f} µs ({cost.housekeeping:.2%} of a core for housekeeping)"
        yield Row(case, "50 µs", measured, cost.message < 50e-6)
    growth = costs[10_000].message / costs[100].message
    yield Row("growth from 100 to 10,000 slots", "2 (as log n)", f"{growth:.2f}", growth <= 2.0)
    for more, case in (({"servers": 1_000}, "1,000 file servers"), ({"over": 10_000}, "10,000 queries that are over")):
        cost = cost_of_decisions(100, files=10_000, **more)
        measured = f"{cost.message * 1e6:.1f} µs"
        yield Row(f"a decision with 100 slots and {case}", "50 µs", measured, cost.message < 50e-6)


def ledger() -> Iterator[Row]:
    """Memory and start."""
    megabytes = ledger_memory(files=100_000, packets=1_000_000) / 1e6
    yield Row("ledger of 100,000 files, 1,000,000 live leases", "500 MB", f"{megabytes:.0f} MB", megabytes < 500)
    seconds = start_of_query(files=100_000)
    yield Row("`Submit` of 100,000 unopened files to the first lease", "1 s", f"{seconds:.2f} s", seconds < 1.0)


ROWS: dict[str, Callable[[], Iterator[Row]]] = {
    "mixed": mixed,
    "ramp": ramp,
    "trouble": trouble,
    "cloud": cloud,
    "decision": decision,
    "ledger": ledger,
    "real": real,
}


# --- profiles -------------------------------------------------------------------------------------------------------


def sixteen(troubles: list[Trouble] | None = None) -> Profile:
    """16 slots of 1,000 to 4,000 entries a second: 40,000 together, 2287 s for the whole."""
    group = Group(speed=[1000.0, 4000.0], count=16, jitter=0.1, troubles=troubles or [])
    return Profile(Data(files=200, entries=457_400), [group])


def on_ramp(work: int) -> Profile:
    """`work` seconds of slot time for 20 slots at each site."""
    entries = work * 1000
    files = max(20, entries // 200_000)
    groups = [
        Group(speed=1000.0, count=20, jitter=0.1, site=site, arrive=[*ramp], latency=0.01)
        for site, ramp in SITES.items()
    ]
    return Profile(Data(files=files, entries=-(-entries // files)), groups)


def batch(work: int) -> float:
    """End of 100 equal jobs without any overhead, each run by the first slot that is free."""
    free = [spread([*ramp], index, 20) for ramp in SITES.values() for index in range(20)]
    heapify(free)
    end = 0.0
    for _ in range(100):
        done = free[0] + work / 100
        heapreplace(free, done)
        end = max(end, done)
    return end


def churning(silent: float) -> Profile:
    """1,000 slots, about 1,000 entries of 2 kB a second each, for about 200 s; a dead one is replaced after 30 s."""
    servers = [FileServer("eos-1", 1.25e9), FileServer("eos-2", 1.25e9)]
    data = Data(files=1000, entries=[180_000, 220_000], bytes=2000.0, servers=servers)
    churn = Churn(per_minute=0.05, silent=silent, replaced_after=30.0)
    return Profile(data, [Group(speed=[500.0, 1500.0], count=1000, jitter=0.1, latency=0.02, churn=churn)])


# --- the table ------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and put the table where the options say; 1 when a target is missed."""
    options = _parse(arguments)
    logging.getLogger("eventmill").setLevel(logging.ERROR)
    rows = []
    for name in options.rows:
        for row in ROWS[name]():
            rows.append(row)
            print(f"{'' if row.met else 'MISSED  '}{row.case}: {row.measured}, target {row.target}", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    if options.readme:
        put("packetizer", markdown(rows))
    return 0 if all(row.met for row in rows) else 1


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = ["| case | target | measured | |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.case} | {row.target} | {row.measured} | {'met' if row.met else 'missed'} |" for row in rows]
    return "\n".join(lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = command_line("packetizer", __doc__)
    add_names(parser, "--rows", ROWS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
