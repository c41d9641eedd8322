"""Trees that uproot reads wrongly or not at all: the values are those of ROOT 6.40, or what was written.

`data/write_trees.py` has written the files. What is written is known by its formula; sums over numbers of few bits are
ROOT's (`TTree::Draw`), plain and weighted with the numbers of the values, so that their order counts.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Jagged, Strings
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.interpretations import texts
from eventmill.reading.ttree.packed_floats import coding
from eventmill.reading.view import View
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(__file__).parents[1] / "data"
ODD = str(DATA / "odd_trees.root")
PRODUCTIONS = [str(DATA / "one_production.root"), str(DATA / "another_production.root")]


def in_chunks(reader: Reader, name: str, size: int) -> ak.Array:
    """A column as a columnar function has it, chunk by chunk."""
    edges = [*range(0, reader.entries, size), reader.entries]
    return ak.concatenate([reader.events(start, stop)[name] for start, stop in itertools.pairwise(edges)])


# --- classes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.product((0, 1), repeat=3)))
def test_a_file_is_read_with_its_own_classes(order: tuple[int, ...]) -> None:
    """Two productions have a class `Pt` of one version with its members in another order; in one process, in any order."""
    readers = [Reader(PRODUCTIONS[i], "t") for i in order]
    for reader in readers:
        events = reader.events(0, 20)
        assert events.p.a.tolist() == list(range(20))
        assert events.p.b.tolist() == [i / 2 for i in range(20)] and events.p.c.tolist() == [i / 4 for i in range(20)]


def test_classes_that_a_user_has_read_are_not_taken_for_a_files_own() -> None:
    """A columnar function opens a file with uproot, which keeps its classes for all files of the process."""
    for path in PRODUCTIONS[::-1]:
        uproot.open(path)["t/p"].array()
    assert Reader(PRODUCTIONS[0], "t").events(0, 20).p.a.tolist() == list(range(20))


def test_what_is_read_leaves_nothing_in_uproots_classes() -> None:
    before = dict(uproot.classes)
    versions = {name: set(getattr(model, "known_versions", ())) for name, model in before.items()}
    Reader(ODD, "members").array("Tracks.fR[5]", 0, 10)
    Reader(PRODUCTIONS[0], "t").array("p", 0, 10)
    assert uproot.classes == before
    assert {name: set(getattr(model, "known_versions", ())) for name, model in before.items()} == versions


def test_a_class_with_members_in_another_order_is_no_other_type() -> None:
    """The files of a dataset have to agree on types; where a record's fields are is not part of it."""
    first, second = (Reader(path, "t").types(["p", "v"]) for path in PRODUCTIONS)
    assert first == second


