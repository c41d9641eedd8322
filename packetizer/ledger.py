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

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Generic

from ..protocol.counts import miscount
from ..protocol.errors import CountError
from .files import Files, Loss, OpenedFile
from .leases import Gap, Holder, Lease, Leases, Part, Stage, StaleLease
from .limits import Limit


class Ledger(Generic[Holder]):
    """Where every entry of a query is.

    Args:
        known: for each file its number of entries where it is known beforehand, else None.
        limit: use only the first `limit` entries of the dataset, or of each of some datasets in it, in the order of files.
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
        >>> ledger.files.todo, ledger.processed
        (50, 100)
    """

    def __init__(self, known: Sequence[int | None], limit: Limit = None, listed: Container[int] = ()) -> None:
        self.files = Files(known, limit, listed)
        self.limits = self.files.limits
        self.leases: Leases[Holder] = Leases()
        self.losses, self.surprises = self.files.losses, self.files.surprises
        self.unopened, self.ready, self.held = self.files.unopened, self.files.ready, self.files.held
        self.leased = self.redone = 0
        self.next_lease = 0

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
        self.files.restore(opened, done, losses)

    def count(self, file: int) -> None:
        """A file whose known number of entries is certain, and which nobody has to open: cycles and items."""
        self.files.count(file)

    def hold(self, file: int) -> None:
        """Nobody is to get anything of a file for now."""
        self.files.hold(file)

    def release(self, file: int) -> None:
        """What is to do of a file is for anybody again."""
        self.files.release(file)

    # --- leasing --------------------------------------------------------------------------------------------------

    def lease_opening(self, file: int, stop: int, holder: Holder) -> Lease[Holder]:
        """Lease the first entries of an unopened file, up to about `stop`; nobody else gets any of it meanwhile."""
        self.files.begin(file)
        return self._new(file, 0, stop, holder, Stage.OPENING)

    def lease(self, file: int, start: int, stop: int, holder: Holder) -> Lease[Holder]:
        """Lease `[start, stop)` of an opened file, all of which must be to do."""
        if stop <= start:
            raise ValueError(f"a lease of no entries: [{start}, {stop})")
        self.files.take(file, start, stop)
        self.leased += stop - start
        return self._new(file, start, stop, holder)

    def _new(self, file: int, start: int, stop: int, holder: Holder, stage: Stage = Stage.LEASED) -> Lease[Holder]:
        lease = Lease(self.next_lease, file, start, stop, holder, stage)
        self.next_lease += 1
        self.leases[lease.number] = lease
        self.files.lease(file, lease.number)
        return lease

    def duplicate(self, number: int, holder: Holder) -> Lease[Holder]:
        """Lease the same entries to a second holder, because the first one does not answer.

        Raises:
            StaleLease: the lease is not live, has no entries of its own, or has a duplicate already.
        """
        lease = self.leases.may_duplicate(number)
        duplicate = self._new(lease.file, lease.start, lease.stop, holder)
        duplicate.chunk = lease.chunk
        lease.duplicate, duplicate.duplicate = duplicate.number, lease.number
        return duplicate

    # --- what slots report ----------------------------------------------------------------------------------------

    def opened(self, number: int, entries: int, stop: int, clusters: Sequence[int] = (), identity: str = "") -> None:
        """The holder of an opening lease has opened the file, and keeps `[0, stop)` of its `entries`.

        Raises:
            StaleLease: the lease is not live, not an opening one, or `stop` is not within the file.
        """
        lease = self.leases.may(number, "opened")
        if not 0 <= stop <= entries:
            raise StaleLease(f"lease {number} cannot open a file of {entries} entries up to {stop}")
        lease.move("opened", Stage.LEASED)
        usable = self.files.open(lease.file, entries, clusters, identity)
        lease.stop = min(stop, usable)
        self.leased += lease.stop
        self.files.put_back(lease.file, lease.stop, usable)

    def finished(self, number: int, stop: int) -> None:
        """The holder is through with its lease, up to `stop`; what is behind goes back to be done.

        Raises:
            StaleLease: the lease is not live, or `stop` is not within it.
        """
        lease = self.leases.may(number, "finished")
        if not lease.start <= stop <= lease.stop:
            raise StaleLease(f"lease {number} [{lease.start}, {lease.stop}) cannot finish at {stop}")
        self._shrink(lease, stop)
        if not (lease.start == stop and lease.committed):
            self.leases.finish(lease)
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
        lease = self.leases.may(number, "truncate")
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

    def commit(self, parts: Iterable[Part], gaps: Iterable[Gap] = (), counted: int | None = None) -> int:
        """Mark the parts `(lease, start, stop)` done, all or none, but for the gaps in them, which have failed.

        `counted` are the entries that their partial result says are in it. Returns the number of entries that are done now.

        Raises:
            StaleLease: a lease is not live, a part is not the front of what is left of its lease, or a gap is not in a
                part. Nothing changed.
            CountError: the result does not count the entries of the parts. Nothing changed.
        """
        parts, gaps = list(parts), list(gaps)
        gaps_of = self.leases.may_commit(parts, gaps)
        failed = sum(gap.stop - gap.start for gap in gaps)
        if counted is not None and (wrong := miscount(counted, parts, failed)):
            raise CountError(wrong)
        for number, start, stop in parts:
            lease, at = self.leases[number], start
            for gap in gaps_of.get(number, ()):
                self.files.done(lease.file, at, gap.start)
                self.files.lose(lease.file, gap.start, gap.stop, gap.reason)
                at = gap.stop
            self.files.done(lease.file, at, stop)
            if lease.duplicate is not None:
                self._kill_duplicate(lease)
            self.leases.commit(lease, stop)
            if stop == lease.stop and lease.finished:
                self._close(lease, "commit")
        entries = sum(stop - start for _, start, stop in parts)
        self.leased -= entries
        return entries - failed

    def give_back(self, number: int, worked: int = 0) -> None:
        """The holder is gone or refuses: what is left of the lease is to do again, `worked` entries of it once more."""
        lease = self.leases.may(number, "give back")
        if lease.opening or self.files[lease.file].entries == 0:
            # An empty file's result was never committed, and tells what an empty result looks like: it is opened again.
            self._close(lease, "give back")
            self.files.unopen(lease.file)
            return
        self.redone += worked
        if lease.duplicate is not None:
            self._leave_to_duplicate(lease, "give back")
            return
        self.leased -= lease.stop - lease.start
        self.files.put_back(lease.file, lease.start, lease.stop)
        self._close(lease, "give back")

    def fail(self, number: int, reason: str, start: int = 0, stop: int = 2**62) -> None:
        """Give up what is left of a lease, or `[start, stop)` of it, for good; the rest is to do again.

        An opening lease gives up the whole file.
        """
        lease = self.leases.may(number, "fail")
        if lease.opening:
            self.files.fail_to_open(lease.file, reason)
        elif lease.duplicate is not None:
            self._leave_to_duplicate(lease, "fail")
            return
        else:
            first, last = max(start, lease.start), min(stop, lease.stop)
            if first >= last:
                first, last = lease.start, lease.stop
            self.leased -= lease.stop - lease.start
            self.files.put_back(lease.file, lease.start, first)
            self.files.put_back(lease.file, last, lease.stop)
            self.files.lose(lease.file, first, last, reason)
        self._close(lease, "fail")

    def abandon(self, reason: str) -> None:
        """Give up all that is not done, leased or not, for good; see `Files.abandon`."""
        for number in list(self.leases):
            self.give_back(number)
        self.files.abandon(reason)

    # --- what there is --------------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Nothing is to be opened, to do, or leased: every entry is done or failed."""
        return not (self.leases or self.ready or self.unopened or self.held)

    @property
    def reached(self) -> int:
        """Entries that somebody is through with: done, failed, or processed and not committed yet."""
        return self.processed + self.failed + self.leases.uncommitted

    @property
    def total(self) -> int:
        """Entries in the dataset: exact when `estimated` is false, else with unopened files put in at the mean."""
        return self.files.total(self.leased)

    @property
    def estimated(self) -> bool:
        """Whether files of unknown length are still to be opened."""
        return self.files.estimated

    @property
    def processed(self) -> int:
        """Entries that are in the result."""
        return self.files.processed

    @property
    def failed(self) -> int:
        """Entries of known number that will not be in the result."""
        return self.files.failed

    @property
    def opened_files(self) -> int:
        """Files whose number of entries is known from themselves, or is certain."""
        return self.files.opened

    @property
    def opened_entries(self) -> int:
        """Entries of these, and of listed files that cannot be opened."""
        return self.files.opened_entries

    def check(self) -> None:
        """Assert that every entry is in exactly one place, and that the counters say the same."""
        leased = self.leases.ranges()
        assert all(number in self.files[lease.file].leases for number, lease in self.leases.items())
        assert self.files.check(leased, self.leases) == self.leased, self

    # --- inside ---------------------------------------------------------------------------------------------------

    def _shrink(self, lease: Lease[Holder], stop: int) -> None:
        """End a lease at `stop`; what neither it nor a duplicate covers any more is to do."""
        beyond = stop if lease.duplicate is None else max(stop, self.leases[lease.duplicate].stop)
        if beyond < lease.stop:
            self.leased -= lease.stop - beyond
            self.files.put_back(lease.file, beyond, lease.stop)
        self.leases.shorten(lease, stop)

    def _leave_to_duplicate(self, lease: Lease[Holder], event: str) -> None:
        """A lease ends without result, its duplicate goes on."""
        assert lease.duplicate is not None
        duplicate = self.leases[lease.duplicate]
        self._shrink(lease, lease.start)
        lease.duplicate = duplicate.duplicate = None
        self._close(lease, event)

    def _kill_duplicate(self, lease: Lease[Holder]) -> None:
        """A lease is committed first: its duplicate is dead, with what it alone covered to do again."""
        assert lease.duplicate is not None
        self._leave_to_duplicate(self.leases[lease.duplicate], "duplicate committed")

    def _close(self, lease: Lease[Holder], event: str) -> None:
        self.leases.close(lease, event)
        self.files.unlease(lease.file, lease.number)
