"""Many seeds of the simulated world, on all cores."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from .table import Report, listed
from .world import World, Wrong

BATCH = 50
MOST_PROBLEMS = 10


@dataclass(slots=True)
class Outcome:
    """What some seeds gave."""

    seeds: int = 0
    steps: int = 0
    seconds: float = 0.0
    queries: int = 0
    entries: int = 0
    redone: int = 0
    lives: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        for name in ("seeds", "steps", "seconds", "queries", "entries", "redone", "lives"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.happened += other.happened
        self.states += other.states
        self.problems += other.problems


def run(seeds: range) -> Outcome:
    """Run some seeds, one after the other."""
    logging.getLogger("eventmill").setLevel(logging.CRITICAL)
    outcome = Outcome()
    for seed in seeds:
        world = World(seed)
        outcome.seeds += 1
        try:
            world.run()
        except Wrong as problem:
            outcome.problems.append(str(problem))
            continue
        outcome.steps += world.steps
        outcome.seconds += world.clock.now
        outcome.lives += world.master.lives
        outcome.happened += world.happened
        for plan in world.plans:
            if plan.ended is not None:
                outcome.queries += 1
                outcome.entries += plan.ended.account.processed
                outcome.redone += plan.ended.account.redone
                outcome.states[plan.ended.state] += 1
    return outcome


def batches(first: int, count: int) -> Iterator[range]:
    """All seeds, a batch a task."""
    for start in range(first, first + count, BATCH):
        yield range(start, min(start + BATCH, first + count))


def sweep(first: int, count: int, processes: int | None = None) -> Report:
    """Run seeds on all cores, or in so many processes, of which 1 is this one; stops early when many of them go wrong."""
    began = shown = time.monotonic()
    total = Outcome()
    with contextlib.ExitStack() as stack:
        outcomes = map(run, batches(first, count))
        if processes != 1:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(processes or os.cpu_count()))
            outcomes = pool.imap_unordered(run, batches(first, count))
        for outcome in outcomes:
            total.add(outcome)
            if time.monotonic() - shown > 5.0 and sys.stdout.isatty():
                shown = time.monotonic()
                print(f"\r{total.seeds:,} seeds, {len(total.problems)} went wrong ", end="", flush=True)
            if len(total.problems) >= MOST_PROBLEMS:
                break
    return _report(total, time.monotonic() - began)


def one(seed: int) -> int:
    """Run one seed with all that the cores have to say; 1 when it goes wrong."""
    logging.basicConfig(level=logging.DEBUG, format="%(message)s", stream=sys.stdout)
    World(seed, trace=True).run()
    return 0


def _report(total: Outcome, seconds: float) -> Report:
    return Report(
        {
            "seeds": f"{total.seeds:,}, in {seconds:.0f} s",
            "faults": f"{total.happened.total():,}: {listed(total.happened)}",
            "queries": f"{total.queries:,}: {listed(total.states)}",
            "entries processed": f"{total.entries:,}, each counted once or listed as lost; {total.redone:,} redone",
            "lives of the master": f"{total.lives:,}",
            "virtual time, steps": f"{total.seconds / 86400:.1f} days, {total.steps:,} steps",
        },
        total.problems,
    )
