"""Baskets of TTrees that are written in pieces, and copied into files: what uproot reads of these is what went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.analysis.writes import WriteSpec, write
from eventmill.merge.held_rows import placed, rows_of
from eventmill.merge.nodes import Written
from eventmill.merge.rows import Piece, Span
from eventmill.writing import baskets
from eventmill.writing.baskets import Baskets, BasketWriter, array_of
from eventmill.writing.checksums import checksum, checksum_text
from eventmill.writing.grouping import groups
from eventmill.writing.merging import Joining, join_pieces
from eventmill.writing.pieces import packed, unpacked
from eventmill.writing.places import staging
from eventmill.writing.storage import Folder


def rows(number: int, seed: int, kind: Any = np.float32) -> ak.Array:
    """Events of odd contents: not numbers, lists without anything, all sizes of integers, a collection with a counter."""
    random = np.random.default_rng(seed)
    counts, others = random.poisson(1.0, number), random.poisson(2.0, number)
    x = random.normal(size=number).astype(kind)
    x[::7] = np.nan
    lists = ak.unflatten(random.normal(size=counts.sum()).astype(np.float32), counts)
    return ak.Array(
        {
            "x": x, "run": random.integers(0, 2**63 - 1, number, np.uint64), "good": random.random(number) < 0.5,
            "small": random.integers(-128, 127, number, np.int8), "nMuon": counts.astype(np.uint32), "Muon_pt": lists,
            "Muon_charge": ak.values_astype(ak.where(lists > 0, 1, -1), np.int32),
            "weights": ak.unflatten(random.normal(size=others.sum()), others),
        }
    )  # fmt: skip


def piece(spec: WriteSpec, name: str, spans: list[tuple[int, ak.Array]]) -> tuple[Piece, list[str], list[Any]]:
    """A piece with these rows, each after the entry where they begin: it, their forms, and what is in it."""
    held = [
        node.held.spans[0]
        for start, array in spans
        for node in [
            placed(rows_of(write(array, spec.target)), "", Span(0, "a", "t", start, start + len(array), 0), {})
        ]
    ]
    data, size, of = packed(held, spec)
    path = f"{staging(spec)}/{name}"
    Folder().make(staging(spec))
    Folder().put(path, data)
    forms = [each.array.layout.form.to_json() for each in held]
    return (
        Piece(path, "", sum(map(len, (it for _, it in spans))), size, checksum_text(checksum(data)), of),
        forms,
        unpacked(data)[0],
    )


def joined(spec: WriteSpec, *made: tuple[Piece, list[str], list[Any]]) -> list[ak.Array]:
    """What uproot reads of the files that pieces become."""
    forms = list(dict.fromkeys(form for _, its, _ in made for form in its))
    node = Written(spec, {}, forms, [it for it, _, _ in made])
    found = []
    for group in groups(node):
        (told,) = join_pieces(Joining(spec, forms, group))["files"]
        with uproot.open(told["staged"]) as file:
            tree = file["Events"]
            assert tree.num_entries == told["file"]["rows"] == group.rows
            found.append(tree.arrays())
    return found


def check(found: ak.Array, right: ak.Array) -> None:
    assert set(found.fields) - {"nweights"} == set(right.fields)
    for name in right.fields:
        assert ak.array_equal(found[name], right[name], equal_nan=True, dtype_exact=name != "nMuon"), name
    assert ak.all(found.nweights == ak.num(right.weights))


def spec_of(folder: Path, **options: Any) -> WriteSpec:
    return write({}, folder, format="root", **options).spec


def test_rows_of_two_slots_are_in_one_file_in_the_order_of_the_input(tmp_path: Path) -> None:
    """Spans of two slots that take turns, large and small ones, more than a tree has room for at first."""
    spec = spec_of(tmp_path)
    sizes = [20_000, 19_000, 30, 21_000, 18_500, 7, 9, *[16_000] * 12]
    parts = [rows(size, seed) for seed, size in enumerate(sizes)]
    starts = 10 + 50_000 * np.arange(len(sizes))
    turns = [[(int(start), part) for start, part in zip(starts, parts, strict=True)][slot::2] for slot in (0, 1)]
    made = [piece(spec, str(slot), turn) for slot, turn in enumerate(turns)]
    assert sum(isinstance(it, Baskets) for _, _, contents in made for it in contents) == 16
    (found,) = joined(spec, *made)
    check(found, ak.concatenate(parts))


def test_spans_that_follow_each_other_are_one_basket_of_each_branch(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    parts = [rows(5_000, seed) for seed in range(4)]
    made = piece(spec, "a", [(5_000 * number, part) for number, part in enumerate(parts)])
    assert [type(it) for it in made[2]] == [Baskets]
    check(joined(spec, made)[0], ak.concatenate(parts))


def test_rows_of_other_types_are_made_those_of_the_file(tmp_path: Path) -> None:
    """A packet with 64 bits where others have 32: its file has what holds both."""
    spec = spec_of(tmp_path)
    parts = [rows(20_000, 1), rows(20_000, 2, np.float64), rows(20_000, 3)]
    made = [piece(spec, str(number), [(number * 20_000, part)]) for number, part in enumerate(parts)]
    assert all(isinstance(it, Baskets) for _, _, contents in made for it in contents)
    (found,) = joined(spec, *made)
    check(found, ak.concatenate(parts))
    assert found.x.type.content.primitive == "float64"


def test_full_files_have_whole_spans(tmp_path: Path) -> None:
    parts = [rows(20_000, seed) for seed in range(3)]
    spec = spec_of(tmp_path, size=1.5 * parts[0].nbytes / 1e6)
    found = joined(spec, piece(spec, "a", [(number * 30_000, part) for number, part in enumerate(parts)]))
    assert [len(it) for it in found] == [20_000] * 3
    check(ak.concatenate(found), ak.concatenate(parts))


def test_baskets_are_arrays_again(tmp_path: Path) -> None:
    """Where a basket is to be cut, or to become of another type."""
    spec, array = spec_of(tmp_path), rows(20_000, 5)
    again = array_of(spec, BasketWriter(spec, array[:0]).write(array))
    assert again.type == array.type and ak.array_equal(again, array, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({"text": ["a"] * 20_000}, {}), ({"vector": np.zeros((20_000, 3))}, {}), ({"nweights": np.zeros(20_000, int)}, {}),
        ({"nMuon": np.full(20_000, 9)}, {}), ({}, {"rows": 100}), ({}, {"format": "rntuple"}),
    ],
)  # fmt: skip
def test_what_makes_no_baskets_stays_arrays(tmp_path: Path, change: dict[str, Any], options: dict[str, Any]) -> None:
    """Text, fixed shapes, counters that a tree would write otherwise, and rows that will be cut anywhere."""
    array = rows(20_000, 6)
    for name, column in change.items():
        array = ak.with_field(array, column, name)
    spec = write({}, tmp_path, **{"format": "root", **options}).spec
    assert not BasketWriter.takes(spec, array) and BasketWriter.takes(spec_of(tmp_path), rows(20_000, 6))


def test_another_uproot_is_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Baskets that were one entry out would be other numbers in a sound file: it is noticed, and said of what."""
    baskets.try_out.__wrapped__()
    some = lambda cascade: iter(cascade._branch_data[:1])  # noqa: E731 - as if what is of the others stood elsewhere
    monkeypatch.setattr(baskets, "_data", some)
    with pytest.raises(
        ImportError, match=r"uproot 5\..* keeps the baskets of a TTree in a way that eventmill does not"
    ):
        baskets.try_out.__wrapped__()
