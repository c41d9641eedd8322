"""`eventmill worker`: work for a master."""

from __future__ import annotations

import os
import time
from math import inf
from pathlib import Path

import click
import msgspec

from ..launch.pools.pool import JOB, NOTICE
from ..protocol.connection import PROXY_PREFIX, Connection, find_file, load_connection, parse_address
from ..protocol.tokens import VARIABLE, find_token
from ..system.quantities import parse_seconds, parse_size
from ..worker.allocation.site import VARIABLES, parse_site
from ..worker.allocation.walltime import time_left
from .options import begin_log, parsed_by


@click.command()
@click.argument("connection", default="")
@click.option("--slots", type=click.IntRange(1, 4096), help="Slots (processes).  [default: the cores this job may use]")
@click.option("--name", default="", help="What the master calls this worker.  [default: the host's name]")
@click.option(
    "--patience", default=600.0, show_default=True, help="Seconds to try to reach the master, also when it is gone."
)
@click.option(
    "--walltime",
    callback=parsed_by(parse_seconds),
    metavar="TIME",
    help="When it has to be gone: seconds, 1h30m, or 2-12:00:00.  [default: what Slurm says, else no limit]",
)
@click.option(
    "--grace",
    type=click.FloatRange(0.0, 1e6),
    default=10.0,
    show_default=True,
    help="Seconds it takes at most to leave in good order; 0: leave at once.",
)
@click.option(
    "--memory",
    callback=parsed_by(parse_size),
    metavar="SIZE",
    help="Memory a slot may take, as 4G or 400M.  [default: its part of what the batch system, cgroup or machine has]",
)
@click.option(
    "--site",
    envvar=VARIABLES,
    default="",
    callback=parsed_by(parse_site),
    metavar="NAME",
    show_default=False,
    help="Where it runs, as reports and displays call it.  "
    "[default: what EVENTMILL_SITE or the grid's pilot says, else its domain]",
)
@click.option(
    "--proxy-prefix",
    envvar=PROXY_PREFIX,
    metavar="URL",
    help=f"Read root:// files through this site's cache or proxy, as root://cache.site:1094//  [or in {PROXY_PREFIX}]",
)
@click.option(
    "--idle",
    callback=parsed_by(parse_seconds),
    metavar="TIME",
    help="Leave when there was nothing to do for so long, as 5m or 300.  [default: stay]",
)
@click.option("--pool", default="", help="The pool that has started it; a token may be for workers of one pool only.")
@click.option(
    "--through",
    callback=parsed_by(parse_address),
    metavar="HOST:PORT",
    help="Reach the master through a relay (`eventmill relay`) or a tunnel at this address.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def worker(
    connection: str,
    slots: int | None,
    name: str,
    patience: float,
    walltime: float | None,
    grace: float,
    memory: int | None,
    site: str,
    proxy_prefix: str | None,
    idle: float | None,
    pool: str,
    through: str | None,
    verbose: bool,
) -> None:
    """Work for a master. CONNECTION is its worker.json, its name on the machine where it runs, or a file with a token.

    A token (`eventmill token create`) may also stand in the environment variable EVENTMILL_TOKEN, but not on the command
    line, where others can read it. The worker makes a key of its own then, and enrols with it.

    The worker connects outward only. It joins running queries at once. It may be ended at any time without harm to a result:
    told to (Ctrl-C, SIGTERM), or near the end of its walltime, it hands on what it has not done, commits and leaves, so that
    nothing is done twice; told again, it leaves at once. After a SIGKILL, what it had not committed is done again by others.
    """
    from ..system.garbage import nothing_is_garbage
    from ..worker.agent.forkserver_client import ForkserverClient
    from ..worker.allocation.cores import usable_cores

    begin_log(verbose)
    if walltime is not None and walltime <= grace:
        raise click.UsageError(
            f"a walltime of {walltime:g} s leaves nothing but the {grace:g} s of --grace to leave in"
        )
    if walltime is None:
        walltime = time_left(os.environ, time.time())
    if proxy_prefix:
        if not proxy_prefix.startswith(("root://", "roots://")):
            raise click.UsageError(f"--proxy-prefix {proxy_prefix}: it must be like root://cache.site:1094//")
        os.environ[PROXY_PREFIX] = proxy_prefix  # where slots look for it
    slots, launch = slots or usable_cores(), (pool, os.environ.get(JOB, ""))
    token = find_token(connection, os.environ)
    os.environ.pop(VARIABLE, None)  # it is not for what slots run
    file = None if token is not None else find_file(connection or "default", "worker")
    found = token or load_connection(file or Path())
    forkserver = ForkserverClient(alone=True)  # it warms up meanwhile
    with nothing_is_garbage():
        from ..worker.agent.serve import Worker

    if token is not None:
        try:
            found, walltime = _enrolled(token, through, slots, launch, patience, walltime)
        except BaseException:
            forkserver.close()
            raise
    Worker(
        found, slots, name, patience, forkserver=forkserver, walltime=walltime, grace=grace, file=file, memory=memory,
        site=site, through=through or "", idle=inf if idle is None else idle, launch=launch,
        notice=os.environ.get(NOTICE, ""),
    ).run()  # fmt: skip


def _enrolled(
    token: Connection,
    through: str | None,
    slots: int,
    launch: tuple[str, str],
    patience: float,
    walltime: float | None,
) -> tuple[Connection, float | None]:
    """The connection of a worker that has enrolled, and the seconds after which it has to be gone."""
    from ..worker.agent.enrolment import enrol

    if through:
        token = msgspec.structs.replace(token, address=through)
    connection, good_for = enrol(token, slots, launch, patience)
    ends = [seconds for seconds in (walltime, good_for) if seconds is not None]
    return connection, min(ends, default=None)
