"""Branches of a TTree that uproot decodes, basket by basket: what was decoded last is kept.

uproot decodes a basket as a whole, however few of its entries are asked for. ROOT's baskets of vectors of vectors hold up
to 30 MB, and chunks are cut by the time that they take: where each chunk cost a whole basket, the next one was made smaller
still. So the last basket of each branch is kept, and a chunk that starts within it decodes only those after it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import awkward as ak

from .basket_layout import Numbers, basket_edges

KEPT_BYTES = 256 << 20
"""Of all arrays that are kept; the last one is kept whatever its size. A cluster of ROOT's holds up to 30 MB, compressed."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Interpretation:
    """How a branch is to be read, as uproot's interpretations: one of these, or a class that makes one for a branch."""

    given: Any

    def of(self, tbranch: Any) -> Any:
        """uproot's interpretation, for a branch."""
        return self.given(tbranch, {}, True) if isinstance(self.given, type) else self.given


class WholeBaskets:
    """Reads the branches of one open TTree by whole baskets, and keeps the last one of each.

    Args:
        kind: how they are read; by default as they say themselves.

    Example:
        >>> WholeBaskets().array("hits", tree["hits"], 100, 200)  # doctest: +SKIP
    """

    def __init__(self, kind: Interpretation | None = None) -> None:
        self._kind = (
            None if kind is None else kind.given
        )  # without what holds it, which tells whether it is still in use
        self._kept: OrderedDict[str, tuple[int, ak.Array]] = OrderedDict()
        self._edges: dict[str, Numbers | None] = {}

    def array(self, name: str, tbranch: Any, start: int, stop: int) -> ak.Array:
        """The entries `[start, stop)` of uproot's `tbranch`, called `name` here; fewer where it has fewer."""
        edges = self._edges_of(name, tbranch)
        if edges is None or stop > edges[-1]:
            return self._read(tbranch, start, stop)
        last = max(1, int(edges.searchsorted(stop, "left")))
        low, middle, high = int(edges[edges.searchsorted(start, "right") - 1]), int(edges[last - 1]), int(edges[last])
        if start == stop:  # of no entries, uproot cannot make every type
            middle, high = low, int(edges[edges.searchsorted(start, "right")]) if start < edges[-1] else low
        first, array = self._kept.pop(name, (0, None))
        if array is None or not first <= low < first + len(array):
            first, array = low, None
        end = low if array is None else first + len(array)
        if high > end or array is None:
            more = self._read(tbranch, end, high)
            array = more if array is None else ak.concatenate([array, more], mergebool=False)
        self._keep(name, first, array, middle)
        return array[start - first : stop - first]

    def forget(self) -> None:
        """Drop what is kept: nobody is going to read there."""
        self._kept.clear()

    def _read(self, tbranch: Any, start: int, stop: int) -> ak.Array:
        kind = {} if self._kind is None else {"interpretation": Interpretation(self._kind).of(tbranch)}
        return tbranch.array(entry_start=start, entry_stop=stop, library="ak", **kind)

    def _edges_of(self, name: str, tbranch: Any) -> Numbers | None:
        """Where the branch's baskets begin; None if it has none of its own, or none that one can rely on."""
        if name not in self._edges:
            edges = None if tbranch.branches else basket_edges(tbranch)
            usable = edges is not None and len(edges) > 1 and edges[0] == 0 and bool((edges[1:] >= edges[:-1]).all())
            self._edges[name] = edges if usable else None
        return self._edges[name]

    def _keep(self, name: str, first: int, array: ak.Array, middle: int) -> None:
        """Keep the entries from `middle` on, which are the last basket's, of an array that begins with the entry `first`."""
        if middle > first:
            array = ak.to_packed(array[middle - first :])  # without those before, which would stay with them
        self._kept[name] = max(first, middle), array
        size = sum(kept.nbytes for _, kept in self._kept.values())
        while size > KEPT_BYTES and len(self._kept) > 1:
            size -= self._kept.popitem(last=False)[1][1].nbytes
