"""A total: what partial results have added up to."""

from __future__ import annotations

from typing import Any

import numpy as np

from .nodes import Unmergeable
from .partial import Partial
from .sums import Sum, added, check, tree_of


class Total:
    """Adds up partial results; never changes one that it was given or has given.

    A slot has one for its analysis since the last commit, an agent one for its slots, a master one a query.

    Example::

        total = Total()
        total.add(encode({"muons": 7}, entries=10))
        total.add(encode({"muons": 3}, entries=5))
        decode(total.partial())                      # {"muons": 10}, of 15 entries
    """

    __slots__ = ("_entries", "_sum")

    def __init__(self) -> None:
        self._sum: Sum[Any] | None = None
        self._entries = 0

    def add(self, partial: Partial) -> None:
        """Add a partial result and its entries. MergeError, which says where, if it does not fit: nothing is added then."""
        with np.errstate(all="ignore"):  # inf and nan in a user's histogram are no news here
            try:
                check(self._sum, partial.tree)
            except Unmergeable as refusal:
                raise refusal.error() from refusal.__cause__
            self._sum = added(self._sum, partial.tree)
        self._entries += partial.entries

    def partial(self) -> Partial:
        """A snapshot of the total, which later `add`s do not change. Arrays are not copied until the next `add`."""
        return Partial(tree_of(self._sum), self._entries)

    @property
    def entries(self) -> int:
        """How many entries have been added."""
        return self._entries

    @property
    def nbytes(self) -> int:
        """Bytes of arrays and pickled objects in it. Objects that are live in this process are not counted."""
        return 0 if self._sum is None else self._sum.nbytes

    @property
    def empty(self) -> bool:
        """Whether nothing but None was ever added."""
        return self._sum is None
