"""Keys of a dict in a result, as they travel when somebody asks for what is under some of them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..protocol.errors import RemoteProtocolError
from .nodes import Key

_keys = msgspec.msgpack.Decoder(list[Key])


def keys_packed(keys: Iterable[Key]) -> bytes:
    """These keys as bytes.

    Example:
        >>> keys_in(keys_packed(["mass", 3, ("a", 1)]))
        ['mass', 3, ('a', 1)]
    """
    return msgspec.msgpack.encode(list(keys))


def keys_in(packed: bytes) -> list[Key]:
    """The keys that these bytes are. Raises RemoteProtocolError when they are none."""
    try:
        return _keys.decode(packed)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"malformed keys of a result: {error}") from error
