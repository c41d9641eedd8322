"""Real XRootD servers for tests: anonymous ones, some that want to be shown something, a cluster, a proxy."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from grid import AUDIENCE, ISSUER, Grid

from benchmarks import xrootd_server as servers
from benchmarks.xrootd_server import XRootDServer
from tests.world.fleet import free_port


@pytest.fixture(scope="session")
def xrootd_server() -> Iterator[XRootDServer]:
    """A server of an empty folder, for anonymous reading; ended with the test session."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def grid() -> Iterator[Grid]:
    """Certificates, tokens and keys."""
    _need("openssl")
    # Not in pytest's folders: they are private, and each pytest that starts makes them so again.
    with tempfile.TemporaryDirectory(prefix="eventmill-grid-") as folder:
        yield Grid(Path(folder))


def serving(lines: str = "", **options: Any) -> AbstractContextManager[XRootDServer]:
    """A server as `benchmarks.xrootd_server` starts it."""
    _need("xrootd")
    return servers.serving(lines, **options)


def secured(grid: Grid, protocol: str, more: str = "") -> str:
    """The lines of a server with TLS that wants to be shown something in one way."""
    return f"""
xrd.tls {grid.host_certificate} {grid.host_key}
xrd.tlsca certdir {grid.certificates}
xrootd.tls all
xrootd.seclib libXrdSec.so
{protocol}
ofs.authorize 1
{more}
"""


@contextlib.contextmanager
def serving_tokens(grid: Grid) -> Iterator[XRootDServer]:
    """A server that wants a token, at `roots://` and at `https://`."""
    config = grid.folder / "scitokens.cfg"
    config.write_text(
        f"[Global]\naudience = {AUDIENCE}\n\n[Issuer test]\nissuer = {ISSUER}\nbase_path = /\nmap_subject = true\n"
    )
    lines = secured(grid, "sec.protocol ztn\nsec.protbind * only ztn")
    lines += f"ofs.authlib libXrdAccSciTokens.so config={config}\n"
    lines += "xrd.protocol http libXrdHttp.so\nhttp.header2cgi Authorization authz\nhttp.selfhttps2http no\n"
    _let_in_to(grid)
    with serving(lines, host="localhost", environment={"XDG_CACHE_HOME": str(grid.tokens_cache)}) as server:
        yield server


@contextlib.contextmanager
def serving_users(grid: Grid, protocol: str, user: str) -> Iterator[XRootDServer]:
    """A server that lets one user read, who logs in in the way of the line `protocol`."""
    (grid.folder / "authdb").write_text(f"u {user} / rl\n")
    (grid.folder / "gridmap").write_text(f'"/DC=org/DC=test/CN={user}" {user}\n')
    _let_in_to(grid)
    with serving(secured(grid, protocol, f"acc.authdb {grid.folder}/authdb"), host="localhost") as server:
        yield server


@dataclass(frozen=True)
class Cluster:
    """A redirector at `url`, and two data servers that have the files in their folders."""

    url: str
    servers: list[XRootDServer]


@contextlib.contextmanager
def serving_cluster() -> Iterator[Cluster]:
    """A redirector with two data servers. It takes them 10 s to find each other."""
    _need("cmsd")
    manager, exchange = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        shared = f"all.manager localhost:{exchange}\nxrd.network nodnr\ncms.space min 10m 20m\n"
        shared += "cms.delay startup 1 lookup 1 servers 1 full 1\n"
        server = f"all.role server\n{shared}"
        servers = [stack.enter_context(serving(server, clustered=True)) for _ in range(2)]
        lines = f"all.role manager\nif exec cmsd\nxrd.port {exchange}\nfi\n{shared}"
        stack.enter_context(serving(lines, port=manager, clustered=True))
        yield Cluster(f"root://localhost:{manager}/", servers)


def _let_in_to(grid: Grid) -> None:
    if os.geteuid() == 0:
        grid.let_in(servers.USER)


def _need(program: str) -> None:
    """Without a program the test fails in CI, and is skipped elsewhere."""
    if shutil.which(program) is None:
        message = f"{program} not found: `make xrootd` installs the servers that tests need"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
