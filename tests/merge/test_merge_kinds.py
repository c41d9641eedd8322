"""Which kinds of objects merge by their own rule, which by ours, and which are refused: no wrong sum without a word."""

from __future__ import annotations

import collections
import datetime
import enum
import itertools
import sys
from decimal import Decimal
from fractions import Fraction
from types import ModuleType
from typing import Any

import awkward as ak
import boost_histogram as bh
import numpy as np
import pytest
from eventmill.analysis.ownership import is_installed
from eventmill.merge import Partial, Total, decode, encode
from eventmill.protocol.errors import MergeError
from hist import Hist, Stack
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from property_tests import examples


def merge(*values: object) -> Any:
    """Through frames, as from slot to session."""
    total = Total()
    for value in values:
        total.add(Partial.from_frames(encode(value).to_frames()))
    return decode(Partial.from_frames(total.partial().to_frames()))


NARROW = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", ">i2", ">f4"]
_WIDE: dict[str, type] = {"i": np.int64, "u": np.uint64, "f": np.float64, "c": np.complex128}


@given(dtype=st.sampled_from(NARROW), data=st.data(), cuts=st.lists(st.integers(0, 40), max_size=5))
@examples(30)
def test_summed_pieces_are_numpys_sum_of_the_whole(dtype: str, data: st.DataObject, cuts: list[int]) -> None:
    """However the entries are cut into packets, the sum is numpy's over all of them, in 64 bits."""
    kind = np.dtype(dtype)
    values = data.draw(
        hnp.arrays(kind, (40, 3), elements={"allow_nan": False, "allow_infinity": False} if kind.kind in "fc" else None)
    )
    if kind.kind in "fc":
        values = np.round(values.real.clip(-1000, 1000)).astype(kind)  # exact in any order
    elif kind.itemsize == 8:
        values //= 64
    wide = values.astype(_WIDE[kind.kind])
    edges = [0, *sorted(cuts), 40]
    rows = [
        {"rows": row, "n": row[0], "counter": collections.Counter(x=row[1])}
        for low, high in itertools.pairwise(edges)
        for row in values[low:high]
    ]
    outcome = merge(*rows)
    assert outcome["rows"].dtype == _WIDE[kind.kind]
    assert np.array_equal(outcome["rows"], wide.sum(axis=0))
    assert outcome["n"] == sum(wide[:, 0].tolist())
    assert outcome["counter"]["x"] == sum(wide[:, 1].tolist())


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ([np.array([2**62, 0]), np.array([2**62, 0])], "int64"),
        ([np.array([0, -(2**63)]), np.array([0, -1])], "int64"),
        ([np.array([2**63], np.uint64), np.array([2**63], np.uint64)], "uint64"),
    ],
)
def test_a_sum_that_does_not_fit_is_an_error(pieces: list[Any], kind: str) -> None:
    """A sum beyond 64 bits wraps around in numpy; here it is refused, and the total stays as it was."""
    total = Total()
    total.add(encode({"n": pieces[0]}))
    with pytest.raises(MergeError, match=rf"result\['n'\]: .*does not fit into {kind}.*float64"):
        total.add(encode({"n": pieces[1]}))
    outcome: Any = decode(total.partial())
    assert outcome["n"].tolist() == pieces[0].tolist()


def test_a_sum_that_just_fits_is_right() -> None:
    """What is near the limit in one bin is no error in another one."""
    big = 2**62
    steps = [np.array([big, -big]), np.array([-big, big]), np.array([big, big]), np.array([big - 1, -big])]
    assert merge(*steps).tolist() == [2 * big - 1, 0]
    assert merge(np.array([2**63], np.uint64), np.array([2**63 - 1], np.uint64)).tolist() == [2**64 - 1]


def test_a_histogram_of_whole_numbers_that_does_not_fit_is_an_error() -> None:
    """Int64 cells wrap around as arrays do."""
    h = bh.Histogram(bh.axis.Regular(2, 0, 1), storage=bh.storage.Int64())
    h.view(flow=True)[1] = 2**62
    assert merge(h, bh.Histogram(h.axes[0], storage=bh.storage.Int64())).view()[0] == 2**62
    with pytest.raises(MergeError, match="does not fit into Int64"):
        merge(h, h)


