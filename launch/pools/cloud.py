"""Clouds: a machine for each worker, made when work waits and deleted when it does not.

One class for all interfaces, over apache-libcloud; in what they differ stands in `cloud_quirks`. A job is a machine, and its
id is the name that it is given here: machines know it before they boot, in their user-data, and clouds give it back with
each list, so that a worker that joins is surely this machine. Each carries the names of pool, call and facility as tags.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from ..contexts.cloud_config import fitted
from ..contexts.worker import WorkerContext, worker_script, worker_user_data
from .cloud_choice import chosen
from .cloud_credentials import credentials
from .cloud_machines import (
    CALL_TAG,
    FACILITY_TAG,
    POOL_TAG,
    Machine,
    job_of,
    last_words,
    names_of,
    tags_of,
)
from .cloud_quirks import QUIRKS, DriverName, Quirks
from .cloud_words import told
from .pool import Assignment, Finding, Job, Pool, PoolError

log = logging.getLogger(__name__)

_LINES = 100
"""Of a console."""


class Cloud(Pool, frozen=True, kw_only=True, tag="cloud"):
    """Machines of a cloud. Needs `pip install "eventmill[cloud]"`, and an image with cloud-init.

    Args:
        driver: the interface: "ec2" (Amazon, and what speaks like it), "openstack", "gce", "azure", "opennebula".
        image: by name or id; what else a machine needs to become a worker says `context`.
        endpoint: address of the service, as "https://cloud.site:5000/v3"; "" is the provider's own, or what the credentials
            say (OS_AUTH_URL).
        region: or zone, as the provider calls it.
        credentials: file with them, which nobody else can read: lines NAME=value, as an openrc.sh or ~/.aws/credentials has
            them, or the JSON of a Google service account. "" is the environment. They stand nowhere else.
        profile: section of that file.
        flavour: of the machines; "" is the cheapest that has `cores`, `memory` (2 GB a slot if it is not set), `disk` and
            the image's architecture.
        disk: in GB.
        architecture: "x86_64" or "arm64"; "" is the image's.
        key: name of an SSH key that the cloud knows, for who wants to look inside.
        network: its id, as the uuid of OpenStack's or the subnet-... of EC2's; of Google its name.
        groups: security groups: workers need a way out to the master, and none in.
        tags: more of the machines.
        context: what machines need to become workers, as a table.
        metadata: address of the service that tells machines when they are taken back.
        options: more arguments of libcloud's `create_node`, for what is not foreseen here.

    Example:
        >>> pool = Cloud(driver="openstack", image="debian-13", cores=8, memory="16G", credentials="~/openrc.sh")
        >>> pool.system, pool.has_tags
        ('cloud', True)
    """

    system: ClassVar[str] = "cloud"
    shares_files: ClassVar[bool] = False
    tells_memory: ClassVar[bool] = True
    has_tags: ClassVar[bool] = True

    driver: DriverName
    image: str
    endpoint: str = ""
    region: str = ""
    credentials: str = ""
    profile: str = "default"
    flavour: str = ""
    disk: Annotated[int, Meta(ge=0)] = 0
    architecture: Literal["", "x86_64", "arm64"] = ""
    key: str = ""
    network: str = ""
    groups: list[str] = []
    tags: dict[str, str] = {}
    context: WorkerContext = WorkerContext()
    metadata: str = "http://169.254.169.254"
    options: dict[str, Any] = {}
    spot: bool = False

    def start(self, count: int, assignment: Assignment) -> list[str]:
        token, names = assignment.token.read_text(), names_of(assignment, count)
        data = [self.user_data(token, name, assignment) for name in names]
        market = self.market
        made: list[str] = []
        try:
            with self.connected("starts no machine", token) as driver:
                image, size, _ = chosen(self, driver)
                what = {"image": image, "size": size} | market | self.quirks.network(self.network, self.groups)
                for name, user_data in zip(names, data, strict=True):
                    driver.create_node(name=name, **what, **self.arguments(name, user_data, assignment))
                    made.append(name)
        except PoolError as error:
            if error.trouble == "full" and made:
                log.warning("pool %s: %d of %d machines: %s", assignment.pool, len(made), count, error)
                return made
            if error.trouble == "refused":
                self.stop(made)
            raise
        return made

    def find(self, assignment: Assignment) -> list[str]:
        wanted = {CALL_TAG: assignment.name, FACILITY_TAG: assignment.facility}
        return self._tagged(wanted, names_of(assignment, 1)[0].rpartition("-")[0])

    def left(self, assignment: Assignment) -> list[str]:
        return self._tagged({POOL_TAG: assignment.pool, FACILITY_TAG: assignment.facility}, None)

    def listing(self, jobs: Sequence[str]) -> dict[str, Job]:
        with self.connected("lists no machines") as driver:
            there = self.machines(driver)
            found = {job: job_of(there[job][0] if job in there else None) for job in jobs}
            for job in jobs:
                if job in there and there[job][0].lingers:
                    said = last_words(self._console(driver, there[job][1]))
                    found[job] = Job(
                        found[job].state, "\n".join(filter(None, (found[job].reason, said))), found[job].host
                    )
                    driver.destroy_node(there[job][1])
        return found

    def stop(self, jobs: Sequence[str]) -> None:
        if not jobs:
            return
        with self.connected("deletes no machine") as driver:
            there = self.machines(driver)
            for job in jobs:
                if job in there and not there[job][0].is_over and there[job][0].state != "ending":
                    driver.destroy_node(there[job][1])

    def log(self, job: str, assignment: Assignment) -> str:
        with self.connected("shows no console") as driver:
            there = self.machines(driver)
            said = self._console(driver, there[job][1]) if job in there else ""
        return "\n".join(said.splitlines()[-_LINES:])

    def findings(self, assignment: Assignment) -> Iterator[Finding]:
        from .cloud_check import findings

        return findings(self, assignment)

    def preview(self, count: int, assignment: Assignment) -> str:
        name = names_of(assignment, 1)[0]
        data = self.user_data("(the token)", name, assignment)
        shown = self.arguments(name, data, assignment) | {
            "image": self.image,
            "flavour": self.flavour or "the cheapest",
        }
        for argument in self.quirks.user_data(data):
            shown.pop(argument)
        lines = [f"#   {key} = {value!r}" for key, value in shown.items()]
        worker = worker_script(self.context, self, assignment)
        script = worker_user_data(self.context, "(the token)", worker, job=name, watched=self._watched)
        return "\n".join(
            [f"# {count} machines of {self.driver} as this one, each with a name of its own:", *lines, script]
        )

    def worker_command(self, token: str, assignment: Assignment) -> list[str]:
        """One that may be taken back has as long to leave as it is told before."""
        command = super().worker_command(token, assignment)
        return [*command, "--grace", f"{self.quirks.grace:g}"] if self._watched else command

    # --- what the cloud is given ------------------------------------------------------------------------------------------

    @property
    def quirks(self) -> Quirks:
        """In what this interface differs from others."""
        return QUIRKS[self.driver]

    def user_data(self, token: str, name: str, assignment: Assignment) -> bytes:
        """What a machine reads when it boots. Raises `PoolError` if the cloud would not take so much."""
        script = worker_script(self.context, self, assignment)
        text = worker_user_data(self.context, token, script, job=name, asked=time.time(), watched=self._watched)
        return fitted(text, self.quirks.limit, self.quirks.compresses)

    @property
    def _watched(self) -> str:
        return f"{self.quirks.notice} {self.metadata}" if self.spot and self.quirks.notice else ""

    @property
    def market(self) -> dict[str, Any]:
        """What makes a machine one that may be taken back. Raises `PoolError` if the interface has none."""
        if self.spot and self.quirks.spot is None:
            raise PoolError(f"{self.driver} has no machines that may be taken back: leave out spot = true", "refused")
        return dict(self.quirks.spot or {}) if self.spot else {}

    def arguments(self, name: str, user_data: bytes, assignment: Assignment) -> dict[str, Any]:
        """Those of `create_node` that are not the same for each machine, or are no choice of the cloud's."""
        quirks = self.quirks
        given = dict(quirks.fixed) | quirks.ends_itself | quirks.user_data(user_data)
        if quirks.tags is not None:
            tags = self.tags | tags_of(assignment)
            given |= quirks.tags({key: self.as_tag(value) for key, value in tags.items()})
        given |= {quirks.client_token: name} if quirks.client_token else {}
        given |= {quirks.key: self.key} if quirks.key and self.key else {}
        return given | self.options

    # --- what the cloud has -----------------------------------------------------------------------------------------------

    def as_tag(self, value: str) -> str:
        """A tag's value as the cloud takes it."""
        return value.lower() if self.quirks.lower else value

    def machines(self, driver: Any) -> dict[str, tuple[Machine, Any]]:
        """Those of ours by name, each with what libcloud knows of it. One call of the cloud."""
        listed = [(self.quirks.machine(node), node) for node in driver.list_nodes(**self.quirks.filters)]
        return {machine.name: (machine, node) for machine, node in listed}

    def _tagged(self, tags: dict[str, str], prefix: str | None) -> list[str]:
        """The names of machines with these tags; of a cloud without tags, of those with this prefix."""
        wanted = {key: self.as_tag(value) for key, value in tags.items()}.items()
        with self.connected("lists no machines") as driver:
            there = [machine for machine, _ in self.machines(driver).values() if not machine.is_over]
        if self.quirks.tags is None:
            return sorted(it.name for it in there if prefix is not None and it.name.rpartition("-")[0] == prefix)
        return sorted(it.name for it in there if wanted <= it.tags.items())

    def _console(self, driver: Any, node: Any) -> str:
        """What a machine has written there; "" if the cloud does not show it: that is no reason to leave a machine alone."""
        if self.quirks.console is None:
            return ""
        try:
            with told(self, "shows no console"):
                return self.quirks.console(driver, node)
        except PoolError as error:
            log.warning("%s", error)
            return ""

    @contextlib.contextmanager
    def connected(self, what: str, *secret: str) -> Iterator[Any]:
        """A driver of libcloud. Raises `PoolError` with what the cloud says."""
        known = credentials(self.credentials, self.profile, self.quirks.variables, os.environ)
        try:
            import libcloud  # noqa: F401
        except ImportError:
            raise PoolError('clouds need apache-libcloud here: pip install "eventmill[cloud]"', "refused") from None
        with told(self, what, *secret, *known.secrets(self.quirks.variables)):
            yield self.quirks.connect(self, known)
