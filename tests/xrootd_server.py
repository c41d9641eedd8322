"""Real XRootD servers for tests: anonymous ones, some that want to be shown something, a cluster, a proxy."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from grid import AUDIENCE, ISSUER, Grid

START_SECONDS = 20
USER = "nobody"
"""Whose rights a server has that root starts."""


@dataclass(frozen=True)
class XRootDServer:
    """A server that is running. Files put into `folder` are at `url + "/name"`."""

    url: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    restart: Callable[[], subprocess.Popen[bytes]]


@pytest.fixture(scope="session")
def xrootd_server() -> Iterator[XRootDServer]:
    """A server of an empty folder, for anonymous reading; ended with the test session."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def grid() -> Iterator[Grid]:
    """Certificates, tokens and keys."""
    _program("openssl")
    # Not in pytest's folders: they are private, and each pytest that starts makes them so again.
    with tempfile.TemporaryDirectory(prefix="eventmill-grid-") as folder:
        yield Grid(Path(folder))


@contextlib.contextmanager
def serving(
    lines: str = "",
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    environment: Mapping[str, str] | None = None,
    cluster: str = "",
) -> Iterator[XRootDServer]:
    """A server with these lines in its configuration; with the program `cluster` beside it, if it is of one."""
    program = _program("xrootd")
    with tempfile.TemporaryDirectory(prefix="eventmill-xrootd-") as folder, contextlib.ExitStack() as stack:
        base, port = Path(folder), port or free_port()
        for name in ("data", "admin", "run"):
            (base / name).mkdir()
        common = f"all.export /\noss.localroot {base}/data\nall.adminpath {base}/admin\nall.pidpath {base}/run\n"
        (base / "server.cfg").write_text(f"xrd.port {port}\n{common}{lines}\n")
        let_in(base)

        def start() -> subprocess.Popen[bytes]:
            log = base / "server.log"
            log.unlink(missing_ok=True)
            process = start_daemon(program, base / "server.cfg", environment)
            stack.callback(stop, process)
            _wait(process, port, log)
            return process

        if cluster:
            stack.callback(stop, start_daemon(cluster, base / "server.cfg"))

        yield XRootDServer(f"root://{host}:{port}/", base / "data", port, start(), start)


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
    manager, exchange = free_port(), free_port()
    program = _program("cmsd")
    with contextlib.ExitStack() as stack:
        shared = f"all.manager localhost:{exchange}\nxrd.network nodnr\ncms.space min 10m 20m\n"
        shared += "cms.delay startup 1 lookup 1 servers 1 full 1\n"
        server = f"all.role server\n{shared}"
        servers = [stack.enter_context(serving(server, cluster=program)) for _ in range(2)]
        lines = f"all.role manager\nif exec cmsd\nxrd.port {exchange}\nfi\n{shared}"
        stack.enter_context(serving(lines, port=manager, cluster=program))
        yield Cluster(f"root://localhost:{manager}/", servers)


def _let_in_to(grid: Grid) -> None:
    if os.geteuid() == 0:
        grid.let_in(USER)


# --- processes --------------------------------------------------------------------------------------------------------


def start_daemon(program: str, config: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `xrootd` or `cmsd`; its log lies beside its configuration."""
    log = config.with_name(f"{config.stem}.log" if program.endswith("xrootd") else f"{Path(program).name}.log")
    command = [program, "-c", str(config), "-l", str(log), "-I", "v4"]
    if os.geteuid() == 0:
        command += ["-R", USER]
    variables = {**os.environ, **(environment or {})}
    return subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def let_in(base: Path) -> None:
    """A server that root starts gives up root's rights: the folders have to be those of whose rights it has."""
    if os.geteuid() == 0:
        for folder in (base, *(path for path in base.iterdir() if path.is_dir())):
            shutil.chown(folder, USER)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program(name: str) -> str:
    """Where a program is; without it the test fails in CI, and is skipped elsewhere."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} not found: `make xrootd` installs the servers that tests need"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until a server, that of a port, says in its log that it is ready: its port is open before that."""
    ready, waited, pause, said = f":{port} initialization completed.", 0.0, 0.02, ""
    while waited < START_SECONDS:
        said = log.read_text() if log.exists() else ""
        if ready in said:
            return
        try:  # waits for the process to end, which is what would make more looking pointless
            process.wait(pause)
            break
        except subprocess.TimeoutExpired:
            waited += pause
    stop(process)
    said = said[-2000:]
    raise RuntimeError(f"the xrootd server did not start:\n{said}")
