"""Sums of partial results frame by frame: the same in every bit as node by node, for whatever comes in whatever order."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import boost_histogram as bh
import numpy as np
import pytest
from eventmill import Cutflow
from eventmill.merge import Partial, Total, decode, encode
from eventmill.protocol.codec import MAX_FRAMES
from eventmill.protocol.errors import MergeError, RemoteProtocolError
from hist import Hist

RNG = np.random.default_rng(7)
STORAGES = [bh.storage.Double, bh.storage.Int64, bh.storage.Weight, bh.storage.Mean, bh.storage.WeightedMean]


def filled(storage: Any, bins: int = 4) -> Any:
    """A histogram with some bins that hold nothing."""
    h = Hist(bh.axis.Regular(bins, 0, 1), storage=storage())
    values = RNG.random(5)
    if storage in (bh.storage.Mean, bh.storage.WeightedMean):
        return h.fill(values, sample=RNG.random(5), **({"weight": RNG.random(5)} if storage is STORAGES[4] else {}))
    return h.fill(values, weight=None if storage in STORAGES[:2] else RNG.random(5))


def packet(sets: Sequence[str]) -> dict[str, Any]:
    """What one packet gives for some datasets: everything that adds up number by number."""
    cuts = Cutflow(weight=RNG.random(4))
    cuts.add("some", RNG.random(4) > 0.5)
    return {
        name: {
            **{str(number): filled(storage) for number, storage in enumerate(STORAGES)},
            "large": RNG.random(10_000),
            "pair": (int(RNG.integers(9)), None, RNG.random(3)),
            "complex": complex(*RNG.random(2)),
            "counter": collections.Counter({"a": 1, 2: int(RNG.integers(9))}),
            "words": "run",
            "set": {1, "two"},
            "flags": RNG.random(3) > 0.5,
            "cuts": cuts,
        }
        for name in sets
    }


def both(packets: Sequence[Any]) -> tuple[list[bytes], list[bytes]]:
    """The frames of the sum of packets, node by node and frame by frame, with looks at it in between."""
    slow, fast = Total(), Total()
    for number, value in enumerate(packets):
        frames = [bytes(frame) for frame in encode(value, 10).to_frames()]
        slow.add(Partial.from_frames(frames))
        fast.add_frames(frames)
        if number % 3 == 1:
            looked, kept = fast.to_frames(), [bytes(frame) for frame in fast.to_frames()]
        if number % 3 == 2:
            assert [bytes(frame) for frame in looked] == kept, "what was given has changed"
    assert fast.nbytes == slow.nbytes
    return [bytes(frame) for frame in slow.to_frames()], [bytes(frame) for frame in fast.to_frames()]


@pytest.mark.parametrize(
    "sets",
    [["ab"] * 6, ["ab", "a", "b", "ab", "b"], ["a", "ab", "b", "ba", "a", "abc", "c", "bc"], ["b", "a", "c", "a"]],
)
def test_frames_add_up_as_nodes_do(sets: list[str]) -> None:
    """In each bit, weights and means too, whether packets have all datasets, some, or new ones."""
    slow, fast = both([packet(list(names)) for names in sets])
    assert fast == slow


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_a_key_of_none_is_in_the_sum_whichever_packet_comes_first(order: tuple[int, ...]) -> None:
    """Protects `result["x"]` of an analysis that has it in some packets only: it was a KeyError by the order of packets."""
    packets: list[Any] = [{"n": 1}, {"n": 2, "x": None}, {"n": 3, "x": {"y": (None, 1)}}]
    total = Total()
    for number in order:
        total.add_frames(encode(packets[number]).to_frames())
        assert ("x" in decode(total.partial())) == any(
            "x" in packets[seen] for seen in order[: order.index(number) + 1]
        )
    assert decode(total.partial()) == {"n": 6, "x": {"y": (None, 1)}}


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"x": {"n": np.array([2**62])}}, {"x": {"n": np.array([2**62])}}, r"result\['x'\]\['n'\]: .*does not fit"),
        ({"x": 1e308, "y": 1}, {"x": 1.0, "y": 10**400}, None),
        ({"x": 10**400}, {"x": 1.5}, r"result\['x'\]: an int and a float"),
        ({"x": np.zeros(3)}, {"x": np.zeros(4)}, r"result\['x'\]: numpy arrays of shapes"),
        ({"x": "a"}, {"x": "b"}, r"result\['x'\]: 'a' in one packet"),
        ({"x": (1, 2)}, {"x": (1,)}, r"result\['x'\]: tuples of 2 and of 1"),
    ],
)
def test_what_does_not_fit_is_told_as_ever_and_leaves_the_total(one: Any, other: Any, words: str | None) -> None:
    total = Total()
    total.add_frames(encode(one, 1).to_frames())
    before = [bytes(frame) for frame in total.to_frames()]
    if words is None:
        total.add_frames(encode(other, 1).to_frames())
        assert total.entries == 2
        return
    with pytest.raises(MergeError, match=words):
        total.add_frames(encode(other, 1).to_frames())
    assert [bytes(frame) for frame in total.to_frames()] == before


def test_frames_of_a_known_tree_are_checked_all_the_same() -> None:
    """A peer that has sent one good result cannot have the next one read beyond its end."""
    good = [bytes(frame) for frame in encode({"n": 1, "x": np.zeros(3), "y": np.zeros(20_000)}, 1).to_frames()]
    for at in range(1, len(good)):
        for bad in (good[at] + bytes(8), good[at][:-1], b""):
            total = Total()
            total.add_frames(good)
            with pytest.raises(RemoteProtocolError):
                total.add_frames([*good[:at], bad, *good[at + 1 :]])
            total.add_frames(good)
            assert decode(total.partial())["n"] == 2  # type: ignore[index]
    for frames in (good[:-1], [*good, b""]):
        with pytest.raises(RemoteProtocolError):
            total.add_frames(frames)


def test_many_histograms_are_few_frames() -> None:
    """More of them than a message may have frames are a result like any other."""
    h = Hist.new.Reg(3, 0, 1).Weight().fill([0.5], weight=2.0)
    many = encode(dict.fromkeys(range(MAX_FRAMES + 1), h), 1).to_frames()
    assert len(many) == 2
    total = Total()
    for _ in range(3):
        total.add_frames(many)
    found: Any = decode(total.partial())
    assert len(found) == MAX_FRAMES + 1 and found[MAX_FRAMES] == h + h + h


def test_many_large_arrays_are_few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects a result of more large arrays than a message may have frames, which could not be sent; and the places of all
    numbers where the first are alone, and the others in full frames one after the other."""
    monkeypatch.setattr("eventmill.merge.partial.SMALL", 100)
    monkeypatch.setattr("eventmill.merge.partial.MOST_ALONE", 5)
    for module in ("partial", "packed"):
        monkeypatch.setattr(f"eventmill.merge.{module}.FULL", 2000)
    values = [
        {key: {"x": RNG.random(size), "n": 1, "h": filled(bh.storage.Weight, size)} for key, size in enumerate(sizes)}
        for sizes in ([20] * 300, [20] * 300, [20] * 40 + [30] + [20] * 20, [7, 300] * 9, [20] * 300)
    ]
    by_frames, by_nodes = Total(), Total()
    for value in (values[0], values[1], dict(list(values[2].items())[:40]), values[4]):
        partial = encode(value, 1)
        assert len(partial.to_frames()) < 100
        by_frames.add_frames(partial.to_frames())
        by_nodes.add(partial)
    assert [bytes(it) for it in by_frames.to_frames()] == [bytes(it) for it in by_nodes.partial().to_frames()]
    for value in values:
        frames = encode(value, 1).to_frames(thin=True)
        found: Any = decode(Partial.from_frames(frames))
        assert all(found[key]["h"] == it["h"] and (found[key]["x"] == it["x"]).all() for key, it in value.items())


