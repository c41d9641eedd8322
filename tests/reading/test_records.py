"""Records in RNTuples: their members are columns of their own, read without the others; the values are those of ROOT 6.40.

`data/write_records.py` has written the file, and printed what ROOT's RDataFrame reads of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill import kernel
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Flat, Jagged
from eventmill.reading.lazy_events import layout_of
from eventmill.reading.reader import Reader
from eventmill.reading.view import View
from eventmill.worker.kernels.compile import CompiledKernel

RECORDS = str(Path(__file__).parents[1] / "data" / "records.root")
ENTRIES, CLUSTER = 100, 30
BY_ROOT = {
    "Particles.PDG": (114, 96532.0),
    "Particles.cov": (342, 65766.7451171875),
    "Particles.ends.x": (228, 41735.90625),
    "Particles.ends.y": (228, 43918.0576171875),
    "Particles.ends.z": (228, 44834.4404296875),
    "Particles.energy": (114, 21671.8388671875),
    "Particles.good": (114, 192.0),
    "Particles.hits.cells": (132, -984320.0),
    "Particles.hits.energy": (133, 27905.55078125),
    "Particles.links_begin": (114, 287.0),
    "Particles.links_end": (114, 714.0),
    "Particles.mass": (114, 22087.3662109375),
    "Particles.momentum.x": (114, 19288.0703125),
    "Particles.momentum.y": (114, 21518.5810546875),
    "Particles.momentum.z": (114, 23797.9140625),
    "Particles.name": (114, 624),
    "Particles.weights": (107, 21025.109375),
    "_Particles_links.collectionID": (114, 957790603185.0),
    "_Particles_links.index": (114, 10964.0),
    "derived.:_0.e": (112, 23104.041015625),
    "derived.q": (112, 461.0),
    "fixed.x": (200, 37797.44140625),
    "fixed.y": (200, 35782.265625),
    "fixed.z": (200, 35207.7822265625),
    "header.beam.x": (100, 20125.9697265625),
    "header.beam.y": (100, 19741.7861328125),
    "header.beam.z": (100, 19265.2119140625),
    "header.number": (100, 782446166376.0),
    "header.points.x": (94, 16970.8447265625),
    "header.points.y": (94, 18252.630859375),
    "header.points.z": (94, 19299.90625),
    "header.tag": (100, 626),
    "header.weight": (100, 18754.158203125),
    "header_weight": (100, 16327.35546875),
    "jets.x": (61, 12208.7294921875),
    "jets.y": (61, 10373.3798828125),
    "jets.z": (61, 11427.826171875),
}
"""Of each column, how many numbers it has (texts: their lengths), and the sum of each times its place modulo 7, from 1."""
CUTS = [(0, 0), (29, 31), (33, 34), (7, 95), (100, 100)]


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader(RECORDS, "events")
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def by_uproot() -> Iterator[dict[str, ak.Array]]:
    with uproot.open(RECORDS) as file:
        yield {name: field.array() for name, field in file["events"].items()}


def ours(name: str) -> str:
    """ROOT's name of a member without the part of a class in which it is inherited."""
    return name.replace(".:_0", "")


def member(events: ak.Array, name: str) -> ak.Array:
    for part in name.split("."):
        events = events[part]
    return events


def summed(array: ak.Array) -> tuple[int, float]:
    if "string" in str(array.type):
        array = ak.Array([len(text) for text in ak.flatten(array, axis=None)])
    values = ak.to_numpy(ak.flatten(array, axis=None)).astype(np.float64)
    return len(values), float((values * (np.arange(len(values)) % 7 + 1)).sum())


@pytest.mark.parametrize("name", BY_ROOT)
def test_members_have_the_values_that_root_reads(reader: Reader, name: str) -> None:
    """By a columnar function in chunks that are not the clusters, and for a kernel."""
    edges = [*range(0, ENTRIES, 17), ENTRIES]
    chunks = [member(reader.events(*cut), ours(name)) for cut in itertools.pairwise(edges)]
    assert summed(ak.concatenate(chunks)) == BY_ROOT[name]
    assert summed(ak.Array(layout_of(reader.read([ours(name)], 0, ENTRIES)[ours(name)]))) == BY_ROOT[name]


