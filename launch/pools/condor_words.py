"""What HTCondor says, in our words: of jobs by their ads, of what went wrong by the texts of its bindings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .pool import Job, PoolError, Trouble

ATTRIBUTES = [
    "ClusterId", "ProcId", "JobStatus", "NumJobStarts", "RemoteHost", "HoldReason", "HoldReasonCode", "LastRejMatchReason",
    "VacateReason", "ExitCode", "ExitSignal", "ExitBySignal", "LastRemoteHost",
]  # fmt: skip
"""Of a job's ad, for `job_of`."""
_SPOOLING = 16
"""The code of the hold that ends by itself when the files of a spooled job have arrived."""
_WRONG = ("error", "failed", "can't resolve", "denied")
_DATE = re.compile(r"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d ")
_STRANGER = re.compile(r"authenticat|authoriz|permission denied|your credentials", re.IGNORECASE)
_AWAY = re.compile(r"communication|collector host|local daemon|no schedd|which schedd|connect to", re.IGNORECASE)
_LIMIT = re.compile(r"Schedd says (-[234])\b")
_LIMITS = {
    "-2": "the schedd has as many as it takes (MAX_JOBS_SUBMITTED)",
    "-3": "one user may not have more (MAX_JOBS_PER_OWNER)",
    "-4": "these are more than may be submitted at once (MAX_JOBS_PER_SUBMISSION)",
}
"""By the numbers with which a schedd refuses a job; the bindings give no words."""


def job_of(ad: Mapping[str, Any]) -> Job:
    """What a job's ad says, in our words and HTCondor's reasons.

    A job that was evicted is idle again, for HTCondor. As its submit file says, it is not started again, but removed.

    Example:
        >>> job_of({"JobStatus": 5, "HoldReason": "Cannot access initial working directory"})
        Job(state='held', reason='Cannot access initial working directory', host='')
    """
    host = str(ad.get("RemoteHost", "")).rpartition("@")[2]
    match ad["JobStatus"]:
        case 1 if ad.get("NumJobStarts"):
            return Job("ending", _because("evicted", ad.get("VacateReason")))
        case 1:
            rejected = ad.get("LastRejMatchReason")
            more = f": condor_q -better-analyze {id_of(ad)} says more"
            return Job("queued", f"{rejected.strip()}{more}" if rejected else "")
        case 2:
            return Job("started", "", host)
        case 3 | 6:  # removed, but not yet gone; or what it has written is on its way
            return Job("ending", "", host)
        case 4:
            return _ended(ad)
        case 5 if ad.get("HoldReasonCode") == _SPOOLING:
            return Job("queued", "its files are on their way to the schedd")
        case 5:
            return Job("held", _one_line(ad.get("HoldReason")))
        case 7:
            return Job("started", "suspended by HTCondor", host)
        case other:
            return Job("queued", f"in HTCondor's state {other}")


def _because(what: str, why: object) -> str:
    reason = _one_line(why)
    return f"{what}: {reason}" if reason else what


def _one_line(text: object) -> str:
    return " ".join(str(text or "").split())


def _ended(ad: Mapping[str, Any]) -> Job:
    if ad.get("ExitCode") == 0:
        return Job("gone")
    signal = ad.get("ExitBySignal") and ad.get("ExitSignal")
    how = f"killed by signal {signal}" if signal else f"ended with code {ad.get('ExitCode', 'unknown')}"
    return Job("failed", how, str(ad.get("LastRemoteHost", "")).rpartition("@")[2])


def id_of(ad: Mapping[str, Any]) -> str:
    """HTCondor's own word for a job."""
    return f"{ad['ClusterId']}.{ad['ProcId']}"


def said_by_condor(text: str) -> str:
    """The last lines that say what went wrong, of what the bindings wrote to standard error, without their dates.

    Example:
        >>> said_by_condor("11/29/26 20:07:39 attempt to connect to <127.0.0.1:1> failed: Connection refused\\n")
        'attempt to connect to <127.0.0.1:1> failed: Connection refused'
    """
    wrong = [line for line in text.splitlines() if any(word in line.casefold() for word in _WRONG)]
    return "; ".join(_DATE.sub("", line).strip() for line in wrong[-2:])


def trouble_of(verb: str, failed: str, said: str, place: str) -> PoolError:
    """The error for what the bindings (`failed`) and HTCondor (`said`) have said about a call.

    Example:
        >>> trouble_of("submit", "expected next ProcId to be 99, but Schedd says -3", "", "HTCondor")
        PoolError('HTCondor takes no more jobs now: one user may not have more (MAX_JOBS_PER_OWNER)')
    """
    words = "; ".join(" ".join(text.split()) for text in (failed, said) if text)
    limit = _LIMIT.search(failed)
    if limit:
        return PoolError(f"{place} takes no more jobs now: {_LIMITS[limit[1]]}", "full")
    if _STRANGER.search(words):
        return PoolError(
            f"{place} does not let you in ({words}): get a ticket (kinit) or a token (condor_token_fetch), and try again"
        )
    trouble: Trouble = "refused" if verb == "submit" and not _AWAY.search(failed) else "down"
    return PoolError(f"{place}: {words}", trouble)


def literal(value: bool | int | float | str) -> str:
    """A value as it stands in a job's ad.

    Example:
        >>> literal(True), literal(7200), literal("physics")
        ('true', '7200', '"physics"')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else repr(value)


def quoted(text: str) -> str:
    """A text as it stands in a job's ad."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
