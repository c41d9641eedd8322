"""The context of a worker: what a new machine needs to become one, and the user-data that tell it.

    user_data = worker_user_data(context, token, worker_script(context, pool, assignment))
    sent = fitted(user_data, limit=16384)

The machine writes down the token for root alone, brings the software, becomes a worker as a user without rights, and
switches itself off when the worker ends, or has not become one in time. Pure: the same goes in, the same comes out.
"""

from __future__ import annotations

import shlex

import msgspec

from ...protocol.connection import PROXY_PREFIX
from ..pools.pool import Assignment, Pool
from . import boot_script
from .boot_script import PLACE, TOKEN_FILE
from .machine import MachineContext, machine_user_data

_IMAGE = f"{PLACE}/image.sif"


class WorkerContext(MachineContext, frozen=True, kw_only=True):
    """What a machine has to have to be a worker, beside what `MachineContext` has for it.

    Its software is one of these: `software`, which pip installs; `container`, an image that has it; or neither, if what
    `python` names has it already.

    Args:
        container: image in which the worker runs, by Apptainer, which the machine's image must have: docker://..., an
            image on CVMFS, or a .sif file. `python` is then inside it.
        proxy_prefix: cache or proxy through which root:// files are read, as "root://cache.site:1094//".
        site: where the machine is, as displays call it.
        stays: the machine is not switched off when the worker ends. It costs until somebody does it.

    Example:
        >>> WorkerContext(software=["eventmill==1.2"], cvmfs=["cms.cern.ch"]).interpreter
        '/opt/eventmill/bin/python'
    """

    container: str = ""
    proxy_prefix: str = ""
    site: str = ""
    stays: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.software and self.container:
            raise ValueError("either software, which pip installs on the machine, or a container that has it: not both")
        if self.proxy_prefix and not self.proxy_prefix.startswith(("root://", "roots://")):
            raise ValueError(f"proxy_prefix = {self.proxy_prefix!r}: it must be like root://cache.site:1094//")

    def steps(self) -> list[str]:
        fetched = [boot_script.container_step(self.container, _IMAGE)] if self.container else []
        return [*super().steps(), *fetched]

    @property
    def image(self) -> str | None:
        """The container's image as the machine has it."""
        return (_IMAGE if "://" in self.container else self.container) or None


def worker_script(context: WorkerContext, pool: Pool, assignment: Assignment) -> str:
    """The script that becomes a worker of a pool on a machine with this context; what the pool says itself goes first.

    Raises:
        PoolError: the template of the pool is of no use.
    """
    there = msgspec.structs.replace(
        pool,
        python=pool.python or context.interpreter,
        container=pool.container or context.image,
        site=pool.site or context.site,
        proxy_prefix=pool.proxy_prefix or context.proxy_prefix,
    )
    return there.script(TOKEN_FILE, assignment)


def lone_script(context: WorkerContext, pool: str) -> str:
    """The script that becomes a worker on a machine that somebody starts by hand: with a slot for each of its cores.

    Example:
        >>> print(lone_script(WorkerContext(site="cern"), "desk"))
        #!/bin/bash
        export EVENTMILL_SITE=cern
        exec python3 -m eventmill worker /dev/fd/3 --pool desk --name desk
        <BLANKLINE>
    """
    inside = ["apptainer", "exec", context.image] if context.image else []
    command = [*inside, context.interpreter, "-m", "eventmill", "worker", TOKEN_FILE, "--pool", pool, "--name", pool]
    known = {"EVENTMILL_SITE": context.site, PROXY_PREFIX: context.proxy_prefix}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in known.items() if value]
    return "\n".join(["#!/bin/bash", *lines, f"exec {shlex.join(command)}", ""])


def worker_user_data(
    context: WorkerContext, token: str, script: str, *, job: str = "", asked: float = 0.0, watched: str = ""
) -> str:
    """User-data with which a machine becomes a worker.

    Args:
        token: by which it enrols. It is in the user-data: they are a secret as it is.
        script: for bash, which becomes the worker (`worker_script`, `lone_script`); it finds the token in `TOKEN_FILE`.
        job: what the worker's environment has as EVENTMILL_JOB; "": the machine's id, as the provider has it, which
            cloud-init finds out.
        asked: when the machine was asked for, in seconds since 1970: a clock that is behind that is wrong.
        watched: whom to ask whether the machine is taken back soon, see `machine_user_data`.

    Raises:
        ContextError: cloud-init would not understand what the context has in `cloud_config`, or that does not go with what
            it needs itself.

    Example:
        >>> print(worker_user_data(WorkerContext(), "the token", "exec true").splitlines()[0])
        #cloud-config
    """
    given = {"token": token.strip() + "\n"}
    return machine_user_data(
        context, "worker", script, given, job=job, asked=asked, stays=context.stays, watched=watched
    )
