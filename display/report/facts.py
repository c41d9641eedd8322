"""What is known of a query that is over, and the sums that are made of it: by slot, site and server, and of its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal

from ...protocol.messages import Account, LaunchInfo, State, WishInfo
from ...protocol.usage import Course, Usage, WorkerInfo, summed

LOCAL = "local files"
UNNAMED = "unnamed"
Cause = Literal["computing", "calls", "waiting", "opening", "compiling", "idle", "ends", "lost", "absent", "merging"]
"""What the time of slots went into: computing, what calls of the analysis cost whatever their entries, waiting for data,
opening files, loading and compiling the analysis, having no packet, or one that fails, having none any more while
others still work, having one in hand when the worker went, not being there, and having the result merged at the end."""


@dataclass(frozen=True)
class Facts:
    """What is known of a query that is over.

    Attributes:
        workers: what each of them did.
        seconds: that the query took; 0 where nobody knows.
        course: how it went over time.
        account: what became of its entries, if that is known.
        name, state: of the query.
        starts: how those of its workers came to be that pools have started, by pool.
        wish: what these pools follow, if they do.
    """

    workers: Sequence[WorkerInfo] = ()
    seconds: float = 0.0
    course: Course = field(default_factory=Course)
    account: Account | None = None
    name: str = ""
    state: State = "done"
    starts: Mapping[str, Sequence[LaunchInfo]] = field(default_factory=dict)
    wish: WishInfo | None = None

    @cached_property
    def total(self) -> Usage:
        """What all packets cost."""
        return summed(usage for info in self.workers for usage in info.by_slot.values())

    @property
    def timed(self) -> bool:
        """Whether it is known when workers came and went, and when each slot had its packets."""
        worked = [info for info in self.workers if info.by_slot]
        return bool(worked and self.seconds) and all(info.spans and info.joined is not None for info in worked)

    @property
    def end(self) -> float:
        """When everything was committed, and only to be merged."""
        return max(0.0, self.seconds - self.course.merging)


def grouped(usages: Iterable[tuple[str, Usage]]) -> dict[str, Usage]:
    """Sums by name.

    Example:
        >>> {name: sum.packets for name, sum in grouped([("a", Usage(1)), ("b", Usage(2)), ("a", Usage(3))]).items()}
        {'a': 4, 'b': 2}
    """
    found: dict[str, Usage] = {}
    for name, usage in usages:
        found[name] = found.get(name, Usage()) + usage
    return found


# --- where the time went --------------------------------------------------------------------------------------------------


def in_hand(usage: Usage) -> dict[Cause, float]:
    """What the time went into in which a slot had a packet in hand: seconds that add up to `usage.elapsed`.

    Example:
        >>> in_hand(Usage(elapsed=10.0, waited=3.0, opening=2.0, late=1.0))
        {'computing': 6.0, 'calls': 0.0, 'waiting': 2.0, 'opening': 2.0, 'compiling': 0.0}
    """
    left = usage.elapsed
    found: dict[Cause, float] = {}
    parts: dict[Cause, float] = {
        "opening": usage.opening,
        "compiling": usage.compiling,
        "waiting": usage.waited - usage.late,
        "calls": usage.fixed,
    }
    for cause, seconds in parts.items():
        found[cause] = min(max(0.0, seconds), left)
        left -= found[cause]
    return {
        "computing": left,
        **{cause: found[cause] for cause in ("calls", "waiting", "opening", "compiling")},
    }


def times(facts: Facts) -> dict[Cause, float]:
    """What the time of all slots went into, in slot seconds: together, the most slots there were times the query's seconds.

    Where nobody knows when slots were there, only what they did with packets in hand.
    """
    found = in_hand(facts.total)
    if not facts.timed:
        return found
    idle = ends = lost = merging = 0.0
    for info in facts.workers:
        came, went = _stay(info, facts.seconds)
        worked_until = min(went, facts.end)
        merging += info.slots * max(0.0, went - max(came, facts.end))
        for slot in range(info.slots):
            if slot not in info.spans:
                idle += max(0.0, worked_until - came)
                continue
            began, ended = info.spans[slot]
            idle += max(0.0, began - came) + max(0.0, ended - began - info.by_slot[slot].elapsed)
            after = max(0.0, worked_until - ended)
            ends, lost = (ends + after, lost) if info.left is None else (ends, lost + after)
    presence = Presence.of(facts)
    return found | {"idle": idle, "ends": ends, "lost": lost, "absent": presence.missing, "merging": merging}


def _stay(info: WorkerInfo, seconds: float) -> tuple[float, float]:
    """From when to when a worker was there, within the query."""
    came = min(info.joined or 0.0, seconds)
    return came, max(came, seconds if info.left is None else min(info.left, seconds))


@dataclass(frozen=True, slots=True)
class Presence:
    """How many slots there were when.

    Attributes:
        steps: moments, and the slots that are there from each of them on; the last moment is the end.
        peak: the most.
        until: when nine tenths of them were there for the first time.
        before, after: slot seconds that were missing to the most of them, until then and from then on.
    """

    steps: tuple[tuple[float, int], ...] = ()
    peak: int = 0
    until: float = 0.0
    before: float = 0.0
    after: float = 0.0

    @property
    def missing(self) -> float:
        """Slot seconds that were missing, all in all."""
        return self.before + self.after

    @classmethod
    def of(cls, facts: Facts) -> Presence:
        """That of a query's workers; of nobody where it is not known.

        Example:
            >>> early = WorkerInfo("a", "n1", 1, 2, 0, 1, 1, 1.0, by_slot={0: Usage(1)}, joined=0.0, spans={0: (0.0, 9.0)})
            >>> late = WorkerInfo("b", "n2", 1, 8, 0, 1, 1, 1.0, by_slot={0: Usage(1)}, joined=5.0, spans={0: (5.0, 9.0)})
            >>> Presence.of(Facts([early, late], seconds=10.0)).steps
            ((0.0, 2), (5.0, 10), (10.0, 0))
        """
        if not facts.timed:
            return cls()
        changes: dict[float, int] = {0.0: 0, facts.seconds: 0}
        for info in facts.workers:
            came, went = _stay(info, facts.seconds)
            changes[came] = changes.get(came, 0) + info.slots
            changes[went] = changes.get(went, 0) - info.slots
        there, steps = 0, []
        for moment in sorted(changes):
            there += changes[moment]
            steps.append((moment, there))
        peak = max(slots for _, slots in steps)
        until = next(moment for moment, slots in steps if slots >= 0.9 * peak)
        before = after = 0.0
        for (moment, slots), (following, _) in pairwise(steps):
            missing = (peak - slots) * (following - moment)
            before, after = (before + missing, after) if moment < until else (before, after + missing)
        return cls(tuple(steps), peak, until, before, after)


def slots_of(facts: Facts) -> int:
    """The most slots that were there; where that is not known, those of all workers; 1 at least."""
    return max(1, Presence.of(facts).peak or sum(info.slots for info in facts.workers))


# --- how workers compare --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spread:
    """When slots had their last packets: `first` is when one of them had no more for the first time, `last` the end of all.

    Slots of workers that left do not count.
    """

    first: float
    last: float
    worker: str
    host: str

    @property
    def seconds(self) -> float:
        """Between the two."""
        return self.last - self.first


def spread(facts: Facts) -> Spread | None:
    """When the first slot had no more to do, and when and where the last one; None where that is not known."""
    ends = [
        (ended, info.worker, info.host)
        for info in facts.workers
        if info.left is None
        for _, ended in info.spans.values()
    ]
    if not facts.timed or not ends:
        return None
    (first, _, _), (last, worker, host) = min(ends), max(ends)
    return Spread(first, last, worker, host)


def last_packets(facts: Facts) -> dict[str, float]:
    """When each worker's last packet ended."""
    return {info.worker: max(end for _, end in info.spans.values()) for info in facts.workers if info.spans}


