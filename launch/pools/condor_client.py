"""Calls of HTCondor's bindings, each in a process of its own (`condor_calls`), which is ended when it takes too long."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

from .commands import CommandFailed, run
from .condor_words import said_by_condor, trouble_of
from .pool import PoolError

CALL_SECONDS = 60.0
"""A collector or schedd that has not answered by then is down."""
SPOOL_SECONDS = 600.0
"""The same when files go through the call, of which a container's image may be one."""


def call(verb: str, collector: str, schedd: str, **arguments: Any) -> Any:
    """Have something done: "submit", "query", "remove" or "retrieve", with the arguments that it has in `condor_calls`.

    Args:
        collector: its address; "": that of HTCondor's configuration.
        schedd: its name; "": that of this machine, or the only one.

    Raises:
        PoolError: the bindings are not there, or HTCondor does not do it.
    """
    if importlib.util.find_spec("htcondor2") is None:
        raise PoolError('pools of HTCondor need its bindings: pip install "eventmill[condor]"', "refused")
    place = f"HTCondor ({collector})" if collector else "HTCondor"
    seconds = SPOOL_SECONDS if arguments.get("spool") or verb == "retrieve" else CALL_SECONDS
    asked = json.dumps({"verb": verb, "collector": collector, "schedd": schedd, **arguments})
    module = f"{__package__}.condor_calls"
    try:
        answer = json.loads(run(sys.executable, "-P", "-m", module, stdin=asked, seconds=seconds))
    except CommandFailed as error:
        if error.code is None:
            raise PoolError(f"{place} has not answered within {seconds:g} s") from None
        said = " ".join(error.said.split())
        raise PoolError(f"HTCondor's bindings broke off in the middle of a call: {said}") from None
    if "failed" in answer:
        raise trouble_of(verb, answer["failed"], said_by_condor(answer["said"]), place)
    return answer["done"]
