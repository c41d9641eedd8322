"""How long a query's credentials are good, in words: what ends soon, and whether there will be others."""

from __future__ import annotations

from ..protocol.credentials import span
from ..protocol.messages import CredentialsInfo

SOON = 120.0
"""Seconds before their end from which on displays say so, whoever renews them."""
MISSING = "credentials are not written down, and the master was started again: session.renew(...) brings them"


def ending(info: CredentialsInfo | None) -> str:
    """What is to be said while a query runs; empty when there is nothing to worry about.

    Example:
        >>> ending(CredentialsInfo("token", 3000.0, "command"))
        ''
        >>> ending(CredentialsInfo("token", 100.0, "command"))
        'the token ends in 100 s and is being renewed'
        >>> ending(CredentialsInfo("proxy", 100.0))
        'the proxy ends in 100 s, and nobody renews it: session.renew(...)'
        >>> ending(CredentialsInfo("token", 480.0, "command", "oidc-token: no such account"))
        'the token ends in 8 min, and its renewal fails: oidc-token: no such account'
        >>> ending(CredentialsInfo("token", -30.0, "command", away=True))
        'the token ended 30 s ago, and the session that renews it is away: eventmill credentials renew'
    """
    if info is None or info.missing:
        return ""
    if info.left is None:
        return f"credentials are not renewed: {info.trouble}" if info.trouble else ""
    if info.left > SOON and not info.trouble:
        return ""
    end = f"ends in {span(info.left)}" if info.left > 0 else f"ended {span(-info.left)} ago"
    return f"the {info.kind} {end}{_renewal(info)}"


def _renewal(info: CredentialsInfo) -> str:
    if info.renewed == "nobody":
        return ", and nobody renews it: session.renew(...)"
    if info.away:
        return ", and the session that renews it is away: eventmill credentials renew"
    if info.trouble:
        return f", and its renewal fails: {info.trouble}"
    return " and is being renewed" if info.renewed == "command" else ", and there is no other in its place yet"


def awaited(info: CredentialsInfo | None) -> str:
    """What a query waits for that cannot go on without others.

    Example:
        >>> awaited(CredentialsInfo(missing=True)) == MISSING
        True
        >>> awaited(CredentialsInfo("token", -30.0, "command", "oidc-token: no such account"))
        'the token ended 30 s ago, and its renewal fails: oidc-token: no such account'
    """
    return ending(info) or MISSING


def brief(info: CredentialsInfo | None) -> str:
    """Until when, in a cell of a list; empty for a query that has none, or is over.

    Example:
        >>> brief(CredentialsInfo("token", 3000.0, "command")), brief(CredentialsInfo("proxy", -30.0)), brief(None)
        ('token 50 min', 'proxy over', '')
        >>> brief(CredentialsInfo("token", 3000.0, "file", away=True))
        'token 50 min, session away'
        >>> brief(CredentialsInfo("token", 480.0, "command", "no such account")), brief(CredentialsInfo(missing=True))
        ('token 8 min, renewal fails', 'missing')
    """
    if info is None:
        return ""
    if info.missing:
        return "missing"
    left = "" if info.left is None else f" {span(info.left)}" if info.left > 0 else " over"
    trouble = ", session away" if info.away else ", renewal fails" if info.trouble else ""
    return f"{info.kind or 'no end'}{left}{trouble}"
