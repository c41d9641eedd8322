"""A report in sentences: what the query did, what held it back, and what would help."""

from __future__ import annotations

from ...protocol.messages import Account
from ..account_text import counted, losses
from .facts import LOCAL, Cause, Facts, slots_of, spread, times
from .findings import Finding, least

CAUSES: dict[Cause, str] = {
    "computing": "running the analysis",
    "calls": "fixed cost of calls",
    "waiting": "waiting for data",
    "opening": "opening files",
    "compiling": "loading and compiling",
    "idle": "without a packet",
    "ends": "done before the others",
    "lost": "packets lost with workers",
    "absent": "slots not there",
    "merging": "merging at the end",
}


def duration(seconds: float) -> str:
    """
    Example:
        >>> duration(0.04), duration(12.34), duration(75), duration(4000)
        ('40 ms', '12.3 s', '1 min 15 s', '1 h 07 min')
    """
    if seconds < 60:
        return f"{seconds * 1e3:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02} s"
    return f"{round(seconds / 60) // 60:,} h {round(seconds / 60) % 60:02} min"


def headline(facts: Facts) -> str:
    """What the query did: empty where nothing is known of it."""
    total = facts.total
    if not facts.workers and not facts.seconds:
        return ""
    account = facts.account or Account()
    entries = facts.account.processed if facts.account is not None else total.entries
    name = f"{facts.name}: " if facts.name else ""
    took = f"{facts.state} after {duration(facts.seconds)}. " if facts.seconds else ""
    words = [f"{entries:,} {counted(account, entries)} by {_number(slots_of(facts), 'slot')}"]
    hosts = len({info.host for info in facts.workers})
    words[0] += f" of {_number(len(facts.workers), 'worker')} on {_number(hosts, 'host')}"
    if facts.seconds:
        words.append(f"{significant(entries / facts.seconds)} {counted(account)}/s")
        if total.bytes_read:
            words.append(f"{significant(total.bytes_read / 1e6 / facts.seconds)} MB/s")
    words.append(f"CPU efficiency {total.efficiency:.0%}")
    if lost := losses(account):
        words.append(lost)
    if account.redone:
        words.append(f"{account.redone:,} {counted(account, account.redone)} redone")
    return f"{name}{took}{', '.join(words)}."


