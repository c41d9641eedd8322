"""Records in branches that are not split: objects, collections of them and maps, by members or by elements.

`data/write_unsplit.py` has written the file with ROOT; what is in it is known by its formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill import kernel
from eventmill.protocol.errors import DatasetError
from eventmill.reading.awkward_forms import type_text
from eventmill.reading.lazy_events import layout_of
from eventmill.reading.reader import Reader
from eventmill.reading.ttree import record_decoding
from eventmill.reading.ttree.record_branches import AsRecords, programs_of
from eventmill.reading.ttree.record_decoding import OtherVersionError, decoded
from eventmill.worker.kernels.compile import CompiledKernel
from hypothesis import given, settings
from hypothesis import strategies as st
from skhep_testdata import data_path

FILE = str(Path(__file__).parents[1] / "data" / "unsplit.root")
ENTRIES = 25
TREES = ("by_members", "by_elements")


# --- what was written -------------------------------------------------------------------------------------------------


def link(key: int, index: int) -> dict[str, int]:
    return {"key": key, "index": index}


def lorentz(x: float, y: float, z: float, e: float) -> dict[str, Any]:
    return {"fP": {"fX": x, "fY": y, "fZ": z}, "fE": e}


def particle(i: int, k: int) -> dict[str, Any]:
    names = "x" * 300 if (i, k) == (3, 0) else "n" * (k % 3) + str(i)
    return {
        "id": 100 * i + k,
        "depth": 0.5 * k,
        "name": names,
        "title": "t" if i % 5 else "",
        "weights": [i + 0.25 * j for j in range((i + k) % 3)],
        "links": [link(i, j) for j in range((i + k) % 3)],
        "cells": [[i] * j for j in range(k % 3)],
        "parents": [(10 + j, link(k, j)) for j in range(i % 2)],
        "link": link(i, k),
        "ends": [link(1 + i, 2), link(3, 4 + k)],
        "cov": [i + 0.125 * j for j in range(3)],
        "momentum": {"fX": i, "fY": k, "fZ": i + k},
        "mass": float(np.float32(i + 0.1)),
        "good": i % 2 == 1,
        "n": k % 3,
        "numbers": [1000.0 * i + j for j in range(k % 3)],
        "pair": {"first": i, "second": 0.5 * k},
        "kind": k % 2,
    }


WRITTEN: dict[str, Callable[[int, int], Any]] = {
    "lorentz": lambda i, k: lorentz(i, 2 * k, 3, 100 + i),
    "nested": lambda i, k: [lorentz(i, 2 * k, 3 * j, 4) for j in range(k)],
    "xyzt": lambda i, k: {"fCoordinates": {"fX": i, "fY": 2 * k, "fZ": 3, "fT": 100 + i}},
    "outer": lambda i, k: {"link": link(i, k), "x": k},
    "particles": particle,
    "links": lambda _, k: [link(k, j) for j in range(k)],
    "pairs": lambda i, k: {"first": i, "second": 0.5 * k},
    "list": link,
    "deque": lambda i, k: link(k, i),
    "tagged": lambda i, k: {"tag": 10 * i + k},
    "weights": lambda i, k: ("w" * k + "0", i + 0.5 * k),
    "hits": lambda i, k: (10 * k, [0.5 * i] * k),
    "linked": lambda i, k: (k, [link(i, k)] * k),
    "named": lambda i, k: (f"n{k}", link(i, k)),
    "multi": lambda i, k: (i, k),
    "unordered": lambda i, k: (k, i),
    "deep": lambda i, k: (k, [(i, 0.5)]),
    "maps": lambda i, k: [(i, 0.5 * k)],
    "split.links": lambda i, k: particle(i, k)["links"],
    "split.parents": lambda i, k: particle(i, k)["parents"],
    "split.ends[2]": lambda i, k: particle(i, k)["ends"],
    "split.momentum": lambda i, k: particle(i, k)["momentum"],
}


def entry(name: str, i: int) -> Any:
    found = [WRITTEN[name](i, k) for k in range(i % 4)]
    return sorted(found) if name == "unordered" else found


def shown(name: str, array: ak.Array) -> list[Any]:
    """What was read, without the members that are stored with few bits, which have a test of their own."""
    if name == "particles":
        array = array[[field for field in array.fields if field not in ("eta", "half")]]
    return [sorted(each) if name == "unordered" else each for each in array.to_list()]


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, Reader]]:
    readers = {tree: Reader(FILE, tree) for tree in TREES}
    yield readers
    for reader in readers.values():
        reader.close()


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITTEN)
def test_values_are_those_that_were_written(readers: dict[str, Reader], name: str) -> None:
    """Member by member uproot refused them; nested, or in maps, it went wrong element by element, too."""
    for reader in readers.values():
        array = reader.array(name, 0, ENTRIES)
        assert shown(name, array) == [entry(name, i) for i in range(ENTRIES)]
        assert reader.types([name])[name] == type_text(array.layout.form)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(WRITTEN)), st.tuples(*2 * [st.integers(0, ENTRIES)]).map(sorted))
def test_any_cut_has_its_entries(readers: dict[str, Reader], name: str, span: list[int]) -> None:
    written = [entry(name, i) for i in range(*span)]
    for reader in readers.values():
        assert shown(name, reader.array(name, *span)) == written
        assert shown(name, reader.events(*span)[name]) == written


def test_an_object_by_itself(readers: dict[str, Reader]) -> None:
    """Without a header of its own; its base classes have one each."""
    for reader in readers.values():
        array = reader.array("one", 0, ENTRIES)
        assert array.fields[:4] == ["id", "depth", "name", "title"], "members of base classes come first"
        assert shown("particles", array) == [particle(i, i % 4) for i in range(ENTRIES)]


def test_members_of_few_bits(readers: dict[str, Reader]) -> None:
    for reader in readers.values():
        objects = reader.array("particles", 0, ENTRIES)
        for member in ("eta", "half"):
            assert objects[member].to_list() == reader.array(f"split.{member}", 0, ENTRIES).to_list()
        assert ak.flatten(objects.eta).to_numpy() == pytest.approx(
            [-4 + 0.5 * k for i in range(ENTRIES) for k in range(i % 4)], abs=2e-4
        )


def test_records_have_the_names_that_uproot_gives(readers: dict[str, Reader]) -> None:
    """So that behaviours of `vector` and coffea that are made for uproot's arrays serve these."""
    with uproot.open(FILE) as file:
        theirs = file["by_elements/lorentz"].array()
    ours = readers["by_members"].array("lorentz", 0, ENTRIES)
    assert ours.to_list() == theirs.to_list() and str(ours.type) == str(theirs.type)


