"""What every new machine has to have, be it a worker or a whole facility, and the user-data that bring it there.

Pure: the same goes in, the same comes out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from packaging.requirements import InvalidRequirement, Requirement

from ...system.quantities import parse_seconds
from ..pools.pool import JOB, NOTICE
from . import boot_script
from .boot_script import GIVEN, PLACE
from .cloud_config import file_entry, merged, written
from .schema import check
from .spot_notices import WATCH, WATCH_SECONDS

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_Repository = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")]
Line = Annotated[str, Meta(min_length=1)]


class MachineContext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings that the contexts of workers and heads share.

    Args:
        software: for pip: requirements ("eventmill==1.2"), URLs of wheels, or files that the machine has. Without it,
            `python` has eventmill already: it is in the machine's image, or on CVMFS.
        pip: options of pip, as ["--index-url", "https://mirror.site/simple"]. They are no place for a password.
        python: the interpreter: of which an environment for `software` is made, or which has eventmill.
        cvmfs: repositories to mount, as ["cms.cern.ch"].
        cvmfs_proxy: the caches through which they are read, as "http://squid.site:3128;DIRECT".
        packages: of the machine's distribution.
        commands: lines of shell that root runs before the software is brought; each must succeed.
        mounts: as in an fstab, a list of fields each: [["nas.site:/data", "/data", "nfs", "ro"]].
        ssh_keys: who may log in as the image's usual user: public keys, a line each.
        user: as whom eventmill runs; made if the image has none of this name.
        clock_wait: seconds to wait for a time service to set the clock, since servers with certificates need that.
        boot_limit: how long the software may take to come, as "15m"; later the machine gives up.
        cloud_config: more of a cloud-config, as cloud-init documents it.
    """

    software: list[Line] = []
    pip: list[Line] = []
    python: Line = "python3"
    cvmfs: list[_Repository] = []
    cvmfs_proxy: str = "auto;DIRECT"
    packages: list[Line] = []
    commands: list[str] = []
    mounts: list[Annotated[list[str], Meta(min_length=2, max_length=6)]] = []
    ssh_keys: list[str] = []
    user: str = "eventmill"
    clock_wait: Annotated[int, Meta(ge=0, le=600)] = 30
    boot_limit: str = "15m"
    cloud_config: dict[str, Any] = {}

    def __post_init__(self) -> None:
        for wanted in self.software:
            _check_requirement(wanted)
        if self.pip and not self.software:
            raise ValueError("pip has options and nothing to install: say what in software")
        if not _USER.fullmatch(self.user) or self.user == "root":
            raise ValueError(f"user = {self.user!r}: it is to be one without rights, with a name of small letters")
        for key in self.ssh_keys:
            if "PRIVATE KEY" in key or len(key.split()) < 2 or "\n" in key.strip():
                raise ValueError("ssh_keys: each is a line of a file that ends in .pub, and never a private key")
        parse_seconds(self.boot_limit)

    @property
    def interpreter(self) -> str:
        """The interpreter that has eventmill."""
        return f"{boot_script.VENV}/bin/python" if self.software else self.python

    def steps(self) -> list[str]:
        """What is done before eventmill runs, a script each."""
        steps = list(self.commands)
        steps += [boot_script.cvmfs_step(self.cvmfs, self.cvmfs_proxy)] if self.cvmfs else []
        steps += [boot_script.install_step(self.python, self.software, self.pip)] if self.software else []
        return steps


def machine_user_data(
    context: MachineContext,
    what: str,
    script: str,
    given: Mapping[str, str],
    *,
    job: str = "",
    asked: float = 0.0,
    stays: bool = False,
    watched: str = "",
) -> str:
    """User-data with which a machine becomes what it is to be.

    Args:
        what: "worker" or "master", as the console calls it.
        script: for bash, which becomes that.
        given: files for the user as whom it runs, by their paths in that one's home. They are taken for secrets.
        job, asked: see `worker_user_data`.
        stays: the machine is not switched off at the end, and the service is started again when it has failed.
        watched: whom to ask whether the machine is taken back soon: how, and where, as "ec2 http://169.254.169.254"; ""
            nobody takes it back.

    Raises:
        ContextError: cloud-init would not understand what the context has in `cloud_config`, or that does not go with what
            it needs itself.
    """
    settings = {
        "what": what,
        "job": job,
        "job_variable": JOB,
        "notice_variable": NOTICE,
        "watched": f"{watched} {WATCH_SECONDS:g}" if watched else "",
        "user": context.user,
        "clock_wait": str(context.clock_wait),
        "limit": f"{parse_seconds(context.boot_limit):.0f}",
        "stays": "yes" if stays else "",
        "made": f"{asked:.0f}",
    }
    files = [
        *(file_entry(f"{GIVEN}/{name}", content, 0o600) for name, content in given.items()),
        file_entry(f"{PLACE}/begin", boot_script.BEGIN, 0o700),
        file_entry(f"{PLACE}/boot", boot_script.boot_script(settings), 0o700),
        file_entry(f"{PLACE}/prepare", boot_script.prepare_script(*context.steps()), 0o700),
        file_entry(f"{PLACE}/run", script, 0o755),
        *([file_entry(f"{PLACE}/watch", WATCH, 0o700)] if watched else []),
        file_entry(f"/etc/systemd/system/{boot_script.SERVICE}.service", boot_script.unit(what, stays), 0o644),
    ]
    config: dict[str, Any] = {"write_files": files, "runcmd": [["/bin/bash", f"{PLACE}/begin"]]}
    config |= {"packages": context.packages, "package_update": True} if context.packages else {}
    config |= {"mounts": context.mounts} if context.mounts else {}
    config |= {"ssh_authorized_keys": context.ssh_keys} if context.ssh_keys else {}
    check(context.cloud_config, "cloud_config")
    whole = merged(config, context.cloud_config)
    check(whole, "this context")
    return written(whole)


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
