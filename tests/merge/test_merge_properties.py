"""Laws of merging: grouping, order and repetition of packets do not show; no bytes from a peer do harm."""

from __future__ import annotations

import collections
import contextlib
from typing import Any

import awkward as ak
import numpy as np
from eventmill.merge import Partial, Total, decode, encode
from eventmill.protocol.errors import MergeError, RemoteProtocolError
from hist import Hist
from hypothesis import example, given
from hypothesis import strategies as st
from property_tests import examples

WORDS = st.sampled_from(["ttbar", "data", "wjets"])
WHOLE = st.integers(-1000, 1000)
KEYS = st.one_of(WORDS, WHOLE, st.none(), st.booleans(), st.tuples(WHOLE, st.tuples(WORDS)))


def histogram(values: list[int]) -> Any:
    return Hist.new.Reg(5, 0, 10).Weight().fill(values, weight=np.abs(values))


def growing(values: list[int]) -> Any:
    return Hist.new.IntCat([], growth=True).Int64().fill(np.array(values, int))


# Results whose merging is commutative: what an analysis returns has the same form for every packet, here this one.
COMMUTATIVE = st.fixed_dictionaries(
    {},
    optional={
        "number": st.one_of(WHOLE, st.none()),
        "large": st.integers(-(2**200), 2**200),
        "float": WHOLE.map(float),
        "constant": st.just("Run2012B"),
        "array": st.lists(WHOLE, min_size=3, max_size=3).map(np.array),
        "flags": st.lists(st.booleans(), min_size=2, max_size=2).map(np.array),
        "counter": st.dictionaries(KEYS, WHOLE).map(collections.Counter),
        "set": st.sets(KEYS),
        "pair": st.tuples(WHOLE, st.dictionaries(WORDS, WHOLE)),
        "histogram": st.lists(WHOLE, max_size=5).map(histogram),
        "growing": st.lists(WHOLE, max_size=5).map(growing),
        "datasets": st.dictionaries(WORDS, st.fixed_dictionaries({"m": st.lists(WHOLE, max_size=3).map(histogram)})),
    },
)
# With those that keep the order of arrival, too.
RESULTS = st.one_of(
    COMMUTATIVE,
    st.fixed_dictionaries(
        {
            "list": st.lists(st.one_of(WHOLE, WORDS), max_size=3),
            "awkward": st.lists(st.lists(WHOLE, max_size=2)).map(ak.Array),
        }
    ),
)

# Whatever an analysis may return, None among it, of few keys, so that what comes next often fits.
FEW = st.sampled_from(["a", "b", 1])
LEAVES = st.one_of(
    st.none(),
    WHOLE,
    WHOLE.map(float),
    st.sampled_from(["x", b"x", True]),
    st.lists(WHOLE, min_size=1, max_size=2).map(np.array),
    st.dictionaries(FEW, WHOLE, max_size=2).map(collections.Counter),
    st.sets(FEW, max_size=2),
    st.lists(WHOLE, max_size=2).map(histogram),
    st.lists(WHOLE, max_size=2).map(growing),
    st.lists(WHOLE, max_size=2),
)
TREES = st.recursive(
    LEAVES, lambda tree: st.one_of(st.dictionaries(FEW, tree, max_size=3), st.tuples(tree, tree)), max_leaves=5
)


def total_of(*partials: Partial) -> Partial:
    total = Total()
    for partial in partials:
        total.add(partial)
    return total.partial()


def flat(frames: list[Any]) -> list[bytes]:
    return [bytes(frame) for frame in frames]


