"""Rows on their way from events to files: taken of what was read, put into pieces, cut out of these, written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from eventmill.analysis.writes import write
from eventmill.merge.held_rows import rows_of
from eventmill.merge.rows import HeldSpan, Span
from eventmill.reading.reader import Reader
from eventmill.writing import pieces
from eventmill.writing.formats import write as write_file
from skhep_testdata import data_path


def read(path: Path) -> ak.Array:
    reader = Reader(str(path))
    events = ak.materialize(reader.events(0, reader.entries))
    reader.close()
    return events


def held(array: ak.Array, start: int) -> HeldSpan:
    return HeldSpan("", Span(0, "a", "t", start, start + 100, len(array)), array, int(array.nbytes))


@pytest.mark.parametrize("sizes", [[3, 40_000, 0, 5, 5, 30_000, 7], [1], [0, 2]])
def test_rows_of_a_piece_come_out_in_their_order(sizes: list[int]) -> None:
    """Arrays large and small, of one form and of others: what is cut out of a piece is what went in, wherever it is cut."""
    random = np.random.default_rng(1)
    arrays = []
    for number, size in enumerate(sizes):
        lists = ak.unflatten(np.arange(2 * size), np.full(size, 2))
        x = random.normal(size=size)
        arrays.append(
            ak.Array({"x": ak.mask(x, x > 0) if number % 3 == 2 else x, "lists": lists, "n": np.full(size, number)})
        )
    spec = write({}, "/nowhere").spec
    data, size, spans = pieces.packed(
        [held(array, 100 * number) for number, array in reversed(list(enumerate(arrays)))], spec
    )
    found, again = pieces.unpacked(data)
    every = ak.concatenate(arrays)
    assert spans == again and sum(span.rows for span in spans) == len(every)
    assert ak.to_list(pieces.joined(found)) == ak.to_list(every)
    assert len(found) <= 4 and size >= every.nbytes // 2
    for start, stop in ((0, len(every)), (1, len(every)), (len(every) // 3, len(every) // 2), (0, 0)):
        parts = pieces.cut(found, start, stop, spec)
        assert sum(map(len, parts)) == stop - start
        if parts:
            assert ak.to_list(pieces.joined(parts)[:50]) == ak.to_list(every[start:stop][:50])


@pytest.mark.parametrize("name", ["uproot-HZZ.root", "uproot-HZZ-objects.root"])
def test_selected_events_are_those_that_awkward_selects(name: str) -> None:
    """With counters, without, and with columns of records: rows of a mask, of indices, and of no event."""
    reader = Reader(data_path(name))
    events = reader.events(0, reader.entries)
    plain = Reader(data_path(name)).events(0, reader.entries)
    for chosen in (np.arange(reader.entries) % 7 == 3, np.array([5, 5, 1]), np.zeros(reader.entries, bool)):
        (span,) = rows_of(write(events[chosen], "/nowhere")).held.spans
        right = {field: plain[field][chosen] for field in span.array.fields}
        for field, column in right.items():
            assert ak.to_list(span.array[field]) == ak.to_list(column), field
    assert set(span.array.fields) <= set(events.fields)
    reader.close()


def test_parquet_has_dictionaries_of_texts_alone(tmp_path: Path) -> None:
    """A dictionary of numbers takes longer to make than all else, and makes files larger."""
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    rows = ak.Array([{"x": 1.5, "t": "abc", "l": ["a", "b"], "r": [{"n": "q", "v": 1}], "o": None}] * 100)
    path = tmp_path / "a.parquet"
    write_file(write(rows, tmp_path).spec, path, rows[:0], [rows, rows])
    group = parquet.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    assert {it.path_in_schema.partition(".")[0] for it in columns if "RLE_DICTIONARY" in it.encodings} == {
        "t",
        "l",
        "r",
    }
    assert [it.path_in_schema for it in columns if it.path_in_schema.endswith("v") and it.has_dictionary_page] == []
    assert ak.to_list(ak.from_parquet(path)) == ak.to_list(rows) * 2


@pytest.mark.parametrize("kind", ["parquet", "rntuple"])
def test_values_that_may_be_missing_stay_in_their_places(kind: str, tmp_path: Path) -> None:
    """In whatever form awkward has them: of masks uproot wrote other numbers, and awkward other texts, into the files."""
    contents, index = ak.contents, ak.index
    x, there = np.arange(10.0), np.arange(10) % 3 == 0
    numbers = contents.NumpyArray(x)
    forms = [
        contents.ByteMaskedArray(index.Index8(there), numbers, valid_when=True),
        contents.BitMaskedArray(index.IndexU8(np.packbits(there)), numbers, False, 10, lsb_order=False),
        contents.UnmaskedArray(numbers),
        contents.IndexedOptionArray(index.Index32(np.array([3, -1, 3, 9, 0, -1, -1, 2, 2, 1], "i4")), numbers),
    ]
    lists = ak.unflatten(ak.mask(x, there), [0, 2, 1, 0, 3, 0, 1, 1, 0, 2])
    texts = ak.mask(ak.Array([str(i) * i for i in range(10)]), there)
    nested = ak.zip({"a": ak.mask(x, there), "b": x})
    batches = [
        ak.Array(
            {"x": ak.Array(form), "lists": lists, "texts": texts, "of_lists": ak.mask(lists, ~there), "in": nested}
        )
        for form in forms
    ]
    for empty in (batches[0][:0], batches[2][:0]):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.{'parquet' if kind == 'parquet' else 'root'}"
        spec = write(batches[0], tmp_path, format=kind).spec  # type: ignore[arg-type]
        write_file(spec, path, empty, batches)
        found = ak.from_parquet(path) if kind == "parquet" else read(path)
        for name in batches[0].fields:
            assert ak.to_list(found[name]) == [row for batch in batches for row in ak.to_list(batch[name])], name


@pytest.mark.parametrize("kind", ["parquet", "rntuple"])
def test_lists_all_of_which_are_missing(kind: str, tmp_path: Path) -> None:
    """In a batch, or in a list of one: awkward asked Arrow for the end of a list behind the last one, an IndexError."""
    there = [[1], [], [2, 3]]
    lists = ak.Array([there, there])[:, [True, True, True]]
    batches = []
    for missing in ([True, True], [False, True], [False, False], [True, True]):
        column = ak.mask(ak.Array(there[: len(missing)]), ~np.array(missing))
        within = ak.mask(lists, [[not it] * 3 for it in missing])
        of_records = ak.mask(ak.zip({"x": ak.Array(there[: len(missing)])}), ~np.array(missing))
        pairs = ak.mask(ak.to_regular(ak.Array([[1, 2]] * len(missing))), ~np.array(missing))
        others = {"of_records": of_records, "pairs": pairs} if kind == "parquet" else {}
        batch = {"column": column, "within": within, **others}
        batches.append(ak.Array(batch))
    path = tmp_path / ("a.parquet" if kind == "parquet" else "a.root")
    write_file(write(batches[0], tmp_path, format=kind).spec, path, batches[0][:0], batches)  # type: ignore[arg-type]
    found = ak.from_parquet(path) if kind == "parquet" else read(path)
    for name in batches[0].fields:
        assert ak.to_list(found[name]) == [row for batch in batches for row in ak.to_list(batch[name])], name
