"""Whole clusters of an RNTuple as uproot reads them, for fields that only it can read.

uproot decodes a cluster as a whole, however few of its entries are asked for. ROOT's clusters hold 128 MB, and a search
for a bad event reads the same entries in ever smaller parts: so the clusters read last are kept.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import awkward as ak
import numpy as np
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
        """The entries `[start, stop)` of uproot's `field`, called `name` here."""
        cluster = min(int(self._edges.searchsorted(start, "right")), len(self._edges) - 1) - 1
        if cluster < 0 or stop > self._edges[cluster + 1]:
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
    """
    first = 0 if start and _is_late_array(field) else start
    return field.array(entry_start=first, entry_stop=stop, library="ak")[start - first :]


def _is_late_array(field: Any) -> bool:
    """Whether there is such an array in what uproot reads."""
    if not isinstance(field, HasFields):
        return False
    form = field.to_akform()[0].to_json()
    if '"RegularArray"' not in form:
        return False
    columns = {int(number) for number in re.findall(r"\bcolumn-(\d+)", form)}
    return any(field.ntuple.column_records[number].first_element_index for number in columns)
