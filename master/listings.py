"""Which entries of a query's files are used, where not all are."""

from __future__ import annotations

from ..packetizer.listed_entries import EntryList


class Listings(dict[int, EntryList]):
    """The entry lists of a query's files, by the number of the file. Of a file without one all entries are used.

    Example:
        >>> listings = Listings({0: EntryList([100, 110, 200, 210])})
        >>> listings.entries(0, 5, 15), listings.positions(0, 105, 205), listings.entries(1, 5, 15)
        ((105, 205), (5, 15), (5, 15))
    """

    def runs(self, file: int, start: int, stop: int | None) -> list[int] | None:
        """The entries that a range as the ledger numbers them stands for; all of the file's when it has no `stop`."""
        entry_list = self.get(file)
        if entry_list is None:
            return None
        return entry_list.runs() if stop is None else entry_list.runs(start, stop)

    def entries(self, file: int, start: int, stop: int) -> tuple[int, int]:
        """The entries from the first to the last of a range, which of a file with listed entries counts these only."""
        entry_list = self.get(file)
        if entry_list is None:
            return start, stop
        stop = min(stop, len(entry_list))  # of a file that is not open yet, a lease may wish for more
        if stop <= start:
            return start, start
        return entry_list.entry(start), entry_list.entry(stop - 1) + 1

    def positions(self, file: int, start: int, stop: int) -> tuple[int, int]:
        """A range of entries as the ledger numbers them; the opposite of `entries`."""
        entry_list = self.get(file)
        return (start, stop) if entry_list is None else (entry_list.position(start), entry_list.position(stop))
