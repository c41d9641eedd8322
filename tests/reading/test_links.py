"""Links between collections: what they point to, None elsewhere, and no more columns read than are touched.

`data/write_links.py` has written the file with ROOT; what is in it is known by its formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
from eventmill import kernel
from eventmill.protocol.errors import AnalysisError
from eventmill.reading.reader import Reader
from eventmill.worker.kernels.compile import CompiledKernel
from skhep_testdata import data_path

FILE = str(Path(__file__).parents[1] / "data" / "links.root")
ENTRIES = 20
CUTS = [(0, ENTRIES), (6, 8), (13, 14), (5, 5), (3, 19)]
TRACKS, OTHERS = 77, 5


# --- what was written -------------------------------------------------------------------------------------------------


def tracks(i: int) -> list[dict[str, float]]:
    return [{"z0": 10 * i + k, "d0": -k} for k in range((7 * i + 1) % 4)]


def linked(i: int, column: str) -> list[list[float | None]]:
    """Of each electron's links those that point to a track of the event."""
    found = tracks(i)

    def meant(k: int, j: int) -> float | None:
        index = (i + j + k) % 4
        return found[index][column] if j % 2 == 0 and index < len(found) else None

    return [[meant(k, j) for j in range(k + 1)] for k in range(i % 4)]


def related(i: int) -> list[list[float | None]]:
    """Of each reconstructed particle the chi2 of its tracks, by relations with an index one lower."""

    def meant(k: int, j: int) -> float | None:
        index = (i + j + k) % 4 - 1
        return 10 * i + index if j % 2 == 0 and 0 <= index < len(tracks(i)) else None

    return [[meant(k, j) for j in range(k + 1)] for k in range(i % 4)]


def test_links_of_all_kinds_were_written() -> None:
    """That the tests below look at something."""
    for events in (map(linked, range(ENTRIES), ["z0"] * ENTRIES), map(related, range(ENTRIES))):
        links = [link for event in events for links in event for link in links]
        assert len(links) > 40 and 10 < links.count(None) < len(links) - 10


@pytest.fixture
def atlas() -> Iterator[Reader]:
    reader = Reader(FILE, "CollectionTree")
    yield reader
    reader.close()


@pytest.fixture
def podio() -> Iterator[Reader]:
    reader = Reader(FILE, "events")
    yield reader
    reader.close()


# --- ATLAS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", CUTS)
def test_element_links_are_followed(atlas: Reader, cut: tuple[int, int]) -> None:
    """Another collection's, and an index that the target does not have, are None."""
    events = atlas.events(*cut)
    found = em.follow(events.ElectronsAuxDyn.trackLinks, events.TracksAuxDyn, key=TRACKS)
    for column in ("z0", "d0"):
        assert found[column].to_list() == [linked(i, column) for i in range(*cut)]
    assert em.follow(events.ElectronsAuxDyn.trackLinks, events.TracksAuxDyn.d0, key=TRACKS).to_list() == [
        linked(i, "d0") for i in range(*cut)
    ]
    assert ak.num(found, axis=2).to_list() == [list(range(1, i % 4 + 1)) for i in range(*cut)]


def test_links_that_are_split_are_followed(atlas: Reader) -> None:
    events = atlas.events(0, ENTRIES)
    found = em.follow(events.ElectronsAuxDyn.truthLink, events.TracksAuxDyn, key=[TRACKS])
    first = [tracks(i)[0]["z0"] if tracks(i) else None for i in range(ENTRIES)]
    assert found.z0.to_list() == [[first[i] if k % 2 else None for k in range(i % 4)] for i in range(ENTRIES)]


def test_no_column_is_read_that_is_not_touched(atlas: Reader) -> None:
    events = atlas.events(0, ENTRIES)
    atlas.touched = set()
    found = em.follow(events.ElectronsAuxDyn.trackLinks, events.TracksAuxDyn, key=TRACKS)
    assert atlas.touched == {"ElectronsAuxDyn.trackLinks", "TracksAuxDyn.z0"}, "the lengths of one column of the target"
    _ = found.z0.to_list()
    assert atlas.touched == {"ElectronsAuxDyn.trackLinks", "TracksAuxDyn.z0"}
    _ = found.d0.to_list()
    assert atlas.touched == {"ElectronsAuxDyn.trackLinks", "TracksAuxDyn.z0", "TracksAuxDyn.d0"}


