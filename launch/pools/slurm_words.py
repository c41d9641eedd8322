"""What Slurm says of jobs, and of what it does not take, put into words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .pool import Job, JobState, Trouble

_STATES: Mapping[str, JobState] = {
    "PENDING": "queued",
    "CONFIGURING": "queued",
    "REQUEUED": "queued",
    "REQUEUE_FED": "queued",
    "REQUEUE_HOLD": "held",
    "SPECIAL_EXIT": "held",
    "RESV_DEL_HOLD": "held",
    "RUNNING": "started",
    "RESIZING": "started",
    "SIGNALING": "started",
    "SUSPENDED": "started",
    "STOPPED": "started",
    "COMPLETING": "ending",
    "STAGE_OUT": "ending",
    "BOOT_FAIL": "failed",
    "FAILED": "failed",
    "LAUNCH_FAILED": "failed",
    "NODE_FAIL": "failed",
    "OUT_OF_MEMORY": "failed",
    "RECONFIG_FAIL": "failed",
}
"""What its states are here. All others are ends: COMPLETED, CANCELLED, DEADLINE, PREEMPTED, REVOKED, TIMEOUT."""
_NEVER = re.compile(
    r"JobHeld|BadConstraints|Invalid|NotAllowed|PartitionConfig|PartitionNodeLimit|PartitionTimeLimit|DependencyNever"
    r"|launch_failed_requeued_held|(Assoc|QOS)(Max|Min)\w*(PerJob|Wall|NotSatisfied)"
)
"""Reasons for which a job waits that do not pass by themselves."""
_NOT_STARTED = "its node could not start it: can it write into the pool's folder, and is the user known there?"
_REASONS = (
    ("Priority", "jobs with a higher priority come first"),
    ("Resources", "it is next, and waits for free cores or memory"),
    ("PartitionDown", "the partition takes jobs, but starts none now"),
    ("PartitionInactive", "the partition is closed"),
    ("PartitionTimeLimit", "the walltime is longer than the partition allows: ask for less"),
    ("PartitionNodeLimit", "more than the partition allows"),
    ("PartitionConfig", "no node of the partition has what it asks for: ask for fewer cores or less memory"),
    ("BadConstraints", "no node has what it asks for"),
    ("ReqNodeNotAvail", "nodes that it could have are down or reserved"),
    ("JobHeldUser", "held by its user: `scontrol release` lets it go on"),
    ("JobHeldAdmin", "held by an administrator"),
    ("JobArrayTaskLimit", "so many jobs of its array may run at once"),
    ("BeginTime", "its time to start has not come"),
    ("Licenses", "it waits for a license"),
    ("Reservation", "it waits for its reservation"),
    ("QOSMax", "as many as its quality of service allows to one user or job"),
    ("QOSGrp", "as many as its quality of service allows to all"),
    ("AssocMax", "as many as its account allows to one user or job"),
    ("AssocGrp", "as many as its account allows to all"),
    ("JobLaunchFailure", _NOT_STARTED),
    ("RaisedSignal:53", _NOT_STARTED),
)
_ENDS = {
    "BOOT_FAIL": "its node did not boot",
    "CANCELLED": "cancelled",
    "NODE_FAIL": "its node is lost",
    "OUT_OF_MEMORY": "it took more memory than it had asked for",
    "PREEMPTED": "preempted: other jobs have got its place",
    "SUSPENDED": "suspended: other jobs have got its cores",
    "TIMEOUT": "its walltime is over",
}
_FULL = re.compile(r"temporarily unable to accept|(Assoc|QOS)(Max|Grp)\w*|accounting/QOS policy|Disk quota")
_TOO_LARGE = re.compile(r"(Assoc|QOS)\w*(PerJob|Wall|NotSatisfied|Min)\w*")
_DOWN = re.compile(
    r"contact slurm controller|timed out|Zero Bytes|authentication|try again|Connection|backup mode|munge", re.I
)
_BEFORE = re.compile(r"^(\w+: )?(error: )?(slurm_load_jobs error: |Batch job submission failed: )?")


def trouble_of(said: str) -> Trouble:
    """What an answer of sbatch means: whether to ask again later, or never.

    Example:
        >>> trouble_of("QOSMaxSubmitJobPerUserLimit"), trouble_of("QOSMaxWallDurationPerJobLimit")
        ('full', 'refused')
        >>> trouble_of("Unable to contact slurm controller (connect failure)"), trouble_of("Invalid account")
        ('down', 'refused')
    """
    if _TOO_LARGE.search(said):
        return "refused"
    if _FULL.search(said):
        return "full"
    return "down" if _DOWN.search(said) else "refused"


def in_words(said: str) -> str:
    """What a command of Slurm has said, without what its commands put before it.

    Example:
        >>> in_words("sbatch: error: AssocMaxJobsLimit\\nsbatch: error: Batch job submission failed: Job violates policy")
        'AssocMaxJobsLimit; Job violates policy'
    """
    return "; ".join(filter(None, (_BEFORE.sub("", line).strip() for line in said.splitlines())))


def job_of(state: str, nodes: str, reason: str, code: str = "") -> Job:
    """What squeue's words for a job mean.

    Args:
        state: as "PENDING".
        nodes: where it runs.
        reason: as "Priority".
        code: with which it ended, as "127:0": a code and a signal.

    Example:
        >>> job_of("PENDING", "", "Priority")
        Job(state='queued', reason='Priority: jobs with a higher priority come first', host='')
        >>> job_of("FAILED", "w1", "NonZeroExitCode", "127:0").reason
        'ended with code 127'
    """
    reason = "" if reason in {"None", "(null)"} else reason
    here = _STATES.get(state, "gone")
    if here == "queued" and _NEVER.search(reason):
        here = "held"
    words = next((f"{reason}: {words}" for name, words in _REASONS if reason.startswith(name)), reason)
    number, _, signal = code.partition(":")
    if state in _ENDS:
        words = _ENDS[state]
    elif reason == "NonZeroExitCode" and number:
        in_shell = int(number) - 128
        words = f"killed by signal {in_shell}" if in_shell > 0 else f"ended with code {number}"
    elif reason == "JobLaunchFailure" and signal not in {"", "0", "53"}:  # 53 is Slurm's own for "could not be started"
        words = f"killed by signal {signal}"
    return Job(here, words, nodes)
