"""moto's EC2, as a program: `ec2_server.py PORT CONSOLES`, run by the interpreter of an environment of its own (`make ec2`).

It asks for credentials and looks at signatures. "owner" may do all of EC2, "reader" may list only; their keys are printed as
JSON. What moto leaves out is done here: names of its answers as AWS writes them (libcloud finds nothing otherwise), consoles
(the files CONSOLES/ID/console), a quota, and what happens to instances, by requests to /harness, as from the data centre.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

os.environ |= {
    "INITIAL_NO_AUTH_ACTION_COUNT": "0",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "1",
    "MOTO_ENABLE_AMI_VALIDATION": "1",
}
import botocore.auth
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.instances import StateReason
from moto.ec2.responses.general import General
from moto.ec2.utils import Base64EncodedString
from moto.iam.models import iam_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple

botocore.auth.SIGNED_HEADERS_BLACKLIST = [
    header
    for header in botocore.auth.SIGNED_HEADERS_BLACKLIST
    if header != "user-agent"  # libcloud signs it
]
ACCOUNT, REGION = "123456789012", "us-east-1"
BARE = re.compile(rb'(xmlns="http://ec2\.amazonaws\.com/doc/[0-9-]+)"')
_START = Callable[..., Any]


def backend() -> EC2Backend:
    return ec2_backends[ACCOUNT][REGION]


def users() -> dict[str, list[str]]:
    """Two of them, with the keys of each."""
    iam = iam_backends[ACCOUNT]["aws"]
    keys = {}
    for name, actions in {"owner": ["ec2:*"], "reader": ["ec2:Describe*"]}.items():
        iam.create_user(REGION, name)
        allowed = [{"Effect": "Allow", "Action": actions, "Resource": "*"}]
        iam.put_user_policy(name, "all", json.dumps({"Version": "2012-10-17", "Statement": allowed}))
        key = iam.create_access_key(name)
        keys[name] = [key.access_key_id, key.secret_access_key]
    return keys


class Quota:
    """Instances at most, which moto does not have."""

    def __init__(self) -> None:
        self.most = 1000
        self._run = EC2Backend.run_instances

    def run(self, ec2: EC2Backend, image_id: str, count: int, *args: Any, **more: Any) -> Any:
        alive = sum(it.state != "terminated" for it in ec2.all_instances())
        if alive + count > self.most:
            words = f"You have requested more vCPU capacity than your current vCPU limit of {self.most} allows."
            raise EC2ClientError("VcpuLimitExceeded", words)
        return self._run(ec2, image_id, count, *args, **more)


class Server:
    """It answers as AWS does, and as the data centre behind it."""

    def __init__(self, consoles: Path) -> None:
        self._consoles = consoles
        self._quota = Quota()
        self._moto = DomainDispatcherApplication(create_backend_app)
        quota, console = self._quota, self.console
        EC2Backend.run_instances = lambda ec2, *args, **more: quota.run(ec2, *args, **more)  # type: ignore[method-assign]
        General.get_console_output = lambda asked: console(asked)  # type: ignore[method-assign]

    def console(self, asked: General) -> ActionResult:
        instance = asked.ec2_backend.get_instance(asked._get_param("InstanceId"))
        file = self._consoles / instance.id / "console"
        said = file.read_text(errors="replace") if file.exists() else ""
        output = Base64EncodedString.from_raw_string(said)
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": output})

    def __call__(self, environ: dict[str, Any], start: _START) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/harness/"):
            body = json.dumps(self.harness(path, dict(parse_qsl(environ["QUERY_STRING"])))).encode()
            start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        kept: list[Any] = []
        body = b"".join(self._moto(environ, lambda status, headers, exc=None: kept.append((status, headers))))
        body = re.sub(rb'<Response xmlns="[^"]*"', b"<Response", BARE.sub(rb'\1/"', body))
        body = body.replace(b"<Type>Sender</Type>", b"")
        status, headers = kept[-1]
        headers = [header for header in headers if header[0].lower() != "content-length"]
        start(status, [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def harness(self, path: str, asked: dict[str, str]) -> Any:
        """What machines there are; one has ended, for this reason; so many may be there."""
        if path == "/harness/ended":
            instance = backend().get_instance(asked["id"])
            if instance.state != "terminated":
                instance.terminate()
                instance._reason, instance.state_reason = (
                    asked.get("reason", ""),
                    StateReason(asked["code"], asked["code"]),
                )
        elif path == "/harness/quota":
            self._quota.most = int(asked["most"])
        return [
            {"id": it.id, "state": it.state, "user_data": str(it.user_data or "")} for it in backend().all_instances()
        ]


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Errors only: URLs would be most of it."""
        if type == "error":
            super().log(type, message, *args)


if __name__ == "__main__":
    print(json.dumps(users()), flush=True)
    run_simple("127.0.0.1", int(sys.argv[1]), Server(Path(sys.argv[2])), threaded=True, request_handler=Quiet)
