"""What merges and how: each kind of value, refusals in words, snapshots, frames, and what a master may import."""

from __future__ import annotations

import collections
import pathlib
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import pytest
from eventmill.merge import Partial, Total, compact, decode, encode, entries_in
from eventmill.merge.sums import RULES
from eventmill.protocol.errors import MergeError, RemoteProtocolError


def merge(*values: object) -> Any:
    """Through frames, as from slot to session."""
    total = Total()
    for value in values:
        total.add(Partial.from_frames(encode(value).to_frames()))
    return decode(Partial.from_frames(total.partial().to_frames()))


@dataclass
class Cutflow:
    """A user's class that merges into itself and returns nothing."""

    counts: list[int]

    def merge(self, other: Cutflow) -> None:
        for i, count in enumerate(other.counts):
            self.counts[i] += count


@dataclass(frozen=True)
class Extremum:
    """A user's class whose merge returns the outcome."""

    value: float

    def merge(self, other: Extremum) -> Extremum:
        return max(self, other, key=lambda each: each.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((None, 3, None), 3),
        ((2**80, -1, 5), 2**80 + 4),
        ((1, 0.5), 1.5),
        ((1j, 1.0), 1 + 1j),
        ((np.float64(0.5), 0), 0.5),
        ((np.int64(2**62), np.int64(2**62)), 2**63),
        ((np.uint8(200), np.uint8(100)), 300),
        (("2012", "2012"), "2012"),
        ((b"\x00\xff", b"\x00\xff"), b"\x00\xff"),
        ((True, np.True_), True),
        ((collections.Counter(e=1, mu=2), collections.Counter(mu=3)), collections.Counter(e=1, mu=5)),
        (({1, 2}, frozenset({2, (3, "x")})), {1, 2, (3, "x")}),
        (([1, "a"], [], [1]), [1, "a", 1]),
        (((1, {"a": 1}), (2, {"b": 1})), (3, {"a": 1, "b": 1})),
        (({"a": 1, ("x", (1, None)): 2}, {"a": 2, 3: 4}), {"a": 3, ("x", (1, None)): 2, 3: 4}),
        (({"a": None}, {"a": [1]}), {"a": [1]}),
        (({"a": None},), {"a": None}),
        ((collections.defaultdict(int, a=1), {"a": 1}), {"a": 2}),
        ((Decimal("0.1"), Decimal("0.2")), Decimal("0.3")),
        ((np.timedelta64(1, "s"), np.timedelta64(2, "m")), np.timedelta64(121, "s")),
    ],
)
def test_values_merge_by_their_kind(values: tuple[object, ...], expected: object) -> None:
    """The table of docs/merging.md, row by row."""
    outcome = merge(*values)
    assert outcome == expected
    assert type(outcome) is type(expected)


def test_arrays_are_summed_in_64_bits() -> None:
    """A count kept in a narrow type does not wrap around after some packets."""
    counts = merge(np.array([200, 1], np.uint8), np.array([100, 1], np.uint8))
    assert counts.tolist() == [300, 2]
    weights = merge(np.array([2.0**24], np.float32), np.array([1], np.float32))
    assert weights.tolist() == [2**24 + 1]
    flags = merge(np.array([True, False]), np.array([False, False]))
    assert flags.tolist() == [True, False]
    assert merge(np.array(1.5), np.array(2.0)) == 3.5
    grid = np.asfortranarray(np.arange(6).reshape(2, 3))
    assert merge(grid, grid).tolist() == (2 * grid).tolist()


def test_decoded_arrays_are_the_users_to_change() -> None:
    """A result's arrays are writable, and writing does not reach the partial."""
    partial = encode({"a": np.zeros(3)})
    first: Any = decode(partial)
    first["a"] += 1
    second: Any = decode(partial)
    assert second["a"].tolist() == [0, 0, 0]


def test_awkward_arrays_are_joined_end_to_end() -> None:
    """Selected events of many packets come back as one array, of any structure, in few frames."""
    packets = [ak.Array([{"pt": [1.5 * i] * (i % 3), "tag": f"n{i}"}]) for i in range(50)]
    total = Total()
    for packet in packets:
        total.add(encode({"muons": packet[0:1]}))
    assert len(total.partial().to_frames()) < 10
    outcome: Any = decode(Partial.from_frames(total.partial().to_frames()))
    assert outcome["muons"].to_list() == ak.concatenate(packets).to_list()
    again: Any = decode(compact(total.partial()))
    assert again["muons"].to_list() == outcome["muons"].to_list()