def test_chosen_events_and_electrons(atlas: Reader) -> None:
    """Both are cut alike; of the electrons some are taken."""
    events = atlas.events(0, ENTRIES)
    some = events[ak.num(events.ElectronsAuxDyn.pt) > 1]
    electrons = some.ElectronsAuxDyn[some.ElectronsAuxDyn.pt % 2 == 0]
    found = em.follow(electrons.trackLinks, some.TracksAuxDyn, key=TRACKS).z0
    chosen = [i for i in range(ENTRIES) if i % 4 > 1]
    assert found.to_list() == [linked(i, "z0")[::2] for i in chosen]
    assert ak.drop_none(ak.flatten(found, axis=2)).to_list() == [
        [z for links in linked(i, "z0")[::2] for z in links if z is not None] for i in chosen
    ]


def test_links_without_their_key_are_an_error(atlas: Reader) -> None:
    """They may point to any collection: by index alone, whatever is there would be taken."""
    events = atlas.events(0, ENTRIES)
    with pytest.raises(AnalysisError, match=r"m_persKey tells apart: say which is meant, key=...; here are 5, 77"):
        em.follow(events.ElectronsAuxDyn.trackLinks, events.TracksAuxDyn)


# --- podio ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", CUTS)
def test_relations_of_podio_are_followed(podio: Reader, cut: tuple[int, int]) -> None:
    events = podio.events(*cut)
    relations = em.ranges(events._Recos_tracks, events.Recos.tracks_begin, events.Recos.tracks_end)
    assert ak.num(relations, axis=2).to_list() == [list(range(1, i % 4 + 1)) for i in range(*cut)]
    assert em.follow(relations, events.Tracks, key=TRACKS).chi2.to_list() == [related(i) for i in range(*cut)]
    for i, found in zip(range(*cut), em.follow(events._Recos_first, events.Tracks, key=TRACKS).ndf, strict=True):
        assert found.to_list() == [k if k < len(tracks(i)) else None for k in range(i % 4)], "written member by member"


def test_only_what_is_touched_is_read_of_relations(podio: Reader) -> None:
    events = podio.events(0, ENTRIES)
    podio.touched = set()
    relations = em.ranges(events._Recos_tracks, events.Recos.tracks_begin, events.Recos.tracks_end)
    assert "_Recos_tracks.collectionID" not in podio.touched and "Recos.energy" not in podio.touched
    _ = em.follow(relations, events.Tracks, key=TRACKS).chi2.to_list()
    assert "Tracks.ndf" not in podio.touched and "Tracks.chi2" in podio.touched


def test_references_are_columns_of_kernels(podio: Reader, tmp_path: Path) -> None:
    """Split ones by their branches, unsplit ones as members of records."""

    @kernel(found=np.zeros(3))
    def count(found, _Recos_tracks_index, _Recos_tracks_collectionID, _Recos_first_index, _Recos_first_collectionID):  # type: ignore[no-untyped-def]
        for i in range(len(_Recos_tracks_index)):
            if _Recos_tracks_collectionID[i] == 77:
                found[0] += _Recos_tracks_index[i]
        for i in range(len(_Recos_first_index)):
            found[1] += _Recos_first_index[i]
            found[2] += _Recos_first_collectionID[i]

    compiled = CompiledKernel(count, tmp_path)
    for cut in [(0, 9), (9, ENTRIES)]:
        compiled.run(podio.read(list(count.branches), *cut), cut[0])
    every = [(i, k) for i in range(ENTRIES) for k in range(i % 4)]
    expected = [
        sum((i + j + k) % 4 - 1 for i, k in every for j in range(0, k + 1, 2)),
        sum(k for _, k in every),
        77 * len(every),
    ]
    assert compiled.take()[0]["found"].tolist() == expected  # type: ignore[attr-defined]


