"""The context of a worker: what a new machine needs to become one, and the user-data that tell it.

    user_data = worker_user_data(context, token, worker_script(context, pool, assignment))
    sent = fitted(user_data, limit=16384)

The machine writes down the token for root alone, brings the software, becomes a worker as a user without rights, and
switches itself off when the worker ends, or has not become one in time. Pure: the same goes in, the same comes out.
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from packaging.requirements import InvalidRequirement, Requirement

from ...protocol.connection import PROXY_PREFIX
from ...system.quantities import parse_seconds
from ..pools.pool import JOB, Assignment, Pool
from . import boot_script
from .boot_script import PLACE, TOKEN, TOKEN_FILE
from .cloud_config import file_entry, merged, written
from .schema import check

_IMAGE = f"{PLACE}/image.sif"
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_Repository = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")]
_Line = Annotated[str, Meta(min_length=1)]


class WorkerContext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a machine has to have to be a worker.

    The software is one of these: `software`, which pip installs; `container`, an image that has it; or neither, if what
    `python` names has it already (in the machine's image, or on CVMFS).

    Args:
        software: for pip: requirements ("eventmill==1.2"), URLs of wheels, or files that the machine has.
        pip: options of pip, as ["--index-url", "https://mirror.site/simple"]. They are no place for a password.
        container: image in which the worker runs, by Apptainer, which the machine's image must have: docker://..., an
            image on CVMFS, or a .sif file.
        python: the interpreter: of which an environment for `software` is made, or which has eventmill.
        cvmfs: repositories to mount, as ["cms.cern.ch"].
        cvmfs_proxy: the caches through which they are read, as "http://squid.site:3128;DIRECT".
        proxy_prefix: cache or proxy through which root:// files are read, as "root://cache.site:1094//".
        site: where the machine is, as displays call it.
        packages: of the machine's distribution.
        commands: lines of shell that root runs before the software is brought; each must succeed.
        mounts: as in an fstab, a list of fields each: [["nas.site:/data", "/data", "nfs", "ro"]].
        ssh_keys: who may log in as the image's usual user: public keys, a line each.
        user: as whom the worker runs; made if the image has none of this name.
        clock_wait: seconds to wait for a time service to set the clock, since servers with certificates need that.
        boot_limit: how long the software may take to come, as "15m"; later the machine switches itself off.
        stays: the machine is not switched off when the worker ends. It costs until somebody does it.
        cloud_config: more of a cloud-config, as cloud-init documents it.

    Example:
        >>> WorkerContext(software=["eventmill==1.2"], cvmfs=["cms.cern.ch"]).interpreter
        '/opt/eventmill/bin/python'
    """

    software: list[_Line] = []
    pip: list[_Line] = []
    container: str = ""
    python: _Line = "python3"
    cvmfs: list[_Repository] = []
    cvmfs_proxy: str = "auto;DIRECT"
    proxy_prefix: str = ""
    site: str = ""
    packages: list[_Line] = []
    commands: list[str] = []
    mounts: list[Annotated[list[str], Meta(min_length=2, max_length=6)]] = []
    ssh_keys: list[str] = []
    user: str = "eventmill"
    clock_wait: Annotated[int, Meta(ge=0, le=600)] = 30
    boot_limit: str = "15m"
    stays: bool = False
    cloud_config: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if self.software and self.container:
            raise ValueError("either software, which pip installs on the machine, or a container that has it: not both")
        for wanted in self.software:
            _check_requirement(wanted)
        if self.pip and not self.software:
            raise ValueError("pip has options and nothing to install: say what in software")
        if not _USER.fullmatch(self.user) or self.user == "root":
            raise ValueError(
                f"user = {self.user!r}: a worker runs as a user without rights, with a name of small letters"
            )
        if self.proxy_prefix and not self.proxy_prefix.startswith(("root://", "roots://")):
            raise ValueError(f"proxy_prefix = {self.proxy_prefix!r}: it must be like root://cache.site:1094//")
        for key in self.ssh_keys:
            if "PRIVATE KEY" in key or len(key.split()) < 2 or "\n" in key.strip():
                raise ValueError("ssh_keys: each is a line of a file that ends in .pub, and never a private key")
        parse_seconds(self.boot_limit)

    @property
    def interpreter(self) -> str:
        """The interpreter that runs the worker: inside of the container, if there is one."""
        return f"{boot_script.VENV}/bin/python" if self.software else self.python

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
        exec python3 -m eventmill worker /var/lib/eventmill/home/token --pool desk --name desk
        <BLANKLINE>
    """
    inside = ["apptainer", "exec", context.image] if context.image else []
    command = [*inside, context.interpreter, "-m", "eventmill", "worker", TOKEN_FILE, "--pool", pool, "--name", pool]
    known = {"EVENTMILL_SITE": context.site, PROXY_PREFIX: context.proxy_prefix}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in known.items() if value]
    return "\n".join(["#!/bin/bash", *lines, f"exec {shlex.join(command)}", ""])


def worker_user_data(context: WorkerContext, token: str, script: str, *, job: str = "", asked: float = 0.0) -> str:
    """User-data with which a machine becomes a worker.

    Args:
        token: by which it enrols. It is in the user-data: they are a secret as it is.
        script: for bash, which becomes the worker (`worker_script`, `lone_script`); it finds the token in `TOKEN_FILE`.
        job: what the worker's environment has as EVENTMILL_JOB; "": the machine's id, as the provider has it, which
            cloud-init finds out.
        asked: when the machine was asked for, in seconds since 1970: a clock that is behind that is wrong.

    Raises:
        ContextError: cloud-init would not understand what the context has in `cloud_config`, or that does not go with what
            it needs itself.

    Example:
        >>> print(worker_user_data(WorkerContext(), "the token", "exec true").splitlines()[0])
        #cloud-config
    """
    settings = {
        "job": job,
        "job_variable": JOB,
        "user": context.user,
        "clock_wait": str(context.clock_wait),
        "limit": f"{parse_seconds(context.boot_limit):.0f}",
        "stays": "yes" if context.stays else "",
        "made": f"{asked:.0f}",
    }
    files = [
        file_entry(TOKEN, token.strip() + "\n", 0o600),
        file_entry(f"{PLACE}/begin", boot_script.BEGIN, 0o700),
        file_entry(f"{PLACE}/boot", boot_script.boot_script(settings), 0o700),
        file_entry(f"{PLACE}/prepare", _prepare(context), 0o700),
        file_entry(f"{PLACE}/run", script, 0o755),
        file_entry(f"/etc/systemd/system/{boot_script.SERVICE}.service", boot_script.UNIT, 0o644),
    ]
    config: dict[str, Any] = {"write_files": files, "runcmd": [["/bin/bash", f"{PLACE}/begin"]]}
    config |= {"packages": context.packages, "package_update": True} if context.packages else {}
    config |= {"mounts": context.mounts} if context.mounts else {}
    config |= {"ssh_authorized_keys": context.ssh_keys} if context.ssh_keys else {}
    check(context.cloud_config, "cloud_config")
    whole = merged(config, context.cloud_config)
    check(whole, "this context")
    return written(whole)


def _prepare(context: WorkerContext) -> str:
    steps = list(context.commands)
    steps += [boot_script.cvmfs_step(context.cvmfs, context.cvmfs_proxy)] if context.cvmfs else []
    steps += [boot_script.container_step(context.container, _IMAGE)] if context.container else []
    steps += [boot_script.install_step(context.python, context.software, context.pip)] if context.software else []
    return boot_script.prepare_script(*steps)


def _check_requirement(text: str) -> None:
    """Raise `ValueError` if pip would not understand this, or take it for an option."""
    if text.startswith("/") or urlsplit(text).scheme in ("https", "http"):
        return
    try:
        Requirement(text)
    except InvalidRequirement:
        raise ValueError(
            f"software = {text!r} is no requirement of pip: write it as 'eventmill==1.2', as the https:// URL of a wheel, "
            "or as a file of the machine, /some/where/eventmill-1.2-py3-none-any.whl"
        ) from None
