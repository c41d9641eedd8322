"""What is going on in a cluster, as displays ask for it: who is there, who went, which packets ended, and what queries do.

The recent past is kept whether anybody looks or not, so that a display that is opened now shows what led here; how much of
it is bounded, and what it costs is an entry in a ring for each packet. Only who asks is answered, once for each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..protocol.messages import (
    ACTIVITIES,
    MOST_EVENTS,
    MOST_GONE,
    MOST_PACKETS,
    Cluster,
    PacketDone,
    QueryInfo,
    WorkerGone,
    WorkerState,
)
from ..protocol.usage import NOTHING, Usage, summed
from ..protocol.values import LONGEST
from .peers import Slot, Worker
from .progress import progress
from .queries import Queries
from .ring import Ring

MOST_SERVERS = 1000
"""That are told apart; what others read is counted together."""
OTHERS = "others"
"""The name of those."""
LONGEST_WORDS = 200


class ClusterBook:
    """Keeps what displays of a whole master show. Times are the core's `now`; what is told counts from the first of them.

    Args:
        tag: of this master: cursors of an earlier one are told from its own.
        queries: all queries.
        workers: those that are there, by identity.
    """

    def __init__(self, tag: str, queries: Queries, workers: Mapping[bytes, Worker]) -> None:
        self._tag = f"{tag}."
        self._queries = queries
        self._workers = workers
        self._began: float | None = None
        self._turn = 1
        self._packets: Ring[PacketDone] = Ring(MOST_PACKETS)
        self._gone: Ring[WorkerGone] = Ring(MOST_GONE)
        self._servers: dict[str, Usage] = {}

    def changed(self, worker: Worker, now: float) -> None:
        """A worker has said something, or was told something."""
        if self._began is None:
            self._began = now
        worker.changed = self._turn

    def left(self, worker: Worker, how: str, said_so: bool, now: float) -> None:
        """A worker is not there any more."""
        self._gone.add(
            WorkerGone(
                worker.name, worker.host, worker.total.site, len(worker.slots), self._seconds(worker.joined),
                self._seconds(now), not said_so, how[:LONGEST_WORDS], _total(worker),
            )
        )  # fmt: skip

    def packet(self, slot: Slot, query: str, server: str, usage: Usage, now: float) -> None:
        """A slot is through with a packet."""
        self._packets.add(PacketDone(slot.worker.name, slot.index, query, server, self._seconds(now), usage))
        if server:
            known = server if server in self._servers or len(self._servers) < MOST_SERVERS else OTHERS
            self._servers[known] = self._servers.get(known, NOTHING) + usage

    def answer(self, request: int, cursor: str, now: float) -> Cluster:
        """What is new since the cursor of an earlier answer; everything, if that is not known here, or too long ago."""
        turn, packets, gone, changes = self._position(cursor)
        anew = turn == 0
        new_packets, packets = self._packets.since(packets, MOST_EVENTS)
        new_gone, gone = self._gone.since(gone, MOST_EVENTS)
        live = self._queries.live
        numbers = (
            self._queries if anew else dict.fromkeys([*self._queries.changes.since(changes, MOST_EVENTS)[0], *live])
        )
        self._turn += 1
        return Cluster(
            request,
            f"{self._tag}{self._turn}.{packets}.{gone}.{self._queries.changes.count}",
            anew,
            packets < self._packets.count or gone < self._gone.count,
            self._seconds(now),
            [self._state(worker) for worker in self._workers.values() if worker.changed >= turn],
            new_gone,
            new_packets,
            self._infos(numbers, now),
            [number for number in numbers if number not in self._queries],
            [progress(query, self._workers.values(), self._queries.expected, now) for query in live.values()],
            dict(self._servers),
        )

    def _infos(self, numbers: Iterable[str], now: float) -> list[QueryInfo]:
        return [self._queries.info(number, now) for number in numbers if number in self._queries]

    def _position(self, cursor: str) -> tuple[int, int, int, int]:
        """The turn from which on things are new; and after how many packets, leavers and changes of queries."""
        parts = cursor.removeprefix(self._tag).split(".")
        if (
            not cursor.startswith(self._tag)
            or len(parts) != 4
            or not all(it.isdecimal() and len(it) < 20 for it in parts)
        ):
            return 0, 0, 0, 0
        turn, packets, gone, changes = map(int, parts)
        known = self._queries.changes
        if (
            turn > self._turn
            or changes < known.oldest
            or known.count - changes > MOST_EVENTS
            or gone < self._gone.oldest
        ):
            return 0, 0, 0, 0
        return turn, packets, gone, changes

    def _seconds(self, now: float) -> float:
        if self._began is None:
            self._began = now
        return min(LONGEST, max(0.0, now - self._began))

    def _state(self, worker: Worker) -> WorkerState:
        leaves = None if worker.until is None else self._seconds(worker.until)
        return WorkerState(
            worker.name, worker.host, worker.total.site, worker.pid, self._seconds(worker.joined),
            "".join(self._letters(worker)), [self._seconds(slot.since) for slot in worker.slots],
            _total(worker), leaves,
        )  # fmt: skip

    def _letters(self, worker: Worker) -> Iterable[str]:
        holding = {slot.index for slot in worker.leases.values()}
        for slot in worker.slots:
            if not slot.up:
                what = "down"
            elif slot.leases:
                what = self._activity(*next(iter(slot.leases)))
            elif slot.index in holding:
                what = "committing"
            else:
                what = "leaving" if slot.leaving else "idle"
            yield ACTIVITIES[what]

    def _activity(self, number: str, lease: int) -> str:
        query = self._queries.get(number)
        return "idle" if query is None else query.audience.activities.at(lease, query.ledger.leases)


def _total(worker: Worker) -> Usage:
    return summed(worker.total.by_slot.values())