class Word(str, enum.Enum):  # noqa: UP042  (what many have written before there was StrEnum)
    X = "x"


class Step(enum.IntEnum):
    FIRST = 1


def test_members_of_an_enum_are_what_they_equal() -> None:
    """`str(Word.X)` is 'Word.X', which does not equal Word.X; its characters do, as value and as key."""
    assert merge({"word": Word.X, Word.X: 1}, {"word": "x", "x": 1}) == {"word": "x", "x": 2}
    assert merge({Word.X}, {"x"}) == {"x"}
    assert merge(collections.Counter([Step.FIRST]), collections.Counter([1])) == {1: 2}
    with pytest.raises(MergeError, match=r"Step cannot be merged.*its name"):
        encode(Step.FIRST)


@pytest.mark.parametrize(
    "value", [{np.nan: 1}, {np.float32("nan"): 1}, {(1, np.nan): 1}, {np.nan}, collections.Counter([np.nan])]
)
def test_a_key_that_is_not_a_number_is_refused(value: object) -> None:
    """Each packet's nan would be a key of its own; as a word it is one."""
    with pytest.raises(MergeError, match="key nan equals no other"):
        encode(value)


def test_keys_that_are_equal_are_one() -> None:
    """1, 1.0, True and np.int8(1) are one key of a dict; so are the zeros."""
    assert merge({1: 1}, {1.0: 1}, {True: 1}, {np.int8(1): 1}) == {1: 4}
    assert merge(collections.Counter({0.0: 1}), collections.Counter({-0.0: 1})) == {0.0: 2}


class Largest(dict[str, int]):
    """A user's dict with an idea of `+` of its own."""

    def __add__(self, other: Largest) -> Largest:
        return Largest({key: max(self.get(key, 0), other.get(key, 0)) for key in {*self, *other}})


class Longest(list[int]):
    def merge(self, other: Longest) -> Longest:
        return max(self, other, key=len)


class Least(float):
    def __add__(self, other: float) -> Least:
        return Least(min(self, other))


class Tagged(dict[str, int]):
    """A user's dict that says nothing about merging."""


class Changing:
    """A user's class whose `+` changes its object, as many do."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __add__(self, other: Changing) -> Changing:
        self.n += other.n
        return self


def test_the_users_own_rule_goes_before_ours() -> None:
    """A dict, list or float of a class of the user's is merged as that class says; one that says nothing, as a dict."""
    assert merge(Largest(a=1, b=5), Largest(a=3)) == {"a": 3, "b": 5}
    assert merge(Longest([1, 2, 3]), Longest([4])) == [1, 2, 3]
    assert merge(Least(2.0), Least(1.0), Least(3.0)) == 1.0
    assert merge(Tagged(a=1), Tagged(a=3)) == {"a": 4}


def test_a_plus_that_changes_its_object_counts_nothing_twice() -> None:
    """Totals share objects with the snapshots that they gave: the user's `+` works on a copy."""
    one, total = Changing(1), Total()
    total.add(encode(one))
    first = total.partial()
    total.add(encode(Changing(10)))
    second = total.partial()
    total.add(encode(Changing(100)))
    results: list[Any] = [decode(partial) for partial in (first, second, total.partial())]
    assert [result.n for result in results] == [1, 11, 111]
    assert one.n == 1


