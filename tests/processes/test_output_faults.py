# mypy: allow-untyped-defs, allow-untyped-decorators
"""Real faults at what rows are written to: a disk that is full, a server that dies, a session that ends meanwhile."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import OutputError
from processes import Standing
from xrootd_server import serving

SECONDS, FILES, EACH = 60, 10, 300
ENTRIES, WIDTH = FILES * EACH, 100
"""Rows, and the numbers in each."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> em.Dataset:
    folder = tmp_path_factory.mktemp("events")
    for at in range(FILES):
        with uproot.recreate(folder / f"{at}.root") as file:
            file.mktree("Events", {"number": "int64"}).extend({"number": np.arange(at * EACH, (at + 1) * EACH)})
    return em.Dataset(str(folder / "*.root"), tree="Events", chunk=100)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte, which root can make."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("only root mounts a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fat(numbers: Any) -> Any:
    """Rows that no compression makes small, whose values are known."""
    return np.stack([np.random.default_rng(number).random(WIDTH) for number in np.asarray(numbers)])


def skim(folder: Path | str, go_on: Path, **options: Any) -> Any:
    """All events; of those behind the first file none before the file `go_on` is there."""

    def selected(events: ak.Array) -> dict[str, Any]:
        import time

        while events.number[0] >= EACH and not go_on.exists():
            time.sleep(0.01)
        rows = {"number": events.number, "fat": ak.from_regular(ak.Array(fat(events.number)))}
        return {"n": len(events), "skim": em.write(rows, folder, **options)}

    return selected


def begun(session: em.Session, data: em.Dataset, analysis: Any) -> em.Query:
    """A query of which something is merged, and that waits."""
    query = session.process(data, analysis)
    next(iter(query.stream()))
    return query


def assert_whole(rows: ak.Array) -> None:
    rows = rows[ak.argsort(rows.number)]
    assert rows.number.tolist() == list(range(ENTRIES))
    assert np.array_equal(ak.to_numpy(rows.fat), fat(rows.number))


def test_a_full_disk_costs_nothing_that_was_written_before(
    standing: Standing, data: em.Dataset, small_disk: Path, tmp_path: Path
) -> None:
    """The query ends with the host and the path; when there is room again, its rows are files, and the rest is done."""
    go_on, folder = tmp_path / "go_on", small_disk / "out"
    with standing.connect() as session:
        query = begun(session, data, skim(folder, go_on))
        go_on.touch()
        with pytest.raises(OutputError, match=r"on \S+: .*/disk/out/\S+ cannot be written: No space left") as caught:
            query.result(SECONDS)
        part = caught.value.result  # type: ignore[attr-defined]
        assert 0 < part.account.processed == part["n"] == part["skim"].rows < ENTRIES
        assert not list(folder.glob("*.parquet"))
        subprocess.run(["mount", "-o", "remount,size=30m", small_disk], check=True)
        rest = session.process(part.account.failed_dataset(data), skim(folder, go_on, name="rest")).result(SECONDS)
        whole = part.merged(rest)
        assert_whole(ak.from_parquet(whole["skim"].paths))
        assert whole["n"] == ENTRIES and not [path for path in folder.iterdir() if path.is_dir()]


def test_a_session_that_ends_leaves_its_rows_to_the_next_one(
    standing: Standing, data: em.Dataset, tmp_path: Path
) -> None:
    go_on = tmp_path / "go_on"
    with standing.connect() as first:
        number = begun(first, data, skim(tmp_path / "out", go_on)).id
    go_on.touch()
    with standing.connect() as second:
        result = second.attach(number).result(SECONDS)
        assert_whole(ak.from_parquet(result["skim"].paths))
        again = second.attach(number).result(SECONDS)
        assert list(again["skim"]) == list(result["skim"])
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".parquet", ".json"}


@pytest.mark.long("a server is gone for seconds")
def test_a_server_that_dies_and_comes_back_has_every_row_once(
    standing: Standing, data: em.Dataset, tmp_path: Path
) -> None:
    """It dies with pieces on it, while more are written; slots try again until it is there. Then they replace the files."""
    go_on = tmp_path / "go_on"
    with serving() as server, standing.connect() as session:
        for overwrite in (False, True):
            query = begun(session, data, skim(f"{server.url}/out", go_on, rows=1000, overwrite=overwrite))
            server.kill()
            go_on.touch()
            server.start()
            files = query.result(SECONDS)["skim"]
            folder = server.folder / "out"
            assert_whole(ak.from_parquet([folder / Path(path).name for path in files.paths]))
            assert sorted(path.suffix for path in folder.rglob("*")) == [".json", *[".parquet"] * 3]
            go_on.unlink()
