# mypy: allow-untyped-defs, allow-untyped-decorators
"""Rows that kernels append in compiled code: the values and types that numpy gives, and nothing of an event that raises."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
from columns import flat, jagged
from eventmill.analysis.analysis import Kernel
from eventmill.protocol.errors import AnalysisError
from eventmill.reading.columns import Flat, Jagged
from eventmill.worker.kernels.compile import CompiledKernel
from hist import Hist

COLUMNS = {
    "f4": "float32", "f8": float, "i1": "int8", "u8": np.uint64, "i8": int, "flag": bool,
    "pt": "var * float32", "n": "var*int16", "squares": "var * float64",
}  # fmt: skip
TYPE = (
    "{f4: float32, f8: float64, i1: int8, u8: uint64, i8: int64, flag: bool, pt: var * float32, n: var * int16, "
    "squares: var * float64}"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@em.kernel(rows=em.Output("f", COLUMNS), filled=Hist.new.Reg(1, 0, 1e9).Double())
def every_kind(rows, filled, x, u, pt, n):
    """Two rows of an event with a positive x, none of the others: by place, and by names."""
    filled.fill(x)
    if x > 0:
        rows.append(x, x, n[0], u, n[-1], x > 1, pt, n, [value * value for value in pt])
        rows.append(f4=u, f8=u, i1=True, u8=n[1], i8=u // np.uint64(2), flag=False, pt=pt[1:], n=n[:0], squares=pt)


def test_rows_are_what_numpy_makes_of_them(cache: Path) -> None:
    """More of them than the first buffers hold, twice, and in the types that are declared."""
    random = np.random.default_rng(1)
    size = 3000
    x = random.normal(size=size) * np.where(np.arange(size) % 50, 1, np.nan)
    x[:3] = 1e300, -1.0, np.inf
    u = random.integers(0, 2**64, size, np.uint64)
    lengths = random.integers(2, 9, size)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    pt = random.exponential(30, offsets[-1]).astype("f4")
    n = random.integers(0, 128, offsets[-1])
    columns = {"x": Flat(x), "u": Flat(u), "pt": Jagged(offsets, Flat(pt)), "n": Jagged(offsets, Flat(n))}
    compiled = CompiledKernel(every_kind, cache)
    for _ in range(2):
        compiled.run(columns, 0)
        rows = compiled.store.take_rows()["rows"].arrays
        pts, ns = ak.unflatten(pt, lengths)[x > 0], ak.unflatten(n, lengths)[x > 0]
        xs, us = x[x > 0], u[x > 0]
        with np.errstate(over="ignore"):
            right = {
                "f4": (xs.astype("f4"), us.astype("f4")), "f8": (xs, us.astype("f8")),
                "i1": (ns[:, 0], np.ones(len(xs))), "u8": (ns[:, 1], us)[::-1], "i8": (ns[:, -1], us // np.uint64(2)),
                "flag": (xs > 1, np.zeros(len(xs), bool)), "pt": (pts, pts[:, 1:]), "n": (ns, ns[:, :0]),
                "squares": (ak.values_astype(pts, float) ** 2, ak.values_astype(pts, float)),
            }  # fmt: skip
        assert len(rows) == 2 * len(xs) > 2048 and str(rows.type.content) == TYPE
        for name, (first, second) in right.items():
            mine = rows[name]
            expected = [ak.to_list(first), ak.to_list(second)] if name != "u8" else [us.tolist(), ak.to_list(ns[:, 1])]
            assert [ak.to_list(mine[::2]), ak.to_list(mine[1::2])] == expected, name
        outputs, entries = compiled.take()
        assert list(outputs) == ["filled"] and entries == size
    with pytest.raises(AssertionError):
        assert len(compiled.store.take_rows()["rows"].arrays)


def test_rows_of_an_event_that_raises_are_forgotten(cache: Path) -> None:
    """It has appended one row, and two columns of another; those before it were not taken, and count no more either."""
    columns = {"x": flat(1.0, 2.0), "u": flat(1, 2, dtype="u8")}
    columns |= {"pt": jagged([1, 2], [3, 4]), "n": jagged([1, 2], [300, 4], dtype="i4")}
    compiled = CompiledKernel(every_kind, cache)
    with pytest.raises(ValueError, match="a number does not fit into the column i1, which is int8") as caught:
        compiled.run(columns, 100)
    (note,) = caught.value.__notes__
    assert re.fullmatch(r"in entry 101, kernel every_kind, .*test_row_append.py:\d+: rows.append\(x, .*", note)
    compiled.take()
    compiled.run_again(0, 1)
    assert compiled.store.take_rows()["rows"].arrays.f8.tolist() == [1.0, 1.0]


def test_rows_of_draws_that_are_made_again_are_there_once(cache: Path) -> None:
    """An entry that draws more numbers than were filled at first is run again, with buffers that have moved."""

    @em.kernel(rows=em.Output("f", {"i": "int32", "drawn": "var * float64"}))
    def draw(rows, i):
        rows.append(i, [np.random.random() for _ in range(200 if i == 2500 else 1)])

    compiled = CompiledKernel(draw, cache)
    compiled.run({"i": Flat(np.arange(3000))}, 0)
    rows = compiled.store.take_rows()["rows"].arrays
    assert rows.i.tolist() == list(range(3000))
    assert ak.num(rows.drawn).tolist() == [200 if i == 2500 else 1 for i in range(3000)]
    alone = CompiledKernel(draw, cache)
    alone.run({"i": Flat(np.arange(2500, 2501))}, 2500)
    assert alone.store.take_rows()["rows"].arrays.drawn.tolist() == rows.drawn[2500:2501].tolist()


def test_columns_may_be_called_anything(cache: Path) -> None:
    """Names that are none in Python, and one as others are numbered; by place and by name."""

    @em.kernel(rows=em.Output("f", {"a-b": "float32", "_0": "int64", "c0": "int8", "Muon.pt": "var * float64"}))
    def odd(rows, x):
        rows.append(x, x, x, [1.0 * x])

    @em.kernel(rows=em.Output("f", {"a-b": "float32", "_0": "int64", "c0": "int8"}))
    def named(rows, x):
        rows.append(x, c0=x, _0=x + 1)

    columns = {"x": Flat(np.arange(2))}
    for thing, right in ((odd, [[0.0, 0, 0, [0.0]], [1.0, 1, 1, [1.0]]]), (named, [[0.0, 1, 0], [1.0, 2, 1]])):
        compiled = CompiledKernel(thing, cache)
        compiled.run(columns, 0)
        assert [list(row.values()) for row in compiled.store.take_rows()["rows"].arrays.tolist()] == right


def _scalar_of_list(rows, pt):
    rows.append(pt, pt)


def _list_of_scalar(rows, pt):
    rows.append(1.0, 2.0)


def _float_into_whole(rows, pt):
    rows.append(1.0, [1.5])


def _no_column(rows, pt):
    rows.append(x=1.0, pts=pt)


def _missing(rows, pt):
    rows.append(1.0)


def _text(rows, pt):
    rows.append("a", pt)


COMPILED: dict[str, tuple[Callable[..., None], str]] = {
    "a list": (_scalar_of_list, r"the column x takes a number, not array.*: declare it 'var \* float64'"),
    "a number": (_list_of_scalar, "the column n takes a list of numbers, not float64"),
    "a float": (_float_into_whole, r"the column n is int32, and gets float64: convert with int\(...\)"),
    "no column": (_no_column, "there is no column pts"),
    "missing": (_missing, "one value for each of the columns x, n; n has none"),
    "text": (_text, "the column x is float64, and cannot hold str"),
}


@pytest.mark.parametrize("what", COMPILED)
def test_a_value_that_no_row_can_hold_does_not_compile(cache: Path, what: str) -> None:
    function, words = COMPILED[what]
    thing: Kernel = em.kernel(rows=em.Output("f", {"x": float, "n": "var * int32"}))(function)
    with pytest.raises(AnalysisError, match=words):
        CompiledKernel(thing, cache).run({"pt": jagged([1.0])}, 0)


DECLARED: dict[str, tuple[Callable[[], Any], str]] = {
    "no columns": (lambda: em.Output("f", {}), "takes the types of its columns by their names"),
    "names alone": (lambda: em.Output("f", ["x"]), "takes the types of its columns by their names"),  # type: ignore[arg-type]
    "text": (lambda: em.Output("f", {"x": "string"}), "the column x is 'string', and can be bool, float32"),
    "wider": (lambda: em.Output("f", {"x": "complex128"}), "the column x is 'complex128'"),
    "nested": (lambda: em.Output("f", {"x": "var * var * int8"}), "or a list of these in each row"),
    "a format": (lambda: em.Output("f", {"x": float}, format="csv"), "em.Output: there is no format 'csv'"),  # type: ignore[arg-type]
    "size": (lambda: em.Output("f", {"x": float}, size=0), "em.Output: size is 0"),
}


@pytest.mark.parametrize("what", DECLARED)
def test_an_output_that_makes_no_sense_is_refused_at_once(what: str) -> None:
    make, words = DECLARED[what]
    with pytest.raises(AnalysisError, match=words):
        make()


def test_the_plain_function_appends_alike() -> None:
    """A kernel that is called in Python gives the rows that it gives when compiled, and the same errors."""
    tried = em.Output("f", COLUMNS)
    every_kind(tried, Hist.new.Reg(1, 0, 1e9).Double(), 2.5, 7, np.array([1.0, 2.0]), np.array([3, 4]))
    assert [list(row.values()) for row in tried.rows] == [
        [2.5, 2.5, 3, 7, 4, True, [1.0, 2.0], [3, 4], [1.0, 4.0]],
        [7.0, 7.0, 1, 4, 3, False, [2.0], [], [1.0, 2.0]],
    ]
    with pytest.raises(ValueError, match="a number does not fit into the column i1"):
        every_kind(tried, Hist.new.Reg(1, 0, 1e9).Double(), 2.5, 7, np.array([1.0, 2.0]), np.array([300, 4]))
    with pytest.raises(AnalysisError, match="is not empty"):
        em.kernel(rows=tried)(_missing)
