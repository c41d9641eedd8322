"""What lets a user read: a bearer token, an X.509 proxy, an sss keytab.

A session takes them along with a query, and others when they are renewed. They travel in the encrypted connection only, as
bytes that the master does not look into, and are nowhere written: not in a journal, a log or a text. `repr` tells what they
are for, never what they are.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import string
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import msgspec

from .errors import EventmillError
from .lifetimes import Lifetime, claims_of, of_proxy, of_token

LARGEST = 256 * 1024
"""Bytes of a file of credentials."""
SHORTEST = 16
"""Characters of a token that is no JSON Web Token, where a command may print it: "done" is none."""
BEFORE = 600.0
"""Seconds before their end at which credentials are renewed."""
_PathLike = str | os.PathLike[str]
Refresh = str | Sequence[str] | Callable[[], object]
_IN_TOKENS = frozenset(string.ascii_letters + string.digits + "-._~+/=")
"""What a bearer token consists of (RFC 6750)."""


class _Packed(msgspec.Struct, array_like=True):
    token: str
    proxy: bytes
    sss: bytes


_packed = msgspec.msgpack.Decoder(_Packed)


class Credentials:
    """What to show to file servers for a query, and how it is renewed.

    While its session is there, a query gets others before these end: when a file has others, or when a command (`refresh`)
    has made some.

    Args:
        token: a bearer token (WLCG, SciTokens), for `root://` servers with TLS and for `https://`.
        token_file: a file that has one, instead.
        proxy: file of an X.509 proxy, with its key, as `voms-proxy-init` makes it.
        sss: file of a keytab for XRootD's simple shared secrets.
        refresh: a command that makes new ones, such as "htgettoken -i cms --minsecs 900" or ["myproxy-logon", ...], run
            without a shell; or a Python function. It renews the files that are named here; what comes from no file it
            prints, or returns: a token, or a proxy in PEM. A function may return `Credentials`, too.
        before: seconds before their end at which they are renewed; of what lasts less than three times as long, when two
            thirds of it are over.

    Raises:
        EventmillError: a file cannot be read, a proxy has no key, or nothing is given.

    Example:
        >>> Credentials(token="not.a.token")
        <Credentials: a token>
        >>> Credentials(refresh="oidc-token --time 900 cms")
        <Credentials: nothing yet>
    """

    def __init__(
        self,
        *,
        token: str = "",
        token_file: _PathLike | None = None,
        proxy: _PathLike | None = None,
        sss: _PathLike | None = None,
        refresh: Refresh | None = None,
        before: float = BEFORE,
    ) -> None:
        if token and token_file is not None:
            raise EventmillError("credentials have a token or a token_file, not both")
        self.refresh, self.before = _command(refresh), before
        if not 0 < before < 1e9:
            raise EventmillError(f"before={before}: it must be more than 0 s")
        files = {"token": token_file, "proxy": proxy, "keytab": sss}
        self.files: dict[str, Path] = {kind: Path(it).expanduser() for kind, it in files.items() if it is not None}
        self.of_environment, self._variable = False, ""
        self.token, self.proxy, self.sss = token.strip(), b"", b""
        self._read_files()
        if not (self or self.refresh):
            raise EventmillError("credentials need a token, a proxy or a keytab, or what makes them (refresh=)")

    @classmethod
    def from_environment(cls, *, refresh: Refresh | None = None, before: float = BEFORE) -> Credentials:
        """What this process has, where the clients of the grid look for it.

        A token in `BEARER_TOKEN`, `BEARER_TOKEN_FILE` or `bt_uID` in `XDG_RUNTIME_DIR` or /tmp; a proxy in
        `X509_USER_PROXY` or /tmp/x509up_uID; a keytab in `XrdSecSSSKT` or ~/.xrd/sss.keytab. Of several things, those that
        are over are left out. These places are looked at again and again: what is renewed there is taken up.

        Args:
            refresh, before: as for `Credentials`.

        Raises:
            EventmillError: there is none of these, or a file that is named there cannot be read.

        Example:
            >>> em.connect("default", credentials=em.Credentials.from_environment())     # doctest: +SKIP
        """
        credentials = cls.__new__(cls)
        credentials.refresh, credentials.before = _command(refresh), before
        credentials.files, credentials.of_environment, credentials._variable = {}, True, ""
        credentials.token, credentials.proxy, credentials.sss = "", b"", b""
        credentials._look_around()
        return credentials.good_ones()

    # --- what they are ------------------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        """Whether there is anything to show already."""
        return bool(self.token or self.proxy or self.sss)

    @property
    def lifetimes(self) -> list[Lifetime]:
        """Of each thing, until when it is good."""
        found = [of_token(self.token)] if self.token else []
        found += [of_proxy(self.proxy)] if self.proxy else []
        return found + ([Lifetime("keytab")] if self.sss else [])

    @property
    def first_to_end(self) -> Lifetime | None:
        """Of the things that say until when they are good, that which ends first."""
        ending = [it for it in self.lifetimes if it.ends is not None]
        return min(ending, key=lambda it: it.ends or 0.0, default=None)

    def left(self, now: float) -> float | None:
        """Seconds from `now` (since 1970) until the first of them ends; below 0: it has. None: they do not say."""
        first = self.first_to_end
        return None if first is None else first.left(now)

    @property
    def renewable(self) -> bool:
        """Whether there may be others: from a file, or by a command."""
        return bool(self.refresh or self.files)

    @property
    def secrets(self) -> list[str]:
        """What must stand in no text."""
        return [self.token] if self.token else []

    # --- others -------------------------------------------------------------------------------------------------------

    def again(self) -> Credentials:
        """The same, with what is in the files now.

        Raises:
            EventmillError: as when they were made.
        """
        other = self._like()
        if self.of_environment:
            other._look_around()
            return other.good_ones(kept={it.kind for it in self.lifetimes})
        other._read_files()
        return other

    def good_ones(self, kept: Collection[str] = ()) -> Credentials:
        """Those that are not over, if there are any, and the kinds that are to be kept: who looks for others in their place
        is to know that they were there. A proxy of last month lies about for long, and is not shown for that."""
        now = time.time()
        over = {it.kind for it in self.lifetimes if (left := it.left(now)) is not None and left <= 0}
        if len(over) == len(self.lifetimes):
            return self
        other = self._like()
        other.token = "" if "token" in over.difference(kept) else self.token
        other.proxy = b"" if "proxy" in over.difference(kept) else self.proxy
        return other

    def printed(self, text: str | bytes) -> Credentials:
        """The same, with a token or proxy that a command has printed.

        Raises:
            EventmillError: it is neither.
        """
        other = self._like()
        data = text.encode() if isinstance(text, str) else text
        if b"-----BEGIN " in data:
            of_proxy(data)
            other.proxy = data
            return other
        words = data.decode("utf-8", "replace").split()
        said = words[0] if len(words) == 1 else ""
        opaque = not self.files and len(said) >= SHORTEST  # beside files, a word may be anything
        if not (claims_of(said) or opaque) or len(said) > LARGEST or not set(said) <= _IN_TOKENS:
            raise EventmillError(f"{len(data)} bytes that are neither a token nor a proxy in PEM")
        other.token = said
        return other

    def with_those_of(self, given: Credentials) -> Credentials:
        """What a function has made anew, to be renewed as these are."""
        other = self._like()
        other.token, other.proxy, other.sss = given.token, given.proxy, given.sss
        return other

    def _like(self) -> Credentials:
        other = Credentials.__new__(Credentials)
        other.__dict__.update(self.__dict__)
        return other

    def _read_files(self) -> None:
        for kind, path in self.files.items():
            if not path.exists() and self.refresh:
                continue  # the command makes it
            data = _read(path)
            if kind == "token":
                self.token = _token_in(path, data)
            elif kind == "proxy":
                _check_proxy(path, data)
                self.proxy = data
            else:
                self.sss = data

    def _look_around(self) -> None:
        token, proxy, sss = found(os.environ)
        if isinstance(token, str) and token != self._variable:  # else what a command has printed since is newer
            self.token = self._variable = token
        places = {"token": token if isinstance(token, Path) else None, "proxy": proxy, "keytab": sss}
        self.files = {kind: path for kind, path in places.items() if path is not None}
        self._read_files()
        if not (self or self.refresh):
            raise EventmillError(
                "there is no token, proxy or keytab in this environment: make one (`voms-proxy-init`, `oidc-token`, "
                "`htgettoken`), or name it: em.Credentials(proxy=...)"
            )

    # --- on their way -------------------------------------------------------------------------------------------------

    def pack(self) -> bytes:
        """As they travel, encrypted by the connection."""
        return msgspec.msgpack.encode(_Packed(self.token, self.proxy, self.sss))

    @classmethod
    def unpack(cls, packed: bytes | memoryview) -> Credentials:
        """From `pack`. Raises `msgspec.MsgspecError` when it is not."""
        fields = _packed.decode(packed)
        credentials = cls.__new__(cls)
        credentials.token, credentials.proxy, credentials.sss = fields.token, fields.proxy, fields.sss
        credentials.refresh, credentials.before, credentials.files = None, BEFORE, {}
        credentials.of_environment, credentials._variable = False, ""
        return credentials

    def __repr__(self) -> str:
        return f"<Credentials: {self}>"

    def __str__(self) -> str:
        kinds = [describe_token(self.token)] if self.token else []
        kinds += [_described_proxy(self.proxy)] if self.proxy else []
        kinds += ["an sss keytab"] if self.sss else []
        return ", ".join(kinds) or "nothing yet"


def tag_of(packed: bytes | memoryview) -> str:
    """What tells packed credentials apart, and tells nothing of them."""
    return hashlib.sha256(packed).hexdigest()[:16]


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
    claims = claims_of(token)
    issuer, audience, scope = claims.get("iss"), claims.get("aud"), claims.get("scope")
    words = "a token"
    if isinstance(issuer, str):
        words += f" of {issuer}"
    if isinstance(scope, str):
        words += f" for {scope or 'nothing'}"
    if isinstance(audience, list):
        audience = ", ".join(map(str, audience))
    if isinstance(audience, str) and audience:
        words += f" at {audience}"
    return words + _end(of_token(token))


def span(seconds: float) -> str:
    """A time in words of the size that people use.

    Example:
        >>> span(45.2), span(125.0), span(5400.0), span(2e6)
        ('45 s', '2 min', '1.5 h', '23 d')
    """
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    if seconds < 5400.0:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} d"


def _described_proxy(proxy: bytes) -> str:
    try:
        return f"an X.509 proxy{_end(of_proxy(proxy))}"
    except EventmillError:
        return "an X.509 proxy"


def _end(lifetime: Lifetime) -> str:
    left = lifetime.left(time.time())
    if left is None:
        return ""
    return f" that ends in {span(left)}" if left > 0 else f" that ended {span(-left)} ago"


def _command(refresh: Refresh | None) -> Sequence[str] | Callable[[], object] | None:
    """A command as its words, or a function as it is."""
    if refresh is None or callable(refresh):
        return refresh
    try:
        words = shlex.split(refresh) if isinstance(refresh, str) else [str(word) for word in refresh]
    except ValueError as error:
        raise EventmillError(f"refresh={refresh!r} is no command: {error}") from None
    if not words:
        raise EventmillError("refresh= is an empty command")
    return words


def _token_in(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise EventmillError(f"{path} has no token in it: it is no text") from None


def _check_proxy(path: Path, data: bytes) -> None:
    try:
        of_proxy(data)
    except EventmillError as error:
        raise EventmillError(f"{path} is no X.509 proxy: {error}") from None


def _first(named: str | None, *places: Path) -> Path | None:
    """The file that is named, there or not; else the first of some places that is there."""
    if named:
        return Path(named)
    return next((place for place in places if os.access(place, os.R_OK)), None)


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EventmillError(f"the credentials in {path} cannot be read: {error.strerror}") from None
    if not 0 < len(data) <= LARGEST:
        raise EventmillError(f"{path} has {len(data)} bytes: these are no credentials")
    return data
