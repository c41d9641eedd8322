"""RNTuples with columns of all encodings are what ROOT reads, as a whole and in part; of each kind, at every cut.

`interop/root_ntuples.py` has written `data/ntuple_encodings.root` with ROOT 6.40, with clusters of odd sizes and small
pages, and what ROOT reads in it; `test_root_types` has it write all types anew.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from eventmill.reading.columns import Flat
from eventmill.reading.reader import Reader
from root_answers import differences

DATA = Path(__file__).parents[1] / "data"
ENCODINGS = str(DATA / "ntuple_encodings.root")


def stands_for_its_kind(name: str) -> bool:
    """Of floats of few bits, those of one number of bits, which is no number of whole bytes: where a piece begins is found
    without regard to how many bits they have. All others, too, of which each has a layout of its own."""
    return re.search("_(trunc|quant)", name) is None or re.search("_trunc17$|_quant9_100$", name) is not None


def some(name: str) -> bool:
    """One of each way to lay out numbers, texts and the ends of lists; `stands_for_its_kind` has each with each type."""
    return (
        re.search("^(v?bool_6|char_5|vi2_26|u4_13|vi8_22|ssplit32|oindex64|vf4_trunc17|f8_quant9_100|vf8_half)$", name)
        is not None
    )


def every(name: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("tree", "columns", "at_every_cut"),
    [
        ("encoded", 264, some),
        pytest.param("encoded", 264, stands_for_its_kind, marks=pytest.mark.long("thousands of reads; some are above")),
        pytest.param("encoded", 264, every, marks=pytest.mark.nightly),
        ("projected", 18, every),
        ("attributes", 2, every),
        ("parallel", 3, every),
    ],
)
def test_every_encoding_is_what_root_reads(tree: str, columns: int, at_every_cut: Callable[[str], bool]) -> None:
    """All columns that ROOT writes numbers, lists and texts in, floats of any number of bits too; projected fields, some of
    which begin late; an RNTuple with attributes; clusters that several threads have written.
    """
    with lzma.open(DATA / "ntuple_encodings.json.xz", "rt", encoding="utf-8") as text:
        answers = json.load(text)[tree]
    assert len(answers) == columns
    assert differences(ENCODINGS, tree, answers, at_every_cut=at_every_cut) == (columns, [])


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