def test_awkward_arrays_side_by_side_stay_side_by_side() -> None:
    """pt[i] and eta[i] belong to one event, also when packets differ in type, as those without a muon do."""
    packets = [{"pt": ak.Array([[1.0 * i] * (i % 2)]), "n": ak.Array([i])} for i in range(9)]
    half = Total()
    for packet in packets[5:]:
        half.add(encode(packet))
    total = Total()
    for packet in packets[:5]:
        total.add(encode(packet))
    total.add(Partial.from_frames(half.partial().to_frames()))
    outcome: Any = decode(total.partial())
    assert outcome["n"].to_list() == list(range(9))
    assert outcome["pt"].to_list() == [[1.0 * i] * (i % 2) for i in range(9)]


def test_awkward_arrays_of_differing_types_become_a_union_or_option() -> None:
    """One packet has a None in it, another has none: nothing is lost."""
    outcome = merge(ak.Array([1, 2]), ak.Array([None, 3]), ak.Array([4]))
    assert sorted(outcome.to_list(), key=str) == [1, 2, 3, 4, None]
    assert merge(ak.Array([]), ak.Array([])).to_list() == []
    sliced = ak.Array(list(range(1000)))[10:12]
    assert encode(sliced).nbytes < 500
    assert merge(sliced).to_list() == [10, 11]


def test_awkward_arrays_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody fills a master's memory with events by accident, and the message says what to do instead."""
    monkeypatch.setattr("eventmill.merge.sums.AWKWARD_LIMIT", 1000)
    total = Total()
    for _ in range(2):  # the second is in it as a whole: merged work is not thrown away
        total.add(encode({"pt": ak.Array([1.0] * 100)}))
    with pytest.raises(MergeError, match=r"result\['pt'\]: an awkward array of more than .* histograms"):
        total.add(encode({"pt": ak.Array([1.0] * 100)}))
    assert total.nbytes == 1600 and decode(total.partial())["pt"].to_list() == [1.0] * 200
    monkeypatch.setattr(sys.modules["eventmill.merge.encode"], "AWKWARD_LIMIT", 1000)
    with pytest.raises(MergeError, match=r"result\[0\]: an awkward array of .* limit"):
        encode([ak.Array([1.0] * 1000)])


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"a": {"b": np.zeros(3)}}, {"a": {"b": np.zeros(4)}}, r"result\['a'\]\['b'\]: numpy arrays.*awkward"),
        (np.zeros(3), np.zeros(3, int), "result: numpy arrays of float64 and int64"),
        ({"era": "A"}, {"era": "B"}, r"result\['era'\]: 'A' in one packet and 'B'"),
        ((1, 2), (1,), "tuples of 2 and of 1"),
        ({"x": 1}, {"x": "1"}, r"result\['x'\].*numpy number.*bool, str"),
        (1, True, "kinds for every packet"),
        ((1, [2]), (1, {2}), r"result\[1\]"),
        (10**400, 0.5, "too far apart"),
        (collections.Counter(a=10**400), collections.Counter(a=0.5), "too far apart"),
        (Cutflow([1]), Extremum(1), r"test_merge.Cutflow in one packet and a .*Extremum"),
        ({"new": 1, "e": Extremum(1)}, {"new": 1, "e": Extremum("x")}, r"result\['e'\].*merge failed: TypeError"),
    ],
)
def test_what_does_not_fit_is_refused_in_words_and_changes_nothing(one: object, other: object, message: str) -> None:
    """A refused partial leaves the total as it was, and the physicist knows where to look."""
    total = Total()
    total.add(encode(one))
    before = total.partial().to_frames()
    with pytest.raises(MergeError, match=message):
        total.add(encode(other))
    assert list(map(bytes, total.partial().to_frames())) == list(map(bytes, before))


