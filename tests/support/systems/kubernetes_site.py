"""A real Kubernetes on this machine, for tests: etcd, API server, controllers and scheduler of Kubernetes 1.20 itself.

Only the kubelet, which would need a container runtime, is a stand-in: `Kubelet` below runs the commands of pods as processes
of this machine. It is one node of four CPUs, knows volumes of Secrets, logs, exit codes and the grace of a pod that is told
to end, and no image by a name that begins with "missing/".
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Node, Pod, Secret, ServiceAccount
from lightkube.types import PatchType
from processes import eventually

from tests.world.fleet import free_port

FOLDER = Path(os.environ.get("EVENTMILL_KUBERNETES", Path.home() / ".cache" / "eventmill-tests" / "kubernetes-1.20.2"))
"""Where `make kubernetes` has made the programs."""
NAMESPACE, CPUS = "eventmill", 4
_NODE = "node-1"
_BOUND = ("setpriv", "--pdeathsig", "KILL", "--")
"""What it starts ends with it."""
_HERE = "127.0.0.1"


class KubernetesSite:
    """A cluster of one node.

    Attributes:
        kubeconfig: of a user who may do everything, and of "stranger", who may do nothing (a context of that name).
        client: of the former.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._api = f"https://{_HERE}:{free_port()}"
        self.kubelet: Kubelet | None = None

    def start(self) -> None:
        """It takes pods when this returns."""
        self._start_daemons()
        self.client = Client(KubeConfig.from_file(self.kubeconfig).get(), namespace=NAMESPACE)
        self.client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
        self.kubelet = Kubelet(self.folder, KubeConfig.from_file(self.kubeconfig))
        eventually(self._has_account, "the controllers work")

    def close(self) -> None:
        if self.kubelet is not None:
            self.kubelet.close()
            self.client.close()
        for daemon in reversed(self._daemons):
            daemon.kill()
            daemon.wait()

    def _ready(self) -> bool:
        assert all(daemon.poll() is None for daemon in self._daemons), self._said("kube-apiserver")
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(f"{self._api}/readyz", headers={"Authorization": "Bearer of-the-admin"})
        try:
            with urllib.request.urlopen(request, timeout=5, context=unchecked) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _has_account(self) -> bool:
        """Pods are refused until their namespace has one."""
        with contextlib.suppress(ApiError):
            self.client.get(ServiceAccount, "default")
            return True
        return False

    def _said(self, program: str) -> str:
        log = self.folder / f"{program}.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    def _start_daemons(self) -> None:
        folder, port = self.folder, self._api.rpartition(":")[2]
        store, peers = f"http://{_HERE}:{free_port()}", f"http://{_HERE}:{free_port()}"
        key = folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", f"{key}.pub"], check=True, capture_output=True)
        (folder / "tokens.csv").write_text('of-the-admin,admin,1,"system:masters"\nof-a-stranger,stranger,2\n')
        self._write_kubeconfig()
        self._run(
            "etcd", f"--data-dir={folder}/etcd", f"--listen-client-urls={store}", f"--advertise-client-urls={store}",
            f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
        )  # fmt: skip
        self._run(
            "kube-apiserver", f"--etcd-servers={store}", f"--bind-address={_HERE}", f"--advertise-address={_HERE}",
            f"--secure-port={port}", "--insecure-port=0", f"--cert-dir={folder}/certificates", "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24", f"--service-account-key-file={key}.pub",
            f"--service-account-signing-key-file={key}", "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={folder}/tokens.csv",
        )  # fmt: skip
        shared = (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", f"--bind-address={_HERE}", "--port=0")
        controllers = "*,-nodeipam,-route,-cloud-node-lifecycle,-service"
        eventually(self._ready, f"the API server answers: {self._said('kube-apiserver')}")
        self._run(
            "kube-controller-manager", *shared, f"--secure-port={free_port()}", f"--controllers={controllers}",
            f"--service-account-private-key-file={key}",
        )  # fmt: skip
        self._run("kube-scheduler", *shared, f"--secure-port={free_port()}")

    def _write_kubeconfig(self) -> None:
        cluster = {"server": self._api, "insecure-skip-tls-verify": True}
        users = {"admin": "of-the-admin", "stranger": "of-a-stranger", "expired": "of-nobody"}
        self.kubeconfig.touch(0o600)
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "here", "cluster": cluster}],
                    "users": [{"name": name, "user": {"token": token}} for name, token in users.items()],
                    "contexts": [
                        {"name": name, "context": {"cluster": "here", "user": name, "namespace": NAMESPACE}}
                        for name in users
                    ],
                    "current-context": "admin",
                }
            )
        )

    def _run(self, program: str, *options: str) -> None:
        with (self.folder / f"{program}.log").open("wb") as log:
            command = [*_BOUND, str(FOLDER / "bin" / program), *options]
            self._daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))


