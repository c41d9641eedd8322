"""Totals whose pickled objects a slot is to merge, because the master never unpickles: who does it, and how it goes."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from ..protocol import messages
from ..protocol.codec import Buffer
from .broken import Concerning
from .calls import SendMessage
from .owners import belongs
from .peers import Slot, Whose, Worker
from .queries import Queries
from .query import MAX_KILLS, Compaction, Query


class Compactor:
    """Gives totals that hold objects to slots, and to other ones when these go down.

    Args:
        queries: the master's queries, by number.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
    """

    def __init__(self, queries: Queries, send: SendMessage) -> None:
        self._queries = queries
        self._send = send

    def set_aside(self, query: Query, frames: Sequence[Buffer]) -> None:
        """The objects in a query's total have become too many."""
        query.compaction = Compaction(frames)

    def assign(self, workers: Iterable[Worker], now: float) -> None:
        """Give what nobody compacts to the slots with the fewest leases, of other owners' slots to those without any."""
        for query in self._queries.live.values():
            compaction = query.compaction
            if compaction is None or compaction.holder is not None:
                continue
            with Concerning(query):
                serving = (worker for worker in workers if worker.owner in query.served_by)
                slots = [slot for worker in serving for slot in worker.slots if slot.up and not slot.leaving]
                slot = min(slots, key=functools.partial(_rank, query.submit.whose), default=None)
                if slot is not None:
                    if not slot.leases:
                        belongs(slot, query.submit.whose, now)
                    compaction.holder = (slot.worker.identity, slot.index)
                    frames = [query.analysis, *compaction.frames]
                    self._send(
                        slot.worker.identity,
                        messages.Compact(query.number, slot.index, *query.submit.whose),
                        frames,
                        now=now,
                    )

    def done(self, number: str, identity: bytes, index: int) -> Query | None:
        """A slot has done it: the query, if that slot was the one."""
        query = self._queries.get(number)
        if query is None or query.compaction is None or query.compaction.holder != (identity, index):
            return None
        query.compaction = None
        return query

    def took_down(self, number: str) -> Query | None:
        """A slot went down over a query's objects: the query, when these must be the cause."""
        query = self._queries.get(number)
        if query is None or query.compaction is None:
            return None
        query.compaction.kills += 1
        return query if query.compaction.kills >= MAX_KILLS else None

    def lost(self, identity: bytes, index: int | None = None) -> None:
        """A worker, or one slot of it, is gone: what it was compacting is for others."""
        for query in self._queries.live.values():
            holder = query.compaction.holder if query.compaction is not None else None
            gone = holder is not None and holder[0] == identity and index in (None, holder[1])
            if query.compaction is not None and gone:
                query.compaction.holder = None


def _rank(whose: Whose, slot: Slot) -> tuple[bool, int, bool]:
    """Who compacts first: a slot whose process has to be exchanged for that does its leases first."""
    foreign = slot.whose not in (None, whose)
    return foreign and bool(slot.leases), len(slot.leases), foreign
