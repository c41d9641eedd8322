"""Data files that a user names: which they are, by which names they are found, and what is refused at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eventmill.analysis import sent_files
from eventmill.analysis.analysis import pack
from eventmill.analysis.sent_files import collect_files, file
from eventmill.protocol.errors import AnalysisError
from eventmill.system.content_folder import digest_of


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    (folder / "weights" / "deep").mkdir(parents=True)
    for name in ("model.onnx", "weights/a.json", "weights/b.json", "weights/deep/c.bin", "../above.txt"):
        (folder / name).write_text(name)
    (folder / "weights" / ".hidden").write_text("not meant")
    (folder / "empty.txt").touch()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sent_files, "_at_hand", None)
    return folder


@pytest.mark.parametrize(
    ("named", "names"),
    [
        ("model.onnx", ["model.onnx"]),
        (["./model.onnx", Path("model.onnx")], ["model.onnx"]),
        (["weights"], ["weights/a.json", "weights/b.json", "weights/deep/c.bin"]),
        (["weights/*.json"], ["weights/a.json", "weights/b.json"]),
        (["../above.txt", "empty.txt"], ["../above.txt", "empty.txt"]),
        ([], []),
    ],
)
def test_files_folders_and_patterns_are_named_as_the_user_names_them(named: Any, names: list[str]) -> None:
    digests, contents = collect_files(named)
    assert sorted(digests) == names
    for name, digest in digests.items():
        assert bytes(contents[digest]) == Path(name).read_bytes() and digest == digest_of(Path(name).read_bytes())


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("other.onnx", r"there is no file other\.onnx here \(.*/work/other\.onnx\)"),
        ("*.root", r"there is no file \*\.root here"),
        (["model.onnx", "../work/model.onnx", "work"], r"there is no file work here"),
        (["model.onnx", "../model.onnx"], r"model\.onnx and \.\./model\.onnx would be one file on a worker"),
    ],
)
def test_what_cannot_be_sent_is_told_at_once(here: Path, named: Any, message: str) -> None:
    (here.parent / "model.onnx").write_text("another")
    with pytest.raises(AnalysisError, match=message):
        pack(lambda events: 0, files=named)


def test_too_many_and_too_large_files_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_files, "LARGEST", 20)
    with pytest.raises(AnalysisError, match=r"can be sent with a query .* the largest: weights/deep/c\.bin \(0 MB\)"):
        collect_files("weights")
    monkeypatch.setattr(sent_files, "MOST_FILES", 2)
    with pytest.raises(AnalysisError, match="3 are more than 2: put them into an archive"):
        collect_files("weights")


def test_a_changed_file_is_another_analysis() -> None:
    """Protects what is learnt of an analysis, and what is kept of it, from belonging to another one."""

    def analysis(events: Any) -> int:
        return 0

    before = pack(analysis, files="model.onnx")
    assert pack(analysis, files="model.onnx").digest == before.digest != pack(analysis).digest
    Path("model.onnx").write_text("new")
    after = pack(analysis, files="model.onnx")
    assert after.digest != before.digest and list(after.attachments) == [digest_of(b"new")]


def test_in_a_session_a_file_is_where_it_was() -> None:
    assert file("weights/a.json").read_text() == "weights/a.json"
    with pytest.raises(AnalysisError, match=r"em\.file: there is no file none\.txt here"):
        file("none.txt")
