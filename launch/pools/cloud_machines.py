"""What a cloud says of its machines and flavours, as pools understand it. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from .pool import Assignment, Job, JobState, PoolError

POOL_TAG, CALL_TAG, FACILITY_TAG = "eventmill-pool", "eventmill-call", "eventmill-facility"
"""Tags of each machine: by which pool, call and master it was started."""
_LONGEST_POOL = 20
_LINES = 8
_ARCHITECTURES = {"amd64": "x86_64", "x86-64": "x86_64", "x64": "x86_64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as its cloud lists it.

    Args:
        name: that the pool has given it, by which worker and machine are matched.
        state: in libcloud's words; `said` in the cloud's own.
        ended_by: who has ended it, of one that is over: "user", "itself", "provider" or "".
        why: more about its state or end, in the cloud's words.
        host: by which displays call it.
        tags: that it has.
    """

    name: str
    state: str
    said: str = ""
    ended_by: str = ""
    why: str = ""
    host: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Nothing is left of it."""
        return self.state == "terminated"

    @property
    def lingers(self) -> bool:
        """It has ended by itself and is kept all the same, with its disk and its part of the quota, until it is deleted."""
        return self.state in ("stopped", "error")


_STATES: dict[str, JobState] = {
    "pending": "queued",
    "starting": "queued",
    "running": "started",
    "rebooting": "started",
    "ending": "ending",
    "stopping": "ending",
    "suspended": "held",
    "paused": "held",
    "stopped": "failed",
    "error": "failed",
    "terminated": "gone",
}


def job_of(machine: Machine | None) -> Job:
    """What is to be known of a machine; None is one that the cloud does not have.

    Example:
        >>> job_of(Machine("m", "running", host="10.0.0.7"))
        Job(state='started', reason='', host='10.0.0.7')
        >>> job_of(Machine("m", "stopped", "SHUTOFF", "itself")).reason
        'the machine has switched itself off (SHUTOFF)'
    """
    if machine is None:
        return Job("gone")
    why = f"{machine.said}: {machine.why}" if machine.why and machine.said else machine.why or machine.said
    if machine.ended_by == "provider":
        return Job("reclaimed", f"the provider has taken the machine back ({why})", machine.host)
    state = _STATES.get(machine.state, "started")
    if machine.ended_by == "itself":
        return Job("failed", f"the machine has switched itself off ({why})", machine.host)
    waits = state in ("queued", "started", "ending")
    return Job(state, machine.why if waits else why, machine.host)


def names_of(assignment: Assignment, count: int) -> list[str]:
    """Names for the machines of a call: no others have them, and every cloud takes them.

    Example:
        >>> from pathlib import Path
        >>> names_of(Assignment("Night_shift", Path("token"), Path(), "eventmill-night-a1-1", "f00"), 2)
        ['eventmill-night-shift-b5a47aef15-0', 'eventmill-night-shift-b5a47aef15-1']
    """
    pool = re.sub(r"[^a-z0-9]+", "-", assignment.pool.lower())[:_LONGEST_POOL].strip("-")
    call = hashlib.blake2s(f"{assignment.facility} {assignment.name}".encode(), digest_size=5).hexdigest()
    return [f"eventmill-{pool}-{call}-{number}" for number in range(count)]


def tags_of(assignment: Assignment) -> dict[str, str]:
    """The tags of the machines of a call."""
    return {POOL_TAG: assignment.pool, CALL_TAG: assignment.name, FACILITY_TAG: assignment.facility}


def last_words(console: str) -> str:
    """What a machine has said last, of what its console shows: the lines of its context, if it has come so far.

    Example:
        >>> last_words("[ 3.1] eth0: up\\neventmill: its software could not be brought; switching off\\n[ 9.0] reboot: bye")
        'eventmill: its software could not be brought; switching off'
    """
    lines = [line.strip() for line in console.splitlines() if line.strip()]
    ours = [line for line in lines if "eventmill: " in line]
    return "\n".join((ours or lines)[-_LINES:])


# --- flavours -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flavour:
    """A kind of machine: `memory` in bytes, `disk` in GB, of which 0 is as much as the image wants, `price` an hour in the
    cloud's currency, of which None is not known."""

    name: str
    id: str
    cores: int
    memory: int
    disk: int = 0
    price: float | None = None
    architecture: str = ""


def architecture_of(said: str) -> str:
    """An architecture as this package calls it: "x86_64", "arm64".

    Example:
        >>> architecture_of("aarch64"), architecture_of("amd64"), architecture_of("")
        ('arm64', 'x86_64', '')
    """
    return _ARCHITECTURES.get(said.lower(), said.lower())


def cheapest(flavours: Iterable[Flavour], cores: int, memory: int, disk: int, architecture: str) -> Flavour:
    """The cheapest flavour with at least so much; of those without a price, or with the same, the smallest.

    Raises:
        PoolError: none has; it says what the largest is.

    Example:
        >>> small, large = Flavour("s", "1", 1, 2**31, price=0.02), Flavour("l", "2", 8, 2**34, price=0.2)
        >>> cheapest([small, large], 4, 2**33, 0, "").name
        'l'
    """
    known = [it for it in flavours if not (architecture and it.architecture and it.architecture != architecture)]
    enough = [it for it in known if it.cores >= cores and it.memory >= memory and (it.disk >= disk or not it.disk)]
    if not enough:
        wanted = f"{cores} cores, {memory / 2**30:.3g} GB of memory{f', {disk} GB of disk' if disk else ''}"
        largest = max(known, key=lambda it: (it.cores, it.memory), default=None)
        has = (
            f"the largest, {largest.name}, has {largest.cores} and {largest.memory / 2**30:.3g} GB"
            if largest
            else "there is none"
        )
        kind = f" for {architecture}" if architecture else ""
        raise PoolError(f"no flavour{kind} has {wanted}: {has}", "refused")
    return min(enough, key=lambda it: (it.price or inf, it.cores, it.memory, it.disk, it.name))


def check_architecture(image: str, of_image: str, flavour: Flavour) -> None:
    """Raise `PoolError` if an image does not run on a flavour, as far as the cloud says."""
    if of_image and flavour.architecture and of_image != flavour.architecture:
        raise PoolError(
            f"the image {image} is for {of_image}, and a machine of flavour {flavour.name} is {flavour.architecture}: take "
            "another image or flavour",
            "refused",
        )
