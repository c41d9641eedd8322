"""Lists of files as rucio, DAS, CERN Open Data and coffea write them, and what is said of those that nobody can read."""

from __future__ import annotations

import gzip
from pathlib import Path

import eventmill as em
import pytest
from eventmill.protocol.errors import DatasetError

LISTS = Path(__file__).resolve().parent.parent / "data" / "lists"
CERN = "root://eosatlas.cern.ch:1094//eos/atlas/"


def test_each_format_is_known_by_what_it_looks_like() -> None:
    """With lengths, sizes, checksums and replicas where it says them; sizes that are rounded, it does not say."""
    text = em.Dataset.read(LISTS / "files.txt", tree="Events")
    assert [file.path.rpartition("/")[2] for file in text.files] == [
        "Run2012B_DoubleMuParked.root", "Run2012C_DoubleMuParked.root", "Run2012D.root",
    ]  # fmt: skip
    table = em.Dataset.read(LISTS / "rucio_table.txt", tree="CollectionTree")
    assert [(file.path[:36], len(file.replicas)) for file in table.files] == [(CERN[:36], 1), (CERN[:36], 0)]
    assert [(it.checksum, it.size) for it in table.told] == [("adler32:8bdf41ac", None), ("adler32:0c1d2e3f", None)]
    (metalink,) = em.Dataset.read(LISTS / "rucio.meta4").told
    assert metalink.file.path.startswith(CERN) and len(metalink.file.replicas) == 1  # by priority
    assert (metalink.size, metalink.checksum) == (3613957412, "adler32:8bdf41ac")
    (record,) = em.Dataset.read(LISTS / "rucio.json").told
    assert record.file.path.startswith("root://cmsdcadisk.fnal.gov//") and record.size == 2147001
    assert record.file.replicas[0].startswith("davs://")
    das = em.Dataset.read(LISTS / "das.json", tree="Events", prefix="root://xrootd-cms.infn.it/")
    assert [(file.path[:37], file.entries) for file in das.files] == [
        ("root://xrootd-cms.infn.it//store/mc/R", 1234567), ("root://xrootd-cms.infn.it//store/mc/R", 7),
    ]  # fmt: skip
    assert [it.checksum for it in das.told] == ["adler32:a5ff01c2", "adler32:000001c2"]
    assert [file.entries for file in em.Dataset.read(LISTS / "das.json", tree="Runs").files] == [None, None]
    index = em.Dataset.read(LISTS / "opendata_index.json", tree="Events")
    assert [it.size for it in index.told] == [1962040101, 2055071109]
    fileset = em.Dataset.read(LISTS / "fileset.json", prefix="root://host", tree="Events")
    assert [(file.dataset, file.path, file.entries) for file in fileset.files] == [
        ("ttbar", "root://xrootd-cms.infn.it//store/mc/a.root", 1200),
        ("ttbar", "root://xrootd-cms.infn.it//store/mc/b.root", None),
        ("data", "root://host//store/data/c.root", None),
    ]
    assert fileset.files[0].metadata == {"xsec": 831.76, "isMC": True}
    assert em.Dataset.read(LISTS / "fileset.yaml").files[1].metadata == {"xsec": 831.76}


def test_a_list_may_be_compressed_and_has_the_options_of_a_dataset(tmp_path: Path) -> None:
    packed = tmp_path / "das.json.gz"
    packed.write_bytes(gzip.compress((LISTS / "das.json").read_bytes()))
    data = em.Dataset.read(packed, tree="Events", name="dy", metadata={"xsec": 6077.2}, max_entries=10)
    assert {(file.dataset, file.metadata["xsec"]) for file in data.files} == {("dy", 6077.2)}
    assert (len(data), data.max_entries) == (2, 10)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", "a.root\nb c.root\n", r"a.txt, line 2: 'b c.root' is no path"),
        ("a.txt", "\n\n", "is empty"),
        ("a.txt", "# only remarks\n", "names no files"),
        ("a.json", '[\n  {"uri": "root://h//a.root"},\n  {"uri" 7}\n]', r"a.json, line 3: it is no JSON"),
        ("a.json", '[{"uri": "root://h//a.root", "size": "large"}]', "'large' as its size, which is no number"),
        ("a.json", '[{"uri": "root://h//x_index.json", "type": "index.json"}]', "is an index of files, and no file"),
        ("a.json", '[\n{"what": 3}]', r"a.json, line 1: it is JSON, but no coffea fileset"),
        (
            "a.json",
            '[{"das": {}, "dataset": [{"name": "/A/B/C"}]}]',
            "is no record of a file: the query must be of files",
        ),
        ("a.json", '{"ttbar": {"files": [}}', r"a.json, line 1: it is no JSON"),
        ("a.yaml", "ttbar:\n  files: [a.root\nx: 1\n", r"a.yaml, line 3: it is no YAML"),
        ("a.meta4", "<metalink>\n<file>\n</metalink>", r"a.meta4, line 3: it is no metalink"),
        (
            "a.txt",
            "| SCOPE | NAME | FILESIZE | ADLER32 | RSE: REPLICA |\n| mc | a | 1 GB |",
            r"line 2: it has 3 columns and not 5",
        ),
        (
            "a.txt",
            "| SCOPE | NAME | FILESIZE | ADLER32 | RSE: REPLICA |\n| mc | a | 1 GB | ff | |",
            r"line 2: '' is no replica",
        ),
    ],
)
def test_a_list_that_cannot_be_read_is_named_with_the_line(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DatasetError, match=says):
        em.Dataset.read(tmp_path / name)


def test_what_is_no_text_or_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.root").write_bytes(b"root\x00\xff\xfe\x80")
    with pytest.raises(DatasetError, match=r"a.root is no text"):
        em.Dataset.read(tmp_path / "a.root")
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        em.Dataset.read(tmp_path / "none.txt")
    with pytest.raises(DatasetError, match="lists of files are auto, text"):
        em.Dataset.read(LISTS / "files.txt", kind="excel")
    with pytest.raises(DatasetError, match="no record of a file"):
        em.Dataset.read(LISTS / "opendata_index.json", kind="das")
