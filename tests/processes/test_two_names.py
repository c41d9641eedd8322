"""One file under two names: its events would count twice, so the query is refused; what is on purpose is exact."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import msgspec
import numpy as np
import pytest
import uproot
from eventmill.master.query import Query
from eventmill.master.saved import Saved
from eventmill.packetizer.files import OpenedFile
from eventmill.protocol import messages as m
from eventmill.protocol.errors import DatasetError
from processes import SECONDS
from xrootd_server import XRootDServer

SUM = sum(range(1000))


def total(events: ak.Array) -> int:
    return int(ak.sum(events.number))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`here/a.root`, and what else it is called."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "here").mkdir()
    with uproot.recreate(folder / "here/a.root") as file:
        file.mktree("Events", {"number": "int64"}).extend({"number": np.arange(1000)})
    (folder / "here/link.root").symlink_to("a.root")
    (folder / "hard.root").hardlink_to(folder / "here/a.root")
    (folder / "there").symlink_to("here")
    shutil.copy(folder / "here/a.root", folder / "copy.root")
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ["here/a.root", "here/link.root"],
        ["here/a.root", "hard.root"],
        ["here/a.root", "there/a.root"],
        ["here/*.root"],
        ["here/a.root", "here/a.root:Events"],
        ["here/a.root", "file://{folder}/here/a.root"],
        {"muons": ["here/a.root", "hard.root"], "electrons": ["here/a.root"]},
    ],
    ids=["symbolic link", "hard link", "linked folder", "pattern", "tree", "address", "within a dataset"],
)
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_one_file_under_two_names_is_refused(
    session: em.Session, folder: Path, monkeypatch: pytest.MonkeyPatch, names: Any, on_error: Any
) -> None:
    monkeypatch.chdir(folder)

    def there(names: Sequence[str]) -> list[str]:
        return [name.format(folder=folder) for name in names]

    data = {key: there(value) for key, value in names.items()} if isinstance(names, dict) else there(names)
    with pytest.raises(DatasetError, match="under another name: its events would count twice; name it once") as caught:
        session.process(data, total, on_error=on_error).result(SECONDS)
    assert "a.root" in str(caught.value)


def test_what_is_no_other_name_counts(session: em.Session, folder: Path) -> None:
    """The same file in two datasets, on purpose; a copy, which is another file; two trees of one file."""
    first, link = str(folder / "here/a.root"), str(folder / "here/link.root")
    both = session.process({"muons": [first], "electrons": [link]}, total).result(SECONDS)
    assert both.value == 2 * SUM and not both.account.notes
    copied = session.process([first, str(folder / "copy.root")], total).result(SECONDS)
    assert copied.value == 2 * SUM
    with uproot.recreate(folder / "two.root") as file:
        for tree in ("one", "two"):
            file.mktree(tree, {"number": "int64"}).extend({"number": np.arange(1000)})
    trees = session.process([f"{folder}/two.root:one", f"{folder}/two.root:two"], total).result(SECONDS)
    assert trees.value == 2 * SUM


def test_a_parquet_file_under_two_names_is_refused(session: em.Session, tmp_path: Path) -> None:
    """It has no UUID, and a place as all files."""
    first, link = tmp_path / "a.parquet", tmp_path / "link.parquet"
    ak.to_parquet(ak.Array({"number": np.arange(1000)}), first)
    link.symlink_to("a.parquet")
    with pytest.raises(DatasetError, match="under another name: its events would count twice"):
        session.process([str(first), str(link)], total).result(SECONDS)
    copy = shutil.copy(first, tmp_path / "copy.parquet")
    assert session.process([str(first), copy], total).result(SECONDS).value == 2 * SUM


def test_servers_that_number_their_files_tell_other_names(session: em.Session, xrootd_server: XRootDServer) -> None:
    """By a link, and by another name of the server; a replica is the file itself at another place."""
    with uproot.recreate(xrootd_server.folder / "named.root") as file:
        file.mktree("Events", {"number": "int64"}).extend({"number": np.arange(1000)})
    (xrootd_server.folder / "named.root").chmod(0o644)
    (xrootd_server.folder / "other.root").symlink_to("named.root")
    url = f"{xrootd_server.url}/named.root"
    other = url.replace("127.0.0.1", "localhost")
    assert other != url
    for second in (f"{xrootd_server.url}/other.root", other):
        with pytest.raises(DatasetError, match=r"named\.root is .* under another name|other\.root is .*named\.root"):
            session.process([url, second], total).result(SECONDS)
    replicated = session.process(em.Dataset([(url, other)]), total).result(SECONDS)
    assert replicated.value == SUM


def test_a_master_that_was_started_again_knows_where_files_lie() -> None:
    """One name was opened with the master before, the other is opened with this one."""
    frames = [b"analysis", msgspec.msgpack.encode([m.File("a.root"), m.File("link.root"), m.File("b.root")])]
    opened = {0: OpenedFile(10, place=b"inode 7")}
    saved = Saved("q1", m.Submit(1, "total", "function", "digest"), 0.0, frames, opened=opened)
    query = Query.restored(saved, now=0.0, wall=0.0)
    assert query.places.meet(query.files, 0, b"inode 7") == query.places.meet(query.files, 2, b"inode 8") == ""
    assert query.places.meet(query.files, 1, b"inode 7").startswith("link.root is a.root under another name")
