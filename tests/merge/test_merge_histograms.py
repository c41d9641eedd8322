"""Histograms merge exactly: filled in pieces they are what boost-histogram makes of all data at once."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import boost_histogram as bh
import hist
import numpy as np
import pytest
from eventmill.merge import FilledHistogram, HistogramTemplate, Partial, Total, decode, encode
from eventmill.merge.histograms import _pickles_cells, histogram_node
from eventmill.protocol.errors import MergeError, RemoteProtocolError
from hist import Hist
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples

AXES = {
    "regular": lambda: hist.axis.Regular(7, -3, 4, name="x", label="x [GeV]"),
    "no flow": lambda: hist.axis.Regular(7, -3, 4, flow=False),
    "underflow": lambda: hist.axis.Regular(7, -3, 4, overflow=False),
    "inverted": lambda: hist.axis.Regular(7, 4, -3),
    "circular": lambda: hist.axis.Regular(4, 0, 3, circular=True),
    "log": lambda: hist.axis.Regular(5, 0.1, 9, transform=hist.axis.transform.log),
    "sqrt": lambda: hist.axis.Regular(5, 0, 9, transform=hist.axis.transform.sqrt),
    "pow": lambda: hist.axis.Regular(5, 1, 9, transform=hist.axis.transform.Pow(0.3)),
    "variable": lambda: hist.axis.Variable([-2, 0, 0.1, 3]),
    "circular variable": lambda: hist.axis.Variable([-2, 0, 0.1, 3], circular=True),
    "integer": lambda: hist.axis.Integer(-2, 3),
    "circular integer": lambda: hist.axis.Integer(-2, 3, circular=True),
    "boolean": lambda: hist.axis.Boolean(),
    "categories": lambda: hist.axis.IntCategory([3, 0, 1]),
    "categories only": lambda: hist.axis.IntCategory([3, 0, 1], overflow=False),
    "growing": lambda: hist.axis.Regular(4, 0, 2, growth=True),
    "growing integer": lambda: hist.axis.Integer(0, 1, growth=True),
    "growing categories": lambda: hist.axis.IntCategory([], growth=True),
}
STORAGES = [
    bh.storage.Double,
    bh.storage.Int64,
    bh.storage.AtomicInt64,
    bh.storage.Unlimited,
    bh.storage.Weight,
    bh.storage.Mean,
    bh.storage.WeightedMean,
]


def fill(h: Any, values: Any, rng: np.random.Generator) -> Any:
    """Fill with whole numbers as weights, so that sums are exact in any order."""
    size = np.shape(values)[-1]
    arguments: dict[str, Any] = {}
    if h.storage_type in (bh.storage.Mean, bh.storage.WeightedMean):
        arguments["sample"] = rng.integers(0, 9, size)
    if h.storage_type in (bh.storage.Weight, bh.storage.WeightedMean, bh.storage.Double):
        arguments["weight"] = rng.integers(1, 5, size)
    if h.storage_type is bh.storage.MultiCell:
        return h.fill(*values, weight=np.stack([np.ones(size), rng.integers(1, 5, size)], axis=-1))
    return h.fill(*values, **arguments)


def merge(*values: object) -> Any:
    """Through frames, as from slot to session."""
    total = Total()
    for value in values:
        total.add(Partial.from_frames(encode(value).to_frames()))
    return decode(Partial.from_frames(total.partial().to_frames()))


def sorted_categories(h: Any) -> Any:
    """`h` with its growing categories in order: bin by bin, the same histogram."""
    return merge(h)


def assert_same(one: Any, other: Any) -> None:
    """Equal as boost-histogram has it, but for the rounding of means, which depends on the order of addition."""
    assert type(one) is type(other)
    assert one.storage_type is other.storage_type
    if one.storage_type in (bh.storage.Mean, bh.storage.WeightedMean):
        assert list(one.axes) == list(other.axes)
        for field in one.view(flow=True).dtype.names:
            np.testing.assert_allclose(one.view(flow=True)[field], other.view(flow=True)[field], rtol=1e-12, atol=1e-12)
    else:
        assert one == other


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("axis", AXES)
def test_pieces_merge_to_the_whole(axis: str, storage: Any) -> None:
    """Every axis with every storage: three packets, in three processes, are worth one fill of all events."""
    values = np.random.default_rng(1).integers(-4, 9, 60) / 2
    if axis == "boolean":
        values = values > 0
    elif "integer" in axis or "categ" in axis:
        values = values.astype(int)
    cuts = np.split(values, [7, 30])
    pieces = [Hist(AXES[axis](), storage=storage()) for _ in cuts]
    whole = Hist(AXES[axis](), storage=storage())
    rng_pieces, rng_whole = np.random.default_rng(2), np.random.default_rng(2)
    for piece, cut in zip(pieces, cuts, strict=True):
        fill(piece, [cut], rng_pieces)
        fill(whole, [cut], rng_whole)
    before = [piece.view(flow=True).tobytes() for piece in pieces]
    outcome = merge(*pieces)
    assert_same(outcome, sorted_categories(whole))
    assert_same(merge(*pieces[::-1]), outcome)
    assert [piece.view(flow=True).tobytes() for piece in pieces] == before
    assert outcome.axes[0].name == whole.axes[0].name
    assert outcome.axes[0].label == whole.axes[0].label
    if "growing" not in axis:
        assert_same(outcome, whole)
        assert (outcome.variances() is None) == (whole.variances() is None)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("storage", STORAGES)
def test_one_histogram_comes_back_bit_by_bit(axis: str, storage: Any) -> None:
    """Encoding and decoding loses nothing, empty bins and metadata included; a merge with an empty one neither."""
    h = Hist(AXES[axis](), storage=storage(), name="mass", label="$m$")
    fill(h, [np.array([0, 1, 1, 3])], np.random.default_rng(3))
    back = merge(h)
    assert back == h
    assert back.view(flow=True).tobytes() == h.view(flow=True).tobytes()
    assert (back.name, back.label) == ("mass", "$m$")
    empty = h.copy().reset()
    assert merge(h, empty) == h
    assert merge(empty, h) == h


def test_many_dimensions_with_growth() -> None:
    """Axes grow on both sides in several dimensions at once, with words among them."""

    def new() -> Any:
        return Hist.new.StrCat([], growth=True, name="dataset").Reg(4, 0, 2, growth=True).Int(0, 3).Weight()

    packets = [
        ("ttbar", [0.1, -1.2], [1, 2]),
        ("data", [3.9], [0]),
        ("ttbar", [0.1, 5], [7, -7]),
        ("wjets", [], np.array([], int)),
    ]
    whole, pieces = new(), []
    for word, x, n in packets:
        pieces.append(new())
        pieces[-1].fill(word, x, n)
        whole.fill(word, x, n)
    outcome = merge(*pieces)
    assert list(outcome.axes[0]) == ["data", "ttbar"]
    assert outcome.axes[1] == whole.axes[1]
    for word in ("data", "ttbar"):
        assert outcome[{"dataset": word}] == whole[{"dataset": word}]


def test_growth_that_boost_histogram_cannot_add_is_added_here() -> None:
    """Bins of 0.1 round differently as they grow to either side; they are the same bins all the same."""
    low, high = (bh.Histogram(bh.axis.Regular(2, 0, 0.2, growth=True)) for _ in range(2))
    low.fill([-0.52])
    high.fill([1.04, 0.15])
    outcome = merge(low, high)
    assert merge(high, low) == outcome
    np.testing.assert_allclose(outcome.axes[0].edges, np.linspace(-0.6, 1.1, 18), atol=1e-12)
    assert outcome[bh.loc(-0.55)] == outcome[bh.loc(0.15)] == outcome[bh.loc(1.05)] == 1
    assert type(outcome) is bh.Histogram


def test_classes_and_cells_of_several_numbers() -> None:
    """boost-histogram stays boost-histogram, NamedHist stays NamedHist, MultiCell sums each of its numbers."""
    assert type(merge(bh.Histogram(bh.axis.Regular(3, 0, 1)))) is bh.Histogram
    named = hist.NamedHist(hist.axis.Regular(3, 0, 1, name="x")).fill(x=[0.5])
    assert merge(named, named) == named + named
    assert type(merge(named)) is hist.NamedHist
    cells = bh.Histogram(bh.axis.IntCategory([], growth=True), bh.axis.Integer(0, 2), storage=bh.storage.MultiCell(2))
    one, other = cells.copy(), cells.copy()
    fill(one, [[5, 2], [0, 1]], np.random.default_rng(4))
    fill(other, [[3, 5], [0, 1]], np.random.default_rng(5))
    outcome = merge(one, other)
    assert list(outcome.axes[0]) == [2, 3, 5]
    assert outcome.view().sum() == one.view().sum() + other.view().sum()
    five = list(one.axes[0]).index(5)
    np.testing.assert_array_equal(outcome.view()[:, 2, 0], one.view()[:, five, 0])
    with pytest.raises(MergeError, match="cells of"):
        merge(one, bh.Histogram(*one.axes, storage=bh.storage.MultiCell(3)))


def test_weights_of_doubles_are_remembered() -> None:
    """One weighted packet is enough for the variances of a Double histogram to be unknown."""
    plain, weighted = (Hist.new.Reg(3, 0, 1).Double().fill([0.5], weight=weight) for weight in (None, 2))
    assert merge(plain, plain).variances() is not None
    assert merge(plain, weighted).variances() is None
    assert merge(weighted, plain).variances() is None


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (Hist.new.Reg(3, 0, 1).Double(), Hist.new.Reg(4, 0, 1).Double(), "3 regular bins .*, 4 regular bins"),
        (Hist.new.Reg(3, 0, 1).Double(), Hist.new.Reg(3, 0, 1).Weight(), "Double and with Weight"),
        (Hist.new.Reg(3, 0, 1).Double(), Hist.new.Reg(3, 0, 1).Reg(3, 0, 1).Double(), "with 1 and with 2 axes"),
        (Hist.new.Reg(3, 0, 1, label="a").Double(), Hist.new.Reg(3, 0, 1, label="b").Double(), "'a'.*'b'"),
        (Hist.new.Reg(3, 0, 1).Double(), Hist.new.Reg(3, 0, 1, underflow=False).Double(), "flags"),
        (Hist.new.Reg(3, 1, 2).Double(), Hist.new.Log(3, 1, 2).Double(), "log bins"),
        (Hist.new.StrCat(["a"]).Double(), Hist.new.StrCat(["b"]).Double(), "categories 'a'; .*categories 'b'"),
        (Hist.new.Int(0, 2).Double(), Hist.new.Bool().Double(), "boolean bins"),
        (Hist.new.Var([0, 1, 2]).Double(), Hist.new.Var([0, 1, 3]).Double(), "variable bins from 0 to 2"),
        (Hist.new.Reg(3, 0, 3, growth=True).Double(), Hist.new.Reg(3, 0.5, 3.5, growth=True).Double(), "line up"),
        (Hist.new.Reg(3, 0, 3, growth=True).Double(), Hist.new.Reg(3, 1e9, 1e9 + 3, growth=True).Double(), "MiB"),
        (Hist.new.Reg(3, 0, 3, growth=True).Double(), Hist.new.Reg(3, 0, 3e-290, growth=True).Double(), "line up"),
        (Hist.new.Reg(3, 0, 3e-290, growth=True).Double(), Hist.new.Reg(3, 0, 3, growth=True).Double(), "hold both"),
        (Hist.new.Var([0, 1, 2], growth=True).Double(), Hist.new.Var([0, 1, 2], growth=True).Double().fill(9), "edges"),
    ],
)
def test_histograms_that_differ_are_refused_in_words(one: Any, other: Any, message: str) -> None:
    """An analysis that books another histogram for every packet learns which axis, and how."""
    total = Total()
    total.add(encode({"mass": one}))
    with pytest.raises(MergeError, match=rf"result\['mass'\]: .*{message}"):
        total.add(encode({"mass": other}))
    assert decode(total.partial()) == {"mass": one}


def test_edges_that_another_machine_rounds_differently_are_the_same() -> None:
    """The libm of two workers may disagree in the last bit of a logarithm."""
    one, other = (
        Hist.new.Reg(5, 1, top, transform=hist.axis.transform.log).Double() for top in (9, math.nextafter(9, 10))
    )
    assert merge(one.fill(2), other.fill(2)).sum() == 2
    one, other = (Hist.new.Var([0, 1, top]).Double() for top in (2, math.nextafter(2, 3)))
    assert merge(one.fill(0.5), other.fill(0.5)).sum() == 2


@pytest.mark.parametrize("storage", STORAGES)
def test_filled_arrays_are_histograms(storage: Any) -> None:
    """A kernel's plain array, in the order of its own axes, merges with a histogram that was filled in Python."""
    h = Hist(hist.axis.StrCategory(["b", "a"], growth=True), hist.axis.Regular(3, 0, 1), storage=storage())
    fill(h, [["b", "a", "a"], [0.1, 0.5, 7]], np.random.default_rng(6))
    template = HistogramTemplate(h)
    cells = np.array(h.view(flow=True), order="C", subok=False)
    assert (cells.shape, cells.dtype) == (template.shape, template.dtype)
    assert merge(FilledHistogram(template, cells)) == merge(h)
    assert list(merge(h).axes[0]) == ["a", "b"]
    assert merge(FilledHistogram(template, cells), h)[::sum, ::sum] == merge(h, h)[::sum, ::sum]


