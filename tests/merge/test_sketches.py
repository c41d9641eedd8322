"""Sketches: what bins are chosen at the end, every value is in the right one, however values were cut and joined."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from eventmill.merge import Partial, Total, decode, encode
from eventmill.merge.nodes import Sketched
from eventmill.merge.sketch_bins import SteadyBins, choose_bins, drawn
from eventmill.merge.sketches import EXACT, Sketch, SketchAxis, decimal, rounded_down, sketched, width_of
from eventmill.protocol.errors import MergeError, RemoteProtocolError
from hist import Hist
from hist.axis import Regular
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples

RANDOM = np.random.default_rng(7)
COMMON = {
    "momenta": RANDOM.exponential(30, 40_000).astype("f4"),
    "far tails": RANDOM.standard_cauchy(40_000),
    "decimals": np.round(RANDOM.uniform(0, 1, 30_000), 3),
    "few": RANDOM.normal(0, 1, 100),
    "tiny": RANDOM.normal(0, 1e-40, 18_000),
    "huge": RANDOM.normal(0, 1e40, 18_000),
    "times": 1.5e9 + RANDOM.uniform(0, 10, 30_000),
    "numbers": RANDOM.integers(0, 100_000, 30_000),
    "runs": RANDOM.integers(300_000, 300_100, 1_000),
    "multiplicity": RANDOM.poisson(3, 1_000).astype("u1"),
    "flags": RANDOM.integers(0, 2, 100).astype(bool),
    "one": np.full(10, 2.5),
    "one huge": np.full(10, 1e20),
    "largest": np.array([1.7e308, -1.7e308, 0.0]),
    "least": np.array([5e-324, 1e-323, -0.0]),
    "odd": np.array([np.nan, np.inf, -np.inf, 1.0, 2.0, 2.5]),
    "no number": np.array([np.nan, np.inf, -np.inf]),
    "none": np.empty(0),
    "beyond 2^53": np.array([2**63, 2**64 - 1, 5], "u8"),
    "many": np.concatenate([RANDOM.exponential(30, 90_000), [1e30, -1e300, 4e5, -0.0, np.nan, np.inf, -np.inf]]),
    "many decimals": np.round(RANDOM.normal(100, 5, 90_000), 4),
    "many numbers": np.concatenate([RANDOM.integers(0, 10**6, 90_000), [-(10**15), 10**17]]),
    "outliers": np.concatenate([RANDOM.normal(0, 1, 40_000), [1e30, -1e300]]),
}


def sketch_of(*columns: Any, bins: Any = None) -> Sketch:
    return sketched([columns], ["x", "y"][: len(columns)], bins or [None] * len(columns))


def travelled(value: Any) -> Partial:
    """As it is when it comes from another process."""
    return Partial.from_frames([bytes(frame) for frame in encode(value, 1).to_frames()])


def merged(parts: list[Sketch]) -> Any:
    total = Total()
    for part in parts:
        total.add(travelled(part))
    return decode(travelled_total(total))


def travelled_total(total: Total) -> Partial:
    return Partial.from_frames([bytes(frame) for frame in total.partial().to_frames()])


def counted(values: Any, edges: Any) -> Any:
    """By numpy, with what is under and over; nan is over, as boost-histogram has it."""
    values = np.where(np.isnan(values.astype(float)), np.inf, values.astype(float))
    over, under = int((values >= edges[-1]).sum()), int((values < edges[0]).sum())
    inside, _ = np.histogram(values[(values >= edges[0]) & (values < edges[-1])], edges)
    return [under, *inside, over]


@pytest.mark.parametrize("number", [None, 50])
@pytest.mark.parametrize("name", list(COMMON))
def test_counts_are_those_of_numpy_however_values_are_cut(name: str, number: int | None) -> None:
    """Over all of them, in the edges of the axis; in the same bins for one sketch as for many, in any order."""
    values = COMMON[name]
    whole = merged([sketch_of(values, bins=[number])])
    edges = whole.axes[0].edges
    assert whole.view(flow=True).tolist() == counted(values, edges)
    assert number is None or whole.axes[0].size <= number
    for cuts in (3, 11):
        parts = [sketch_of(part, bins=[number]) for part in np.array_split(values, cuts)]
        assert merged(parts) == merged(parts[::-1]) == whole
    middle = len(values) // 3
    nested = sketch_of(values[:middle], bins=[number]).joined(sketch_of(values[middle:], bins=[number]))
    assert drawn(nested) == whole


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([0, 1, 1, 4], [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]),
        ([True, False], [-0.5, 0.5, 1.5]),
        ([2.5, 2.5, np.nan], [2.0, 3.0]),
        (np.linspace(2.7, 63.1, 1000), np.arange(2.0, 65.0, 2.0)),
        (np.linspace(0, 1, 1000), np.arange(21) / 20),
        (np.arange(0, 390), np.arange(0.0, 391.0, 10.0)),
        ([], [0.0, 1.0]),
        ([np.inf], [0.0, 1.0]),
    ],
)
def test_bins_that_nobody_chose_are_round(values: Any, edges: Any) -> None:
    """Unit bins for a few whole numbers, each in the middle of its own; few enough for a terminal."""
    axis = merged([sketch_of(np.asarray(values))]).axes[0]
    assert axis.edges.tolist() == pytest.approx(np.asarray(edges).tolist(), rel=1e-15, abs=1e-15)
    assert axis.label == "x" and (len(edges) > 30 or isinstance(axis, Regular))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.sampled_from([float, int]), st.sampled_from([None, 7, 50]))
def test_bins_hold_all_values_but_one_in_a_hundred(low: float, width: float, kind: type, number: int | None) -> None:
    values = np.linspace(low, low + width, 1001).astype(kind)
    sketch = sketch_of(values, bins=[number])
    bins = choose_bins(sketch.axes[0], sketch.counts[0])
    assert bins is not None and (bins.number <= 41 if number is None else bins.number == number)
    low, high = np.quantile(values, [0.005, 0.995], method="inverted_cdf")
    assert bins.edges[0] <= low <= high < bins.edges[-1]
    assert kind is float or bins.power >= 0 or bins.step % 10**-bins.power == 0, "as many whole numbers in each"


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@examples(200)
@given(st.lists(FLOATS, max_size=9), st.integers(-640, 616), st.integers(0, 40), st.data())
def test_values_are_rounded_down_to_the_multiples_of_ever_larger_widths(
    values: list[float], level: int, more: int, data: st.DataObject
) -> None:
    """To the largest one that is not above, compared as floats; and what was rounded is rounded further as what it was."""
    count, power = width_of(level)
    near = [decimal(count * data.draw(st.integers(-(2**40), 2**40)), power) for _ in range(3)]
    near = [each for value in near for each in (value, np.nextafter(value, np.inf), np.nextafter(value, -np.inf))]
    column = np.array([value for value in [*values, *near] if np.isfinite(value)]) + 0.0
    rounded = rounded_down(column, level)
    assert np.all(rounded <= column)
    for value, low in zip(column.tolist(), rounded.tolist(), strict=True):
        number = int(Fraction(value) // (count * Fraction(10) ** power))
        assert low == max(
            edge for edge in (decimal(count * (number + at), power) for at in (-1, 0, 1)) if edge <= value
        )
    higher = min(level + more, 616)
    assert rounded_down(rounded, higher).tolist() == rounded_down(column, higher).tolist()


SMALL = st.lists(st.floats(-1e3, 1e3) | st.sampled_from([0.1, 0.3, 1e17, np.inf, -np.inf, np.nan]), max_size=12)


@given(st.lists(SMALL, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_sketches_are_the_same_in_whatever_order_they_are_joined(parts: list[list[float]], random: Any) -> None:
    """With a limit so low that it is passed all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eventmill.merge.sketches.MOST_VALUES", 5)
        sketches = [sketch_of(np.array(part)) for part in parts]
        whole = sketch_of(np.array(list(itertools.chain(*parts))))
        random.shuffle(sketches)
        joined = sketches[0]
        for sketch in sketches[1:]:
            joined = joined.joined(sketch)
    assert np.isfinite(whole.axes[0].values).sum() <= 5
    assert joined.axes[0].level == whole.axes[0].level
    assert joined.axes[0].values.tolist() == whole.axes[0].values.tolist()
    assert joined.counts.tolist() == whole.counts.tolist()


