"""HTCondor's bindings, each call in a process of its own: `python -m eventmill.launch.pools.condor_calls`.

The bindings hold Python's lock for as long as they wait, which is a minute when a collector does not answer: a launcher
that called them itself would be deaf and dumb for that minute, with all its other pools. They read HTCondor's
configuration once, and say on standard error alone why somebody is not let in. So a process is started for a call (a
tenth of a second), which may be ended when it takes too long, and what it said is kept apart.

The call is read from standard input, as JSON; the answer is written to standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import htcondor2


def main() -> None:
    """Do the call that standard input has. The answer is `{"done": ...}`, or `{"failed": ..., "said": ...}`, with what the
    bindings say and with what HTCondor wrote to standard error."""
    call = json.load(sys.stdin)
    answer: dict[str, Any]
    with _standard_error() as said:
        htcondor2.enable_debug()
        try:
            schedd = _schedd(call.pop("collector"), call.pop("schedd"))
            answer = {"done": _CALLS[call.pop("verb")](schedd, **call)}
        except (htcondor2.HTCondorException, OSError, ValueError) as error:
            said.seek(0)
            answer = {"failed": str(error), "said": said.read()}
    json.dump(answer, sys.stdout)


@contextlib.contextmanager
def _standard_error() -> Iterator[TextIO]:
    """A file in the place of standard error, which the bindings write to themselves."""
    kept = os.dup(2)
    with tempfile.TemporaryFile("w+", errors="replace") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield file
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _schedd(address: str, name: str) -> Any:
    """The schedd of this name; without one that of this machine, or the only one that there is."""
    collector = htcondor2.Collector(address or None)
    kind = htcondor2.DaemonType.Schedd
    if not name and not address:
        with contextlib.suppress(htcondor2.HTCondorException):  # this machine has none
            return htcondor2.Schedd(collector.locate(kind))
    found = {str(ad["Name"]): ad for ad in collector.locateAll(kind)}
    if name in found:
        return htcondor2.Schedd(found[name])
    known = f"the collector knows {', '.join(sorted(found)) or 'none'}"
    if name:
        raise ValueError(f"there is no schedd {name!r}: {known}")
    if len(found) != 1:
        raise ValueError(f"say which schedd, with `schedd`: {known}")
    return htcondor2.Schedd(found.popitem()[1])


def _submit(schedd: Any, lines: dict[str, str], count: int, spool: bool) -> list[str]:
    """Submit so many jobs; their ids. With `spool` the files that they need go to the schedd now."""
    description = htcondor2.Submit(lines)
    try:
        description.issue_credentials()  # those that the site wants to have with a job, such as a Kerberos ticket
    except htcondor2.HTCondorException as error:
        raise ValueError(f"your credentials cannot be passed on: {error}") from None
    result = schedd.submit(description, count=count, spool=spool)
    if spool:
        try:
            schedd.spool(result)
        except htcondor2.HTCondorException:
            schedd.act(
                htcondor2.JobAction.Remove, f"ClusterId == {result.cluster()}", ("its files did not arrive", None)
            )
            raise
    return [f"{result.cluster()}.{result.first_proc() + place}" for place in range(count)]


def _query(schedd: Any, constraint: str, attributes: list[str]) -> list[dict[str, Any]]:
    """What the schedd has in its queue; of its values those that are plain."""
    found = schedd.query(constraint, attributes)
    return [{key: value for key, value in ad.items() if type(value) in (str, int, float, bool)} for ad in found]


def _remove(schedd: Any, jobs: list[str], reason: str) -> dict[str, int]:
    """Remove jobs; how many of them that did not become."""
    result = schedd.act(htcondor2.JobAction.Remove, jobs, (reason, None))
    return {name: int(result[f"Total{name}"]) for name in ("Success", "PermissionDenied", "Error")}


def _retrieve(schedd: Any, job: str) -> None:
    """Bring what a job has written from the schedd to where it would have written it."""
    schedd.retrieve(job)


_CALLS: dict[str, Callable[..., Any]] = {"submit": _submit, "query": _query, "remove": _remove, "retrieve": _retrieve}


if __name__ == "__main__":
    main()
