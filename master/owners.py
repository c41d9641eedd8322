"""How owners share slots: all leases of a slot are of one owner, since the code of two never meets in a process.

A slot that has leases gets more of the same owner's only. One that has none is for the owner whose work is in the fewest
slots; for its own rather than for another, as another gets a fresh process (the worker sees to that). So with several owners
at work the slots are divided between them, and stay so. When an owner has two slots more than another who wants one, a slot
changes hands: it makes way, and gets nothing more of the first. Where there are fewer slots than owners, one who has none
gets a slot that has served another for `LONGEST_TURN`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from .credit import Credit, Credits
from .peers import Slot, Whose
from .query import Query

LONGEST_TURN = 5.0
"""Seconds after which a slot makes way for an owner who has none at all."""
MOMENT = 1.0
"""Seconds for which an owner is not made way for who could do nothing with a slot that others have made way with."""


class Owners:
    """Whose the slots are that serve the same owner, or everybody, and whose they will be.

    Args:
        slots: all that can take a lease.
        serving: whom these serve (`Worker.owner`).

    Attributes:
        promised: slots that make way, and for whom.
    """

    def __init__(self, slots: Credits, serving: str) -> None:
        self.promised: dict[Slot, Whose] = {}
        self._slots_of = slots
        self._serving = serving
        self._several = False
        self._served: dict[Whose, float] = {}
        self._declined: dict[Whose, float] = {}

    @property
    def _credit(self) -> Credit:
        return self._slots_of.by_owner[self._serving]

    def meet(self, queries: Iterable[Query]) -> None:
        """These are the queries that slots can be given more of."""
        owners = {query.submit.whose for query in queries}
        self._several = len(owners) > 1
        for slot, owner in list(self.promised.items()):
            if owner not in owners or not (slot.leases or slot in self._credit.idle):
                del self.promised[slot]
        for times in (self._served, self._declined):
            for owner in times.keys() - owners:
                del times[owner]

    def in_turn(self, slot: Slot, queries: list[Query]) -> list[Query]:
        """The queries that a slot may be given something of, those first whose turn it is.

        It is the turn of owners whose work is in the fewest slots, and of those that have the fewest leases; then it goes by
        priority, then by leases.
        """
        if slot.leases:
            if slot in self.promised:
                return []
            queries = [query for query in queries if query.submit.whose == slot.whose]
        if len(queries) < 2:
            return queries
        if slot.leases or not self._several:
            return sorted(queries, key=lambda it: (-it.submit.priority, it.leases))
        leases: Counter[Whose] = Counter()
        for query in queries:
            leases[query.submit.whose] += query.leases
        promised, busy = self.promised.get(slot), self._credit.busy
        ranks = {it: (it != promised, busy[it], it != slot.whose, leases[it]) for it in leases}
        return sorted(queries, key=lambda it: (ranks[it.submit.whose], -it.submit.priority, it.leases))

    def waits(self, slot: Slot, queries: Iterable[Query]) -> bool:
        """Whether a slot gets nothing before it has no leases, whatever there is to do: it makes way, or there is nothing
        more of its owner's.
        """
        if not slot.leases:
            return False
        mine = (query for query in queries if query.submit.whose == slot.whose)
        return slot in self.promised or not any(query.packetizer.anything for query in mine)

    def leased(self, slot: Slot, owner: Whose, now: float) -> None:
        """A slot is about to get a lease of this owner's. If another one was to make way for that, it need not any more."""
        promised = self.promised.pop(slot, None)
        if promised not in (None, owner):
            self._declined[promised] = now
        if promised is None and not slot.leases:
            for other in [other for other, its in self.promised.items() if its == owner and other.leases][:1]:
                del self.promised[other]
        belongs(slot, owner, now)
        self._served[owner] = now

    def promise(self, slot: Slot, owner: Whose) -> None:
        """Have a slot get nothing more of its owner's: it is for this one, once it has no leases left."""
        if slot.whose != owner:
            self.promised[slot] = owner

    def due(self, queries: Iterable[Query], now: float) -> tuple[Whose, Whose] | None:
        """An owner who has to make way with a slot, and the one for whom; None when the slots are divided well enough."""
        if not self._several or self._credit.idle:
            return None
        wanting: Counter[Whose] = Counter()
        for query in queries:
            if query.packetizer.anything:
                wanting[query.submit.whose] += most_slots(query)
        if len(wanting) < 2:
            return None
        slots = {owner: self._slots(owner) for owner in wanting}
        never = float("-inf")
        able = [it for it in wanting if slots[it] < wanting[it] and now > self._declined.get(it, never) + MOMENT]
        poor = min(able, key=lambda it: (slots[it], self._served.get(it, never), it), default=None)
        rich = max(wanting, key=lambda it: (slots[it], it))
        if poor is None or slots[rich] - slots[poor] < (1 if slots[poor] == 0 else 2):
            return None
        return rich, poor

    def eldest(self, rich: Whose, poor: Whose, slots: Iterable[Slot], now: float) -> Slot | None:
        """The slot that is to change hands: none when all have to serve their owner for some time yet."""
        slots = [slot for slot in slots if slot.whose == rich and slot.leases and slot not in self.promised]
        slot = min(slots, key=lambda it: (len(it.leases), it.served), default=None)
        if slot is None or (self._slots(rich) - self._slots(poor) < 2 and now < slot.served + LONGEST_TURN):
            return None
        return slot

    def _slots(self, owner: Whose) -> int:
        """In how many slots an owner's work is, or will be."""
        lost = sum(slot.whose == owner and bool(slot.leases) for slot in self.promised)
        return self._credit.busy[owner] - lost + sum(it == owner for it in self.promised.values())

    def check(self) -> None:
        """Assert that no slot makes way for its own owner."""
        assert all(slot.whose != owner for slot, owner in self.promised.items() if slot.leases)


def belongs(slot: Slot, owner: Whose, now: float) -> None:
    """A slot is given something of this owner's; a process that comes in the place of another owner's knows no files."""
    if slot.whose != owner:
        slot.whose, slot.served = owner, now
        slot.files.clear()


def to_give(slots: Iterable[Slot], owner: Whose, promised: Mapping[Slot, Whose]) -> Iterator[Slot]:
    """Slots that are to make way for a new query of this owner: as many of others as it lacks, of who has the most first;
    then its own.
    """
    by_owner: dict[Whose | None, list[Slot]] = {}
    for slot in slots:
        by_owner.setdefault(promised.get(slot, slot.whose), []).append(slot)
    mine = by_owner.pop(owner, [])
    held = {it: len(of) for it, of in by_owner.items()}
    given = max(1, (len(mine) + sum(held.values())) // (len(held) + 1)) - len(mine)
    free = {it: [slot for slot in of if slot not in promised] for it, of in by_owner.items()}
    while given > 0 and (able := [it for it in free if free[it]]):
        rich = max(able, key=lambda it: held[it])
        held[rich] -= 1
        given -= 1
        yield free[rich].pop(0)
    yield from mine


def most_slots(query: Query) -> int:
    """How many slots can begin with a query: while none of its files is open, one for each."""
    return sys.maxsize if query.ledger.opened_files else len(query.ledger.files)
