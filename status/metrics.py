"""The same numbers for Prometheus, which asks for them as a browser does (extra `metrics`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..display.cluster_view import ClusterView
from ..display.logs import Logs
from ..protocol.messages import FINAL
from ..protocol.usage import Usage

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_LABELS = 100
"""Values that a label has; what has others is counted as "others", since Prometheus keeps a series for each."""
OTHERS = "others"


def exposition(view: ClusterView, logs: Logs, connected: bool) -> bytes:
    """All numbers as text. Raises ModuleNotFoundError without prometheus_client."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(view, logs, connected))
    return generate_latest(registry)


class _Collector:
    def __init__(self, view: ClusterView, logs: Logs, connected: bool) -> None:
        self._view, self._logs, self._connected = view, logs, connected

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment."""
        yield self._gauge("up", "Whether the master has answered of late.", [((), float(self._connected))])
        yield from self._slots()
        yield from self._totals()
        yield from self._queries()
        yield from self._servers()
        yield from self._pools()
        failures = sum(line.count for line in self._logs if line.source == "error")
        yield self._gauge("failures", "Errors of analyses and files that the master has kept.", [((), failures)])

    def _slots(self) -> Iterator[Metric]:
        view = self._view
        slots = Counter((slot, worker.site) for worker in view.workers.values() for slot in worker.slots)
        kept = _kept(Counter(worker.site for worker in view.workers.values()))
        counts: Counter[tuple[str, str]] = Counter()
        for (activity, site), count in slots.items():
            counts[activity, site if site in kept else OTHERS] += count
        yield self._gauge("slots", "Slots by what they are at, and where.", sorted(counts.items()), "activity", "site")
        workers = Counter(site if (site := it.site) in kept else OTHERS for it in view.workers.values())
        by_site = [((site,), count) for site, count in sorted(workers.items())]
        yield self._gauge("workers", "Workers that are there.", by_site, "site")
        gone = [(("left",), sum(not it.lost for it in view.gone)), (("lost",), sum(it.lost for it in view.gone))]
        yield self._gauge("workers_gone", "Workers that went, of those that are remembered.", gone, "how")

    def _totals(self) -> Iterator[Metric]:
        total = self._view.total
        yield self._counter("packets", "Packets that slots were through with.", [((), total.packets)])
        yield self._counter("entries", "Entries of these packets.", [((), total.entries)])
        yield self._counter("read_bytes", "Bytes read from files, compressed.", [((), total.bytes_read)])
        yield self._counter("slot_seconds", "Seconds with a packet in hand.", [((), total.elapsed)])
        yield self._counter("cpu_seconds", "CPU seconds of packets.", [((), total.cpu)])
        yield self._counter("waited_seconds", "Seconds of slots without anything to compute.", [((), total.waited)])

    def _queries(self) -> Iterator[Metric]:
        rows = self._view.queries.values()
        states = Counter(row.view.state for row in rows)
        counts = [((state,), states[state]) for state in ("running", "merging", *sorted(FINAL))]  # type: ignore[index]
        yield self._gauge("queries", "Queries that the master knows, by state.", counts, "state")
        redone = sum(row.view.account.redone for row in rows)
        yield self._gauge("redone_entries", "Entries processed a second time, in these queries.", [((), redone)])

    def _pools(self) -> Iterator[Metric]:
        pools = self._view.pools
        wanted: Counter[str] = Counter()
        stages: Counter[tuple[str, str]] = Counter()
        kept = _kept(Counter({info.pool: info.wanted for info in pools}))
        for info in pools:
            pool = info.pool if info.pool in kept else OTHERS
            wanted[pool] += info.wanted
            for stage, count in info.stages.items():
                stages[pool, stage] += count
        by_pool = [((pool,), count) for pool, count in sorted(wanted.items())]
        yield self._gauge("pool_wanted", "Workers wanted of each pool.", by_pool, "pool")
        yield self._gauge(
            "pool_workers", "Workers of pools by how far they are.", sorted(stages.items()), "pool", "stage"
        )

        wishes = self._view.wishes
        late = [((wish.owner,), wish.late) for wish in wishes]
        yield self._gauge("wish_late_seconds", "By how much the work of a user will be too late.", late, "owner")
        spent = [((wish.owner,), wish.spent) for wish in wishes]
        yield self._gauge("wish_spent", "What was spent for a user, in the currency of prices.", spent, "owner")

    def _servers(self) -> Iterator[Metric]:
        servers = self._view.servers
        kept = _kept(Counter({name: it.total.bytes_read for name, it in servers.items()}))
        totals: dict[str, Usage] = {}
        for name, server in servers.items():
            label = name if name in kept else OTHERS
            totals[label] = totals.get(label, Usage()) + server.total
        named = sorted(totals.items())
        read = [((name,), it.bytes_read) for name, it in named]
        yield self._counter("server_read_bytes", "Bytes read from a file server.", read, "server")
        requests = [((name,), it.requests) for name, it in named]
        yield self._counter("server_requests", "Requests to a file server.", requests, "server")
        waits = [((name,), it.latency * it.requests) for name, it in named]
        yield self._counter(
            "server_latency_seconds", "Seconds from requests to their answers, added up.", waits, "server"
        )

    def _gauge(self, name: str, text: str, values: Any, *labels: str) -> Any:
        from prometheus_client.core import GaugeMetricFamily

        return _filled(GaugeMetricFamily(f"eventmill_{name}", text, labels=labels), values)

    def _counter(self, name: str, text: str, values: Any, *labels: str) -> Any:
        from prometheus_client.core import CounterMetricFamily

        return _filled(CounterMetricFamily(f"eventmill_{name}", text, labels=labels), values)


def _filled(family: Any, values: Any) -> Any:
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _kept(sizes: Counter[str]) -> frozenset[str]:
    return frozenset(name for name, _ in sizes.most_common(MOST_LABELS))
