"""How a lease flows through a slot can be read: few files, few returns, and a picture that is the code's."""

from __future__ import annotations

import ast
from pathlib import Path

import eventmill
import pytest

from benchmarks.lease_journey import BEGIN, DOCS, END, drawn, trace

MOST = 12


def test_a_lease_enters_few_files_and_seldom_comes_back_as_the_picture_shows(tmp_path: Path) -> None:
    """Before there was an object for it, query, task, source and packet were handed through seven methods."""
    journey = trace(tmp_path)
    assert "worker/slot/packet_run.py" in journey.files
    assert len(journey.files) < MOST and journey.returns < MOST, " > ".join(journey.stays)
    _, _, rest = DOCS.read_text().partition(BEGIN)
    picture, _, _ = rest.partition(END)
    assert picture == drawn(journey), "make it anew: python -m benchmarks.lease_journey --picture"


@pytest.mark.parametrize("folder", ["worker"])
def test_no_class_carries_everything(folder: str) -> None:
    """A class of more is full: a noun is to be taken out of it."""
    full = [
        f"{path.name}: {node.name}"
        for path in (Path(eventmill.__file__).parent / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and (node.end_lineno - node.lineno >= 300 or sum(isinstance(it, ast.FunctionDef) for it in node.body) > 30)  # type: ignore[operator]
    ]
    assert not full
