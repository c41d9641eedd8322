"""Who may look at a status page, and who may steer: a token for each, which travels in a URL once and in a cookie then."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from ..protocol.errors import ConnectionFailed

Role = Literal["look", "steer"]
FILE = "status.json"
"""In the key folder of a master: where its page is, for who may look and for who may steer."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
_FORWARDED = ("X-Forwarded-Host", "X-Forwarded-Prefix", "X-ProxyContextPath")


@dataclass(frozen=True, slots=True)
class Access:
    """The two tokens of a page. `repr` does not tell them.

    Example:
        >>> access = Access("look-token", "steer-token")
        >>> access.role("steer-token"), access.role("look-token"), access.role("guessed"), access.role("")
        ('steer', 'look', None, None)
        >>> access.url("http://127.0.0.1:8788", "look")
        'http://127.0.0.1:8788/?token=look-token'
    """

    look: str
    steer: str

    @classmethod
    def new(cls) -> Access:
        """Two that nobody can guess."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32))

    def role(self, token: str) -> Role | None:
        """What who shows a token may do; None: nothing. It takes as long for any token."""
        given = token.encode()
        steers = hmac.compare_digest(given, self.steer.encode())
        looks = hmac.compare_digest(given, self.look.encode())
        return "steer" if steers else "look" if looks else None

    def allowed(self, query: Mapping[str, str], headers: Mapping[str, str], cookies: Mapping[str, str]) -> Role | None:
        """What a request may do, by all that it shows; the most that any of it allows."""
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")
        shown = [query.get("token", ""), cookies.get(self.cookie, ""), bearer.strip() if scheme == "Bearer" else ""]
        roles = [self.role(token) for token in shown]
        return "steer" if "steer" in roles else "look" if "look" in roles else None

    @property
    def cookie(self) -> str:
        """The cookie's name. Pages at other ports of the same host get it, too, and have another name for theirs."""
        return f"eventmill-{hashlib.sha256(self.look.encode()).hexdigest()[:12]}"

    def url(self, base: str, role: Role) -> str:
        """Where the page is, for who may do this."""
        return f"{base}/?{urlencode({'token': self.steer if role == 'steer' else self.look})}"

    def write(self, file: Path, base: str) -> None:
        """Write both URLs to where only the owner of the file can read them, whole or not at all."""
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        told = {"look": self.url(base, "look"), "steer": self.url(base, "steer")}
        with os.fdopen(descriptor, "w") as stream:
            json.dump({**told, "tokens": {"look": self.look, "steer": self.steer}}, stream, indent=2)
            stream.write("\n")
        temporary.replace(file)

    @classmethod
    def read(cls, file: Path) -> Access:
        """What `write` has written.

        Raises:
            ConnectionFailed: it is not there, can be read by others, or is something else.
        """
        try:
            if file.stat().st_mode & 0o077:
                raise ConnectionFailed(
                    f"{file} can be read by others, and holds the tokens of a status page: chmod 600 it"
                )
            tokens = json.loads(file.read_bytes())["tokens"]
            return cls(str(tokens["look"]), str(tokens["steer"]))
        except OSError as error:
            raise ConnectionFailed(f"cannot read {file}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ConnectionFailed(f"{file} holds no tokens of a status page: {error!r}") from None

    def __repr__(self) -> str:
        return "Access()"


def is_own_host(host: str, headers: Mapping[str, str], names: frozenset[str]) -> bool:
    """Whether a request to a page on loopback was meant for it, by its header `Host`.

    A web site may have its own name lead to 127.0.0.1, and its scripts then speak to what listens there as to itself. They
    have no token; that they do not even get to be refused for that is one more lock. A proxy on this machine, such as a
    notebook server's, hands on the name that it has itself, and says so.

    Example:
        >>> [is_own_host(host, {}, frozenset()) for host in ("localhost:8788", "127.0.0.2:1", "[::1]:1", "evil.org")]
        [True, True, True, False]
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name in _LOCAL or name in names or any(header in headers for header in _FORWARDED):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