# --- strings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("size", [1000, 137, 13, pytest.param(1, marks=pytest.mark.nightly)])
def test_empty_c_strings(first: int, size: int) -> None:
    """ROOT writes no byte for them, and five for the length of those of 255 and more."""
    reader = Reader(ODD, "empty_second" if first else "empty_first")
    right = ["x" * (250 + i // 100) if i % 100 == 99 else "" if i % 2 == first else "word" for i in range(1000)]
    assert in_chunks(reader, "s", size).tolist() == right
    column = reader.read(["s"], 90, 120)["s"]
    assert isinstance(column, Strings)
    assert np.diff(column.offsets).tolist() == [len(text) for text in right[90:120]]


@given(
    st.lists(st.sampled_from(["", "a", "mu", "x" * 254, "y" * 255, "z" * 300])),
    st.booleans(),
    st.sampled_from([0, 2, 10]),
)
def test_strings_as_they_are_stored(words: list[str], is_short: bool, header: int) -> None:
    """Against a loop over the entries; an empty string may have no byte at all."""
    stored = []
    for i, word in enumerate(words):
        size = len(word)
        length = (
            size.to_bytes(4, "big")
            if not is_short
            else b"\xff" + size.to_bytes(4, "big")
            if size > 254
            else bytes([size])
        )
        stored.append(b"" if not word and i % 2 else b"h" * header + length + word.encode())
    begins = np.cumsum([0, *map(len, stored)])
    offsets, characters = texts(np.frombuffer(b"".join(stored), np.uint8), begins, header, is_short)
    assert offsets is not None
    found = [bytes(characters[low:high]).decode() for low, high in itertools.pairwise(offsets)]
    assert found == words


def test_a_string_that_is_longer_than_its_entry_is_noticed() -> None:
    offsets, _ = texts(np.frombuffer(b"\x03mu\x01e", np.uint8), np.array([0, 3, 5]), 0, True)
    assert offsets is None


@pytest.mark.parametrize("size", [1000, 83])
def test_tables_of_sizes(size: int) -> None:
    """What ROOT writes in the place of offsets where it can make them anew (`kGenerateOffsetMap`): none, or sizes."""
    reader = Reader(ODD, "generated")
    letters = [chr(ord("a") + i % 26) for i in range(1000)]
    assert in_chunks(reader, "s", size).tolist() == [letters[i] * (i % 6) for i in range(1000)]
    assert in_chunks(reader, "text", size).tolist() == [letters[i] * (i % 7) for i in range(1000)]
    assert in_chunks(reader, "v", size).tolist() == [[i] * (i % 3) for i in range(1000)]
    assert in_chunks(reader, "texts", size).tolist() == [[letters[i] * (i % 7)] * (i % 3) for i in range(1000)]
    assert in_chunks(reader, "x", size).tolist() == [[i + k for k in range(i % 5)] for i in range(1000)]
    assert in_chunks(reader, "y", size).tolist() == [[[i, k] for k in range(i % 5)] for i in range(1000)]
    assert reader.array("x", 10, 900).tolist() == [
        [i + k for k in range(i % 5)] for i in range(10, 900)
    ]  # as uproot does


# --- numbers of few bits ----------------------------------------------------------------------------------------------

ROOTS = {
    "floats": {
        "f": (500, 46157.48229980469, 15370439.904418945),
        "f16": (500, 46157.48229980469, 15370439.904418945),
        "fr": (500, 24086.71875, 6247969.53125),
        "c": (1500, 374400.6029968262, 374364561.184845),
        "cr": (1500, 68063.99911499023, 51724578.323955536),
        "l": (1000, 326155.49237060547, 217607449.38110352),
        "l2": (2000, 89771.99249267578, 90408068.45703125),
        "d": (500, -212075.00000405312, -70620974.99705672),
        "d8": (500, -212091.30078125, -70626210.93359375),
        "dr": (500, -12.50040944048012, 3119.9320778744423),
        "e": (1500, 374400.00455969827, 374362530.2050638),
        "er": (1500, 68064.00000123864, 51724579.00097323),
        "m": (1000, 326148.62690734863, 217601368.90472412),
        "m2": (2000, 89772.00000090525, 90408076.00103709),
    },
    "members": {
        "Tracks.fR[5]": (750, 39375.0, 19432750.0),
        "Tracks.fF[2]": (300, 765.0, 151854.775390625),
        "Tracks.fD": (150, 65.50000000081491, 6738.500000101863),
        "Tracks.fPlain": (150, 7559.999933481216, 750609.9921238422),
        "Tracks.fI[3]": (450, 2268450.0, 677918325.0),
        "Hit.fR[5]": (500, 25903.25, 8517991.0),
        "Hit.fF[2]": (200, 503.8818359375, 66490.830078125),
        "Hit.fD": (100, 37.9600000004191, 2651.500000040862),
        "Hit.fG": (100, 1600.8029174804688, 104345.13104248047),
    },
}
"""How many values there are, their sum, and that of each times its number."""


@pytest.mark.parametrize(("tree", "name"), [(tree, name) for tree, names in ROOTS.items() for name in names])
@pytest.mark.parametrize("size", [500, 37])
def test_numbers_of_few_bits(tree: str, name: str, size: int) -> None:
    """`Float16_t` and `Double32_t`: alone, in arrays, in lists, in collections, with ranges and bits."""
    values = ak.to_numpy(ak.flatten(in_chunks(Reader(ODD, tree), name, size), axis=None)).astype(float)
    number, total, weighted = ROOTS[tree][name]
    assert len(values) == number
    assert [values.sum(), values @ np.arange(number)] == pytest.approx([total, weighted], rel=1e-12)


def test_arrays_in_collections_have_their_shape() -> None:
    """uproot has five times as many values as there are, most of them whatever memory holds."""
    values = Reader(ODD, "members").events(0, 100)["Tracks.fR[5]"]
    right = [[[i + j + k * 0.25 for j in range(5)] for k in range(i % 4)] for i in range(100)]
    assert ak.num(values).tolist() == [i % 4 for i in range(100)]
    assert ak.to_numpy(ak.flatten(values)) == pytest.approx(np.concatenate([x for x in right if x]), rel=0.005)


def test_ranges_as_root_reads_them() -> None:
    assert coding("x[n][3]/d[-pi,2*pi,30]", False).low == -np.pi
    assert coding("[0,1,40] too many bits", False) == coding("[0,1]", False)
    assert coding("[0,0,16]", True) == coding("", True)  # so many bits mean nothing
    assert coding("[0,0,16]", False) == coding("no range", False)
    assert coding("[0,0,6]", False).bits == 6


def test_objects_as_a_whole_have_what_split_ones_have() -> None:
    """uproot takes members with a range for floats, and reads what is behind them at another place."""
    whole = Reader(ODD, "members").array("HitUnsplit", 0, 100)
    split = Reader(ODD, "members").events(0, 100)
    for name in ("fR", "fF", "fD", "fG"):
        kept = split["Hit." + name + {"fR": "[5]", "fF": "[2]"}.get(name, "")]
        assert whole[name].to_list() == kept.to_list(), name


# --- branches by name -------------------------------------------------------------------------------------------------


def test_of_two_branches_with_one_name_the_first_counts() -> None:
    """As in ROOT, where the layout is read here and where it comes from another slot."""
    reader = Reader(ODD, "twice")
    for each in (reader, Reader(ODD, layout=reader.news())):
        assert list(each.names) == ["a", "c"]
        assert each.events(0, 1000).a.tolist() == list(range(1000))
        assert each.array("a", 5, 8).tolist() == [5, 6, 7]
        assert each.events(0, 1000).c.tolist() == list(range(1000))


def test_of_two_lists_with_one_name_the_first_counts() -> None:
    reader = Reader(ODD, "twice_lists")
    right = [[i] * (i % 4) for i in range(200)]
    assert reader.events(0, 200).x.tolist() == right and reader.array("x", 0, 200).tolist() == right
    column = reader.read(["x", "n"], 50, 200)["x"]
    assert isinstance(column, Jagged) and np.diff(column.offsets).tolist() == [i % 4 for i in range(50, 200)]


def test_a_branch_that_cannot_be_read_keeps_no_other_from_it() -> None:
    """A leaf list of variable length; whoever asks for it is told why it cannot be had."""
    reader = Reader(ODD, "leaves")
    assert reader.events(0, 1000).k.tolist() == list(range(1000))
    assert reader.events(0, 1000).n.tolist() == [k % 4 for k in range(1000)]
    with pytest.raises(DatasetError, match=r"branch r: .*several leaves, which are lists"):
        reader.array("r", 0, 10)
    assert View(reader, {}, SharedInputs()).events(0, 3).k.tolist() == [0, 1, 2]


# --- friends ----------------------------------------------------------------------------------------------------------


def test_a_friend_in_another_order_is_refused() -> None:
    """Paired by number, its entries would belong to other events; also where a slot was told the layout."""
    events, friend = Reader(ODD, "events"), Reader(ODD, "reshuffled")
    for each in (friend, Reader(ODD, layout=friend.news())):
        with pytest.raises(DatasetError, match=r"reshuffled in .*odd_trees.root, the friend bdt of .*in any order"):
            View(events, {"bdt": each}, SharedInputs())


@pytest.mark.parametrize("tree", ["by_event", "by_run"])
def test_a_friend_with_an_index_is_joined_by_it(tree: str) -> None:
    """Its events are in the opposite order; by the event alone, or by run and section."""
    events = View(Reader(ODD, "events"), {"bdt": Reader(ODD, tree)}, SharedInputs()).events(0, 1000)
    assert events.bdt.event.tolist() == events.event.tolist()
    assert events.bdt.score.tolist() == [0.5 * event for event in events.event]


def test_the_order_is_told_where_only_uproot_describes_a_tree() -> None:
    readers = [Reader(ODD, tree) for tree in ("reshuffled", "by_event", "events")]
    for reader in readers:
        reader.stored.described = None
    assert [reader.stored.order for reader in readers] == ["reshuffled", "indexed", ""]


def test_values_that_are_in_another_file_are_not_taken_from_this_one() -> None:
    """`TBranch::SetFile`: what lies at their places in this file is something else. The other branches are read."""
    reader = Reader(str(DATA / "elsewhere.root"), "Events")
    events = reader.events(10, 13)
    assert events.near.tolist() == [10, 11, 12] and events.few.tolist() == [2.5, 2.75, 3.0]
    with pytest.raises(DatasetError, match=r"basket 0 of branch far .*is not where the tree says"):
        events.far.tolist()