class Point(NamedTuple):
    x: int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {"b": object()}}, r"result\['a'\]\['b'\]: a builtins.object cannot be merged(.|\n)*histogram"),
        ([pathlib.PurePath("x")], r"result\[0\]: a pathlib"),
        (Point(1), "Point cannot be merged"),
        ({"f": len}, r"result\['f'\]"),
        ({"c": int}, r"result\['c'\]"),
        ({2**70: 1}, "64 bits"),
        ({(1, (2, (3,))): 1}, "nested too deep"),
        ({b"x": 1}, "keys are"),
        ({"s": {b"x"}}, r"result\['s'\]: the key b'x'"),
        (np.array(["a"]), "numpy array of <U1"),
        (np.array([object()]), "numpy array of object"),
        (np.zeros(2, "M8[s]"), "numpy array of datetime64"),
        (collections.Counter(a="x"), r"result\['a'\]: a collections.Counter"),
        (ak.Record({"x": 1}), "awkward record"),
    ],
)
def test_what_cannot_be_merged_is_refused_when_it_is_returned(value: object, message: str) -> None:
    """The first packet tells, not the second, and says where in the result."""
    with pytest.raises(MergeError, match=message):
        encode(value)


def test_a_container_that_holds_itself_is_refused() -> None:
    """No recursion without end."""
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(MergeError, match="nested deeper than 64"):
        encode(loop)


def test_user_objects_merge_natively_in_a_slot_and_stay_unchanged() -> None:
    """`merge` is preferred to `+`; one that works in place works on a copy."""
    one, other = Cutflow([1, 2]), Cutflow([10, 20])
    total = Total()
    total.add(encode(one))
    total.add(encode(other))
    snapshot = total.partial()
    total.add(encode(other))
    assert decode(snapshot) == Cutflow([11, 22])
    assert decode(total.partial()) == Cutflow([21, 42])
    assert (one, other) == (Cutflow([1, 2]), Cutflow([10, 20]))
    assert snapshot.pickled_parts == 1


def test_user_objects_stay_apart_where_no_user_code_runs() -> None:
    """An agent or master only puts the parts side by side; a slot compacts them; a session merges what is left."""
    total = Total()
    for i in range(4):
        total.add(Partial.from_frames(encode({"best": Extremum(i), "n": 1}).to_frames()))
    apart = total.partial()
    assert apart.pickled_parts == 4
    assert total.nbytes > 0
    assert decode(apart) == {"best": Extremum(3), "n": 4}
    together = compact(Partial.from_frames(apart.to_frames()))
    assert together.pickled_parts == 1
    assert decode(together) == decode(apart)
    total.add(together)
    assert decode(total.partial()) == {"best": Extremum(3), "n": 8}


def test_what_does_not_pickle_is_named() -> None:
    """A lock in a user's object is that user's to see."""

    class Locked:
        def __init__(self) -> None:
            self.generator = (i for i in range(3))

        def __add__(self, other: Locked) -> Locked:
            return self

    with pytest.raises(MergeError, match=r"Locked in the result cannot be pickled"):
        encode([Locked()]).to_frames()