def test_objects_that_are_referred_to_are_as_long_as_they_are(readers: dict[str, Reader]) -> None:
    """A referenced object has two bytes more: uproot read numbers of others behind it."""
    with uproot.open(FILE) as file, pytest.raises(ValueError, match="bytes"):
        file["by_elements/tagged"].array()
    assert readers["by_elements"].array("tagged", 0, ENTRIES).tag[3].to_list() == [30, 31, 32]


def test_bits_of_split_objects_are_those_of_the_objects(readers: dict[str, Reader]) -> None:
    """The second of each event is referred to."""
    for reader in readers.values():
        for start, stop in [(0, ENTRIES), (6, 8), (9, 9)]:
            for bits in (reader.array("splittagged.fBits", start, stop), reader.events(start, stop).splittagged.fBits):
                referred = [[k == 1 for k in range(i % 4)] for i in range(start, stop)]
                assert ((bits & 0x10) > 0).to_list() == referred


def test_a_class_without_a_version_has_its_checksum_first() -> None:
    """uproot took it for the first member of a KM3NeT time slice, and the second one's bytes for the next."""
    reader = Reader(data_path("uproot-issue433-splitlevel2.root"), "KM3NET_TIMESLICE_L0")
    starts = reader.array("timeslice_start", 0, 3)
    assert starts.UTC_seconds.to_list() == [1561916699, 1561916700, 1561916701], "in 2019, a second apart"
    assert starts.UTC_16nanosecondcycles.to_list() == [31250000] * 3
    reader.close()


