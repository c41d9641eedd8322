"""Vectors of structures written member by member: uproot mixes the members up. File and values are ROOT's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from eventmill.protocol.errors import DatasetError
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.memberwise import by_elements

FILE = Path(__file__).parents[1] / "data" / "memberwise.root"
ENTRIES = 30


def links(i: int) -> list[dict[str, int]]:
    return [{"key": 1000 + i, "index": 10 * i + k} for k in range(i % 4)]


def odd(i: int) -> list[dict[str, float]]:
    return [{"a": -i, "b": i + 0.5 * k, "c": ord("a") + k} for k in range(i % 4)]


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader(str(FILE), "tree")
    yield reader
    reader.close()


@pytest.mark.parametrize("span", [(0, ENTRIES), (3, 4), (6, 8), (5, 29), (0, 1), (4, 4)])
def test_members_are_those_of_their_elements(reader: Reader, span: tuple[int, int]) -> None:
    """In ATLAS' PHYSLITE the links to jets were numbers of version, class and other jets, with a clean account."""
    assert reader.array("links", *span).tolist() == [links(i) for i in range(*span)]
    assert reader.array("odd", *span).tolist() == [odd(i) for i in range(*span)]
    assert reader.array("split.key", *span).tolist() == [[link["key"] for link in links(i)] for i in range(*span)]


def test_what_a_function_sees(reader: Reader) -> None:
    assert reader.events(0, ENTRIES).links.index.tolist() == [[x["index"] for x in links(i)] for i in range(ENTRIES)]


def test_structures_in_structures_are_refused_in_words(reader: Reader) -> None:
    with pytest.raises(DatasetError, match=r"branch outer: .*written member by member: this version cannot read it"):
        reader.array("outer", 0, ENTRIES)


def test_a_vector_of_other_bytes_than_its_elements_is_an_error() -> None:
    class Content:
        from_dtype = np.dtype(">i4")

    data = np.frombuffer(b"\x40\0\0\x0e\0\x09\0\0\0\x02" + b"\0\0\0\1\0\0\0\2", np.uint8)
    offsets = np.array([0, 18], np.int32)
    assert by_elements(data, offsets, Content())[0] is data
    with pytest.raises(ValueError, match="another number of elements"):
        by_elements(data[:14], np.array([0, 14], np.int32), Content())
