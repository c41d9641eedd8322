"""Files of this machine: bytes as they are, few calls to get them, and no crash when a file is cut off."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventmill.reading.storage.local import GAP, RUN, LocalSource
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples

SIZE = 3 * RUN + 17


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture(scope="module")
def source(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSource]:
    path = tmp_path_factory.mktemp("local") / "bytes"
    path.write_bytes(content)
    with LocalSource(str(path)) as source:
        yield source
    assert source.closed


spans = st.tuples(st.integers(0, SIZE), st.integers(0, 3 * GAP)).map(lambda span: (span[0], min(SIZE, sum(span))))


@examples(30)
@given(st.lists(spans, max_size=12))
def test_any_ranges_in_any_order_are_the_bytes_of_the_file(
    source: LocalSource, content: bytes, ranges: list[tuple[int, int]]
) -> None:
    """Overlapping and empty ones too."""
    assert [bytes(piece) for piece in source.read(ranges)] == [content[start:stop] for start, stop in ranges]
    chunks = source.chunks(ranges, queue.SimpleQueue())
    assert [chunk.raw_data.tobytes() for chunk in chunks] == [content[start:stop] for start, stop in ranges]


def test_ranges_close_to_each_other_are_read_at_once(source: LocalSource) -> None:
    before = source.requests, source.bytes_read, source.waited
    near = [(i * 1000, i * 1000 + 900) for i in range(50)]
    far = (50_000 + GAP, 60_000 + GAP)
    source.read([*near, far])
    assert source.requests - before[0] == 2
    assert source.bytes_read - before[1] == 50 * 900 + 10_000, "what lies between them was not asked for"
    assert source.waited > before[2]
    source.read([(start, start + GAP) for start in range(0, 2 * RUN, GAP)])
    assert source.requests - before[0] == 4, "no read is larger than a run"


def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(bytes(10_000))
    source = LocalSource(str(path))
    os.truncate(path, 5000)
    assert not source.is_unchanged()
    with pytest.raises(OSError, match="it ends before byte 8000: it was cut off"):
        source.read([(0, 100), (4000, 8000)])
    with source:
        pass
    with pytest.raises(OSError, match="it is closed"):
        source.read([(0, 10)])
