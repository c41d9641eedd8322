"""What PBS says of jobs, and of what it does not take, put into words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .pool import Job, JobState, Trouble

_STATES: Mapping[str, JobState] = {
    "Q": "queued", "T": "queued", "W": "queued", "M": "queued", "H": "held",
    "R": "started", "B": "started", "S": "started", "U": "started", "E": "ending", "F": "gone", "X": "gone",
}  # fmt: skip
_DOWN = re.compile(r"cannot connect|Connection refused|errno=|communication failure|timed? ?out|End of File", re.I)
_FULL = re.compile(r"would exceed|Maximum number of jobs|limit has been (met|reached)|too many jobs", re.I)
_KILLED = 256
"""What is added to the number of a signal that ended a job."""
_KILLED_IN_SHELL = 128
_WALLTIME = "-29"
_DELETED = 15


def trouble_of(said: str) -> Trouble:
    """What an answer of qsub means: whether to ask again later, or never.

    Example:
        >>> trouble_of("qsub: would exceed queue short's per-user limit"), trouble_of("qsub: Unknown queue")
        ('full', 'refused')
        >>> trouble_of("qsub: cannot connect to server pbs01 (errno=111)")
        'down'
    """
    if _FULL.search(said):
        return "full"
    return "down" if _DOWN.search(said) else "refused"


def job_of(facts: Mapping[str, str] | None) -> Job:
    """What `qstat -f` says of a job; None: nothing.

    Example:
        >>> job_of({"job_state": "Q", "comment": "Not Running: Insufficient amount of resource: ncpus"})
        Job(state='queued', reason='Insufficient amount of resource: ncpus', host='')
        >>> job_of({"job_state": "F", "Exit_status": "127", "exec_host": "node7/0*4"})
        Job(state='failed', reason='ended with code 127', host='node7')
    """
    if facts is None:
        return Job("gone", "PBS does not know it any more")
    comment = facts.get("comment", "")
    state = _STATES.get(facts.get("job_state", ""), "gone")
    host = facts.get("exec_host", "").partition("/")[0]
    if state in {"queued", "held"}:
        if comment.startswith("Can Never Run"):
            state = "held"
        return Job(state, re.sub(r"^(Not Running|Can Never Run): ", "", comment), host)
    if state == "started":
        return Job(state, "suspended" if facts["job_state"] in "SU" else "", host)
    code = facts.get("Exit_status", "0") if state == "gone" else "0"
    if code in {"0", str(_KILLED + _DELETED)}:
        return Job(state, "", host)
    if code == _WALLTIME:
        return Job("gone", "its walltime is over", host)
    number = int(code)
    if number > _KILLED_IN_SHELL:
        signal = number - (_KILLED if number > _KILLED else _KILLED_IN_SHELL)
        return Job("failed", f"killed by signal {signal}", host)
    return Job("failed", f"ended with code {code}" if number > 0 else f"PBS could not run it: {comment}", host)
