"""What may stand in a message: numbers and words within bounds, so that nothing decoded is too large to handle."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Annotated, Any

from msgspec import Meta

MOST, LONGEST = 2**62, 1e9
"""What a number and a time can be at most."""
NonNegative = Annotated[int, Meta(ge=0, le=MOST)]
Seconds = Annotated[float, Meta(ge=0.0, le=LONGEST)]
Amount = Annotated[float, Meta(ge=0.0, le=float(MOST))]
Word = Annotated[str, Meta(max_length=1000)]
Words = Annotated[str, Meta(max_length=100_000)]
Scalar = str | int | float | bool | None
Metadata = dict[Word, Scalar | list[Any] | dict[Any, Any]]
"""What goes with a file for analyses to read: words and numbers, and lists and dicts of these."""
Calls = Annotated[list[tuple[NonNegative, Seconds]], Meta(max_length=256)]
"""Calls of an analysis: how many entries each had, and the seconds that it took."""
TriedCalls = Annotated[list[tuple[NonNegative, Seconds, Annotated[int, Meta(ge=1, le=MOST)]]], Meta(max_length=256)]
"""Calls that stand for some of about their size: entries and seconds on the average, and how many they were."""
Chunk = tuple[Annotated[int, Meta(ge=1, le=MOST)], Annotated[int, Meta(ge=1, le=MOST)]]
"""The least and the most entries of a call."""
Runs = list[NonNegative]
"""Sorted, disjoint ranges of entries `[start, stop)`, one after the other: `[3, 5, 9, 10]` names the entries 3, 4 and 9."""

Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
"""The hexadecimal SHA-256 of bytes, which names them."""
Digests = Annotated[list[Digest], Meta(max_length=5000)]


def some(names: Collection[str], most: int = 20) -> str:
    """Names for the end of a sentence: the last ones, and how many there are besides.

    Example:
        >>> some(["q1", "q2", "q3"], most=2), some([])
        ('q2, q3 and 1 more', 'none')
    """
    left = len(names) - most
    words = ", ".join(itertools.islice(names, max(0, left), None)) or "none"
    return f"{words} and {left:,} more" if left > 0 else words
