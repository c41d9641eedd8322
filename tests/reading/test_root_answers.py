"""RNTuples with columns of all encodings are what ROOT reads, at every cut.

`interop/root_ntuples.py` has written `data/ntuple_encodings.root` with ROOT 6.40, with clusters of odd sizes and small
pages, and what ROOT reads in it; `test_root_types` has it write all types anew.
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from eventmill.reading.columns import Flat
from eventmill.reading.reader import Reader
from root_answers import differences

DATA = Path(__file__).parents[1] / "data"
ENCODINGS = str(DATA / "ntuple_encodings.root")


@pytest.mark.parametrize(("tree", "columns"), [("encoded", 264), ("projected", 18), ("attributes", 2), ("parallel", 3)])
def test_every_encoding_is_what_root_reads(tree: str, columns: int) -> None:
    """All columns that ROOT writes numbers, lists and texts in, floats of any number of bits too; projected fields, some of
    which begin late; an RNTuple with attributes; clusters that several threads have written.
    """
    with lzma.open(DATA / "ntuple_encodings.json.xz", "rt", encoding="utf-8") as text:
        answers = json.load(text)[tree]
    assert len(answers) == columns
    assert differences(ENCODINGS, tree, answers) == (columns, [])


def test_doubles_in_few_bits_are_doubles() -> None:
    """uproot makes float32 of them, which has 24 of the 32 bits."""
    reader = Reader(ENCODINGS, "encoded")
    column = reader.read(["f8_quant32_1"], 0, reader.entries)["f8_quant32_1"]
    assert isinstance(column, Flat) and column.values.dtype == np.float64
    inside = column.values[(column.values > 0) & (column.values < 1)]
    steps = inside * (2**32 - 1)
    assert len(inside) and np.abs(steps - steps.round()).max() < 1e-5
    assert not (inside == inside.astype(np.float32)).all()
    reader.close()
