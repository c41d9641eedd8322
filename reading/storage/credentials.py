"""What this process shows to file servers: what it finds in its environment, or what came with a query.

What came with a query is in memory only, as files without a name (`memfd_create`): it is gone with the process, however
that ends. The XRootD client reads it when it connects, from where the environment says (`BEARER_TOKEN_FILE`, ...), so a
connection is opened while the query's variables are set, and they stay set until another query's are. A word in the
address (`xrdcl.intent`) keeps the connections of different credentials apart, also those before and after a renewal.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...protocol.codec import Buffer
from ...protocol.credentials import Credentials, describe_token, found, tag_of

VARIABLES = ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "X509_USER_PROXY", "XrdSecSSSKT", "XrdSecPROTOCOL")
_ANYBODY = ("unix", "host")
"""Ways to log in that prove nothing, and are offered by servers that want no proof."""


class CredentialSet:
    """The credentials of one query, where the XRootD client finds them.

    Attributes:
        tag: tells different credentials apart, and tells nothing of them.
        headers: of requests to web servers; who reads a file there keeps them, and sends what is in them by then.
    """

    def __init__(self, credentials: Credentials, tag: str) -> None:
        self.tag, self.keytab, self._credentials = tag, credentials.sss, credentials
        self.headers = {"Authorization": f"Bearer {credentials.token}"} if credentials.token else {}
        kinds = {"ztn": credentials.token.encode(), "gsi": credentials.proxy, "sss": credentials.sss}
        places = {kind: _file_in_memory(kind, data) for kind, data in kinds.items() if data}
        self.variables = {
            "BEARER_TOKEN_FILE": places.get("ztn"),
            "X509_USER_PROXY": places.get("gsi"),
            "XrdSecSSSKT": places.get("sss"),
            "XrdSecPROTOCOL": ",".join((*places, *_ANYBODY)),
        }
        self._parameters = f"xrdcl.intent={tag}"
        if "gsi" in places:  # the client looks into the environment for it once a process only
            self._parameters += f"&xrd.gsiusrpxy={places['gsi']}"

    @property
    def text(self) -> str:
        """What is shown, in words that tell no secret, and how long it is good still."""
        return f"the query's credentials ({self._credentials})"

    def take_over(self, earlier: CredentialSet) -> None:
        """Files that a query has open at web servers with earlier ones are read on with these: each request there has the
        token with it. XRootD servers ask once a connection, and let those read on who have a file open."""
        if self.headers and earlier.headers:
            earlier.headers.update(self.headers)

    def address(self, url: str) -> str:
        """The address of a file, for connections with these credentials. It has none of their secrets in it."""
        return f"{url}{'&' if '?' in url else '?'}{self._parameters}"


def _file_in_memory(name: str, data: bytes) -> str:
    """The path of a file that only this user can read, and that nobody has to remove."""
    file = os.memfd_create(name, os.MFD_CLOEXEC)
    os.fchmod(file, 0o600)
    os.write(file, data)
    return f"/proc/{os.getpid()}/fd/{file}"


class _Wearer:
    """Whose credentials the environment of this process names.

    Attributes:
        keytab: what the XRootD client has found when it looked for a keytab; None: it has not.
        wearing: how many are connecting with what is worn; `free` tells that nobody is any more.
    """

    def __init__(self) -> None:
        self.free = threading.Condition()
        self.wearing = 0
        self.keytab: bytes | None = None
        self._own: dict[str, str | None] = {}
        self._worn: CredentialSet | None = None

    def suits(self, credential_set: CredentialSet | None) -> bool:
        """Whether it may be worn now: others may be connecting with it, but not with another one."""
        return credential_set is self._worn or not self.wearing

    def wear(self, credential_set: CredentialSet | None) -> None:
        """Have new connections opened with the credentials of a query, or with those of this process."""
        if self.keytab is None:
            self.keytab = self.own_keytab if credential_set is None else credential_set.keytab
        if credential_set is self._worn:
            return
        if self._worn is None:
            self._own = {name: os.environ.get(name) for name in VARIABLES}
        for name in VARIABLES:
            value = self._own[name] if credential_set is None else credential_set.variables.get(name)
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._worn = credential_set

    @property
    def environment(self) -> dict[str, str]:
        """That of this process, as it is when no query's credentials are worn."""
        own = {**os.environ, **self._own} if self._worn is not None else os.environ
        return {name: value for name, value in own.items() if value is not None}

    @functools.cached_property
    def own_keytab(self) -> bytes:
        """That of this process."""
        *_, keytab = found(self.environment)
        try:
            return b"" if keytab is None else keytab.read_bytes()
        except OSError:
            return b""  # the client will say what is wrong with it


_wearer = _Wearer()
_credential_sets: dict[str, CredentialSet] = {}
"""By their tags. They are kept, because the client remembers a proxy by the name of its file."""


def credential_set_of(packed: Buffer) -> CredentialSet:
    """The credential set for credentials that came with a query: always the same one for the same.

    Raises:
        msgspec.MsgspecError: they are no credentials.
    """
    tag = tag_of(packed)
    if tag not in _credential_sets:
        _credential_sets[tag] = CredentialSet(Credentials.unpack(packed), tag)
    return _credential_sets[tag]


class _AtWork:
    """The query whose code runs in this process.

    Attributes:
        credential_set: what came with it.
    """

    credential_set: CredentialSet | None = None


def turn_to(credential_set: CredentialSet | None) -> None:
    """A query with these credentials is at work from now on."""
    _AtWork.credential_set = credential_set


def at_work() -> CredentialSet | None:
    """The credentials of the query at work, for what its code reads by itself; None: what this process has."""
    return _AtWork.credential_set


@contextmanager
def wearing(credential_set: CredentialSet | None) -> Iterator[Callable[[str], str]]:
    """Open connections in here, to what the address of a file becomes. None: with the credentials of this process.

    Who has other credentials waits until nobody is in here any more.
    """
    with _wearer.free:
        _wearer.free.wait_for(lambda: _wearer.suits(credential_set))
        _wearer.wear(credential_set)
        _wearer.wearing += 1
    try:
        yield str if credential_set is None else credential_set.address
    finally:
        with _wearer.free:
            _wearer.wearing -= 1
            _wearer.free.notify_all()


def fits(credential_set: CredentialSet | None) -> bool:
    """Whether this process can show these, and no others: the XRootD client looks for a keytab once, and keeps what it
    finds. It shows it whenever it may, unless a query brings something else.
    """
    if credential_set is None:
        return _wearer.keytab in (None, _wearer.own_keytab)
    return not credential_set.keytab or _wearer.keytab in (None, credential_set.keytab)


def tag(credential_set: CredentialSet | None) -> str:
    """What a server does not accept, as the master can compare it; empty where the query has brought nothing."""
    return "" if credential_set is None else credential_set.tag


def shown(credential_set: CredentialSet | None) -> str:
    """What a server was shown, in words that tell no secret."""
    if credential_set is not None:
        return credential_set.text
    token, proxy, keytab = found(_wearer.environment)
    kinds = [describe_token(token) if isinstance(token, str) else f"the token {token}"] if token else []
    kinds += [f"the proxy {proxy}"] if proxy else []
    kinds += [f"the keytab {keytab}"] if keytab else []
    return f"what this worker has ({', '.join(kinds)})" if kinds else "a worker without a token, a proxy or a keytab"