def same(one: object, other: object) -> bool:
    """Equal as results: arrays by their elements, all else as Python has it."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, ak.Array) and isinstance(other, ak.Array):
        return bool(one.to_list() == other.to_list())
    return type(one) is type(other) and one == other


@given(COMMUTATIVE, COMMUTATIVE, COMMUTATIVE)
@examples(25)
def test_order_does_not_show(x: object, y: object, z: object) -> None:
    """Packets are merged as they come, which is different every time."""
    a, b, c = map(encode, (x, y, z))
    outcome = decode(total_of(a, b, c))
    assert same(decode(total_of(c, a, b)), outcome)
    assert same(decode(total_of(b, a, c)), outcome)


@given(RESULTS, RESULTS, RESULTS)
@examples(25)
def test_grouping_does_not_show(x: object, y: object, z: object) -> None:
    """Slots, agents and the master add up in a tree; the sum is that of one long row, and inputs stay as they were."""
    inputs = [encode(value) for value in (x, y, z)]
    before = [flat(partial.to_frames()) for partial in inputs]
    a, b, c = (Partial.from_frames(partial.to_frames()) for partial in inputs)
    outcome = decode(total_of(a, b, c))
    assert same(decode(total_of(total_of(a, b), c)), outcome)
    assert same(decode(total_of(a, total_of(b, c))), outcome)
    assert [flat(partial.to_frames()) for partial in (a, b, c)] == before
    assert [flat(partial.to_frames()) for partial in inputs] == before


@given(RESULTS)
@examples(25)
def test_none_changes_nothing_and_frames_carry_everything(value: object) -> None:
    """None is the identity, and so is an empty total; a partial comes out of its frames byte by byte."""
    partial = encode(value)
    frames = flat(partial.to_frames())
    again = Partial.from_frames([memoryview(frame) for frame in frames])
    assert flat(again.to_frames()) == frames
    assert again.nbytes == sum(map(len, frames))
    outcome = decode(partial)
    for merged in (again, total_of(partial), total_of(encode(None), partial), total_of(partial, total_of())):
        assert same(decode(merged), outcome)


@given(RESULTS, RESULTS, RESULTS)
@examples(20)
def test_snapshots_stay(x: object, y: object, z: object) -> None:
    """A snapshot on its way to a session does not change while the master goes on."""
    total = Total()
    total.add(encode(x))
    total.add(encode(y))
    snapshot = total.partial()
    before, value = flat(snapshot.to_frames()), decode(snapshot)
    total.add(encode(z))
    total.add(encode(z))
    assert flat(snapshot.to_frames()) == before
    assert same(decode(total_of(encode(x), encode(y))), value)


EXAMPLE = flat(
    encode(
        {
            "n": 10**30,
            "z": [1j, None, True, b"x", (1.5, "a")],
            "s": {(1, (2, "x"))},
            "c": collections.Counter(a=1),
            "a": np.arange(6).reshape(2, 3),
            "ak": ak.Array([[1, 2], []]),
            "h": Hist.new.Reg(4, 0, 1, growth=True).StrCat(["a"], growth=True).Int(0, 2).Mean(),
            "v": Hist.new.Var([0, 1, 5]).Double(),
            "u": collections.deque([1]),
        }
    ).to_frames()
)


@given(st.data())
@examples(100)
def test_mutated_frames_are_refused_or_read(data: st.DataObject) -> None:
    """Whatever happens to the bytes: a RemoteProtocolError, or a partial that can be merged and sent on."""
    frames = [bytearray(frame) for frame in EXAMPLE]
    for _ in range(data.draw(st.integers(1, 3))):
        which = data.draw(st.integers(0, 1)) and data.draw(st.integers(0, len(frames) - 1))
        frame = frames[which]
        match data.draw(st.sampled_from(["flip", "cut", "insert", "swap", "drop"])):
            case "flip" if frame:
                frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
            case "cut":
                del frame[data.draw(st.integers(0, len(frame))) :]
            case "insert":
                place = data.draw(st.integers(0, len(frame)))
                frame[place:place] = data.draw(st.binary(max_size=9))
            case "swap":
                other = data.draw(st.integers(0, len(frames) - 1))
                frames[which], frames[other] = frames[other], frames[which]
            case "drop" if len(frames) > 1:
                del frames[data.draw(st.integers(0, len(frames) - 1))]
    survives(frames)


@given(st.lists(st.binary(max_size=60), max_size=4))
@examples(100)
def test_random_frames_are_refused(frames: list[bytes]) -> None:
    """Noise is an error of the protocol and nothing worse."""
    survives(frames)


def survives(frames: list[Any]) -> None:
    try:
        partial = Partial.from_frames([bytes(frame) for frame in frames])
    except RemoteProtocolError:
        return
    total = Total()
    for other in (partial, Partial.from_frames(EXAMPLE), partial):
        with contextlib.suppress(MergeError):
            total.add(other)
    total.partial().to_frames()


@given(
    kinds=st.lists(st.one_of(RESULTS, st.dictionaries(FEW, TREES, max_size=3), TREES), min_size=1, max_size=3),
    order=st.lists(st.integers(0, 2), min_size=1, max_size=8),
)
@example(kinds=[{}, {"a": None}], order=[0, 1])
@examples(100)
def test_frames_add_up_as_nodes_do(kinds: list[Any], order: list[int]) -> None:
    """In each bit, and with a look at the sum in between; what does not fit is refused by both."""
    slow, fast = Total(), Total()
    for number, kind in enumerate(order):
        frames = encode(kinds[kind % len(kinds)], 10).to_frames()
        refused = []
        for add in (lambda: slow.add(Partial.from_frames(frames)), lambda: fast.add_frames(frames)):  # noqa: B023 - at once
            try:
                add()
            except MergeError as error:
                refused.append(str(error))
        assert len(refused) in (0, 2) and len(set(refused)) <= 1
        if number % 2:
            fast.to_frames()
    assert flat(fast.to_frames()) == flat(slow.to_frames())
