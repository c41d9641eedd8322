"""A lease: the right of one slot to process some entries of a file, and the stages that it goes through.

`TRANSITIONS` is the table that the ledger goes by: what it does not allow is refused as stale.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

Holder = TypeVar("Holder", bound=Hashable)
"""Who has leases: a slot, as somebody names it."""
Part = tuple[int, int, int]
"""Of a commit: a lease, and the entries `[start, stop)` of it."""


class StaleLease(Exception):
    """A part of a commit, or a report, names a lease that is not live or a range that is not its own."""


class Stage(Enum):
    """Where a lease is between being made and being over."""

    OPENING = "opening"
    """Its file is to be opened under it: neither length nor end are known."""
    LEASED = "leased"
    """Its entries are at work, or wait in its holder's queue."""
    FINISHED = "finished"
    """Its entries are processed; the commit that carries them is still to come."""
    OVER = "over"
    """Nobody may report on it or commit it any more."""

    __hash__ = object.__hash__  # that of an Enum is written in Python, and is asked for at each step of each lease


TRANSITIONS: dict[tuple[Stage, str], tuple[Stage, ...]] = {
    (Stage.OPENING, "opened"): (Stage.LEASED,),
    (Stage.OPENING, "truncate"): (Stage.OPENING, Stage.OVER),
    (Stage.OPENING, "give back"): (Stage.OVER,),
    (Stage.OPENING, "fail"): (Stage.OVER,),
    (Stage.LEASED, "truncate"): (Stage.LEASED, Stage.OVER),
    (Stage.LEASED, "finished"): (Stage.FINISHED, Stage.OVER),
    (Stage.LEASED, "commit"): (Stage.LEASED,),
    (Stage.LEASED, "give back"): (Stage.OVER,),
    (Stage.LEASED, "fail"): (Stage.OVER,),
    (Stage.LEASED, "duplicate committed"): (Stage.OVER,),
    (Stage.FINISHED, "commit"): (Stage.FINISHED, Stage.OVER),
    (Stage.FINISHED, "give back"): (Stage.OVER,),
    (Stage.FINISHED, "fail"): (Stage.OVER,),
    (Stage.FINISHED, "duplicate committed"): (Stage.OVER,),
}
"""What may happen to a lease in each stage, and where it leads; anything else is refused as stale."""


def diagram() -> str:
    """The stages of a lease as a Mermaid state diagram, drawn from `TRANSITIONS`."""
    lines = ["stateDiagram-v2", "    [*] --> opening: lease_opening", "    [*] --> leased: lease, duplicate"]
    for (stage, event), targets in TRANSITIONS.items():
        lines += [f"    {stage.value} --> {target.value}: {event}" for target in targets]
    return "\n".join([*lines, "    over --> [*]"])


