"""The one exception hierarchy of eventmill.

Everything that eventmill itself raises is an `EventmillError`; an exception in the user's own analysis arrives as that
exception's own type. Messages are for physicists: what is wrong, where, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from .addresses import without_secrets


class EventmillError(Exception):
    """Base of every error that eventmill raises. What it says may be shown: tokens and passwords of addresses are not in it.

    Attributes:
        result: what was merged of a query before this error ended it, a `Result`; None where there is no such thing.
    """

    result: Any = None

    def __init__(self, *words: object) -> None:
        super().__init__(*(without_secrets(word) if isinstance(word, str) else word for word in words))


class ConnectionFailed(EventmillError):
    """No usable master: nobody answers, a key is refused, or versions do not fit."""


class DatasetError(EventmillError):
    """The data asked for is not there: no such file, tree or branch, or a file that cannot be read.

    Attributes:
        transient: it may pass, as when a server does not answer: trying again, later or elsewhere, makes sense.
        missing_column: the branch that the file has not, if that is what is wrong.
        denied: the tag of the query's credentials, if its server does not accept these.
    """

    def __init__(self, *words: object, transient: bool = False, missing_column: str = "", denied: str = "") -> None:
        super().__init__(*words)
        self.transient = transient
        self.missing_column = missing_column
        self.denied = denied


class AnalysisError(EventmillError):
    """The analysis cannot run: it does not compile, cannot travel, or took its slot down."""


class MergeError(AnalysisError):
    """The analysis returned something that cannot be merged, or partial results that do not fit together.

    `too_long`: each of them fits by itself, but all of them are too much for one result.
    """

    too_long = False


class OutputError(EventmillError):
    """Rows cannot be written: the folder, the disk or the server does not take them, or the format cannot hold them."""


class QueryFailed(EventmillError):
    """A query ended without a result for a reason that is in neither the data nor the analysis."""


class CountError(QueryFailed):
    """A result does not count the entries that it is said to hold: a fault of eventmill's, and no result is given."""


class ProtocolError(EventmillError):
    """A message that must not be: see the two kinds below."""


class LocalProtocolError(ProtocolError):
    """We were about to send, or did, something that the protocol forbids: a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """A peer sent something that the protocol forbids; the peer is told, and the loop goes on."""


def nearest(name: str, known: Iterable[str], few: int = 0) -> str:
    """The end of a message about a name that is not known: those that are most like it, never thousands.

    Args:
        name: as somebody wrote it.
        known: all names that there are.
        few: if there are no more than these, all are told.

    Example:
        >>> nearest("Muon_PT", ["Muon_pt", "nMuon"]), nearest("Jets", ["events"], few=10)
        ('; the nearest names are Muon_pt, nMuon', '; it has events')
    """
    names = list(known)
    if 0 < len(names) <= few:
        return f"; it has {', '.join(names)}"
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if not near:
        lower = {other.lower(): other for other in names}
        near = [lower[other] for other in difflib.get_close_matches(name.lower(), list(lower), n=3, cutoff=0.5)]
    return f"; the nearest names are {', '.join(near)}" if near else ""
