"""Vectors that uproot casts at once are looked at first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from eventmill.reading.reader import Reader
from eventmill.reading.ttree.memberwise import check_vectors

FILE = Path(__file__).parents[1] / "data" / "memberwise.root"
ENTRIES = 30


@pytest.mark.parametrize("span", [(0, ENTRIES), (3, 4), (6, 8), (5, 29), (0, 1), (4, 4)])
def test_members_are_those_of_their_elements(span: tuple[int, int]) -> None:
    """In ATLAS' PHYSLITE the links to jets were numbers of version, class and other jets, with a clean account."""
    reader = Reader(str(FILE), "tree")
    links = [[{"key": 1000 + i, "index": 10 * i + k} for k in range(i % 4)] for i in range(*span)]
    odd = [[{"a": -i, "b": i + 0.5 * k, "c": ord("a") + k} for k in range(i % 4)] for i in range(*span)]
    outer = [[{"link": {"key": i, "index": k}, "x": k} for k in range(i % 4)] for i in range(*span)]
    assert reader.array("links", *span).tolist() == links and reader.array("odd", *span).tolist() == odd
    assert reader.array("outer", *span).tolist() == outer
    assert reader.array("split.key", *span).tolist() == [[link["key"] for link in event] for event in links]
    assert reader.events(*span).links.index.tolist() == [[link["index"] for link in event] for event in links]
    reader.close()


def test_a_vector_of_other_bytes_than_its_elements_is_an_error() -> None:
    data = np.frombuffer(b"\x40\0\0\x0e\0\x09\0\0\0\x02" + b"\0\0\0\1\0\0\0\2", np.uint8)
    check_vectors(data, np.array([0, 18], np.int32), 4)
    with pytest.raises(ValueError, match="another number of elements"):
        check_vectors(data[:14], np.array([0, 14], np.int32), 4)
    with pytest.raises(ValueError, match="fewer bytes"):
        check_vectors(data[:8], np.array([0, 8], np.int32), 4)


def test_a_vector_member_by_member_is_never_cast() -> None:
    data = np.frombuffer(b"\x40\0\0\x0e\x40\x09\0\0\0\x02" + b"\0\0\0\1\0\0\0\2", np.uint8)
    with pytest.raises(NotImplementedError, match="member by member"):
        check_vectors(data, np.array([0, 18], np.int32), 4)
