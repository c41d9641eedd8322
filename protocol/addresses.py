"""Addresses that have a secret in them: a token behind the `?`, a signature, a password."""

from __future__ import annotations

import re

_PARAMETERS = "[?&](?:authz|token|access_token|signature|sig|x-amz-[a-z-]{1,40})="
_LOGIN = r"://[\w.~%!$&'()*+,;=-]{0,200}:[\w.~%!$&'()*+,;=-]{1,200}@"
"""Of what may be in an address only: a pickle has anything behind one with a port."""
_LOGINS, _SIGNED = (re.compile(it.encode(), re.IGNORECASE) for it in (_LOGIN, _PARAMETERS))
_WORDS = (b"authz=", b"token=", b"signature=", b"sig=", b"x-amz-")
"""One of which is in all that `_SIGNED` finds. To look for bytes is several times as fast as for an expression: a list of a
million files has 180 MB."""
_AT_ONCE, _LONGEST = 2**20, 512
"""Bytes that are looked through at a time, and that what is looked for may have at most."""
_VALUE = re.compile(rf"({_PARAMETERS})[^&\s'\"<>]+", re.IGNORECASE)
HIDDEN = ":...@"
"""In the place of a password."""
_PASSWORD = re.compile(r"(://[^\s/:@'\"<>]{0,200}):[^\s/@'\"<>]{1,200}@")


def has_secret(content: str | bytes | memoryview) -> bool:
    """Whether an address, or a list of addresses, has a secret in it.

    Example:
        >>> has_secret("https://host/a.root?authz=abc"), has_secret("root://ada:word@host//a.root")
        (True, True)
        >>> has_secret("https://host/a.root?version=2"), has_secret("root://ada@host:1094//a.root")
        (False, False)
    """
    view = memoryview(content.encode(errors="replace") if isinstance(content, str) else content)
    starts = range(0, len(view), _AT_ONCE)
    return any(_is_in(bytes(view[max(0, start - _LONGEST) : start + _AT_ONCE])) for start in starts)


def _is_in(part: bytes) -> bool:
    if b"@" in part and _LOGINS.search(part):
        return True
    lower = part.lower()
    return any(word in lower for word in _WORDS) and _SIGNED.search(part) is not None


def without_secrets(text: str) -> str:
    """A text in which an address may stand, as it can be shown.

    Example:
        >>> without_secrets("404, url='https://host/a.root?authz=abc&version=2'")
        "404, url='https://host/a.root?authz=...&version=2'"
        >>> without_secrets("there is no file root://ada:word@host//a.root")
        'there is no file root://ada:...@host//a.root'
    """
    return _PASSWORD.sub(rf"\1{HIDDEN}", _VALUE.sub(r"\1...", text))


def shown(path: str) -> str:
    """A path as others may see it: what follows the `?` of a URL may be a token, and before the `@` may be a password.

    Example:
        >>> shown("https://host/a.root?authz=secret"), shown("what?.root"), shown("root://ada:word@host//a.root")
        ('https://host/a.root', 'what?.root', 'root://ada:...@host//a.root')
    """
    return without_secrets(path.partition("?")[0]) if "://" in path else path
