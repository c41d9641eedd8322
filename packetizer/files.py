"""The files of a query: which are to be opened, which have something to do, what has become of their entries.

A file is *unopened*, *opening*, opened or given up. Of an opened file every entry is to do, leased, done or failed; what is
leased is known to the leases of the ledger, the other three are kept here. With a limit on the entries of the dataset, files
are opened one by one, in their order, until there are enough.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .file_queue import FileQueue
from .file_states import FileState, FileStates
from .lengths import Lengths
from .limits import Limit, Limits


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
        place: the same for the file under all of its names.
    """

    entries: int
    clusters: Sequence[int] = ()
    identity: str = ""
    listed: Sequence[int] | None = None
    place: bytes = b""


@dataclass(frozen=True, slots=True)
class Surprise:
    """A file that does not have the entries that it was said to have; the file is believed."""

    file: int
    known: int
    entries: int


class Files:
    """The files of a query, by their index.

    Args:
        known: for each file its number of entries where it is known beforehand, else None.
        limit: use only the first `limit` entries of the dataset, or of each of some datasets in it, in the order of files.
        listed: the files of which a list names the entries: so many are wanted of them, whatever they have.

    Attributes:
        unopened: files that anybody may open, in the order in which they had best be opened.
        ready: opened files that have something to do.
        held: files of which nobody is to get anything for now.
        returned: files that something was returned to, since somebody has emptied this list.
        losses: what is lost, but for what was `abandoned`.
        abandoned: why all that was to do is lost; empty if it is not.
        todo, processed, failed: so many entries are in these places.
        opened, opened_entries: how many files were opened, and how many entries these have (or are known to have lost).

    Example:
        >>> files = Files([None, 7])
        >>> files.begin(0)
        >>> files.open(0, 100)
        100
        >>> files.put_back(0, 50, 100)
        >>> files.todo, list(files.ready), list(files.unopened)
        (50, [0], [1])
    """

    def __init__(self, known: Sequence[int | None], limit: Limit = None, listed: Container[int] = ()) -> None:
        self._states = FileStates(Lengths.of(known))
        self.lease, self.unlease, self.undone = self._states.lease, self._states.unlease, self._states.undone
        self.limits = Limits.of(limit, len(known))
        self.listed = listed
        self.losses: list[Loss] = []
        self.surprises: list[Surprise] = []
        self.unopened = FileQueue(range(len(known)))
        self.ready: OrderedDict[int, None] = OrderedDict()
        self.held: dict[int, None] = {}
        self.returned: list[int] = []
        self.todo = self.processed = self.failed = self.opened = self.opened_entries = 0
        self.abandoned = ""
        self._settled: set[int] = set()
        self._known_unopened, self._unknown_unopened = self._states.known.total, self._states.known.unknown
        self._drop_unneeded()

    def __len__(self) -> int:
        return len(self._states)

    def __getitem__(self, file: int) -> FileState:
        """What is known of a file, to look at and to change."""
        return self._states[file]

    # --- opening --------------------------------------------------------------------------------------------------

    def openable(self) -> int | None:
        """A file that nobody has opened yet, or None. With a limit, files are opened one by one, in their order."""
        return self.limits.openable(self.unopened, self._settled)

    def begin(self, file: int) -> None:
        """Somebody opens a file: nobody else gets any of it meanwhile."""
        self.unopened.remove(file)
        self._states[file].opening = True

    def open(self, file: int, entries: int, clusters: Sequence[int] = (), identity: str = "") -> int:
        """A file has been opened and has so many entries. Returns how many of them are used; none of these is to do yet."""
        state = self._states[file]
        state.opening, state.clusters, state.identity = False, clusters, identity
        usable = self.limits.within(file, entries)
        if state.known is not None and state.known != entries:
            self.surprises.append(Surprise(file, state.known, entries))
        self._forget_estimate(state.known)
        self._open(file, usable)
        self._drop_unneeded(file)
        return usable

    def count(self, file: int) -> None:
        """A file whose known number of entries is certain, and which nobody has to open: cycles and items."""
        self.unopened.remove(file)
        self.put_back(file, 0, self.open(file, self._states.known[file] or 0))

    def _open(self, file: int, usable: int) -> None:
        """The number of a file's entries is known: from now on each of them is somewhere."""
        self._states[file].open(usable)
        self._count(file, usable)
        self.opened += 1

    def _count(self, file: int, entries: int) -> None:
        if self.limits:
            self._settled.add(file)
        self.opened_entries += entries
        self.limits.use(file, entries)

    def unopen(self, file: int) -> None:
        """Nobody opens a file any more: the next one who comes does."""
        state = self._states[file]
        state.opening = False
        if state.entries is not None:  # an empty one
            state.entries = None
            self._settled.discard(file)
            self.opened -= 1
            if state.known is None:
                self._unknown_unopened += 1
            else:
                self._known_unopened += state.known
        if file in self.held:
            return
        self.limits.go_back(file)
        self.unopened.put_first(file)
        self.returned.append(file)

    def fail_to_open(self, file: int, reason: str) -> None:
        """A file cannot be opened: all of it is lost."""
        state = self._states[file]
        state.opening = False
        self._forget_estimate(state.known)
        # What was announced of a file that nobody has seen is no number of entries. What a list names, is.
        listed = state.known is not None and file in self.listed
        lost = self.limits.within(file, state.known or 0) if listed else None
        if state.known is not None and not listed:
            reason = f"{reason} (announced: {state.known:,} entries)"
        self.losses.append(Loss(file, 0, lost, reason))
        self._give_up(file, lost)
        self._drop_unneeded(file)

    def _give_up(self, file: int, entries: int | None) -> None:
        """A file cannot be opened: its entries are lost, where their number is known."""
        state = self._states[file]
        state.given_up = True
        if self.limits:
            self._settled.add(file)
        if entries is not None:
            state.open(entries)
            state.failed.add(0, entries)
            self.failed += entries
            self._count(file, entries)

    # --- entries --------------------------------------------------------------------------------------------------

    def take(self, file: int, start: int, stop: int) -> None:
        """Entries that are to do are not any more: somebody has them."""
        if start == stop:
            return
        state = self._states[file]
        state.todo.remove(start, stop)
        self.todo -= stop - start
        if not state.todo:
            self.ready.pop(file, None)  # a file that is held is not in it

    def put_back(self, file: int, start: int, stop: int) -> None:
        """Entries are to do, and anybody may have them unless the file is held."""
        if stop > start:
            self._states[file].todo.add(start, stop)
            self.todo += stop - start
            if file not in self.held:
                self.ready[file] = None
                self.returned.append(file)

    def done(self, file: int, start: int, stop: int) -> None:
        """Entries that somebody had are in the result."""
        self._states[file].done.add(start, stop)
        self.processed += stop - start

    def lose(self, file: int, start: int, stop: int, reason: str) -> None:
        """Entries that somebody had will not be in the result."""
        self._states[file].failed.add(start, stop)
        self.failed += stop - start
        self.losses.append(Loss(file, start, stop, reason))

    def hold(self, file: int) -> None:
        """Nobody is to get anything of a file for now."""
        self.held[file] = None
        self.unopened.discard(file)
        self.ready.pop(file, None)

    def release(self, file: int) -> None:
        """What is to do of a file is for anybody again."""
        self.held.pop(file, None)
        state = self._states[file]
        if state.todo:
            self.ready[file] = None
            self.returned.append(file)
        elif state.unopened:
            self.unopen(file)

    def abandon(self, reason: str) -> None:
        """All that is to do is lost, and stands in no list: there may be a million files of it, which `undone` names.

        Files that are not open are lost as a whole: what was announced of their length may be wrong.
        """
        self.abandoned = reason
        self.failed += self.todo
        self.todo = self._known_unopened = self._unknown_unopened = 0
        for files in (self.unopened, self.ready, self.held):
            files.clear()

    # --- restoring ------------------------------------------------------------------------------------------------

    def restore(
        self, opened: Mapping[int, OpenedFile], done: Mapping[int, Iterable[tuple[int, int]]], losses: Iterable[Loss]
    ) -> None:
        """Take up where the ledger of the same files has ended; see `Ledger.restore`."""
        for file, it in sorted(opened.items()):
            if it.entries == 0 and file not in done:
                continue
            state = self._states[file]
            if state.known is not None and self.limits.within(file, state.known) != it.entries:
                self.surprises.append(Surprise(file, state.known, it.entries))
            self._settle(file)
            self._open(file, it.entries)
            state.clusters, state.identity = it.clusters, it.identity
            self.put_back(file, 0, it.entries)
        for loss in losses:
            state = self._states[loss.file]
            if state.entries is None:
                self._settle(loss.file)
                self._give_up(loss.file, loss.stop)
                self.losses.append(loss)
            elif loss.stop is None:
                self.losses.append(loss)
            else:
                self.take(loss.file, loss.start, loss.stop)
                self.lose(loss.file, loss.start, loss.stop, loss.reason)
        for file, ranges in done.items():
            for start, stop in ranges:
                self.take(file, start, stop)
                self.done(file, start, stop)
        self._drop_unneeded()

    def _settle(self, file: int) -> None:
        """A file of another ledger is not to be opened any more."""
        if file not in self.unopened:
            raise ValueError(f"file {file} was opened twice")
        self.unopened.remove(file)
        self._forget_estimate(self._states.known[file])

    # --- estimates and limits -------------------------------------------------------------------------------------

    def total(self, leased: int) -> int:
        """Entries of all files, of which so many are leased; files of unknown length are put in at the mean."""
        counted = self.todo + leased + self.processed + self.failed
        mean = counted / self.opened if self.opened else 0.0
        total = counted + self._known_unopened + round(mean * self._unknown_unopened)
        return total if self.limits.total is None else min(total, self.limits.total)

    @property
    def estimated(self) -> bool:
        """Whether files of unknown length are still to be opened."""
        return self._unknown_unopened > 0 or (bool(self.limits) and self._known_unopened > 0)

    def _forget_estimate(self, known: int | None) -> None:
        if known is None:
            self._unknown_unopened -= 1
        else:
            self._known_unopened -= known

    def _drop_unneeded(self, after: int | None = None) -> None:
        """Once the limit of a file, or of any, is reached, files of its that nobody has opened are not needed."""
        if not self.limits.reached or (after is not None and self.limits.left(after) != 0):
            return
        unneeded = [file for file in self.unopened if self.limits.left(file) == 0]
        self.unopened.discard_all(unneeded)
        for file in [file for file in self.held if self.limits.left(file) == 0 and self._states[file].unopened]:
            del self.held[file]
            unneeded.append(file)
        for file in unneeded:
            self._states.drop(file)
            self._forget_estimate(self._states.known[file])

    # --- checking -------------------------------------------------------------------------------------------------

    def check(self, leased: Mapping[int, Sequence[tuple[int, int]]], leases: Container[int] = ()) -> int:
        """Assert that every entry is in one place, those `leased` of each file given, and that only these `leases` are
        live. Returns how many are leased."""
        sums = [0, 0, 0, 0]
        for index, state in enumerate(self._states):
            assert all(number in leases for number in state.leases)
            assert (index in self.ready) == (bool(state.todo) and not (index in self.held or self.abandoned))
            if state.entries is None:
                assert not (state.todo or state.done or state.failed or index in leased)
                nobodys = index in self.unopened or index in self.held or bool(self.abandoned)
                unopened = index in self.unopened or (nobodys and state.unopened)
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
        todo, at_work, done, failed = sums
        counted = (0, done, failed + todo) if self.abandoned else (todo, done, failed)
        assert counted == (self.todo, self.processed, self.failed), (sums, self)
        return at_work
