"""The baskets of a TTree: which bytes of the file hold which entries of a branch, and how they become arrays.

A branch is stored in *baskets*: runs of entries, compressed apart. NanoAOD-like files have thousands of them, of 32 kB,
so the time to read is decided by the Python spent on each. For branches of plain numbers, nearly all, this module goes
the short way: one request for the baskets of all branches, one decompression straight into a buffer that is used again,
one copy that turns big-endian values into native ones at their final place. Anything else is left to uproot.

A basket in the file is its key (the first `fKeylen` bytes, see ROOT's `TKey` and `TBasket` streamers; `fLast`, the end
of the values, stands 5 bytes before the end of the key), then compressed blocks of at most 16 MB. Values of lists come
in one of two forms:

- counted by another branch (`Muon_pt[nMuon]`): values without gaps, the other branch has the lengths;
- with a table of the entries' offsets behind the last value: `std::vector`, with a header of 10 bytes before each
  entry's values, and the members of split objects, without one.
"""

from __future__ import annotations

import queue
import struct
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cramjam
import numpy as np
import xxhash
from numpy.typing import NDArray
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from .columns import Column, Flat, Jagged, offsets_of
from .sources import Range, ReadAhead

_KEY = struct.Struct(">ihiIhh")
_LAST = struct.Struct(">i")
_BLOCK = 9
"""Bytes of the header of a compressed block: algorithm (2), method (1), compressed size (3), size (3)."""
_OFFSET = np.dtype(">i4")
_DECOMPRESS: dict[bytes, Callable[[Any, Any], int]] = {
    b"ZS": cramjam.zstd.decompress_into,
    b"ZL": cramjam.zlib.decompress_into,
    b"XZ": cramjam.xz.decompress_into,
    b"L4": lambda block, out: _lz4(block, out),
}

Counts = NDArray[np.int64]
Bytes: TypeAlias = Any
"""An array of `uint8`; numpy's types do not say that it is a buffer."""


class IrregularError(Exception):
    """A branch whose lists are not stored in one of the two forms, so that only uproot can read it; has its name."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Where the baskets of one branch of plain numbers are, and how their values are stored.

    Basket `i` holds the entries `[edges[i], edges[i + 1])` in the bytes `spans[i]` of the file; baskets beyond `spans`
    were never written apart and are `embedded` in the tree's own description.
    `shape` is that of one value (`(3,)` for `float x[3]`). Lists have either a `counter`, the branch with their
    lengths, or a `table` of offsets behind their values and a `header` of so many bytes before each entry's. Neither:
    one value an entry.
    """

    name: str
    stored: np.dtype[Any]
    native: np.dtype[Any]
    shape: tuple[int, ...]
    counter: str
    table: bool
    header: int
    edges: NDArray[np.int64]
    spans: list[Range]
    embedded: tuple[tuple[Any, Any], ...]

    @property
    def is_list(self) -> bool:
        """Whether an entry has any number of values."""
        return self.table or self.counter != ""

    def baskets(self, start: int, stop: int) -> range:
        """The baskets that hold the entries `[start, stop)`."""
        first = int(self.edges.searchsorted(start, "right")) - 1
        return range(first, max(first, int(self.edges.searchsorted(stop, "left"))))


def plain_branch(name: str, tbranch: Any, counter: str) -> Branch | None:
    """Describe a branch of an open uproot tree, or None if its values are not plain numbers.

    Args:
        name: what it is to be called.
        tbranch: uproot's TBranch.
        counter: what its counter branch is called, "" for none.
    """
    kind = tbranch.interpretation
    is_list = type(kind) is AsJagged
    header = kind.header_bytes if is_list else 0
    kind = kind.content if is_list else kind
    if type(kind) is not AsDtype or kind.from_dtype.names is not None:
        return None
    stored, shape = kind.from_dtype.base, kind.from_dtype.shape
    native = stored.newbyteorder("=")
    if native != kind.to_dtype.base or native.kind not in "biuf":
        return None
    edges = np.array(tbranch.entry_offsets, dtype=np.int64)
    if edges[-1] != tbranch.tree.num_entries:
        return None
    written = tbranch.num_baskets - len(tbranch.embedded_baskets)
    seeks = tbranch.member("fBasketSeek")[:written].tolist()
    sizes = tbranch.member("fBasketBytes")[:written].tolist()
    return Branch(
        name=name,
        stored=stored,
        native=native,
        shape=shape,
        counter=counter if is_list and not header else "",
        table=is_list and bool(header or not counter),
        header=header,
        edges=edges,
        spans=[(seek, seek + size) for seek, size in zip(seeks, sizes, strict=True)],
        embedded=tuple((basket.data, basket.byte_offsets) for basket in tbranch.embedded_baskets),
    )


