# mypy: allow-untyped-defs, allow-untyped-decorators
"""Kernels: compiled code gives boost-histogram's results, bit for bit; it is cached; errors name the user's lines."""

from __future__ import annotations

import linecache
import math
import textwrap
import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import boost_histogram as bh
import hist
import numba
import numpy as np
import pytest
from columns import flat, jagged
from eventmill.analysis.analysis import Kernel, kernel, pack, unpack
from eventmill.merge.histograms import FilledHistogram
from eventmill.protocol.errors import AnalysisError
from eventmill.reading.columns import Column, Flat, Jagged, Strings
from eventmill.reading.lazy_events import layout_of
from eventmill.worker.kernels.compile import CompiledKernel
from hist import Hist
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from numba.core.errors import NumbaError
from numpy.typing import NDArray
from property_tests import examples

few = examples(15, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


def run(thing: Kernel, cache: Path, **columns: Column) -> dict[str, Any]:
    """All outputs of a kernel after one run, histograms as arrays."""
    compiled = CompiledKernel(thing, cache)
    compiled.run(columns, 0)
    return {name: out.array if isinstance(out, FilledHistogram) else out for name, out in compiled.take()[0].items()}


def same_bits(mine: NDArray[Any], histogram: Any) -> bool:
    theirs = np.ascontiguousarray(histogram.view(flow=True))
    return mine.shape == theirs.shape and mine.dtype == theirs.dtype and mine.tobytes() == theirs.tobytes()


# --- filling, against boost-histogram -----------------------------------------------------------------------

numbers = st.floats(width=64) | st.integers(-4, 12).map(float)


def values_near(*axes: Any) -> st.SearchStrategy[list[float]]:
    """Any numbers, and those at the edges and next to them, where a wrong formula shows."""
    edges = [float(edge) for axis in axes for edge in axis.edges]
    near = [float(np.nextafter(edge, towards)) for edge in edges for towards in (-math.inf, math.inf)]
    return st.lists(numbers | st.sampled_from(edges + near), max_size=40)


def _continuous(regular, narrow, circular, logarithmic, root, power, variable, around, x):
    regular.fill(x)
    narrow.fill(x)
    circular.fill(x)
    logarithmic.fill(x)
    root.fill(x)
    power.fill(x)
    variable.fill(x)
    around.fill(x)


@given(st.data())
@few
def test_continuous_axes_are_filled_bit_for_bit(cache: Path, data: st.DataObject) -> None:
    bins, low = data.draw(st.integers(1, 30)), data.draw(st.floats(-1e3, 1e3))
    high = low + data.draw(st.floats(1e-3, 1e6))
    start, stop = abs(low) + 0.1, abs(low) + 0.1 + high - low
    flow = data.draw(st.tuples(st.booleans(), st.booleans()))
    edges = data.draw(st.lists(st.floats(-100, 100), min_size=2, max_size=8, unique=True).map(sorted))
    transform = bh.axis.transform
    axes = {
        "regular": bh.axis.Regular(bins, low, high),
        "narrow": bh.axis.Regular(bins, low, high, underflow=flow[0], overflow=flow[1]),
        "circular": bh.axis.Regular(bins, low, high, circular=True),
        "logarithmic": bh.axis.Regular(bins, start, stop, transform=transform.log),
        "root": bh.axis.Regular(bins, start, stop, transform=transform.sqrt),
        "power": bh.axis.Regular(
            bins, start, stop, transform=transform.Pow(data.draw(st.sampled_from([0.3, 1.5, 2.0])))
        ),
        "variable": bh.axis.Variable(edges, underflow=flow[0], overflow=flow[1]),
        "around": bh.axis.Variable(edges, circular=True),
    }
    outputs = {name: bh.Histogram(axis) for name, axis in axes.items()}
    x = data.draw(values_near(*axes.values()))
    filled = run(kernel(**outputs)(_continuous), cache, x=flat(*x))
    for name, histogram in outputs.items():
        assert same_bits(filled[name], histogram.fill(np.array(x, float))), (name, histogram.axes[0])


def _discrete(integer, ring, truth, codes, few_codes, x):
    integer.fill(x)
    ring.fill(x)
    truth.fill(x)
    codes.fill(x)
    few_codes.fill(x)


@given(
    x=st.lists(st.integers(-9, 9) | st.integers(-(2**31) + 9, 2**31 - 9), max_size=40),
    start=st.integers(-5, 5),
    size=st.integers(1, 9),
    flow=st.tuples(st.booleans(), st.booleans()),
    codes=st.lists(st.integers(-9, 9), min_size=1, max_size=5, unique=True),
)
@few
def test_discrete_axes_are_filled_bit_for_bit(
    cache: Path, x: list[int], start: int, size: int, flow: tuple[bool, bool], codes: list[int]
) -> None:
    outputs = {
        "integer": bh.Histogram(bh.axis.Integer(start, start + size, underflow=flow[0], overflow=flow[1])),
        "ring": bh.Histogram(bh.axis.Integer(start, start + size, circular=True)),
        "truth": bh.Histogram(bh.axis.Boolean()),
        "codes": bh.Histogram(bh.axis.IntCategory(codes)),
        "few_codes": bh.Histogram(bh.axis.IntCategory(codes, overflow=False)),
    }
    filled = run(kernel(**outputs)(_discrete), cache, x=flat(*x, dtype="i4"))
    for name, histogram in outputs.items():
        assert same_bits(filled[name], histogram.fill(np.array(x, np.int32))), (name, histogram.axes[0])


def _storages(double, int64, atomic, unlimited, weight, mean, weighted_mean, x, w, s):
    double.fill(x, weight=w)
    int64.fill(x)
    atomic.fill(x)
    unlimited.fill(x, weight=w)
    weight.fill(x, weight=w)
    mean.fill(x, weight=w, sample=s)
    weighted_mean.fill(x, weight=w, sample=s)


def _unweighted(double, unlimited, weight, mean, weighted_mean, x, w, s):
    double.fill(x)
    unlimited.fill(x)
    weight.fill(x)
    mean.fill(x, sample=s)
    weighted_mean.fill(x, sample=s)


@given(st.lists(st.tuples(*[st.floats(-5, 5, width=32)] * 3), max_size=30), st.sampled_from([_storages, _unweighted]))
@few
def test_storages_are_filled_bit_for_bit(cache: Path, entries: list[tuple[float, float, float]], function: Any) -> None:
    x, w, s = (np.array([entry[position] for entry in entries], np.float32) for position in range(3))
    storages = ("Double", "Int64", "Atomic_int64", "Unlimited", "Weight", "Mean", "Weighted_mean")
    storage_of = {
        name.lower().replace("atomic_int64", "atomic"): name.replace("_i", "I").replace("_m", "M") for name in storages
    }
    names = [name for name in storage_of if name in function.__code__.co_varnames]
    outputs = {
        name: bh.Histogram(bh.axis.Regular(3, -4, 4), storage=getattr(bh.storage, storage_of[name])()) for name in names
    }
    filled = run(kernel(**outputs)(function), cache, x=Flat(x), w=Flat(w), s=Flat(s))
    for name, histogram in outputs.items():
        extra: dict[str, Any] = {"weight": w} if function is _storages and name not in ("int64", "atomic") else {}
        extra |= {"sample": s} if "mean" in name else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of the reference: weights that add up to nothing
            histogram.fill(x.astype(float), **{key: value.astype(float) for key, value in extra.items()})
        assert same_bits(filled[name], histogram), name


def test_several_axes_by_name_and_by_position_with_names_known_late_and_early(cache: Path) -> None:
    def make() -> Hist[Any]:
        return Hist(
            hist.axis.Regular(3, 0, 3, name="pt", overflow=False),
            hist.axis.Integer(0, 2, name="n", underflow=False),
            hist.axis.StrCategory(["mu", "e"], name="channel"),
            hist.axis.StrCategory(["a", "b"], name="region", overflow=False),
            storage=hist.storage.Weight(),
        )

    @kernel(spectra=make())
    def leptons(spectra, pt, n):
        channel = "mu" if n > 1 else ("e" if n == 1 else "tau")
        spectra.fill(pt, n, channel, "b", weight=2)
        spectra.fill(pt, region="a", channel="e", n=n)
        spectra.fill(pt, n, "mu", "elsewhere")

    pt, n = [0.5, 2.5, 3.0, 3.5, -1.0], [0, 1, 2, -1, 1]
    expected = make()
    for x, k in zip(pt, n, strict=True):
        expected.fill(x, k, "mu" if k > 1 else ("e" if k == 1 else "tau"), "b", weight=2)
        expected.fill(pt=x, region="a", channel="e", n=k)
        expected.fill(x, k, "mu", "elsewhere")
    assert same_bits(run(leptons, cache, pt=flat(*pt), n=flat(*n, dtype="i4"))["spectra"], expected)


def test_a_double_storage_filled_with_weights_has_no_known_variances(cache: Path) -> None:
    @kernel(plain=Hist.new.Reg(2, 0, 2).Double(), weighted=Hist.new.Reg(2, 0, 2).Double())
    def both(plain, weighted, x):
        plain.fill(x)
        if x > 1:
            weighted.fill(x, weight=0.5)

    compiled = CompiledKernel(both, cache)
    known = []
    for x in (0.5, 1.5):
        compiled.run({"x": flat(x)}, 0)
        known.append([out.variance_known for out in compiled.take()[0].values()])  # type: ignore[attr-defined]
    assert known == [[True, True], [True, False]]


# --- columns, helpers, outputs ------------------------------------------------------------------------------

THRESHOLD = 15.0
TABLE = np.array([1.0, 10.0, 100.0])


def above(pt: Any, limit: float) -> Any:
    return step(pt - limit)


def step(x: Any) -> Any:
    return 1 if x > 0 else (step(1.0) - 1)


@numba.njit(fastmath=True)
def already_compiled(x: Any) -> Any:
    return above(x, 0.0) * 1000


def test_helpers_closures_constants_and_compiled_functions_work_in_a_kernel(cache: Path) -> None:
    shift = 5.0

    def local(x: Any) -> Any:
        return above(x + shift, THRESHOLD)

    @kernel(out=np.zeros(3))
    def count(out, pt):
        for value in pt:
            out[0] += local(value)
            out[1] += TABLE[2] * above(value, THRESHOLD)
            out[2] += already_compiled(value)

    assert run(count, cache, pt=jagged([12, 9], [], [40]))["out"].tolist() == [2, 100, 3000]


def test_a_compiled_function_can_be_a_kernel(cache: Path) -> None:
    @kernel(out=np.zeros(1))
    @numba.njit
    def double(out, x):
        out[0] += 2 * x

    assert run(unpack(pack(double).blob), cache, x=flat(1, 2))["out"] == 6


def test_every_structure_of_columns_is_read(cache: Path) -> None:
    """Scalars, flags, arrays of fixed size, jagged arrays, vectors of vectors (three deep) and strings."""

    @kernel(out=np.zeros(8))
    def read(out, scalar, flag, fixed, simple, nested, deep, text):
        out[0] += scalar
        out[1] += 1 if flag else 0
        out[2] += fixed[1]
        out[3] += simple.sum()
        for i in range(len(nested)):
            for value in nested[i]:
                out[4] += value
        if len(nested) > 0:
            out[5] += len(nested[-1])
        for i in range(len(deep)):
            for j in range(len(deep[i])):
                out[6] += deep[i][j].sum()
        out[7] += text[0]

    columns: dict[str, Column] = {
        "scalar": flat(7, 1, 2, dtype="u8"),
        "flag": flat(1, 1, 0, dtype="?"),
        "fixed": Flat(np.arange(9, dtype="i2").reshape(3, 3)),
        "simple": jagged([5], [1, 2], []),
        "nested": Jagged(np.array([0, 1, 3, 3]), jagged([8], [1, 2], [3, 4, 5])),
        "deep": Jagged(np.array([0, 1, 2, 3]), Jagged(np.array([0, 1, 1, 3]), jagged([8], [1], [2, 3]))),
        "text": Strings(np.array([0, 1, 3, 4]), np.frombuffer(b"xabc", np.uint8)),
    }
    last_two = {name: column.slice(1, 3) for name, column in columns.items()}
    assert run(read, cache, **last_two)["out"].tolist() == [3, 1, 4 + 7, 3, 15, 3, 6, ord("a") + ord("c")]


def test_loops_over_nested_columns_and_arrays_of_fixed_size(cache: Path) -> None:
    """`for t in nested` to any depth, within each other and left early; `m[n][3]` as rows, by one index and by two."""

    @kernel(out=np.zeros(7))
    def read(out, nested, deep, rows, words):
        for inner in nested:
            out[0] += len(inner)
            for value in inner:
                out[1] += value
        for number, outer in enumerate(deep):
            for inner in outer:
                for again in outer:
                    out[2] += (number + 1) * len(inner) * len(again)
        for inner in nested:
            if len(inner) > 1:
                out[3] += inner[-1]
                break
        for row in rows:
            out[4] += row[2]
        for i in range(len(rows)):
            out[5] += rows[i][1] * rows[i, 0]
        for word in words:
            out[6] += len(word)

    nested = Jagged(np.array([0, 1, 4, 4]), jagged([8], [1, 2], [], [3, 4, 5]))
    deep = Jagged(np.array([0, 1, 2, 4]), Jagged(np.array([0, 1, 1, 3, 4]), jagged([8], [1], [2, 3], [6])))
    columns: dict[str, Column] = {
        "nested": nested,
        "deep": deep,
        "rows": Jagged(np.array([0, 2, 2, 5]), Flat(np.arange(15, dtype="f4").reshape(5, 3))),
        "words": Jagged(np.array([0, 2, 2, 3]), Strings(np.array([0, 1, 3, 6]), np.frombuffer(b"xabcde", np.uint8))),
    }
    for start, stop in [(0, 3), (1, 3), (2, 3)]:
        some = {name: column.slice(start, stop) for name, column in columns.items()}
        lists = {name: ak.Array(layout_of(column)).to_list() for name, column in some.items() if name != "words"}
        expected = [
            sum(len(inner) for event in lists["nested"] for inner in event),
            sum(value for event in lists["nested"] for inner in event for value in inner),
            sum(
                (number + 1) * len(inner) * len(again)
                for event in lists["deep"]
                for number, outer in enumerate(event)
                for inner in outer
                for again in outer
            ),
            sum(next((inner[-1] for inner in event if len(inner) > 1), 0) for event in lists["nested"]),
            sum(row[2] for event in lists["rows"] for row in event),
            sum(row[1] * row[0] for event in lists["rows"] for row in event),
            sum(len(word) for event in [["x", "ab"], [], ["cde"]][start:stop] for word in event),
        ]
        assert run(read, cache, **some)["out"].tolist() == expected


def test_take_returns_what_came_since_the_last_take_and_never_changes_it(cache: Path) -> None:
    @kernel(seen=np.zeros(1, np.int64), spectrum=Hist.new.Reg(2, 0, 2).Int64())
    def count(spectrum, seen, x):
        seen[0] += 1
        spectrum.fill(x)

    compiled = CompiledKernel(count, cache)
    compiled.run({"x": flat(0.5, 1.5)}, 0)
    compiled.run({"x": flat(0.5)}, 2)
    first: Any = compiled.take()[0]
    compiled.run({"x": flat(1.5)}, 3)
    second: Any = compiled.take()[0]
    assert [list(out) for out in (first, second)] == [["spectrum", "seen"]] * 2
    assert (first["seen"].tolist(), first["spectrum"].array.tolist()) == ([3], [0, 2, 1, 0])
    assert (second["seen"].tolist(), second["spectrum"].array.tolist()) == ([1], [0, 0, 1, 0])
    assert compiled.take()[0]["seen"] == [0]


NARROW = ["i1", "u4", "f2", "c8", ">f4"]
"""One for each type of 64 bits that it becomes, and one in the order of another machine."""
MORE_NARROW = [pytest.param(kind, marks=pytest.mark.nightly) for kind in ("i2", "i4", "u1", "u2", "f4", ">i2")]


@pytest.mark.parametrize("dtype", [*NARROW, *MORE_NARROW])
def test_arrays_are_filled_in_64_bits(cache: Path, dtype: str) -> None:
    """A count or sum in a narrow array does not wrap around or lose ones: 2,000,000 was -128 in int8."""

    @kernel(seen=np.zeros(2, dtype))
    def count(seen: Any, x: Any) -> None:
        seen[0] += 1
        seen[1] += x

    n = 70_000  # beyond 16 bits
    large = np.full(n, 2**16, np.int64)  # whose sum is beyond 32 bits, and has more digits than float32
    large[-1] = 1
    seen = run(count, cache, x=Flat(large))["seen"]
    assert seen.dtype.itemsize >= 8
    assert seen.tolist() == [n, (n - 1) * 2**16 + 1]


NOON = 1_800_000_000_000_000_000
"""A time in nanoseconds since 1970, of which an int64 holds five."""


@pytest.mark.parametrize(
    "statement",
    [
        "total[0] += x", "total[0] = x + total[0]", "total[0] -= x", "add(total, x)",
        pytest.param("total[int(x > 0)] += x", marks=pytest.mark.nightly),
        pytest.param("total[0] = total[0] - x", marks=pytest.mark.nightly),
    ],
)  # fmt: skip
def test_a_sum_that_64_bits_do_not_hold_is_an_error(cache: Path, statement: str) -> None:
    """It wrapped around within a slot, where no merging could see it; to the last bit below it is right."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(f"def add(total, x):\n    total[0] += x\n\ndef sum_up(total, x):\n    {statement}", scope)
    total = CompiledKernel(unpack(pack(kernel(total=np.zeros(2, np.int64))(scope["sum_up"])).blob), cache)
    total.run({"x": Flat(np.full(5, NOON))}, 0)
    total.run({"x": Flat(np.array([2**63 - 1 - 5 * NOON]))}, 0)
    assert abs(sum(map(int, total.take()[0]["total"]))) == 2**63 - 1
    with pytest.raises(OverflowError, match="a sum of whole numbers does not fit into 64 bits") as caught:
        total.run({"x": Flat(np.full(6, NOON))}, 100)
    assert "in entry 105, kernel sum_up" in "".join(caught.value.__notes__)


def test_sums_of_all_else_are_what_they_were(cache: Path) -> None:
    """Rows, floats, flags, narrow and unsigned numbers, and what is not put back where it came from."""

    @kernel(sums=np.zeros(9), grid=np.zeros((2, 4), np.int64), bits=np.zeros(1, np.uint64))
    def fill(sums: Any, grid: Any, bits: Any, x: Any, flag: Any) -> None:
        sums[0] += x
        sums[1] = 0.5 + sums[1]
        sums[8] -= flag
        grid[0, 0] += flag
        grid[0, 1] += np.int8(-3)
        grid[0, 2] = grid[0, 1] + np.uint8(200)
        row = grid[1]
        row += 1
        grid[1, 3] += 2.75
        bits[0] += np.uint64(2**63)

    found = run(fill, cache, x=Flat(np.array([3, 4])), flag=Flat(np.array([True, False])))
    assert found["sums"].tolist() == [7, 1, 0, 0, 0, 0, 0, 0, -1]
    assert found["grid"].tolist() == [[1, -6, 194, 0], [2, 2, 2, 6]]
    assert found["bits"].tolist() == [0]


@pytest.mark.long("numba compiles what is put into a slice for two seconds")
def test_sums_of_slices_are_what_they_were(cache: Path) -> None:
    @kernel(sums=np.zeros(9))
    def fill(sums: Any, x: Any) -> None:
        sums[2:4] += 2
        sums[4:6] = sums[5:7] + 1

    assert run(fill, cache, x=Flat(np.array([3, 4])))["sums"].tolist() == [0, 0, 4, 4, 2, 1, 0, 0, 0]


def test_an_array_that_cannot_be_summed_is_no_output() -> None:
    """Refused where it is declared."""
    for dtype in ("longdouble", "clongdouble", "?", "U1", "O", "M8[s]", "i4,i4"):
        with pytest.raises(AnalysisError, match="cannot be added up"):
            kernel(seen=np.zeros(1, dtype))(lambda seen, x: None)


def test_no_entries_are_no_work_and_unlike_lengths_are_refused(cache: Path) -> None:
    @kernel(out=np.zeros(1))
    def add(out, x, y):
        out[0] += x * y

    @kernel(out=np.zeros(1))
    def total(out, x):
        out[0] += x.sum()

    assert run(add, cache, x=flat(), y=flat())["out"] == [0]
    with pytest.raises(ValueError, match="different lengths"):
        run(add, cache, x=flat(1.0), y=flat())
    with pytest.raises(ValueError, match="offsets from 0 to 9"):
        run(total, cache, x=Jagged(np.array([0, 9]), flat(1.0)))


# --- errors -------------------------------------------------------------------------------------------------


def failing(body: str, **outputs: Any) -> Kernel:
    """A kernel with this body, in a file of its own, at line 11."""
    namespace: dict[str, Any] = {"__name__": "__main__", "np": np, "math": math, "sizes": object()}
    source = "\n" * 10 + f"def analyse(h, pt, n):\n{textwrap.indent(body, '    ')}\n"
    exec(compile(source, "dimuon.py", "exec"), namespace)
    linecache.cache["dimuon.py"] = (len(source), None, source.splitlines(True), "dimuon.py")
    outputs = outputs or {"h": Hist.new.Reg(3, 0, 3, name="mass").Double()}
    return unpack(pack(kernel(**outputs)(namespace["analyse"])).blob)  # type: ignore[no-any-return]


COLUMNS: dict[str, Column] = {"pt": jagged([10, 20], [30], []), "n": flat(2, 1, 0, dtype="i4")}


@pytest.mark.parametrize(
    ("body", "kind", "entry", "line"),
    [
        ("h.fill(6 // n)", ZeroDivisionError, 102, "dimuon.py:12: h.fill(6 // n)"),
        ("x = n + 1\nh.fill(pt[1])", IndexError, 101, "dimuon.py:13: h.fill(pt[1])"),
        ("if n == 0:\n    raise ValueError('no muon')", ValueError, 102, "dimuon.py:13: raise ValueError('no muon')"),
    ],
)
def test_an_exception_of_the_kernel_comes_out_with_entry_and_line(
    cache: Path, body: str, kind: type[Exception], entry: int, line: str
) -> None:
    compiled = CompiledKernel(failing(body), cache)
    with pytest.raises(kind) as caught:
        compiled.run(COLUMNS, first_entry=100)
    assert compiled.current_entry == entry
    assert caught.value.__notes__ == [f"in entry {entry}, kernel analyse, {line}"]


@pytest.mark.parametrize(
    ("body", "told", "line"),
    [
        ("x = pt + 'a'", r"there is no add\(array\(float64, 1d\), 'a'\) in compiled code", 12),
        (
            "x = n\nh.fill(pt)",
            "mass takes a number, not array.*: fill the values of an array one by one, in a loop",
            13,
        ),
        ("h.fill(1, 2)", r"one value for each of its 1 axes \(mass\).*given: 2 values", 12),
        ("h.fill(1, wieght=2)", "given: 1 values, wieght=", 12),
        ("h.fill(1, sample=2)", "Double storage takes no sample=", 12),
        ("h.fil(1)", "Unknown attribute 'fil' of type Histogram", 12),
        ("pt[0] = 3", "Cannot modify readonly array", 12),
        ("h.fill(sizes['a'])", "'sizes': Cannot determine Numba type of <class 'object'>.*From outside, kernels", 12),
        ("import os", "unsupported opcode", 12),
        ("return n", "a kernel returns nothing, but this one returns int64", None),
        ("h.fill(unknown)", "name 'unknown' is not defined", 12),
        ("h.fill(np.unknown(pt))", "no attribute 'unknown'", 12),
    ],
)
def test_what_does_not_compile_is_told_in_a_line_with_the_users_line(
    cache: Path, body: str, told: str, line: int | None
) -> None:
    with pytest.raises(AnalysisError, match=rf"the kernel analyse does not compile: .*{told}") as caught:
        CompiledKernel(failing(body), cache).run(COLUMNS, 0)
    message = str(caught.value)
    assert len(message.splitlines()) == (2 if line else 1)
    assert line is None or f"dimuon.py:{line}: {body.splitlines()[-1]}" in message


def test_colours_of_numbas_messages_do_not_hide_the_reason(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """numba has them wherever colorama is installed, in terminals and in files."""

    def highlighted(self: NumbaError) -> str:
        return "\x1b[1m\x1b[1mFailed in nopython mode pipeline (step: nopython frontend)\n\x1b[1mno such thing\x1b[0m"

    monkeypatch.setattr(NumbaError, "__str__", highlighted)
    with pytest.raises(AnalysisError, match=r"does not compile: no such thing$"):
        CompiledKernel(failing("h.fil(1)"), cache).run(COLUMNS, 0)


@pytest.mark.parametrize(
    ("histogram", "body", "told"),
    [
        (Hist.new.Reg(3, 0, 3).Int64(), "h.fill(1, weight=2)", "Int64 storage only counts"),
        (Hist.new.Reg(3, 0, 3).Mean(), "h.fill(1)", "Mean storage needs sample="),
        (
            Hist.new.Int(0, 3, name="jets").Double(),
            "h.fill(1.5)",
            r"the axis jets \(integer\) takes whole numbers, not float64",
        ),
        (Hist.new.StrCat(["a"]).Double(), "h.fill(1)", "fill it with a string"),
    ],
)
def test_a_fill_that_does_not_fit_the_histogram_is_told(cache: Path, histogram: Any, body: str, told: str) -> None:
    with pytest.raises(AnalysisError, match=told):
        CompiledKernel(failing(body, h=histogram), cache).run(COLUMNS, 0)


@pytest.mark.parametrize("dtype", ["O", ">f4", "f2", "M8[s]", [("x", "f4")]])
def test_a_branch_of_a_type_that_cannot_be_read_is_named(cache: Path, dtype: Any) -> None:
    with pytest.raises(AnalysisError, match="the branch n has the type"):
        CompiledKernel(failing("h.fill(n)"), cache).run({**COLUMNS, "n": Flat(np.zeros(3, dtype))}, 0)