def test_filled_arrays_are_copied_and_checked() -> None:
    """A kernel may zero its array for the next packet; an array of another shape is a mistake."""
    template = HistogramTemplate(Hist.new.Reg(3, 0, 1).Double())
    cells = np.ones(template.shape, template.dtype)
    partial = encode({"m": FilledHistogram(template, cells)})
    cells[:] = 0
    outcome: Any = decode(partial)
    assert outcome["m"].sum(flow=True) == 5
    with pytest.raises(MergeError, match=r"result\['m'\]: an array of float64 and shape \(3,\)"):
        encode({"m": FilledHistogram(template, np.ones(3))})


def test_metadata_travels_and_what_does_not_pickle_is_named() -> None:
    """Anything may hang on a histogram or an axis, if it pickles."""
    h = bh.Histogram(bh.axis.Regular(3, 0, 1, metadata={"unit": "GeV"}), metadata=[1, 2])
    back = merge(h, h)
    assert back.axes[0].metadata == {"unit": "GeV"}
    assert back.metadata == [1, 2]
    h.metadata = (i for i in range(3))
    with pytest.raises(MergeError, match=r"result\['h'\]: a histogram whose metadata cannot be pickled"):
        encode({"h": h})


def test_templates_are_small() -> None:
    """A histogram of a million bins does not carry a million empty bins in its template."""
    h = Hist.new.Reg(1000, 0, 1).Reg(1000, 0, 1).Double()
    header = encode(h).to_frames()[0]
    assert len(header) < 2000


