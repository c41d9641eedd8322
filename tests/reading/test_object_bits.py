"""The bits of referenced objects (`TRef`) are followed by the number of a process ID: ROOT's answers."""

from __future__ import annotations

import itertools
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from eventmill.reading.columns import Flat, Jagged
from eventmill.reading.reader import Reader

REFERENCES = str(Path(__file__).parents[1] / "data" / "references.root")


@pytest.mark.parametrize(("name", "referenced"), [("some.fBits", 15051), ("few.fBits", 6587)])
@pytest.mark.parametrize("size", [200, 37, 1])
def test_bits_of_referenced_objects(name: str, referenced: int, size: int) -> None:
    """Of 300 objects of `write_references.py`, the sum of the numbers of those that ROOT says are referenced. uproot takes
    what follows the bits for the bits of more objects; `few` has none in its first baskets.
    """
    reader = Reader(REFERENCES, "t")
    edges = [*range(0, 200, size), 200]
    parts = [reader.events(start, stop)[name] for start, stop in itertools.pairwise(edges)]
    bits = ak.concatenate(parts)
    assert ak.num(bits).tolist() == [i % 4 for i in range(200)]
    flat = ak.to_numpy(ak.flatten(bits))
    assert ((flat >> 4 & 1) * np.arange(1, 301)).sum() == referenced
    column = reader.read([name], 50, 180)[name]
    assert isinstance(column, Jagged) and isinstance(column.content, Flat)
    assert np.diff(column.offsets).tolist() == [i % 4 for i in range(50, 180)]
    reader.close()
