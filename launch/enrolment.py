"""The tokens by which the workers of each pool enrol: when a new one is needed, and what the master says of it.

A worker's key is good for as long as its token is, and jobs may wait in a queue with a token that was written when
they were asked for. So tokens are good for much longer than a worker lives, and a new one is made every day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from ..protocol.messages import MakeToken, TokenTerms
from .pools.pool import Pool

VALID_SECONDS = 14 * 86400.0
"""For which a token is good."""
RENEWED_SECONDS = 86400.0
"""After which another one is made for new workers."""
RETRY_SECONDS = 60.0
"""After which a token that was refused is asked for again."""
USES_A_WORKER = 100
"""How often a token may be used, for each worker that the pool may have: workers are replaced, and jobs requeued."""
MOST_USES = 10**6


@dataclass(slots=True)
class Due:
    """When a pool needs a token: `at`. `asked` is the number of the request for it, and `text` what is to be written into
    the file once the master knows it."""

    at: float = -inf
    asked: int = 0
    text: str = ""


class Enrolment:
    """The tokens of all pools.

    Args:
        pools: their settings.
        tag: of this launcher; no earlier one had it.
        make: makes a token: its text, and its public key.

    Example:
        >>> enrolment = Enrolment({"night": Pool(most=2)}, "a1", lambda: ("the token", "k" * 40))
        >>> ask, = enrolment.requests("alice", now=0.0)
        >>> ask.terms.name, ask.terms.owner, enrolment.requests("alice", now=1.0)
        ('night-a1-1', 'alice', [])
        >>> enrolment.made(ask.request, now=2.0), enrolment.deadline()
        (('night', 'the token'), 86402.0)
    """

    def __init__(self, pools: Mapping[str, Pool], tag: str, make: Callable[[], tuple[str, str]]) -> None:
        self._pools = pools
        self._tag = tag
        self._make = make
        self._due = {name: Due() for name in pools}
        self._requests = 0

    def requests(self, user: str, now: float) -> list[MakeToken]:
        """What the master is to be asked for; `user` is whose launcher this is, by the key that it has."""
        asked = []
        for name, due in self._due.items():
            if now >= due.at and not due.asked:
                self._requests += 1
                due.asked = self._requests
                due.text, public_key = self._make()
                asked.append(MakeToken(due.asked, public_key, self._terms(name, user)))
        return asked

    def made(self, request: int, now: float) -> tuple[str, str] | None:
        """The master knows a token: for which pool it is, and what to write into its file."""
        for name, due in self._due.items():
            if due.asked == request:
                due.asked, due.at = 0, now + RENEWED_SECONDS
                text, due.text = due.text, ""
                return name, text
        return None

    def refused(self, request: int, now: float) -> str | None:
        """The master does not want a token: for which pool it was."""
        for name, due in self._due.items():
            if due.asked == request:
                due.asked, due.at, due.text = 0, now + RETRY_SECONDS, ""
                return name
        return None

    def parted(self) -> None:
        """The master is out of reach: what was asked for will not be answered."""
        for due in self._due.values():
            due.asked, due.text = 0, ""

    def deadline(self) -> float:
        """When `requests` is to be called at the latest."""
        return min((due.at for due in self._due.values() if not due.asked), default=inf)

    def _terms(self, name: str, user: str) -> TokenTerms:
        pool = self._pools[name]
        return TokenTerms(
            f"{name}-{self._tag}-{self._requests}",
            pool.owner or user,
            name,
            min(USES_A_WORKER * max(1, pool.most), MOST_USES),
            pool.cores,
            VALID_SECONDS,
        )
