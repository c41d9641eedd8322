"""The dataset catalogue: datasets by name on a real master, whose files are looked at by real workers."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.errors import DatasetError
from processes import Standing, call
from xrootd_server import XRootDServer


def write(path: Path, numbers: range, tree: str = "tree") -> str:
    with uproot.recreate(path) as file:
        file.mktree(tree, {"number": "int64"})
        if len(numbers):
            file[tree].extend({"number": np.array(numbers)})
    return str(path)


def total(events: ak.Array, file: em.Dataset) -> dict[str, int]:
    return {file.dataset: int(ak.sum(events.number)), "scale": int(ak.num(events, axis=0) * file.metadata.get("xs", 0))}


def test_a_dataset_is_known_by_its_name_with_lengths_and_metadata(
    session: em.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no listing, no folder, and no look at its files; what is said where it is used counts more."""
    for at in range(3):
        write(tmp_path / f"{at}.root", range(at * 10, at * 10 + 10))
    monkeypatch.chdir(tmp_path)
    entry = session.datasets.register("numbers", "*.root", tree="tree", metadata={"xs": 2})
    monkeypatch.undo()
    assert (entry.info.files, entry.info.entries, entry.info.trees) == (3, 30, ["tree"])
    assert entry.info.size == sum((tmp_path / f"{at}.root").stat().st_size for at in range(3))
    result = session.process("numbers", total).result()
    assert result.value == {"numbers": sum(range(30)), "scale": 60}
    both = em.Dataset({"a": "numbers"}, metadata={"xs": 5}, max_entries=12)
    assert session.process(both, total).result().value == {"a": sum(range(12)), "scale": 60}
    assert session.sum("numbers", "number") == {"numbers": sum(range(30))}
    assert "numbers" in session.datasets and "numbers" in repr(session.datasets.list(grep="^num"))
    with pytest.raises(DatasetError, match="there is a dataset 'numbers' already"):
        session.datasets.register("numbers", str(tmp_path / "0.root"))
    with pytest.raises(DatasetError, match=r"number_s is no file or folder here.*nearest names are numbers"):
        session.process("number_s", total)
    (tmp_path / "numbers").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DatasetError, match=r"is a dataset of the catalogue, and a file or folder here: write ./numbers"
    ):
        session.process("numbers", total)
    monkeypatch.undo()
    session.datasets.remove("numbers")
    with pytest.raises(DatasetError, match="no dataset 'numbers'"):
        session.datasets["numbers"]


