"""What a slot has to do, and the packet that it is at."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TypeGuard

from ...merge import Total
from ...protocol import messages
from ...protocol.codec import Buffer
from ...protocol.messages import Gap
from ...reading.clustering import FileLayout
from ...reading.prefetched_range import PrefetchedRange
from ...reading.selection import Selection
from ...reading.source import Source
from .query_state import Running
from .readahead_window import Key


@dataclass(frozen=True, slots=True)
class Compaction:
    """A query's total whose pickled objects are to be merged, behind the analysis, whose classes they may be of."""

    query: str
    frames: list[Buffer]


Todo = messages.Lease | Compaction
"""What a slot has to do."""


class Packet:
    """A lease at work: how far it has come, and the chunk in hand.

    Args:
        running: the query.
        lease: of this query.

    Attributes:
        source: what its entries come from, once it is open.
        position: entries before it are done.
        stop: where it ends.
        chunk_stop: where the chunk in hand ends, which begins at `position`.
        aside: the result of the chunks that are done, where each is put aside; None where all are in the task.
        gaps: entries that were skipped.
        fetched: the columns of the chunk in hand, where it has any.
    """

    source: Source

    def __init__(self, running: Running, lease: messages.Lease) -> None:
        self.running = running
        self.lease = lease
        self.position = self.chunk_stop = lease.start
        self.stop = lease.stop
        self.revoked = False
        self.chunks = 0
        self.selection: Selection | None = None
        self.aside = Total() if running.passes_over else None
        self.gaps: list[Gap] = []
        self.fetched: PrefetchedRange | None = None
        self._biting = False

    @property
    def key(self) -> Key:
        """The query and the lease."""
        return self.lease.query, self.lease.lease

    def is_of(self, message: messages.Truncate | messages.Revoke) -> bool:
        """Whether a message is about this lease."""
        return is_of(self.lease, message)

    def truncate(self, stop: int) -> int:
        """Give up the end, behind the chunk in hand; where it ends now."""
        self.stop = min(self.stop, max(self.position, stop))
        self.revoked = self.revoked or self.stop == self.lease.start  # it was still to open its file
        return self.stop

    def begin(self, stop: int) -> None:
        """A chunk of the entries from `position` to `stop` begins."""
        self._biting, self.chunk_stop = True, stop

    def end(self) -> int:
        """The chunk is done; how many entries it had."""
        entries = self.chunk_stop - self.position
        self.position = self.chunk_stop
        self.chunks += 1
        self._biting = False
        return entries

    def begin_again(self) -> None:
        """What has been done is forgotten; from now on the results of chunks are put aside."""
        self.position = self.chunk_stop = self.lease.start
        self.chunks, self._biting = 0, False
        self.aside = Total()

    def covering(self, start: int, stop: int) -> tuple[int, int]:
        """The entries of the file from the first to the last of a range, which may be of listed ones."""
        return (start, stop) if self.selection is None else self.selection.covering(start, stop)

    def at_fault(self, entry: int | None) -> tuple[int | None, int | None]:
        """The entries that an error came from: one entry where the task knows it, the chunk, or nothing before the first."""
        if not self._biting:
            return None, None
        start, stop = self.covering(self.position, self.chunk_stop)
        if entry is not None and start <= entry < stop:
            return entry, entry + 1
        return start, stop


def is_of(thing: Todo, message: messages.Truncate | messages.Revoke) -> TypeGuard[messages.Lease]:
    """Whether `thing` is the lease that a message is about."""
    return isinstance(thing, messages.Lease) and (message.query, message.lease) == (thing.query, thing.lease)


def packet_end(layout: FileLayout, wish: int) -> int:
    """Where the first packet of a file ends: with the file, or on the last cluster boundary within the wish."""
    if layout.entries <= wish:
        return layout.entries
    index = bisect_right(layout.clusters, wish) - 1
    edge = layout.clusters[index] if index >= 0 else 0
    return edge if edge > 0 else wish
