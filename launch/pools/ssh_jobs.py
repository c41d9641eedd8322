"""The jobs of SSH pools: on which hosts they go, what they are called, and what their hosts say of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .pool import Job
from .ssh_script import MARK


def spread(count: int, free: Mapping[str, int]) -> dict[str, int]:
    """How many of `count` workers go to which host: first to those that have most room, all of them if there is enough.

    Example:
        >>> spread(4, {"node1": 2, "node2": 5, "node3": 0})
        {'node1': 1, 'node2': 3}
    """
    given = dict.fromkeys(free, 0)
    for _ in range(min(count, sum(free.values()))):
        given[max(free, key=lambda host: free[host] - given[host])] += 1
    return {host: workers for host, workers in given.items() if workers}


def named(name: str, workers: Mapping[str, int]) -> dict[str, list[str]]:
    """The jobs of a call, by their hosts.

    Example:
        >>> named("eventmill-7", {"node1": 1, "alice@node2": 2})
        {'node1': ['eventmill-7.0@node1'], 'alice@node2': ['eventmill-7.0@alice@node2', 'eventmill-7.1@alice@node2']}
    """
    return {host: [f"{name}.{place}@{host}" for place in range(count)] for host, count in workers.items()}


def host_of(job: str) -> str:
    """Where a job is.

    Example:
        >>> host_of("eventmill-7.1@alice@node2")
        'alice@node2'
    """
    return job.partition("@")[2]


def answers(said: str) -> Iterable[tuple[str, str]]:
    """The jobs and their states, of what a script has said."""
    for line in said.splitlines():
        found = re.fullmatch(rf"{MARK} (\S+) (.+)", line)
        if found:
            yield found[1], found[2].strip()


def job_of(job: str, state: str) -> Job:
    """What a host says of a job, in our words.

    Example:
        >>> job_of("eventmill-7.0@alice@node1", "failed 127")
        Job(state='failed', reason='ended with code 127', host='node1')
    """
    host = host_of(job).rpartition("@")[2]
    if state == "started":
        return Job("started", "", host)
    if state == "ending":
        return Job("ending", "", host)
    if state == "gone":
        return Job("gone")
    code = state.removeprefix("failed").strip()
    how = f"ended with code {code}" if code else "its host knows of no such process any more: it was restarted"
    return Job("failed", how, host)