@dataclass(frozen=True, slots=True)
class HostSpeed:
    """How fast the slots of a host compute: entries, and the seconds that they took without waiting, opening, compiling."""

    entries: int
    seconds: float

    @property
    def rate(self) -> float:
        """Entries a second of a slot."""
        return self.entries / self.seconds if self.seconds else 0.0


def speeds(facts: Facts) -> Mapping[str, HostSpeed]:
    """Of all hosts whose slots have computed anything."""
    usages = grouped((info.host, usage) for info in facts.workers for usage in info.by_slot.values())
    found = {}
    for host, usage in usages.items():
        causes = in_hand(usage)
        seconds = causes["computing"] + causes["calls"]
        if usage.entries and seconds:
            found[host] = HostSpeed(usage.entries, seconds)
    return found


def waits(facts: Facts) -> Mapping[str, Mapping[str, Usage]]:
    """What the packets of each file server cost, by the site of the worker."""
    found: dict[str, dict[str, Usage]] = {}
    for info in facts.workers:
        for server, usage in info.by_server.items():
            sites = found.setdefault(server or LOCAL, {})
            site = info.site or UNNAMED
            sites[site] = sites.get(site, Usage()) + usage
    return found


def usages(facts: Facts) -> Iterator[tuple[str, str, Usage]]:
    """The lines of the table of costs: of what ("query", "slot", "site" or "server"), the name, and the costs."""
    yield "query", "", facts.total
    for info in facts.workers:
        for slot, usage in sorted(info.by_slot.items()):
            yield "slot", f"{info.worker}/{slot}", usage
    sites = ((info.site or UNNAMED, usage) for info in facts.workers for usage in info.by_slot.values())
    for name, usage in grouped(sites).items():
        yield "site", name, usage
    for name, by_site in waits(facts).items():
        yield "server", name, summed(by_site.values())
