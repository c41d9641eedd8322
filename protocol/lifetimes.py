"""Until when a token or a proxy is good, as it says itself. Nothing is checked here: file servers do that.

Of certificates only their validity is read, which stands in a fixed place (RFC 5280, 4.1): that takes no library.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from .errors import EventmillError

Kind = Literal["token", "proxy", "keytab"]
_PEM = re.compile(rb"-----BEGIN (CERTIFICATE|[A-Z ]*PRIVATE KEY)-----\s*([A-Za-z0-9+/=\s]+?)-----END \1-----")
_SEQUENCE, _INTEGER, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x02, 0xA0, 0x17, 0x18
_PIVOT = 50
"""Two digits of a year from here on are of the last century (RFC 5280, 4.1.2.5.1)."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """From when until when one thing is good, in seconds since 1970; None where it does not say.

    Example:
        >>> Lifetime("token", 1000.0, 4600.0).left(1600.0)
        3000.0
    """

    kind: Kind
    begins: float | None = None
    ends: float | None = None

    def left(self, now: float) -> float | None:
        """Seconds from `now` until it ends, below 0 when it has ended. What begins later than `now` was made by a clock that
        is ahead of this one: it is gone by then."""
        if self.ends is None:
            return None
        return self.ends - max(now, now if self.begins is None else self.begins)

    def behind(self, now: float) -> float:
        """Seconds by which this machine's clock is behind the one that made it, at least."""
        return 0.0 if self.begins is None else max(0.0, self.begins - now)


def claims_of(token: str) -> dict[str, Any]:
    """What a JSON Web Token says; nothing of what is none.

    Example:
        >>> claims_of("what is no JSON Web Token")
        {}
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def of_token(token: str) -> Lifetime:
    """That of a token: one that is no JSON Web Token does not say.

    Example:
        >>> of_token("opaque")
        Lifetime(kind='token', begins=None, ends=None)
    """
    claims = claims_of(token)
    begins, ends = _number(claims.get("iat")), _number(claims.get("exp"))
    return Lifetime("token", begins, ends)


def of_proxy(pem: bytes) -> Lifetime:
    """That of a proxy: it is good while it and the certificates beside it are.

    Raises:
        EventmillError: there is no certificate in it, no key, or one that cannot be read.

    Example:
        >>> of_proxy(b"nonsense")
        Traceback (most recent call last):
        eventmill.protocol.errors.EventmillError: there is no certificate in it
    """
    blocks = [(name, body) for name, body in _PEM.findall(pem)]
    certificates = [body for name, body in blocks if name == b"CERTIFICATE"]
    if not certificates:
        raise EventmillError("there is no certificate in it")
    if len(blocks) == len(certificates):
        raise EventmillError(
            "it has a certificate and no key: a proxy is both, in one file, as `voms-proxy-init` makes it"
        )
    try:
        spans = [_validity(base64.b64decode(body)) for body in certificates]
    except (ValueError, IndexError, binascii.Error):
        raise EventmillError("there is a certificate in it that cannot be read") from None
    return Lifetime("proxy", spans[0][0], min(ends for _, ends in spans))


def _validity(der: bytes) -> tuple[float, float]:
    """When a certificate begins and ends. Raises `ValueError` or `IndexError` when it is none."""
    body = _inside(_inside(der, _SEQUENCE)[0], _SEQUENCE)[0]
    if body[0] == _VERSION:
        body = _inside(body, _VERSION)[1]
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, signature, issuer
        body = _inside(body, tag)[1]
    begins, rest = _time(_inside(body, _SEQUENCE)[0])
    return begins, _time(rest)[0]


def _inside(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """What is in the first value, which is to have this tag, and what comes after it."""
    if der[0] != tag:
        raise ValueError(f"tag {der[0]}, not {tag}")
    size, start = der[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[2:start], "big")
    if start + size > len(der):
        raise ValueError("it is cut off")
    return der[start : start + size], der[start + size :]


def _time(der: bytes) -> tuple[float, bytes]:
    text, rest = _inside(der, _GENERALIZED_TIME if der[0] == _GENERALIZED_TIME else _UTC_TIME)
    digits = text.decode("ascii").removesuffix("Z")
    if der[0] == _UTC_TIME:
        digits = ("19" if int(digits[:2]) >= _PIVOT else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp(), rest


def _number(value: Any) -> float | None:
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12 else None
    )
