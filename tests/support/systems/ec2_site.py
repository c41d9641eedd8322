"""A cloud with the interface of EC2 on this machine: moto answers, and machines boot by the real cloud-init.

`ec2_server` is the service, with users and signatures; `Ec2Site` is the data centre behind it: what is said to run is booted
(`cloud_machines`), and what has switched itself off is said to have. Its metadata service tells a machine that it will be
taken back.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
from adopted import without
from cloud_machines import PROGRAMS, CloudMachine, CloudMachines
from eventmill.launch.contexts.worker import WorkerContext
from eventmill.launch.pools.cloud import Cloud
from processes import eventually

from tests.world.fleet import free_port

MOTO = Path(os.environ.get("EVENTMILL_MOTO", Path.home() / ".cache" / "eventmill-tests" / "moto-5.2.5"))
"""Where `make ec2` has made its environment."""
IMAGE, ARM_IMAGE = "ami-03cf127a", "ami-0e9271c829888680e"
LOOK_SECONDS = 0.1
CONTEXT: dict[str, Any] = {"python": sys.executable, "clock_wait": 0}
"""Machines see the interpreter of the tests, and nothing sets their clocks."""
BOUND = ("setpriv", "--pdeathsig", "KILL", "--")


class Ec2Site:
    """The service and its machines.

    Attributes:
        endpoint: its address.
        machines: those that have been booted, by the id of the instance.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self._boots = CloudMachines(folder / "machines")
        self.machines: dict[str, CloudMachine] = {}
        command = [*BOUND, str(MOTO / "bin/python"), str(Path(__file__).with_name("ec2_server.py")), str(port)]
        with (folder / "server.said").open("wb") as said:
            self._server = subprocess.Popen(
                [*command, str(folder / "machines")], stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        eventually(self._answers, "the service answers")
        users = json.loads((folder / "server.said").read_text().splitlines()[0])
        for name, (key, secret) in users.items():
            self.write_credentials(name, key, secret)
        self.metadata = Metadata(self)
        self._ended = threading.Event()
        self._works = threading.Thread(target=self._work, daemon=True)
        self._works.start()

    def write_credentials(self, name: str, key: str, secret: str) -> Path:
        """A file as `~/.aws/credentials`."""
        file = self._folder / name
        file.touch(0o600)
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        return file

    def pool(self, user: str = "owner", **settings: Any) -> Cloud:
        """Of this cloud; its machines see the interpreter of the tests."""
        context = {"context": WorkerContext(**(CONTEXT | settings.pop("context", {})))}
        return Cloud(
            **{"driver": "ec2", "endpoint": self.endpoint, "image": IMAGE, "credentials": str(self._folder / user)}
            | settings
            | context
        )

    def settings(self, **more: Any) -> dict[str, Any]:
        """The same as a table of a `pools.toml`."""
        made = {"system": "cloud", "driver": "ec2", "endpoint": self.endpoint, "image": IMAGE}
        return made | {"credentials": str(self._folder / "owner"), "context": CONTEXT} | more

    def ask(self, what: str, **asked: Any) -> list[dict[str, str]]:
        """The data centre's own way: it answers with all instances."""
        with urllib.request.urlopen(f"{self.endpoint}/harness/{what}?{urllib.parse.urlencode(asked)}") as answer:
            found: list[dict[str, str]] = json.load(answer)
        return found

    @property
    def running(self) -> list[str]:
        """Ids of instances that the service has."""
        return [it["id"] for it in self.ask("list") if it["state"] != "terminated"]

    @property
    def is_empty(self) -> bool:
        """Neither the service has an instance, nor is a machine on."""
        return not self.running and all(machine.is_off for machine in list(self.machines.values()))

    def machine_of(self, user_data: str) -> tuple[str, CloudMachine]:
        """The machine with these words in its user-data, as soon as it is on, and its instance."""

        def found() -> list[str]:
            on = [it for it in self.ask("list") if it["id"] in self.machines and it["state"] == "running"]
            return [it["id"] for it in on if user_data in base64.b64decode(it["user_data"]).decode()]

        eventually(lambda: bool(found()), f"a machine with {user_data} is on")
        (instance,) = found()
        return instance, self.machines[instance]

    def reclaim(self, instance: str) -> None:
        """Take a machine back, with no more words."""
        self.machines[instance].close()
        self.ask("ended", id=instance, reason="", code="Server.SpotInstanceTermination")

    def close(self) -> None:
        """End all; no machine is on when this returns."""
        self._ended.set()
        self._works.join()
        self._boots.close()
        self.metadata.close()
        self._server.kill()
        self._server.wait()

    def _answers(self) -> bool:
        assert self._server.poll() is None, (self._folder / "server.said").read_text()
        with contextlib.suppress(OSError):
            return self.ask("list") == []
        return False

    def _work(self) -> None:
        """Boot what is to run, pull the plug of what is to end, and tell what has switched itself off."""
        while not self._ended.wait(LOOK_SECONDS):
            for it in self.ask("list"):
                machine = self.machines.get(it["id"])
                if it["state"] == "running" and machine is None:
                    self.machines[it["id"]] = self._boots.boot(base64.b64decode(it["user_data"]), it["id"])
                elif it["state"] == "running" and machine is not None and machine.is_off:
                    self.ask("ended", id=it["id"], reason="", code="Client.InstanceInitiatedShutdown")
                elif it["state"] == "terminated" and machine is not None and not machine.is_off:
                    machine.close()


class Metadata:
    """The service at 169.254.169.254, at another address: all machines here have one network.

    Attributes:
        url: of it.
        ends: when a machine is taken back, by instance.
    """

    def __init__(self, site: Ec2Site) -> None:
        self.site = site
        self.ends: dict[str, datetime] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _metadata_of(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def notice(self, instance: str, seconds: float = 120.0) -> None:
        """From now on a machine is told that it will be taken back."""
        self.ends[instance] = datetime.now(UTC) + timedelta(seconds=seconds)

    def instance_at(self, port: int) -> str | None:
        """Whose process asks, from this port."""
        for connection in psutil.net_connections("tcp4"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                family = {connection.pid, *(it.pid for it in psutil.Process(connection.pid).parents())}
                return next((name for name, it in self.site.machines.items() if it.process.pid in family), None)
        return None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _metadata_of(metadata: Metadata) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        """The second version of the service, which wants a token with each question."""

        def do_PUT(self) -> None:
            asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
            self._say(200, "a-token") if self.path == "/latest/api/token" and asked else self._say(400, "")

        def do_GET(self) -> None:
            if self.headers.get("X-aws-ec2-metadata-token") != "a-token":
                self._say(401, "")
                return
            end = metadata.ends.get(metadata.instance_at(self.client_address[1]) or "")
            if self.path == "/latest/meta-data/spot/instance-action" and end is not None:
                self._say(200, json.dumps({"action": "terminate", "time": end.strftime("%Y-%m-%dT%H:%M:%SZ")}))
            else:
                self._say(404, "")

        def _say(self, code: int, text: str) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: Any) -> None:
            pass

    return Answers


@contextlib.contextmanager
def ec2_site(folder: Path) -> Iterator[Ec2Site]:
    """A cloud to be ended."""
    if not (MOTO / "is-whole").exists():
        without("no moto: `make ec2` installs the cloud that tests need")
    if not (PROGRAMS / "usr/bin/cloud-init").exists() or os.geteuid() != 0:
        without("no cloud-init, or not root: `make cloud-init` unpacks it")
    with contextlib.closing(Ec2Site(folder)) as site:
        yield site
