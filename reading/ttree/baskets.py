"""The baskets of a TTree: which bytes of the file hold which entries of a branch, and how they become columns.

A branch is stored in *baskets*: runs of entries, compressed apart. NanoAOD-like files have thousands of them, of 32 kB,
so the time to read is decided by what Python does for each. For branches of plain numbers, nearly all, this module goes
the short way: one request for the baskets of all branches, then for each basket one decompression and one copy that
turns big-endian values into native ones at their final place. Anything else is left to uproot.
"""

from __future__ import annotations

import queue
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..columns import Column, Flat, Jagged, joined, offsets_of
from ..storage.local import LocalSource, Range
from ..storage.sources import ReadAhead
from .basket_decoding import Basket, IrregularError, Lists, Values, embedded, no_values, numbers, opened, tabled
from .basket_layout import Branch, plain_branch
from .branch_kinds import Described
from .branches import Written

__all__ = ["Baskets", "IrregularError"]

MOST_BASKET = 1 << 30
"""Bytes of a basket: ROOT has no larger ones."""

CachedRange = tuple[int, Values]
"""The basket of a branch that was read last, by its number: a next read often starts within it."""

Wanted: TypeAlias = list[tuple[Branch, range]]
"""Baskets of some branches."""

Counted: TypeAlias = tuple[str, int, int]
"""A counter branch and a range of entries, whose lists it has the lengths of."""

Raw: TypeAlias = dict[tuple[str, int], Any]
"""By branch and number the baskets that a read needs: chunks of the file, or values that were held."""


