"""What lets a user read: a bearer token, an X.509 proxy, an sss keytab.

A session takes them along with a query. They travel in the encrypted connection only, as bytes that the master does not
look into, and are nowhere written: not in a journal, a log or a text. `repr` tells what they are for, never what they are.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec

from .errors import EventmillError

LARGEST = 256 * 1024
"""Bytes of a file of credentials."""


class _Packed(msgspec.Struct, array_like=True):
    token: str
    proxy: bytes
    sss: bytes


_packed = msgspec.msgpack.Decoder(_Packed)


class Credentials:
    """What to show to file servers for a query.

    Args:
        token: a bearer token (WLCG, SciTokens), for `root://` servers with TLS and for `https://`.
        proxy: file of an X.509 proxy, with its key, as `voms-proxy-init` makes it.
        sss: file of a keytab for XRootD's simple shared secrets.

    Raises:
        EventmillError: a file cannot be read, or nothing is given.

    Example:
        >>> Credentials(token="not.a.token")
        <Credentials: a token>
    """

    def __init__(
        self,
        *,
        token: str = "",
        proxy: str | os.PathLike[str] | None = None,
        sss: str | os.PathLike[str] | None = None,
    ) -> None:
        self.token = token.strip()
        self.proxy = b"" if proxy is None else _read(proxy)
        self.sss = b"" if sss is None else _read(sss)
        if not (self.token or self.proxy or self.sss):
            raise EventmillError("credentials need a token, a proxy or a keytab")

    @classmethod
    def from_environment(cls) -> Credentials:
        """What this process has, where the clients of the grid look for it.

        A token in `BEARER_TOKEN`, `BEARER_TOKEN_FILE` or `bt_uID` in `XDG_RUNTIME_DIR` or /tmp; a proxy in
        `X509_USER_PROXY` or /tmp/x509up_uID; a keytab in `XrdSecSSSKT` or ~/.xrd/sss.keytab.

        Raises:
            EventmillError: there is none of these, or a file that is named there cannot be read.

        Example:
            >>> em.connect("default", credentials=em.Credentials.from_environment())     # doctest: +SKIP
        """
        token, proxy, sss = found(os.environ)
        if not (token or proxy or sss):
            raise EventmillError(
                "there is no token, proxy or keytab in this environment: make one (`voms-proxy-init`, `oidc-token`, "
                "`htgettoken`), or name it: em.Credentials(proxy=...)"
            )
        return cls(token=_read(token).decode() if isinstance(token, Path) else token, proxy=proxy, sss=sss)

    def pack(self) -> bytes:
        """As they travel, encrypted by the connection."""
        return msgspec.msgpack.encode(_Packed(self.token, self.proxy, self.sss))

    @classmethod
    def unpack(cls, packed: bytes | memoryview) -> Credentials:
        """From `pack`. Raises `msgspec.MsgspecError` when it is not."""
        fields = _packed.decode(packed)
        credentials = cls.__new__(cls)
        credentials.token, credentials.proxy, credentials.sss = fields.token, fields.proxy, fields.sss
        return credentials

    def __repr__(self) -> str:
        return f"<Credentials: {self}>"

    def __str__(self) -> str:
        kinds = [describe_token(self.token)] if self.token else []
        kinds += ["an X.509 proxy"] if self.proxy else []
        kinds += ["an sss keytab"] if self.sss else []
        return ", ".join(kinds)


def found(environment: os._Environ[str] | dict[str, str]) -> tuple[str | Path, Path | None, Path | None]:
    """A token (or its file), the file of a proxy and that of a keytab, as an environment names them."""
    user = os.geteuid()
    token: str | Path = environment.get("BEARER_TOKEN", "").strip()
    named = environment.get("BEARER_TOKEN_FILE")
    places = [Path(environment.get("XDG_RUNTIME_DIR") or "/nowhere") / f"bt_u{user}", Path(f"/tmp/bt_u{user}")]  # noqa: S108
    token = token or _first(named, *places) or ""
    proxy = _first(environment.get("X509_USER_PROXY"), Path(f"/tmp/x509up_u{user}"))  # noqa: S108 - where the grid has it
    keytab = environment.get("XrdSecSSSKT") or environment.get("XrdSecsssKT")
    return token, proxy, _first(keytab, Path(environment.get("HOME") or "/nowhere") / ".xrd" / "sss.keytab")


def describe_token(token: str) -> str:
    """What a token says of itself: who made it, what for, until when. It is not checked here.

    Example:
        >>> describe_token("what is no JSON Web Token")
        'a token'
    """
    try:
        payload = token.split(".")[1]
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        issuer, scope, ends = claims.get("iss"), claims.get("scope"), claims.get("exp")
    except (IndexError, ValueError, binascii.Error, AttributeError):
        return "a token"
    words = "a token"
    if isinstance(issuer, str):
        words += f" of {issuer}"
    if isinstance(scope, str):
        words += f" for {scope or 'nothing'}"
    if isinstance(ends, int | float):
        left = ends - time.time()
        words += f" that ends in {left / 60:.0f} min" if left > 0 else f" that ended {-left / 60:.0f} min ago"
    return words


def _first(named: str | None, *places: Path) -> Path | None:
    """The file that is named, there or not; else the first of some places that is there."""
    if named:
        return Path(named)
    return next((place for place in places if os.access(place, os.R_OK)), None)


def _read(path: str | os.PathLike[str]) -> bytes:
    path = Path(path).expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EventmillError(f"the credentials in {path} cannot be read: {error.strerror}") from None
    if not 0 < len(data) <= LARGEST:
        raise EventmillError(f"{path} has {len(data)} bytes: these are no credentials")
    return data
