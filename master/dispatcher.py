"""Who gets the next lease: slots with credit, the emptiest first, of the query whose owner has the fewest.

When nothing is left to lease, idle slots help those that would end last (`packetizer.Packetizer.help`).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from ..packetizer.ledger import Lease
from ..packetizer.packetizer import Packet, Recall
from ..protocol import messages
from .credit import Credit
from .peers import Slot, Worker
from .query import Query

HELP_INTERVAL = 0.25
"""How often idle slots look anew for somebody to help."""
MOST_PASSED_OVER = 8


class Dispatcher:
    """Leases the work of all running queries, and takes leases back.

    Args:
        queries: the master's queries, by number.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
    """

    def __init__(self, queries: dict[str, Query], send: Callable[..., None]) -> None:
        self.credit = Credit()
        self.given_back: dict[str, None] = {}
        self.next_help = 0.0
        self._queries = queries
        self._send = send

    def feed(self, now: float) -> None:
        """Lease work to slots that have credit, first to those that have nothing at all; then let the idle ones help."""
        queries = [query for query in self._queries.values() if query.running]
        if queries and self._lease_all(queries, now) and self.credit.idle:
            self._help(queries, now)

    def _lease_all(self, queries: list[Query], now: float) -> bool:
        """Lease until no slot has credit (false) or no query has anything to lease (true).

        A slot for which nothing is wise now is passed over, a few of them at a time.
        """
        passed_over = 0
        for slot in self.credit:
            if self._lease_to(slot, queries, now):
                continue
            if passed_over == MOST_PASSED_OVER or not any(query.packetizer.anything for query in queries):
                return True
            self.credit.postpone(slot)
            passed_over += 1
        return False

    def _lease_to(self, slot: Slot, queries: list[Query], now: float) -> bool:
        """Lease a packet to a slot, of the query whose owner has the fewest; false when no query has any work."""
        owned: dict[str, int] = {}
        for query in queries:
            owned[query.submit.owner] = owned.get(query.submit.owner, 0) + query.leases
        for query in sorted(queries, key=lambda query: (owned[query.submit.owner], query.leases)):
            if slot not in query.packetizer.paces:
                query.packetizer.join(slot, slot.worker.host, slot.worker.site)
            packet = query.packetizer.next(slot, now)
            if packet is not None:
                self._send_lease(query, slot, packet, now)
                return True
        return False

    def _send_lease(self, query: Query, slot: Slot, packet: Packet, now: float) -> None:
        worker, lease = slot.worker, packet.lease
        if worker.identity not in query.set_up:
            query.set_up[worker.identity] = None
            self._send(worker.identity, query.setup, [query.analysis], now=now)
        key = (query.number, lease.number)
        worker.leases[key] = slot
        self.credit.take(slot, key)
        query.leases += 1
        message = messages.Lease(
            lease.number,
            query.number,
            slot.index,
            query.files[lease.file],
            lease.start,
            lease.stop,
            packet.seconds,
            lease.opening,
            packet.apart,
        )
        self._send(worker.identity, message, now=now)

    def _help(self, queries: list[Query], now: float) -> None:
        """Nothing is left to lease and slots are idle: shorten what others have, or let two work on the same."""
        self.next_help = now + HELP_INTERVAL
        for query in queries:
            most = len(self.credit.idle) - query.packetizer.outstanding(now)
            for slot in list(islice(self.credit.idle, max(0, most))):
                if slot not in query.packetizer.paces:
                    query.packetizer.join(slot, slot.worker.host, slot.worker.site)
                help_ = query.packetizer.help(slot, now)
                if help_ is None:
                    break
                if isinstance(help_, Packet):
                    self._send_lease(query, slot, help_, now)
                elif isinstance(help_, Recall):
                    self._recall(query, help_.lease, now)
                else:
                    truncate = messages.Truncate(query.number, help_.lease.number, help_.stop)
                    self._send(help_.lease.holder.worker.identity, truncate, now=now)

    def _recall(self, query: Query, lease: Lease, now: float) -> None:
        """Take a lease back from a holder that makes nothing of it."""
        worker: Worker = lease.holder.worker
        self._send(worker.identity, messages.Revoke(query.number, lease.number), now=now)
        self.give_back(worker, (query.number, lease.number), now)

    def revoke(self, query: Query, lease: Lease, now: float) -> None:
        """A lease is dead because its twin was committed first: its holder is to drop it."""
        worker: Worker = lease.holder.worker
        self._send(worker.identity, messages.Revoke(query.number, lease.number), now=now)
        self.close_if_gone(worker, query, lease.number, now)

    def give_back(self, worker: Worker, key: tuple[str, int], now: float) -> None:
        """A lease ends without result: its entries are to do again."""
        query = self._queries[key[0]]
        lease = query.ledger.leases[key[1]]
        query.ledger.give_back(key[1], query.packetizer.worked(worker.leases[key], lease))
        self.given_back[query.number] = None
        self.close_if_gone(worker, query, key[1], now)

    def close_if_gone(self, worker: Worker, query: Query, lease: int, now: float) -> None:
        if lease not in query.ledger.leases:
            key = (query.number, lease)
            slot = worker.leases.pop(key)
            query.packetizer.dropped(slot, lease, now)
            self.credit.free(slot, key)
            query.leases -= 1