def test_sums_of_libraries_are_theirs() -> None:
    """What is known to be a sum stays one, in its own type."""
    assert merge(Decimal("0.1"), Decimal("0.2")) == Decimal("0.3")
    assert merge(Fraction(1, 3), Fraction(1, 6)) == Fraction(1, 2)
    assert merge(datetime.timedelta(1), datetime.timedelta(2)) == datetime.timedelta(3)
    assert merge(collections.deque([1]), collections.deque([2])) == collections.deque([1, 2])
    assert merge(*[bh.accumulators.WeightedSum(1, 2)] * 3) == bh.accumulators.WeightedSum(3, 6)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ma.masked_array([1, 2], [True, False]), r"MaskedArray.*filled\(0\)"),
        (np.ones((1, 1)).view(np.matrix), r"matrix.*np\.asarray"),
        (np.rec.array([(1, 2)], dtype="i4,i4"), r"recarray.*np\.asarray"),
        (np.zeros(1, "i4,i4"), r"numpy array of .* cannot be summed"),
        (np.zeros(1, "i4,i4")[0], r"numpy.void cannot be merged"),
        (np.datetime64("2026-01-01"), r"datetime64 cannot be merged.*timedelta64"),
        (datetime.datetime(2026, 1, 1), r"datetime cannot be merged.*timedelta"),
        (datetime.date(2026, 1, 1), "date cannot be merged"),
        (Stack(Hist.new.Reg(2, 0, 1).Double()), r"Stack cannot be merged.*dict of its histograms"),
        (collections.UserString("x"), "UserString cannot be merged"),
        (bytearray(b"x"), "bytearray cannot be merged"),
        (Hist.new.Reg(2, 0, 1).Mean().view(flow=True), "MeanView cannot be merged"),
    ],
)  # fmt: skip
def test_what_a_librarys_plus_means_is_not_guessed(value: object, message: str) -> None:
    """Refused when the first packet returns it, by name, with what to return instead."""
    with pytest.raises(MergeError, match=message):
        encode({"x": value})


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, name: str, **members: Any) -> Any:
    """A class as an installed library has it that the tests do not need."""
    for part in (module.partition(".")[0], module):
        fake = ModuleType(part)
        fake.__file__ = f"/opt/python/lib/site-packages/{part.replace('.', '/')}.py"
        monkeypatch.setitem(sys.modules, part, fake)
    kind = type(name, (), {"__module__": module, "__add__": lambda self, other: self, **members})
    setattr(sys.modules[module], name, kind)
    return kind


@pytest.mark.parametrize(
    ("module", "name", "members", "message"),
    [
        ("pandas", "DataFrame", {"merge": lambda self, other: self}, "its merge joins tables"),
        ("pandas", "Series", {}, r"its \+ need not be"),
        ("xarray.core.dataset", "Dataset", {"merge": lambda self, other: self}, "its merge joins tables"),
        ("xarray.core.dataarray", "DataArray", {}, r"its \+ need not be"),
        ("polars.dataframe.frame", "DataFrame", {}, r"its \+ need not be"),
        ("sympy.core.symbol", "Symbol", {}, r"its \+ need not be"),
        ("torch", "Tensor", {}, r"its \+ need not be"),
    ],
)
def test_libraries_with_a_plus_of_their_own_are_refused(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, members: Any, message: str
) -> None:
    """Stand-ins: `+` of xarray drops what has not the same labels, those of polars and torch keep narrow types."""
    kind = stand_in(monkeypatch, module, name, **members)
    with pytest.raises(MergeError, match=rf"result\['x'\]: a {module}.{name} cannot be merged, because {message}"):
        encode({"x": kind()})

    class Own(kind):  # type: ignore[misc,valid-type]
        def merge(self, other: object) -> object:
            return self

    encode(Own())


def test_sums_of_libraries_that_the_tests_do_not_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins: uncertainties add their errors; sparse arrays add up in 64 bits only; `merge` of no table is taken."""
    encode(stand_in(monkeypatch, "uncertainties.core", "AffineScalarFunc")())
    encode(stand_in(monkeypatch, "sketches.quantiles", "Sketch", merge=lambda self, other: self)())
    sparse = stand_in(monkeypatch, "scipy.sparse._base", "_spbase", dtype=np.dtype("i8"))()
    encode(sparse)
    type(sparse).dtype = np.dtype("i1")
    with pytest.raises(MergeError, match=r"_spbase of int8 would be summed in so many bits.*np\.int64"):
        encode(sparse)


def test_coffeas_accumulators_are_merged_by_their_own_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for coffea's base class, whose `+` is made of `identity` and `add`, and what users make of it."""

    def plus(self: Any, other: Any) -> Any:
        outcome = self.identity()
        outcome.add(self)
        outcome.add(other)
        return outcome

    base = stand_in(monkeypatch, "coffea.processor.accumulator", "AccumulatorABC", __add__=plus)

    class Column(base):  # type: ignore[misc,valid-type]
        def __init__(self, values: list[int]) -> None:
            self.values = values

        def identity(self) -> Column:
            return Column([])

        def add(self, other: Column) -> None:
            self.values = [*self.values, *other.values]

    class Cuts(dict[str, int], base):  # type: ignore[misc,valid-type]
        def identity(self) -> Cuts:
            return Cuts()

        def add(self, other: Cuts) -> None:
            for key, value in other.items():
                self[key] = max(self.get(key, 0), value)

    total = Total()
    for n in (1, 3, 2):
        total.add(encode({"column": Column([n]), "cuts": Cuts(a=n)}))
    outcome: Any = decode(total.partial())
    assert outcome["column"].values == [1, 3, 2]
    assert outcome["cuts"] == {"a": 3}


