"""Members of classes whose bytes are of their own kind, and members of one name: what ROOT has written is known by formulas.

`data/write_odd_members.py` has written the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eventmill.protocol.errors import DatasetError
from eventmill.reading.reader import Reader

FILE = str(Path(__file__).parents[1] / "data" / "odd_members.root")
ENTRIES = 12


def made(i: int, k: int) -> dict[str, int]:
    """A `TDatime`, in six fields of bits."""
    return {"fDatime": (i % 20) << 26 | 1 << 22 | (1 + k) << 17 | 1 << 12 | 2 << 6 | (3 + i)}


def odd(i: int, k: int) -> dict[str, Any]:
    return {
        "made": made(i, k),
        "stamp": {"fSec": 1_000_000 + i, "fNanoSec": 17 + k},
        "counts": [100 * i + 10 * k + j for j in range(i % 3)],
        "charges": [i + 0.25] * (k % 2),
        "after": 10 * i + k,
    }


def each(number: int, what: Callable[[int, int], Any]) -> Callable[[int], list[Any]]:
    return lambda i: [what(i, k) for k in range(i % number)]


def hidden(i: int, _: int = 0) -> dict[str, int]:
    return {"x": 100 + i}


WRITTEN: dict[str, Callable[[int], Any]] = {
    "odd": lambda i: odd(i, 0),
    "odds": each(4, odd),
    "times": each(4, made),
    "hidden": hidden,
    "hiddens": each(3, hidden),
    "doubles": lambda i: {"values": [i + 0.5] * (i % 4), "after": i},
    "doubles_split.values": lambda i: [i + 0.5] * (i % 4),
    **{f"odd_split.{name}": lambda i, name=name: odd(i, 0)[name] for name in ("made", "counts", "charges", "after")},
    **{
        f"{list_}.{name}": each(4, lambda i, k, name=name: odd(i, k)[name])
        for list_ in ("odds_split", "clones")
        for name in ("made", "counts", "charges", "after")
    },
}


def words(i: int, k: int) -> dict[str, Any]:
    number = (i + k) % 3
    return {
        "two[2]": [f"a{i}", "" if k % 2 else f"b{k}"],
        "kind": i % 3 + 1,
        "kinds": [j + 1 for j in range(number)],
        "signs": [1 if j else -1 for j in range(number)],
        "grid[2][1]": [["x"], [f"{10 * i + k}"]],
        "std[2]": ["s", "z" * i],
        "lists[2]": [[i] * k, [k, k]],
        "after": 10 * i + k,
    }


OF_WORDS: dict[str, Callable[[int], Any]] = {
    **{f"one_split.{name}": lambda i, name=name: words(i, 0)[name] for name in words(0, 0)},
    **{f"many_split.{name}": each(4, lambda i, k, name=name: words(i, k)[name]) for name in words(0, 0)},
    "one": lambda i: {name.partition("[")[0]: value for name, value in words(i, 0).items()},
    "many": each(4, lambda i, k: {name.partition("[")[0]: value for name, value in words(i, k).items()}),
}


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader(FILE, "t")
    yield reader
    reader.close()


@pytest.mark.parametrize("name", WRITTEN)
def test_members_are_those_that_were_written(reader: Reader, name: str) -> None:
    """A `TDatime` in an object was the header of what follows it, the same in every event, with a clean account; arrays of
    ROOT's (`TArrayI`) and vectors of `Double32_t` were refused.
    """
    for start, stop in [(0, ENTRIES), (3, 8), (11, 12)]:
        assert reader.array(name, start, stop).tolist() == [WRITTEN[name](i) for i in range(start, stop)]


@pytest.mark.parametrize("name", OF_WORDS)
def test_arrays_of_texts_and_lists_of_enumerators_are_those_that_were_written(name: str) -> None:
    """`TString two[2]` was said to be damaged, `vector<Kind>` of an unknown type: that enumerators are numbers says the
    member alone.
    """
    reader = Reader(FILE, "words")
    for start, stop in [(0, ENTRIES), (3, 8), (11, 12)]:
        assert reader.array(name, start, stop).tolist() == [OF_WORDS[name](i) for i in range(start, stop)]
    reader.close()


def test_a_whole_group_with_a_base_class_that_uproot_cannot_place_says_what_to_take(reader: Reader) -> None:
    """It was a bare `KeyError: 'odd_split.TObject'`."""
    with pytest.raises(
        DatasetError, match=r"nothing but the branches in it.*take them by themselves \(odd_split\.TObject,"
    ):
        reader.array("odd_split.", 0, 2)


def test_lists_of_each_object_in_a_split_collection_are_refused_in_words() -> None:
    """The bits of a `TBits`: uproot takes six bytes before those of each entry for a header, and the rest for numbers."""
    reader = Reader(FILE, "words")
    assert reader.array("flag.bits.fAllBits", 3, 5).tolist() == [[8], [16]]
    for read in (lambda name: reader.array(name, 3, 4), lambda name: reader.read([name], 3, 4)):
        with pytest.raises(DatasetError, match=r"branch flags\.bits\.fAllBits.*whose lengths are in another branch"):
            read("flags.bits.fAllBits")
    assert reader.array("flags.bits.fNbits", 2, 4).tolist() == [[8] * 2, [8] * 3]
    reader.close()


@pytest.mark.parametrize("name", ["both", "many_both"])
def test_members_that_two_base_classes_have_are_not_taken_for_each_other(reader: Reader, name: str) -> None:
    """`Both::x` is ambiguous in C++. It was that of the last base class, and the other one was not to be had."""
    with pytest.raises(DatasetError, match="'x' occurs more than once"):
        reader.array(name, 0, ENTRIES)
