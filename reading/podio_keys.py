"""The keys of podio's collections (`collectionID`): hashes of their names, the same in all files since podio 0.17.

The hash is MurmurHash3 of 32 bits, https://github.com/aappleby/smhasher. Earlier files number their collections.
"""

from __future__ import annotations

_BITS = 0xFFFFFFFF
_FIRST, _SECOND, _ADDED = 0xCC9E2D51, 0x1B873593, 0xE6546B64
_LAST = ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1))
MOST_NUMBERED = 10_000
"""Keys from 1 up to this are numbers of collections: a hash is so small once in 400,000 times."""


def podio_key(name: str) -> int:
    """The key of a collection, by its name.

    Example:
        >>> podio_key("EventHeader"), podio_key("MCParticleCollection")
        (3616779153, 4183352422)
    """
    data = name.encode()
    whole = len(data) - len(data) % 4
    key = 0
    for at in range(0, whole, 4):
        key = (_turned(key ^ _mixed(data[at : at + 4]), 13) * 5 + _ADDED) & _BITS
    key ^= _mixed(data[whole:]) ^ len(data)
    for shift, factor in _LAST:
        key = (key ^ key >> shift) * factor & _BITS
    return key


def _turned(number: int, by: int) -> int:
    return (number << by | number >> (32 - by)) & _BITS


def _mixed(data: bytes) -> int:
    return _turned(int.from_bytes(data, "little") * _FIRST & _BITS, 15) * _SECOND & _BITS
