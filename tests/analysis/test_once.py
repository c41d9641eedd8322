"""What is loaded once: when it is loaded again, by the value that an analysis gets of it, and what of it travels."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eventmill.analysis import once as store
from eventmill.analysis.analysis import pack, unpack
from eventmill.analysis.once import Once, loading_failed, once
from eventmill.protocol.errors import AnalysisError

Define = Callable[..., Any]


@pytest.fixture
def define(tmp_path: Path) -> Define:
    """What a user's script defines, as it arrives in a slot: the analysis `f`, and how often `load` was called."""
    calls = tmp_path / "calls"
    calls.mkdir()

    def defined(source: str, **variables: Any) -> Any:
        namespace = {"__name__": "__main__", "once": once, "Path": Path, "note": _note, "calls": calls, **variables}
        exec(source, namespace)
        return unpack(pack(namespace["f"]).blob)

    return defined


def _note(calls: Path) -> None:
    (calls / uuid.uuid4().hex).touch()


def loads(folder: Path) -> int:
    return len(list((folder / "calls").iterdir()))


PLAIN = (
    "@once\ndef load(year=2018):\n  note(calls)\n  return {SCALE} * year\nf = lambda e: load() + load() + load(2018)"
)


def test_a_value_is_loaded_once_for_all_calls_and_queries(define: Define, tmp_path: Path) -> None:
    source = PLAIN.replace("{SCALE}", "2")
    assert [define(source)(None), define(source)(None)] == [6 * 2018] * 2
    assert loads(tmp_path) == 2, "with an argument and without one"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"SCALE": "2"}, {"SCALE": "3"}),
        ({"SCALE": "factor"}, {"SCALE": "factor", "factor": 3}),
        ({"SCALE": "helper()"}, {"SCALE": "helper()", "helper": "lambda: 3"}),
    ],
    ids=["code", "value", "helper"],
)
def test_another_code_value_or_helper_is_loaded_again(define: Define, before: Any, after: Any) -> None:
    """Protects a number that was right in the query before: the old value must not be met again."""

    def result(changes: dict[str, Any]) -> int:
        given = {"factor": 2, "helper": "lambda: 2"} | changes
        source = f"helper = {given['helper']}\n" + PLAIN.replace("{SCALE}", given["SCALE"])
        value: int = define(source, factor=given["factor"])(None)
        return value

    assert [result(before), result(after), result(before)] == [6 * 2018, 9 * 2018, 6 * 2018]


FILES = {
    "written": "@once\ndef load():\n  return int(Path({path!r}).read_text())\nf = lambda e: load()",
    "argument": "@once\ndef load(path):\n  return int(Path(path).read_text())\nf = lambda e: load({path!r})",
    "put together": "@once\ndef load(n):\n  return int(Path({folder!r}, f'{{n}}.json').read_text())\n"
    "f = lambda e: load('model')",
    "nested": "@once\ndef inner():\n  return int(Path({folder!r}, 'model' + '.json').read_text())\n"
    "@once\ndef load():\n  return inner()\nf = lambda e: (inner(), load())[1]",
}


@pytest.mark.parametrize("how", FILES)
def test_a_file_that_has_changed_is_loaded_again(define: Define, tmp_path: Path, how: str) -> None:
    path = tmp_path / "model.json"
    path.write_text("1")
    source = FILES[how].format(path=str(path), folder=str(tmp_path))
    assert define(source)(None) == define(source)(None) == 1
    path.write_text("2")
    assert define(source)(None) == 2
    path.with_suffix(".new").write_text("3")
    path.with_suffix(".new").rename(path)
    assert define(source)(None) == 3


def test_the_file_of_a_value_that_is_unchanged_is_read_once(define: Define, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text("1")
    source = FILES["written"].format(path=str(path)).replace("():\n", "():\n  note(calls)\n", 1)
    assert [define(source)(None) for _ in range(3)] == [1] * 3 and loads(tmp_path) == 1


def test_an_error_is_not_kept_and_is_marked(define: Define, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    f = define(FILES["written"].format(path=str(path)))
    with pytest.raises(FileNotFoundError) as caught:
        f(None)
    assert loading_failed(caught.value) and "load could not load" in caught.value.__notes__[0]
    path.write_text("1")
    assert f(None) == 1


def test_what_was_loaded_is_not_pickled_and_its_function_is() -> None:
    import threading

    load = once(lambda: threading.Lock())
    load()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(load)  # a lambda: by value it is for cloudpickle
    assert isinstance(unpack(pack(lambda events: load).blob)(None), Once)


def test_values_that_no_analysis_uses_any_more_are_let_go(define: Define) -> None:
    """Protects the memory of a slot in a notebook in which a model is edited all day."""
    before = len(list(store._store.all()))
    for number in range(3 * store.UNUSED):
        define(PLAIN.replace("{SCALE}", str(number)))(None)
    assert len(list(store._store.all())) <= before + 2 * (store.UNUSED + 2)


def test_odd_calls_are_told(define: Define) -> None:
    with pytest.raises(
        AnalysisError, match=r"load, which is under em.once, was called with an unhashable type: 'list'"
    ):
        define("@once\ndef load(x): return x\nf = lambda e: load([1])")(None)
    with pytest.raises(AnalysisError, match="once decorates a function that loads something, not 7"):
        once(7)  # type: ignore[arg-type]
    f = define("@once\ndef load(x): return x\nf = lambda e: [load(1), load(1.0), load(True)]")
    assert list(map(type, f(None))) == [int, float, bool]