@pytest.mark.parametrize("bins", [None, (20, 0.0, 100.0)])
def test_weights_and_their_squares_are_those_of_numpy_however_values_are_cut(bins: Any) -> None:
    """Also negative ones, and parts without values, as of a file without events; bins are chosen as without weights."""
    values, weights = COMMON["momenta"], RANDOM.normal(0.5, 1, len(COMMON["momenta"]))
    cuts = [0, 0, 3, 20_000, 20_000, 20_001, len(values)]
    parts = [
        sketched([(values[low:high],)], ["x"], [bins], weights=[weights[low:high]])
        for low, high in itertools.pairwise(cuts)
    ]
    found = merged(parts)
    plain_one = drawn(sketch_of(values, bins=[bins]))
    assert found.axes == plain_one.axes
    edges = found.axes[0].edges
    for cells, powers in ((found.values(), weights), (found.variances(), weights**2)):
        expected, _ = np.histogram(
            values.astype(float), np.append(edges[:-1], np.nextafter(edges[-1], -np.inf)), weights=powers
        )
        np.testing.assert_allclose(cells, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.sum(flow=True).value, weights.sum())
    with pytest.raises(MergeError):
        merged([parts[0], sketch_of(values, bins=[bins])])


def test_two_axes_have_bins_of_their_own() -> None:
    """And one of them may be given. Pairs stay pairs."""
    x, y = RANDOM.exponential(30, 20_000), np.round(RANDOM.normal(0, 1, 20_000), 2)
    y[:10] = np.nan
    for bins in ([None, None], [(20, 0, 100), None], [30, (10, -1, 1)]):
        cuts = zip(np.array_split(x, 6), np.array_split(y, 6), strict=True)
        both = merged([sketch_of(*columns, bins=bins) for columns in cuts])
        assert both == merged([sketch_of(x, y, bins=bins)])
        expected = Hist(*both.axes).fill(x, y)
        assert np.array_equal(both.view(flow=True), expected.view(flow=True)), "boost-histogram's own, in these axes"
        assert [axis.label for axis in both.axes] == ["x", "y"] and both.sum(flow=True) == 20_000


