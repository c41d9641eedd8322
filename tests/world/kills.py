"""`kill -9` of the master at random moments of a query: it is complete after the restart, and nothing is done once more that
the journal had."""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import eventmill as em
from eventmill.master.finished import Finished
from eventmill.master.journal import Journal

from .fleet import Fleet, eventually, fleet
from .real_faults import Work, make_work
from .table import Report, middle_and_worst

ANSWER_SECONDS = 240.0
"""A query that takes longer has been lost."""

SLOTS = 2
INTERVALS = 1.0 + 0.5 + 2.0
"""Seconds of work that a slot has not handed over, its worker not committed, and the master not written down. For people to
compare with: on a busy machine they last longer, so what decides is what the journal had."""


@dataclass(slots=True)
class Killed:
    """One query whose master was killed."""

    seconds: float
    redone: int
    written: int
    recovered: float
    problems: list[str] = field(default_factory=list)


def run(count: int, seed: int = 0, *, events: int = 100_000, cost: float = 100e-6) -> Report:
    """The same query so many times, each time with one `kill -9` at a random moment of it.

    Args:
        events: in the sample.
        cost: seconds of a slot an event.
    """
    random = Random(seed)
    usual = round(SLOTS * INTERVALS / cost)
    with tempfile.TemporaryDirectory(prefix="eventmill-kills-") as folder, fleet(Path(folder)) as there:
        there.start_master()
        there.start_worker(SLOTS)
        work = make_work(there.folder, None, events, cost, cost)
        with em.connect(there.client) as session:
            eventually(lambda: bool(session.workers()), "a worker is there")
            length = _query(there, session, work, "whole", None).seconds
            moments = [random.uniform(0.0, length) for _ in range(count)]
            runs = [_query(there, session, work, f"kill{i}", moment) for i, moment in enumerate(moments)]
        problems = there.complaints()[:10]
    for it in runs:
        problems += it.problems
        if it.redone > events - it.written:
            problems.append(f"{it.redone:,} events were worked on once more, though the journal had {it.written:,}")
    exact = sum(not it.problems for it in runs)
    return Report(
        {
            "kills of the master": f"{count}, at random moments of the {length:.1f} s of a query of {events:,} events",
            "complete and exact after the restart": f"{exact} of {count}",
            "events worked on once more": f"{middle_and_worst([it.redone for it in runs])}; usual {usual:,}: "
            f"{INTERVALS} s of {SLOTS} slots",
            "from the kill to the next progress [s]": middle_and_worst([it.recovered for it in runs]),
        },
        problems,
    )


def _query(there: Fleet, session: em.Session, work: Work, name: str, moment: float | None) -> Killed:
    """One query, and the kill at a moment of it."""
    began = time.monotonic()
    query = session.process(work.data, work.analysis(name, 1), name=name)
    written, recovered = 0, 0.0
    if moment is not None:
        assert there.master is not None
        time.sleep(moment)
        before = query.progress
        there.master.kill()
        killed = time.monotonic()
        written = _written(there, query.id, work.events)
        there.start_master()
        eventually(lambda: query.progress is not before or query.state != "running", f"{name} goes on")
        recovered = time.monotonic() - killed
    result = query.result(ANSWER_SECONDS, progress=False)
    redone = work.worked_on(name) - work.events
    return Killed(time.monotonic() - began, redone, written, recovered, work.wrong(name, result))


def _written(there: Fleet, number: str, events: int) -> int:
    """Events of a query of `events` that the journal of a dead master has; one kill has others worked on twice at most."""
    with contextlib.closing(Journal(there.keys / "journal.sqlite")) as journal:
        (saved,) = (saved for saved in journal.load() if saved.number == number)
    if isinstance(saved, Finished):
        return events
    return sum(stop - start for ranges in saved.done.values() for start, stop in ranges)