def test_who_wrote_a_class_is_told_by_where_it_lies() -> None:
    """Python's own and installed packages; not the main program, working copies, and what came with an analysis."""
    for name in ("builtins", "decimal", "numpy", "boost_histogram._core.accumulators"):
        assert is_installed(name), name
    for name in ("__main__", __name__, "came_with_an_analysis"):
        assert not is_installed(name), name


def test_memory_maps_are_arrays(tmp_path: Any) -> None:
    """A memory map is an array like others; its sum is in 64 bits."""
    mapped = np.memmap(tmp_path / "map", np.uint8, "w+", shape=(2,))
    mapped[:] = 200
    assert merge(mapped, mapped).tolist() == [400, 400]


def test_awkward_arrays_of_numbers_are_joined_unrounded_or_not_at_all() -> None:
    """Event numbers beyond 2^53 stay what they are beside an empty array, of float64 by numpy's default; else refused."""
    numbers = ak.Array(np.array([2**53 + 1]))
    empty = ak.Array(np.array([]))
    assert merge(empty, numbers, empty, numbers).to_list() == [2**53 + 1] * 2
    assert merge(empty, empty).to_list() == []
    assert merge({"n": ak.Array([[1]])}, {"n": ak.Array([[0.5]])})["n"].to_list() == [[1], [0.5]]
    for other in (ak.Array([0.5]), ak.Array(np.array([1], np.uint64))):
        for pieces in ((numbers, other), (other, numbers)):
            with pytest.raises(MergeError, match=r"result\['n'\]: awkward arrays of int64 .*round.*values_astype"):
                merge(*[{"n": piece} for piece in pieces])


def test_awkward_categories_are_joined_as_their_words() -> None:
    """Packets meet other categories, each in an order of its own."""
    one, other = ak.Array({"k": [["b", "a"], []], "n": [1, 2]}), ak.Array({"k": [["c", "b"]], "n": [3]})
    packets = [ak.with_field(each, categorical(each.k), "k") for each in (one, other)]
    assert merge(*packets).to_list() == ak.concatenate([one, other]).to_list()


def categorical(words: ak.Array) -> ak.Array:
    """Lists of words as lists of categories (as `ak.str.to_categorical` makes, which needs pyarrow)."""
    flat = ak.flatten(words).to_list()
    known = list(dict.fromkeys(flat))
    index = ak.index.Index64(np.array([known.index(word) for word in flat]))
    categories = ak.contents.IndexedArray(index, ak.from_iter(known).layout, parameters={"__array__": "categorical"})
    return ak.unflatten(ak.Array(categories), ak.num(words))


@pytest.mark.parametrize("storage", [bh.storage.WeightedMean(), bh.storage.Mean()])
def test_a_mean_whose_weights_cancel_is_not_taken_for_none(storage: Any) -> None:
    """Weights of +1 and -1 give a cell of weight 0 that is not empty: without it the mean was 2 instead of 4."""

    def profile(samples: list[float], weights: list[float]) -> Any:
        h = Hist.new.Reg(1, 0, 1)
        h = h.WeightedMean() if isinstance(storage, bh.storage.WeightedMean) else h.Mean()
        return h.fill([0.5] * len(samples), sample=samples, weight=weights)

    one, cancelled, none = profile([2.0], [1.0]), profile([5.0, 3.0], [1.0, -1.0]), profile([], [])
    assert profile([2.0, 5.0, 3.0], [1.0, 1.0, -1.0]).view()["value"][0] == 4.0
    for pieces in ((one, cancelled), (cancelled, one), (none, cancelled, one)):
        assert np.isnan(merge(*pieces).view()["value"][0])
    assert merge(none, one, none).view()["value"][0] == 2.0
    assert merge(one, profile([9.0], [0.0])).view()["value"][0] == 2.0
