"""Columns with a few values, and where those of a file are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from eventmill.reading.columns import Flat, Jagged
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.basket_layout import Branch
from eventmill.reading.ttree.baskets import Baskets


def jagged(*events: Sequence[Any], dtype: str = "f4") -> Jagged:
    """A column with these events, whose offsets do not start at 0 (those of a slice never do)."""
    offsets = np.cumsum([1, *map(len, events)])
    return Jagged(offsets, Flat(np.array([99, *(value for event in events for value in event)], dtype)))


def flat(*values: Any, dtype: Any = "f8") -> Flat:
    return Flat(np.array(values, dtype))


def described(reader: Reader, names: Iterable[str]) -> dict[str, Branch]:
    """The plain ones among some branches of a tree, with the counters of their lists: what `layouts.packed` takes."""
    assert isinstance(reader.columns.baskets, Baskets)
    branches: dict[str, Branch] = {}
    for branch in filter(None, map(reader.columns.baskets.branch, names)):
        counter = reader.columns.baskets.branch(branch.counter) if branch.counter else None
        branches |= {known.name: known for known in (counter, branch) if known is not None}
    return branches