def test_classes_of_a_notebook_travel_by_value(tmp_path: pathlib.Path) -> None:
    """A class in __main__ reaches a process that has never seen it."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from eventmill.merge import encode\n"
        "class Tally:\n"
        "    def __init__(self, n): self.n = n\n"
        "    def __add__(self, other): return Tally(self.n + other.n)\n"
        "sys.stdout.buffer.write(encode(Tally(20)).to_frames()[1])\n"
    )
    frame = subprocess.run([sys.executable, str(script)], capture_output=True, check=True).stdout
    header = encode(Decimal(1)).to_frames()[0]
    outcome: Any = decode(Partial.from_frames([header, frame]))
    assert (outcome + outcome).n == 40


def test_a_total_never_writes_into_what_it_was_given_or_gave() -> None:
    """Snapshots and partials are shared without being copied, so nobody may write into them."""
    one, other = encode({"a": np.ones(5)}), encode({"a": np.ones(5)})
    total = Total()
    assert total.empty
    assert total.nbytes == 0
    assert decode(total.partial()) is None
    total.add(one)
    first = total.partial()
    total.add(other)
    second = total.partial()
    total.add(other)
    total.add(other)
    tops = [decode(each)["a"][0] for each in (one, other, first, second, total.partial())]  # type: ignore[index]
    assert tops == [1, 1, 1, 2, 4]
    assert not total.empty
    assert total.nbytes == 40


def test_encoding_takes_a_copy() -> None:
    """An analysis may fill the same array again for the next packet."""
    array = np.ones(3)
    partial = encode(array)
    array[:] = 7
    outcome: Any = decode(partial)
    assert outcome.tolist() == [1, 1, 1]


def test_arrays_travel_without_a_copy() -> None:
    """Frames are views of the arrays, and arrays views of the frames."""
    partial = encode(np.arange(1000.0))
    frames = partial.to_frames()
    assert isinstance(frames[1], memoryview)
    again = Partial.from_frames(frames)
    assert np.shares_memory(np.frombuffer(frames[1], np.uint8), again.tree.data)  # type: ignore[union-attr]
    assert partial.nbytes == sum(map(len, frames)) > 8000


COUNT = bytes([0, 0, 0, 0, 0, 0, 3, 232])
"""Before its tree, a partial result says that it is of 1,000 entries."""


def test_a_partial_counts_its_entries_and_a_total_adds_them_up() -> None:
    """With the values, also of packets for which an analysis returned nothing, or merged in a slot."""
    total = Total()
    for value, entries in ((1, 10), (None, 5), (2, 0), (3, 985)):
        frames = encode([Extremum(1), value], entries).to_frames()
        assert entries_in(frames) == entries
        total.add(Partial.from_frames(frames))
    partial = Partial.from_frames(total.partial().to_frames())
    assert bytes(total.partial().to_frames()[0][:8]) == COUNT
    assert total.entries == partial.entries == compact(partial).entries == 1000
    with pytest.raises(MergeError):
        total.add(encode("another kind", 7))
    assert total.entries == 1000, "nothing was added"


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"\xc0"],
        [b"\x91\xa7Unknown"],
        [b"\xdd\xff\xff\xff\xff"],
        [b"\x91" * 100_000],
        [encode([1]).to_frames()[0], b"never referred to"],
        [encode(np.zeros(3)).to_frames()[0]],
        [encode(np.zeros(3)).to_frames()[0], b"short"],
        [encode(np.zeros(3)).to_frames()[0], memoryview(bytes(48))[::2]],
        [memoryview(b"ab" * 9)[::2]],
        [b"\x92\xa5Array\x93\x00\xa6object\x91\x01", b"x" * 8],
        [b"\x92\xa5Array\x93\x00\xa5float\x91\xff", b""],
        [b"\x92\xa5Array\x93\x00\xa5float\x92\x00\xcf" + b"\xff" * 8, b""],
        [b"\x92\xa5Array\x93\x00\xa4mean\x91\x00", b""],
        [b"\x92\xa6Number\xa2zz"],
    ],
)
def test_malformed_frames_are_refused(frames: list[bytes | memoryview]) -> None:
    """Whatever a peer sends, it is an error of the protocol and nothing worse."""
    with pytest.raises(RemoteProtocolError):
        Partial.from_frames(frames)
    if frames and len(frames[0]) < 100:
        with pytest.raises(RemoteProtocolError):
            Partial.from_frames([COUNT + bytes(frames[0]), *frames[1:]])


def test_nesting_ends_at_64_for_peers_too() -> None:
    """A deep tree from a peer cannot exhaust the master's stack later on."""
    deep = b"\x92\xa4List\x91" * 65 + b"\x91\xa7Nothing"
    with pytest.raises(RemoteProtocolError, match="nested deeper than 64"):
        Partial.from_frames([COUNT + deep])
    Partial.from_frames([COUNT + deep[len(b"\x92\xa4List\x91") :]])


def test_master_merges_without_the_users_libraries() -> None:
    """Agents and masters import no awkward, hist, boost-histogram, uproot or numba to add up what needs them."""
    sample = encode({"pt": ak.Array([1]), "best": Extremum(1)}).to_frames()
    code = (
        "import sys\n"
        "from eventmill.merge import Partial, Total\n"
        f"frames = {[bytes(frame) for frame in sample]!r}\n"
        "total = Total()\n"
        "for _ in range(3): total.add(Partial.from_frames(frames))\n"
        "assert total.partial().pickled_parts == 3\n"
        "total.partial().to_frames()\n"
        "loaded = {'awkward', 'hist', 'boost_histogram', 'uproot', 'numba', 'test_merge'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_page_shows_the_table() -> None:
    """docs/merging.md has each rule of the code, in its words."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "merging.md").read_text()
    for rule in RULES:
        assert f"| {rule.python} | {rule.how} |" in page
