"""Files of ROOT 3 and 4, whose blocks are raw deflate: they open, with the values of the same file written today.

(ROOT 6.40 reads the file that `as_root_3_wrote` makes. Of a file of D0 of that time, 429 columns were compared with ROOT.)
"""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Flat, Jagged
from eventmill.reading.reader import Reader
from old_blocks import NOTHING, as_root_3_wrote


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with numbers, lists of them, and texts, each in several baskets."""
    path = tmp_path / "old.root"
    with uproot.recreate(path, compression=uproot.ZLIB(6)) as file:
        file.mktree("Events", {"number": "int32", "jet": "var * float32", "text": "string"})
        for first in (0, 500):
            numbers = np.arange(first, first + 500, dtype=np.int32)
            jets = ak.unflatten(np.arange(1000, dtype=np.float32) + first, np.full(500, 2))
            file["Events"].extend({"number": numbers, "jet": jets, "text": [f"event {number}" for number in numbers]})
    return path


def test_blocks_of_root_3_are_read_in_columns_and_arrays(path: Path) -> None:
    """`number` and `jet` the short way, `text` by uproot, which refuses such blocks; it could not even open the file."""
    with_zlib = Reader(str(path), "Events").events(0, 1000)
    right = {name: with_zlib[name].to_list() for name in ("number", "jet", "text")}
    assert as_root_3_wrote(path) >= 6
    reader = Reader(str(path), "Events")
    events = reader.events(0, 1000)
    assert {name: events[name].to_list() for name in right} == right
    columns = reader.read(["number", "jet"], 400, 600)
    assert isinstance(columns["number"], Flat) and columns["number"].values.tolist() == list(range(400, 600))
    jets = columns["jet"]
    assert isinstance(jets, Jagged) and isinstance(jets.content, Flat)
    values = jets.content.values[jets.offsets[0] : jets.offsets[-1]]
    assert values.tolist() == [*range(800, 1000), *range(500, 700)]


def test_a_damaged_old_block_is_told(path: Path) -> None:
    as_root_3_wrote(path)
    content = path.read_bytes()
    first = content.index(b"CS\x08") + 9 + len(NOTHING)
    path.write_bytes(content[:first] + b"\xff" * 40 + content[first + 40 :])
    with pytest.raises(DatasetError, match="deflate block at byte 0 is damaged"):
        Reader(str(path), "Events").read(["number", "jet"], 0, 1000)