def test_collections_that_uproot_refuses_in_real_files() -> None:
    """DUNE's simulation: members of split collections, member by member, and a map that uproot asks for gigabytes for."""
    reader = Reader(data_path("uproot-issue510b.root"), "EDepSimEvents")
    events = reader.events(0, reader.entries)
    particles = events["Primaries.Particles"]
    momentum = particles.Momentum
    squared = momentum.fE**2 - momentum.fP.fX**2 - momentum.fP.fY**2 - momentum.fP.fZ**2
    for name, code, mass in (("mu-", 13, 105.66), ("proton", 2212, 938.27), ("pi0", 111, 134.98), ("nu_mu", 14, 0)):
        those = particles.Name == name
        assert ak.all(particles.PDGCode[those] == code, axis=None) and ak.any(those, axis=None)
        masses = np.sqrt(np.maximum(ak.flatten(squared[those], axis=None).to_numpy(), 0))
        assert masses == pytest.approx(mass, abs=0.01), "in MeV"
    hits = events.SegmentDetectors
    assert set(ak.flatten(hits["0"]).to_list()) == {"ArgonCube"}
    assert ak.all(hits["1"].EnergyDeposit >= 0, axis=None) and ak.all(hits["1"].TrackLength >= 0, axis=None)
    reader.close()


def test_what_has_pointers_is_refused_in_words(readers: dict[str, Reader]) -> None:
    with pytest.raises(DatasetError, match=r"branch holders: .*it is of type vector<Holder>"):
        readers["by_members"].array("holders", 0, ENTRIES)


# --- members in kernels -----------------------------------------------------------------------------------------------

MEMBERS: dict[str, Callable[[Any], Any]] = {
    "lorentz_fE": lambda it: it["fE"],
    "lorentz.fP.fX": lambda it: it["fP"]["fX"],
    "nested_fP_fZ": lambda it: [each["fP"]["fZ"] for each in it],
    "particles_id": lambda it: it["id"],
    "particles_ends_index": lambda it: [each["index"] for each in it["ends"]],
    "particles_numbers": lambda it: it["numbers"],
    "particles_parents_1_key": lambda it: [each["key"] for _, each in it["parents"]],
    "weights_0": lambda it: it[0],
    "hits_1": lambda it: it[1],
    "linked_1_index": lambda it: [each["index"] for each in it[1]],
}


@pytest.mark.parametrize("name", MEMBERS)
def test_members_are_columns(readers: dict[str, Reader], name: str) -> None:
    """By the names that members of records in RNTuples have; also where the layout comes from another slot."""
    branch = name.replace(".", "_").partition("_")[0]
    written = [[MEMBERS[name](it) for it in entry(branch, i)] for i in range(ENTRIES)]
    told = Reader(FILE, "by_members", layout=Reader(FILE, "by_members").news())
    for reader in (*readers.values(), told):
        for start, stop in [(0, ENTRIES), (6, 8), (3, 3), (20, ENTRIES)]:
            array = ak.Array(layout_of(reader.read([name], start, stop)[name]))
            assert array.to_list() == written[start:stop]
            assert reader.types([name]) == {name: str(reader.array(name, start, stop).type).split(" * ", 1)[1]}
    told.close()


