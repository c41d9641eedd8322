"""Sums that may not exist: of whole numbers in so many bits, and of ints with floats."""

from __future__ import annotations

import numpy as np

from .nodes import Cells, Unmergeable


def reach(cells: Cells) -> int:
    """The largest absolute value in an array of whole numbers, which alone can overflow unseen; else 0."""
    if cells.dtype.kind not in "iu" or not cells.size:
        return 0
    return max(int(cells.max()), -int(cells.min()))


def limit(cells: Cells) -> int:
    """The largest whole number that cells of this type hold; 0 of others, which have no such end."""
    return int(np.iinfo(cells.dtype).max) if cells.dtype.kind in "iu" else 0


def sum_fits(mine: Cells, theirs: Cells) -> bool:
    """Whether no element of `mine + theirs`, whole numbers of one type, wraps around."""
    total = mine + theirs
    if mine.dtype.kind == "u":
        return not np.any(total < mine)
    return not np.any(((mine ^ total) & (theirs ^ total)) < 0)


def plus(one: complex, other: complex) -> complex:
    """The sum of two numbers; Unmergeable if there is none."""
    try:
        return one + other
    except OverflowError as error:
        raise Unmergeable(f"an int and a float that are too far apart to add: {error}") from error