def test_a_file_that_has_changed_is_an_error_and_never_other_numbers(session: em.Session, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{at}.root", range(10)) for at in range(4)]
    session.datasets.register("changing", files, tree="tree")
    write(tmp_path / "1.root", range(20))  # more entries
    write(tmp_path / "2.root", range(5, 15))  # as many, others
    (tmp_path / "3.root").unlink()
    with pytest.raises(DatasetError, match=r"(has changed since it was registered|there is no file)"):
        session.process("changing", total).result()
    result = session.process("changing", total, on_error="skip").result()
    assert result.value["changing"] == sum(range(10))
    assert sorted(Path(lost.path).name for lost in result.account.lost) == ["1.root", "2.root", "3.root"]
    found = session.datasets.verify("changing")
    assert [(Path(it.path).name, it.what) for it in found] == [
        ("1.root", "changed"), ("2.root", "changed"), ("3.root", "missing"),
    ]  # fmt: skip
    assert not found.ok and "20 entries, and 10 before" in repr(found)
    with pytest.raises(DatasetError, match=r"1 of 4 files cannot be registered(.|\n)*3.root"):
        session.datasets.refresh("changing")
    write(tmp_path / "3.root", range(0))  # no entries at all
    assert session.datasets.refresh("changing").info.entries == 40
    assert session.datasets.verify("changing", checksum="adler32").ok
    assert session.process("changing", total).result().value["changing"] == 45 + 190 + 95
    session.datasets.remove("changing")


def test_files_of_a_registered_dataset_are_opened_without_their_metadata(session: em.Session, tmp_path: Path) -> None:
    """Protects the first packet: what a scan has found is not found out again. The numbers are those of the files, also of
    one that was written anew."""
    (tmp_path / "scanned").mkdir()
    (tmp_path / "unseen").mkdir()
    files = [write(tmp_path / "scanned" / f"{at}.root", range(at * 100, at * 100 + 100)) for at in range(3)]
    copies = [shutil.copy(file, tmp_path / "unseen") for file in files]
    session.datasets.register("scanned", files, tree="tree")
    session.datasets.register("unseen", copies, tree="tree", scan=False)
    query, other = session.process("scanned", total), session.process("unseen", total)
    assert query.result()["scanned"] == other.result()["unseen"] == sum(range(300))
    assert query.report().total.bytes_read < 0.5 * other.report().total.bytes_read
    write(Path(files[1]), range(7))
    session.datasets.refresh("scanned")
    again = sum(range(100)) + sum(range(7)) + sum(range(200, 300))
    assert session.process("scanned", total).result()["scanned"] == again
    session.datasets.remove("scanned")
    session.datasets.remove("unseen")


def test_what_is_said_where_a_dataset_is_used_is_not_registered(session: em.Session, tmp_path: Path) -> None:
    file = write(tmp_path / "a.root", range(10))
    copy = write(tmp_path / "copy.root", range(3))
    for options in ({"max_entries": 5}, {"aliases": {"double": "2 * number"}}, {"entries": range(3)}, {"mask": {}}):
        with pytest.raises(DatasetError, match="say so where they are used"):
            session.datasets.register("part", em.Dataset(file, **options))  # type: ignore[arg-type]
    for name in ("a/b", "", "x.root", "*"):
        with pytest.raises(DatasetError, match="is no name for a dataset"):
            session.datasets.register(name, file)
    with pytest.raises(DatasetError, match=r"1 of 2 files cannot be registered(.|\n)*no tree tree; it has Events"):
        session.datasets.register("part", [file, write(tmp_path / "b.root", range(3), "Events")], tree="tree")
    for secret in ("https://host/a.root?authz=abc", "root://ada:pw@host//a.root"):
        with pytest.raises(DatasetError, match=r"the address \S*host\S* has a token or password in it"):
            session.datasets.register("part", secret)
    campaign = session.datasets.register(
        "campaign", {"ttbar": {"files": [file], "metadata": {"xs": 3}}, "wjets": [copy]}
    )
    assert (campaign.info.parts, campaign.info.metadata) == (["ttbar", "wjets"], {})
    assert session.process("campaign", total).result().value == {"ttbar": 45, "wjets": 3, "scale": 30}
    with pytest.raises(DatasetError, match="campaign in the catalogue consists of 2 datasets"):
        session.process({"x": "campaign"}, total)
    session.datasets.remove("campaign")
    unseen = session.datasets.register("unseen", file, scan=False)
    assert (unseen.info.entries, unseen.files[0].file.identity) == (None, "")
    assert session.process("unseen", total).result().value["unseen"] == 45
    session.datasets.remove("unseen")


def test_a_dataset_outlives_its_master_and_is_changed_by_its_owner_and_operators(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """Everybody sees it, with whose it is. The next master has it, too."""
    shared = Standing(tmp_path_factory.mktemp("shared"))
    try:
        for name, options in (("alice", ()), ("bob", ()), ("olga", ("--operator",))):
            file = str(shared.state / f"{name}.json")
            assert call("users", "add", name, "--master", "test", "--file", file, *options, state=shared.state)[0] == 0
        file = write(tmp_path / "a.root", range(10))
        with em.connect(shared.state / "alice.json") as alice, em.connect(shared.state / "bob.json") as bob:
            alice.datasets.register("hers", file, scan=False)
            (info,) = bob.datasets.list()
            assert (info.name, info.user, info.owner) == ("hers", "alice", "alice")
            for change in (
                lambda: bob.datasets.remove("hers"),
                lambda: bob.datasets.register("hers", file, scan=False, replace=True),
            ):
                with pytest.raises(DatasetError, match="dataset 'hers' is alice's, and is not changed by bob"):
                    change()
        shared.crash()
        shared.start_master()
        with em.connect(shared.state / "olga.json") as olga:
            assert [info.name for info in olga.datasets.list()] == ["hers"]
            olga.datasets.register("hers", [file, write(tmp_path / "b.root", range(3))], scan=False, replace=True)
            assert olga.datasets["hers"].info.user == "alice"
            olga.datasets.remove("hers")
            assert list(olga.datasets) == []
    finally:
        shared.close()


def test_the_command_line_keeps_datasets_too(standing: Standing, tmp_path: Path) -> None:
    """A list that another catalogue has written, with checksums that are compared with what is read."""
    here = [write(tmp_path / f"{at}.root", range(at * 10)) for at in (1, 2)]

    def datasets(*arguments: str) -> tuple[int, str]:
        return call("datasets", arguments[0], *arguments[1:], "--master", "test", state=standing.state)

    sums = [f"adler32:{zlib.adler32(Path(path).read_bytes()):08x}" for path in here]
    index = [
        {"uri": path, "size": Path(path).stat().st_size, "checksum": checksum}
        for path, checksum in zip(here, sums, strict=True)
    ]
    (tmp_path / "index.json").write_text(json.dumps(index))
    list_of_files = str(tmp_path / "index.json")
    options = ("--read", "--tree", "tree", "-m", "xs=2.5", "-m", "era=2018B", "--json")
    code, said = datasets("register", "by_list", list_of_files, *options)
    assert code == 0, said
    told = json.loads(said)
    assert (told["entries"], told["files"], told["metadata"]) == (30, 2, {"xs": 2.5, "era": "2018B"})
    assert "by_list" in datasets("list")[1] and "831" not in datasets("list", "--grep", "nothing")[1]
    lines = [json.loads(line) for line in datasets("show", "by_list", "--files", "--json")[1].splitlines()]
    assert [line["checksum"] for line in lines[1:]] == sums
    assert datasets("verify", "by_list", "--checksum")[0] == 0
    size = Path(here[0]).stat().st_size
    with open(here[0], "r+b") as file:  # noqa: PTH123  (a byte that has rotted: neither length nor identity tell)
        file.seek(size - 10)
        byte = file.read(1)
        file.seek(size - 10)
        file.write(bytes([byte[0] ^ 1]))
    assert datasets("verify", "by_list")[0] == 0
    code, said = datasets("verify", "by_list", "--checksum", "--json")
    assert (code, json.loads(said)["what"]) == (1, "checksum")
    code, said = datasets("register", "by_list", here[0])
    assert code != 0 and "there is a dataset 'by_list' already" in said
    (tmp_path / "index.json").write_text('[{"uri": 3]')
    code, said = datasets("register", "another", list_of_files, "--read")
    assert code != 0 and "line 1: it is no JSON" in said
    assert datasets("remove", "by_list")[0] == 0
    assert "no dataset 'by_list'" in datasets("refresh", "by_list")[1]


def test_files_of_a_server_are_looked_at_by_workers(
    xrootd_server: XRootDServer, session: em.Session, tmp_path: Path
) -> None:
    """With their replicas; sizes that a list has told are compared."""
    names = [f"catalogue_{at}.root" for at in range(2)]
    for at, name in enumerate(names):
        write(xrootd_server.folder / name, range(at * 100))
    gone = f"{xrootd_server.url}/not_there.root"
    urls = [f"{xrootd_server.url}/{name}" for name in names]
    entry = session.datasets.register("far", [urls[0], (gone, urls[1])], tree="tree")  # one that works is enough
    assert (entry.info.entries, entry.files[1].file.replicas) == (100, (urls[1],))
    assert session.process("far", total, on_error="skip").result().value["far"] == sum(range(100))
    found = session.datasets.verify("far", checksum="adler32")
    assert [(it.path, it.what) for it in found] == [(gone, "missing")]
    size = (xrootd_server.folder / names[0]).stat().st_size
    (tmp_path / "das.json").write_text(json.dumps([{"file": [{"name": urls[0], "size": size + 1, "nevents": 0}]}]))
    with pytest.raises(DatasetError, match=rf"size: {size:,} bytes, and {size + 1:,} were registered"):
        session.datasets.register("far2", em.Dataset.read(tmp_path / "das.json", tree="tree"))
    session.datasets.remove("far")
