"""Baskets of a TTree that a slot writes before there is a file for them: who joins pieces copies them as they are.

To compress is most of the work of a TTree. So it is done by all slots while the query runs, and not by one when all the
others have nothing more to do. uproot writes them, to a file in memory; a basket does not know where in a file it is but
for two numbers in its key.

uproot has no public way to a basket, nor to a tree that takes one: what it has inside is tried out before the first.
"""

from __future__ import annotations

import functools
import io
import math
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ..analysis.writes import WriteSpec

if TYPE_CHECKING:
    import awkward as ak

LEVEL = 1
"""Of zstd, which more than this makes slower and hardly smaller."""
LEAST = 2**16
"""Bytes of a column, on the average, from which on it is worth a basket of its own."""
_PLACES = struct.Struct(">qq")
_PLACES_AT = 18
"""Where a key says where it is, and where its folder is."""


class Basket(msgspec.Struct, frozen=True, array_like=True):
    """One basket: of which branch, its bytes in a file and when they are decompressed, key and all; what the branch is to
    know of it: bytes of its table of offsets, 0 if it has none, and the largest number that a counter has."""

    branch: str
    stored: int
    plain: int
    table: int
    most: int


class Baskets(msgspec.Struct, frozen=True):
    """Rows as a basket of each branch, one behind the other in `data`; `form` is awkward's JSON for them."""

    form: str
    rows: int
    baskets: list[Basket]
    data: bytes

    def __len__(self) -> int:
        return self.rows


def collections(empty: ak.Array) -> dict[str, list[str]]:
    """The jagged columns that have one counter, as in NanoAOD: `Muon_pt` and `Muon_eta`, where there is a column `nMuon`."""
    jagged = [name for name in empty.fields if str(empty[name].type.content).startswith("var * ")]
    found: dict[str, list[str]] = {}
    for counter in empty.fields:
        names = [name for name in jagged if name.startswith(f"{counter[1:]}_")]
        if counter.startswith("n") and counter not in jagged and names:
            found[counter[1:]] = names
    return found


def branches(array: ak.Array, together: dict[str, list[str]]) -> dict[str, ak.Array]:
    """The columns as uproot takes them: a record for those that have one counter, which it writes by itself."""
    import awkward as ak

    inside = {name for names in together.values() for name in names} | {f"n{name}" for name in together}
    found = {name: array[name] for name in array.fields if name not in inside}
    for collection, names in together.items():
        inner = {name.removeprefix(f"{collection}_"): array[name] for name in names}
        found[collection] = ak.zip(inner, depth_limit=2)
    return found


def miscounted(array: ak.Array, together: dict[str, list[str]]) -> tuple[str, str] | None:
    """A collection whose counter is not how many elements one of its columns has, and that column; None if all are."""
    import awkward as ak

    for collection, names in together.items():
        counter: Any = np.asarray(array[f"n{collection}"])
        for name in names:
            if not np.array_equal(counter, np.asarray(ak.num(array[name]))):
                return collection, name
    return None


class BasketWriter:
    """Writes baskets of one type of rows.

    Args:
        spec: what they are to be written to.
        empty: no rows, of their type.
    """

    def __init__(self, spec: WriteSpec, empty: ak.Array) -> None:
        self._file = io.BytesIO()
        self._collections = collections(empty)
        self._tree = new_tree(new_file(self._file), spec, empty)

    @staticmethod
    def is_for(spec: WriteSpec) -> bool:
        """Whether there are baskets in such files. Where these have a given number of rows, what is in pieces is cut at any
        place.
        """
        return spec.format == "root" and not spec.rows

    @staticmethod
    def takes(spec: WriteSpec, array: ak.Array) -> bool:
        """Whether rows are numbers and lists of numbers, as many as are worth it, and go into a file as they are."""
        names = array.fields
        form = array.layout.form
        if not BasketWriter.is_for(spec) or not form.is_record or array.nbytes < LEAST * len(names):
            return False
        try_out()
        if not all(map(_is_numbers, form.contents)):
            return False
        lists = [name for name, content in zip(names, form.contents, strict=True) if content.is_list]
        return not {f"n{name}" for name in lists} & set(names) and miscounted(array, collections(array)) is None

    def write(self, array: ak.Array) -> Baskets:
        """Write rows of this type."""
        self._tree.extend(branches(array, self._collections))
        cascade = self._tree._cascading
        last, baskets, data = cascade._num_baskets - 1, [], []
        view = self._file.getbuffer()
        for datum in _data(cascade):
            start, size = int(datum["fBasketSeek"][last]), int(datum["fBasketBytes"][last])
            raw = bytes(view[start : start + size])
            key, plain = _sizes(raw)
            table = 0 if datum["counter"] is None else int(datum["fEntryOffsetLen"])
            most = int(datum["tleaf_maximum_value"]) if datum["kind"] == "counter" else 0
            baskets.append(Basket(datum["fName"], size, key + plain, table, most))
            data.append(raw)
        view.release()
        return Baskets(array.layout.form.to_json(), len(array), baskets, b"".join(data))


def new_file(place: Any) -> Any:
    """A new file of ROOT, at a path, or in what is like a file."""
    import uproot

    return uproot.recreate(place, compression=uproot.ZSTD(LEVEL))