class Baskets:
    """Reads the plain branches of one open TTree. To be used by one thread at a time, whichever.

    Args:
        source: the file's uproot source.
        tbranches: uproot's branches, by the names they are to be read by.
        known: what is known of them already.

    Example:
        >>> [columns] = Baskets(source, tbranches).read(["Muon_pt", "MET_pt"], [(0, 10_000)])  # doctest: +SKIP
        >>> columns["Muon_pt"].content.values, columns["MET_pt"].values                          # doctest: +SKIP
    """

    def __init__(self, source: Any, tbranches: Mapping[str, Any], known: Mapping[str, Described] | None = None) -> None:
        self._source = source
        self._tbranches = tbranches
        self._branches: dict[str, Branch | None] = {
            name: branch if isinstance(branch, Branch) else None
            for name, branch in (known or {}).items()
            if branch is not None
        }
        self._held: dict[str, CachedRange] = {}
        self._lists: dict[Counted, Lists] = {}
        self._ranges: Sequence[Range] = ()
        self._counters = {branch.counter for branch in self._branches.values() if branch is not None and branch.counter}
        self._counter_chunks: Raw = {}
        """Of the ranges at hand: a counter is read by itself, and again for each list column that is read by itself."""

    def branch(self, name: str) -> Branch | None:
        """The branch as this module reads it, or None if only uproot can."""
        name = self._tbranches.original(name) if isinstance(self._tbranches, Written) else name
        if name not in self._branches and name in self._tbranches:
            tbranch = self._tbranches[name]
            branch = self._branches[name] = plain_branch(name, tbranch, self._counter(tbranch))
            if branch is not None and branch.counter:
                self._counters.add(branch.counter)
        return self._branches.get(name)

    def _counter(self, tbranch: Any) -> str:
        """The name of the branch that has the lengths of this one's lists, "" if there is none to rely on."""
        count = tbranch.count_branch
        name = "" if count is None else str(count.name)
        if not name or count is tbranch or self._tbranches.get(name) is not count:
            return ""
        counter = self.branch(name)
        return name if counter is not None and counter.is_count else ""

    def leave(self, name: str) -> None:
        """Have `branch` say from now on that only uproot can read this one."""
        self._branches[name] = None

    def weight(self, names: Iterable[str]) -> float:
        """Bytes in the file of an entry of some branches, with the counters of their lists, on average."""
        branches = {branch.name: branch for branch in map(self._plain, names)}
        branches |= {branch.counter: self._plain(branch.counter) for branch in branches.values() if branch.counter}
        size = sum(stop - start for branch in branches.values() for start, stop in branch.spans)
        return size / max((int(branch.edges[-1]) for branch in branches.values()), default=1)

    def forget(self) -> None:
        """Drop what is kept for a next read."""
        self._ranges, self._held, self._lists, self._counter_chunks = (), {}, {}, {}

    def ahead(self, names: Iterable[str], ranges: Sequence[Range]) -> None:
        """Ask a remote file for the baskets that `read` will need, and return at once."""
        if isinstance(self._source, ReadAhead):
            wanted = self._wanted(names, ranges, known=())
            self._source.ahead(_span(branch, i) for branch, i in self._missing(wanted))

    def read(self, names: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """Columns of each of some ranges of entries `[start, stop)`, ascending; the names must be plain branches.

        All of them are asked for together; they are decompressed one range after the other.

        Raises:
            ValueError: a basket is not what the tree says, or lists are not what their counter says.
            IrregularError: a branch has to be left to uproot after all; see `leave`.
        """
        if ranges != self._ranges:
            self._ranges = ranges
            self._lists.clear()
            self._counter_chunks.clear()
        wanted = self._wanted(names, ranges, known=self._lists)
        missing = [(branch, i) for branch, i in self._missing(wanted) if (branch.name, i) not in self._counter_chunks]
        chunks = self._chunks(missing)
        raw: Raw = {(branch.name, i): chunk for (branch, i), chunk in zip(missing, chunks, strict=True)}
        self._counter_chunks |= {key: chunk for key, chunk in raw.items() if key[0] in self._counters}
        raw |= self._counter_chunks
        raw |= {(name, i): values for name, (i, values) in self._held.items()}
        for (start, stop), of_range in zip(ranges, wanted, strict=True):
            values = {branch.name: self._values(branch, each, raw) for branch, each in of_range if not branch.counter}
            yield {name: self._column(self._plain(name), values, raw, start, stop) for name in names}

    def _plain(self, name: str) -> Branch:
        branch = self.branch(name)
        if branch is None:
            raise TypeError(f"branch {name} does not hold plain numbers")
        return branch

    def _wanted(self, names: Iterable[str], ranges: Sequence[Range], known: Container[Counted]) -> list[Wanted]:
        """For each range the baskets to read of each branch, and of counters: all entries of a list's baskets need their
        lengths, where these are not known.
        """
        branches = [self._plain(name) for name in names]
        return [self._wanted_of(branches, start, stop, known) for start, stop in ranges]

    def _wanted_of(self, branches: list[Branch], start: int, stop: int, known: Container[Counted]) -> Wanted:
        wanted: dict[str, range] = {}

        def want(branch: Branch, baskets: range) -> None:
            before = wanted.get(branch.name, baskets)
            wanted[branch.name] = range(min(before.start, baskets.start), max(before.stop, baskets.stop))

        for branch in branches:
            baskets = branch.baskets(start, stop)
            want(branch, baskets)
            low, high = int(branch.edges[baskets.start]), int(branch.edges[baskets.stop])
            if branch.counter and (branch.counter, low, high) not in known:
                counter = self._plain(branch.counter)
                want(counter, counter.baskets(low, high))
        return [(self._plain(name), baskets) for name, baskets in wanted.items()]

    def _missing(self, wanted: Iterable[Wanted]) -> list[tuple[Branch, int]]:
        """The baskets among these that must come from the file, each once."""
        missing = {
            (branch.name, i): branch
            for of_range in wanted
            for branch, baskets in of_range
            for i in baskets
            if i < len(branch.spans) and self._held.get(branch.name, (-1,))[0] != i
        }
        return [(branch, i) for (_, i), branch in missing.items()]

    def _chunks(self, missing: Sequence[tuple[Branch, int]]) -> Sequence[Any]:
        """Baskets as `_bytes` takes them; those of a far file may still be on their way."""
        spans = [_span(branch, i) for branch, i in missing]
        if isinstance(self._source, LocalSource):
            return self._source.read(spans)
        chunks: list[Any] = self._source.chunks(spans, queue.SimpleQueue())
        return chunks

    # --- from bytes to columns ----------------------------------------------------------------------------------------

    def _values(self, branch: Branch, baskets: range, raw: Raw, lists: Lists | None = None) -> Values:
        """The values of whole baskets, one after the other; the last basket is kept, for a next read within it.

        `lists` are those of all their entries, where there is a counter.
        """
        start = int(branch.edges[baskets.start])
        if not baskets:
            return no_values(branch, start)
        held = self._held.get(branch.name)
        if held is not None and baskets == range(held[0], held[0] + 1):
            return held[1]
        parts = [self._part(branch, i, raw) for i in baskets]
        if branch.depth > 1:
            each = tabled(branch, parts)
            nested = joined([part.nested for part in each if part.nested is not None])
            result, last = Values(start, each[-1].values, None, nested), each[-1]
        elif branch.table:
            each = tabled(branch, parts)
            counts = np.concatenate([part.counts for part in each if part.counts is not None])
            result, last = Values(start, np.concatenate([part.values for part in each]), counts), each[-1]
        else:
            result, last = numbers(branch, baskets, parts, lists)
        self._held[branch.name] = baskets.stop - 1, last
        return result

    def _part(self, branch: Branch, i: int, raw: Raw) -> Values | Basket:
        """One basket: as it was held, as it is in the tree's description, or as it is in the file."""
        held = self._held.get(branch.name)
        if held is not None and held[0] == i:
            return held[1]
        if i >= len(branch.spans):
            return embedded(branch, i, branch.embedded[i - len(branch.spans)])
        part = raw[branch.name, i]
        return part if isinstance(part, Values) else opened(branch, i, _bytes(part))

    def _column(self, branch: Branch, values: Mapping[str, Values], raw: Raw, start: int, stop: int) -> Column:
        """The column of the entries `[start, stop)`, a view of the values of whole baskets."""
        if branch.counter:
            baskets = branch.baskets(start, stop)
            lists = self._counted(branch, baskets, values)
            part, offsets = self._values(branch, baskets, raw, lists), lists.offsets
        else:
            part = values[branch.name]
            if part.nested is not None:
                return part.nested.slice(start - part.start, stop - part.start)
            if part.counts is None:
                return Flat(part.values[start - part.start : stop - part.start])
            offsets = offsets_of(part.counts)
        return Jagged(offsets[start - part.start : stop - part.start + 1], Flat(part.values))

    def _counted(self, branch: Branch, baskets: range, values: Mapping[str, Values]) -> Lists:
        """The lists of all entries of some baskets, made once for all branches with the same counter."""
        low, high = int(branch.edges[baskets.start]), int(branch.edges[baskets.stop])
        key = (branch.counter, low, high)
        if key not in self._lists:
            self._lists[key] = Lists(self._plain(branch.counter), values[branch.counter], low, high)
        return self._lists[key]


def _bytes(chunk: Any) -> memoryview:
    """The bytes of a local file, or of a uproot chunk, which are waited for."""
    return chunk if isinstance(chunk, memoryview) else memoryview(chunk.raw_data)


def _span(branch: Branch, i: int) -> Range:
    """Where a basket is. What the tree says may be garbage, and is not to be asked for."""
    start, stop = branch.spans[i]
    if start < 0 or not 0 < stop - start <= MOST_BASKET:
        raise ValueError(f"{branch.basket(i)} cannot be where the tree says, in the bytes [{start}, {stop})")
    return start, stop
