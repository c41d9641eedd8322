"""Damaged copies of small files of all kinds: an error in words, or values; no crash, no hang, no huge memory.

And where all is under checksums, in RNTuples, no other values. Each night 100,000 copies are read.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import skhep_testdata

TESTS = Path(__file__).parents[1]
OURS = ("clones", "indexed", "nested", "odd_branches", "odd_trees", "one_production", "references", "unsplit")
THEIRS = (
    "uproot-small-dy-withoffsets", "uproot-small-dy-nooffsets", "uproot-stl_containers", "uproot-sample-6.20.04-lzma",
    "uproot-sample-6.18.00-zlib", "uproot-small-evnt-tree-nosplit", "uproot-small-evnt-tree-fullsplit",
    "uproot-double32-float16",
)  # fmt: skip
NTUPLES = ("rntuples", "records", "variants", "ntuple_encodings")


def path_of(name: str) -> Path:
    return Path(skhep_testdata.data_path(f"{name}.root") if name in THEIRS else TESTS / "data" / f"{name}.root")


def try_copies(name: str, first: int, number: int, *how: str) -> dict[str, int]:
    """What came of so many copies; none of them may have come to a bad end."""
    command = [sys.executable, "-W", "ignore", TESTS / "support" / "damage.py", path_of(name), str(first), str(number)]
    counts, faults = json.loads(subprocess.run([*command, *how], check=True, capture_output=True, text=True).stdout)
    assert not faults, "\n".join(faults)
    assert sum(counts.values()) == number
    return dict(counts)


@pytest.mark.parametrize("name", ["odd_branches", "uproot-small-dy-withoffsets", "uproot-sample-6.18.00-zlib"])
def test_damaged_trees(name: str) -> None:
    assert try_copies(name, 0, 80).get("refused", 0) > 0


@pytest.mark.parametrize("name", ["rntuples", "variants"])
def test_damaged_ntuples_have_no_other_values(name: str) -> None:
    """Header, footer, page lists and pages have checksums, also those that only uproot reads."""
    assert "other" not in try_copies(name, 0, 40, "checked")


def test_ntuples_whose_description_is_nonsense() -> None:
    """With a right checksum: what a writer with a fault may write."""
    try_copies("ntuple_encodings", 0, 40)


def test_a_description_of_classes_that_would_be_looked_up_in_itself_is_refused_at_once() -> None:
    """It took uproot minutes to come to the end of the stack, for this copy and for many like it."""
    assert try_copies("nested", 1584, 1) in ({"refused": 1}, {"partly": 1})


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", [*OURS, *THEIRS, *NTUPLES])
def test_very_many_damaged_copies(name: str) -> None:
    counts = try_copies(name, 1_000, 5_000, *(["checked"] if name in NTUPLES else []))
    assert "other" not in counts or name not in NTUPLES
