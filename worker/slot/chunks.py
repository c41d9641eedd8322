"""How much of a packet a slot takes at a time: the entries of one call of the analysis, a *chunk*.

Calls should be short, so that a slot soon looks at its messages, and long, so that what each of them costs whatever its
size does not count. What a call takes is learnt from all calls of the query, here and (`hear`) in other slots, and in
earlier queries of the same analysis: `packetizer.call_costs` has the law, and what follows from it. Here is what only the
slot knows: how much memory the columns take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...packetizer.call_costs import CHUNK_SECONDS, LARGEST_CHUNK, MOST_ENTRIES, UNMEASURED, Call, Calls, Tried, bounded

FIRST_CHUNK = 100
"""Small, since an event may take 50 ms: until a call is over, nothing stops the slot but its end."""
LARGEST_SIZE = 64 << 20
"""Bytes of the columns of one chunk: three of them may be in memory, one at work, one read ahead, one on its way."""
MANY = 10
"""Chunks that are left of a packet at most when they are made alike, for no small one to be the last."""
SEARCHING = 4
"""Calls of one size after which others are not to be expected."""
MOST_UNTOLD = 16
"""Calls that are told of in one message: of more, the last ones."""

__all__ = ["CHUNK_SECONDS", "FIRST_CHUNK", "LARGEST_CHUNK", "LARGEST_SIZE", "UNMEASURED", "ChunkSizes"]


class ChunkSizes:
    """Sizes of the chunks of one query in one slot.

    Args:
        first: entries of the first one, while nothing is known of the analysis.
        bounds: the least and the most entries that the user wants in a call; memory has its say all the same.
        most: entries of a chunk at most until it is known how much memory they take, unless there were larger ones.

    Example:
        >>> chunks = ChunkSizes()
        >>> chunks.next(left=10**6)
        100
        >>> chunks.learn(100, seconds=0.01)
        >>> chunks.next(left=10**6)
        1600
    """

    def __init__(
        self, first: int = FIRST_CHUNK, bounds: tuple[int, int] | None = None, most: int = LARGEST_CHUNK
    ) -> None:
        self.first = first
        self._bounds = bounds
        self._calls = Calls(one_by_one=first == 1)
        self._untold: list[Call] = []
        self._unmeasured = most
        self._entry_bytes = 0.0

    @property
    def size(self) -> int:
        """Entries of a whole chunk."""
        wish = self._calls.size if self._calls.known else self.first
        return max(1, min(bounded(wish, self._bounds), self._most))

    @property
    def _most(self) -> int:
        """Entries of a chunk whose columns take no more memory than they should; at least 1."""
        if self._entry_bytes:
            return max(1, int(min(LARGEST_SIZE / self._entry_bytes, MOST_ENTRIES)))
        least, _ = self._bounds or (1, LARGEST_CHUNK)
        return max(self._unmeasured, self._calls.largest, min(least, LARGEST_CHUNK))

    @property
    def settled(self) -> bool:
        """Whether chunks are as large as they should be, as far as is known; until they are, a packet goes on."""
        if self._bounds is not None and self._bounds[0] == self._bounds[1]:
            return True
        if not self._calls.known or (self._calls.law is None and self._calls.count < SEARCHING):
            return False
        return min(bounded(self._calls.wish, self._bounds), self._most) <= 2 * self.size

    def next(self, left: int) -> int:
        """Entries of the next chunk when `left` are left of the packet: shared out evenly, so that no crumbs are left."""
        size = self.size
        least, most = self._bounds or (1, left)
        if least == most or left <= size or left > MANY * size:
            return min(left, size)
        limit = max(size, min(most, self._calls.most))
        number = max(1, round(left / size), math.ceil(left / limit))
        return math.ceil(left / number)

    def learn(self, entries: int, seconds: float, size: int = 0, most: int | None = None) -> None:
        """The last chunk of `entries` took `seconds`, and its columns `size` bytes of memory.

        One that was smaller than it would have been, because it was to have `most` entries, is not what chunks are like.
        """
        if not entries or (most is not None and most < self.size):
            return
        self._calls.add(entries, seconds)
        self._untold.append((entries, seconds))
        self._entry_bytes = size / entries if size else self._entry_bytes

    def hear(self, calls: Sequence[Tried]) -> None:
        """What other slots, or earlier queries, have learnt."""
        self._calls.hear(calls)

    def untold(self) -> list[Call]:
        """The calls since this was last asked, to be told to others."""
        calls, self._untold = self._untold[-MOST_UNTOLD:], []
        return calls
