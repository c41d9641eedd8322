"""From the bytes of baskets to values: every byte is decompressed once and copied once, to where it stays.

A basket in the file is its key (the first `fKeylen` bytes, see ROOT's `TKey` and `TBasket` streamers; `fLast`, the end
of the values, stands 5 bytes before the end of the key), then compressed blocks of at most 16 MB. Values of lists come
in one of two forms:

- counted by another branch (`Muon_pt[nMuon]`): values without gaps, the other branch has the lengths;
- with a table of the entries' offsets behind the last value: `std::vector`, with a header of 10 bytes before each
  entry's values, and the members of split objects, without one.

Counted lists may have a table too, by which uproot and ROOT find them. It has to say the same as the counter, since here
all branches with one counter share their offsets.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..codecs import LARGEST_BLOCK, Bytes, decompress, decompressed
from ..columns import Column, offsets_of
from .basket_layout import Branch, Embedded, Numbers
from .nested_decoding import Shape, decoded, is_counted

_KEY = struct.Struct(">ihiIhh")
_LAST = struct.Struct(">i")
_OFFSET = np.dtype(">u4")


class IrregularError(Exception):
    """A branch whose lists are not stored in one of the two forms, so that only uproot can read it; has its name."""


@dataclass(frozen=True, slots=True)
class Values:
    """Values of whole baskets of a branch, from entry `start` on; `counts` are the lengths of lists with a table, and
    `nested` are lists of lists, which have no other values."""

    start: int
    values: NDArray[Any]
    counts: Numbers | None = None
    nested: Column | None = None


class Lists:
    """What a counter says of the entries from `start` on: where the values of each begin and end.

    Args:
        counter: the branch.
        values: of its baskets.
        start, stop: the entries that are meant among them.

    Raises:
        ValueError: it counts fewer values than none.
    """

    def __init__(self, counter: Branch, values: Values, start: int, stop: int) -> None:
        counts = values.values[start - values.start : stop - values.start]
        if len(counts) and counts.min() < 0:
            entry = start + int(counts.argmin())
            basket = counter.basket(counter.baskets(entry, entry + 1)[0])
            raise ValueError(f"{basket} is damaged: it counts {counts.min()} values in entry {entry}")
        self.start = start
        self.offsets = offsets_of(counts)
        self._first_bytes: dict[int, NDArray[np.uint32]] = {}

    def first_bytes(self, width: int) -> NDArray[np.uint32]:
        """Where the bytes of each list begin, for values of so many bytes, modulo 2**32 like the tables of baskets."""
        if width not in self._first_bytes:
            self._first_bytes[width] = np.multiply(self.offsets[:-1], width, dtype=np.uint32, casting="unsafe")
        return self._first_bytes[width]


class Basket(NamedTuple):
    """One basket of the file: its number, the bytes behind its key, and what the key says: how many bytes these are when
    they are decompressed, where the values end in them, and the size of the key, from whose start the table counts.
    """

    number: int
    raw: memoryview
    size: int
    last: int
    key: int


def opened(branch: Branch, i: int, raw: memoryview) -> Basket:
    """A basket's bytes as they are in the file, taken apart.

    Raises:
        ValueError: its key does not agree with the tree.
        IrregularError: it has bits of objects that are referred to.
    """
    stored, _, size, _, key, _ = _KEY.unpack_from(raw) if len(raw) >= _KEY.size else (0,) * 6
    if stored != len(raw) or not _KEY.size + _LAST.size < key <= stored or size < 0:
        raise ValueError(
            f"{branch.basket(i)} is not where the tree says: what is there has another key (values in another file, "
            "by TBranch::SetFile, are not followed)"
        )
    last = _LAST.unpack_from(raw, key - _LAST.size - 1)[0] - key
    if 0 <= last <= size and branch.is_bits and not _fits(branch, i, last):
        raise IrregularError(branch.name)
    if not 0 <= last <= size or not _fits(branch, i, last) or size - last > _most_behind(branch, i):
        raise ValueError(f"{branch.basket(i)} is not what the tree says: its key speaks of {last} bytes of {size}")
    return Basket(i, raw[key:], size, last, key)


def embedded(branch: Branch, i: int, data: Embedded) -> Values:
    """The values of a basket that was never written apart. Raises `ValueError` if they are too few or too many."""
    content, offsets = data
    if not _fits(branch, i, len(content)):
        if branch.is_bits:
            raise IrregularError(branch.name)
        raise ValueError(f"{branch.basket(i)} is not what the tree says: it has {len(content)} bytes")
    return _stripped(branch, i, content, offsets)


def _most_behind(branch: Branch, i: int) -> int:
    """How many bytes there may be behind the values: a table has 4 bytes an entry, and there may be two of them. A basket
    of few values that is said to hold very much would be decompressed in vain."""
    return max(LARGEST_BLOCK, 16 * branch.entries(i))


def _fits(branch: Branch, i: int, size: int) -> bool:
    """Whether so many bytes of values may be in a basket."""
    if branch.table:
        return True
    return size % branch.width == 0 if branch.counter else size == branch.entries(i) * branch.width


def numbers(
    branch: Branch, baskets: range, parts: Sequence[Values | Basket], lists: Lists | None
) -> tuple[Values, Values]:
    """Values without gaps: those of each basket go to their place in one array. All of them, and the last basket's.

    Args:
        branch: of flat values, or of lists with a counter.
        baskets: their numbers.
        parts: the baskets, as they are in the file or as they have been read already.
        lists: what the counter says of all their entries.

    Raises:
        ValueError: a basket is damaged, or has other lists than the counter says.
        IrregularError: the lists have a table of another form.
    """
    item = branch.stored.itemsize
    sizes = [part.last // item if isinstance(part, Basket) else part.values.size for part in parts]
    edges = branch.edges[baskets.start : baskets.stop + 1]
    cuts = (edges - edges[0]).tolist()
    first_bytes = None
    if lists is not None:
        _check_sizes(branch, baskets, sizes, lists)
        first_bytes = lists.first_bytes(branch.width)
    values = np.empty(sum(sizes), dtype=branch.native)
    at = 0
    for part, size, low, high in zip(parts, sizes, cuts[:-1], cuts[1:], strict=True):
        is_plain = branch.coding is None
        if isinstance(part, Basket) and is_plain and part.size > LARGEST_BLOCK and part.size == size * item:
            _decode_into(values[at : at + size], branch, part)
        elif isinstance(part, Basket):
            content = _content(branch, part)
            values[at : at + size] = branch.values(np.frombuffer(content, branch.stored, size))
            if first_bytes is not None and part.size > part.last:
                _check_table(branch, part, content, first_bytes[low:high])
        else:
            values[at : at + size] = part.values.reshape(-1)
        at += size
    last = values[at - sizes[-1] :].reshape(-1, *branch.shape)
    if 2 * last.size < at:
        last = last.copy()  # it is kept for longer than the others, which would stay with it
    return Values(int(edges[0]), values.reshape(-1, *branch.shape)), Values(int(edges[-2]), last)


def _decode_into(out: NDArray[Any], branch: Branch, basket: Basket) -> None:
    """The values of a basket without a table, to where they stay: a large one is never there twice, and takes longer."""
    try:
        decompress(basket.raw, out.view(np.uint8))
    except ValueError as error:
        raise ValueError(f"{branch.basket(basket.number)} is damaged: {error}") from error
    if not branch.stored.isnative:
        out.byteswap(inplace=True)


def tabled(branch: Branch, parts: Sequence[Values | Basket]) -> list[Values]:
    """The lists of each of some baskets that have a table, headers taken out.

    Raises:
        ValueError: a basket is damaged.
        IrregularError: the lists have another form.
    """
    return [part if isinstance(part, Values) else _lists(branch, part) for part in parts]


def _content(branch: Branch, basket: Basket) -> Bytes:
    try:
        return decompressed(basket.raw, basket.size)
    except ValueError as error:
        raise ValueError(f"{branch.basket(basket.number)} is damaged: {error}") from error


def _check_sizes(branch: Branch, baskets: range, sizes: list[int], lists: Lists) -> None:
    """Compare how many values each basket has with what its counter says."""
    edges = branch.edges[baskets.start : baskets.stop + 1] - lists.start
    counted = np.diff(lists.offsets[edges]) * math.prod(branch.shape)
    wrong = np.flatnonzero(counted != sizes)
    if len(wrong):
        i = int(wrong[0])
        if branch.is_bits:
            raise IrregularError(branch.name)
        raise ValueError(
            f"{branch.basket(baskets[i])} has {sizes[i]} numbers in its lists, where its counter {branch.counter} says "
            f"{counted[i]}: one of the two is damaged"
        )


def _check_table(branch: Branch, basket: Basket, content: Bytes, first: NDArray[np.uint32]) -> None:
    """Compare a basket's own table with where its counter says that lists begin."""
    if not len(first):
        return
    table = _table(branch, basket, content, len(first))
    table -= first
    wrong = table != (basket.key - int(first[0])) % 2**32
    if wrong.any():
        longer = max(0, int(wrong.argmax()) - 1)  # the list after it is the first that begins elsewhere
        entry = branch.edges[basket.number] + longer
        raise ValueError(
            f"{branch.basket(basket.number)} has other lists than its counter {branch.counter} says, first in "
            f"entry {entry}: one of the two is damaged"
        )


