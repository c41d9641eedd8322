"""s3://: files are found, read, written and read again in a real store of objects, by the client that users have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot
from s3_site import s3_site

SCRIPT = Path(__file__).parents[1] / "support" / "systems" / "s3_skim.py"


@pytest.mark.timeout(400)
def test_skims_in_a_store_of_objects(tmp_path: Path) -> None:
    """Values are those of numpy, in both formats; nothing but files and their list is left, and they are not replaced."""
    met = np.random.default_rng(1).exponential(40, 5000).astype("f4")
    with uproot.recreate(tmp_path / "events.root") as file:
        file.mktree("Events", {"met": "f4", "number": "i8"}).extend({"met": met, "number": np.arange(5000)})
    with s3_site(tmp_path) as variables:
        command = [sys.executable, str(SCRIPT), str(tmp_path / "events.root")]
        done = subprocess.run(
            command, env=os.environ | variables, capture_output=True, text=True, timeout=300, cwd=tmp_path
        )
    assert done.returncode == 0, done.stderr
    selected = np.flatnonzero(met > 50)
    for form, found in json.loads(done.stdout.splitlines()[-1]).items():
        assert (found["rows"], found["sum"]) == (2 * len(selected), 2 * selected.sum())
        assert found["files"] == ["json", form]
        assert f"s3://bucket/{form}/rows-0000.{form} is there already" in found["again"]
