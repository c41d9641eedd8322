"""Parquet files of any columns, in any row groups: each range of each column has the values that were written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Column, Flat, Strings
from eventmill.reading.parquet.reader import ParquetReader
from hypothesis import HealthCheck, given, reject
from hypothesis import strategies as st
from property_tests import examples

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

TEXTS = st.sampled_from(["", "a", "\0", "été", "a long text " * 4])
DICTIONARY = pa.dictionary(pa.int32(), pa.string())
VALUES = {
    pa.bool_(): st.booleans(),
    pa.int8(): st.sampled_from([0, 1, -128]),
    pa.uint32(): st.sampled_from([0, 7, 2**32 - 1]),
    pa.int64(): st.sampled_from([0, -1, 2**63 - 1, -(2**63)]),
    pa.uint64(): st.sampled_from([0, 2**64 - 1]),
    pa.float32(): st.sampled_from([0.0, 1.5, -math.inf, math.nan]),
    pa.float64(): st.sampled_from([0.0, -2.5, math.inf, math.nan]),
    pa.string(): TEXTS,
    pa.large_string(): TEXTS,
    pa.binary(): st.sampled_from([b"", b"\0\xff"]),
}


def lists_of(field: Any) -> Any:
    return st.sampled_from([pa.list_(field), pa.large_list(field), *(pa.list_(field, size) for size in (1, 2))])


def fields(kinds: Any, name: str = "item") -> Any:
    return st.builds(pa.field, st.just(name), kinds, st.booleans())


KINDS = st.recursive(
    st.sampled_from(list(VALUES)),
    lambda kinds: (
        fields(kinds).flatmap(lists_of)
        | st.tuples(*(fields(kinds, name) for name in ("x", "pt"))).map(lambda both: pa.struct(list(both)))
    ),
    max_leaves=4,
)


def values_of(field: Any) -> Any:
    """What may be in a field."""
    kind = field.type
    if kind in VALUES:
        values = VALUES[kind]
    elif kind == DICTIONARY:
        values = TEXTS
    elif isinstance(kind, pa.StructType):
        values = st.fixed_dictionaries({member.name: values_of(member) for member in kind})
    else:
        size = kind.list_size if isinstance(kind, pa.FixedSizeListType) else None
        inside = values_of(kind.value_field)
        values = st.lists(inside, min_size=size or 0, max_size=3 if size is None else size)
    return st.none() | values if field.nullable else values


def members(field: Any) -> Any:
    """The ways to all members of records that are there for each entry, and of lists of them."""
    if field.nullable:
        return
    if isinstance(field.type, pa.StructType):
        for member in field.type:
            yield (member.name,)
            yield from ((member.name, *more) for more in members(member))
    elif hasattr(field.type, "value_field"):
        yield from members(field.type.value_field)


def member_of(value: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return value
    if isinstance(value, list):
        return [member_of(item, path) for item in value]
    return member_of(value[path[0]], path[1:])


def shown(value: Any) -> str:
    """Comparable, nan and all, whatever the order of members."""
    if isinstance(value, ak.Array):
        return shown(ak.to_list(value))
    if isinstance(value, dict):
        return "".join(f"{name}: {shown(value[name])}, " for name in sorted(value))
    return f"[{', '.join(map(shown, value))}]" if isinstance(value, list) else repr(value)


def held_in(column: Column) -> list[Any]:
    if isinstance(column, Flat):
        return np.asarray(column.values).tolist()
    content = column.characters.tobytes() if isinstance(column, Strings) else held_in(column.content)
    return [content[low:high] for low, high in zip(column.offsets[:-1], column.offsets[1:], strict=True)]


def as_bytes(value: Any) -> Any:
    return (
        list(map(as_bytes, value)) if isinstance(value, list) else value.encode() if isinstance(value, str) else value
    )


@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_range_of_any_column_has_what_was_written(tmp_path: Path, data: st.DataObject) -> None:
    """Also of members of records by themselves, as events and as kernels have them; row groups may be empty."""
    kinds = data.draw(st.lists(KINDS | st.just(DICTIONARY), min_size=1, max_size=3))
    schema = pa.schema([data.draw(fields(st.just(kind), "abc"[number])) for number, kind in enumerate(kinds)])
    groups = data.draw(st.lists(st.integers(0, 5), max_size=4))
    rows = sum(groups)
    written = {it.name: data.draw(st.lists(values_of(it), min_size=rows, max_size=rows)) for it in schema}
    with parquet.ParquetWriter(
        tmp_path / "any.parquet", schema, data_page_size=data.draw(st.sampled_from([300, 10**6]))
    ) as file:
        begin = 0
        for size in groups:
            some = [pa.array(written[it.name][begin : begin + size], it.type) for it in schema]
            file.write_table(pa.table(some, schema), row_group_size=max(1, size))
            begin += size
    try:
        parquet.ParquetFile(tmp_path / "any.parquet").read()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        reject()  # pyarrow itself cannot read all that it writes
    reader = ParquetReader(str(tmp_path / "any.parquet"))
    assert reader.entries == rows
    ways = [(field.name, path) for field in reader.footer.schema for path in [(), *members(field)]]
    for _ in range(5):
        start, stop = sorted(data.draw(st.tuples(*2 * [st.integers(0, rows)])))
        column, path = data.draw(st.sampled_from(ways))
        name, right = ".".join((column, *path)), member_of(written[column][start:stop], path)
        assert shown(reader.array(name, start, stop)) == shown(right), name
        events = reader.events(start, stop)[column]
        assert shown(events[path] if path else events) == shown(right), name
        try:
            found = reader.read([name], start, stop)[name]
        except DatasetError as error:
            if "missing" not in str(error) and "cannot be used in a kernel" not in str(error):
                raise
        else:
            assert shown(held_in(found)) == shown(as_bytes(right)), name
    reader.close()
