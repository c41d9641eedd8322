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

A lease goes through the stages of `leases.TRANSITIONS`. One whose holder does not answer can be duplicated: its
*duplicate* is another holder's lease of the same entries. The first commit of either kills the other, so the entries still
count once.

A lease shrinks from the front by commits and from the back when its slot stops early; it is gone when nothing is left
of it. Only a live lease can be committed, and a commit of several parts stands or falls as a whole: that is why every
event is counted exactly once. That the result of a commit holds these entries, and no others, its own count says.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..protocol.counts import miscount
from ..protocol.errors import CountError
from .leases import TRANSITIONS, Lease, Stage, StaleLease
from .ranges import Ranges

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

    def cluster_from(self, entry: int) -> int | None:
        """The first cluster boundary at or behind an entry."""
        index = bisect_left(self.clusters, entry)
        return self.clusters[index] if index < len(self.clusters) else None


@dataclass(frozen=True, slots=True)
class Loss:
    """Entries that will not be in the result, and why; `stop` is None when the file's length never became known."""

    file: int
    start: int
    stop: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """What the slot that opened a file has told of it: what `Ledger.restore` needs to know, and who reads the file.

    Attributes:
        entries: those that are used, when a limit leaves some out.
        listed: the entries that a mask has left, as runs; `entries` and `clusters` count these only then.
    """

    entries: int
    clusters: Sequence[int] = ()
    identity: str = ""
    listed: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries of a lease that a commit does not hold, because they cannot be processed."""

    lease: int
    start: int
    stop: int
    reason: str


@dataclass(frozen=True, slots=True)
class Surprise:
    """A file that does not have the entries that it was said to have; the file is believed."""

    file: int
    known: int
    entries: int


class Ledger:
    """Where every entry of a query is.

    Args:
        known: for each file its number of entries where it is known beforehand, else None.
        limit: use only the first `limit` entries of the dataset, in the order of its files.
        listed: the files of which a list names the entries: so many are wanted of them, whatever they have.

    Attributes:
        next_lease: the number of the next lease. A ledger that goes on where another was must start above all of that one's,
            so that a late message about one of those is about none of its own.

    Example:
        >>> ledger = Ledger([None])
        >>> lease = ledger.lease_opening(file=0, stop=100, holder="slot")
        >>> ledger.opened(lease.number, entries=150, stop=100)
        >>> ledger.commit([(lease.number, 0, 100)])
        100
        >>> ledger.todo, ledger.processed
        (50, 100)
    """

    def __init__(self, known: Sequence[int | None], limit: int | None = None, listed: Container[int] = ()) -> None:
        self.files = [FileState(known=entries) for entries in known]
        self.limit = limit
        self.listed = listed
        self.leases: dict[int, Lease] = {}
        self.losses: list[Loss] = []
        self.surprises: list[Surprise] = []
        self.unopened: OrderedDict[int, None] = OrderedDict.fromkeys(range(len(self.files)))
        self.ready: OrderedDict[int, None] = OrderedDict()
        self.todo = self.leased = self.processed = self.failed = self.redone = 0
        self.opened_files = 0
        self.returned: list[int] = []
        self.held: dict[int, None] = {}
        self.next_lease = 0
        self._in_order = 0
        self.opened_entries = 0
        self._known_unopened = sum(entries or 0 for entries in known)
        self._unknown_unopened = sum(entries is None for entries in known)
        self._drop_unneeded()

    def restore(
        self, opened: Mapping[int, OpenedFile], done: Mapping[int, Iterable[tuple[int, int]]], losses: Iterable[Loss]
    ) -> None:
        """Take up where another ledger of the same files has ended; everything else is to do. Nothing may be leased yet.

        Args:
            opened: files that were opened, by their index. One without entries counts only when it is in `done`: else its
                empty result is still to come.
            done: the ranges that are in the result, by index of their file.
            losses: as in `losses` of the other ledger.

        Raises:
            ValueError: these do not fit together, or not the files.
        """
        for file, it in sorted(opened.items()):
            if it.entries == 0 and file not in done:
                continue
            state = self.files[file]
            if state.known is not None and self._within_limit(state.known) != it.entries:
                self.surprises.append(Surprise(file, state.known, it.entries))
            self._settle(file)
            self._open(state, it.entries)
            state.clusters, state.identity = it.clusters, it.identity
            self._return(file, 0, it.entries)
        for loss in losses:
            self._lose_again(loss)
        for file, ranges in done.items():
            for start, stop in ranges:
                self._take_from_todo(file, start, stop)
                self.files[file].done.add(start, stop)
                self.processed += stop - start
        self._drop_unneeded()

    def _settle(self, file: int) -> None:
        """A file of another ledger is not to be opened any more."""
        if file not in self.unopened:
            raise ValueError(f"file {file} was opened twice")
        del self.unopened[file]
        self._forget_estimate(self.files[file])

    def _take_from_todo(self, file: int, start: int, stop: int) -> None:
        state = self.files[file]
        if start == stop:
            return
        state.todo.remove(start, stop)
        self.todo -= stop - start
        if not state.todo:
            self.ready.pop(file, None)  # a file that is held is not in it

    def _lose_again(self, loss: Loss) -> None:
        state = self.files[loss.file]
        self.losses.append(loss)
        if state.entries is None:
            self._settle(loss.file)
            self._give_up(state, loss.stop)
        elif loss.stop is not None:
            self._take_from_todo(loss.file, loss.start, loss.stop)
            state.failed.add(loss.start, loss.stop)
            self.failed += loss.stop - loss.start

    # --- leasing --------------------------------------------------------------------------------------------------

    def count(self, file: int) -> None:
        """A file whose known number of entries is certain, and which nobody has to open: cycles and items."""
        state = self.files[file]
        entries = self._within_limit(state.known or 0)
        del self.unopened[file]
        self._forget_estimate(state)
        self._open(state, entries)
        self._drop_unneeded()
        self._return(file, 0, entries)

    def hold(self, file: int) -> None:
        """Nobody is to get anything of a file for now."""
        self.held[file] = None
        self.unopened.pop(file, None)
        self.ready.pop(file, None)

    def release(self, file: int) -> None:
        """What is to do of a file is for anybody again."""
        self.held.pop(file, None)
        state = self.files[file]
        if state.todo:
            self.ready[file] = None
            self.returned.append(file)
        elif state.entries is None and not state.opening and not state.given_up:
            self._unopen(file)

    def openable(self) -> int | None:
        """A file that nobody has opened yet, or None. With a limit, files are opened one by one, in their order."""
        if self.limit is None:
            return next(iter(self.unopened), None)
        while self._in_order < len(self.files) and self._settled(self._in_order):
            self._in_order += 1
        return self._in_order if self._in_order in self.unopened else None

    def _settled(self, file: int) -> bool:
        state = self.files[file]
        return state.entries is not None or state.given_up

    def lease_opening(self, file: int, stop: int, holder: Any) -> Lease:
        """Lease the first entries of an unopened file, up to about `stop`; nobody else gets any of it meanwhile."""
        del self.unopened[file]
        self.files[file].opening = True
        return self._new_lease(file, 0, stop, holder, Stage.OPENING)

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

    def _new_lease(self, file: int, start: int, stop: int, holder: Any, stage: Stage = Stage.LEASED) -> Lease:
        lease = Lease(self.next_lease, file, start, stop, holder, stage)
        self.next_lease += 1
        self.leases[lease.number] = lease
        self.files[file].leases.add(lease.number)
        return lease

    def duplicate(self, number: int, holder: Any) -> Lease:
        """Lease the same entries to a second holder, because the first one does not answer.

        Raises:
            StaleLease: the lease is not live, has no entries of its own, or has a duplicate already.
        """
        lease = self._live(number)
        if lease.opening or lease.duplicate is not None or lease.start == lease.stop:
            raise StaleLease(f"lease {number} cannot be duplicated")
        duplicate = self._new_lease(lease.file, lease.start, lease.stop, holder)
        duplicate.chunk = lease.chunk
        lease.duplicate, duplicate.duplicate = duplicate.number, lease.number
        return duplicate

    # --- what slots report ----------------------------------------------------------------------------------------

    def opened(self, number: int, entries: int, stop: int, clusters: Sequence[int] = (), identity: str = "") -> None:
        """The holder of an opening lease has opened the file, and keeps `[0, stop)` of its `entries`.

        Raises:
            StaleLease: the lease is not live, not an opening one, or `stop` is not within the file.
        """
        lease = self._may(number, "opened")
        state = self.files[lease.file]
        if not 0 <= stop <= entries:
            raise StaleLease(f"lease {number} cannot open a file of {entries} entries up to {stop}")
        if state.known is not None and state.known != entries:
            self.surprises.append(Surprise(lease.file, state.known, entries))
        usable = self._within_limit(entries)
        self._move(lease, "opened", Stage.LEASED)
        state.opening = False
        lease.stop = min(stop, usable)
        state.clusters, state.identity = clusters, identity
        self._forget_estimate(state)
        self._open(state, usable)
        self._drop_unneeded()
        self.leased += lease.stop
        self._return(lease.file, lease.stop, usable)

    def finished(self, number: int, stop: int) -> None:
        """The holder is through with its lease, up to `stop`; what is behind goes back to be done.

        Raises:
            StaleLease: the lease is not live, or `stop` is not within it.
        """
        lease = self._may(number, "finished")
        if not lease.start <= stop <= lease.stop:
            raise StaleLease(f"lease {number} [{lease.start}, {lease.stop}) cannot finish at {stop}")
        self._shrink(lease, stop)
        if not (lease.start == stop and lease.committed):
            self._move(lease, "finished", Stage.FINISHED)
        elif lease.duplicate is not None:
            self._leave_to_duplicate(lease, "finished")
        else:
            self._close(lease, "finished")

    def truncate(self, number: int, stop: int) -> None:
        """The holder has agreed to end its lease at `stop`; a lease truncated to its start is over, and a file that was to
        be opened under it is for others to open.

        Raises:
            StaleLease: the lease is not live, is finished, or `stop` is not within it.
        """
        lease = self._may(number, "truncate")
        if lease.opening and stop == 0:
            self.give_back(number)
            return
        if not lease.start <= stop <= lease.stop:
            raise StaleLease(f"lease {number} [{lease.start}, {lease.stop}) cannot be truncated to {stop}")
        if lease.opening:
            lease.stop = stop
        elif stop > lease.start:
            self._shrink(lease, stop)
        elif lease.duplicate is not None:
            self._leave_to_duplicate(lease, "truncate")
        else:
            self._shrink(lease, stop)
            self._close(lease, "truncate")

    def commit(
        self, parts: Iterable[tuple[int, int, int]], gaps: Iterable[Gap] = (), counted: int | None = None
    ) -> int:
        """Mark the parts `(lease, start, stop)` done, all or none, but for the gaps in them, which have failed.

        `counted` are the entries that their partial result says are in it. Returns the number of entries that are done now.

        Raises:
            StaleLease: a lease is not live, a part is not the front of what is left of its lease, or a gap is not in a
                part. Nothing changed.
            CountError: the result does not count the entries of the parts. Nothing changed.
        """
        parts, gaps = list(parts), list(gaps)
        self._check_commit(parts, gaps)
        failed = sum(gap.stop - gap.start for gap in gaps)
        if counted is not None and (wrong := miscount(counted, parts, failed)):
            raise CountError(wrong)
        gaps_of: dict[int, list[Gap]] = {}
        for gap in gaps:
            gaps_of.setdefault(gap.lease, []).append(gap)
        for number, start, stop in parts:
            lease = self.leases[number]
            state = self.files[lease.file]
            at = start
            for gap in gaps_of.get(number, ()):
                state.done.add(at, gap.start)
                state.failed.add(gap.start, gap.stop)
                self.losses.append(Loss(lease.file, gap.start, gap.stop, gap.reason))
                at = gap.stop
            state.done.add(at, stop)
            if lease.duplicate is not None:
                self._kill_duplicate(lease)
            lease.start, lease.committed = stop, True
            if stop == lease.stop and lease.finished:
                self._close(lease, "commit")
        entries = sum(stop - start for _, start, stop in parts) - failed
        self.leased -= entries + failed
        self.processed += entries
        self.failed += failed
        return entries

    def _check_commit(self, parts: Sequence[tuple[int, int, int]], gaps: Sequence[Gap]) -> None:
        ends: dict[int, tuple[int, int]] = {}
        for number, start, stop in parts:
            lease = self._may(number, "commit")
            if start != lease.start or not start <= stop <= lease.stop:
                raise StaleLease(f"[{start}, {stop}) is not the front of lease {number} [{lease.start}, {lease.stop})")
            ends[number] = (start, stop)
        if len(ends) != len(parts) or any(self.leases[number].duplicate in ends for number in ends):
            raise StaleLease("a commit names the same entries twice")
        for gap in gaps:
            start, stop = ends.get(gap.lease, (0, 0))
            if not start <= gap.start < gap.stop <= stop:
                raise StaleLease(f"the gap [{gap.start}, {gap.stop}) is not in a part of lease {gap.lease}")
            ends[gap.lease] = (gap.stop, stop)

    def give_back(self, number: int, worked: int = 0) -> None:
        """The holder is gone or refuses: what is left of the lease is to do again, `worked` entries of it once more."""
        lease = self._may(number, "give back")
        if lease.opening:
            self.files[lease.file].opening = False
            self._close(lease, "give back")
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
            self._close(lease, "give back")
            self._unopen(lease.file)
            return
        self.redone += worked
        if lease.duplicate is not None:
            self._leave_to_duplicate(lease, "give back")
            return
        entries = lease.stop - lease.start
        self.leased -= entries
        self._return(lease.file, lease.start, lease.stop)
        self._close(lease, "give back")

    def fail(self, number: int, reason: str, start: int = 0, stop: int = 2**62) -> None:
        """Give up what is left of a lease, or `[start, stop)` of it, for good; the rest is to do again.

        An opening lease gives up the whole file.
        """
        lease = self._may(number, "fail")
        state = self.files[lease.file]
        if lease.opening:
            state.opening = False
            self._forget_estimate(state)
            # What was announced of a file that nobody has seen is no number of entries. What a list names, is.
            listed = state.known is not None and lease.file in self.listed
            lost = self._within_limit(state.known or 0) if listed else None
            if state.known is not None and not listed:
                reason = f"{reason} (announced: {state.known:,} entries)"
            self.losses.append(Loss(lease.file, 0, lost, reason))
            self._give_up(state, lost)
            self._drop_unneeded()
        elif lease.duplicate is not None:
            self._leave_to_duplicate(lease, "fail")
            return
        else:
            first, last = max(start, lease.start), min(stop, lease.stop)
            if first >= last:
                first, last = lease.start, lease.stop
            self.leased -= lease.stop - lease.start
            self._return(lease.file, lease.start, first)
            self._return(lease.file, last, lease.stop)
            state.failed.add(first, last)
            self.failed += last - first
            self.losses.append(Loss(lease.file, first, last, reason))
        self._close(lease, "fail")

    def abandon(self, reason: str) -> None:
        """Give up all that is not done, leased or not, for good. Files that are not open are lost as a whole: what was
        announced of their length may be wrong."""
        for number in list(self.leases):
            self.give_back(number)
        for file, state in enumerate(self.files):
            for start, stop in list(state.todo):
                self._take_from_todo(file, start, stop)
                state.failed.add(start, stop)
                self.failed += stop - start
                self.losses.append(Loss(file, start, stop, reason))
            if state.entries is None and not state.given_up:
                self._forget_estimate(state)
                self._give_up(state, None)
                self.losses.append(Loss(file, 0, None, reason))
        self.unopened.clear()
        self.held.clear()

    # --- what there is --------------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Nothing is to be opened, to do, or leased: every entry is done or failed."""
        return not (self.leases or self.ready or self.unopened or self.held)

    @property
    def reached(self) -> int:
        """Entries that somebody is through with: done, failed, or processed and not committed yet."""
        return self.processed + self.failed + sum(it.stop - it.start for it in self.leases.values() if it.finished)

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
            if lease.duplicate is not None:
                duplicate = self.leases[lease.duplicate]
                assert (duplicate.duplicate, duplicate.file, duplicate.start) == (number, lease.file, lease.start)
                if (lease.stop, number) < (duplicate.stop, duplicate.number):
                    continue  # the longer one stands for both
            if not lease.opening:
                leased.setdefault(lease.file, []).append((lease.start, lease.stop))
        sums = [0, 0, 0, 0]
        for index, state in enumerate(self.files):
            assert (index in self.ready) == (bool(state.todo) and index not in self.held)
            assert all(number in self.leases for number in state.leases)
            if state.entries is None:
                assert not (state.todo or state.done or state.failed or index in leased)
                unopened = index in self.unopened or (index in self.held and not (state.opening or state.given_up))
                assert unopened + state.opening + state.given_up == 1
                continue
            places: tuple[Iterable[tuple[int, int]], ...] = state.todo, leased.get(index, []), state.done, state.failed
            pieces: list[tuple[int, int]] = []
            for place, ranges in enumerate(places):
                for start, stop in ranges:
                    sums[place] += stop - start
                    if start != stop:  # a packet may be cut to nothing
                        pieces.append((start, stop))
            pieces.sort()
            end = 0
            for start, stop in pieces:
                assert start == end < stop, (index, pieces)
                end = stop
            assert end == state.entries, (index, pieces, state.entries)
        assert sums == [self.todo, self.leased, self.processed, self.failed], (sums, self)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _live(self, number: int) -> Lease:
        try:
            return self.leases[number]
        except KeyError:
            raise StaleLease(f"lease {number} is not live") from None

    def _may(self, number: int, event: str) -> Lease:
        """The lease to which something happens that may happen in its stage."""
        lease = self._live(number)
        if (lease.stage, event) not in TRANSITIONS:
            raise StaleLease(f"lease {number} is {lease.stage.value}: no '{event}' for it")
        return lease

    @staticmethod
    def _move(lease: Lease, event: str, stage: Stage) -> None:
        assert stage in TRANSITIONS[lease.stage, event], (lease, event, stage)
        lease.stage = stage

    def _open(self, state: FileState, usable: int) -> None:
        """The number of a file's entries is known: from now on each of them is somewhere."""
        state.open(usable)
        self.opened_entries += usable
        self.opened_files += 1

    def _give_up(self, state: FileState, entries: int | None) -> None:
        """A file cannot be opened: its entries are lost, where their number is known."""
        state.given_up = True
        if entries is not None:
            state.open(entries)
            state.failed.add(0, entries)
            self.failed += entries
            self.opened_entries += entries

    def _within_limit(self, entries: int) -> int:
        """How many of a file's entries are used, the limit on the whole dataset being what it is."""
        return entries if self.limit is None else min(entries, max(0, self.limit - self.opened_entries))

    def _return(self, file: int, start: int, stop: int) -> None:
        if stop > start:
            self.files[file].todo.add(start, stop)
            self.todo += stop - start
            if file not in self.held:
                self.ready[file] = None
                self.returned.append(file)

    def _unopen(self, file: int) -> None:
        if file in self.held:
            return
        self._in_order = min(self._in_order, file)
        self.unopened[file] = None
        self.unopened.move_to_end(file, last=False)
        self.returned.append(file)

    def _shrink(self, lease: Lease, stop: int) -> None:
        """End a lease at `stop`; what neither it nor a duplicate covers any more is to do."""
        beyond = stop if lease.duplicate is None else max(stop, self.leases[lease.duplicate].stop)
        if beyond < lease.stop:
            self.leased -= lease.stop - beyond
            self._return(lease.file, beyond, lease.stop)
        lease.stop = stop

    def _leave_to_duplicate(self, lease: Lease, event: str) -> None:
        """A lease ends without result, its duplicate goes on."""
        assert lease.duplicate is not None
        duplicate = self.leases[lease.duplicate]
        self._shrink(lease, lease.start)
        lease.duplicate = duplicate.duplicate = None
        self._close(lease, event)

    def _kill_duplicate(self, lease: Lease) -> None:
        """A lease is committed first: its duplicate is dead, with what it alone covered to do again."""
        assert lease.duplicate is not None
        duplicate = self.leases[lease.duplicate]
        self._shrink(duplicate, duplicate.start)
        lease.duplicate = duplicate.duplicate = None
        self._close(duplicate, "duplicate committed")

    def _close(self, lease: Lease, event: str) -> None:
        self._move(lease, event, Stage.OVER)
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
        for file in (*self.unopened, *self.held):
            state = self.files[file]
            if state.entries is None and not (state.opening or state.given_up):
                state.given_up = True
                self._forget_estimate(state)
                self.held.pop(file, None)
        self.unopened.clear()
