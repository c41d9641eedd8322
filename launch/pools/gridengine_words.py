"""What Grid Engine says of jobs, and of what it does not take, put into words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from .pool import Job, JobState, Trouble

_DOWN = re.compile(r"commlib|send message|contact|qmaster|got (select|send) error|timeout", re.IGNORECASE)
_FULL = re.compile(r"jobs are allowed|exceeds? (the )?(limit|quota)|resource quota", re.IGNORECASE)
_OFF = "Collecting of scheduler job information is turned off"


def trouble_of(said: str) -> Trouble:
    """What an answer of qsub means: whether to ask again later, or never.

    Example:
        >>> trouble_of("job rejected: only 5 jobs are allowed per user"), trouble_of('unknown resource "gpu"')
        ('full', 'refused')
        >>> trouble_of('unable to send message to qmaster using port 6444 on host "ge": got send error')
        'down'
    """
    if _FULL.search(said):
        return "full"
    return "down" if _DOWN.search(said) else "refused"


def tasks_of(text: str) -> Iterator[int]:
    """The tasks of an array that a line of qstat is for.

    Example:
        >>> list(tasks_of("1,3,5-9:2")), list(tasks_of("2-4:1"))
        ([1, 3, 5, 7, 9], [2, 3, 4])
    """
    for part in text.split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        yield from range(int(first), int(last or first) + 1, int(step or 1))


def state_of(letters: str, queue: str) -> Job:
    """What qstat's letters for a state mean, and its queue instance.

    Example:
        >>> state_of("hqw", ""), state_of("dr", "main.q@node7").host
        (Job(state='held', reason='held by its user or an administrator', host=''), 'node7')
    """
    state: JobState
    words = ""
    if "d" in letters:
        state = "ending"
    elif "E" in letters:
        state, words = "held", "in error state: `qmod -cj` lets it try again"
    elif "h" in letters:
        state, words = "held", "held by its user or an administrator"
    elif "w" in letters:
        state = "queued"
    else:
        state, words = "started", "suspended" if set(letters) & set("sST") else ""
    return Job(state, words, queue.partition("@")[2])


def reasons(lines: Sequence[str]) -> dict[str, str]:
    """Why jobs wait, of what `qstat -j` says: by the number of an array, and of those in error by job.

    Example:
        >>> lines = ["job_number:   5", "scheduling info:   cannot run in PE smp", "                   because it is full"]
        >>> reasons(lines), reasons(["job_number:  7", "error reason    2:   11/29/2026 20:22:15 [0:4404]: error: no file"])
        ({'5': 'cannot run in PE smp; because it is full'}, {'7.2': 'no file'})
    """
    found: dict[str, str] = {}
    number = "0"
    scheduling = False
    for line in lines:
        name, colon, said = line.partition(":")
        scheduling = name == "scheduling info" or (scheduling and line.startswith(" "))
        if name == "job_number":
            number = said.strip()
        elif name.startswith("error reason"):
            found[f"{number}.{name.split()[-1]}"] = re.sub(r"^.*?\]: (error: )?", "", said.strip())
        elif scheduling:
            words = (said if colon and name == "scheduling info" else line).strip()
            if _OFF not in words:
                found[number] = "; ".join(filter(None, (found.get(number, ""), words)))
    return found


def job_of_end(facts: Mapping[str, str]) -> Job:
    """How a job has ended, of what qacct says.

    Example:
        >>> job_of_end({"failed": " 0", "exit_status": " 127", "hostname": " node7"})
        Job(state='failed', reason='ended with code 127', host='node7')
        >>> job_of_end({"failed": " 26  : opening input/output file", "exit_status": " 0"}).reason
        'opening input/output file'
    """
    code = int(facts.get("exit_status", "0").split()[0])
    number, _, words = facts.get("failed", "0").partition(":")
    host = facts.get("hostname", "").strip()
    if code > 128:
        return Job("failed", f"killed by signal {code - 128}", host)
    if code:
        return Job("failed", f"ended with code {code}", host)
    if number.strip() not in {"0", "100"}:
        return Job("failed", words.strip(), host)
    return Job("gone", "", host)