def test_a_kernel_over_members(readers: dict[str, Reader], tmp_path: Path) -> None:
    @kernel(found=np.zeros(2))
    def count(found, lorentz_fE, lorentz_fP_fX, hits_1):  # type: ignore[no-untyped-def]
        for i in range(len(lorentz_fE)):
            found[0] += lorentz_fE[i] - lorentz_fP_fX[i]
        for i in range(len(hits_1)):
            found[1] += len(hits_1[i])

    compiled = CompiledKernel(count, tmp_path)
    for cut in [(0, 11), (11, ENTRIES)]:
        compiled.run(readers["by_members"].read(list(count.branches), *cut), cut[0])
    expected = [100 * sum(i % 4 for i in range(ENTRIES)), sum(k for i in range(ENTRIES) for k in range(i % 4))]
    assert compiled.take()[0]["found"].tolist() == expected  # type: ignore[attr-defined]


def test_what_is_no_member_is_no_column(readers: dict[str, Reader]) -> None:
    for name in ("lorentz_fQ", "lorentz_fP_fX_y", "lorentz_", "split_id_x"):
        with pytest.raises(DatasetError, match=f"has no branch {name}"):
            readers["by_members"].read([name], 0, 1)
        assert name not in readers["by_members"].names
    assert "lorentz_fE" in readers["by_members"].names and "lorentz_fE" not in list(readers["by_members"].names)


def test_branches_of_one_class_share_what_is_known_of_it() -> None:
    """BDSIM's files have 1,148 samplers of one class: told of each anew, opening took six times as long."""
    reader = Reader(data_path("uproot-issue371.root"), "Event")
    first, second = (programs_of(reader.names[f"DRIFT_{k}."]) for k in (0, 1))
    assert first and first is second
    reader.close()


# --- damage -----------------------------------------------------------------------------------------------------------


def test_any_damaged_byte_is_an_error_or_another_value(readers: dict[str, Reader]) -> None:
    """Never a crash, never a hang, never gigabytes: each byte of some entries is changed, and they are cut."""
    branch = readers["by_members"].names["particles"]
    (program,) = programs_of(branch)
    basket = branch.basket(0)
    begins = np.asarray(basket.byte_offsets[1:4], np.int64)
    data = np.array(basket.data[begins[0] : begins[-1]])
    begins -= begins[0]
    whole = ak.Array(decoded(program, data, begins)).to_list()
    refused = 0
    for at in range(len(data)):
        changed = data.copy()
        changed[at] ^= (0x01, 0x40, 0xFF)[at % 3]
        try:
            found = ak.Array(decoded(program, changed, begins))
            assert len(found) == len(whole) and (at % 20 or ak.is_valid(found))
        except (ValueError, OtherVersionError):
            refused += 1
    assert refused > len(data) // 4
    for size in range(0, len(data), 7):
        with pytest.raises(ValueError, match=r"as long as|within"):
            decoded(program, data[:size], np.minimum(begins, size))


def test_without_room_for_all_that_could_be_it_is_counted_first(
    readers: dict[str, Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_decoding, "_ROOM", 0)
    for name in ("particles", "split.links", "weights"):
        array = Reader(FILE, "by_members").array(name, 0, ENTRIES)
        assert shown(name, array) == [entry(name, i) for i in range(ENTRIES)]


def test_entries_without_a_byte_are_empty_lists(readers: dict[str, Reader]) -> None:
    (program,) = programs_of(readers["by_members"].names["split.links"])
    assert decoded(program, np.zeros(0, np.uint8), np.zeros(1001, np.int64)).to_list() == [[]] * 1000


def test_bytes_of_another_version_are_refused(readers: dict[str, Reader]) -> None:
    branch = readers["by_members"].names["outer"]
    (program,) = programs_of(branch)
    basket = branch.basket(0)
    data = np.array(basket.data[: basket.byte_offsets[-1]])
    data[basket.byte_offsets[1] + 8] ^= 1  # the checksum of the class
    with pytest.raises(OtherVersionError, match="another version of their class than the file describes"):
        decoded(program, data, basket.byte_offsets)
    assert isinstance(branch.interpretation, AsRecords)
