"""What held a query back: a pure function from what is known of it. `words.py` says it in sentences.

Seconds are those by which the query would have been over sooner, about: slot seconds, shared by all slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

from ...protocol.messages import Account
from ...protocol.usage import Usage
from .facts import Facts, Presence, in_hand, slots_of, speeds, spread, times, waits

Kind = Literal[
    "waiting", "few_workers", "workers_left", "idle", "slow_hosts", "ends", "merging", "opening", "small_files",
    "dear_calls", "compiling", "redone", "no_cpu",
]  # fmt: skip
LEAST_PART = 0.05
"""Of the query's time: runs of the same query differ by as much, so that nobody would see that less is gone."""
LEAST_SECONDS = 0.5
"""Nobody waits for less."""
DEAR_PART, DEAR_CALL = 0.1, 0.02
"""The part of its time that an analysis takes for calls whatever their entries, and the seconds of a call, from which on
that is said: sizes of chunks are chosen so that it is a tenth, and chunks of a fifth of a second are no burden."""
NO_CPU = 0.2
"""Of the time for computing: system calls, page faults and the scheduler of a busy machine take up to that of anybody."""
SLOW = 0.5
"""Of the median rate: cores of several years in one pool are within a factor of two of each other."""
FEWEST_HOSTS = 3
"""Of two hosts, nobody can say which is the usual one."""
MOST_NAMES = 5
"""Names that are listed; `count` has how many there are."""
MOSTLY = 0.5
"""Of the time for opening files: a server that it went into waiting for is named."""
MOST_OF_IT = 0.9
"""Sites are named until so much of the wait is theirs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that held a query back.

    Attributes:
        kind: what it is.
        seconds: by which the query would have been over sooner without it, about.
        part: of the query's time, from 0 to 1.
        names: of servers, hosts or workers: who it is, the worst first.
        sites: where those slots are that it concerns, if not all.
        count, of: how many it concerns, and of how many.
        each: seconds of each of them: a request, the opening of a file, a call, the compilation in a slot; of slow hosts the
            rate of the slowest, in usual ones; of what had no CPU, CPU seconds a second.
        until: the moment up to which it was so, or from which on, in seconds since the query began.
        entries: that it is about.
    """

    kind: Kind
    seconds: float
    part: float = 0.0
    names: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    count: int = 0
    of: int = 0
    each: float = 0.0
    until: float = 0.0
    entries: int = 0


def findings(facts: Facts) -> list[Finding]:
    """What held a query back, the worst first. What is not known is not found.

    Example:
        >>> from eventmill.protocol.usage import WorkerInfo
        >>> usage = Usage(packets=9, entries=900, elapsed=9.0, cpu=3.0, waited=6.0, requests=90, latency=0.1)
        >>> info = WorkerInfo("w", "node1", 1, 1, 0, 9, 900, 9.0, "cern.ch", {0: usage}, {"eos.cern.ch": usage})
        >>> [(it.kind, it.names, it.seconds) for it in findings(Facts([info], seconds=10.0))]
        [('waiting', ('eos.cern.ch',), 6.0)]
    """
    if not facts.seconds:
        return []
    found = [*_in_hand(facts), *_over_time(facts), *_merging(facts), *_redone(facts)]
    return sorted((it for it in found if it.seconds >= least(facts)), key=lambda it: -it.seconds)


def least(facts: Facts) -> float:
    """Seconds that are worth to be told of."""
    return max(LEAST_SECONDS, LEAST_PART * facts.seconds)


def dear_calls(total: Usage, slots: int = 1) -> Finding | None:
    """That an analysis is dear by the call, where it is: so much of its time, and so long each call."""
    if not total.calls or total.fixed < max(DEAR_PART * total.elapsed, DEAR_CALL * total.calls):
        return None
    part = total.fixed / total.elapsed if total.elapsed else 0.0
    return Finding("dear_calls", total.fixed / slots, part, count=total.calls, each=total.fixed / total.calls)


def _in_hand(facts: Facts) -> Iterator[Finding]:
    """What came between slots and their work while they had packets."""
    total, slots = facts.total, slots_of(facts)
    causes = in_hand(total)
    yield from _waiting(facts, slots)
    yield from _opening(facts, total, slots)
    dear = dear_calls(total, slots)
    if dear is not None:
        yield dear
    if causes["compiling"]:
        workers = sum(len(info.by_slot) for info in facts.workers)
        compiling = causes["compiling"] / slots
        yield Finding(
            "compiling", compiling, compiling / facts.seconds, count=workers, each=causes["compiling"] / workers
        )
    no_cpu = causes["computing"] - total.cpu  # what calls cost anyway is told by `dear_calls`, whatever it is
    if no_cpu > NO_CPU * causes["computing"]:
        lost = no_cpu / slots
        yield Finding("no_cpu", lost, lost / facts.seconds, each=total.cpu / causes["computing"])
    yield from _slow_hosts(facts, slots)


