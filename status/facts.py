"""What the page shows of a cluster, as plain dicts of the same views that notebooks and terminals show.

All is pure: what goes in are views, and the clock of this machine where a time of day is told. Seconds are those of the
master, counted from its beginning, unless their name says `ago`. Numbers that are not finite become null on the way
(`encoded`), as JSON has none.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from ..display.account_text import counted, describe_account
from ..display.cluster_view import ClusterView, QueryRow, WorkerView, parts
from ..display.logs import LogLine, Logs
from ..display.pools import STARTING
from ..display.progress_line import line_of
from ..display.wishes import wish_line
from ..protocol.messages import ACTIVITIES, Account, Failure, LostRange, PacketDone

MOST_OVER = 100
"""Queries that are over, in the summary; `queries` has all."""
MOST_ROWS = 1000
"""Of any list in one answer."""
MOST_BANDS = 9
"""Of a picture over time, as many as have colours of their own: the smaller ones are one together."""
STEPS = 120
MOST_LOST = 200

Fields = dict[str, Any]


def encoded(answer: Any) -> bytes:
    """As JSON. What is not finite becomes null.

    Example:
        >>> encoded({"rate": float("nan"), "name": "<b>"})
        b'{"rate":null,"name":"<b>"}'
    """
    return msgspec.json.encode(answer)


class BadQuestion(ValueError):
    """What was asked for cannot be; the text says why."""


class When:
    """Turns seconds of the master into times of day.

    Args:
        wall: time of day at which the view was told.
        now: of the view.
    """

    def __init__(self, wall: datetime, now: float) -> None:
        self._wall, self._now = wall, now

    def iso(self, seconds: float | None) -> str | None:
        """The time of day at so many seconds after the master began."""
        if seconds is None or not math.isfinite(seconds):
            return None
        return (self._wall - timedelta(seconds=self._now - seconds)).isoformat(timespec="milliseconds")


# --- the summary --------------------------------------------------------------------------------------------------------


def summary(view: ClusterView, logs: Logs, when: When) -> Fields:
    """All that is shown at first sight, but for who looks and how the master is reached."""
    return {
        "now": view.now,
        "time": when.iso(view.now),
        "workers": len(view.workers),
        "slots": view.slots,
        "busy": view.busy,
        "gone": len(view.gone),
        "lost": sum(worker.lost for worker in view.gone),
        "rate": view.rate,
        "bytes_rate": view.bytes_rate,
        "activities": view.activities,
        "queries": [query_row(row, when) for row in recent_queries(view)],
        "query_count": len(view.queries),
        "servers": servers(view),
        "failures": sum(line.count for line in logs if line.source == "error"),
        "lines": len(logs),
    }


def recent_queries(view: ClusterView) -> list[QueryRow]:
    """All that go on, and those that were over last, newest first."""
    rows = newest_first(view)
    over = [row for row in rows if row.view.final][:MOST_OVER]
    kept = {row.number for row in over}
    return [row for row in rows if not row.view.final or row.number in kept]


def newest_first(view: ClusterView) -> list[QueryRow]:
    """All queries; of those that began at the same moment, the one that the master names last."""
    ordered = sorted(enumerate(view.queries.values()), key=lambda it: (-it[1].began, -it[0]))
    return [row for _, row in ordered]


def query_row(row: QueryRow, when: When) -> Fields:
    """A query in a line of a list."""
    view, account = row.view, row.view.account
    return {
        "number": row.number,
        "name": view.name,
        "owner": row.owner,
        "state": view.state,
        "final": view.final,
        "began": when.iso(row.began),
        "seconds": view.seconds,
        "fraction": view.fraction,
        "words": list(line_of(view).words),
        "reached": view.reached,
        "processed": account.processed,
        "total": account.total,
        "estimated": account.estimated,
        "failed": account.failed,
        "redone": account.redone,
        "counted": counted(account),
        "rate": view.rate,
        "bytes_rate": view.bytes_rate,
        "slots": view.slots,
        "workers": view.workers,
        "seconds_left": view.seconds_left,
    }


def servers(view: ClusterView) -> list[Fields]:
    """The file servers, those that were read from most first."""
    found = sorted(view.servers.values(), key=lambda it: -it.total.bytes_read)[:MOST_ROWS]
    return [
        {
            "name": it.name,
            "rate": it.rate,
            "latency": it.latency,
            "waiting": it.waiting,
            "bytes_read": it.total.bytes_read,
            "requests": it.total.requests,
        }
        for it in found
    ]


def pools(view: ClusterView, when: When) -> Fields:
    """The pools, how far their workers are, and the wishes that they follow."""
    rows = [
        {
            "pool": info.pool,
            "system": info.system,
            "owner": info.owner,
            "wanted": info.wanted,
            "most": info.most,
            "trouble": info.trouble,
            "price": info.terms.price,
            "by_hand": info.by_hand,
            "stages": info.stages,
            "launches": [
                {
                    "job": launch.job,
                    "stage": launch.stage,
                    "since": when.iso(max(0.0, view.now - launch.seconds)),
                    "reason": launch.reason,
                    "host": launch.host,
                    "worker": launch.worker,
                    "took": sum(seconds for stage, seconds in launch.stages.items() if stage in STARTING),
                }
                for launch in info.launches
            ],
        }
        for info in view.pools
    ]
    return {"pools": rows, "wishes": [{"words": wish_line(wish), "met": wish.late == 0} for wish in view.wishes]}


# --- lists --------------------------------------------------------------------------------------------------------------


def worker_row(worker: WorkerView, when: When) -> Fields:
    """A worker that is there, or was, in a line of a list."""
    total = worker.total
    return {
        "name": worker.name,
        "host": worker.host,
        "site": worker.site,
        "pid": worker.pid,
        "joined": when.iso(worker.joined),
        "width": worker.width,
        "slots": "".join(ACTIVITIES[slot] for slot in worker.slots),
        "busy": worker.busy,
        "packets": total.packets,
        "entries": total.entries,
        "rate": total.entries / total.elapsed if total.elapsed else None,
        "efficiency": total.efficiency if total.elapsed else None,
        "waited": total.waited / total.elapsed if total.elapsed else None,
        "bytes_read": total.bytes_read,
        "leaves": when.iso(worker.leaves),
        "left": when.iso(worker.left),
        "lost": worker.lost,
        "how": worker.how,
    }


def workers(view: ClusterView, when: When, asked: Mapping[str, str]) -> Fields:
    """The workers that are there, or those that went (the last one first), sorted and cut as it was asked for."""
    among = list(reversed(view.gone)) if asked.get("gone", "0") not in ("", "0") else list(view.workers.values())
    found = _matching(among, asked.get("filter", ""), lambda it: (it.name, it.host, it.site, it.how))
    keys: dict[str, Callable[[WorkerView], Any]] = {
        "name": lambda it: it.name,
        "host": lambda it: it.host,
        "site": lambda it: it.site,
        "joined": lambda it: it.joined,
        "slots": lambda it: it.width,
        "busy": lambda it: it.busy,
        "packets": lambda it: it.total.packets,
        "entries": lambda it: it.total.entries,
        "rate": lambda it: it.total.entries / it.total.elapsed if it.total.elapsed else 0.0,
        "efficiency": lambda it: it.total.efficiency,
        "waited": lambda it: it.total.waited / it.total.elapsed if it.total.elapsed else 0.0,
        "bytes_read": lambda it: it.total.bytes_read,
        "left": lambda it: it.left or 0.0,
        "lost": lambda it: it.lost,
    }
    found = _sorted(found, keys, asked)
    return {"total": len(found), "rows": [worker_row(it, when) for it in _cut(found, asked)]}


def queries(view: ClusterView, when: When, asked: Mapping[str, str]) -> Fields:
    """The queries of one state, owner or name, newest first."""
    state, owner = asked.get("state", ""), asked.get("owner", "")
    among = [
        row
        for row in newest_first(view)
        if (not state or row.view.state == state or (state == "live" and not row.view.final))
        and (not owner or row.owner == owner)
    ]
    found = _matching(among, asked.get("filter", ""), lambda row: (row.number, row.view.name, row.owner))
    owners = sorted({row.owner for row in view.queries.values()})[:MOST_ROWS]
    return {"total": len(found), "owners": owners, "rows": [query_row(row, when) for row in _cut(found, asked)]}


def log_lines(logs: Logs, asked: Mapping[str, str]) -> Fields:
    """What was said, as far as it was asked for.

    Raises:
        BadQuestion: `grep` is no regular expression, or a number is none.
    """
    kept = [
        line
        for line in logs
        if asked.get("query", "") in ("", line.query) and asked.get("source", "") in ("", line.source)
    ]
    tail = number(asked, "tail", 200, MOST_ROWS)
    try:
        found = Logs(kept, logs.unkept).selected(asked.get("worker") or None, asked.get("grep") or None)
    except ValueError as error:
        raise BadQuestion(str(error)) from None
    unkept = {"lines": logs.unkept.lines, "bytes": logs.unkept.size}
    return {"total": len(found), "lines": [line.as_json() for line in found.selected(tail=tail)], "unkept": unkept}


def failures(logs: Logs) -> Fields:
    """The errors, each kind once, those that were seen last first: how often, and the first of each with its traceback."""
    found = sorted((line for line in logs if line.source == "error"), key=lambda line: line.last, reverse=True)
    return {"total": len(found), "rows": [_failure(line) for line in found[:MOST_ROWS]]}


def _failure(line: LogLine) -> Fields:
    last = line.text.rstrip().rpartition("\n")[2]
    return {**line.as_json(), "error": line.level, "message": last, "traceback": line.text, "where": line.where}


# --- over time ----------------------------------------------------------------------------------------------------------


def over_time(view: ClusterView, when: When, by: str, since: float) -> Fields:
    """How many slots there were, and what they did, over the last `since` seconds.

    Raises:
        BadQuestion: workers are not told apart by that.
    """
    kinds: dict[str, Callable[[WorkerView], str]] = {
        "site": lambda worker: worker.site,
        "host": lambda worker: worker.host,
        "state": lambda worker: "lost" if worker.lost else "left" if worker.left is not None else "here",
    }
    if by not in kinds:
        raise BadQuestion(f"by={by}: it is one of {', '.join(kinds)}")
    begin = max(0.0, view.now - since)
    moments, slots = view.slots_over_time(kinds[by], begin, STEPS)
    _, activities = view.activity_over_time(begin, STEPS)
    return {
        "now": view.now,
        "by": by,
        "moments": [view.now - moment for moment in moments],
        "times": [when.iso(moment) for moment in moments],
        "slots": _largest(slots),
        "activities": activities,
    }


def timeline(view: ClusterView, since: float, asked: Mapping[str, str]) -> Fields:
    """What some slots did in the last `since` seconds, packet by packet, and what each is at now."""
    begin = view.now - since
    found = _matching(list(view.workers.values()), asked.get("filter", ""), lambda it: (it.name, it.host, it.site))
    slots = [(worker, slot) for worker in found for slot in range(worker.width)]
    shown = _cut(slots, asked, 60)
    wanted = {(worker.name, slot) for worker, slot in shown}
    done: dict[tuple[str, int], list[PacketDone]] = defaultdict(list)
    for packet in view.packets:
        if packet.ended >= begin and (packet.worker, packet.slot) in wanted:
            done[packet.worker, packet.slot].append(packet)
    rows = [
        {
            "worker": worker.name,
            "slot": slot,
            "doing": worker.slots[slot] if slot < len(worker.slots) else "down",
            "since": worker.since[slot] if slot < len(worker.since) else None,
            "packets": [_packet(packet) for packet in done[worker.name, slot]],
        }
        for worker, slot in shown
    ]
    return {"total": len(slots), "now": view.now, "since": begin, "rows": rows}


def _packet(packet: PacketDone) -> list[Any]:
    usage = packet.usage
    spent = {name: round(seconds, 4) for name, seconds in parts(usage).items()}
    return [
        round(packet.ended - usage.elapsed, 4), round(packet.ended, 4), spent, packet.query, usage.entries, packet.server,
    ]  # fmt: skip


def spread(view: ClusterView, query: str) -> Fields:
    """How evenly the work of a query, or all of it, was spread: of the packets that are kept, packets and entries a second
    of each worker, and when each slot ended its last one."""
    packets = [packet for packet in view.packets if not query or packet.query == query]
    counts = Counter(packet.worker for packet in packets)
    seconds: dict[str, float] = defaultdict(float)
    entries: dict[str, int] = defaultdict(int)
    ends: dict[tuple[str, int], float] = {}
    for packet in packets:
        seconds[packet.worker] += packet.usage.elapsed
        entries[packet.worker] += packet.usage.entries
        ends[packet.worker, packet.slot] = packet.ended  # they are in their order
    rates = sorted(entries[name] / seconds[name] for name in seconds if seconds[name])
    last = max(ends.values(), default=0.0)
    before = sorted(last - end for end in ends.values())
    return {
        "query": query,
        "packets": len(packets),
        "slots": len(ends),
        "first": packets[0].ended - packets[0].usage.elapsed if packets else None,
        "last": last if packets else None,
        "packets_a_worker": histogram(list(counts.values())),
        "ended_before_last": histogram(before),
        "ends": quantiles(before),
        "rates": quantiles(rates),
        "workers": [[name, count] for name, count in counts.most_common(MOST_ROWS)],
    }


def histogram(values: Sequence[float], bins: int = 20) -> Fields:
    """How many of some values lie in each of some bins of equal width; whole numbers have bins around each of them.

    Example:
        >>> histogram([1, 1, 3], 20)
        {'edges': [0.5, 1.5, 2.5, 3.5], 'counts': [2, 0, 1]}
        >>> histogram([])
        {'edges': [], 'counts': []}
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return {"edges": [], "counts": []}
    low, high = min(finite), max(finite)
    if all(isinstance(value, int) for value in finite):
        step = max(1, -(-int(high - low + 1) // bins))
        low, count = low - 0.5, -(-int(high - low + 1) // step)
        edges = [low + step * at for at in range(count + 1)]
    else:
        width = (high - low) or max(1.0, abs(high))
        edges = [low + width * at / bins for at in range(bins + 1)]
    counts = [0] * (len(edges) - 1)
    for value in finite:
        counts[min(len(counts) - 1, int((value - edges[0]) / (edges[-1] - edges[0]) * len(counts)))] += 1
    return {"edges": edges, "counts": counts}


def quantiles(values: Sequence[float]) -> Fields:
    """Of values in ascending order.

    Example:
        >>> quantiles([1.0, 2.0, 3.0, 4.0, 5.0])
        {'least': 1.0, 'tenth': 1.4, 'quarter': 2.0, 'half': 3.0, 'three_quarters': 4.0, 'nine_tenths': 4.6, 'most': 5.0}
    """
    names = {
        "least": 0.0, "tenth": 0.1, "quarter": 0.25, "half": 0.5, "three_quarters": 0.75, "nine_tenths": 0.9, "most": 1.0,
    }  # fmt: skip
    found = np.quantile(values, list(names.values())).round(9).tolist() if values else [None] * len(names)
    return dict(zip(names, found, strict=True))


# --- a query ------------------------------------------------------------------------------------------------------------


def account(of: Account) -> Fields:
    """What became of a query's entries, and where some were lost."""
    return {
        "text": describe_account(of),
        "total": of.total,
        "processed": of.processed,
        "failed": of.failed,
        "estimated": of.estimated,
        "redone": of.redone,
        "refused": of.refused,
        "workers_lost": of.workers_lost,
        "files": of.files,
        "files_opened": of.files_opened,
        "counted": counted(of),
        "notes": list(of.notes),
        "lost": [_lost(it) for it in of.lost[:MOST_LOST]],
        "more_lost": max(0, len(of.lost) - MOST_LOST),
    }


def _lost(lost: LostRange) -> Fields:
    return {"file": lost.path, "tree": lost.tree, "start": lost.start, "stop": lost.stop, "reason": lost.reason}


def failure(of: Failure | None) -> Fields | None:
    """What ended a query."""
    if of is None:
        return None
    return {
        "error": of.error,
        "message": of.message,
        "traceback": of.traceback,
        "file": of.path,
        "start": of.start,
        "stop": of.stop,
        "worker": of.worker,
        "kind": of.kind,
    }


# --- inside -------------------------------------------------------------------------------------------------------------


def number(asked: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number of a request, from 0 to `most`. Raises BadQuestion when it is none."""
    text = asked.get(name, "")
    try:
        value = int(text) if text else default
    except ValueError:
        raise BadQuestion(f"{name}={text}: it must be a whole number") from None
    if value < 0:
        raise BadQuestion(f"{name}={text}: it must be 0 or more")
    return min(value, most)


def seconds(asked: Mapping[str, str], name: str, default: float) -> float:
    """Seconds of a request. Raises BadQuestion when they are none."""
    text = asked.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        raise BadQuestion(f"{name}={text}: it must be a number of seconds") from None
    if not 0 < value < math.inf:
        raise BadQuestion(f"{name}={text}: it must be more than 0 s")
    return value


def _matching(rows: list[Any], text: str, words: Callable[[Any], Iterable[str]]) -> list[Any]:
    if not text:
        return rows
    lower = text.lower()
    return [row for row in rows if any(lower in word.lower() for word in words(row))]


def _sorted(rows: list[Any], keys: Mapping[str, Callable[[Any], Any]], asked: Mapping[str, str]) -> list[Any]:
    by = asked.get("sort", "")
    if not by:
        return rows
    if by not in keys:
        raise BadQuestion(f"sort={by}: it is one of {', '.join(keys)}")
    return sorted(rows, key=keys[by], reverse=asked.get("order") == "desc")


def _cut(rows: list[Any], asked: Mapping[str, str], limit: int = 100) -> list[Any]:
    offset = number(asked, "offset", 0, 2**31)
    return rows[offset : offset + number(asked, "limit", limit, MOST_ROWS)]


def _largest(bands: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """As many bands as can be told apart: by their names, or the largest first, and all others in one."""
    if len(bands) <= MOST_BANDS:
        return dict(sorted(bands.items()))
    ordered = sorted(bands.items(), key=lambda it: -sum(it[1]))
    rest = [values for _, values in ordered[MOST_BANDS - 1 :]]
    others = [math.fsum(values) for values in zip(*rest, strict=True)]
    return {**dict(ordered[: MOST_BANDS - 1]), f"{len(rest)} others": others}
