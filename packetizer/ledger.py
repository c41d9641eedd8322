"""The ledger of one query: which entries are to do, leased, done or failed.

Every entry of every opened file is in exactly one of four places: `todo`, one live lease, `done`, `failed`. A file goes

    unopened --lease_opening--> opening --opened--> opened
                  ^                 |
                  +----give_back----+   (or --fail--> failed as a whole)

and a range of an opened file

    todo --lease--> leased --commit--> done
      ^               |  \\
      +---give_back---+   +--fail--> failed
      +---truncate----+

A lease whose holder does not answer can be duplicated: its *twin* is another holder's lease of the same entries. The first
commit of either kills the other, so the entries still count once.

A lease shrinks from the front by commits and from the back when its slot stops early; it is gone when nothing is left
of it. Only a live lease can be committed, and a commit of several parts stands or falls as a whole: that is why every
event is counted exactly once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .ranges import Ranges


class StaleLease(Exception):
    """A part of a commit, or a report, names a lease that is not live or a range that is not its own."""


@dataclass(slots=True)
class Lease:
    """The right of one holder to process entries `[start, stop)` of a file.

    An `opening` lease stands for a file whose length is not known: its `stop` is a wish until the file is opened.
    A `finished` lease is processed and waits for the commit that carries it; so does the lease of a file without entries,
    whose empty result is committed like any other.
    """

    number: int
    file: int
    start: int
    stop: int
    holder: Any
    opening: bool = False
    finished: bool = False
    committed: bool = False
    twin: int | None = None


_NOTHING = Ranges()
"""Stands in a file's three places until it is opened; nothing is ever added to it."""


@dataclass(slots=True)
class FileState:
    """What is known of one file of the query, and what has become of its entries."""

    known: int | None = None
    entries: int | None = None
    clusters: Sequence[int] = ()
    identity: str = ""
    todo: Ranges = _NOTHING
    done: Ranges = _NOTHING
    failed: Ranges = _NOTHING
    leases: set[int] = field(default_factory=set)
    opening: bool = False
    given_up: bool = False

    def open(self, entries: int) -> None:
        """The file has this many entries, and from now on they are somewhere."""
        self.entries = entries
        self.todo, self.done, self.failed = Ranges(), Ranges(), Ranges()


@dataclass(frozen=True, slots=True)
class Loss:
    """Entries that will not be in the result, and why; `stop` is None when the file's length never became known."""

    file: int
    start: int
    stop: int | None
    reason: str