def test_all_cuts_give_what_uproot_gives(reader: Reader, by_uproot: dict[str, ak.Array]) -> None:
    """Records too, with the types of all that is in them."""
    for name, expected in by_uproot.items():
        for start, stop in CUTS:
            found = member(reader.events(start, stop), name)
            assert str(found.type) == str(expected[start:stop].type), name
            assert found.to_list() == expected[start:stop].to_list(), (name, start, stop)


def test_kernels_name_members(reader: Reader, by_uproot: dict[str, ak.Array]) -> None:
    """With underscores, whatever lies around them: lists, records, arrays of fixed size, what classes inherit."""
    for name in map(ours, BY_ROOT):
        short = name.replace(".", "_")
        if short in reader.names and "." in name and short != "header_weight":
            for start, stop in CUTS:
                column = reader.read([short], start, stop)[short]
                assert ak.Array(layout_of(column)).to_list() == by_uproot[name][start:stop].to_list(), short
            assert reader.types([short]) == {short: str(by_uproot[name].type).split(" * ", 1)[1]}


def test_a_kernel_over_members(reader: Reader, tmp_path: Path, by_uproot: dict[str, ak.Array]) -> None:
    @kernel(found=np.zeros(3))
    def count(found, Particles_energy, Particles_momentum_x, Particles_hits_energy, header_beam_x):  # type: ignore[no-untyped-def]
        for i in range(len(Particles_energy)):
            if Particles_energy[i] > 50:
                found[0] += Particles_momentum_x[i]
                found[1] += len(Particles_hits_energy[i])
        found[2] += header_beam_x

    compiled = CompiledKernel(count, tmp_path)
    for cut in [(0, 45), (45, 100)]:
        compiled.run(reader.read(list(count.branches), *cut), cut[0])
    good = by_uproot["Particles.energy"] > 50
    expected = [
        ak.sum(ak.values_astype(by_uproot["Particles.momentum.x"][good], np.float64)),
        ak.sum(ak.num(by_uproot["Particles.hits.energy"], axis=2)[good]),
        np.sum(by_uproot["header.beam.x"].to_numpy().astype(np.float64)),
    ]
    assert compiled.take()[0]["found"].tolist() == expected  # type: ignore[attr-defined]


def test_a_column_of_a_members_short_name_is_itself(reader: Reader, by_uproot: dict[str, ak.Array]) -> None:
    assert (
        reader.read(["header_weight"], 0, 9)["header_weight"].values.tolist()
        == by_uproot["header_weight"][:9].to_list()
    )  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("analysis", "columns"),
    [
        (lambda e: e.Particles.energy, {"Particles.#", "Particles.energy"}),
        (lambda e: ak.num(e.Particles), {"Particles.#"}),
        (
            lambda e: e.Particles[e.Particles.energy > 50].momentum.x,
            {"Particles.#", "Particles.energy", "Particles.momentum.x"},
        ),
        (lambda e: e[ak.num(e.Particles) > 1].Particles.PDG, {"Particles.#", "Particles.PDG"}),
        (
            lambda e: e.Particles[:, :1].hits.energy,
            {"Particles.#", "Particles.hits.#", "Particles.hits.energy"},
        ),
        (lambda e: ak.flatten(e.Particles).mass, {"Particles.#", "Particles.mass"}),
        (
            lambda e: ak.cartesian({"a": e.Particles, "b": e._Particles_links}).b.index,
            {"Particles.#", "_Particles_links.#", "_Particles_links.index"},
        ),
        (lambda e: ak.num(e.jets, axis=2), {"jets.#"}),
        (lambda e: e.fixed.x, {"fixed.x"}),
        (lambda e: e.derived.e, {"derived.#", "derived.e"}),
    ],
)
def test_columnar_functions_read_what_they_touch(
    reader: Reader, by_uproot: dict[str, ak.Array], analysis: Callable[[Any], ak.Array], columns: set[str]
) -> None:
    tops = {name: by_uproot[name] for name in by_uproot if "." not in name}
    found = analysis(reader.events(10, 70))
    assert found.to_list() == analysis(ak.Array(tops)[10:70]).to_list()
    assert reader.touched == columns


