"""A real Dask Gateway on this machine, for tests, whose clusters are processes of this machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
from eventmill.launch.pools.dask import Dask
from processes import SECONDS, eventually

from tests.world.fleet import free_port

_CONFIG = """
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.DaskGateway.address = "127.0.0.1:{private}"
c.Proxy.address = "127.0.0.1:{public}"
c.Proxy.tcp_address = "127.0.0.1:{schedulers}"
c.UnsafeLocalBackend.clusters_directory = "{folder}/clusters"
c.UnsafeLocalBackend.inherited_environment = ["PATH"]
c.ClusterConfig.scheduler_cmd = ["dask", "scheduler"]
c.ClusterConfig.worker_cmd = ["dask", "worker"]
"""


_USER = """
import sys
from dask_gateway import Gateway
from eventmill.launch.pools.dask import Dask
from msgspec import json
cluster = Gateway(sys.argv[1], proxy_address=sys.argv[2]).new_cluster()
cluster.scale(1)
with cluster.get_client(set_as_default=False) as client:
    print(json.encode(Dask.of(client)).decode(), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@contextlib.contextmanager
def gateway_cluster(folder: Path) -> Iterator[Dask]:
    """The pool of a cluster of one worker that somebody, in another process, has got from a gateway."""
    ports = {"private": free_port(), "public": free_port(), "schedulers": free_port()}
    (folder / "config.py").write_text(_CONFIG.format(folder=folder, **ports))
    scripts = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": f"{scripts}:{os.environ['PATH']}"}
    with (folder / "log").open("wb") as log:
        command = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "dask_gateway_server"]
        server = subprocess.Popen(
            [*command, "-f", str(folder / "config.py")], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        said = folder / "log"
        eventually(lambda: "Dask-Gateway server started" in said.read_text(), "the gateway starts")
        place, proxy = f"http://127.0.0.1:{ports['public']}", f"gateway://127.0.0.1:{ports['schedulers']}"
        eventually(lambda: _answers(place), "its proxy has heard of it")
        user = [sys.executable, "-W", "ignore", "-c", _USER, place, proxy]
        with subprocess.Popen(user, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            yield msgspec.json.decode(process.stdout.readline(), type=Dask)
            process.stdin.close()
            assert process.wait(SECONDS) == 0
    finally:
        server.terminate()
        server.wait(30)


def _answers(place: str) -> bool:
    try:
        with urllib.request.urlopen(f"{place}/api/version", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
