"""What a query waits for and what its slots begin with, in words."""

from __future__ import annotations

from ..protocol.messages import Activity, Progress, WaitsFor
from .credentials import awaited

STARTING = "the workers are starting"
"""What a session of its own says, whose workers are nobody else's to start."""
NO_WORKER = "no worker has joined yet: start one with `eventmill worker`, or some with `session.scale`"
_WAITS: dict[WaitsFor, str] = {
    "workers": NO_WORKER,
    "slots": "all slots are busy with other queries",
    "server": "{server} has not answered for {seconds:.0f} s ({file})",
    "retry": "{reason}; it will be tried again",
    "credentials": "{credentials}",
    "merging": "all events are processed; what they gave is being merged",
    "failure": "an error has ended it; what was merged before is being taken",
}
_BEGINNINGS: dict[Activity, str] = {
    "running": "running the first entries",
    "compiling": "compiling",
    "reading": "reading the first entries",
    "opening": "opening files",
    "loading": "loading the analysis",
}


def is_starting(progress: Progress, starts_workers: bool) -> bool:
    """Whether a query waits for workers that its session starts itself: they are nobody else's to start."""
    return starts_workers and progress.waits is not None and progress.waits.what == "workers"


def waiting(progress: Progress, starts_workers: bool = False) -> str:
    """What a query waits for as a whole; empty when it does not, or when some of its slots only wait.

    Example:
        >>> from eventmill.protocol.messages import Account, Wait
        >>> progress = Progress("q1", Account(), 0, 0, 0, 0, 1.0, Wait("slots"))
        >>> waiting(progress)
        'all slots are busy with other queries'
        >>> waiting(Progress("q1", Account(), 0, 0, 0, 0, 1.0, Wait("workers", reason="2 requested in night, 2 queued")))
        '2 requested in night, 2 queued'
        >>> progress = Progress("q1", Account(), 0, 0, 2, 1, 9.0, Wait("server", 2, "eos.cern.ch", "a.root", 7.2))
        >>> waiting(progress)
        'eos.cern.ch has not answered for 7 s (a.root)'
    """
    wait = progress.waits
    if wait is None or wait.slots < progress.slots:
        return ""
    if wait.what == "workers" and wait.reason:
        return wait.reason
    if is_starting(progress, starts_workers):
        return STARTING
    return _WAITS[wait.what].format(
        server=wait.server, file=wait.file, seconds=wait.seconds, reason=wait.reason,
        credentials=awaited(progress.credentials),
    )  # fmt: skip


def doing(progress: Progress) -> str:
    """What the slots of a query begin with, or which server some of them wait for; empty when it just goes on.

    Example:
        >>> from eventmill.protocol.messages import Account, Wait
        >>> doing(Progress("q1", Account(), 0, 0, 4, 1, 9.0, Wait("server", 2, "eos.cern.ch", "a.root", 7.2)))
        '2 slots wait for eos.cern.ch'
        >>> doing(Progress("q1", Account(), 0, 0, 4, 1, 1.0, begins="compiling"))
        'compiling'
    """
    wait = progress.waits
    if wait is not None:
        slots = "1 slot waits" if wait.slots == 1 else f"{wait.slots} slots wait"
        return f"{slots} for {wait.server}" if wait.slots < progress.slots else ""
    return "" if progress.begins is None else _BEGINNINGS[progress.begins]
