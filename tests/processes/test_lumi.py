"""The luminosity sections of what was processed, no more and no less."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import DatasetError


def write(path: Path, run: int, events: list[int], sections: list[int] | None) -> str:
    """A file with an event in each of these sections, and a list of all that it was made of."""
    with uproot.recreate(path) as file:
        file.mktree("Events", {"run": "uint32", "luminosityBlock": "uint32"})
        if events:
            file["Events"].extend(
                {"run": np.full(len(events), run, np.uint32), "luminosityBlock": np.array(events, np.uint32)}
            )
        if sections is not None:
            file.mktree("LuminosityBlocks", {"run": "uint32", "luminosityBlock": "uint32"})
            numbers = np.array(sections, np.uint32)
            file["LuminosityBlocks"].extend({"run": np.full(len(numbers), run, np.uint32), "luminosityBlock": numbers})
    return str(path)


def count(events: ak.Array) -> int:
    if ak.any((events.luminosityBlock == 13) & (events.run == 2)):
        raise ValueError("thirteen")
    return len(events)


def test_sections_are_of_what_was_processed(session: em.Session, tmp_path: Path) -> None:
    """Also those without events, and none of which events were lost; a mask is not stepped over."""
    files = [
        write(tmp_path / "a.root", 1, [1, 1, 3], [1, 2, 3]),
        write(tmp_path / "b.root", 2, [11, 12, 13, 14, 15, 15], [11, 12, 13, 14, 15, 16]),
        write(tmp_path / "c.root", 3, [], [5]),
    ]
    data = em.Dataset(files, tree="Events")
    result = session.process(data, count, on_error="skip", chunk=1).result()
    assert result.account.failed == 1
    lumi = session.processed_lumi(data, result)
    assert lumi == {"1": [[1, 3]], "2": [[11, 12], [14, 16]], "3": [[5, 5]]}
    assert (lumi.lost, lumi.runs, lumi.files) == ({"2": [[13, 13]]}, [1, 2, 3], files)
    lumi.write(tmp_path / "processed_lumi.json")
    assert json.loads((tmp_path / "processed_lumi.json").read_text()) == lumi
    assert session.processed_lumi(data, result, tree=None) == {"1": [[1, 1], [3, 3]], "2": [[11, 12], [14, 15]]}
    masked = em.Dataset(files, tree="Events", mask={"1": [[2, 9]], "2": [[12, 15]]})
    part = session.process(masked, count, on_error="skip", chunk=1).result()
    assert session.processed_lumi(masked, part) == {"1": [[2, 3]], "2": [[12, 12], [14, 15]]}


def test_what_cannot_be_read_has_no_luminosity(session: em.Session, tmp_path: Path) -> None:
    whole = write(tmp_path / "a.root", 1, [1, 2], [1, 2])
    gone = str(tmp_path / "gone.root")
    data = em.Dataset([whole, gone], tree="Events")
    result = session.process(data, count, on_error="skip").result()
    with pytest.raises(DatasetError, match=r"1 file cannot be summed in the tree LuminosityBlocks(.|\n)*gone.root"):
        session.processed_lumi(data, result)
    with pytest.raises(DatasetError, match=r"which luminosity sections are in .*gone.root cannot be told"):
        session.processed_lumi(data, result, tree=None)
    bare = write(tmp_path / "bare.root", 1, [3], None)
    other = em.Dataset([whole, bare], tree="Events")
    done = session.process(other, count).result()
    with pytest.raises(DatasetError, match="no tree LuminosityBlocks"):
        session.processed_lumi(other, done)
    assert session.processed_lumi(other, done, tree=None) == {"1": [[1, 3]]}
    with pytest.raises(DatasetError, match="a result of 2 files, and 1 are to be summed"):
        session.processed_lumi(whole, done)
