"""Large messages come out as they went in, whatever the sizes; what is no message in pieces is refused, and what comes
after it is heard."""

from __future__ import annotations

import msgspec
import pytest
from eventmill.protocol.errors import RemoteProtocolError
from eventmill.protocol.pieces import MARK, MOST_PIECES, PARCEL, PIECE, Joiner, cut
from hypothesis import given
from hypothesis import strategies as st

MOST = 20 * PIECE
SIZES = st.lists(
    st.one_of(st.integers(0, 3), st.integers(PIECE - 1, PIECE + 1), st.integers(0, 4 * PIECE), st.just(MOST)),
    max_size=6,
)


def joiner() -> Joiner:
    return Joiner(MOST, 1000)


@given(SIZES)
def test_messages_come_out_as_they_went_in(sizes: list[int]) -> None:
    frames = [bytes([number]) * size for number, size in enumerate(sizes, 1)]
    parcels = [list(parcel) for parcel in cut(frames)]
    assert all(len(piece) <= PIECE for parcel in parcels for piece in parcel)
    assert all(sum(map(len, parcel)) <= PARCEL + 100 for parcel in parcels)
    assert (parcels == [frames]) is (max(sizes, default=0) <= PIECE and sum(sizes) <= PARCEL)
    made = joiner()
    *begun, last = [made.add([memoryview(it) for it in parcel]) for parcel in parcels]
    assert begun == [None] * len(begun) and made.idle
    assert last is not None and [bytes(it) for it in last] == frames


def test_a_message_of_many_small_frames_comes_in_parcels() -> None:
    """One of ten thousand frames would be taken off the wire at once."""
    frames = [b"%d" % number for number in range(3 * MOST_PIECES)]
    parcels = list(cut(frames))
    made = joiner()
    assert len(parcels) == 3 and [made.add(it) for it in parcels] == [None, None, frames]


def label(sizes: object) -> bytes:
    return MARK + msgspec.msgpack.encode(sizes)


@pytest.mark.parametrize(
    "parcels",
    [
        [[MARK + b"\xff"]], [[label("text")]], [[label([])]], [[label([-1])]], [[label([MOST + 1])]], [[label([2**63])]],
        [[label([1] * 1001)]], [[label([1]), b""]], [[label([1]), b"a", b"b"]], [[label([2, 1]), b"a"]],
        [[label([PIECE + 1]), b"a"]],
        [[label([PIECE + 1]), bytes(PIECE)], [MARK, b"ab"]],
    ],
)  # fmt: skip
def test_what_is_not_what_its_label_says_is_refused(parcels: list[list[bytes]]) -> None:
    made = joiner()
    *begun, last = parcels
    assert all(made.add(it) is None for it in begun)
    with pytest.raises(RemoteProtocolError, match="pieces"):
        made.add(last)
    assert made.idle and made.add([MARK, b"its rest"]) is None, "what goes on with it"
    assert made.add([b"header", b"frame"]) == [b"header", b"frame"]


def test_a_message_that_begins_ends_the_half_of_another() -> None:
    """Whose end went down with its connection: what is said on the next one is heard."""
    first, *rest = cut([bytes(MOST)])
    made = joiner()
    assert made.add(first) is None and made.add([b"welcome"]) == [b"welcome"] and made.idle
    assert made.add(first) is None
    assert [made.add(parcel) for parcel in (first, *rest)][-1] == [bytes(MOST)]


def test_what_was_not_begun_is_passed_over() -> None:
    """The second half of a message whose first half went over a connection that has ended."""
    _, *rest = cut([bytes(MOST)])
    made = joiner()
    assert rest and all(made.add(parcel) is None for parcel in rest)


def test_what_is_announced_takes_no_memory() -> None:
    """Only what has come does."""
    made = Joiner(2**31, 10)
    assert made.add([label([2**31 - 1])]) is None