def _table(branch: Branch, basket: Basket, content: Bytes, entries: int) -> NDArray[np.uint32]:
    """Where the bytes of each entry begin, counted from the key's start; the table begins with its own size."""
    if (basket.size - basket.last) // _OFFSET.itemsize < entries + 1:
        raise IrregularError(branch.name)
    table = np.frombuffer(content, _OFFSET, entries, basket.last + _OFFSET.itemsize)
    return table.astype(np.uint32)


def no_values(branch: Branch, start: int) -> Values:
    """Those of no basket."""
    counts = np.empty(0, dtype=np.int64) if branch.table else None
    nested = None
    if branch.depth > 1:
        nested = decoded(_shape(branch), np.empty(0, np.uint8), np.zeros(1, np.int64))
    return Values(start, np.empty((0, *branch.shape), dtype=branch.native), counts, nested)


def _lists(branch: Branch, basket: Basket) -> Values:
    content = _content(branch, basket)
    entries = branch.entries(basket.number)
    offsets = _table(branch, basket, content, entries).astype(np.int64) - basket.key
    if branch.depth > 1:
        return _nested(branch, basket, np.frombuffer(content, np.uint8, basket.last), np.append(offsets, basket.last))
    return _stripped(branch, basket.number, memoryview(content)[: basket.last], offsets)