def test_a_histogram_is_described_anew_when_its_titles_or_edges_change() -> None:
    """What is known of those before must not be taken for this one."""
    h = Hist.new.Reg(3, 0, 1, name="x", label="first").Double()
    other = Hist.new.Reg(3, 0, 2, name="x", label="first").Double()
    assert decode(encode(h)) == h and decode(encode(other)) == other
    h.axes[0].label = "second"
    assert decode(encode(h)).axes[0].label == "second"  # type: ignore[attr-defined]
    h.name = "mine"
    assert decode(encode(h)).name == "mine"  # type: ignore[attr-defined]


def test_a_total_that_begins_anew_knows_what_was_in_the_one_before() -> None:
    """Protects every commit of an agent but its first: of what is like the one before, no tree is read again; of what is
    not, all is."""
    values: list[Any] = [
        {"h": np.ones(9), "n": 3, "w": np.arange(3)},
        {"h": np.ones(9), "n": 4},
        {"h": np.ones(8)},
        None,
    ]

    def begun_anew() -> Total:
        total = Total()
        total.add_frames(encode(values[0], 5).to_frames())
        total.clear()
        return total

    for value in values:
        frames = encode(value, 7).to_frames()
        anew, plain = begun_anew(), Total()
        assert anew.empty and anew.entries == 0
        for total in (anew, plain):
            for _ in range(2):
                total.add_frames(frames)
        assert [bytes(frame) for frame in anew.to_frames()] == [bytes(frame) for frame in plain.to_frames()]
        assert anew.entries == 14
        anew.clear()
        assert anew.empty and anew.entries == 0
    first, *others = encode(values[0], 7).to_frames()
    for bad in (
        [first],
        [first, *others[:-1], b"1"],
        [first, *others, b""],
        [first, *others[:-1], bytes(others[-1])[:-8]],
    ):
        anew = begun_anew()
        with pytest.raises(RemoteProtocolError):
            anew.add_frames(bad)
        assert anew.empty and anew.entries == 0


def test_a_total_that_begins_anew_uses_its_memory_again_once_what_it_has_given_is_read_no_more() -> None:
    """Protects commits on their way to a slow master from those after them, and agents from fresh memory for each."""
    frames = encode({"x": np.ones(70_000), "n": 1}, 10).to_frames()
    total, held = Total(), list[list[Any]]()
    used: list[int] = []
    for commit in range(6):
        for _ in range(commit + 2):
            total.add_frames(frames)
        held.append(total.to_frames(thin=True))
        total.clear()
        if commit >= 2:
            held[commit - 2] = []  # the master has it
        for number, given in enumerate(held):
            if given:
                found: Any = decode(Partial.from_frames(given))
                assert found["n"] == number + 2 and (found["x"] == number + 2).all()
        used.append(np.frombuffer(held[-1][1], np.uint8).ctypes.data)
    assert len(set(used)) < 6
