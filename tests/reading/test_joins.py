"""Friends that are joined by columns: ALICE's indices between the tables of a folder, and numbers of runs and events."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.dataset.friends import Friends
from eventmill.dataset.shared_inputs import SharedInputs, aliases_of
from eventmill.packetizer.listed_entries import EntryList
from eventmill.protocol.errors import DatasetError
from eventmill.protocol.messages import File
from eventmill.reading.cached_range import CachedRange
from eventmill.reading.columns import Flat, Jagged, Strings
from eventmill.reading.joins import KeyTable
from eventmill.reading.prefetched_range import Names, PrefetchedRange
from eventmill.reading.selection import Selection
from eventmill.reading.source import Source
from eventmill.reading.tree_series import open_tree
from eventmill.reading.view import View
from hypothesis import example, given
from hypothesis import strategies as st
from processes import Standing

SIZES = {"DF_20": (7, 3), "DF_3": (0, 2), "DF_100": (25, 4), "DF_1": (30, 1)}
"""By folder, how many tracks and collisions there are."""
TRACKS = sum(tracks for tracks, _ in SIZES.values())


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like ALICE's AO2D: in each folder tracks name the collision that they are of, and the tracks they come from."""
    path = tmp_path_factory.mktemp("joins") / "AO2D.root"
    rng = np.random.default_rng(3)
    with uproot.recreate(path) as file:
        for folder, (tracks, collisions) in SIZES.items():
            index = rng.integers(-1, collisions, tracks).astype("i4")
            counts = rng.integers(0, 3, tracks)
            firsts = np.where(counts > 0, np.arange(tracks) // 2, -1)
            slices = np.stack([firsts, np.where(counts > 0, firsts + counts // 2, -1)], axis=1).astype("i4")
            mothers = ak.unflatten(rng.integers(0, max(1, tracks), int(counts.sum())).astype("i4"), counts)
            own = int(folder[3:]) * 1000
            file.mktree(
                f"{folder}/O2track",
                {
                    "fIndexCollisions": "i4",
                    "fPx": "f4",
                    "fIndexArrayMothers": "var * int32",
                    "fIndexSliceDaughters": "2 * int32",
                },
            )
            file.mktree(f"{folder}/O2collision", {"fPosZ": "f4", "fHits": "var * int32", "fCorner": "2 * int64"})
            if tracks:
                file[f"{folder}/O2track"].extend(
                    {
                        "fIndexCollisions": index,
                        "fPx": own + np.arange(tracks, dtype="f4"),
                        "fIndexArrayMothers": mothers,
                        "fIndexSliceDaughters": slices,
                    }
                )
            if collisions:
                number = own + np.arange(collisions)
                file[f"{folder}/O2collision"].extend(
                    {
                        "fPosZ": number.astype("f4"),
                        "fHits": ak.unflatten(np.repeat(number, 2).astype("i4"), np.full(collisions, 2)),
                        "fCorner": np.stack([number, -number], axis=1),
                    }
                )
    return path


@pytest.fixture(scope="module")
def expected(tables: Path) -> dict[str, list[Any]]:
    """What the tracks have, made track by track."""
    found: dict[str, list[Any]] = {"z": [], "hits": [], "mothers": []}
    with uproot.open(tables) as file:
        for folder in SIZES:
            tracks, collisions = (file[f"{folder}/{table}"].arrays() for table in ("O2track", "O2collision"))
            for track in tracks:
                index = track.fIndexCollisions
                found["z"].append(None if index < 0 else float(collisions.fPosZ[index]))
                found["hits"].append(None if index < 0 else collisions.fHits[index].to_list())
                found["mothers"].append([float(tracks.fPx[mother]) for mother in track.fIndexArrayMothers])
    assert None in found["z"] and len(found["z"]) == TRACKS
    return found


COLLISION = em.Friend(tree="DF_*/O2collision", index="fIndexCollisions")
MOTHERS = em.Friend(tree="{tree}", index="fIndexArrayMothers")


def view_of(path: Path, tree: str = "DF_*/O2track", aliases: dict[str, str] | None = None, **friends: Any) -> View:
    (file,) = Friends(friends).given_to([File(str(path), tree)])
    readers = {name: open_tree(friend.path, friend.tree) for name, friend in file.friends.items()}
    return View(open_tree(file.path, file.tree), readers, SharedInputs(aliases=aliases_of(aliases)), file.friends)


@pytest.mark.parametrize("kind", ["part", "selection", "prefetched", "cached"])
@pytest.mark.parametrize(("start", "stop"), [(0, TRACKS), (3, 12), (7, 7), (31, 33), (60, TRACKS)])
def test_tracks_have_the_collision_of_their_folder_at_any_cut(
    tables: Path, expected: dict[str, list[Any]], kind: str, start: int, stop: int
) -> None:
    """Numbers begin anew in each folder: taken for those of the whole table, they name other collisions."""
    view = view_of(tables, aliases={"z": "ak.fill_none(collision.fPosZ, -1.0)"}, collision=COLLISION, mother=MOTHERS)
    source: Source = view
    if kind == "selection":
        source = Selection(view, EntryList([0, TRACKS]))
    elif kind == "prefetched":
        source = prefetched = PrefetchedRange(view, 0, TRACKS, alone=nullcontext)
        prefetched.fetch(Names(("fPx",), ("collision.fPosZ", "mother.fPx")))
    elif kind == "cached":
        source = CachedRange(view, 0, TRACKS)
    events = source.events(start, stop)
    assert ak.to_list(events.collision.fPosZ) == ak.to_list(events.fPosZ) == expected["z"][start:stop]
    assert ak.to_list(events.collision.fHits) == expected["hits"][start:stop]
    assert ak.to_list(events.mother.fPx) == expected["mothers"][start:stop]
    assert ak.to_list(events.z) == [-1 if z is None else z for z in expected["z"][start:stop]]
    assert ak.to_list(events.collision.fCorner[:, 0]) == expected["z"][start:stop]


def test_no_other_column_is_read(tables: Path) -> None:
    view = view_of(tables, collision=COLLISION)
    ak.sum(view.events(0, TRACKS).collision.fPosZ)
    assert (view.files.opened["collision"].touched, view.reader.touched) == ({"fPosZ"}, {"fIndexCollisions"})


def test_tracks_that_come_from_others_are_lists_of_records(tables: Path, expected: dict[str, list[Any]]) -> None:
    events = view_of(tables, mother=MOTHERS).events(0, TRACKS)
    hard = events.mother[events.mother.fPx > 1010]
    assert ak.to_list(hard.fPx) == [[px for px in mothers if px > 1010] for mothers in expected["mothers"]]
    assert ak.to_list(ak.num(events.mother)) == list(map(len, expected["mothers"]))


@pytest.mark.parametrize(("start", "stop"), [(0, TRACKS), (5, 20), (24, 40), (30, 31)])
def test_runs_of_rows_are_lists_of_records(tables: Path, start: int, stop: int) -> None:
    """ALICE's `fIndexSlice...`: the first and the last one, which belongs to them; -1 for none."""
    right = []
    with uproot.open(tables) as file:
        for folder in SIZES:
            px, slices = (file[f"{folder}/O2track"][name].array().tolist() for name in ("fPx", "fIndexSliceDaughters"))
            right += [[px[i] for i in range(first, last + 1) if first >= 0] for first, last in slices]
    daughter = em.Friend(tree="DF_*/O2track", index="fIndexSliceDaughters")
    events = view_of(tables, daughter=daughter).events(start, stop)
    assert ak.to_list(events.daughter.fPx) == right[start:stop]
    assert max(map(len, right)) == 2 and min(map(len, right)) == 0


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ((2, 1), None),
        ((3, 1), r"is \[3, 1\], which is no run"),
        ((0, 9), "no run|belong together"),
        ((-2, 0), "no run"),
    ],
)
def test_runs_that_cannot_be_are_refused(tmp_path: Path, run: tuple[int, int], words: str | None) -> None:
    """A run that ends before it begins is an empty one by one only."""
    path = tmp_path / "AO2D.root"
    with uproot.recreate(path) as file:
        file.mktree("DF_1/O2track", {"fIndexSliceDaughters": "2 * int32", "fPx": "f4"})
        file["DF_1/O2track"].extend({"fIndexSliceDaughters": np.array([run] * 4, "i4"), "fPx": np.zeros(4, "f4")})
    daughter = em.Friend(tree="DF_*/O2track", index="fIndexSliceDaughters")
    with nullcontext() if words is None else pytest.raises(DatasetError, match=words):
        assert ak.to_list(view_of(path, daughter=daughter).events(0, 4).daughter.fPx) == [[]] * 4


def test_one_folder_by_itself_has_its_own_collisions(tables: Path, expected: dict[str, list[Any]]) -> None:
    """Also where the friend is the whole table, and where trees are named one by one."""
    begin = SIZES["DF_20"][0]
    for tree in ("{tree_folder}/O2collision", "DF_*/O2collision"):
        friend = em.Friend(tree=tree, index="fIndexCollisions")
        events = view_of(tables, "DF_100/O2track", collision=friend).events(0, 25)
        assert ak.to_list(events.collision.fPosZ) == expected["z"][begin : begin + 25]


@em.kernel(z=np.zeros(1), hits=np.zeros(1), mothers=np.zeros(1))
def summed(z: Any, hits: Any, mothers: Any, collision_fPosZ: Any, collision_fHits: Any, mother_fPx: Any) -> None:
    z[0] += collision_fPosZ
    for i in range(len(collision_fHits)):
        hits[0] += collision_fHits[i]
    for i in range(len(mother_fPx)):
        mothers[0] += mother_fPx[i]


def test_queries_join_in_columns_and_kernels(standing: Standing, tables: Path, expected: dict[str, list[Any]]) -> None:
    friends = {"collision": COLLISION, "mother": MOTHERS}
    numbered = friends | {"collision": em.Friend(tree="DF_*/O2collision", index="fIndexCollisions", missing=-0.5)}
    none = expected["z"].count(None)
    right = sum(z for z in expected["z"] if z is not None)

    def columnar(events: ak.Array) -> dict[str, Any]:
        z = events.collision.fPosZ
        return {"z": ak.sum(z), "none": ak.sum(ak.is_none(z)), "n": len(events), "mothers": ak.sum(events.mother.fPx)}

    with standing.connect() as session:

        def result(analysis: Any, **friends: Any) -> Any:
            return session.process(em.Dataset(tables, tree="DF_*/O2track", friends=friends), analysis).result()

        found = result(columnar, **friends)
        assert (found["z"], found["none"], found["n"]) == (right, none, TRACKS)
        assert found["mothers"] == sum(map(sum, expected["mothers"]))
        filled = result(summed, **numbered)
        assert filled["z"].tolist() == [right - 0.5 * none], "the number that was given stands for each"
        assert filled["hits"].tolist() == [2 * right], "lists of what is missing are empty"
        assert filled["mothers"].tolist() == [found["mothers"]]
        with pytest.raises(DatasetError, match=r"whose fIndexCollisions is -1\. .*missing=0"):
            result(summed, **friends)


def test_tables_that_do_not_belong_together_are_refused(tables: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.root"
    with uproot.recreate(other) as file:
        for folder in ("DF_100", "DF_1"):
            file.mktree(f"{folder}/O2collision", {"fPosZ": "f4"})
            file[f"{folder}/O2collision"].extend({"fPosZ": np.zeros(1, "f4")})
    few = em.Friend(other, tree="DF_*/O2collision", index="fIndexCollisions")
    view = view_of(tables, collision=few)
    with pytest.raises(
        DatasetError, match=r"fIndexCollisions of entry \d .* in its tree DF_20/O2track, and .* has no such"
    ):
        view.array("collision_fPosZ", 0, TRACKS)
    with pytest.raises(
        DatasetError, match=r"in its tree DF_100/O2track, and .* has 1 entries there: the two do not belong"
    ):
        view.array("collision_fPosZ", 7, TRACKS)
    assert ak.count(view.array("collision_fPosZ", 32, TRACKS)) > 0
    with pytest.raises(
        DatasetError, match=r"has no branch fIndexCollision in its tree .*nearest names are fIndexCollisions"
    ):
        view_of(tables, collision=em.Friend(tree="DF_*/O2collision", index="fIndexCollision"))
    with pytest.raises(DatasetError, match="fPx, which is not one whole number an entry"):
        view_of(tables, collision=em.Friend(tree="DF_*/O2collision", index="fPx")).array("collision_fPosZ", 0, 1)
    with pytest.raises(DatasetError, match="several trees in one folder"):
        view_of(tables, both=em.Friend(tree="DF_*/O2*", index="fIndexCollisions"))


# --- by the numbers of runs and events ------------------------------------------------------------------------------------

EVENTS = 300


@pytest.fixture(scope="module")
def skims(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file, and another one with the same events and more, in another order."""
    folder = tmp_path_factory.mktemp("skims")
    rng = np.random.default_rng(5)
    run, event = np.repeat([350000, 349999], EVENTS // 2), np.arange(EVENTS, dtype="u8") // 2 + 2**62
    event = np.where(np.arange(EVENTS) % 2, event, np.arange(7, 7 + EVENTS, dtype="u8"))
    order = rng.permutation(EVENTS + 50)
    with uproot.recreate(folder / "main.root") as file:
        file["t"] = {"run": run.astype("u4"), "event": event, "x": np.arange(EVENTS) * 1.0}
    every = {
        "runNumber": np.concatenate([run, np.full(50, 1)]).astype("i4")[order],
        "event": np.concatenate([event, np.arange(50, dtype="u8")]).astype("i8")[order],
        "score": np.concatenate([np.arange(EVENTS) * 1.0, np.full(50, -1.0)])[order],
    }
    part = np.ones(EVENTS + 50, bool)
    part[[int(np.flatnonzero(order == which)[0]) for which in (5, 200)]] = False
    again = np.concatenate([np.arange(EVENTS + 50), [int(np.flatnonzero(order == 9)[0])]])
    words = [f"w{i}" for i in order]
    with uproot.recreate(folder / "friend.root") as file:
        file.mktree("all", {name: values.dtype for name, values in every.items()})
        file["all"].extend(every)
        file["part"] = {name: values[part] for name, values in every.items()}
        file["twice"] = {name: values[again] for name, values in every.items()}
        file.mkrntuple("words", every | {"word": ak.Array(words), "lists": ak.Array([[i] * (i % 3) for i in order])})
    return folder / "main.root", folder / "friend.root"


BY = {"run": "runNumber", "event": "event"}


def test_each_event_has_the_entry_of_its_run_and_number(skims: tuple[Path, Path]) -> None:
    """Events of 2**62 differ by one, which numbers of 53 bits do not, and two runs have the same."""
    main, other = skims
    for tree in ("all", "words"):
        view = view_of(main, "t", bdt=em.Friend(f"{other}:{tree}", by=BY))
        events = view.events(0, EVENTS)
        assert ak.to_list(events.bdt.score) == ak.to_list(events.x)
        for start, stop in ((0, 1), (149, 152), (299, 300), (13, 13)):
            assert ak.to_list(view.events(start, stop).bdt_score) == ak.to_list(events.x[start:stop])
    read = view.read(["bdt_word", "bdt_lists", "bdt_score"], 10, 13)
    word, lists, score = read["bdt_word"], read["bdt_lists"], read["bdt_score"]
    assert isinstance(word, Strings) and isinstance(lists, Jagged) and isinstance(score, Flat)
    assert bytes(word.characters) == b"w10w11w12" and np.diff(lists.offsets).tolist() == [1, 2, 0]
    assert score.values.tolist() == [10, 11, 12]


def test_an_event_that_is_missing_is_named_or_stood_for(skims: tuple[Path, Path]) -> None:
    main, other = skims
    strict = view_of(main, "t", bdt=em.Friend(f"{other}:part", by=BY))
    assert len(strict.read(["bdt_score"], 6, 200)["bdt_score"]) == 194
    with pytest.raises(
        DatasetError, match=r"has no entry with run 349999 and event 207, as entry 200 of the file is\. Write"
    ):
        strict.read(["bdt_score"], 6, EVENTS)
    lenient = view_of(main, "t", bdt=em.Friend(f"{other}:part", by=BY, missing="none"))
    score = ak.to_list(lenient.events(0, EVENTS).bdt.score)
    assert [i for i, value in enumerate(score) if value is None] == [5, 200]
    assert [value for value in score if value is not None] == [i for i in range(EVENTS) if i not in (5, 200)]
    filled = view_of(main, "t", bdt=em.Friend(f"{other}:part", by=BY, missing=-7))
    values = filled.read(["bdt_score"], 0, EVENTS)["bdt_score"].values  # type: ignore[union-attr]
    assert np.flatnonzero(values == -7).tolist() == [5, 200] and ak.to_list(filled.events(5, 7).bdt.score) == [-7, 6]
    named = view_of(main, "t", bdt=em.Friend(f"{other}:part", by=BY, missing={"score": -7, "event": 0}))
    assert named.read(["bdt_score", "bdt_event"], 5, 6)["bdt_score"].values.tolist() == [-7]  # type: ignore[union-attr]
    assert ak.to_list(named.events(4, 6).bdt.event) == [11, 0]
    with pytest.raises(
        DatasetError, match=r"missing= says nothing of its branch runNumber: add it, as {'runNumber': 0}"
    ):
        named.read(["bdt_runNumber"], 0, 10)
    with pytest.raises(
        DatasetError, match=r"nan cannot stand for what is missing in the branch event of .*of type int64"
    ):
        view_of(main, "t", bdt=em.Friend(f"{other}:part", by=BY, missing=float("nan"))).read(["bdt_event"], 0, 10)


def test_a_friend_of_many_files_is_looked_through_once(skims: tuple[Path, Path]) -> None:
    """Its columns of numbers may be longer than what is read of each file."""
    main, other = skims
    (file,) = Friends({"bdt": em.Friend(f"{other}:all", by=BY)}).given_to([File(str(main), "t")])
    friend = open_tree(str(other), "all")
    for read in ({"score", *BY.values()}, {"score"}):
        friend.touched = set()
        view = View(open_tree(str(main), "t"), {"bdt": friend}, SharedInputs(), file.friends)
        assert ak.to_list(view.events(0, 3).bdt.score) == [0, 1, 2]
        assert friend.touched == read


def test_ranges_far_apart_are_read_side_by_side(tables: Path, expected: dict[str, list[Any]]) -> None:
    """The file is read for its own columns, for what joins its friends, and as a friend of itself, all at once."""
    view = view_of(
        tables, collision=em.Friend(tree="DF_*/O2collision", index="fIndexCollisions", missing=-1), mother=MOTHERS
    )
    ranges = [(0, 2), (10, 15), (30, 34), (60, TRACKS)]
    pieces = list(view.read_ranges(["fPx", "collision_fPosZ", "mother_fPx"], ranges))
    whole = view.read(["fPx"], 0, TRACKS)["fPx"]
    for (start, stop), columns in zip(ranges, pieces, strict=True):
        px, z, mother = columns["fPx"], columns["collision_fPosZ"], columns["mother_fPx"]
        assert isinstance(px, Flat) and isinstance(z, Flat) and isinstance(mother, Jagged) and isinstance(whole, Flat)
        assert px.values.tolist() == whole.values[start:stop].tolist()
        assert z.values.tolist() == [-1 if it is None else it for it in expected["z"][start:stop]]
        assert np.diff(mother.offsets).tolist() == list(map(len, expected["mothers"][start:stop]))


def test_of_two_entries_with_the_same_numbers_none_is_taken(skims: tuple[Path, Path]) -> None:
    main, other = skims
    view = view_of(main, "t", bdt=em.Friend(f"{other}:twice", by=BY))
    assert len(view.read(["bdt_score"], 10, EVENTS)["bdt_score"]) == EVENTS - 10, "where they are not asked for"
    with pytest.raises(
        DatasetError, match=r"has several entries with run 350000 and event \d+, as entry 9 of the file is"
    ):
        view.read(["bdt_score"], 0, EVENTS)


def test_columns_that_cannot_join_are_told(skims: tuple[Path, Path]) -> None:
    main, other = skims
    with pytest.raises(
        DatasetError, match=r"friend.root has no branch run in its tree all; the nearest names are runNumber"
    ):
        view_of(main, "t", bdt=em.Friend(f"{other}:all", by=("run", "event")))
    with pytest.raises(DatasetError, match="joined by score, which is not one whole number an entry in all of"):
        view_of(main, "t", bdt=em.Friend(f"{other}:all", by={"run": "score"})).read(["bdt_event"], 0, 1)
    with pytest.raises(DatasetError, match=r'or are joined by columns, em.Friend\(..., by=\("run", "event"\)\)'):
        view_of(main, "t", bdt=f"{other}:all")


def test_one_friend_may_be_of_all_files_where_columns_join_it() -> None:
    files = [File("/d/a.root", "t"), File("/d/b.root", "t")]
    found = Friends({"lumi": em.Friend("/d/lumi.root:runs", by="run")}).given_to(files)
    assert [file.friends["lumi"].path for file in found] == ["/d/lumi.root"] * 2
    assert found[0].friends["lumi"].by == {"run": "run"}
    with pytest.raises(DatasetError, match="one file, and the dataset has 2"):
        Friends({"lumi": em.Friend("/d/lumi.root:runs", index="run")}).given_to(files)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"by": (1, 2)}, r"by is \(1, 2\): it must be names of columns"),
        ({"by": "run", "index": "i"}, "joined either by run, or by the numbers in i"),
        ({"index": 3}, "has the index 3"),
        ({"missing": "nothing"}, 'missing is \'nothing\': it must be "none", "error", a number'),
        ({"missing": {"score": "x"}}, "missing is .*or numbers by columns"),
    ],
)
def test_what_is_no_friend_is_refused(arguments: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        em.Friend("a.root:t", **arguments)


def test_a_friend_in_the_same_file_needs_a_tree() -> None:
    with pytest.raises(DatasetError, match="is in the same file: say in which tree"):
        Friends({"c": em.Friend(index="i")}).given_to([File("/d/a.root", "t")])


SIGNED, UNSIGNED = [-(2**63), -5, -1, 0, 3, 2**62, 2**63 - 1], [0, 1, 3, 2**62, 2**63 - 1, 2**63, 2**64 - 5, 2**64 - 1]
KINDS = st.lists(st.booleans(), min_size=3, max_size=3)


def keys(kinds: list[bool], numbers: list[tuple[int, ...]]) -> list[Any]:
    """Columns of so many numbers each, unsigned ones or signed."""
    wide = [UNSIGNED if unsigned else SIGNED for unsigned in kinds]
    return [
        np.array([wide[i][key[i]] for key in numbers], np.uint64 if kinds[i] else np.int64) for i in range(len(kinds))
    ]


@given(
    KINDS,
    st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=30),
    KINDS,
    st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=10),
)
@example([False] * 3, [(2, 2, 2)], [True] * 3, [(7, 7, 7)])
def test_a_table_of_keys_finds_what_a_dict_finds(
    kinds: list[bool], known: list[tuple[int, ...]], others_kinds: list[bool], asked: list[tuple[int, ...]]
) -> None:
    """Also where one of two files has unsigned numbers: -1 and 2**64 - 1 have the same bytes, and are not the same."""
    theirs, mine = keys(kinds, known), keys(others_kinds, asked)
    found, others = KeyTable(theirs).find(mine)
    known, asked = ([tuple(map(int, key)) for key in zip(*columns, strict=True)] for columns in (theirs, mine))
    for key, entry, other in zip(asked, found, others, strict=True):
        entries = [i for i, its in enumerate(known) if its == key]
        assert entry == (entries[0] if entries else -1) and other == (entries[1] if len(entries) > 1 else -1)