def _waiting(facts: Facts, slots: int) -> Iterator[Finding]:
    """Each server that was waited for as long as is worth to be told; the others together, if that is."""
    known = {server: _waits_of(by_site) for server, by_site in waits(facts).items()}
    totals = {server: sum(waited.values()) for server, waited in known.items()}
    servers = sorted(totals, key=lambda server: -totals[server])
    alone = [server for server in servers if totals[server] / slots >= least(facts)]
    others = [server for server in servers if server not in alone]
    for names in (*((server,) for server in alone), tuple(others)):
        if not names:
            continue
        waited: dict[str, float] = {}
        for site, seconds in (item for name in names for item in known[name].items()):
            waited[site] = waited.get(site, 0.0) + seconds
        total, sites = sum(waited.values()), list[str]()
        for site in sorted(waited, key=lambda it: -waited[it]):
            if sum(waited[it] for it in sites) < MOST_OF_IT * total:
                sites.append(site)
        cost = sum((usage for name in names for usage in waits(facts)[name].values()), start=Usage())
        lost = total / slots
        yield Finding(
            "waiting", lost, lost / facts.seconds, names[:MOST_NAMES], tuple(sites[:MOST_NAMES]), len(sites),
            len({info.site for info in facts.workers}), cost.latency,
        )  # fmt: skip


def _waits_of(by_site: Mapping[str, Usage]) -> dict[str, float]:
    return {site: in_hand(usage)["waiting"] for site, usage in by_site.items()}


def _opening(facts: Facts, total: Usage, slots: int) -> Iterator[Finding]:
    """Opening files; where that takes longer than their entries, the files are small."""
    causes = in_hand(total)
    if not causes["opening"] or not total.packets:
        return
    small = causes["opening"] > causes["computing"] + causes["calls"]
    files = 0 if facts.account is None else facts.account.files_opened
    lost = causes["opening"] / slots
    late = {server: sum(usage.late for usage in by_site.values()) for server, by_site in waits(facts).items()}
    late = {server: seconds for server, seconds in late.items() if seconds > MOSTLY * causes["opening"]}
    yield Finding(
        "small_files" if small else "opening", lost, lost / facts.seconds, tuple(late), count=total.packets, of=files,
        each=causes["opening"] / total.packets, entries=total.entries // total.packets,
    )  # fmt: skip


def _slow_hosts(facts: Facts, slots: int) -> Iterator[Finding]:
    """Hosts whose slots compute far fewer entries a second than the others, whatever they wait for besides."""
    known = speeds(facts)
    if len(known) < FEWEST_HOSTS:
        return
    usual = median(speed.rate for speed in known.values())
    slow = sorted((host for host in known if known[host].rate < SLOW * usual), key=lambda host: known[host].rate)
    lost = sum(known[host].seconds - known[host].entries / usual for host in slow) / slots
    if slow:
        slowest = known[slow[0]].rate / usual
        yield Finding(
            "slow_hosts", lost, lost / facts.seconds, tuple(slow[:MOST_NAMES]), count=len(slow), of=len(known),
            each=slowest,
        )  # fmt: skip


def _over_time(facts: Facts) -> Iterator[Finding]:
    """Slots that were not there, or had no packets."""
    presence = Presence.of(facts)
    if not presence.peak:
        return
    causes, seconds = times(facts), facts.seconds
    early, late = presence.before / presence.peak, presence.after / presence.peak
    there = presence.steps[0][1]
    yield Finding("few_workers", early, early / seconds, count=there, of=presence.peak, until=presence.until)
    gone = [info for info in facts.workers if info.left is not None and info.left < facts.end]
    if gone:
        first = min(info.left for info in gone if info.left is not None)
        names = tuple(info.worker for info in sorted(gone, key=lambda it: it.left or 0.0))
        yield Finding(
            "workers_left",
            late,
            late / seconds,
            names[:MOST_NAMES],
            count=len(gone),
            of=len(facts.workers),
            until=first,
        )
    idle, ends = causes["idle"] / presence.peak, causes["ends"] / presence.peak
    yield Finding("idle", idle, idle / seconds, of=presence.peak)
    last = spread(facts)
    if last is not None:
        yield Finding("ends", ends, ends / seconds, (last.host,), each=last.seconds, until=last.last)


def _merging(facts: Facts) -> Iterator[Finding]:
    merging = min(facts.course.merging, facts.seconds)
    yield Finding("merging", merging, merging / facts.seconds)


def _redone(facts: Facts) -> Iterator[Finding]:
    """Work that was done once more, at what an entry took on the average; or what was in hand when workers went."""
    total, account = facts.total, facts.account or Account()
    again = account.redone * total.elapsed / total.entries if total.entries else 0.0
    lost = max(again, times(facts).get("lost", 0.0)) / slots_of(facts)
    yield Finding("redone", lost, lost / facts.seconds, count=account.workers_lost, entries=account.redone)
