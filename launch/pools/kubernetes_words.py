"""What Kubernetes says of Jobs and pods, and of what it does not take, in the words of pools."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .pool import Job, Trouble

_PULLING = {"ContainerCreating", "PodInitializing"}
"""Why a container waits when nothing is wrong."""


@dataclass(frozen=True, slots=True)
class ApiWords:
    """An answer of the API that is none of success.

    Args:
        status: what it says.
        namespace: of which it says that.
    """

    status: Any
    namespace: str

    @property
    def trouble(self) -> Trouble:
        """What kind of trouble that is."""
        code, message = self.status.code or 500, self.status.message or ""
        if "exceeded quota" in message:
            return "full"
        return "down" if code >= 500 or code in (408, 429) else "refused"

    @property
    def text(self) -> str:
        """What it says, and what to do."""
        message = self.status.message or f"it answers {self.status.code}"
        if self.status.code == 401:
            return f"{message}: the credentials in the kubeconfig have expired, or are for another cluster"
        if self.status.code == 403 and self.trouble == "refused":
            return f"{message}: workers need the rights to make, list and delete Jobs, pods and Secrets there"
        if self.status.code == 404 and "namespaces" in message:
            return f"there is no namespace {self.namespace!r}"
        return message


def job_of(job: Any, pod: Any) -> Job:
    """What becomes of a worker, by its Job and its pod; None where there is none."""
    if job is None:
        return Job("gone", "Kubernetes does not know it any more")
    host = (pod.spec.nodeName if pod is not None else "") or ""
    for condition in (job.status.conditions if job.status is not None else None) or []:
        if condition.status == "True" and condition.type == "Complete":
            return Job("gone", host=host)
        if condition.status == "True" and condition.type == "Failed":
            return Job("failed", _end_of(pod) or _joined(condition.reason, condition.message), host)
    if job.metadata.deletionTimestamp is not None:
        return Job("ending", host=host)
    return _job_of_pod(pod, host) if pod is not None else Job("queued")


def waits_for(events: Iterable[Any]) -> dict[str, str]:
    """Why Jobs have no pods, by their names: as their controller has said it last."""
    failures = [event for event in events if event.reason == "FailedCreate"]
    return {event.involvedObject.name: event.message or "" for event in failures}


def _job_of_pod(pod: Any, host: str) -> Job:
    if pod.metadata.deletionTimestamp is not None:
        return Job("ending", host=host)
    phase = pod.status.phase
    if phase == "Running":
        return Job("started", host=host)
    if phase == "Failed":
        return Job("failed", _end_of(pod), host)
    if phase == "Succeeded":
        return Job("gone", host=host)
    for status in pod.status.containerStatuses or []:
        waiting = status.state.waiting if status.state is not None else None
        if waiting is not None and waiting.reason not in _PULLING:
            return Job("held", _joined(waiting.reason, waiting.message), host)
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return Job("queued", _joined(condition.reason, condition.message))
    return Job("queued", "its container is being made" if host else "", host)


def _end_of(pod: Any) -> str:
    """How a pod has ended: the last line that it has said, and its exit code; or why Kubernetes has ended it."""
    if pod is None:
        return ""
    for status in pod.status.containerStatuses or []:
        ended = status.state.terminated if status.state is not None else None
        if ended is not None:
            last = ((ended.message or "").strip().splitlines() or [""])[-1]
            return _joined(f"{ended.reason or 'ended'} with code {ended.exitCode}", last)
    return _joined(pod.status.reason, pod.status.message)


def _joined(*words: str | None) -> str:
    return ": ".join(word for word in words if word)