class Kubelet:
    """A stand-in for a node's kubelet: what pods are to run runs as processes of this machine.

    Args:
        folder: for the volumes and logs of pods.
        config: of a user who may do everything.
    """

    def __init__(self, folder: Path, config: KubeConfig) -> None:
        self._folder = folder
        self._client = Client(config.get(), namespace="default")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._known: set[str] = set()
        self._ending: set[str] = set()
        self._starting = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self._logs = ThreadingHTTPServer((_HERE, 0), _log_handler(folder))
        self._logs.socket = _with_tls(self._logs.socket, folder)
        self._register()
        for work in (self._logs.serve_forever, self._beat, self._follow):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self._logs.shutdown()
        self._logs.server_close()
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for thread in self._threads:
            thread.join(10)
        self._client.close()

    def _register(self) -> None:
        self._client.create(Node(metadata=ObjectMeta(name=_NODE, labels={"kubernetes.io/hostname": _NODE})))
        room = {"cpu": str(CPUS), "memory": "16Gi", "pods": "50"}
        port = {"kubeletEndpoint": {"Port": self._logs.server_address[1]}}
        addresses = [{"type": "InternalIP", "address": _HERE}]
        self._tell(capacity=room, allocatable=room, daemonEndpoints=port, addresses=addresses)
        self._client.patch(Node, _NODE, {"spec": {"taints": None}}, patch_type=PatchType.MERGE)

    def _tell(self, **status: Any) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": _now()}
        status |= {"conditions": [ready | {"lastTransitionTime": _now()}]}
        self._client.patch(Node.Status, _NODE, {"status": status}, patch_type=PatchType.MERGE)

    def _beat(self) -> None:
        while not self._closed.wait(10):
            with contextlib.suppress(Exception):  # the cluster is ending
                self._tell()

    def _follow(self) -> None:
        while not self._closed.is_set():
            try:
                for _, pod in self._client.watch(
                    Pod, namespace="*", fields={"spec.nodeName": _NODE}, server_timeout=30
                ):
                    if self._closed.is_set():
                        return
                    self._look(pod)
            except Exception:
                if not self._closed.is_set():
                    raise

    def _look(self, pod: Pod) -> None:
        assert pod.metadata is not None and pod.metadata.uid is not None and pod.status is not None
        uid = pod.metadata.uid
        if pod.metadata.deletionTimestamp is not None and uid not in self._ending:
            self._ending.add(uid)
            self._work(self._stop, pod)
        elif pod.status.phase == "Pending" and uid not in self._known | self._ending:
            self._known.add(uid)
            self._work(self._run, pod)

    def _work(self, work: Any, pod: Pod) -> None:
        thread = threading.Thread(target=work, args=(pod,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _run(self, pod: Any) -> None:
        container = pod.spec.containers[0]
        if container.image.startswith("missing/"):
            waiting = {"reason": "ErrImagePull", "message": f"no such image: {container.image}"}
            self._say(pod, "Pending", {"waiting": waiting})
            return
        process = self._started(pod, container)
        if process is None:
            return
        self._say(pod, "Running", {"running": {"startedAt": _now()}})
        code = process.wait()
        code = code if code >= 0 else 128 - code
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": _now()}
        if code:
            ended["message"] = _log_of(self._folder, pod.metadata.name).read_text(errors="replace")[-2000:]
        self._say(pod, "Failed" if code else "Succeeded", {"terminated": ended})

    def _started(self, pod: Any, container: Any) -> subprocess.Popen[bytes] | None:
        """Its process; None if its Secret is not there, for which a kubelet would wait, or it is to end already."""
        environment = {"PATH": os.environ["PATH"]} | {item.name: item.value or "" for item in container.env or []}
        shell, uid = container.command[-1], pod.metadata.uid
        with self._starting:
            if uid in self._ending:
                return None
            for mount in container.volumeMounts:
                try:
                    shell = shell.replace(mount.mountPath, str(self._volume(pod, mount.name)))
                except ApiError:
                    return None
            with _log_of(self._folder, pod.metadata.name).open("wb") as said:
                self._processes[uid] = process = subprocess.Popen(
                    [*_BOUND, *container.command[:-1], shell], env=environment, stdin=subprocess.DEVNULL,
                    stdout=said, stderr=said, start_new_session=True,
                )  # fmt: skip
        return process

    def _volume(self, pod: Any, name: str) -> Path:
        folder = self._folder / "volumes" / pod.metadata.uid / name
        folder.mkdir(parents=True)
        (secret,) = (volume.secret.secretName for volume in pod.spec.volumes if volume.name == name)
        content = self._client.get(Secret, secret, namespace=pod.metadata.namespace).data or {}
        for key, value in content.items():
            (folder / key).write_bytes(base64.b64decode(value))
        return folder

    def _say(self, pod: Any, phase: str, state: dict[str, Any]) -> None:
        container = pod.spec.containers[0]
        told = {"name": container.name, "image": container.image, "imageID": "", "ready": phase == "Running"}
        status = {"phase": phase, "containerStatuses": [told | {"restartCount": 0, "state": state}]}
        with contextlib.suppress(Exception if self._closed.is_set() else ApiError):  # it is not there any more
            self._client.patch(
                Pod.Status, pod.metadata.name, {"status": status}, namespace=pod.metadata.namespace,
                patch_type=PatchType.STRATEGIC,
            )  # fmt: skip

    def _stop(self, pod: Any) -> None:
        with self._starting:  # it has begun by now, or never will
            process = self._processes.get(pod.metadata.uid)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(pod.metadata.deletionGracePeriodSeconds or 0)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(self._folder / "volumes" / pod.metadata.uid, ignore_errors=True)
        with contextlib.suppress(ApiError):
            self._client.delete(Pod, pod.metadata.name, namespace=pod.metadata.namespace, grace_period=0)


def _log_of(folder: Path, pod: str) -> Path:
    return folder / f"{pod}.log"


def _log_handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    class Logs(BaseHTTPRequestHandler):
        """What the API server asks a kubelet for: /containerLogs/NAMESPACE/POD/CONTAINER?tailLines=N."""

        def do_GET(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            lines = int(urllib.parse.parse_qs(parts.query).get("tailLines", ["1000"])[0])
            said = _log_of(folder, parts.path.split("/")[3]).read_text(errors="replace").splitlines(keepends=True)
            content = "".join(said[-lines:]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    return Logs


def _with_tls(socket: Any, folder: Path) -> ssl.SSLSocket:
    key, certificate = folder / "kubelet.key", folder / "kubelet.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={_NODE}"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context.wrap_socket(socket, server_side=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def kubernetes_site(folder: Path) -> Iterator[KubernetesSite]:
    """A cluster, or a skip (in CI, a failure) where its programs are not there."""
    if not (FOLDER / "bin" / "kube-scheduler").exists():
        message = f"no Kubernetes in {FOLDER}: `make kubernetes` compiles the one that tests start"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    site = KubernetesSite(folder)
    try:
        site.start()
        yield site
    finally:
        site.close()
