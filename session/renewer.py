"""Keeps a session's credentials good: a thread that looks at files and has commands run when it is time."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Iterable
from typing import Protocol

from .delegation import Delegation

log = logging.getLogger(__name__)


class Delegating(Protocol):
    """Who has delegated credentials. It is held weakly: this thread keeps no session alive."""

    def delegations(self) -> Iterable[Delegation]:
        """Those that are in use."""

    def bring(self, delegation: Delegation) -> None:
        """Tell the master what is new of these."""


class Renewer:
    """The thread; it begins with the first credentials that can be renewed.

    Args:
        owner: has the credentials.
    """

    def __init__(self, owner: Delegating) -> None:
        self._owner = weakref.ref(owner)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = self._woken = False

    def wake(self) -> None:
        """Credentials are in use that were not before."""
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="eventmill renewer", daemon=True)
                self._thread.start()
            self._woken = True
            self._changed.notify()

    def close(self) -> None:
        """End it; a command that runs is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while not self._closed:
            wait = self._look()
            with self._changed:
                self._changed.wait_for(lambda: self._woken or self._closed, wait)
                self._woken = False

    def _look(self) -> float | None:
        """Renew what is due; returns the seconds until something else is."""
        owner = self._owner()
        if owner is None:
            return 0.0
        now, looks = time.monotonic(), []
        for delegation in owner.delegations():
            if self._closed:
                break
            look = delegation.next_look()
            if look is not None and look <= now:
                if delegation.look():
                    owner.bring(delegation)
                look = delegation.next_look()
            if look is not None:
                looks.append(look)
        return max(0.0, min(looks) - time.monotonic()) if looks else None
