"""What an RNTuple says of itself is read as uproot reads it; bytes from anywhere are an error in words at worst.

That nothing is different for who was told it is also in `test_shared` and, for every RNTuple there is, in `test_all_files`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import awkward as ak
import msgspec
import pytest
import uproot
import xxhash
import zstandard
from eventmill.protocol.errors import DatasetError
from eventmill.reading.reader import Reader
from eventmill.reading.rntuple.envelopes import CHECKSUM, items
from eventmill.reading.rntuple.ntuples import Ntuple, places
from eventmill.reading.shared_layout import SharedLayout, SharedNtuple
from eventmill.reading.ttree.basket_layout import MOST_BYTES
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples

BY_ROOT = Path(__file__).parents[1] / "data" / "rntuples.root"


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader(str(BY_ROOT), "zstd")
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def envelopes(reader: Reader) -> list[bytes]:
    """Header, footer and page lists."""
    return envelopes_of(described(reader))


def described(reader: Reader) -> Ntuple:
    told = SharedLayout.unpacked(Reader(reader.path, reader.tree).news()).description()
    assert isinstance(told, Ntuple)
    return told


def envelopes_of(ntuple: Ntuple) -> list[bytes]:
    found: list[bytes] = msgspec.msgpack.decode(zstandard.decompress(ntuple.packed()))
    return found


def sealed(envelope: bytes) -> bytes:
    """With the checksum that belongs to its content: whoever wants to harm writes that too."""
    content = envelope[:-CHECKSUM]
    return content + xxhash.xxh3_64_intdigest(content).to_bytes(8, "little")


def layout_of(envelopes: list[bytes], reader: Reader) -> bytes:
    packed = zstandard.compress(msgspec.msgpack.encode(envelopes))
    stamp = reader.stored.source.stamp
    assert stamp is not None
    return SharedLayout(reader.tree, reader.identity, stamp, SharedNtuple(packed)).packed()


@pytest.mark.parametrize("codec", ["zstd", "lz4", "none"])
def test_fields_columns_and_clusters_are_those_that_uproot_finds(codec: str) -> None:
    """Some of them were added late, and are in the footer."""
    ntuple = described(Reader(str(BY_ROOT), codec))
    with uproot.open(BY_ROOT) as file:
        theirs = file[codec]
        assert list(ntuple.names.items()) == [(field.name, field.field_id) for field in theirs.fields]
        assert [tuple(record) for record in ntuple.schema.fields] == [
            (
                it.field_name,
                it.type_name,
                it.parent_field_id,
                it.struct_role,
                it.flags,
                it.repetition,
                it.source_field_id,
            )
            for it in theirs.field_records
        ]
        assert [tuple(record) for record in ntuple.schema.columns] == [
            (it.type, it.nbits, it.field_id, it.repr_idx, it.first_element_index) for it in theirs.column_records
        ]
        edges = [cluster.num_first_entry for cluster in theirs.cluster_summaries]
        assert ntuple.lists.edges.tolist() == [*edges, theirs.num_entries] and ntuple.entries == theirs.num_entries


def test_what_travels_comes_out_as_it_went_in(envelopes: list[bytes]) -> None:
    assert envelopes_of(Ntuple.unpacked(Ntuple(*envelopes[:2], envelopes[2:]).packed())) == envelopes


def test_forms_of_records_are_known_without_uproot(tmp_path: Path) -> None:
    """Nor are they read by it: all NanoAOD files have such fields."""
    muons = ak.Array(
        [
            [{"pt": 1.0, "hits": [1, 2], "at": {"x": True}, "name": "a"}],
            [],
            [{"pt": 2.0, "hits": [], "at": {"x": False}, "name": ""}],
        ]
    )
    with uproot.recreate(tmp_path / "records.root") as file:
        file.mkrntuple("Events", {"muons": muons, "first": muons[[0, 2], 0][[0, 1, 1]], "n": ak.num(muons)})
    reader = Reader(str(tmp_path / "records.root"))
    told = Reader(reader.path, layout=reader.news())
    assert not told.columns.is_plain("muons") and not told.columns.is_plain("first")
    events = told.events(0, 3)
    assert events.fields == list(reader.names) and "directory" not in vars(told.stored)
    for name in events.fields:
        assert ak.array_equal(ak.materialize(events[name]), reader.names[name].array()), name
    assert "directory" not in vars(told.stored)


@pytest.mark.parametrize(
    ("number", "at", "words"),
    [
        (0, 0, "there is no header"),
        (1, 0, "there is no footer"),
        (2, 0, "there is no page list"),
        (0, 99, "the checksum of a header is wrong"),
        (1, 99, "the checksum of a footer is wrong"),
        (2, 99, "the checksum of a page list is wrong"),
    ],
)
def test_damage_is_named(envelopes: list[bytes], number: int, at: int, words: str) -> None:
    spoilt = list(envelopes)
    spoilt[number] = spoilt[number][:at] + bytes([spoilt[number][at] ^ 4]) + spoilt[number][at + 1 :]
    with pytest.raises(ValueError, match=words):
        Ntuple(*spoilt[:2], spoilt[2:])


def test_parts_of_several_rntuples_make_none(envelopes: list[bytes]) -> None:
    other = envelopes_of(described(Reader(str(BY_ROOT), "lz4")))
    assert len(places(envelopes[1])) == len(envelopes) - 2 > 1
    for header, footer, lists in [
        (envelopes[0][:-9] + b"." + envelopes[0][-8:], envelopes[1], envelopes[2:]),
        (sealed(envelopes[0][:-9] + b"." + envelopes[0][-8:]), envelopes[1], envelopes[2:]),
        (envelopes[0], envelopes[1], envelopes[3:]),
        (envelopes[0], other[2], envelopes[2:]),
    ]:
        with pytest.raises(ValueError, match=r"checksum|not that of|there is no footer"):
            Ntuple(header, footer, lists)


def test_a_list_that_says_it_is_endless_costs_neither_time_nor_memory() -> None:
    """Frames of no size at all: four billion of them would fit anywhere."""
    frame = (-12).to_bytes(8, "little", signed=True) + (2**32 - 1).to_bytes(4, "little")
    with pytest.raises(ValueError, match="shorter than what says so"):
        items(frame + bytes(16), 0)


def test_a_field_of_a_thousand_storeys_is_left_to_uproot(reader: Reader, envelopes: list[bytes]) -> None:
    told = described(reader)
    lists = next(record for record in told.schema.fields if record.role == 1)
    tower = [lists._replace(name="tower", parent=max(0, number - 1)) for number in range(1000)]
    column = told.schema.columns[0]
    schema = type(told.schema)(tower, [column._replace(type=0x0F, bits=64, field=number) for number in range(1000)])
    assert schema.field("tower") is None and schema.form("tower") is None


def test_what_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        Ntuple.unpacked(zstandard.compress(bytes(MOST_BYTES + 1)))


def test_an_rntuple_that_is_too_large_to_travel_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventmill.reading.rntuple.ntuples.MOST_BYTES", 1000)
    assert Reader(str(BY_ROOT), "zstd").news() == b""


@examples(15)
@given(data=st.data())
def test_bytes_from_anywhere_do_no_harm(reader: Reader, envelopes: list[bytes], data: st.DataObject) -> None:
    """Changed on purpose, checksums included: the file is opened as if nobody had said anything, or what is read of it is an
    error in words or other numbers, but nothing else happens."""
    changed = list(envelopes)
    for number in data.draw(st.sets(st.integers(0, len(changed) - 1), min_size=1)):
        content = bytearray(changed[number])
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        changed[number] = sealed(bytes(content[: data.draw(st.sampled_from([len(content)] * 5 + [len(content) // 2]))]))
    changed[1] = sealed(changed[1][:16] + changed[0][-CHECKSUM:] + changed[1][24:])
    told = Reader(reader.path, reader.tree, layout=layout_of(changed, reader))
    try:
        first, stop = told.entries // 3, min(told.entries, told.entries // 3 + 10)
        for name in told.names:
            with suppress(DatasetError):
                told.read([name], first, stop)
        with suppress(DatasetError):
            told.types(told.names)
    finally:
        told.close()


@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_rntuple_are_refused(data: bytes) -> None:
    for tried in (data, zstandard.compress(data), zstandard.compress(msgspec.msgpack.encode([data, data, data]))):
        with pytest.raises(ValueError, match=r"."):
            Ntuple.unpacked(tried)