@dataclass(slots=True)
class _Values:
    """Values of whole baskets of a branch, from entry `start` on; `counts` are the lengths of lists with a table."""

    start: int
    values: NDArray[Any]
    counts: Counts | None = None


Held = tuple[int, _Values]
"""The basket of a branch that was read last, by its number: a next read often starts within it."""

Wanted: TypeAlias = list[tuple[Branch, range]]
"""Baskets of some branches."""

Counted: TypeAlias = tuple[str, int, int]
"""A counter branch and a range of entries, whose lists it has the lengths of."""

Raw: TypeAlias = dict[tuple[str, int], Any]
"""By branch and number the baskets that a read needs: chunks of the file, or values that were held."""


@dataclass(slots=True)
class _Basket:
    """One basket's bytes, compressed, and what its key says of them."""

    raw: Bytes
    key: int
    size: int
    last: int


class Baskets:
    """Reads the plain branches of one open TTree.

    Args:
        source: the file's uproot source.
        tbranches: uproot's branches, by the names they are to be read by.
        known: what is known of them already.

    Example:
        >>> [columns] = Baskets(source, tbranches).read(["Muon_pt", "MET_pt"], [(0, 10_000)])  # doctest: +SKIP
        >>> columns["Muon_pt"].content.values, columns["MET_pt"].values                          # doctest: +SKIP
    """

    def __init__(
        self, source: Any, tbranches: Mapping[str, Any], known: Mapping[str, Branch | None] | None = None
    ) -> None:
        self._source = source
        self._tbranches = tbranches
        self._branches: dict[str, Branch | None] = {
            name: branch for name, branch in (known or {}).items() if branch is not None
        }
        self._scratch = np.empty(0, dtype=np.uint8)
        self._held: dict[str, Held] = {}
        self._offsets: dict[Counted, Counts] = {}
        self._ranges: Sequence[Range] = ()
        self._counters = {branch.counter for branch in self._branches.values() if branch is not None and branch.counter}
        self._counter_chunks: Raw = {}
        """Of the ranges at hand: a counter is read by itself, and again for each list column that is read by itself."""

    def branch(self, name: str) -> Branch | None:
        """The branch as this module reads it, or None if only uproot can; `name` must be a branch of the tree."""
        if name not in self._branches:
            tbranch = self._tbranches[name]
            branch = self._branches[name] = plain_branch(name, tbranch, self._counter(tbranch))
            if branch is not None and branch.counter:
                self._counters.add(branch.counter)
        return self._branches[name]

    def _counter(self, tbranch: Any) -> str:
        """The name of the branch that has the lengths of this one's lists, "" if there is none to rely on."""
        count = tbranch.count_branch
        name = "" if count is None else str(count.name)
        if not name or count is tbranch or self._tbranches.get(name) is not count:
            return ""
        counter = self.branch(name)
        is_count = counter is not None and not counter.is_list and not counter.shape and counter.native.kind in "iu"
        return name if is_count else ""

    def leave(self, name: str) -> None:
        """Have `branch` say from now on that only uproot can read this one."""
        self._branches[name] = None

    def ahead(self, names: Iterable[str], ranges: Sequence[Range]) -> None:
        """Ask a remote file for the baskets that `read` will need, and return at once."""
        if isinstance(self._source, ReadAhead):
            wanted = self._wanted(names, ranges, known=())
            self._source.ahead(branch.spans[i] for branch, i in self._missing(wanted))

    def read(self, names: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """Columns of each of some ranges of entries `[start, stop)`, ascending; the names must be plain branches.

        All of them are asked for together; they are decompressed one range after the other.

        Raises:
            ValueError: a basket is not what the tree says.
            IrregularError: a branch has to be left to uproot after all; see `leave`.
        """
        if ranges != self._ranges:
            self._ranges = ranges
            self._offsets.clear()
            self._counter_chunks.clear()
        wanted = self._wanted(names, ranges, known=self._offsets)
        missing = [(branch, i) for branch, i in self._missing(wanted) if (branch.name, i) not in self._counter_chunks]
        chunks = self._source.chunks([branch.spans[i] for branch, i in missing], queue.SimpleQueue())
        raw: Raw = {(branch.name, i): chunk for (branch, i), chunk in zip(missing, chunks, strict=True)}
        self._counter_chunks |= {key: chunk for key, chunk in raw.items() if key[0] in self._counters}
        raw |= self._counter_chunks
        raw |= {(name, i): values for name, (i, values) in self._held.items()}
        for (start, stop), of_range in zip(ranges, wanted, strict=True):
            values = {branch.name: self._values(branch, baskets, raw) for branch, baskets in of_range}
            yield {name: self._column(self._plain(name), values, start, stop) for name in names}

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

    # --- from bytes to values -----------------------------------------------------------------------------------------

    def _values(self, branch: Branch, baskets: range, raw: Raw) -> _Values:
        """The values of whole baskets, one after the other; the last basket is kept, for a next read within it."""
        if not baskets:
            empty = np.empty((0, *branch.shape), dtype=branch.native)
            counts = np.empty(0, dtype=np.int64) if branch.table else None
            return _Values(int(branch.edges[baskets.start]), empty, counts)
        held = self._held.get(branch.name)
        if held is not None and baskets == range(held[0], held[0] + 1):
            return held[1]
        parts: list[_Values | _Basket] = []
        for i in baskets:
            if held is not None and held[0] == i:
                parts.append(held[1])
            elif i >= len(branch.spans):
                parts.append(_stripped(branch, i, *branch.embedded[i - len(branch.spans)]))
            else:
                part = raw[branch.name, i]
                parts.append(part if isinstance(part, _Values) else _open_basket(branch, i, part.raw_data))
        join = self._tabled if branch.table else self._numbers
        result, self._held[branch.name] = join(branch, baskets, parts)
        return result

    def _numbers(self, branch: Branch, baskets: range, parts: list[_Values | _Basket]) -> tuple[_Values, Held]:
        """Values without gaps, each basket's copied once, to where they stay; all of them, and the last basket's."""
        shape = (-1, *branch.shape)
        width = branch.stored.itemsize
        sizes = [part.last // width if isinstance(part, _Basket) else part.values.size for part in parts]
        values = np.empty(sum(sizes), dtype=branch.native)
        at = 0
        for part, size in zip(parts, sizes, strict=True):
            if isinstance(part, _Values):
                values[at : at + size] = part.values.reshape(-1)
            else:
                content = self._decompressed(branch, part)
                values[at : at + size] = content[: size * width].view(branch.stored)
            at += size
        whole = _Values(int(branch.edges[baskets.start]), values.reshape(shape))
        last = _Values(int(branch.edges[baskets.stop - 1]), values[at - sizes[-1] :].reshape(shape))
        return whole, (baskets.stop - 1, last)

    def _tabled(self, branch: Branch, baskets: range, parts: list[_Values | _Basket]) -> tuple[_Values, Held]:
        """Values of lists with a table, headers taken out; all of them, and the last basket's."""
        opened = [
            part if isinstance(part, _Values) else self._lists(branch, i, part)
            for i, part in zip(baskets, parts, strict=True)
        ]
        values = np.concatenate([part.values for part in opened])
        counts = np.concatenate([part.counts for part in opened if part.counts is not None])
        return _Values(opened[0].start, values, counts), (baskets.stop - 1, opened[-1])

    def _lists(self, branch: Branch, i: int, basket: _Basket) -> _Values:
        """One basket of lists; the table is the number of offsets, and the offsets as counted from the key's start."""
        content = self._decompressed(branch, basket)
        entries = int(branch.edges[i + 1] - branch.edges[i])
        if (basket.size - basket.last) // _OFFSET.itemsize < entries + 1:
            raise IrregularError(branch.name)
        table = np.frombuffer(content, _OFFSET, entries + 1, basket.last)
        return _stripped(branch, i, content[: basket.last], table[1:].astype(np.int64) - basket.key)

    def _decompressed(self, branch: Branch, basket: _Basket) -> Bytes:
        """A basket's bytes behind the key. They are valid until the next call: the buffer is used again."""
        raw = basket.raw[basket.key :]
        if len(raw) == basket.size:
            return raw
        if len(self._scratch) < basket.size:
            self._scratch = np.empty(2 * basket.size, dtype=np.uint8)
        out = self._scratch[: basket.size]
        at = filled = 0
        while at < len(raw) and filled < basket.size:
            head = raw[at : at + _BLOCK].tobytes()
            packed = int.from_bytes(head[3:6], "little")
            size = int.from_bytes(head[6:9], "little")
            decompress = _DECOMPRESS.get(head[:2])
            if decompress is None:
                raise ValueError(f"branch {branch.name} is compressed in an unknown way ({head[:2]!r})")
            block = raw[at + _BLOCK : at + _BLOCK + packed]
            if decompress(block, out[filled : filled + size]) != size:
                raise ValueError(f"a compressed block of branch {branch.name} is shorter than its header says")
            at += _BLOCK + packed
            filled += size
        if filled != basket.size:
            raise ValueError(f"a basket of branch {branch.name} ends after {filled} of {basket.size} bytes")
        return out

    # --- from values to columns ---------------------------------------------------------------------------------------

    def _column(self, branch: Branch, values: dict[str, _Values], start: int, stop: int) -> Column:
        """The column of the entries `[start, stop)`, a view of the values of whole baskets."""
        part = values[branch.name]
        if not branch.is_list:
            return Flat(part.values[start - part.start : stop - part.start])
        if part.counts is not None:
            offsets = offsets_of(part.counts)
        else:
            baskets = branch.baskets(start, stop)
            offsets = self._counted(branch.counter, values, part.start, int(branch.edges[baskets.stop]))
        if offsets[-1] != len(part.values):
            raise IrregularError(branch.name)
        return Jagged(offsets[start - part.start : stop - part.start + 1], Flat(part.values))

    def _counted(self, counter: str, values: dict[str, _Values], low: int, high: int) -> Counts:
        """Offsets of the lists of the entries `[low, high)`, made once for all branches with the same counter."""
        key = (counter, low, high)
        if key not in self._offsets:
            counts = values[counter]
            self._offsets[key] = offsets_of(counts.values[low - counts.start : high - counts.start])
        return self._offsets[key]


def _open_basket(branch: Branch, i: int, raw: Bytes) -> _Basket:
    """Read a basket's key, and check it against what the tree says of it."""
    stored, _, size, _, key, _ = _KEY.unpack_from(raw)
    if stored != len(raw) or not _KEY.size + 5 <= key <= stored or size < 0:
        raise ValueError(f"basket {i} of branch {branch.name} is not where the tree says")
    last = _LAST.unpack_from(raw, key - 5)[0] - key
    entries = int(branch.edges[i + 1] - branch.edges[i])
    if not 0 <= last <= size or (not branch.is_list and last != entries * _width(branch)):
        raise ValueError(f"basket {i} of branch {branch.name} has {last} bytes for {entries} entries")
    return _Basket(raw, key, size, last)


def _stripped(branch: Branch, i: int, content: Bytes, offsets: Any) -> _Values:
    """Native values of one basket's content; `offsets` are the entries' first bytes, where there is a table."""
    counts = None
    if branch.table:
        entries = int(branch.edges[i + 1] - branch.edges[i])
        first = np.asarray(offsets[:entries], dtype=np.int64)
        lengths = np.diff(first, append=len(content)) - branch.header
        counts, rest = np.divmod(lengths, _width(branch))
        if len(counts) != entries or (lengths < 0).any() or rest.any() or (entries and first[0] != 0):
            raise IrregularError(branch.name)
        if branch.header:
            keep = np.ones(len(content), dtype=bool)
            keep[(first[:, None] + np.arange(branch.header)).reshape(-1)] = False
            content = content[keep]
    values = content.view(branch.stored).astype(branch.native).reshape(-1, *branch.shape)
    return _Values(int(branch.edges[i]), values, counts)


def _width(branch: Branch) -> int:
    """Bytes of one value."""
    return int(branch.stored.itemsize * np.prod(branch.shape, dtype=np.int64))


def _lz4(block: Bytes, out: Bytes) -> int:
    """LZ4 blocks start with a checksum (8 bytes) of what follows."""
    if xxhash.xxh64_intdigest(block[8:]) != int.from_bytes(block[:8].tobytes(), "big"):
        raise ValueError("the checksum of an LZ4 block is wrong")
    return int(cramjam.lz4.decompress_block_into(block[8:], out, output_len=len(out)))
