"""Kubernetes: a Job for each worker, by its API.

A Job each, and not one of many pods, since workers are stopped one by one: of a Job with many, its controller would replace
the pod that is stopped. The token is a Secret that belongs to the Jobs of its call, and is removed with the last of them.
Jobs that have ended well are removed when they are listed; those that have failed stay for a day, with their logs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, ClassVar

import yaml  # type: ignore[import-untyped]
from msgspec import Meta, structs

from .kubernetes_manifests import CALL_LABEL, OURS, call_name, job_manifest, secret_manifest
from .kubernetes_words import ApiWords, job_of, waits_for
from .pool import Assignment, Job, Pool, PoolError

_LINES = 100
"""Of a job's log."""


class Kubernetes(Pool, frozen=True, kw_only=True, tag="kubernetes"):
    """A namespace of a Kubernetes cluster. Needs `pip install "eventmill[kubernetes]"`, and an image with eventmill in it.

    `python` is inside of the image; "python3" by default.

    Args:
        image: that workers run in, as "registry.site/me/eventmill:1.2".
        namespace: where the Jobs go; "" is that of the context.
        kubeconfig: file with the cluster's address and credentials; "" is those of the pod in which this runs, or what
            KUBECONFIG says, or ~/.kube/config.
        context: of the kubeconfig; "" is its current one.
        grace: seconds that a worker has to leave in good order when its pod is told to end.
        labels: more labels of Jobs and pods.
        pod: more of a pod's specification, as it stands in manifests: {"nodeSelector": {"site": "a"}}.

    Example:
        >>> pool = Kubernetes(image="registry.site/me/eventmill:1.2", namespace="cms", cores=4, memory="8G")
        >>> pool.system
        'kubernetes'
    """

    system: ClassVar[str] = "kubernetes"
    shares_files: ClassVar[bool] = False
    tells_memory: ClassVar[bool] = True

    image: str
    namespace: str = ""
    kubeconfig: str = ""
    context: str = ""
    grace: Annotated[int, Meta(ge=0)] = 30
    labels: dict[str, str] = {}
    pod: dict[str, Any] = {}

    def start(self, count: int, assignment: Assignment) -> list[str]:
        from lightkube.resources.batch_v1 import Job as KubernetesJob
        from lightkube.resources.core_v1 import Secret

        jobs = [f"{call_name(assignment)}-{number}" for number in range(count)]
        with self._client("takes no job") as client:
            secret = client.create(Secret.from_dict(secret_manifest(self, assignment, assignment.token.read_text())))
            try:
                made = [client.create(KubernetesJob.from_dict(job_manifest(self, assignment, job))) for job in jobs]
                owners = [
                    {"apiVersion": "batch/v1", "kind": "Job", "name": job.metadata.name, "uid": job.metadata.uid}
                    for job in made
                ]
                client.patch(Secret, secret.metadata.name, {"metadata": {"ownerReferences": owners}})
            except Exception:
                self._delete(client, jobs)
                client.delete(Secret, secret.metadata.name)
                raise
        return jobs

    def find(self, assignment: Assignment) -> list[str]:
        from lightkube.resources.batch_v1 import Job as KubernetesJob

        with self._client() as client:
            found = client.list(KubernetesJob, labels={CALL_LABEL: call_name(assignment)})
            return sorted(job.metadata.name for job in found)

    def listing(self, jobs: Sequence[str]) -> dict[str, Job]:
        from lightkube.resources.batch_v1 import Job as KubernetesJob

        with self._client() as client:
            known = {job.metadata.name: job for job in client.list(KubernetesJob, labels=OURS)}
            pods = {(pod.metadata.labels or {}).get("job-name"): pod for pod in self._pods(client)}
            found = {job: job_of(known.get(job), pods.get(job)) for job in jobs}
            self._delete(client, [job for job in known if job in found and found[job].state == "gone"])
            if any(job.state == "queued" and not job.reason for job in found.values()):
                reasons = waits_for(self._events(client))
                found |= {
                    name: structs.replace(job, reason=reasons.get(name, ""))
                    for name, job in found.items()
                    if job.state == "queued" and not job.reason
                }
        return found

    def stop(self, jobs: Sequence[str]) -> None:
        with self._client() as client:
            self._delete(client, jobs)

    def log(self, job: str, assignment: Assignment) -> str:
        from lightkube import ApiError

        with self._client() as client:
            for pod in self._pods(client, job):
                with contextlib.suppress(ApiError):  # its container has not begun, or its node is gone
                    return "".join(client.log(pod.metadata.name, tail_lines=_LINES)).rstrip("\n")
                for status in pod.status.containerStatuses or []:
                    if status.state.terminated is not None:
                        return status.state.terminated.message or ""
        return ""

    def preview(self, count: int, assignment: Assignment) -> str:
        manifests = [
            secret_manifest(self, assignment, "(the token)"),
            job_manifest(self, assignment, f"{call_name(assignment)}-0"),
        ]
        return f"# {count} Jobs as this one, with one Secret\n{yaml.safe_dump_all(manifests, sort_keys=False)}"

    # --- calls of the API -------------------------------------------------------------------------------------------------

    @staticmethod
    def _pods(client: Any, job: str = "") -> Iterator[Any]:
        from lightkube.resources.core_v1 import Pod

        return iter(client.list(Pod, labels=OURS | ({"job-name": job} if job else {})))

    @staticmethod
    def _events(client: Any) -> Iterable[Any]:
        from lightkube.resources.core_v1 import Event

        return client.list(Event, fields={"involvedObject.kind": "Job"})  # type: ignore[no-any-return]

    @staticmethod
    def _delete(client: Any, jobs: Iterable[str]) -> None:
        """Jobs stay until their pods are gone; those that there are not are passed over."""
        from lightkube import ApiError
        from lightkube.resources.batch_v1 import Job as KubernetesJob
        from lightkube.types import CascadeType

        for job in jobs:
            try:
                client.delete(KubernetesJob, job, cascade=CascadeType.FOREGROUND)
            except ApiError as error:
                if error.status.code != 404:
                    raise

    @contextlib.contextmanager
    def _client(self, what: str = "does not do that") -> Iterator[Any]:
        """A client for the namespace. Raises `PoolError` with what the API says."""
        try:
            import httpx2
            from lightkube import ApiError, Client, KubeConfig
            from lightkube.core.exceptions import ConfigError
        except ImportError:
            raise PoolError(
                'the client of Kubernetes is not installed here: pip install "eventmill[kubernetes]"', "refused"
            ) from None
        chatty = logging.getLogger("httpx2")  # a line for each request, unless somebody wants them
        if chatty.level == logging.NOTSET:
            chatty.setLevel(logging.WARNING)
        try:
            config = KubeConfig.from_file(self.kubeconfig) if self.kubeconfig else KubeConfig.from_env()
            client = Client(config.get(self.context or None), namespace=self.namespace or None)
        except (ConfigError, OSError) as error:
            raise PoolError(f"which Kubernetes cluster? {error}: set kubeconfig and context", "refused") from None
        try:
            yield client
        except ApiError as error:
            words = ApiWords(error.status, client.namespace)
            raise PoolError(f"Kubernetes {what}: {words.text}", words.trouble) from None
        except (httpx2.HTTPError, OSError) as error:
            where = client.config.cluster.server
            raise PoolError(f"Kubernetes does not answer at {where}: {error or type(error).__name__}") from error
        finally:
            client.close()