def test_ranges_that_are_not_within_are_an_error() -> None:
    values = ak.Array([[1, 2], []])
    assert em.ranges(values, ak.Array([[0, 7], []]), ak.Array([[2, 7], []])).to_list() == [[[1, 2], []], []]
    assert em.ranges(values, ak.Array([0, 0]), ak.Array([1, 0])).to_list() == [[1], []]
    for begin, end in [([[0], []], [[3], []]), ([[2], []], [[1], []]), ([[-1], []], [[1], []]), ([[], [0]], [[], [1]])]:
        with pytest.raises(AnalysisError, match=r"a range \[.* is not within the [02] values of its event"):
            em.ranges(values, ak.Array(begin), ak.Array(end))
    with pytest.raises(AnalysisError, match="begin and end are not of the same elements"):
        em.ranges(values, ak.Array([[0], []]), ak.Array([[], [1]]))


# --- plain indices, and what is no link ------------------------------------------------------------------------------


def test_indices_alone() -> None:
    jets = ak.Array([[{"pt": 50}, {"pt": 40}], [], [{"pt": 30}]])
    links = ak.Array([[1, -1, 2], [0], [0]])
    assert em.follow(links, jets).pt.to_list() == [[40, None, None], [None], [30]]
    assert em.follow(ak.Array([0, 0, 0]), jets).pt.to_list() == [50, None, 30]
    assert em.follow(ak.Array([0, None, 0]), jets).pt.to_list() == [50, None, 30]
    assert em.follow(ak.Array([[[]], [], []]), jets).to_list() == [[[]], [], []]
    assert em.follow(ak.Array([[0], [0], [0]])[1:], jets[1:]).pt.to_list() == [[None], [30]], "a slice of both"


def wrong() -> list[tuple[Any, Any, Any, str]]:
    jets = ak.Array([[1, 2], []])
    return [
        (ak.Array([[0]]), jets, None, "are of 1 and 2 events"),
        (ak.Array([[0.5], []]), jets, None, "links are no whole numbers, but of type var"),
        (ak.Array([[0], []]), ak.Array([1, 2]), None, "target is no list for each event, but of type int64"),
        (ak.Array([[{"a": 1}], []]), jets, None, "records with the fields a are no links"),
        (ak.Array([[0], []]), jets, 5, "without the key of a collection"),
    ]


@pytest.mark.parametrize(("links", "target", "key", "words"), wrong())
def test_what_is_no_link_is_an_error(links: ak.Array, target: ak.Array, key: Any, words: str) -> None:
    with pytest.raises(AnalysisError, match=words):
        em.follow(links, target, key=key)


def test_a_file_with_counters() -> None:
    """NanoAOD's collections share a counter: its lists are told by it, and only what is touched is read."""
    reader = Reader(data_path("uproot-HZZ.root"), "events")
    events = reader.events(0, 50)
    index = ak.local_index(events.Muon.Px)
    reader.touched = set()
    found = em.follow(ak.where(index == 1, -1, index), events.Muon)
    assert not reader.touched, "where lists begin is known"
    kept = events.Muon_Py
    assert found.Py.to_list() == [[None if k == 1 else y for k, y in enumerate(each)] for each in kept.to_list()]
    assert reader.touched == {"Muon_Py"}
    reader.close()


def test_podios_collections_are_called_by_name() -> None:
    """The keys are those of the table of names in a file of the Key4hep stack (podio 1.3). A name was taken for a list of
    letters, which no link has: all pointed nowhere.
    """
    keys = {"EventHeader": 3616779153, "MCParticleCollection": 4183352422, "CaloHitContributionCollection": 3470328915}
    links = ak.Array([[{"index": 0, "collectionID": key} for key in keys.values()], []])
    target = ak.Array([[7], []])
    for place, name in enumerate(keys):
        right = [[7 if i == place else None for i in range(3)], []]
        assert em.follow(links, target, key=name).to_list() == right
        assert em.follow(links, target, key=[name, 5]).to_list() == right
    assert em.follow(links, target, key="").to_list() == [[None] * 3, []]


def test_names_where_keys_are_not_of_them_are_told() -> None:
    old = ak.Array([[{"index": 0, "collectionID": 12}]])
    with pytest.raises(AnalysisError, match=r"key='Muons' is a name, and this file, of podio before 0\.17, numbers"):
        em.follow(old, ak.Array([[7]]), key="Muons")
    atlas = ak.Array([[{"m_persIndex": 0, "m_persKey": 12}]])
    with pytest.raises(AnalysisError, match="also of the class of what they point to: give the number"):
        em.follow(atlas, ak.Array([[7]]), key="GSFTrackParticles")