def test_master_merges_growing_histograms_without_boost_histogram() -> None:
    """Joining axes and adding means is plain numpy."""
    packets = [Hist.new.StrCat([], growth=True).Mean().fill(word, sample=[2]) for word in ("b", "a")]
    frames = [[bytes(frame) for frame in encode(packet).to_frames()] for packet in packets]
    code = (
        "import sys\n"
        "from eventmill.merge import Partial, Total\n"
        "total = Total()\n"
        f"for frames in {frames!r}: total.add(Partial.from_frames(frames))\n"
        "assert not {'hist', 'boost_histogram'} & set(sys.modules)\n"
        "sys.stdout.buffer.write(b''.join(bytes(f) + b'|cut|' for f in total.partial().to_frames()))\n"
    )
    outcome = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    merged: Any = decode(Partial.from_frames(outcome.split(b"|cut|")[:-1]))
    assert merged == merge(*packets)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Double", b"Weight"),
        (b"regular", b"variable"),
        (b"\x64", b"\x65"),
        (b"regular", b"integer"),
        (b"\xc3", b"\xc2"),
    ],
)
def test_histograms_that_do_not_add_up_in_themselves_are_refused(old: bytes, new: bytes) -> None:
    """A peer cannot make a master add cells that have not the shape of their axes."""
    header, cells = encode(bh.Histogram(bh.axis.Regular(100, 0, 1))).to_frames()
    forged = bytes(header).replace(old, new, 1)
    assert forged != header
    with pytest.raises(RemoteProtocolError):
        Partial.from_frames([forged, cells])


