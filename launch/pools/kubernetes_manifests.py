"""What Kubernetes is given for the workers of a pool: the Secret of a call, and a Job for each worker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import structs

from ...system.quantities import parse_seconds, parse_size
from .pool import JOB, Assignment, PoolError

if TYPE_CHECKING:
    from .kubernetes import Kubernetes

POOL_LABEL, CALL_LABEL = "eventmill/pool", "eventmill/call"
OURS = {"app.kubernetes.io/name": "eventmill"}
_KEPT_SECONDS = 86400
"""How long a Job that is over stays, with its log, if nobody removes it."""
_MOUNT = "/run/secrets/eventmill"
_LONGEST = 57
"""Characters of a call's name: with a number behind it, it is a label, of 63 at most."""


def secret_manifest(pool: Kubernetes, assignment: Assignment, token: str) -> dict[str, Any]:
    """The Secret with the token."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": call_name(assignment), "labels": _labels(pool, assignment)},
        "stringData": {"token": token},
    }


def job_manifest(pool: Kubernetes, assignment: Assignment, job: str) -> dict[str, Any]:
    """The Job of one worker."""
    labels = _labels(pool, assignment)
    walltime = {"activeDeadlineSeconds": round(parse_seconds(pool.walltime))} if pool.walltime else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            **walltime,
            "template": {"metadata": {"labels": labels}, "spec": _pod(pool, assignment, job) | pool.pod},
        },
    }


def call_name(assignment: Assignment) -> str:
    """The name of a call as Kubernetes takes it. Raises `PoolError` if it is too long."""
    name = _label(assignment.name)
    if len(name) > _LONGEST:
        raise PoolError(f"{name!r} is too long a name for Kubernetes: give the pool a shorter one", "refused")
    return name


def _pod(pool: Kubernetes, assignment: Assignment, job: str) -> dict[str, Any]:
    needs = {"cpu": str(pool.cores)} | ({"memory": str(parse_size(pool.memory))} if pool.memory else {})
    container = {
        "name": "worker",
        "image": pool.image,
        "command": ["/bin/sh", "-c", _script(pool, assignment)],
        "env": [{"name": JOB, "value": job}],
        "resources": {"requests": needs, "limits": needs},
        "volumeMounts": [{"name": "token", "mountPath": _MOUNT, "readOnly": True}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": pool.grace,
        "containers": [container],
        "volumes": [{"name": "token", "secret": {"secretName": call_name(assignment)}}],
    }


def _script(pool: Kubernetes, assignment: Assignment) -> str:
    """What runs in the container. The token is copied, so that only the user whom the image runs as can read it."""
    here = structs.replace(pool, python=pool.python or "python3")
    copied = ['cd "$(mktemp -d)"', f"(umask 077; cat {_MOUNT}/token >token)"]
    return here.script("token", assignment, *copied)


def _labels(pool: Kubernetes, assignment: Assignment) -> dict[str, str]:
    return pool.labels | OURS | {POOL_LABEL: _label(assignment.pool), CALL_LABEL: call_name(assignment)}


def _label(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
