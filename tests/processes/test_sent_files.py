"""Files that travel with a query: what an analysis reads of them is what they were when it was submitted."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import eventmill as em
import pytest
from eventmill.analysis.once import once
from eventmill.session.submission import Submission

SECONDS = 60


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests of what is sent to the master with queries."""
    found: list[str] = []
    carrying = Submission.carrying

    def noted(self: Submission, digests: Any) -> Any:
        found.extend(digests)
        return carrying(self, digests)

    monkeypatch.setattr(Submission, "carrying", noted)
    return found


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "weights").mkdir()
    for name in "ab":
        (tmp_path / "weights" / f"{name}.txt").write_text(f"{name} {uuid.uuid4().hex}")
    (tmp_path / "empty.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_analysis_reads_what_was_sent_and_a_change_is_seen(session: em.Session, carried: list[str]) -> None:
    """Protects the numbers of a model that was trained again, and the line to the master from what it has already."""

    def words(item: int) -> dict[str, Any]:
        folder = em.file("weights")
        texts = {em.file("weights/a.txt").read_text(), (folder / "b.txt").read_text(), em.file("empty.txt").read_text()}
        return {"texts": texts, "suffix": {em.file("./weights/a.txt").name}}

    def read() -> set[str]:
        result = session.process(em.items(list(range(20))), words, files=["weights", "empty.txt"]).result(SECONDS)
        assert result["suffix"] == {"a.txt"}
        texts: set[str] = result["texts"]
        return texts

    a, b = (Path(f"weights/{name}.txt").read_text() for name in "ab")
    assert read() == {a, b, ""}
    sent = len(carried)
    assert sent >= 2
    assert read() == {a, b, ""} and len(carried) == sent, "nothing is sent again"
    Path("weights/b.txt").write_text("new " + b)
    assert read() == {a, "new " + b, ""} and len(carried) == sent + 1, "what has changed is"


def test_what_is_loaded_of_a_sent_file_is_loaded_again_when_it_has_changed(session: em.Session, here: Path) -> None:
    calls = here / "calls"
    calls.mkdir()

    @once
    def inner() -> str:
        return em.file("weights/a.txt").read_text()

    @once
    def model() -> str:
        (calls / uuid.uuid4().hex).touch()
        return f"model of {inner()}"

    def used(item: int) -> set[str]:
        return {model()}

    def uses(*files: str) -> Any:
        return session.process(em.items(list(range(20))), used, files=files).result(SECONDS).value

    first = f"model of {Path('weights/a.txt').read_text()}"
    assert uses("weights/a.txt") == {first}
    before = len(list(calls.iterdir()))
    assert uses("weights", "empty.txt") == {first}, "with others beside it"
    assert len(list(calls.iterdir())) <= before + 1, "in a slot that had none yet"
    Path("weights/a.txt").write_text("another")
    assert uses("weights/a.txt") == {"model of another"}


def test_a_file_that_did_not_come_is_told_with_those_that_did(session: em.Session) -> None:
    def reads(item: int) -> int:
        return len(em.file("weights/c.txt").read_text())

    with pytest.raises(
        em.errors.AnalysisError, match=r"no file weights/c\.txt came with this query \(there came weights/"
    ):
        session.process(em.items([1]), reads, files=["weights"]).result(SECONDS)
    with pytest.raises(em.errors.AnalysisError, match=r"\(none came\): session\.process\(\.\.\., files="):
        session.process(em.items([1]), reads).result(SECONDS)


def test_nobody_writes_into_a_file_that_others_read(session: em.Session) -> None:
    """Its mode says so; an account that may write to all files, as root, is its own keeper."""

    def mode(item: int) -> int:
        return em.file("weights/a.txt").stat().st_mode & 0o222

    assert session.process(em.items([1]), mode, files="weights/a.txt").result(SECONDS).value == 0
