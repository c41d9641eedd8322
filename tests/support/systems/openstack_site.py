"""An OpenStack on this machine: nova, placement and keystone themselves, and machines that boot by the real cloud-init.

Only nova's virtualisation is its fake driver: this is what boots a server that nova says is active, and stops it in nova
when it has switched itself off. Glance and neutron are stand-ins (`nova_server`).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adopted import without
from cloud_machines import PROGRAMS, CloudMachine, CloudMachines
from ec2_site import BOUND, CONTEXT, LOOK_SECONDS
from eventmill.launch.contexts.worker import WorkerContext
from eventmill.launch.pools.cloud import Cloud
from processes import eventually

from tests.world.fleet import free_port

VENV = Path(os.environ.get("EVENTMILL_OPENSTACK", Path.home() / ".cache" / "eventmill-tests" / "nova-34"))
"""Where `make openstack` has made its environment."""
SECONDS = 120.0
"""How long its parts may take to start."""
_ADMIN = {"name": "admin", "domain": {"name": "Default"}}


class OpenStackSite:
    """The services and their machines.

    Attributes:
        endpoint: of keystone.
        credentials: of its admin, as an openrc.sh.
        machines: those that have been booted, by the id of the server.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        keystone, nova, glance = (free_port() for _ in range(3))
        self.endpoint = f"http://127.0.0.1:{keystone}/v3"
        self._nova = f"http://127.0.0.1:{nova}/v2.1"
        self._boots = CloudMachines(folder / "machines")
        self.machines: dict[str, CloudMachine] = {}
        self._daemons = []
        here = Path(__file__).parent
        self._start("keystone", str(here / "keystone.sh"), str(folder / "keystone"), str(VENV), str(keystone))
        eventually(lambda: self._is_up("keystone", self.endpoint), "keystone answers", SECONDS)
        self._fill_catalogue({"nova": ("compute", self._nova), "glance": ("image", f"http://127.0.0.1:{glance}")})
        program = str(here / "nova_server.py")
        self._start(
            "nova", f"{VENV}/bin/python", program, str(keystone), str(nova), str(glance), str(folder / "machines")
        )
        eventually(lambda: self._is_up("nova", self._nova), "nova answers", SECONDS)
        self.credentials = folder / "openrc.sh"
        self.credentials.touch(0o600)
        names = {"OS_USERNAME": "admin", "OS_PASSWORD": "secret", "OS_PROJECT_NAME": "admin"}
        self.credentials.write_text("".join(f"export {name}={value}\n" for name, value in names.items()))
        self._ended = threading.Event()
        self._works = threading.Thread(target=self._work, daemon=True)
        self._works.start()

    def pool(self, **settings: Any) -> Cloud:
        """Of this cloud; its machines see the interpreter of the tests."""
        context = {"context": WorkerContext(**(CONTEXT | settings.pop("context", {})))}
        known = {"driver": "openstack", "endpoint": self.endpoint, "image": "debian", "memory": "512M"}
        return Cloud(**(known | {"credentials": str(self.credentials)} | settings | context))

    def servers(self) -> list[dict[str, Any]]:
        """All that nova has, as its admin sees them."""
        found: list[dict[str, Any]] = self._ask("GET", f"{self._nova}/servers/detail")["servers"]
        return found

    @property
    def is_empty(self) -> bool:
        """Neither nova has a server, nor is a machine on."""
        return not self.servers() and all(machine.is_off for machine in list(self.machines.values()))

    def close(self) -> None:
        """End all; no machine is on when this returns."""
        self._ended.set()
        self._works.join()
        self._boots.close()
        for daemon in self._daemons:
            daemon.kill()
            daemon.wait()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _start(self, name: str, *command: str) -> None:
        with (self._folder / f"{name}.said").open("wb") as said:
            self._daemons.append(
                subprocess.Popen([*BOUND, *command], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            )

    def _is_up(self, name: str, url: str) -> bool:
        assert self._daemons[-1].poll() is None, (self._folder / f"{name}.said").read_text()[-3000:]
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return True  # it wants a token
        except OSError:
            return False
        return True

    def _fill_catalogue(self, services: dict[str, tuple[str, str]]) -> None:
        password = {"user": {**_ADMIN, "password": "secret"}}
        identity = {"methods": ["password"], "password": password}
        body = {"auth": {"identity": identity, "scope": {"project": _ADMIN}}}
        request = urllib.request.Request(f"{self.endpoint}/auth/tokens", json.dumps(body).encode(), _JSON)
        with urllib.request.urlopen(request) as answer:
            self._token = answer.headers["X-Subject-Token"]
        for name, (kind, url) in services.items():
            made = self._ask("POST", f"{self.endpoint}/services", {"service": {"type": kind, "name": name}})["service"]
            for interface in ("public", "internal", "admin"):
                endpoint = {"service_id": made["id"], "interface": interface, "url": url, "region_id": "RegionOne"}
                self._ask("POST", f"{self.endpoint}/endpoints", {"endpoint": endpoint})

    def _ask(self, method: str, url: str, body: Any = None) -> Any:
        headers = _JSON | {"X-Auth-Token": self._token, "X-OpenStack-Nova-API-Version": "2.3"}
        data = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=60) as answer:
            return json.loads(answer.read() or b"{}")

    def _work(self) -> None:
        """Boot what is active, pull the plug of what is deleted, and stop in nova what has switched itself off."""
        while not self._ended.wait(LOOK_SECONDS):
            servers = {it["id"]: it for it in self.servers()}
            for name, server in servers.items():
                machine = self.machines.get(name)
                if server["status"] == "ACTIVE" and machine is None:
                    data = base64.b64decode(server["OS-EXT-SRV-ATTR:user_data"])
                    self.machines[name] = self._boots.boot(data, name)
                elif server["status"] == "ACTIVE" and machine is not None and machine.is_off:
                    with contextlib.suppress(urllib.error.HTTPError):  # it is just being deleted
                        self._ask("POST", f"{self._nova}/servers/{name}/action", {"os-stop": None})
            for name, machine in self.machines.items():
                if name not in servers and not machine.is_off:
                    machine.close()


_JSON = {"Content-Type": "application/json"}


@contextlib.contextmanager
def openstack_site(folder: Path) -> Iterator[OpenStackSite]:
    """A cloud to be ended."""
    if not (VENV / "is-whole").exists():
        without("no nova: `make openstack` installs the cloud that tests need")
    if not (PROGRAMS / "usr/bin/cloud-init").exists() or os.geteuid() != 0:
        without("no cloud-init, or not root: `make cloud-init` unpacks it")
    with contextlib.closing(OpenStackSite(folder)) as site:
        yield site
