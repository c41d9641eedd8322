"""Whole clusters of an RNTuple as uproot reads them, for fields that only it can read.

uproot decodes a cluster as a whole, however few of its entries are asked for. ROOT's clusters hold 128 MB, and a search
for a bad event reads the same entries in ever smaller parts: so the clusters read last are kept.
"""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import awkward as ak
import numpy as np
from awkward.contents import (
    EmptyArray,
    IndexedOptionArray,
    ListOffsetArray,
    NumpyArray,
    RecordArray,
    RegularArray,
    UnionArray,
    UnmaskedArray,
)
from awkward.index import Index8, Index64
from numpy.typing import NDArray
from uproot.behaviors.RNTuple import HasFields

KEPT_BYTES = 64 << 20
"""Of all arrays that are kept; the last one is kept whatever its size."""


class Clusters:
    """Reads fields by clusters, and keeps the last one of each.

    Args:
        edges: the first entry of each cluster, and the number of entries.

    Example:
        >>> Clusters(edges).array("Muon", ntuple["Muon"], 100, 200)  # doctest: +SKIP
    """

    def __init__(self, edges: NDArray[np.int64]) -> None:
        self._edges = edges
        self._kept: OrderedDict[str, tuple[int, ak.Array]] = OrderedDict()

    def array(self, name: str, field: Any, start: int, stop: int) -> ak.Array:
        """The entries `[start, stop)` of uproot's `field`, called `name` here.

        Raises:
            NotImplementedError: it is of a kind that uproot reads wrongly there.
        """
        cluster = min(int(self._edges.searchsorted(start, "right")), len(self._edges) - 1) - 1
        if cluster < 0 or stop <= self._edges[cluster + 1]:
            return self._within(cluster, name, field, start, stop)
        if not _has_variants(field):
            return read(field, start, stop)
        cuts = [start, *self._edges[cluster + 1 : self._edges.searchsorted(stop)].tolist(), stop]
        parts = [self._within(cluster + i, name, field, *cut) for i, cut in enumerate(itertools.pairwise(cuts))]
        return ak.Array(joined([part.layout for part in parts]))

    def _within(self, cluster: int, name: str, field: Any, start: int, stop: int) -> ak.Array:
        """Entries of one cluster, or of none (-1)."""
        if cluster < 0:
            return read(field, start, stop)
        low, high = self._edges[cluster : cluster + 2].tolist()
        kept, array = self._kept.pop(name, (-1, None))
        if kept != cluster:
            array = read(field, low, high)
        self._kept[name] = cluster, array
        size = sum(array.nbytes for _, array in self._kept.values())
        while size > KEPT_BYTES and len(self._kept) > 1:
            size -= self._kept.popitem(last=False)[1][1].nbytes
        return array[start - low : stop - low]


def read(field: Any, start: int, stop: int) -> ak.Array:
    """The entries `[start, stop)` of a field or branch, as uproot reads them from the first one on.

    Of an array of fixed size that was added while the file was written already, uproot (5.7) takes the number of elements
    before its first one for a number of entries: what it reads from any entry but 0 on are the values of other entries.
    Then the clusters before are read, too, and those with variants are wrong.
    """
    late = _is_late_array(field)
    if late and _has_variants(field):
        raise NotImplementedError(
            "an array of std::variant that was added while the file was written already: uproot reads other values"
        )
    first = 0 if start and late else start
    return field.array(entry_start=first, entry_stop=stop, library="ak")[start - first :]


def joined(layouts: Sequence[Any]) -> Any:
    """Layouts of one form, one after the other, in the same form.

    Where a variant's value is, clusters count in themselves; uproot (5.7) puts them together as they are, so that all
    clusters but the first have the values of others. awkward's `concatenate` would make one number of all kinds of numbers.
    """
    first, length = layouts[0], sum(map(len, layouts))
    named = {"parameters": first.parameters}
    match first:
        case EmptyArray():
            return first
        case NumpyArray():
            return NumpyArray(np.concatenate([layout.data for layout in layouts]), **named)
        case UnmaskedArray():
            return UnmaskedArray(joined([layout.content for layout in layouts]), **named)
        case RegularArray(size=size):
            return RegularArray(joined([it.content[: len(it) * size] for it in layouts]), size, length, **named)
        case RecordArray():
            columns = zip(*([content[: len(it)] for content in it.contents] for it in layouts), strict=True)
            return RecordArray([joined(parts) for parts in columns], first._fields, length, **named)
        case ListOffsetArray():
            lists = [layout.to_ListOffsetArray64(True) for layout in layouts]
            ends = np.cumsum(np.concatenate([[0], *(np.diff(it.offsets.data) for it in lists)]))
            return ListOffsetArray(Index64(ends), joined([it.content[: it.offsets[-1]] for it in lists]), **named)
        case IndexedOptionArray():
            before = _before([layout.content for layout in layouts])
            parts = [np.where(it.index.data < 0, -1, it.index.data + n) for it, n in zip(layouts, before, strict=True)]
            return IndexedOptionArray(
                Index64(np.concatenate(parts)), joined([layout.content for layout in layouts]), **named
            )
        case UnionArray():
            kinds = list(zip(*(layout.contents for layout in layouts), strict=True))
            starts = np.array([_before(kind) for kind in kinds])
            tags = [layout.tags.data for layout in layouts]
            parts = [it.index.data + starts[tag, i] for i, (it, tag) in enumerate(zip(layouts, tags, strict=True))]
            contents = [joined(kind) for kind in kinds]
            return UnionArray(Index8(np.concatenate(tags)), Index64(np.concatenate(parts)), contents, **named)
    raise NotImplementedError(f"a std::variant beside a {type(first).__name__}, over several clusters")


def _before(parts: Sequence[Any]) -> list[int]:
    """How many elements there are before each part."""
    return [0, *itertools.accumulate(map(len, parts))][:-1]


def _form(field: Any) -> str:
    """What arrays of what uproot reads are made of, as JSON; of a branch nothing, since no branch has what is asked for."""
    return str(field.to_akform()[0].to_json()) if isinstance(field, HasFields) else ""


def _has_variants(field: Any) -> bool:
    """Whether there is a `std::variant` in what uproot reads."""
    return '"UnionArray"' in _form(field)


def _is_late_array(field: Any) -> bool:
    """Whether there is such an array in what uproot reads."""
    form = _form(field)
    if '"RegularArray"' not in form:
        return False
    columns = {int(number) for number in re.findall(r"\bcolumn-(\d+)", form)}
    return any(field.ntuple.column_records[number].first_element_index for number in columns)
