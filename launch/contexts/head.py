"""The context of a head: one machine with a whole facility, a master with status page and pools, and a cache of XRootD's.

The master's keys are made where its user is and go with the user-data, so that the user has the connection file before the
machine is there, and nothing secret has to be fetched from it. Who can read the user-data is master of the facility.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import NODEFAULT, Meta, structs

from ...protocol.connection import CLIENT_FILE, DEFAULT_PORT, MASTER_FILE, WORKER_FILE
from ..pools.pool import Pool
from .boot_script import HOME
from .machine import MachineContext, machine_user_data

KEYS = f"{HOME}/keys"
POOLS_FILE, CACHE_FILE = "pools.json", "cache.cfg"
HEAD = "@head@"
"""What the address of the head is written as in the settings of its pools: it is known on the machine only."""
_Port = Annotated[int, Meta(ge=1, le=65535)]
_CACHE = """\
all.role server
all.export /root:/
all.export /xroot:/
all.adminpath {home}/cache-admin
all.pidpath {home}/cache-admin
xrd.port {port}
ofs.osslib libXrdPss.so
pss.origin =
pss.permit {host}
pss.cachelib libXrdPfc.so
oss.localroot {folder}
pfc.diskusage 0.90 0.95
pfc.ram 1g
"""


class Cache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A proxy of XRootD's with a cache on disk, through which the workers of the head's pools read: each byte comes over the
    wide network once.

    The machine's image must have XRootD's server, or `packages` name it ("xrootd-server" and "xrootd-server-plugins" in
    Debian). It takes a gigabyte of memory.

    Args:
        origin: host of the server or redirector behind it, as "root.site". There is one, since XRootD's cache knows files by
            their paths only, and would take those of two servers for the same.
        port: at which it listens.
        folder: where it keeps what it has read, for as long as there is room.
    """

    origin: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")]
    port: _Port = 1094
    folder: Annotated[str, Meta(pattern=r"^/[A-Za-z0-9/._-]+$")] = f"{HOME}/cache"


class HeadContext(MachineContext, frozen=True, kw_only=True):
    """What a machine has to have to be the head of a facility, beside what `MachineContext` has for it.

    It stays when the master ends, which is started again if it has not ended well.

    Args:
        port: of the master, to which sessions and workers connect.
        status_port: of the status page, which is for who is on the machine (`ssh -L 8787:localhost:8787 HEAD`), since it
            has no certificate; None: no page.
        host: name or address under which workers reach the machine; "": the first of its own addresses.
        cache: of XRootD; None: none.

    Example:
        >>> HeadContext(software=["eventmill==1.2"], cache=Cache(origin="root.site")).port
        8786
    """

    port: _Port = DEFAULT_PORT
    status_port: _Port | None = 8787
    host: str = ""
    cache: Cache | None = None


def head_user_data(
    context: HeadContext,
    name: str,
    keys: Mapping[str, str],
    pools: Mapping[str, Pool] = {},
    files: Mapping[str, str] = {},
    *,
    asked: float = 0.0,
) -> str:
    """User-data with which a machine becomes the head of a facility.

    Args:
        name: of the master.
        keys: the content of its key files (`KeyFolder`), by their names.
        pools: that it has. In their settings, `@head@` is the machine's own address. Those that say nothing of a proxy read
            through the head's cache, if it has one.
        files: more for the head's home, as credentials of clouds, by their names.
        asked: when the machine was asked for, in seconds since 1970.

    Raises:
        ContextError: see `machine_user_data`.
    """
    given = {f"keys/{file}": keys[file] for file in (MASTER_FILE, CLIENT_FILE, WORKER_FILE)} | dict(files)
    if context.cache is not None:
        cache = context.cache
        given[CACHE_FILE] = _CACHE.format(home=HOME, host=cache.origin, port=cache.port, folder=cache.folder)
        through = f"root://{HEAD}:{cache.port}//"
        pools = {name: structs.replace(it, proxy_prefix=it.proxy_prefix or through) for name, it in pools.items()}
    if pools:
        given[POOLS_FILE] = msgspec.json.encode({name: _said(pool) for name, pool in pools.items()}).decode()
    return machine_user_data(context, "master", _script(context, name, bool(pools)), given, asked=asked, stays=True)


def _said(pool: Pool) -> dict[str, Any]:
    """The settings of a pool that are not what is usual: user-data are short."""
    said = msgspec.to_builtins(pool)
    usual = {
        field.encode_name: msgspec.to_builtins(field.default_factory() if field.default is NODEFAULT else field.default)
        for field in structs.fields(pool)
        if not field.required
    }
    return {key: value for key, value in said.items() if key not in usual or value != usual[key]}


def _script(context: HeadContext, name: str, has_pools: bool) -> str:
    """What becomes the master. Its address of the status page, which has a token in it, is not for the console."""
    lines = ["#!/bin/bash", "umask 077", f"head={shlex.quote(context.host)}"]
    lines.append('if [ -z "$head" ]; then read -r head _ < <(hostname -I); fi')
    command = [context.interpreter, "-m", "eventmill", "master", name, "--keys", KEYS, "--port", str(context.port)]
    command += ["--status-port", str(context.status_port)] if context.status_port else []
    if has_pools:
        lines.append(f'sed -i "s/{HEAD}/$head/g" {POOLS_FILE}')
        command += ["--pools", f"{HOME}/{POOLS_FILE}"]
    if context.cache is not None:
        lines.append(f"mkdir -p {context.cache.folder} cache-admin")
        log = f"{HOME}/cache.log"  # xrootd puts it into a folder by the name of the instance
        lines.append(
            f"{{ xrootd -c {HOME}/{CACHE_FILE} -n cache -l {log}; "
            f'echo "eventmill: the cache has ended: {HOME}/cache/cache.log says why"; }} &'
        )
    lines += [f'exec {shlex.join(command)} --host "$head" >>{HOME}/master.out', ""]
    return "\n".join(lines)