PIECES = st.lists(st.lists(st.integers(-50, 50), max_size=8), min_size=3, max_size=3)


@given(PIECES, st.sampled_from(STORAGES), st.integers(1, 8))
@examples(30)
def test_growing_axes_merge_in_any_order_and_grouping(pieces: list[list[int]], storage: Any, bins: int) -> None:
    """Associative and commutative: the tree of agents and masters does not show in the histogram."""

    def new() -> Any:
        axes = [
            bh.axis.Regular(bins, 0, bins / 4, growth=True),
            bh.axis.Integer(0, 0, growth=True),
            bh.axis.StrCategory([], growth=True),
        ]
        return bh.Histogram(*axes, storage=storage())

    rng, rng_whole, whole, parts = np.random.default_rng(7), np.random.default_rng(7), new(), []
    for piece in pieces:
        values = [(np.array(piece) + 0.5) / 4, np.array(piece, int) // 3, [f"c{abs(value) % 5}" for value in piece]]
        parts.append(new())
        if piece:
            fill(parts[-1], values, rng)
            fill(whole, values, rng_whole)
    a, b, c = parts
    outcome = merge(merge(a, b), c)
    assert_same(outcome, merge(a, merge(b, c)))
    assert_same(outcome, merge(c, b, a))
    assert_same(outcome, sorted_categories(whole))


@pytest.mark.parametrize("storage", ["Weight", "Mean", "WeightedMean"])
def test_cells_of_several_fields_are_taken_without_their_names(storage: str) -> None:
    """Protects packets of many small histograms, which cost three times as much where this boost-histogram is not as it was,
    and the order of what it pickles."""
    assert _pickles_cells(storage)
    rng, samples = np.random.default_rng(5), {}
    for axes in (
        [bh.axis.Regular(7, 0, 1)],
        [bh.axis.Regular(3, 0, 1), bh.axis.StrCategory(["a", "b"], overflow=False)],
    ):
        h = bh.Histogram(*axes, storage=getattr(bh.storage, storage)())
        for _ in range(3):  # the first time, it is described
            points = [rng.normal(size=50), rng.choice(["a", "b"], 50)][: len(axes)]
            samples = {"sample": rng.normal(size=50)} if "Mean" in storage else {}
            weights = {"weight": rng.normal(size=50)} if "Weight" in storage else {}
            h.fill(*points, **samples, **weights)
            node = histogram_node(h)
            assert node.cells.tobytes() == np.ascontiguousarray(h.view(flow=True)).tobytes()
            assert not np.shares_memory(node.cells, np.asarray(h.view(flow=True))) and not node.cells.flags.writeable
