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
OURS = (
    "clones", "indexed", "nested", "odd_branches", "odd_members", "odd_trees", "one_production", "references", "unsplit",
)  # fmt: skip
THEIRS = (
    "uproot-small-dy-withoffsets", "uproot-small-dy-nooffsets", "uproot-stl_containers", "uproot-sample-6.20.04-lzma",
    "uproot-sample-6.18.00-zlib", "uproot-small-evnt-tree-nosplit", "uproot-small-evnt-tree-fullsplit",
    "uproot-double32-float16", "uproot-issue21",
)  # fmt: skip
NTUPLES = ("rntuples", "records", "variants", "ntuple_encodings")


def path_of(name: str) -> Path:
    return Path(skhep_testdata.data_path(f"{name}.root") if name in THEIRS else TESTS / "data" / f"{name}.root")


def try_copies(first: int, number: int, *files: str) -> list[dict[str, int]]:
    """What came of so many copies of each file, all in one process, whose start costs as much as hundreds of copies. None of
    them may have come to a bad end; of what is `:checked`, other values are one, too."""
    paths = [f"{path_of(name)}{separator}{how}" for name, separator, how in (file.partition(":") for file in files)]
    command = [sys.executable, "-W", "ignore", TESTS / "support" / "damage.py", str(first), str(number), *paths]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert not (faults := [fault for _, faults in found for fault in faults]), "\n".join(faults)
    assert [sum(counts.values()) for counts, _ in found] == [number] * len(files)
    return [counts for counts, _ in found]


@pytest.mark.long("processes of their own read 120 damaged copies; tests/processes/test_damaged_files.py has some")
def test_damaged_trees() -> None:
    files = ("odd_branches", "uproot-small-dy-withoffsets", "uproot-sample-6.18.00-zlib")
    assert all(counts.get("refused", 0) > 0 for counts in try_copies(0, 40, *files))


@pytest.mark.long("as above")
def test_damaged_ntuples_have_no_other_values() -> None:
    """Header, footer, page lists and pages have checksums, also those that only uproot reads. The last file's descriptions
    are nonsense with a right checksum, which a writer with a fault may write.

    For a reader that looks at no checksum most copies are refused or the same, too; among these, copy 100 of the first file
    and copy 79 of the second have other values for it.
    """
    *checked, nonsense = try_copies(79, 25, "rntuples:checked", "variants:checked", "ntuple_encodings")
    assert not any("other" in counts for counts in checked)
    assert all(counts.get("refused", 0) > 0 for counts in [*checked, nonsense])


def test_a_description_of_classes_that_would_be_looked_up_in_itself_is_refused_at_once() -> None:
    """It took uproot minutes to come to the end of the stack, for this copy and for many like it."""
    assert try_copies(1584, 1, "nested")[0] in ({"refused": 1}, {"partly": 1})


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("file", [*OURS, *THEIRS, *(f"{name}:checked" for name in NTUPLES)])
def test_very_many_damaged_copies(file: str) -> None:
    (counts,) = try_copies(1_000, 5_000, file)
    assert "other" not in counts or not file.endswith(":checked")
