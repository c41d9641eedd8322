"""Defaults: what stands for branches that a file does not have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..dataset.shared_inputs import Default
from .columns import Column, Flat, Jagged, offsets_of
from .groups import group_of
from .tree_series import TreeReader


class Filling:
    """What stands for a branch that is missing: one value for each event, or for each element of lists like others."""

    def __init__(self, default: Default, like: str) -> None:
        self.like = like
        self._value = np.dtype(default.kind).type(default.value)

    def column(self, columns: Mapping[str, Column], entries: int) -> Column:
        """The column of so many entries, given that of `like`."""
        if not self.like:
            return Flat(np.full(entries, self._value))
        like = columns[self.like]
        offsets = offsets_of(like.values) if isinstance(like, Flat) else like.offsets - like.offsets[0]
        return Jagged(offsets, Flat(np.full(int(offsets[-1]), self._value)))

    def empty(self) -> Column:
        """The column of no entries."""
        return self.column({self.like: Flat(np.zeros(0, np.int64))}, 0)


def lengths_of(name: str, reader: TreeReader) -> str:
    """The branch that tells how long the lists of a missing branch are; empty where nothing says that it has lists."""
    group = group_of(name)
    if not group:
        return ""
    if f"n{group}" in reader.names:
        return f"n{group}"
    others = (other for other in reader.names if group_of(other) == group)
    lists = [other for other in others if reader.types([other])[other].startswith("var * ")]
    counters = dict.fromkeys(reader.lazy.counters.get(other, "") for other in lists)
    return lists[0] if lists and "" in counters else next(iter(counters), "")