class Ledger:
    """Where every entry of a query is.

    Args:
        known: for each file its number of entries where it is known beforehand, else None.
        limit: use only the first `limit` entries of the dataset, in the order of its files.

    Example:
        >>> ledger = Ledger([None])
        >>> lease = ledger.lease_opening(file=0, stop=100, holder="slot")
        >>> ledger.opened(lease.number, entries=150, stop=100)
        >>> ledger.commit([(lease.number, 0, 100)])
        100
        >>> ledger.todo, ledger.processed
        (50, 100)
    """

    def __init__(self, known: Sequence[int | None], limit: int | None = None) -> None:
        self.files = [FileState(known=entries) for entries in known]
        self.limit = limit
        self.leases: dict[int, Lease] = {}
        self.losses: list[Loss] = []
        self.unopened: OrderedDict[int, None] = OrderedDict.fromkeys(range(len(self.files)))
        self.ready: dict[int, None] = {}
        self.todo = self.leased = self.processed = self.failed = self.redone = 0
        self.opened_files = 0
        self.returned: list[int] = []
        self._next_lease = 0
        self.opened_entries = 0
        self._known_unopened = sum(entries or 0 for entries in known)
        self._unknown_unopened = sum(entries is None for entries in known)
        self._drop_unneeded()

    # --- leasing --------------------------------------------------------------------------------------------------

    def openable(self) -> int | None:
        """A file that nobody has opened yet, or None. With a limit, files are opened one by one, in their order."""
        file = next(iter(self.unopened), None)
        if file is None or self.limit is None:
            return file
        in_order = all(state.entries is not None or state.given_up for state in self.files[:file])
        return file if in_order else None

    def lease_opening(self, file: int, stop: int, holder: Any) -> Lease:
        """Lease the first entries of an unopened file, up to about `stop`; nobody else gets any of it meanwhile."""
        del self.unopened[file]
        self.files[file].opening = True
        return self._new_lease(file, 0, stop, holder, opening=True)

    def lease(self, file: int, start: int, stop: int, holder: Any) -> Lease:
        """Lease `[start, stop)` of an opened file, all of which must be to do."""
        state = self.files[file]
        if stop <= start:
            raise ValueError(f"a lease of no entries: [{start}, {stop})")
        state.todo.remove(start, stop)
        if not state.todo:
            del self.ready[file]
        self.todo -= stop - start
        self.leased += stop - start
        return self._new_lease(file, start, stop, holder)

    def _new_lease(self, file: int, start: int, stop: int, holder: Any, opening: bool = False) -> Lease:
        lease = Lease(self._next_lease, file, start, stop, holder, opening)
        self._next_lease += 1
        self.leases[lease.number] = lease
        self.files[file].leases.add(lease.number)
        return lease

    def duplicate(self, number: int, holder: Any) -> Lease:
        """Lease the same entries to a second holder, because the first one does not answer.

        Raises:
            StaleLease: the lease is not live, has no entries of its own, or has a twin already.
        """
        lease = self._live(number)
        if lease.opening or lease.twin is not None or lease.start == lease.stop:
            raise StaleLease(f"lease {number} cannot be duplicated")
        twin = self._new_lease(lease.file, lease.start, lease.stop, holder)
        lease.twin, twin.twin = twin.number, lease.number
        return twin

    # --- what slots report ----------------------------------------------------------------------------------------

    def opened(self, number: int, entries: int, stop: int, clusters: Sequence[int] = (), identity: str = "") -> None:
        """The holder of an opening lease has opened the file, and keeps `[0, stop)` of its `entries`.

        Raises:
            StaleLease: the lease is not live, not an opening one, or `stop` is not within the file.
        """
        lease = self._live(number)
        state = self.files[lease.file]
        if not lease.opening or not 0 <= stop <= entries:
            raise StaleLease(f"lease {number} cannot open a file of {entries} entries up to {stop}")
        usable = self._within_limit(entries)
        lease.opening = state.opening = False
        lease.stop = min(stop, usable)
        state.open(usable)
        state.clusters, state.identity = clusters, identity
        self._forget_estimate(state)
        self.opened_entries += usable
        self.opened_files += 1
        self._drop_unneeded()
        self.leased += lease.stop
        self._return(lease.file, lease.stop, usable)

    def finished(self, number: int, stop: int) -> None:
        """The holder is through with its lease, up to `stop`; what is behind goes back to be done.

        Raises:
            StaleLease: the lease is not live, or `stop` is not within it.
        """
        lease = self._live(number)
        if lease.opening or lease.finished or not lease.start <= stop <= lease.stop:
            raise StaleLease(f"lease {number} [{lease.start}, {lease.stop}) cannot finish at {stop}")
        self._shrink(lease, stop)
        lease.finished = True
        if lease.start == stop and lease.committed:
            if lease.twin is not None:
                self._leave_to_twin(lease)
            else:
                self._close(lease)

    def truncate(self, number: int, stop: int) -> None:
        """The holder has agreed to end its lease at `stop`; a lease truncated to its start is over, and a file that was to
        be opened under it is for others to open.

        Raises:
            StaleLease: the lease is not live, is finished, or `stop` is not within it.
        """
        lease = self._live(number)
        if lease.opening and stop == 0:
            self.give_back(number)
            return
        if lease.opening or lease.finished or not lease.start <= stop <= lease.stop:
            raise StaleLease(f"lease {number} [{lease.start}, {lease.stop}) cannot be truncated to {stop}")
        if stop > lease.start:
            self._shrink(lease, stop)
        elif lease.twin is not None:
            self._leave_to_twin(lease)
        else:
            self._shrink(lease, stop)
            self._close(lease)

    def commit(self, parts: Iterable[tuple[int, int, int]]) -> int:
        """Mark the parts `(lease, start, stop)` done, all or none; returns the number of entries they hold.

        Raises:
            StaleLease: a lease is not live, or a part is not the front of what is left of its lease. Nothing changed.
        """
        parts = list(parts)
        for number, start, stop in parts:
            lease = self._live(number)
            if lease.opening or start != lease.start or not start <= stop <= lease.stop:
                raise StaleLease(f"[{start}, {stop}) is not the front of lease {number} [{lease.start}, {lease.stop})")
        numbers = {number for number, _, _ in parts}
        if len(numbers) != len(parts) or any(self.leases[number].twin in numbers for number in numbers):
            raise StaleLease("a commit names the same entries twice")
        for number, start, stop in parts:
            lease = self.leases[number]
            self.files[lease.file].done.add(start, stop)
            if lease.twin is not None:
                self._kill_twin(lease)
            lease.start, lease.committed = stop, True
            if stop == lease.stop and lease.finished:
                self._close(lease)
        entries = sum(stop - start for _, start, stop in parts)
        self.leased -= entries
        self.processed += entries
        return entries

    def give_back(self, number: int, worked: int = 0) -> None:
        """The holder is gone or refuses: what is left of the lease is to do again, `worked` entries of it once more."""
        lease = self._live(number)
        if lease.opening:
            self.files[lease.file].opening = False
            self._close(lease)
            self._unopen(lease.file)
            return
        state = self.files[lease.file]
        if state.entries == 0:
            # Its empty result was never committed, and tells what an empty result looks like: somebody opens it again.
            state.entries = None
            self.opened_files -= 1
            if state.known is None:
                self._unknown_unopened += 1
            else:
                self._known_unopened += state.known
            self._close(lease)
            self._unopen(lease.file)
            return
        self.redone += worked
        if lease.twin is not None:
            self._leave_to_twin(lease)
            return
        entries = lease.stop - lease.start
        self.leased -= entries
        self._return(lease.file, lease.start, lease.stop)
        self._close(lease)

    def fail(self, number: int, reason: str) -> None:
        """Give up what is left of a lease, for good; an opening lease gives up the whole file."""
        lease = self._live(number)
        state = self.files[lease.file]
        if lease.opening:
            state.opening, state.given_up = False, True
            self._forget_estimate(state)
            lost = None if state.known is None else self._within_limit(state.known)
            self.losses.append(Loss(lease.file, 0, lost, reason))
            if lost is not None:
                state.open(lost)
                state.failed.add(0, lost)
                self.failed += lost
                self.opened_entries += lost
                self._drop_unneeded()
        elif lease.twin is not None:
            self._leave_to_twin(lease)
            return
        else:
            entries = lease.stop - lease.start
            state.failed.add(lease.start, lease.stop)
            self.leased -= entries
            self.failed += entries
            self.losses.append(Loss(lease.file, lease.start, lease.stop, reason))
        self._close(lease)

    # --- what there is --------------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Nothing is to be opened, to do, or leased: every entry is done or failed."""
        return not (self.leases or self.ready or self.unopened)

    @property
    def total(self) -> int:
        """Entries in the dataset: exact when `estimated` is false, else with unopened files put in at the mean."""
        counted = self.todo + self.leased + self.processed + self.failed
        mean = counted / self.opened_files if self.opened_files else 0.0
        total = counted + self._known_unopened + round(mean * self._unknown_unopened)
        return total if self.limit is None else min(total, self.limit)

    @property
    def estimated(self) -> bool:
        """Whether files of unknown length are still to be opened."""
        return self._unknown_unopened > 0 or (self.limit is not None and self._known_unopened > 0)

    def check(self) -> None:
        """Assert that every entry is in exactly one place, and that the counters say the same."""
        leased: dict[int, list[tuple[int, int]]] = {}
        for number, lease in self.leases.items():
            assert number == lease.number and number in self.files[lease.file].leases
            if lease.twin is not None:
                twin = self.leases[lease.twin]
                assert (twin.twin, twin.file, twin.start) == (number, lease.file, lease.start)
                if (lease.stop, number) < (twin.stop, twin.number):
                    continue  # the longer one stands for both
            if not lease.opening:
                leased.setdefault(lease.file, []).append((lease.start, lease.stop))
        sums = [0, 0, 0, 0]
        for index, state in enumerate(self.files):
            assert (index in self.ready) == bool(state.todo)
            assert all(number in self.leases for number in state.leases)
            if state.entries is None:
                assert not (state.todo or state.done or state.failed or index in leased)
                assert (index in self.unopened) + state.opening + state.given_up == 1
                continue
            whole = Ranges()
            places = (list(state.todo), leased.get(index, []), list(state.done), list(state.failed))
            for place, ranges in enumerate(places):
                for start, stop in ranges:
                    whole.add(start, stop)
                    sums[place] += stop - start
            assert list(whole) == ([(0, state.entries)] if state.entries else []), (index, list(whole), state.entries)
        assert sums == [self.todo, self.leased, self.processed, self.failed], (sums, self)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _live(self, number: int) -> Lease:
        try:
            return self.leases[number]
        except KeyError:
            raise StaleLease(f"lease {number} is not live") from None

    def _within_limit(self, entries: int) -> int:
        """How many of a file's entries are used, the limit on the whole dataset being what it is."""
        return entries if self.limit is None else min(entries, max(0, self.limit - self.opened_entries))

    def _return(self, file: int, start: int, stop: int) -> None:
        if stop > start:
            self.files[file].todo.add(start, stop)
            self.todo += stop - start
            self.ready[file] = None
            self.returned.append(file)

    def _unopen(self, file: int) -> None:
        self.unopened[file] = None
        self.unopened.move_to_end(file, last=False)
        self.returned.append(file)

    def _shrink(self, lease: Lease, stop: int) -> None:
        """End a lease at `stop`; what neither it nor a twin covers any more is to do."""
        beyond = stop if lease.twin is None else max(stop, self.leases[lease.twin].stop)
        if beyond < lease.stop:
            self.leased -= lease.stop - beyond
            self._return(lease.file, beyond, lease.stop)
        lease.stop = stop

    def _leave_to_twin(self, lease: Lease) -> None:
        """A lease ends without result, its twin goes on."""
        assert lease.twin is not None
        twin = self.leases[lease.twin]
        self._shrink(lease, lease.start)
        lease.twin = twin.twin = None
        self._close(lease)

    def _kill_twin(self, lease: Lease) -> None:
        """A lease is committed first: its twin is dead, with what it alone covered to do again."""
        assert lease.twin is not None
        twin = self.leases[lease.twin]
        self._shrink(twin, twin.start)
        lease.twin = twin.twin = None
        self._close(twin)

    def _close(self, lease: Lease) -> None:
        del self.leases[lease.number]
        self.files[lease.file].leases.discard(lease.number)

    def _forget_estimate(self, state: FileState) -> None:
        if state.known is None:
            self._unknown_unopened -= 1
        else:
            self._known_unopened -= state.known

    def _drop_unneeded(self) -> None:
        """Once the limit is reached, files that nobody has opened are not needed."""
        if self.limit is None or self.opened_entries < self.limit:
            return
        for file in self.unopened:
            state = self.files[file]
            state.given_up = True
            self._forget_estimate(state)
        self.unopened.clear()