def test_what_is_drawn_over_each_other_has_one_axis() -> None:
    """Chosen from all values; a case without any is an empty one."""
    samples = [[RANDOM.normal(0, 1, 9000)], [RANDOM.normal(5, 1, 9000).astype("f4")], [np.empty(0)]]
    over = merged([sketched(samples, ["x"], [None], ["a", "b", "c"])])
    assert list(over.axes[0]) == ["a", "b", "c"] and over.axes[0].name == "expression"
    for name, (values,) in zip("abc", samples, strict=True):
        assert over[{"expression": name}].view(flow=True).tolist() == counted(values, over.axes[1].edges)


def test_axes_do_not_jump_while_a_histogram_is_filled() -> None:
    """The first bins are kept while nearly all values are in them; the result has those of all values."""
    values = RANDOM.exponential(30, 60_000)
    steady, total = SteadyBins(), Total()
    shown = []
    for part in np.array_split(values, 30):
        total.add(encode(sketch_of(part)))
        tree = total.partial().tree
        assert isinstance(tree, Sketched)
        shown.append(steady.drawn(tree.sketch))
        assert shown[-1].view(flow=True).tolist() == counted(
            values[: int(shown[-1].sum(flow=True))], shown[-1].axes[0].edges
        )
    assert len({tuple(histogram.axes[0].edges) for histogram in shown}) == 1
    tree = encode(sketch_of(np.array([5e4] * 200_000))).tree
    assert isinstance(tree, Sketched)
    assert steady.drawn(tree.sketch).axes[0].edges[-1] > 5e4, "they are not kept for what is elsewhere"


def test_sketches_of_different_things_are_not_joined() -> None:
    for other in (
        sketched([[np.zeros(1)]], ["y"], [None]),
        sketched([[np.zeros(1)]], ["x"], [50]),
        sketched([[np.zeros(1)]], ["x"], [None], ["a"]),
        sketch_of(np.zeros(1), np.zeros(1)),
    ):
        total = Total()
        total.add(encode(sketch_of(np.zeros(1))))
        with pytest.raises(MergeError, match="do not add up"):
            total.add(encode(other))


@pytest.mark.parametrize(
    "change",
    [
        lambda: SketchAxis("x", None, True, EXACT, np.array([1.0, 1.0])),
        lambda: SketchAxis("x", None, True, EXACT, np.array([np.nan])),
        lambda: SketchAxis("x", None, True, 10_000, np.array([1.0])),
        lambda: SketchAxis("x", (3, 0.0, 1.0), True, EXACT, np.array([5.0])),
        lambda: Sketch((), (SketchAxis("x", None, True, EXACT, np.array([1.0])),), np.zeros((1, 2), np.int64)),
        lambda: Sketch(("a", "a"), (SketchAxis("x", None, True, EXACT, np.array([1.0])),), np.zeros((2, 1), np.int64)),
        lambda: Sketch((), (), np.zeros(1, np.int64)),
    ],
)
def test_what_is_no_sketch_is_refused(change: Any) -> None:
    """What comes from a peer is checked as what is made here: the same lines do both."""
    with pytest.raises(ValueError):
        change()
    frames = [bytes(frame) for frame in encode(sketch_of(np.array([1.0, 2.0]))).to_frames()]
    with pytest.raises(RemoteProtocolError):
        Partial.from_frames([frames[0], frames[2], frames[1]])
