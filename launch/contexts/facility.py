"""A facility on clouds: what its file says, and the machine that is its head.

    name = "lab"
    [machine]                     # of the head: settings as a pool of system "cloud" has them
    driver = "openstack"
    image = "debian-13"
    credentials = "~/openrc.sh"
    [head]                        # its context
    software = ["eventmill==1.2"]
    [pools.work]                  # what it has workers in
    system = "cloud"
    [users]                       # and the groups that they belong to
    alice = ["cms"]

Which machines belong to a facility is written on them, as tags with a word for its master. So nothing has to be kept on
this machine but the master's keys, and bringing it up again goes on where an earlier try has ended.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ...protocol.connection import Connection, KeyFolder, load_connection, write_private_text
from ...protocol.errors import nearest
from ..config import check_name, load_tables, parse
from ..pools.cloud import Cloud
from ..pools.pool import Assignment, Job, Pool
from .cloud_config import ContextError, fitted
from .files import parse_context, taken_along
from .head import HeadContext, head_user_data

_HEAD = "facility-head"
"""What the call is named by which a head is made: there is one of a facility."""


_OF_WORKERS = {
    "container", "context", "idle", "most", "owner", "proxy_prefix", "python", "setup", "site", "template", "through",
    "walltime",
}  # fmt: skip
"""Settings of a pool that mean nothing for the machine of a head."""


class HeadMachine(Cloud, frozen=True, kw_only=True, tag="head"):
    """The machine of a head: as those of a pool, but that its user-data are those of a facility."""

    def user_data(self, token: str, name: str, assignment: Assignment) -> bytes:
        return fitted(token, self.quirks.limit, self.quirks.compresses)

    def address(self, job: str) -> str:
        """Where it is reached from outside: its first public address, or else its own; "" while it has none."""
        with self.connected("lists no machines") as driver:
            _, node = self.machines(driver).get(job, (None, None))
        return next(iter([*node.public_ips, *node.private_ips]), "") if node is not None else ""


class Facility(msgspec.Struct, frozen=True, kw_only=True):
    """What the file of a facility says.

    Args:
        name: of its master.
        machine: that its head is.
        head: the context of that.
        pools: that it has.
        users: whom it lets in, and the groups that they belong to.
        address: name or address by which sessions reach it, if it is another one than the cloud says; "" is what that says.
    """

    name: str
    machine: HeadMachine
    head: HeadContext = HeadContext()
    pools: dict[str, Pool] = {}
    users: dict[str, list[str]] = {}
    address: str = ""

    @contextmanager
    def assignment(self, connection: Connection, user_data: str = "") -> Iterator[Assignment]:
        """What the head's machine is asked for with."""
        with tempfile.TemporaryDirectory(prefix="eventmill-facility-") as folder:
            file = Path(folder) / "user-data"
            write_private_text(file, user_data)
            yield Assignment(self.name, file, Path(folder), _HEAD, connection.facility)

    def machines(self, connection: Connection) -> list[str]:
        """The names of the machines of the head: one, if it is up; more, if one was asked for and did not answer."""
        with self.assignment(connection) as call:
            return self.machine.find(call)

    def start(self, keys: KeyFolder) -> str:
        """Have the cloud make the machine; its name. Raises `PoolError` with what the cloud says."""
        texts = {it.name: it.read_text() for it in (keys.master, keys.client, keys.worker)}
        pools, files = taken_along(self.pools)
        user_data = head_user_data(self.head, self.name, texts, pools, files, asked=time.time())
        with self.assignment(load_connection(keys.client), user_data) as call:
            return self.machine.start(1, call)[0]

    def state(self, machine: str) -> Job:
        """How far the machine is."""
        return self.machine.listing([machine])[machine]

    def workers(self, connection: Connection) -> dict[str, list[str]]:
        """The machines that its pools have, by the pools' names: of clouds that know which are whose."""
        there = {name: pool for name, pool in self.pools.items() if pool.has_tags}
        call = {name: Assignment(name, Path(), Path(), "", connection.facility) for name in there}
        return {name: pool.left(call[name]) for name, pool in there.items()}


def load_facility(file: Path) -> Facility:
    """The facility in a file.

    Raises:
        EventmillError: it cannot be read, or something in it is wrong; the text says where.
    """
    return parse_facility(load_tables(file, "facility"), str(file))


def parse_facility(tables: Mapping[str, Any], where: str) -> Facility:
    """The facility of what such a file has. Raises `EventmillError` as `load_facility` does.

    Example:
        >>> machine = {"driver": "ec2", "image": "debian-13"}
        >>> parse_facility({"name": "lab", "machine": machine, "users": {"alice": ["cms"]}}, "x.toml").users
        {'alice': ['cms']}
    """
    known = [field.name for field in msgspec.structs.fields(Facility)]
    for key in tables:
        if key not in known:
            raise ContextError(f"{where}: no setting {key!r}{nearest(key, known, few=9)}")
    machine = tables.get("machine")
    if not isinstance(tables.get("name"), str) or not isinstance(machine, dict):
        raise ContextError(f'{where}: a facility needs name = "..." and a table [machine], which says what its head is')
    check_name(tables["name"], where)
    for key in sorted(_OF_WORKERS & machine.keys()):
        raise ContextError(f"{where}, [machine]: {key} is a setting of workers; what the head needs stands in [head]")
    pools, users = tables.get("pools", {}), tables.get("users", {})
    (cloud,) = parse({tables["name"]: {"system": "cloud"} | machine}, f"{where}, [machine]").values()
    try:
        groups = msgspec.convert(users, dict[str, list[str]])
        address = msgspec.convert(tables.get("address", ""), str)
    except msgspec.ValidationError as error:
        raise ContextError(f'{where}: users are written as alice = ["cms"], an address as a text: {error}') from None
    return Facility(
        name=tables["name"],
        machine=HeadMachine(**{field: getattr(cloud, field) for field in cloud.__struct_fields__}),
        head=parse_context(tables.get("head", {}), HeadContext, f"{where}, [head]"),
        pools=parse(pools, f"{where}, [pools]") if pools else {},
        users=groups,
        address=address,
    )
