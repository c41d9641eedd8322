"""Damaged and crafted files in the whole system: the value is right, or an error says in words what is wrong."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from damage import damaged
from eventmill.protocol.errors import EventmillError
from eventmill.reading.reader import Reader
from processes import SECONDS

DATA = Path(__file__).parents[1] / "data"


COLUMNS = ("i8", "f8", "split64", "pt", "nested", "text", "vectors", "matrix", "option")


def values(events: ak.Array) -> dict[str, ak.Array]:
    """Some columns, as they are."""
    return {name: ak.Array(events[name]) for name in COLUMNS}


@dataclass(frozen=True)
class Column:
    """Adds up numbers, or the lengths of texts."""

    name: str

    def __call__(self, events: ak.Array) -> float:
        found = events[self.name]
        return float(ak.sum(found if self.name == "number" else ak.num(found)))


def shown(result: em.Result) -> dict[str, str]:
    return {name: repr(result[name].to_list()) for name in COLUMNS}


@pytest.mark.parametrize("copies", [8, pytest.param(1_000, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])])
def test_damaged_ntuples_give_their_values_or_an_error_in_words(
    session: em.Session, tmp_path: Path, copies: int
) -> None:
    """As ROOT writes them, all of them is under checksums: whatever a copy gives, it is what the file has."""
    file = DATA / "rntuples.root"
    content, tree = file.read_bytes(), "zstd"
    right = session.process(em.Dataset(str(file), tree=tree), values).result(SECONDS)
    given, refused = 0, 0
    copy = tmp_path / "copy.root"
    for seed in range(copies):
        copy.unlink(missing_ok=True)
        copy.write_bytes(damaged(content, seed, resealed=False))
        try:
            result = session.process(em.Dataset(str(copy), tree=tree), values).result(SECONDS)
        except EventmillError as error:
            refused += "copy.root" in str(error)
        else:
            assert (shown(result), result.account.processed) == (shown(right), right.account.processed), seed
            assert not result.account.notes, "no slot went down"
            given += 1
    assert given and refused and given + refused == copies


OTHERS = [pytest.param(codec, marks=pytest.mark.long("as that of ZLIB")) for codec in (uproot.LZMA(1), uproot.LZ4(9))]


@pytest.mark.parametrize("codec", [uproot.ZLIB(9), uproot.ZSTD(9), *OTHERS], ids=lambda it: it.name)
def test_a_bomb_is_refused_in_words(
    session: em.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: Any
) -> None:
    """Blocks that hold many times as much as their headers say: of numbers and of texts, which uproot reads, in trees
    and RNTuples. What honestly is as small as that is read."""
    compress, names = uproot.compression.compress, ["number", "text"]

    def crafted(data: Any, compression: Any) -> Any:
        if not any(
            sign in bytes(data) for sign in (b"muon" * 100, np.full(100, 1.5).tobytes(), b"\x3f\xf8" + bytes(6))
        ):
            return compress(data, compression)
        block = bytearray(compress(bytes(16 * len(data)), compression))
        block[6:9] = len(data).to_bytes(3, "little")
        return bytes(block)

    events = {"number": np.full(1000, 1.5), "text": ["muon" * 100] * 1000}
    for kind in ("honest", "crafted"):
        with uproot.recreate(tmp_path / f"{kind}.root", compression=codec) as file:
            monkeypatch.setattr(uproot.compression, "compress", compress if kind == "honest" else crafted)
            file.mktree("tree", {"number": "f8", "text": "string"}).extend(events)
            file.mkrntuple("ntuple", events)
        monkeypatch.undo()
    for tree in ("tree", "ntuple"):
        for name in names:
            right = session.process(em.Dataset(f"{tmp_path}/honest.root", tree=tree), Column(name)).result(SECONDS)
            assert right.value == (1500.0 if name == "number" else 400_000)
            with pytest.raises(em.errors.DatasetError, match=r"crafted\.root .*(damaged|holds|frame of)"):
                session.process(em.Dataset(f"{tmp_path}/crafted.root", tree=tree), Column(name)).result(SECONDS)


def test_a_basket_of_many_blocks_is_exact_and_there_once(session: em.Session, tmp_path: Path) -> None:
    """Of 40 MB, written by one call; so may be one of 800 MB in 141 KB, which took 2 GB."""
    path = str(tmp_path / "large.root")
    numbers = np.repeat(np.arange(5_000.0), 1000)
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        file.mktree("Events", {"x": "f8"}).extend({"x": numbers})

    def total(events: ak.Array) -> float:
        return float(np.sum(np.asarray(events.x)))

    reader = Reader(path, "Events")
    tracemalloc.start()
    try:
        assert np.array_equal(reader.read(["x"], 0, len(numbers))["x"].values, numbers)
        assert tracemalloc.get_traced_memory()[1] < 1.6 * numbers.nbytes
    finally:
        tracemalloc.stop()
        reader.close()
    result = session.process(path, total).result(SECONDS)
    assert result.value == numbers.sum() and result.account.processed == len(numbers)
