"""Who gets the next lease: slots with credit, the emptiest first, of the query whose owner has the fewest (`owners`).

Among the queries of one owner, those of higher priority come first, then the one with the fewest leases. A query that is new
does not wait for packets of others to end: its share of the slots makes way for it. When nothing is left to lease, idle
slots help those that would end last (`packetizer.Packetizer.help`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from math import inf

from ..packetizer.leases import Lease
from ..packetizer.packetizer import Packet, Recall, Truncation
from ..protocol import messages
from .attachments import Attachments
from .broken import Concerning
from .calls import SendMessage
from .credit import CREDIT, FAR_OPENING, MOST_SHORT, Credit, Credits, credit_of
from .layouts import Layouts
from .owners import Owners, most_slots, to_give
from .peers import Slot, Worker
from .queries import Queries
from .query import Query

HELP_INTERVAL = 0.25
"""How often idle slots look anew for somebody to help."""
MOST_AT_ONCE = 64
"""Leases that are given before the master listens again: some 5 ms, and of ten thousand slots that wait, a second."""
MOST_PASSED_OVER = 8
LAST_LEASE = 0.2
"""Seconds before it leaves after which a worker gets nothing more."""


class Dispatcher:
    """Leases the work of all running queries, and takes leases back.

    Args:
        queries: the master's queries, by number.
        layouts: what slots have told of files.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
    """

    def __init__(self, queries: Queries, layouts: Layouts, attachments: Attachments, send: SendMessage) -> None:
        self.credit = Credits()
        self.owners = {"": Owners(self.credit, "")}
        self.given_back: dict[str, None] = {}
        self.next_help = 0.0
        self._unfinished = False
        self._queries = queries
        self._layouts = layouts
        self._attachments = attachments
        self._send = send

    def check(self, slots: Sequence[Slot]) -> None:
        """Assert the invariants of all slots that there are."""
        self.credit.check(slots)
        for owners_of_slots in self.owners.values():
            owners_of_slots.check()

    def deadline(self) -> float:
        """When `feed` is to be called at the latest, to go on, or so that idle slots help others."""
        if self._unfinished:
            return -inf
        helpful = self.credit.idle and any(query.ready and query.leases for query in self._queries.live.values())
        return self.next_help if helpful else inf

    def feed(self, now: float) -> None:
        """Lease some work to slots that have credit, first to those that have nothing at all; when they have all that there
        is, let the idle ones help."""
        self._unfinished = False
        ready = [query for query in self._queries.live.values() if query.ready]
        if not ready:
            return
        for owner, credit in self.credit.by_owner.items():
            queries = [query for query in ready if owner in query.served_by]
            self._owners(owner).meet(queries)
            if queries and self._lease_all(credit, queries, now) and credit.idle:
                self._help(credit, queries, now)
        if len(ready) > 1 and not self.credit.idle:
            busy = {owner for owner, credit in self.credit.by_owner.items() if any(credit.busy.values())}
            for query in ready:
                if not query.begun and busy & query.served_by:  # or nobody can make way for it
                    with Concerning(query):
                        self._make_room(query, ready, now)
            for owner in self.credit.by_owner:
                self._divide(owner, [query for query in ready if owner in query.served_by], now)

    def _owners(self, serving: str) -> Owners:
        """How those slots are shared that serve this owner, or everybody ("")."""
        if serving not in self.owners:
            self.owners[serving] = Owners(self.credit, serving)
        return self.owners[serving]

    def _lease_all(self, credit: Credit, queries: list[Query], now: float) -> bool:
        """Lease until no slot has credit (false), no query has anything to lease (true), or it is enough for now (false).

        A slot for which nothing is wise now is passed over, a few of them at a time; so are all that wait to have no leases
        because what there is to do is another owner's.
        """
        left, given = False, 0
        for level in credit.levels:
            passed_over, waiting = 0, 0
            while waiting < len(level) and passed_over <= MOST_PASSED_OVER:
                if given >= MOST_AT_ONCE:
                    self._unfinished = True
                    return False
                slot = next(iter(level))
                until = slot.worker.until
                if until is not None and now > until - LAST_LEASE:
                    self.dismiss(slot)
                elif not any(query.packetizer.anything for query in queries):
                    return True
                elif count := self._fill(slot, queries, now):
                    given += count
                else:
                    credit.postpone(slot)
                    if self._owners(slot.worker.owner).waits(slot, queries):
                        waiting += 1
                    else:
                        passed_over += 1
            left = left or bool(level)
        return left

    def _fill(self, slot: Slot, queries: list[Query], now: float) -> int:
        """Lease a packet to a slot; of short ones all that it can take, which travel together, while there are more than all
        slots can hold. Returns how many."""
        given, before = 0, slot.taken
        while self._lease_to(slot, queries, now):
            given += 1
            short = slot.taken - before < given * FAR_OPENING
            if slot.taken >= CREDIT or not short or all(len(it.ledger.unopened) < MOST_SHORT for it in queries):
                break
        return given

    def _lease_to(self, slot: Slot, queries: list[Query], now: float) -> bool:
        """Lease a packet to a slot, of the query whose turn it is; false when no query has any work."""
        for query in self._owners(slot.worker.owner).in_turn(slot, queries):
            with Concerning(query):
                if slot not in query.packetizer.throughputs:
                    query.packetizer.join(slot, slot.worker.host, slot.worker.site)
                packet = query.packetizer.next(slot, now, slot.worker.until)
                if packet is not None:
                    self._send_lease(query, slot, packet, now)
                    return True
        return False

    def _send_lease(self, query: Query, slot: Slot, packet: Packet[Slot], now: float) -> None:
        worker, lease = slot.worker, packet.lease
        if worker.identity not in query.set_up:
            query.set_up[worker.identity] = None
            self._attachments.give(worker, query.submit, now)
            self._send(worker.identity, query.setup, [query.analysis, *query.shared_inputs], now=now)
            if query.credentials.packed is not None:
                self._send(worker.identity, messages.Credentials(query.number), [query.credentials.packed], now=now)
        key = (query.number, lease.number)
        self._owners(worker.owner).leased(slot, query.submit.whose, now)
        worker.leases[key] = slot
        if not slot.leases:
            slot.since = now
        message = query.lease(slot.index, packet)
        file = message.file
        opens_far = lease.opening and "://" in file.path
        credit = credit_of(packet.expected, opens_far, len(query.packetizer.throughputs))
        self.credit.take(slot, key, credit)
        query.leases += 1
        query.begun = query.begun or len(slot.leases) == 1
        frames = self._layouts.take(slot, (*query.submit.whose, file.path, file.tree)) if file.kind == "tree" else []
        self._send(worker.identity, message, frames, now=now)

    # --- making way -----------------------------------------------------------------------------------------------

    def _divide(self, serving: str, queries: list[Query], now: float) -> None:
        """Have slots change hands that an owner has too many of."""
        owners = self._owners(serving)
        while (due := owners.due(queries, now)) is not None:
            rich, poor = due
            theirs = [query for query in queries if query.submit.whose == rich]
            slots = {
                slot: None for query in theirs for slot in query.packetizer.throughputs if slot.worker.owner == serving
            }
            slot = owners.eldest(rich, poor, filter(_stays, slots), now)
            if slot is None:
                return
            owners.promise(slot, poor)
            for query in theirs:
                self.make_way(query, slot, now, now)

    def _make_room(self, query: Query, queries: list[Query], now: float) -> None:
        """A query is new and no slot is free: as many slots as are its share end what they have, after the chunk at hand.

        This is done once a query; from then on it gets its share by having fewer leases than the others.
        """
        submit = query.submit
        others = [other for other in queries if other is not query]
        slots = {slot: None for other in others for slot in other.packetizer.throughputs if _can_serve(slot, query)}
        if not slots:
            return
        query.begun = True
        owners = {other.submit.whose for other in queries}
        siblings = [other for other in queries if other.submit.whose == query.submit.whose]
        share = min(max(1, len(slots) // (len(owners) * len(siblings))), most_slots(query))
        holders = [slot for slot in slots if any(number == query.number for number, _ in slot.leases)]
        promised = {slot: whose for owners in self.owners.values() for slot, whose in owners.promised.items()}
        for slot in islice(to_give(dict.fromkeys([*holders, *slots]), query.submit.whose, promised), share):
            self._owners(slot.worker.owner).promise(slot, query.submit.whose)
            for other in others:
                if other not in siblings or other.submit.priority <= submit.priority:
                    self.make_way(other, slot, now, now)

    def make_way(self, query: Query, slot: Slot, until: float, now: float) -> None:
        """Have a slot end its leases of a query in time."""
        with Concerning(query):
            for truncation in query.packetizer.make_way(slot, now, until):
                self._truncate(query, truncation, now)

    def end_soon(self, query: Query, now: float) -> None:
        """Have all leases of a query end after the chunk at hand."""
        for slot in query.packetizer.throughputs:
            self.make_way(query, slot, now, now)

    def _truncate(self, query: Query, truncation: Truncation[Slot], now: float) -> None:
        lease = truncation.lease
        message = messages.Truncate(query.number, lease.number, truncation.stop)
        self._send(lease.holder.worker.identity, message, now=now)

    def leave(self, worker: Worker, until: float, now: float) -> None:
        """A worker leaves at a time: what its slots would not end before is for others."""
        worker.until = until
        for slot in worker.slots:
            if now > until - LAST_LEASE:
                self.dismiss(slot)
            for query in self._queries.live.values():
                if query.running:
                    self.make_way(query, slot, until, now)

    def dismiss(self, slot: Slot) -> None:
        """A slot gets nothing more."""
        slot.leaving = True
        self.credit.withdraw(slot)

    # --- helping --------------------------------------------------------------------------------------------------

    def _help(self, credit: Credit, queries: list[Query], now: float) -> None:
        """Nothing is left to lease and slots are idle: shorten what others have, or let two work on the same."""
        self.next_help = now + HELP_INTERVAL
        for query in queries:
            with Concerning(query):
                self._help_with(credit, query, now)

    def _help_with(self, credit: Credit, query: Query, now: float) -> None:
        if query.packetizer.anything:
            return  # there is work for idle slots; that they do not get it has its reasons
        most = len(credit.idle) - query.packetizer.outstanding(now)
        for slot in list(islice(credit.idle, max(0, most))):
            if slot not in query.packetizer.throughputs:
                query.packetizer.join(slot, slot.worker.host, slot.worker.site)
            help_ = query.packetizer.help(slot, now)
            if help_ is None:
                break
            if isinstance(help_, Packet):
                self._send_lease(query, slot, help_, now)
            elif isinstance(help_, Recall):
                self.recall(query, help_.lease, now)
            else:
                self._truncate(query, help_, now)

    def recall(self, query: Query, lease: Lease[Slot], now: float) -> None:
        """Take a lease back from its holder, which makes nothing of it, or nothing good."""
        worker: Worker = lease.holder.worker
        self._send(worker.identity, messages.Revoke(query.number, lease.number), now=now)
        self.give_back(worker, (query.number, lease.number), now)

    def revoke(self, query: Query, lease: Lease[Slot], now: float) -> None:
        """A lease is dead because its duplicate was committed first: its holder is to drop it."""
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

    def drop(self, number: str, workers: Iterable[Worker]) -> None:
        """No slot has anything of a query any more, whatever an error of ours has left there; credit is counted anew."""
        self.given_back.pop(number, None)
        slots = []
        for worker in workers:
            worker.leases = {key: slot for key, slot in worker.leases.items() if key[0] != number}
            for slot in worker.slots:
                slot.leases = {key: credit for key, credit in slot.leases.items() if key[0] != number}
                slots.append(slot)
        self.credit.count_anew(slots)

    def close_if_gone(self, worker: Worker, query: Query, lease: int, now: float) -> None:
        """Forget a lease that its ledger has no more: its slot has credit for another."""
        if lease not in query.ledger.leases:
            key = (query.number, lease)
            slot = worker.leases.pop(key)
            query.packetizer.dropped(slot, lease, now)
            self.credit.free(slot, key)
            query.leases -= 1


def _stays(slot: Slot) -> bool:
    """Whether a slot is there, and will be."""
    return slot.up and not slot.leaving


def _can_serve(slot: Slot, query: Query) -> bool:
    """Whether a slot is there, will be, and serves the queries of this one's owner."""
    return _stays(slot) and slot.worker.owner in query.served_by
