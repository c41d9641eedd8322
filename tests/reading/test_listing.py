"""Listing: what a path stands for on a real disk and a real XRootD server, and what is said when nothing is there."""

import os
import signal
import socket
import threading
from pathlib import Path

import awkward as ak
import eventmill as em
import fsspec
import pytest
import uproot
from eventmill.dataset.paths import split_tree
from eventmill.protocol.errors import DatasetError
from eventmill.reading.storage import list_files as listing
from eventmill.reading.storage.list_files import list_files
from processes import Standing, eventually
from xrootd_server import XRootDServer


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("run1/a.root", "run1/b.root", "run2/a.root", "run2/deep/c.root", "run2/notes.txt", "empty/x.txt"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


def names(found: list[str], folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in found]


def test_local_patterns(tree: Path) -> None:
    assert names(list_files(f"{tree}/*/a.root"), tree) == ["run1/a.root", "run2/a.root"]
    assert names(list_files(f"{tree}/**/*.root"), tree) == [
        "run1/a.root",
        "run1/b.root",
        "run2/a.root",
        "run2/deep/c.root",
    ]
    assert names(list_files(f"{tree}/run[13]/?.root"), tree) == ["run1/a.root", "run1/b.root"]


def test_a_folder_stands_for_its_root_files(tree: Path) -> None:
    assert names(list_files(str(tree / "run2")), tree) == ["run2/a.root"]
    with pytest.raises(DatasetError, match=r"no \*\.root files"):
        list_files(str(tree / "empty"))


def test_relative_paths_and_the_home_folder_come_out_absolute(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker runs in another folder, and maybe as another user."""
    monkeypatch.chdir(tree / "run1")
    monkeypatch.setenv("HOME", str(tree))
    assert list_files("../run2/a.root") == [str(tree / "run2/a.root")]
    assert list_files("~/run1/*.root") == [str(tree / "run1/a.root"), str(tree / "run1/b.root")]


def test_a_file_whose_name_looks_like_a_pattern_is_taken_for_itself(tree: Path) -> None:
    odd = tree / "run[1].root"
    odd.touch()
    assert list_files(str(odd)) == [str(odd)]


def test_a_folder_whose_name_looks_like_a_pattern_is_taken_by_its_name(tree: Path) -> None:
    """`run[1]` fits the folder run1, too, whose files would be read without a word."""
    odd = tree / "more" / "run[1]" / "a.root"
    odd.parent.mkdir(parents=True)
    odd.touch()
    (tree / "more" / "run1").mkdir()
    (tree / "more" / "run1" / "b.root").touch()
    for path in (
        "more/run[1]",
        "more/run[1]/a.root",
        "more/run[1]/*.root",
        "m*/run[1]/?.root",
        "more/run[1]/**/*.root",
    ):
        assert list_files(f"{tree}/{path}") == [str(odd)], path
    assert names(list_files(f"{tree}/more/run[1-2]/*.root"), tree) == ["more/run1/b.root"], "where nothing is called so"
    missing = f"{tree}/more/run[1]/c.root"
    assert list_files(missing, keep_missing=True) == [missing]
    with pytest.raises(DatasetError, match=r"there is no file .*run\[1\]/c.root: there is no c.root in"):
        list_files(missing)


def test_files_in_such_a_folder_are_read_with_replicas_and_friends(standing: Standing, tree: Path) -> None:
    odd, other = tree / "run[1]" / "a.root", tree / "run[2]" / "a.root"
    for path in (odd, other):
        path.parent.mkdir()
        with uproot.recreate(path) as file:
            for name, values in (("t", [1, 2, 3]), ("f", [10, 20, 30])):
                file.mktree(name, {name + "x": "int64"})
                file[name].extend({name + "x": values})
    data = em.Dataset([(odd, other)], tree="t", friends={"f": "{folder}/{name}:f"}).expanded(list_files)
    (file,) = data.files
    assert (file.path, file.replicas, file.friends["f"].path) == (str(odd), (str(other),), str(odd))
    with standing.connect() as session:
        total = session.process(data, lambda events: {"sum": ak.sum(events.tx * events.fx)}).result()["sum"]
    assert total == 140


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("run1/c.root", r"there is no c\.root in .*run1; the nearest names are .*\.root"),
        ("rum1/a.root", r"there is no rum1 in .*; the nearest names are run"),
        ("rum1/*.root", r"no file fits .*there is no rum1"),
        ("run1/z*.root", r"no file fits .*z\*\.root"),
    ],
)
def test_what_is_missing_is_told_with_the_nearest_names(tree: Path, path: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        list_files(str(tree / path))


def test_stores_that_fsspec_knows_are_listed_by_it() -> None:
    fsspec.filesystem("memory").pipe({"/listed/b.root": b"", "/listed/a.root": b"", "/listed/c.txt": b""})
    fsspec.filesystem("memory").pipe({"/listed/run[1]/b.root": b"", "/listed/run1/a.root": b""})
    assert list_files("memory://listed/run[1]/*.root") == ["memory:///listed/run[1]/b.root"]
    assert list_files("memory://listed/*.root") == ["memory:///listed/a.root", "memory:///listed/b.root"]
    assert list_files("memory://listed/c.txt") == ["memory://listed/c.txt"]


@pytest.mark.parametrize("url", ["root://nowhere.invalid//store/a.root", "root://h//a.root?x=[1]*", "https://h/a.root"])
def test_plain_addresses_pass_without_contact(url: str) -> None:
    assert list_files(url) == [url]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://h/*.root", "web servers cannot list"),
        ("nope://b/a.root", "not nope://"),
        ("memory://empty/*.root", "no file fits memory://empty"),
        ("root://h//**/a.root", "local files only"),
    ],
)
def test_what_cannot_be_listed_is_refused(url: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        list_files(url)


# --- a real server ----------------------------------------------------------------------------------------------------


def test_wildcards_on_a_server_may_be_in_any_part(xrootd_server: XRootDServer) -> None:
    for name in (
        "listing/r1/a.root",
        "listing/r1/b.root",
        "listing/r2/a.root",
        "listing/r2/deep/a.root",
        "listing/a.root",
        "listing/odd/r[1]/c.root",
        "listing/odd/r1/d.root",
    ):
        file = xrootd_server.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    base = f"{xrootd_server.url}/listing"
    assert list_files(f"{base}/*/a.root") == [f"{base}/r1/a.root", f"{base}/r2/a.root"]
    assert list_files(f"{base}/r[12]/*.root") == [f"{base}/r1/a.root", f"{base}/r1/b.root", f"{base}/r2/a.root"]
    assert list_files(f"{base}/*/*/a.root?x=1") == [f"{base}/r2/deep/a.root?x=1"]
    for path in ("odd/r[1]/*.root", "o*/r[1]/c.root"):
        assert list_files(f"{base}/{path}") == [f"{base}/odd/r[1]/c.root"], "a folder that is called so goes first"
    with pytest.raises(DatasetError, match=r"no file fits .*z\*"):
        list_files(f"{base}/r1/z*.root")
    with pytest.raises(DatasetError, match=f"127.0.0.1:{xrootd_server.port} has no folder /nope"):
        list_files(f"{xrootd_server.url}/nope/*.root")


def test_a_server_that_does_not_answer_is_named(xrootd_server: XRootDServer) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"root://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(DatasetError, match=f"{url} cannot be reached"):
            list_files(f"{url}//store/*.root", timeout=1)


def test_who_waits_for_a_list_is_told_for_whom_and_can_leave(
    xrootd_server: XRootDServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_SILENT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"root://127.0.0.1:{silent.getsockname()[1]}"

        def leave_when_told() -> None:
            eventually(lambda: f"waiting for {url}, which is to list /store" in caplog.text, "who waits is told")
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=leave_when_told).start()
        with pytest.raises(KeyboardInterrupt):
            list_files(f"{url}//store/*.root", timeout=600)
        with pytest.raises(DatasetError, match=f"{url} does not answer: it did not list /store within 2 s"):
            list_files(f"{url}//store/*.root", timeout=2)


def test_files_of_the_grid_end_with_the_number_of_a_try(tmp_path: Path) -> None:
    """ATLAS's files are `DAOD.pool.root.1`: a folder has them, and a tree is named behind them as behind others."""
    for name in ("a.pool.root.1", "b.pool.root.12", "c.root", "d.root.part", "e.root.1.log"):
        (tmp_path / name).touch()
    assert [Path(path).name for path in list_files(str(tmp_path))] == ["a.pool.root.1", "b.pool.root.12", "c.root"]
    assert split_tree("/x/a.pool.root.1:CollectionTree") == ("/x/a.pool.root.1", "CollectionTree")
    assert split_tree("root://host:1094//a.root.1:dir/Tree") == ("root://host:1094//a.root.1", "dir/Tree")
    assert split_tree("root://host:1094//a.root.1") == ("root://host:1094//a.root.1", "")