def significant(value: float) -> str:
    """A number with three digits that mean something.

    Example:
        >>> significant(123456.7), significant(1.2345), significant(0.0)
        ('123,000', '1.23', '0')
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"


def verdict(facts: Facts, found: list[Finding]) -> str:
    """What stands before the findings, or instead of them; empty where nothing can be said."""
    if found:
        return "What held it back, and by how much it would have been over sooner, about:"
    if not facts.seconds or not facts.total.packets:
        return ""
    return f"Nothing held it back by as much as {duration(least(facts))}."


def what(finding: Finding) -> str:
    """What it is that held the query back.

    Example:
        >>> what(Finding("slow_hosts", 8.0, 0.2, ("n7", "n9"), count=2, of=40, each=0.25))
        'Two hosts of 40 compute at less than half of the usual rate, the slowest at 25% of it: n7, n9.'
    """
    return _WHAT[finding.kind](finding)


def help_for(finding: Finding) -> str:
    """What would help."""
    if finding.kind == "waiting" and finding.names == (LOCAL,):
        return "Read fewer branches, use a faster disk or fewer slots on it, or spread the files over more machines."
    return _HELP[finding.kind]


def time_line(facts: Facts) -> str:
    """What the time of all slots went into, the most first; empty where nothing is known."""
    causes = {cause: seconds for cause, seconds in times(facts).items() if seconds > 0.0}
    whole = sum(causes.values())
    if not whole:
        return ""
    shares = sorted(causes.items(), key=lambda it: -it[1])
    words = ", ".join(f"{CAUSES[cause]} {seconds / whole:.0%}" for cause, seconds in shares if seconds >= 0.005 * whole)
    of = "The slots' time" if facts.timed else "The time with packets in hand"
    return f"{of} ({duration(whole)}): {words}."


def packets_line(facts: Facts) -> str:
    """How packets were spread over workers, and when the last ones ended."""
    counts = sorted(info.packets for info in facts.workers)
    if not counts:
        return ""
    each = f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
    total = facts.total
    text = f"{_number(total.packets, 'packet')}, {each} a worker"
    if total.packets:
        entries, seconds = total.entries // total.packets, total.elapsed / total.packets
        text += f", of {entries:,} entries and {duration(seconds)} on the average"
    last = spread(facts)
    if last is not None and slots_of(facts) > 1:
        text += (
            f". The first slot had no more to do at {duration(last.first)}, the last at {duration(last.last)}:"
            f" a spread of {duration(last.seconds)}"
        )
    return text + "."


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _names(finding: Finding) -> str:
    more = finding.count - len(finding.names)
    return ", ".join(finding.names) + (f" and {more:,} more" if more > 0 else "")


def _spelt(count: int, noun: str) -> str:
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
    return f"{words[count] if count < len(words) else f'{count:,}'} {noun}{'' if count == 1 else 's'}"


# --- sentences ------------------------------------------------------------------------------------------------------------


def _waiting(it: Finding) -> str:
    where = ""
    if 0 < it.count < it.of:
        more = f" and {it.count - len(it.sites)} more" if it.count > len(it.sites) else ""
        where = f" at {', '.join(it.sites)}{more}"
    latency = f"; it took {it.each * 1e3:,.0f} ms to answer a request" if it.each >= 0.001 else ""
    return f"Slots{where} waited for data from {', '.join(it.names)}, {it.part:.0%} of the time{latency}."


def _few_workers(it: Finding) -> str:
    first = f"{it.count:,} of {_number(it.of, 'slot')}" if it.count else f"none of {_number(it.of, 'slot')}"
    return f"Too few workers until {duration(it.until)}: {first} {'was' if it.count < 2 else 'were'} there at first."


def _workers_left(it: Finding) -> str:
    who = f"{_spelt(it.count, 'worker')} of {it.of:,}"
    return f"{who} left before the end, the first after {duration(it.until)}: {_names(it)}."


def _idle(it: Finding) -> str:
    return (
        f"Slots were there and had no packet that came to its end, {it.part:.0%} of the time: they were busy with other"
        " queries, nothing was open yet that could be shared out, or packets failed or were taken back."
    )


def _slow_hosts(it: Finding) -> str:
    verb = "computes" if it.count == 1 else "compute"
    slowest = f"at {it.each:.0%} of it" if it.count == 1 else f"the slowest at {it.each:.0%} of it"
    return (
        f"{_spelt(it.count, 'host')} of {it.of:,} {verb} at less than half of the usual rate, {slowest}: {_names(it)}."
    )


def _ends(it: Finding) -> str:
    last = f"while {it.names[0]} was at work until {duration(it.until)}"
    return f"The last packets ended over {duration(it.each)}: slots had nothing more to do, {last}."


def _merging(it: Finding) -> str:
    return f"When all was processed, merging the result took {duration(it.seconds)}."


def _opening(it: Finding) -> str:
    return f"Opening files took {it.part:.0%} of the time, {duration(it.each)} a packet{_late(it)}."


def _small_files(it: Finding) -> str:
    files = f"{_number(it.of, 'file')}: o" if it.of else "O"
    return (
        f"Small files: {files}pening them took longer than their entries, {duration(it.each)} a packet of"
        f" {it.entries:,} entries on the average{_late(it)}."
    )


def _late(it: Finding) -> str:
    return f", most of it waiting for answers of {it.names[0]}" if it.names else ""


def _dear_calls(it: Finding) -> str:
    each = f"Each of {it.count:,} calls of the analysis took about {it.each:.2g} s whatever its entries"
    return f"{each}, {it.part:.0%} of the time that slots had packets."


def _compiling(it: Finding) -> str:
    return f"Loading and compiling the analysis took {duration(it.each)} in each of {_number(it.count, 'slot')}."


def _no_cpu(it: Finding) -> str:
    cores = f"they got {it.each:.0%} of a core while the analysis ran"
    return f"Slots had data and did not compute, {it.part:.0%} of the time: {cores}."


def _redone(it: Finding) -> str:
    who = f" of {_number(it.count, 'worker')} that went" if it.count else ""
    if not it.entries:
        return f"What slots{who or ' that went'} had in hand was begun anew by others."
    return f"{it.entries:,} entries were processed once more: what had become of them was lost with slots{who}."


_WHAT = {
    "waiting": _waiting,
    "few_workers": _few_workers,
    "workers_left": _workers_left,
    "idle": _idle,
    "slow_hosts": _slow_hosts,
    "ends": _ends,
    "merging": _merging,
    "opening": _opening,
    "small_files": _small_files,
    "dear_calls": _dear_calls,
    "compiling": _compiling,
    "redone": _redone,
    "no_cpu": _no_cpu,
}
_HELP = {
    "waiting": "Read fewer branches, run nearer to the data or through a cache (--proxy-prefix), or name replicas.",
    "few_workers": "Workers of a session that stays open, or of a standing master, are there for the next query.",
    "workers_left": "Ask for longer jobs (--walltime tells eventmill when they end), or for more workers than you need.",
    "idle": "Give the query a higher priority, or see what the others are: session.queries().",
    "slow_hosts": "See what else runs there, or ask the batch system for other machines.",
    "ends": "Smaller calls let slots share out the end more evenly: chunk=(least, most) bounds their entries.",
    "merging": "Return fewer bins or smaller arrays; objects that only Python can merge take longest.",
    "opening": "Have fewer and larger files, or copies nearer to the slots.",
    "small_files": "Merge them into larger ones (hadd), of some 100,000 entries or more.",
    "dear_calls": "Make once what every call makes anew, or have fewer calls with larger files or chunk=.",
    "compiling": "Compiled kernels are kept on a worker's machine: the same analysis begins at once there the next time.",
    "no_cpu": "The analysis may wait for something itself (a file, a server, a lock), or its machines have other work.",
    "redone": "session.logs() says why they went, or the output of the master does.",
}
