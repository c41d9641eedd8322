"""Nova itself, as a program: `nova_server.py KEYSTONE NOVA GLANCE FOLDER` with three ports, run by the interpreter of an
environment of its own (`make openstack`).

API, scheduler, conductor, compute and placement are those of OpenStack, in one process as nova's own functional tests run
them; tokens are those of the keystone at the first port. Its driver is the fake one: machines are booted by who looks
(`openstack_site`), and their consoles are the files FOLDER/ID/console. Glance, read only, and neutron are stand-ins.
"""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path
from typing import Any

from keystonemiddleware import auth_token

KEYSTONE, NOVA, GLANCE = map(int, sys.argv[1:4])
FOLDER = Path(sys.argv[4])
MACHINES = 3
"""That a project may have."""
_AUTH = {
    "www_authenticate_uri": f"http://127.0.0.1:{KEYSTONE}", "auth_url": f"http://127.0.0.1:{KEYSTONE}",
    "auth_type": "password", "username": "admin", "password": "secret", "project_name": "admin",
    "user_domain_name": "Default", "project_domain_name": "Default", "delay_auth_decision": False, "interface": "public",
}  # fmt: skip
auth_token.filter_factory = lambda *_, **__: lambda app: auth_token.AuthProtocol(app, _AUTH)

import eventlet  # noqa: E402
import eventlet.wsgi  # noqa: E402
from nova.tests.functional import integrated_helpers  # noqa: E402
from nova.virt import fake  # noqa: E402


def console(_: Any, __: Any, instance: Any) -> str:
    file = FOLDER / instance.uuid / "console"
    return file.read_text(errors="replace") if file.exists() else ""


fake.FakeDriver.get_console_output = console


class Nova(integrated_helpers._IntegratedTestBase):
    """What nova's own tests start; it serves until it is killed."""

    STUB_KEYSTONE = False
    CAST_AS_CALL = False

    def _setup_services(self) -> None:
        self.flags(api_paste_config=f"{sys.prefix}/etc/nova/api-paste.ini", group="wsgi")
        self.flags(instances=MACHINES, group="quota")
        super()._setup_services()

    def runTest(self) -> None:
        with Path("/dev/null").open("w") as quiet:
            images = eventlet.listen(("127.0.0.1", GLANCE))
            eventlet.spawn(eventlet.wsgi.server, images, self._glance, log=quiet)
            print("ready", flush=True)
            eventlet.wsgi.server(eventlet.listen(("127.0.0.1", NOVA)), self.api_fixture.app(), log=quiet)

    def _glance(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        path = environ["PATH_INFO"].rstrip("/")
        images = [
            {
                "id": it["id"], "name": it["name"], "status": "active", "min_disk": 0, "min_ram": 0, "visibility": "public",
                "created_at": str(it["created_at"]), "updated_at": str(it["updated_at"]), "size": 1, "tags": [],
            }
            for it in self.glance.images.values()
        ]  # fmt: skip
        images[0] |= {"name": "debian", "hw_architecture": "x86_64"}
        images[1] |= {"name": "debian-arm", "hw_architecture": "aarch64"}
        found: Any = next((it for it in images if it["id"] == path.rpartition("/")[2]), {})
        if path.endswith("images"):
            found = {"images": images}
        elif not path:
            link = {"rel": "self", "href": f"http://127.0.0.1:{GLANCE}/v2/"}
            found = {"versions": [{"id": "v2.9", "status": "CURRENT", "links": [link]}]}
        body = json.dumps(found).encode()
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]


if __name__ == "__main__":
    unittest.TextTestRunner().run(Nova())