def test_the_bytes_read_are_those_of_one_member_and_the_offsets(tmp_path: Path) -> None:
    """Of 29 members, as EDM4hep's reconstructed particles have; all of them were read for one."""
    random, lengths = np.random.default_rng(1), np.full(2000, 10)
    members = {f"member{i}": ak.unflatten(random.random(20_000), lengths) for i in range(29)}
    with uproot.recreate(tmp_path / "wide.root") as file:
        file.mkrntuple("events", {"Particles": ak.zip(members)})
    for touch in (
        lambda reader: reader.events(0, 2000).Particles.member7,
        lambda reader: ak.Array(layout_of(reader.read(["Particles_member7"], 0, 2000)["Particles_member7"])),
    ):
        reader = Reader(str(tmp_path / "wide.root"))
        before = reader.bytes_read
        assert touch(reader).to_list() == members["member7"].to_list()
        assert 150_000 < reader.bytes_read - before < 190_000  # 20,000 numbers of 8 bytes, 2,000 offsets
        reader.close()


def test_lengths_of_lists_of_records(reader: Reader, by_uproot: dict[str, ak.Array]) -> None:
    """What all members share; of lists in lists, those of the inner ones in the outer ones."""
    for start, stop in CUTS:
        columns = reader.read(["Particles.#", "Particles.hits.#", "jets.#"], start, stop)
        for name, axis in [("Particles", 1), ("Particles.hits", 2), ("jets", 2)]:
            expected = ak.num(by_uproot[name], axis=axis)[start:stop]
            assert ak.Array(layout_of(columns[f"{name}.#"])).to_list() == expected.to_list()
    assert isinstance(columns["Particles.#"], Flat) and isinstance(columns["jets.#"], Jagged)


def test_what_is_no_member_is_refused(reader: Reader) -> None:
    for name in (
        "Particles.no",
        "Particles_no",
        "Particles.",
        "Particles",
        "Particles.momentum",
        "header.#",
        "maybe.x",
    ):
        with pytest.raises(DatasetError, match=r"has no branch|cannot be used in a kernel"):
            reader.read([name], 0, 10)


def test_friends_and_aliases_know_members(by_uproot: dict[str, ak.Array]) -> None:
    view = View(
        Reader(RECORDS, "events"),
        {"other": Reader(RECORDS, "events")},
        SharedInputs(aliases={"Particles_e": "Particles.energy * 2", "Particles_mass": "Particles.mass + 1"}),
    )
    events, energy = view.events(20, 70), by_uproot["Particles.energy"][20:70]
    assert events.other.Particles.energy.to_list() == events.Particles.energy.to_list() == energy.to_list()
    assert events.Particles_e.to_list() == (energy * 2).to_list()
    columns = view.read(["other_Particles_energy", "Particles_energy", "Particles_mass"], 20, 70)
    for name in ("other_Particles_energy", "Particles_energy"):
        assert name in view.names and ak.Array(layout_of(columns[name])).to_list() == energy.to_list()
    mass = ak.Array(layout_of(columns["Particles_mass"]))
    assert mass.to_list() == (by_uproot["Particles.mass"][20:70] + 1).to_list()


def test_slots_that_were_told_the_layout_read_members_without_uproot(by_uproot: dict[str, ak.Array]) -> None:
    told = Reader(RECORDS, "events", layout=Reader(RECORDS, "events").news())
    found = told.events(0, ENTRIES)._Particles_links.index
    assert found.to_list() == by_uproot["_Particles_links.index"].to_list()
    told.read(["Particles_energy", "Particles_weights"], 10, 20)
