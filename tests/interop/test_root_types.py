"""What ROOT's own writer makes is what ROOT reads, at every cut, or refused in words: all types and encodings, made anew.

That takes ROOT, g++ and a quarter of an hour. `EVENTMILL_ROOT_PYTHON` is a Python that has ROOT; by default this one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from root_answers import differences

ROOT = os.environ.get("EVENTMILL_ROOT_PYTHON") or (sys.executable if importlib.util.find_spec("ROOT") else "")
NOT_COMPARED = (
    "unordered_.*",  # of another order in memory than in the file
    ".*variant.*",  # ROOT does not take them apart here: see `test_variants`
    "unique_.*",  # a list of none or one, where ROOT has a pointer
    "v_array.*",  # not written as a whole by ROOT, which says so
)
RECORDS = ("objects", "lists")
"""Trees of objects, of which `test_unsplit` has ROOT's answers."""
FEW = {"wide": (r"(?!.*00$).*",)}
"""Of thousands of fields a few."""

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not ROOT, reason="there is no ROOT: pip install root, or set EVENTMILL_ROOT_PYTHON"),
]


@pytest.mark.parametrize("script", ["ntuples", "trees"])
def test_all_that_root_writes(script: str, tmp_path: Path) -> None:
    subprocess.run([ROOT, "-W", "ignore", Path(__file__).parent / f"root_{script}.py", tmp_path], check=True)
    answers = json.loads((tmp_path / f"{script}.json").read_text(encoding="utf-8"))
    equal, found = 0, []
    for file, trees in answers.items():
        for tree, values in trees.items():
            if tree not in RECORDS:
                known = (*NOT_COMPARED, *FEW.get(tree, ()))
                number, problems = differences(str(tmp_path / file), tree, values, known)
                equal, found = equal + number, found + problems
    assert not found, "\n".join(found)
    assert equal > 500
