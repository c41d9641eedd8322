"""Which slots can take a lease: those with fewer than `CREDIT`, the emptiest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .peers import Slot

CREDIT = 2
"""Packets a slot holds: the one it works on, and the next, so that it never waits for the master."""


class Credit:
    """The slots that can take a lease, by the number of leases they have; in the order in which they came to it."""

    def __init__(self) -> None:
        self._levels: list[dict[Slot, None]] = [{} for _ in range(CREDIT)]

    @property
    def idle(self) -> Mapping[Slot, None]:
        """Slots that have nothing to do."""
        return self._levels[0]

    @property
    def levels(self) -> Sequence[Mapping[Slot, None]]:
        """The slots that can take a lease: those without any, those with one."""
        return self._levels

    def postpone(self, slot: Slot) -> None:
        """Ask the other slots of as many leases first."""
        for level in self._levels:
            if slot in level:
                del level[slot]
                level[slot] = None

    def offer(self, slot: Slot) -> None:
        """A slot that is up and stays can take leases, if it has not too many."""
        if slot.up and not slot.leaving and len(slot.leases) < CREDIT:
            self._levels[len(slot.leases)][slot] = None

    def withdraw(self, slot: Slot) -> None:
        """A slot takes no leases (for now)."""
        for level in self._levels:
            level.pop(slot, None)

    def take(self, slot: Slot, key: tuple[str, int]) -> None:
        """A slot takes a lease."""
        self.withdraw(slot)
        slot.leases[key] = None
        self.offer(slot)

    def free(self, slot: Slot, key: tuple[str, int]) -> None:
        """A slot is through with a lease, or has lost it."""
        if key in slot.leases:
            self.withdraw(slot)
            del slot.leases[key]
            self.offer(slot)

    def check(self) -> None:
        """Assert that every slot here is up, stays, and is where its number of leases says."""
        for level, slots in enumerate(self._levels):
            assert all(len(slot.leases) == level and slot.up and not slot.leaving for slot in slots)