@dataclass(slots=True)
class Lease(Generic[Holder]):
    """The right of one holder to process entries `[start, stop)` of a file.

    An `opening` lease stands for a file whose length is not known: its `stop` is a wish until the file is opened.
    A `finished` lease is processed and waits for the commit that carries it; so does the lease of a file without entries,
    whose empty result is committed like any other. With a `chunk`, its entries are suspected of taking slots down, and no
    more of them are taken at a time.
    """

    number: int
    file: int
    start: int
    stop: int
    holder: Holder
    stage: Stage = Stage.LEASED
    committed: bool = False
    duplicate: int | None = None
    chunk: int | None = None

    @property
    def opening(self) -> bool:
        """Whether its file is still to be opened."""
        return self.stage is Stage.OPENING

    @property
    def finished(self) -> bool:
        """Whether it is processed, and waits for the commit that carries it."""
        return self.stage is Stage.FINISHED

    def move(self, event: str, stage: Stage) -> None:
        """Something happened to it that leads to a stage."""
        assert stage in TRANSITIONS[self.stage, event], (self, event, stage)
        self.stage = stage


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries of a lease that a commit does not hold, because they cannot be processed."""

    lease: int
    start: int
    stop: int
    reason: str


class Leases(dict[int, Lease[Holder]]):
    """The leases that are live, by their numbers. Entries that are processed, and no more yet, are `uncommitted`.

    Example:
        >>> leases = Leases()
        >>> leases[7] = Lease(7, file=0, start=0, stop=10, holder="slot", stage=Stage.OPENING)
        >>> leases.may(7, "commit")
        Traceback (most recent call last):
        eventmill.packetizer.leases.StaleLease: lease 7 is opening: no 'commit' for it
    """

    def __init__(self) -> None:
        super().__init__()
        self.uncommitted = 0

    def finish(self, lease: Lease[Holder]) -> None:
        """All entries of a lease are processed."""
        lease.move("finished", Stage.FINISHED)
        self.uncommitted += lease.stop - lease.start

    def commit(self, lease: Lease[Holder], stop: int) -> None:
        """The entries of a lease up to `stop` are in the result."""
        if lease.finished:
            self.uncommitted -= stop - lease.start
        lease.start, lease.committed = stop, True

    def shorten(self, lease: Lease[Holder], stop: int) -> None:
        """A lease ends at `stop`."""
        if lease.finished:
            self.uncommitted -= lease.stop - stop
        lease.stop = stop

    def close(self, lease: Lease[Holder], event: str) -> None:
        """A lease is over, with what is left of it."""
        if lease.finished:
            self.uncommitted -= lease.stop - lease.start
        lease.move(event, Stage.OVER)
        del self[lease.number]

    def live(self, number: int) -> Lease[Holder]:
        """A lease that somebody names. Raises `StaleLease` when it is not live."""
        try:
            return self[number]
        except KeyError:
            raise StaleLease(f"lease {number} is not live") from None

    def may(self, number: int, event: str) -> Lease[Holder]:
        """The lease to which something happens. Raises `StaleLease` when it may not happen in its stage."""
        lease = self.live(number)
        if (lease.stage, event) not in TRANSITIONS:
            raise StaleLease(f"lease {number} is {lease.stage.value}: no '{event}' for it")
        return lease

    def may_duplicate(self, number: int) -> Lease[Holder]:
        """The lease that a second holder gets, too. Raises `StaleLease` when it has two, or none of its own entries."""
        lease = self.live(number)
        if lease.opening or lease.duplicate is not None or lease.start == lease.stop:
            raise StaleLease(f"lease {number} cannot be duplicated")
        return lease

    def may_commit(self, parts: Sequence[Part], gaps: Sequence[Gap]) -> dict[int, list[Gap]]:
        """The gaps of each lease that has some. Raises `StaleLease` unless the parts are fronts of leases and name no entry
        twice, and each gap is in one of them."""
        ends: dict[int, tuple[int, int]] = {}
        for number, start, stop in parts:
            lease = self.may(number, "commit")
            if start != lease.start or not start <= stop <= lease.stop:
                raise StaleLease(f"[{start}, {stop}) is not the front of lease {number} [{lease.start}, {lease.stop})")
            ends[number] = (start, stop)
        if len(ends) != len(parts) or any(self[number].duplicate in ends for number in ends):
            raise StaleLease("a commit names the same entries twice")
        gaps_of: dict[int, list[Gap]] = {}
        for gap in gaps:
            start, stop = ends.get(gap.lease, (0, 0))
            if not start <= gap.start < gap.stop <= stop:
                raise StaleLease(f"the gap [{gap.start}, {gap.stop}) is not in a part of lease {gap.lease}")
            ends[gap.lease] = (gap.stop, stop)
            gaps_of.setdefault(gap.lease, []).append(gap)
        return gaps_of

    def ranges(self) -> dict[int, list[tuple[int, int]]]:
        """What is leased of each file that is open, once; asserts that duplicates know each other, and the count."""
        assert self.uncommitted == sum(it.stop - it.start for it in self.values() if it.finished)
        leased: dict[int, list[tuple[int, int]]] = {}
        for number, lease in self.items():
            assert number == lease.number
            if lease.duplicate is not None:
                duplicate = self[lease.duplicate]
                assert (duplicate.duplicate, duplicate.file, duplicate.start) == (number, lease.file, lease.start)
                if (lease.stop, number) < (duplicate.stop, duplicate.number):
                    continue  # the longer one stands for both
            if not lease.opening:
                leased.setdefault(lease.file, []).append((lease.start, lease.stop))
        return leased
