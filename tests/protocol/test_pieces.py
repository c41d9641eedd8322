"""Large frames come out as they went in, whatever their sizes; what is no message in pieces is refused."""

from __future__ import annotations

import msgspec
import pytest
from eventmill.protocol.errors import RemoteProtocolError
from eventmill.protocol.pieces import MARK, PIECE, cut, joined
from hypothesis import given
from hypothesis import strategies as st

MOST = 10 * PIECE
SIZES = st.lists(st.one_of(st.integers(0, 3), st.integers(PIECE - 1, PIECE + 1), st.integers(0, 4 * PIECE)), max_size=6)


@given(SIZES)
def test_frames_come_out_as_they_went_in(sizes: list[int]) -> None:
    frames = [bytes([number]) * size for number, size in enumerate(sizes, 1)]
    travelling = list(cut(frames))
    assert all(len(it) <= PIECE for it in travelling)
    assert (travelling == frames) is all(size <= PIECE for size in sizes)
    came = [memoryview(it) for it in travelling]
    assert [bytes(it) for it in joined(list(came), MOST)] == frames


def table(counts: object) -> bytes:
    return MARK + msgspec.msgpack.encode(counts)


@pytest.mark.parametrize(
    "frames",
    [
        [MARK], [MARK + b"\xff"], [table("text")], [table([1])], [table([2]), b"a"], [table([0, 1]), b"a"],
        [table([-1, 2]), b"a"], [table([1]), b"a", b"b"], [table([2**63]), b"a"], [table([11]), *[bytes(PIECE)] * 11],
    ],
)  # fmt: skip
def test_what_is_not_what_its_table_says_is_refused(frames: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError, match="pieces"):
        joined(list(frames), MOST)
