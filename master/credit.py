"""Which slots can take a lease: those whose leases take less than `CREDIT` together, the emptiest first; and of those that
serve one owner only, whose."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence

from .peers import Slot, Whose

PACKET, FAR_OPENING = 16, 8
"""What a lease takes of a slot's credit. To open a far file takes round trips, and the packet that opens it is small: of
those a slot holds twice as many, and opens their files side by side. What is expected to be short takes less.
"""
CREDIT = 2 * PACKET
"""A slot holds the packet that it works on, and the next, so that it never waits for the master."""
SHORT = 0.1
"""Seconds of a packet under which a slot holds more of them, of as much time together: it would wait for the master after
each, and the master would hear of each by itself."""
MOST_SHORT = 32_000
"""Short packets that all slots hold together. The master takes in within some seconds what they say of these: longer, nobody
else waits until it is heard."""


def credit_of(seconds: float, opens_far: bool, slots: int) -> int:
    """What a lease takes of its slot's credit that is expected to take some seconds (infinity: nobody knows), where so many
    slots share a query.

    Example:
        >>> credit_of(math.inf, opens_far=False, slots=8), credit_of(math.inf, opens_far=True, slots=8)
        (16, 8)
        >>> credit_of(0.025, opens_far=False, slots=8), credit_of(0.0, opens_far=False, slots=4000)
        (4, 4)
    """
    usual = FAR_OPENING if opens_far else PACKET
    least = min(usual, math.ceil(CREDIT * slots / MOST_SHORT))
    return max(least, round(usual * min(1.0, seconds / SHORT)))


class Credit:
    """Slots that can take a lease, by what they have taken of their credit; in the order in which they came to it.

    Attributes:
        busy: how many slots have leases, by whose leases they are.
    """

    def __init__(self) -> None:
        self.busy: Counter[Whose | None] = Counter()
        self._levels: list[OrderedDict[Slot, None]] = [
            OrderedDict() for _ in range(CREDIT)
        ]  # the first is found at once

    @property
    def idle(self) -> Mapping[Slot, None]:
        """Slots that have nothing to do."""
        return self._levels[0]

    @property
    def levels(self) -> Sequence[Mapping[Slot, None]]:
        """The slots that can take a lease, those without any first."""
        return self._levels

    def postpone(self, slot: Slot) -> None:
        """Ask the other slots that have taken as much first."""
        self._levels[slot.taken].move_to_end(slot)

    def offer(self, slot: Slot) -> None:
        """A slot that is up and stays can take leases, if it has not too many."""
        if slot.up and not slot.leaving and slot.taken < CREDIT:
            self._levels[slot.taken][slot] = None

    def withdraw(self, slot: Slot) -> None:
        """A slot takes no leases (for now)."""
        if slot.taken < CREDIT:
            self._levels[slot.taken].pop(slot, None)

    def take(self, slot: Slot, key: tuple[str, int], credit: int = PACKET) -> None:
        """A slot takes a lease, and so much of its credit with it."""
        self.withdraw(slot)
        self.busy[slot.whose] += not slot.leases
        slot.leases[key] = credit
        slot.taken += credit
        self.offer(slot)

    def free(self, slot: Slot, key: tuple[str, int]) -> None:
        """A slot is through with a lease, or has lost it."""
        if key in slot.leases:
            self.withdraw(slot)
            slot.taken -= slot.leases.pop(key)
            if not slot.leases:
                self.busy[slot.whose] -= 1
            self.offer(slot)

    def count(self, slot: Slot) -> None:
        """There is a slot, with leases or without."""
        slot.taken = sum(slot.leases.values())
        self.busy[slot.whose] += bool(slot.leases)
        self.offer(slot)

    def check(self) -> None:
        """Assert that every slot here is up, stays, and is where its leases say."""
        for level, slots in enumerate(self._levels):
            assert all(slot.taken == level and slot.up and not slot.leaving for slot in slots)


class Credits:
    """The slots of all workers that can take a lease, those that serve the same owner together.

    Attributes:
        by_owner: of the slots that serve an owner ("": everybody), by that.
    """

    def __init__(self) -> None:
        self.by_owner: dict[str, Credit] = {"": Credit()}

    @property
    def idle(self) -> bool:
        """Whether a slot has nothing to do."""
        return any(credit.idle for credit in self.by_owner.values())

    def offer(self, slot: Slot) -> None:
        """As `Credit.offer`; so the others."""
        self._of(slot).offer(slot)

    def withdraw(self, slot: Slot) -> None:
        """A slot takes no leases (for now)."""
        self._of(slot).withdraw(slot)

    def take(self, slot: Slot, key: tuple[str, int], credit: int = PACKET) -> None:
        """A slot takes a lease."""
        self._of(slot).take(slot, key, credit)

    def free(self, slot: Slot, key: tuple[str, int]) -> None:
        """A slot is through with a lease, or has lost it."""
        self._of(slot).free(slot, key)

    def count_anew(self, slots: Iterable[Slot]) -> None:
        """Put all slots where their leases say."""
        self.by_owner = {"": Credit()}
        for slot in slots:
            self._of(slot).count(slot)

    def check(self, slots: Collection[Slot]) -> None:
        """Assert that every slot here is up, stays, and is where its leases and its worker's owner say; and that of all
        slots those are counted that have leases.
        """
        assert all(slot.taken == sum(slot.leases.values()) for slot in slots)
        for owner, credit in self.by_owner.items():
            credit.check()
            assert +credit.busy == Counter(it.whose for it in slots if it.leases and it.worker.owner == owner)
            assert all(slot.worker.owner == owner for level in credit.levels for slot in level)

    def _of(self, slot: Slot) -> Credit:
        owner = slot.worker.owner
        if owner not in self.by_owner:
            self.by_owner[owner] = Credit()
        return self.by_owner[owner]
