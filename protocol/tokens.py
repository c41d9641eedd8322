"""Tokens: all that a worker needs to enrol with a master, as one printable string.

In it are the master's address and public key, and the secret half of the key that lets workers enrol. It stands in a file of
mode 0600 or in the environment variable `EVENTMILL_TOKEN`, never on a command line, which everybody on a machine can read.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from .connection import Connection, read_private_text, write_private_text
from .errors import ConnectionFailed

PREFIX = "eventmill-token-1-"
VARIABLE = "EVENTMILL_TOKEN"


class _Packed(msgspec.Struct, array_like=True):
    address: str
    server_key: str
    secret_key: str


_packed = msgspec.msgpack.Decoder(_Packed)


def new_token(address: str, server_key: str) -> tuple[str, str]:
    """A new token for a master, and its public half, which the master is told.

    Example:
        >>> token, public_key = new_token("tcp://master.cern.ch:8786", "k" * 40)
        >>> read_token(token).address, read_token(token).public_key == public_key
        ('tcp://master.cern.ch:8786', True)
    """
    import zmq

    public, secret = zmq.curve_keypair()
    packed = msgspec.msgpack.encode(_Packed(address, server_key, secret.decode()))
    return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("="), public.decode()


def read_token(text: str) -> Connection:
    """What a token says, as a connection with the role "token".

    Raises:
        ConnectionFailed: it is none, or only a part of one.
    """
    import zmq

    body = text.strip().removeprefix(PREFIX)
    try:
        packed = _packed.decode(base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True))
        public = zmq.curve_public(packed.secret_key.encode())
    except (binascii.Error, ValueError, msgspec.MsgspecError, zmq.ZMQError):
        raise ConnectionFailed(
            "this token is not whole: `eventmill token create` prints one line, all of which is needed"
        ) from None
    return Connection(packed.address, "token", packed.server_key, public.decode(), packed.secret_key)


def is_token(text: str) -> bool:
    """Whether a text is a token, or the beginning of one."""
    return text.strip().startswith("eventmill-token-")


def find_token(target: str, environment: Mapping[str, str]) -> Connection | None:
    """The token that a worker is to enrol with: in the file `target`, or, when nothing is named (""), in the environment.

    Returns:
        None when the file is no token's, or nothing is there.

    Raises:
        ConnectionFailed: it stands where others can read it, or is not whole.
    """
    if is_token(target):
        raise ConnectionFailed(
            "a token stood on the command line, where everybody on this machine can read it: revoke it (`eventmill token "
            f"revoke`), and give the next one in a file of mode 0600, or in the environment variable {VARIABLE}"
        )
    if not target:
        text = environment.get(VARIABLE, "")
        return read_token(text) if text else None
    path = Path(target).expanduser()
    try:
        with path.open("rb") as stream:
            if not is_token(stream.read(len(PREFIX)).decode(errors="replace")):
                return None
    except OSError:
        return None  # a connection file or a name, whose errors are told where those are looked for
    return read_token(read_private_text(path))


def write_token(path: str | os.PathLike[str], token: str) -> None:
    """Write a token into a file of mode 0600, in the place of what is there."""
    write_private_text(Path(path), token + "\n")
