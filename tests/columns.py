"""Columns with a few values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from eventmill.worker.columns import Flat, Jagged


def jagged(*events: Sequence[Any], dtype: str = "f4") -> Jagged:
    """A column with these events, whose offsets do not start at 0 (those of a slice never do)."""
    offsets = np.cumsum([1, *map(len, events)])
    return Jagged(offsets, Flat(np.array([99, *(value for event in events for value in event)], dtype)))


def flat(*values: Any, dtype: Any = "f8") -> Flat:
    return Flat(np.array(values, dtype))
