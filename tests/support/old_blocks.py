"""Files as ROOT 3 and 4 wrote them, of those that ROOT writes today."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

NOTHING = bytes([2, 0, 0, 0, 255, 255])
"""Two empty blocks of deflate: as long as the header and checksum of zlib, so that all stays at its place in the file."""


def as_root_3_wrote(path: Path) -> int:
    """Turn a file's zlib blocks into old ones, "CS" with raw deflate, in place; returns how many there were."""
    content, turned = bytearray(path.read_bytes()), 0
    for found in re.finditer(rb"ZL\x08", bytes(content)):
        start = found.start() + 9
        stop = start + int.from_bytes(content[start - 6 : start - 3], "little")
        try:
            zlib.decompress(content[start:stop])
        except zlib.error:  # these letters in the data
            continue
        content[found.start() : stop] = b"CS\x08" + content[start - 6 : start] + NOTHING + content[start + 2 : stop - 4]
        turned += 1
    path.write_bytes(content)
    return turned