def _stripped(branch: Branch, i: int, content: Bytes, offsets: Numbers | None) -> Values:
    """Native values of one basket's content; `offsets` are the entries' first bytes, where there is a table."""
    counts = None
    taken = np.frombuffer(content, np.uint8)
    if offsets is not None:
        counts = _counts(branch, i, offsets, len(taken))
        if branch.header:
            taken = _without_headers(branch, taken, counts)
    values = branch.values(taken.view(branch.stored)).astype(branch.native).reshape(-1, *branch.shape)
    return Values(int(branch.edges[i]), values, counts)


def _shape(branch: Branch) -> Shape:
    return Shape(branch.depth, header=True, is_open=False, stored=branch.stored)


def _nested(branch: Branch, basket: Basket, data: NDArray[np.uint8], begins: Numbers) -> Values:
    """The lists of lists of a basket. Those whose headers say less than usual are left to uproot."""
    shape = _shape(branch)
    if begins[0] != 0 or (np.diff(begins) < 0).any() or not is_counted(shape, data, begins):
        raise IrregularError(branch.name)
    try:
        lists = decoded(shape, data, begins)
    except NotImplementedError:
        raise IrregularError(branch.name) from None
    except ValueError as error:
        raise ValueError(f"{branch.basket(basket.number)} is damaged: {error}") from error
    return Values(int(branch.edges[basket.number]), np.empty(0, branch.native), None, lists)


def _counts(branch: Branch, i: int, offsets: Numbers, size: int) -> Numbers:
    """How many values each entry of a basket with a table has."""
    entries = branch.entries(i)
    first = offsets[:entries]
    lengths = np.diff(first, append=size)
    if (lengths < 0).any():
        entry = branch.edges[i] + int(lengths.argmin())
        raise ValueError(f"{branch.basket(i)} is damaged: the list of entry {entry} ends before it begins")
    counts, rest = np.divmod(lengths - branch.header, branch.width)
    wrong = (counts < 0) | (rest != 0)
    if wrong.any() and branch.header:  # a vector has nothing else in it; members of split objects may
        entry = branch.edges[i] + int(wrong.argmax())
        raise ValueError(f"{branch.basket(i)} is damaged: the list of entry {entry} is no whole number of values long")
    if len(first) != entries or wrong.any() or (entries and first[0] != 0):
        raise IrregularError(branch.name)
    return counts


def _without_headers(branch: Branch, content: NDArray[np.uint8], counts: Numbers) -> NDArray[np.uint8]:
    """The values of lists without the header of each, taken in the largest units that headers and values consist of."""
    unit = math.gcd(branch.header, branch.stored.itemsize)
    header, lengths = branch.header // unit, counts * (branch.width // unit)
    at = np.arange(lengths.sum())
    at += np.repeat(header * np.arange(1, len(counts) + 1), lengths)
    return content.view(f"u{unit}").take(at).view(np.uint8)
