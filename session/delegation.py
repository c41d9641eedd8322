"""Credentials that a session has delegated to queries, as it keeps them good."""

from __future__ import annotations

import logging
import random
import threading
import time

from ..protocol.credentials import Credentials, span
from ..protocol.errors import EventmillError
from ..protocol.messages import CredentialsInfo
from .refresh import masked, refreshed
from .renewal_plan import RenewalPlan

log = logging.getLogger(__name__)

WATCH_SECONDS = 5.0
"""Seconds after which files with credentials are looked at again."""
SKEW = 60.0
"""Seconds by which clocks differ without anybody being told."""


class Delegation:
    """One set of credentials and when there will be others; by several threads.

    Args:
        credentials: the first ones.

    Attributes:
        first: these.
        current: the latest.
        trouble: why the last attempt to have others failed; empty when it did not.
    """

    def __init__(self, credentials: Credentials) -> None:
        self.first = self.current = credentials
        self.trouble = ""
        self._lock = threading.Lock()
        self._plan = RenewalPlan(credentials.before)
        self._looked = time.monotonic()
        self._take(credentials)

    def ready(self) -> Credentials:
        """What a query is to be submitted with: good still, or renewed just now.

        Raises:
            EventmillError: they are over, and there are no others.
        """
        if self.current.renewable and not self.good:
            self.renew()
        if self.current.of_environment and (rest := self.current.good_ones()) is not self.current:
            return rest  # who has a proxy needs no token, perhaps
        if not self.good:
            clock = f"{time.strftime('%H:%M:%S', time.gmtime())} UTC"
            why = f"; they could not be renewed: {self.trouble}" if self.trouble else ""
            over = f"the credentials are over: {self.current}, by the clock of this machine ({clock})"
            raise EventmillError(
                f"{over if self.current else 'there are no credentials'}{why}. Make new ones "
                "(`voms-proxy-init`, `oidc-token`, `htgettoken`), and session.renew(em.Credentials...)"
            )
        return self.current

    def next_look(self) -> float | None:
        """When `look` has something to do (`time.monotonic()`); None: never."""
        if not self.current.renewable:
            return None
        looks = [self._looked + WATCH_SECONDS] if self.current.files else []
        looks += [self._plan.due] if self.current.refresh and self._plan.due is not None else []
        return min(looks, default=None)

    def look(self) -> bool:
        """See to it: whether there is something new to tell the queries' master."""
        now = time.monotonic()
        due = self._plan.due is not None and self._plan.due <= now
        return self.renew() if due and self.current.refresh else self._reread()

    def renew(self) -> bool:
        """Have others made, or read: whether there is something new to tell."""
        had = self.current
        if not had.refresh:
            return self._reread()
        with self._lock:
            if self.current is not had:
                return True  # another thread has been quicker
            before = self.trouble
            try:
                other = refreshed(self.current)
                self._check_better(other)
            except EventmillError as error:
                self._plan.failed(time.monotonic(), random.random())  # noqa: S311 - no secret
                self._fail(str(error))
                return self.trouble != before
            self._take(other)
            return True

    def info(self) -> CredentialsInfo:
        """What the master may know of them."""
        first = self.current.first_to_end
        renewed = "command" if self.current.refresh else "file" if self.current.files else "nobody"
        kind = "" if first is None else first.kind
        return CredentialsInfo(kind, self.current.left(time.time()), renewed, self.trouble)  # type: ignore[arg-type]

    @property
    def good(self) -> bool:
        """Whether there are some, and they are not over."""
        left = self.current.left(time.time())
        return bool(self.current) and (left is None or left > 0)

    def _reread(self) -> bool:
        """Look whether the files have others."""
        with self._lock:
            self._looked = time.monotonic()
            before = self.trouble
            try:
                other = self.current.again()
            except EventmillError as error:  # it may be half written: then it is another one the next time
                self._fail(str(error))
                return self.trouble != before
            if other.pack() == self.current.pack():
                self.trouble = "" if not self.current.refresh else self.trouble
                return self.trouble != before
            self._take(other)
            return True

    def _check_better(self, other: Credentials) -> None:
        """Raise if what was made does not end later: a program that keeps tokens gives the same one until it is over."""
        now = time.time()
        left, had = other.left(now), self.current.left(now)
        if left is not None and left <= 0:
            raise EventmillError(f"what it made is over already: {other}, by the clock of this machine")
        if self.current and left is not None and had is not None and left <= had:
            raise EventmillError(
                f"it gave what ends in {span(left)}, which is no later than before: have it make new ones in time "
                "(oidc-token --time, htgettoken --minsecs)"
            )

    def _take(self, credentials: Credentials) -> None:
        wall = time.time()
        behind = max((it.behind(wall) for it in credentials.lifetimes), default=0.0)
        self.current, self.trouble = credentials, ""
        self._plan.obtained(credentials.left(wall), time.monotonic(), random.random())  # noqa: S311 - no secret
        if behind > SKEW:
            log.warning("%s: made %s from now: the clock of this machine is wrong", credentials, span(behind))
        log.info("credentials: %s", credentials)

    def _fail(self, words: str) -> None:
        trouble = masked(words, self.current.secrets)
        if trouble != self.trouble:
            log.warning("the credentials (%s) are not renewed: %s", self.current, trouble)
        self.trouble = trouble