def new_tree(file: Any, spec: WriteSpec, empty: ak.Array) -> Any:
    """A tree for rows of a type, which has none yet."""
    types = {name: column.type.content for name, column in branches(empty, collections(empty)).items()}
    return file.mktree(spec.tree, types)


@functools.cache
def try_out() -> None:
    """Raise `ImportError` unless rows that go through baskets are in a tree as they were."""
    import awkward as ak
    import uproot

    spec = WriteSpec("", "root", "", "Events", 0, 0, "any", overwrite=False)
    rows = ak.Array({"n": np.array([1, 2, 3], "i4"), "pt": [[1.5], [], [2.5, 3.5]]})
    try:
        writer = BasketWriter(spec, rows[:0])
        file = io.BytesIO()
        tree = new_tree(new_file(file), spec, rows[:0])
        for some in (rows[:2], rows[2:]):
            append(tree, writer.write(ak.to_packed(some)))
        again = uproot.open(file)[spec.tree].arrays(rows.fields).to_list()
    except Exception as error:
        raise _unknown_uproot(repr(error)) from error
    if again != rows.to_list():
        raise _unknown_uproot(f"{rows.to_list()} comes back as {again}")


def _unknown_uproot(why: str) -> ImportError:
    import uproot

    return ImportError(
        f"uproot {uproot.__version__} keeps the baskets of a TTree in a way that eventmill does not know ({why}): install "
        "another one, 5.7 is known to work"
    )


def append(tree: Any, rows: Baskets) -> None:
    """Append baskets to a tree of uproot's that has branches for all of them, as its `extend` appends arrays."""
    cascade, sink, at = tree._cascading, tree._file.sink, 0
    _make_room(tree)
    last = cascade._num_baskets
    folder = cascade._directory.key.location
    for basket in rows.baskets:
        raw = bytearray(rows.data[at : at + basket.stored])
        at += basket.stored
        place = cascade._freesegments.allocate(basket.stored, dry_run=False)
        _PLACES.pack_into(raw, _PLACES_AT, place, folder)
        sink.write(place, bytes(raw))
        cascade._freesegments.write(sink)
        sink.set_file_length(cascade._freesegments.fileheader.end)
        datum = cascade._branch_data[cascade._branch_lookup[basket.branch]]
        datum["fTotBytes"] += basket.plain
        datum["fZipBytes"] += basket.stored
        datum["fBasketBytes"][last] = basket.stored
        datum["fBasketEntry"][last + 1] = rows.rows + datum["fBasketEntry"][last]
        datum["fBasketSeek"][last] = place
        datum["arrays_write_stop"] = last + 1
        if basket.table:
            datum["fEntryOffsetLen"] = basket.table
        if datum["kind"] == "counter":
            datum["tleaf_maximum_value"] = max(basket.most, datum["tleaf_maximum_value"])
        cascade._metadata["fTotBytes"] += basket.plain
        cascade._metadata["fZipBytes"] += basket.stored
    cascade._num_entries += rows.rows
    cascade._num_baskets += 1
    cascade.write_updates(sink)


def array_of(spec: WriteSpec, rows: ak.Array | Baskets) -> ak.Array:
    """The rows of baskets as an array, of the type that they had; an array is what it is."""
    import awkward as ak
    import uproot

    if not isinstance(rows, Baskets):
        return rows
    form = ak.forms.from_json(rows.form)
    file = io.BytesIO()
    append(new_tree(new_file(file), spec, ak.Array(form.length_zero_array())), rows)
    read = uproot.open(file)[spec.tree].arrays(form.fields)
    columns = {}
    for name, content in zip(form.fields, form.contents, strict=True):
        numbers = (content.content if content.is_list else content).primitive
        columns[name] = ak.values_astype(read[name], numbers)
    return ak.zip(columns, depth_limit=1)


def _is_numbers(form: Any) -> bool:
    """Whether a column has one number in each row, or a list of them."""
    if form.is_list and not form.is_regular and not form.parameters:
        form = form.content
    return bool(form.is_numpy and not form.inner_shape and not form.parameters)


def _data(cascade: Any) -> Iterator[dict[str, Any]]:
    return (datum for datum in cascade._branch_data if datum["kind"] != "record")


def _sizes(raw: bytes) -> tuple[int, int]:
    """Bytes of a key, and of what is behind it when it is decompressed."""
    _, _, plain, _, key = struct.unpack_from(">ihiIh", raw)
    return key, plain


def _make_room(tree: Any) -> None:
    """Have room for one more basket in the lists that the tree has of them, as `extend` has."""
    cascade = tree._cascading
    if cascade._num_baskets < cascade._basket_capacity - 1:
        return
    capacity = max(cascade._basket_capacity + 1, math.ceil(cascade._basket_capacity * cascade._resize_factor))
    cascade._basket_capacity = capacity
    for datum in _data(cascade):
        for name in ("fBasketBytes", "fBasketEntry", "fBasketSeek"):
            known = datum[name]
            datum[name] = np.zeros(capacity, known.dtype)
            datum[name][: len(known)] = known
        datum["fBasketEntry"][len(known)] = cascade._num_entries
    cascade._relocate(tree._file, tree._file.sink)
