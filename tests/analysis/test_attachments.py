"""Large arrays of an analysis travel beside it, named by their content: the same one is known again, another one is not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from attached import store
from eventmill.analysis import attachments
from eventmill.analysis.analysis import Analysis, pack, unpack
from eventmill.analysis.attachments import LEAST, MOST_PRIVATE
from eventmill.protocol.errors import AnalysisError
from eventmill.system.content_folder import ContentFolder, digest_of


def arrived(analysis: Analysis, folder: Path) -> Any:
    """The analysis as a slot makes it, whose agent has stored its attachments."""
    store(analysis, folder)
    return unpack(analysis.blob)


def sum_of(table: Any) -> Callable[[Any], float]:
    def analysis(events: Any) -> float:
        return float(np.sum(table))

    return analysis


def table_of(function: Any) -> Any:
    return function.__closure__[0].cell_contents


def test_a_large_array_travels_beside_the_analysis(tmp_path: Path) -> None:
    table = np.arange(LEAST, dtype=np.int64)
    analysis = pack(sum_of(table))
    assert len(analysis.blob) < 100_000
    assert list(analysis.attachments) == [digest_of(table.tobytes())]
    function = arrived(analysis, tmp_path)
    assert function(None) == float(table.sum())
    assert (table_of(function) == table).all()


def test_a_small_array_stays_in_the_analysis() -> None:
    assert not pack(sum_of(np.arange(1000))).attachments


def test_an_array_that_has_changed_is_another_analysis_with_another_attachment(tmp_path: Path) -> None:
    """Changed in place, it has the same address, type and length as before."""
    table = np.zeros(LEAST)
    before = pack(sum_of(table))
    again = pack(sum_of(table))
    assert (again.digest, list(again.attachments)) == (before.digest, list(before.attachments))
    table[-1] = 7
    after = pack(sum_of(table))
    assert after.digest != before.digest and list(after.attachments) != list(before.attachments)
    assert arrived(after, tmp_path)(None) == 7.0


def test_a_large_array_cannot_be_changed_in_a_slot_and_a_smaller_one_is_its_own(tmp_path: Path) -> None:
    """Slots share the memory of a large one: what one wrote into it, others would compute with."""
    large = arrived(pack(sum_of(np.zeros(MOST_PRIVATE // 8 + 1))), tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        table_of(large)[0] = 1
    first, second = (arrived(pack(sum_of(np.zeros(LEAST // 8))), tmp_path) for _ in range(2))
    table_of(first)[0] = 1
    assert (first(None), second(None)) == (1.0, 0.0)


@pytest.mark.parametrize(
    "thing",
    [
        {"a": np.arange(LEAST), "b": [np.arange(LEAST)]},
        np.asfortranarray(np.arange(LEAST).reshape(2, -1)),
        np.arange(4 * LEAST, dtype=np.int32)[::2],
        np.arange(LEAST).astype("datetime64[s]"),
        ak.unflatten(np.tile([1.0, 2.0], LEAST // 4), np.tile([2, 0], LEAST // 4)),
    ],
    ids=["twice", "fortran", "strided", "times", "awkward"],
)
def test_whatever_holds_large_buffers_comes_as_it_was(thing: Any, tmp_path: Path) -> None:
    came = table_of(arrived(pack(sum_of(thing)), tmp_path))
    if isinstance(thing, dict):
        assert (came["a"] == thing["a"]).all() and (came["b"][0] == thing["b"][0]).all()
    else:
        assert ak.all(came == thing) and type(came) is type(thing)


def test_the_same_content_twice_travels_once() -> None:
    assert len(pack(sum_of([np.ones(LEAST), np.ones(LEAST)])).attachments) == 1


def test_arrays_of_the_users_modules_travel_beside_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tables_of_mine.py").write_text(
        f"import numpy as np\nTABLE = np.zeros({LEAST})\n\ndef total(events):\n    return float(TABLE.sum())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import tables_of_mine  # type: ignore[import-not-found]

    try:
        tables_of_mine.TABLE[1] = 5
        analysis = pack(tables_of_mine.total)
        assert len(analysis.blob) < 100_000 and len(analysis.attachments) == 1
        tables_of_mine.TABLE = None
        assert arrived(analysis, tmp_path / "attachments")(None) == 5.0
    finally:
        del sys.modules["tables_of_mine"]


def test_a_slot_without_an_attachment_says_what_is_wrong(tmp_path: Path) -> None:
    analysis = pack(sum_of(np.zeros(LEAST)))
    attachments.find_in(tmp_path / "nowhere")
    with pytest.raises(AnalysisError, match="an array of the analysis is not on this worker"):
        unpack(analysis.blob)


def test_the_user_hears_of_an_analysis_of_50_mb() -> None:
    with pytest.warns(UserWarning, match=r"takes 56 MB, which go to each worker, once .*table \(ndarray, 56 MB\)"):
        pack(sum_of(np.zeros(7_000_000)))


# --- the folder -------------------------------------------------------------------------------------------------------


def test_what_is_in_a_folder_is_written_once_and_goes_when_it_is_not_used(tmp_path: Path) -> None:
    folder = ContentFolder(tmp_path / "new")
    folder.trim((), 0)
    contents = {digest_of(bytes([i] * 10)): bytes([i] * 10) for i in range(4)}
    for digest, content in contents.items():
        folder.add(digest, content)
    inode = (folder.path / next(iter(contents))).stat().st_ino
    folder.add(*next(iter(contents.items())))
    assert (folder.path / next(iter(contents))).stat().st_ino == inode
    used, *others = contents
    held = folder.content(others[0])
    folder.trim({used}, 20)
    assert len(list(folder.path.iterdir())) == 3
    folder.trim({used}, 0)
    assert [file.name for file in folder.path.iterdir()] == [used]
    assert bytes(held) == contents[others[0]], "who has the content keeps it"
