"""Whatever analyses return, and whatever happens to a total in between: it is what Python and numpy make of the values."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
from eventmill.merge import Partial, Total, decode, encode
from eventmill.protocol.errors import MergeError
from hist import Hist
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples

KEYS: list[Any] = ["a", "b", "", 1, True, 1.0, 0, -0.0, None, (1, "a"), (), ("a", (None, 2))]
"""Some of them equal, and not the same."""
FEW = st.sampled_from(KEYS)
INTS = st.sampled_from([0, 1, -3, 2**63, -(2**64), 10**400])
NUMBERS = INTS | st.sampled_from([0.0, -0.0, 2.5, 1e308, np.inf, -np.inf, np.nan, 1j, complex(np.nan, -0.0)])
SHAPES = [(), (0,), (1,), (2,), (2, 1), (2, 0), (300,)]
CELLS = {
    "?": [False, True],
    "i1": [0, 1, -128],
    "i8": [0, 1, -(2**63), 2**63 - 1],
    "u8": [0, 1, 2**64 - 1],
    ">f4": [0.0, 1.5, np.inf, np.nan],
    "f8": [0.0, -0.0, 1.5, -np.inf],
    "c16": [0.0, 1j],
}
WIDE = {"b": "?", "i": "i8", "u": "u8", "f": "f8", "c": "c16"}


@st.composite
def arrays(draw: Any) -> Any:
    """Of few shapes and types, mostly of zeros: so sums fit, and large ones are nearly empty."""
    kind, shape = draw(st.sampled_from(list(CELLS))), draw(st.sampled_from(SHAPES))
    array = np.zeros(shape, kind)
    for _ in range(draw(st.integers(0, 2)) if array.size else 0):
        array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(CELLS[kind]))
    return array[::-1] if array.ndim and draw(st.booleans()) else array


def fixed(values: list[int]) -> Any:
    return Hist.new.Reg(4, 0, 8).Weight().fill(values, weight=np.abs(values))


def growing(values: list[int]) -> Any:
    return Hist.new.IntCat([], growth=True).Int64().fill(np.array(values, int))


LEAVES = st.one_of(
    st.none(),
    NUMBERS,
    st.sampled_from(["x", "", b"x", b"", True, False]),
    arrays(),
    st.dictionaries(FEW, NUMBERS, max_size=2).map(collections.Counter),
    st.sets(FEW, max_size=2),
    st.lists(st.none() | NUMBERS, max_size=2),
    st.lists(st.integers(-1, 9), max_size=2).map(fixed),
    st.lists(st.integers(0, 3), max_size=2).map(growing),
)
TREES = st.recursive(
    LEAVES,
    lambda tree: st.dictionaries(FEW, tree, max_size=3) | st.lists(tree, max_size=2).map(tuple),
    max_leaves=5,
)


class Unlike(Exception):
    """What does not add up."""


def added(one: Any, other: Any) -> Any:
    """The sum, by the table in docs/merging.md."""
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, bool | str | bytes) or isinstance(other, bool | str | bytes):
        if type(one) is not type(other) or one != other:
            raise Unlike
        return one
    if isinstance(one, int | float | complex) and isinstance(other, int | float | complex):
        try:
            return one + other
        except OverflowError as error:
            raise Unlike from error
    if type(one) is not type(other):
        raise Unlike
    match one:
        case collections.Counter():
            return collections.Counter({key: added(one.get(key, 0), other.get(key, 0)) for key in {**one, **other}})
        case dict():
            return {key: added(one.get(key), other.get(key)) for key in {**one, **other}}
        case tuple() if len(one) == len(other):
            return tuple(map(added, one, other))
        case list():
            return one + other
        case set():
            return one | other
        case np.ndarray() if one.shape == other.shape and one.dtype == other.dtype:
            if one.dtype.kind not in "iu":
                with np.errstate(all="ignore"):
                    return np.asarray(one + other)
            sums, limits = one.astype(object) + other.astype(object), np.iinfo(one.dtype)
            if not all(limits.min <= number <= limits.max for number in np.ravel(sums)):
                raise Unlike
            return np.asarray(sums, one.dtype)
        case Hist() if [type(axis) for axis in one.axes] == [type(axis) for axis in other.axes]:
            return one + other
    raise Unlike


def plain(value: Any) -> Any:
    """A result as what equals another one only if it is the same: nan equals nan, and 1 is neither True nor 1.0."""
    match value:
        case collections.Counter() | dict():
            items = [(plain(key), plain(item)) for key, item in value.items()]
            return type(value).__name__, items
        case tuple() | list():
            return type(value).__name__, list(map(plain, value))
        case set():
            return "set", sorted(map(repr, value))
        case np.ndarray() | np.generic():
            value = np.asarray(value)
            wide = WIDE[value.dtype.kind]
            return wide, value.shape, [plain(number) for number in np.ravel(value.astype(wide)).tolist()]
        case Hist():
            by_bin = {str(bin_): cell for bin_, cell in zip(value.axes[0], value.values(), strict=True)}
            return "histogram", sorted(by_bin.items()), value.sum(flow=True)
        case float() | complex():
            return type(value).__name__, repr(value + 0.0)  # -0.0 and 0.0 are the same zero
    return type(value).__name__, value


def widened(value: Any) -> Any:
    """As arrays add up: in 64 bits."""
    match value:
        case np.ndarray():
            return value.astype(WIDE[value.dtype.kind])
        case collections.Counter():
            return value
        case dict():
            return {key: widened(item) for key, item in value.items()}
        case tuple():
            return tuple(map(widened, value))
    return value


def sent(partial: Partial, thin: bool = False) -> list[bytes]:
    return [bytes(frame) for frame in partial.to_frames(thin)]


ADDING = st.tuples(st.sampled_from(["nodes", "read", "frames", "thin"]), st.integers(0, 7))
BETWEEN = st.tuples(
    st.sampled_from(["look", "look thin", "partial", "copy", "copied", "part", "clear", "again"]), st.just(0)
)


@given(
    kinds=st.lists(st.dictionaries(FEW, st.none() | TREES, min_size=1, max_size=3) | TREES, min_size=1, max_size=2),
    steps=st.lists(ADDING | ADDING | BETWEEN, min_size=2, max_size=10),
)
@examples(300)
def test_a_total_is_the_sum_of_what_was_added(kinds: list[Any], steps: list[tuple[str, int]]) -> None:
    """Node by node and frame by frame, begun anew, copied and looked at; what was given stays as it was, and what does not
    fit changes nothing."""
    total, right, entries = Total(), None, 0
    given: list[tuple[Any, Any]] = []
    for at, (doing, number) in enumerate(steps):
        value = kinds[at // 3 % len(kinds)]
        if type(value) is dict:  # of which a packet has some, and another one others
            value = {key: item for place, (key, item) in enumerate(value.items()) if not number >> place & 1}
        partial = encode(value, 10)
        match doing:
            case "nodes" | "read" | "frames" | "thin":
                try:
                    expected = added(right, widened(value))
                except Unlike:
                    expected = Unlike
                try:
                    if doing == "nodes":
                        total.add(partial)
                    elif doing == "read":
                        total.add(Partial.from_frames(sent(partial)))
                    else:
                        total.add_frames(sent(partial, doing == "thin"))
                except MergeError:
                    assert expected is Unlike
                else:
                    right, entries = expected, entries + 10
            case "look" | "look thin":
                given.append((total.to_frames(doing == "look thin"), plain(right)))
            case "partial":
                given.append((total.partial(), plain(right)))
            case "copy":
                given.append((total.copy(), plain(right)))
            case "copied":
                given.append((total, plain(right)))
                total = total.copy()
            case "part" if isinstance(right, dict):
                keys = KEYS[at % 3 :: 3]
                part = total.part(keys)
                wanted = {key: right[key] for key in keys if key in right}
                assert part is None or plain(decode(part)) == plain(wanted)
            case "clear":
                total.clear()
                right, entries = None, 0
            case "again":
                frames, total = sent(total.partial()), Total()
                total.add_frames(frames)
        assert total.entries == entries
        assert plain(decode(Partial.from_frames(sent(total.partial())))) == plain(right)
    for it, was in given:
        partial = it.partial() if isinstance(it, Total) else it if isinstance(it, Partial) else Partial.from_frames(it)
        assert plain(decode(partial)) == was
