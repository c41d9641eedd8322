"""Compressed blocks: all codecs there and back, and what is said of damaged ones, without a byte allocated in vain."""

from __future__ import annotations

import lzma
import tracemalloc
import zlib
from collections.abc import Callable

import cramjam
import numpy as np
import pytest
import uproot
import xxhash
import zstandard
from eventmill.reading import opening
from eventmill.reading.codecs import LARGEST_BLOCK, decompress, decompressed
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples


def lz4(plain: bytes) -> bytes:
    block = bytes(cramjam.lz4.compress_block(plain, store_size=False))
    return xxhash.xxh64_digest(block) + block


COMPRESS: dict[bytes, Callable[[bytes], bytes]] = {
    b"CS": lambda plain: zlib.compress(plain)[2:-4],
    b"ZS": zstandard.compress,
    b"ZL": zlib.compress,
    b"L4": lz4,
    b"XZ": lzma.compress,
}
codecs = pytest.mark.parametrize("codec", COMPRESS)


def block(codec: bytes, content: bytes, size: int) -> bytes:
    """A block with its header."""
    return codec + b"\x01" + len(content).to_bytes(3, "little") + size.to_bytes(3, "little") + content


def packed(codec: bytes, plain: bytes) -> bytes:
    return block(codec, COMPRESS[codec](plain), len(plain))


@codecs
@examples(15)
@given(parts=st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=3))
def test_blocks_come_out_as_they_went_in(codec: bytes, parts: list[bytes]) -> None:
    raw, plain = b"".join(packed(codec, part) for part in parts), b"".join(parts)
    out = bytearray(len(plain))
    decompress(raw, out)
    assert bytes(out) == plain
    assert bytes(decompressed(raw, len(plain))) == plain


def test_frames_that_do_not_say_their_size() -> None:
    """As streaming compressors write them."""
    plain = bytes(range(256)) * 100
    content = zstandard.ZstdCompressor(write_content_size=False).compress(plain)
    assert decompressed(block(b"ZS", content, len(plain)), len(plain)) == plain


@codecs
def test_damage_is_told_with_its_block(codec: bytes) -> None:
    """Block headers, too short and too long contents, sizes that do not fit each other."""
    plain = b"muon" * 500
    content = COMPRESS[codec](plain)
    whole = packed(codec, plain)
    for raw, size, words in (
        (whole[:-3], 2000, r"header of its block at byte 0 speaks of .* bytes that hold 2000, where"),
        (block(codec, content[:-3], 2000), 2000, r"block at byte 0 (is damaged|holds .* bytes, not 2000)"),
        (whole + block(codec, b"x" * 40, 2000), 4000, rf"block at byte {len(whole)} is damaged"),
        (block(codec, content, 1999), 1999, r"block at byte 0 (is damaged|holds 2000 bytes)"),
        (block(codec, content, 2001), 2001, r"block at byte 0 (is damaged|holds 2000 bytes, not 2001)"),
        (whole, 1000, "that hold 2000, where .* are left that hold 1000"),
        (whole, 3000, "its compressed blocks hold 2000 bytes, not 3000"),
        (b"CT" + whole[2:], 2000, r"no header of a compressed block at byte 0, but b'CT"),
    ):
        with pytest.raises(ValueError, match=words):
            decompressed(raw, size)


@codecs
@examples(20)
@given(data=st.data())
def test_any_damage_is_a_value_error_or_goes_unnoticed_in_size(codec: bytes, data: st.DataObject) -> None:
    raw = bytearray(packed(codec, bytes(range(256)) * 8))
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    try:
        plain = decompressed(raw[: data.draw(st.integers(0, len(raw)))], 2048)
    except ValueError:
        return
    assert len(plain) == 2048


def test_what_garbage_says_of_its_size_is_not_allocated() -> None:
    frame = b"\x28\xb5\x2f\xfd\xa0" + (2**31).to_bytes(4, "little") + b"\x01\x00\x00"
    assert zstandard.frame_content_size(frame) == 2**31
    tracemalloc.start()
    for raw, size in (
        (block(b"ZS", frame, 100), 100),
        (packed(b"ZS", bytes(100)), 2**31 - 1),
        (block(b"ZL", bytes(50), 2**24 - 1) * 2, 2**25 - 2),
    ):
        with pytest.raises(ValueError, match=r"a frame of 2147483648 bytes|hold 100 bytes|block at byte 0 is damaged"):
            decompressed(raw, size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**25


def test_a_few_bytes_that_speak_of_very_many_are_refused_at_once() -> None:
    """Blocks of 16 MB that agree with each other, of 2 GB in all: no writer makes such a basket."""
    raw = block(b"ZS", b"", LARGEST_BLOCK) * 128
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="is said to hold 2147483520 bytes, and no writer makes any of more than"):
            decompressed(raw, 128 * LARGEST_BLOCK)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_many_blocks_take_the_room_of_what_they_hold_and_of_two_more() -> None:
    plain = bytes(LARGEST_BLOCK)
    raw, size = packed(b"ZS", plain) * 3, 3 * LARGEST_BLOCK
    tracemalloc.start()
    try:
        assert len(decompressed(raw, size)) == size
        assert tracemalloc.get_traced_memory()[1] < size + 2.1 * LARGEST_BLOCK
    finally:
        tracemalloc.stop()


@codecs
def test_what_uproot_decompresses_is_bounded_as_well(codec: bytes) -> None:
    """uproot let blocks hold more than their headers say, and made room for all that a key speaks of."""
    assert opening.uproots_blocks  # by which that is so where files are opened
    plain = b"muon" * 500

    def by_uproot(raw: bytes, size: int) -> bytes:
        chunk = uproot.source.chunk.Chunk.wrap(None, np.frombuffer(raw, np.uint8))
        found = uproot.compression.decompress(chunk, uproot.source.cursor.Cursor(0), {}, len(raw), size, blocks)
        return bytes(found.raw_data)

    blocks: list[tuple[str, int, int]] = []
    assert by_uproot(packed(codec, plain[:800]) + packed(codec, plain[800:]), 2000) == plain
    assert [held for _, _, held in blocks] == [800, 1200]
    bomb = block(codec, COMPRESS[codec](bytes(2 * LARGEST_BLOCK)), 100)
    tracemalloc.start()
    try:
        for raw, size in ((bomb, 100), (block(codec, b"", LARGEST_BLOCK) * 128, 128 * LARGEST_BLOCK)):
            with pytest.raises(
                ValueError, match=r"block at byte 0 (is damaged|holds 101 bytes)|is said to hold 2147483520"
            ):
                by_uproot(raw, size)
        assert tracemalloc.get_traced_memory()[1] < LARGEST_BLOCK  # lzma has a dictionary of 8 MB
    finally:
        tracemalloc.stop()
