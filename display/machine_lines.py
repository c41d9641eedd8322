"""What there is at a master as JSON, an object a line, for programs: raw numbers, with their units in the names of the keys.

The keys stay; others may come. `LogLine.as_json` is what was said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from ..protocol.messages import FINAL, LaunchInfo, PoolInfo, QueryInfo, WishInfo
from ..protocol.usage import Usage, WorkerInfo, summed
from .cluster_view import ClusterView, ServerView
from .listings import QueryList, WorkerList
from .query_view import QueryView


def line(told: Mapping[str, Any]) -> str:
    """The line. There is no number in JSON that is none: what is infinite or not a number is null.

    Example:
        >>> line({"of": "query", "seconds": float("nan"), "name": "m\\u00b5\\n"})
        '{"of": "query", "seconds": null, "name": "m\\\\u00b5\\\\n"}'
    """
    return json.dumps({key: _finite(value) for key, value in told.items()}, allow_nan=False)


def query_json(info: QueryInfo, at: datetime, view: QueryView | None = None) -> dict[str, Any]:
    """A query, as the master told of it `at` a time; how fast it is says its `view`, as in all displays."""
    account = info.account
    view = view or QueryView(info.name)
    return {
        "of": "query",
        "time": _stamp(at),
        "query": info.query,
        "name": info.name,
        "owner": info.owner,
        "state": info.state,
        "over": info.state in FINAL,
        "began": _stamp(at - timedelta(seconds=info.ago)),
        "seconds": info.seconds,
        "kind": account.kind,
        "entries_total": account.total,
        "entries_estimated": account.estimated,
        "entries_processed": account.processed,
        "entries_failed": account.failed,
        "entries_redone": account.redone,
        "entries_refused": account.refused,
        "files": account.files,
        "files_opened": account.files_opened,
        "workers_lost": account.workers_lost,
        "entries_per_second": view.rate if view.rate or view.final else None,
        "bytes_per_second": view.bytes_rate if view.bytes_rate or (view.rate and not view.final) else None,
        "seconds_left": view.seconds_left,
        "slots_busy": view.slots,
        **_credentials(info),
    }


def _credentials(info: QueryInfo) -> dict[str, Any]:
    """What is known of its credentials, of one that has some."""
    known = info.credentials
    if known is None:
        return {}
    return {
        "credentials": known.kind,
        "credentials_left_seconds": known.left,
        "credentials_renewed": known.renewed,
        "credentials_trouble": known.trouble,
        "credentials_away": known.away,
        "credentials_missing": known.missing,
    }


def worker_json(info: WorkerInfo, at: datetime) -> dict[str, Any]:
    """A worker, and what the packets cost that it is through with."""
    return {
        "of": "worker",
        "time": _stamp(at),
        "worker": info.worker,
        "host": info.host,
        "site": info.site,
        "pid": info.pid,
        "slots": info.slots,
        "slots_busy": info.busy,
        **_usage(summed(info.by_slot.values())),
    }


def pool_json(info: PoolInfo, at: datetime) -> dict[str, Any]:
    """A pool."""
    return {
        "of": "pool",
        "time": _stamp(at),
        "pool": info.pool,
        "system": info.system,
        "owner": info.owner,
        "workers_wanted": info.wanted,
        "workers_most": info.most,
        "trouble": info.trouble,
    }


def wish_json(info: WishInfo, at: datetime) -> dict[str, Any]:
    """A wish that pools follow, and what will become of it."""
    return {"of": "wish", "time": _stamp(at), **msgspec.to_builtins(info)}


def launch_json(pool: str, info: LaunchInfo, at: datetime) -> dict[str, Any]:
    """A worker that a pool has started."""
    return {
        "of": "launch",
        "time": _stamp(at),
        "pool": pool,
        "job": info.job,
        "stage": info.stage,
        "seconds": info.seconds,
        "reason": info.reason,
        "host": info.host,
        "worker": info.worker,
        "stages_seconds": info.stages,
    }


def server_json(server: ServerView, at: datetime) -> dict[str, Any]:
    """A file server, and what the packets cost that were read from it."""
    return {"of": "server", "time": _stamp(at), "server": server.name, **_usage(server.total)}


def master_json(
    address: str, view: ClusterView, workers: WorkerList, queries: QueryList, starts_workers: bool
) -> dict[str, Any]:
    """The master itself: how much there is of everything."""
    return {
        "of": "master",
        "time": _stamp(queries.at),
        "address": address,
        "seconds": view.now,
        "workers": len(workers),
        "workers_starting": starts_workers and not workers,
        "slots": sum(info.slots for info in workers),
        "slots_busy": sum(info.busy for info in workers),
        "slots_by_activity": view.activities,
        "entries_per_second": view.rate,
        "bytes_per_second": view.bytes_rate,
        "queries": len(queries),
        "queries_running": sum(info.state not in FINAL for info in queries),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "packets": usage.packets,
        "entries": usage.entries,
        "elapsed_seconds": usage.elapsed,
        "cpu_seconds": usage.cpu,
        "waited_seconds": usage.waited,
        "opening_seconds": usage.opening,
        "compiling_seconds": usage.compiling,
        "bytes_read": usage.bytes_read,
        "requests": usage.requests,
        "latency_seconds": usage.latency,
    }


def _stamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
