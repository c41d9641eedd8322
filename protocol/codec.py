"""Messages to frames and back, with every field checked on the way in.

A message on the wire is a list of frames: the MessagePack of the struct, then the buffers that belong to it. Encoding
what the protocol forbids is our fault (`LocalProtocolError`); decoding it is the peer's (`RemoteProtocolError`).

msgspec decodes straight into the typed structs: a field of the wrong type, out of range, missing, or nested deeper than
its type allows never becomes an object.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import msgspec

from . import messages
from .bundles import MOST_TOGETHER, is_bundle
from .errors import LocalProtocolError, RemoteProtocolError
from .messages import PROTOCOL, Message
from .pieces import Joiner, Joiners, Room
from .values import NonNegative

Buffer = bytes | memoryview
Frames = Sequence[Buffer]

MAX_HEADER = 16 * 2**20
MAX_FRAMES = 10_000
MAX_FRAME = 2 * 2**30

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(messages.Any)
_bundles = msgspec.msgpack.Decoder(
    Annotated[list[tuple[messages.Any, NonNegative]], msgspec.Meta(max_length=MOST_TOGETHER)]
)


class _Envelope(msgspec.Struct):
    """The two fields that every protocol version has in its hello."""

    type: str
    protocol: int = PROTOCOL


_envelopes = msgspec.msgpack.Decoder(_Envelope)


def encode(message: Message, frames: Frames = ()) -> list[Buffer]:
    """The frames that carry `message` and the buffers behind it.

    Raises:
        LocalProtocolError: the message or a buffer is over the limits of the protocol, or a field has what cannot travel.

    Example:
        >>> from eventmill.protocol.messages import Heartbeat
        >>> decode(encode(Heartbeat()))
        (Heartbeat(within=1.0), [])
    """
    try:
        header = _encoder.encode(message)
    except (OverflowError, TypeError, UnicodeEncodeError, msgspec.MsgspecError) as error:
        raise LocalProtocolError(f"{type(message).__name__} cannot be encoded: {error}") from error
    if len(header) > MAX_HEADER:
        raise LocalProtocolError(f"{type(message).__name__} takes {len(header):,} bytes, the limit is {MAX_HEADER:,}")
    if len(frames) >= MAX_FRAMES:
        raise LocalProtocolError(f"{type(message).__name__} has {len(frames):,} frames, the limit is {MAX_FRAMES:,}")
    try:
        _decoder.decode(header)
    except msgspec.MsgspecError as error:  # the peer would refuse it, and nobody would hear of it here
        raise LocalProtocolError(f"{type(message).__name__} is over the limits of the protocol: {error}") from error
    for frame in frames:
        if len(frame) > MAX_FRAME:
            raise LocalProtocolError(
                f"one array of {len(frame) / 2**30:.1f} GiB is over the limit of {MAX_FRAME / 2**30:.0f} GiB a frame: "
                "histogram it, or write it to a file in the analysis"
            )
    return [header, *frames]


def decode(frames: Frames) -> tuple[Message, list[Buffer]]:
    """The message and the buffers behind it.

    Raises:
        RemoteProtocolError: the frames are no message of this protocol version; the text says why.
    """
    if not frames:
        raise RemoteProtocolError("an empty message")
    if len(frames) > MAX_FRAMES or len(frames[0]) > MAX_HEADER:
        raise RemoteProtocolError(
            f"a message of {len(frames)} frames with a header of {len(frames[0])} bytes is too large"
        )
    try:
        return _decoder.decode(frames[0]), list(frames[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(_reason(frames[0], error)) from None


def decode_all(frames: Frames) -> list[tuple[Message, list[Buffer]]]:
    """The messages that have come as one (`protocol.bundles`), each with the buffers behind it, in their order.

    Raises:
        RemoteProtocolError: as `decode`, for all of them if one is none.

    Example:
        >>> from eventmill.protocol.bundles import Bundle
        >>> from eventmill.protocol.messages import Committed, Heartbeat
        >>> bundle = Bundle()
        >>> [bundle.add(encode(message)) for message in (Committed(1, True), Heartbeat())]
        [True, True]
        >>> [message for message, _ in decode_all(bundle.taken())]
        [Committed(commit=1, accepted=True, reason=''), Heartbeat(within=1.0)]
    """
    if not (frames and is_bundle(frames[0])):
        return [decode(frames)]
    if len(frames) > MAX_FRAMES or len(frames[0]) > MAX_HEADER:
        raise RemoteProtocolError(f"{len(frames)} frames, the first of {len(frames[0])} bytes, are too large together")
    try:
        counted = _bundles.decode(frames[0])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"not a message, nor several in one: {error}") from None
    if 1 + sum([count for _, count in counted]) != len(frames):
        raise RemoteProtocolError(f"{len(counted)} messages in one, which do not have the {len(frames) - 1} frames")
    said: list[tuple[Message, list[Buffer]]] = []
    at = 1
    for message, count in counted:
        said.append((message, list(frames[at : at + count])))
        at += count
    return said


def joiner(room: Room | None = None) -> Joiner:
    """For what comes from one peer, within the limits of the protocol.

    Args:
        room: gives memory for large frames, as `Joiner` has it.

    Example:
        >>> joiner().idle
        True
    """
    return Joiner(MAX_FRAME, MAX_FRAMES, room)


def joiners(room: Room | None = None) -> Joiners:
    """For what comes from many, each as `joiner` has it.

    Example:
        >>> b"worker" in joiners()
        False
    """
    return Joiners(partial(joiner, room))


def _reason(header: Buffer, error: Exception) -> str:
    """Why a header was refused; a hello of another protocol version is told so, not that a field is missing."""
    try:
        envelope = _envelopes.decode(header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return f"not a message: {error}"
    if envelope.type == "Hello" and envelope.protocol != PROTOCOL:
        return version_mismatch(envelope.protocol)
    return f"malformed {envelope.type[:50]}: {error}"


def version_mismatch(protocol: int) -> str:
    """What a peer of another protocol version is told."""
    return (
        f"protocol version {protocol} does not fit the master's version {PROTOCOL}: "
        "install the same version of eventmill on both sides"
    )
