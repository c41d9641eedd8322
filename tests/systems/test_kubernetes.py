"""Workers as Jobs of a real Kubernetes, which is started here; only its kubelet is a stand-in (`kubernetes_site`)."""

from __future__ import annotations

import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from eventmill.launch.pools.kubernetes import Kubernetes
from eventmill.launch.pools.pool import Assignment, Job, PoolError
from kubernetes_site import CPUS, NAMESPACE, KubernetesSite, kubernetes_site
from lightkube import ApiError
from lightkube.models.core_v1 import ResourceQuotaSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job as KubernetesJob
from lightkube.resources.core_v1 import Pod, ResourceQuota, Secret
from processes import Standing, eventually
from scaling import scales

from tests.world.fleet import free_port

TOKEN = "a-token-that-nobody-else-may-see"
WORKER = """#!/bin/bash
echo "$EVENTMILL_JOB runs as $$ with $*"
trap 'echo told to leave; kill $!; exit 0' TERM
sleep 600 &
wait
"""
"""In the place of an interpreter: a worker that leaves when it is told to, and not before."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesSite]:
    folder = tmp_path_factory.mktemp("kubernetes")
    (folder / "token").touch(0o600)
    (folder / "token").write_text(TOKEN)
    (folder / "worker").write_text(WORKER)
    (folder / "worker").chmod(0o755)
    with kubernetes_site(folder) as made:
        yield made


def left(site: KubernetesSite) -> list[str | None]:
    """Jobs, pods and Secrets of ours that there are."""
    kinds: tuple[Any, ...] = (KubernetesJob, Pod, Secret)
    ours = {"app.kubernetes.io/name": "eventmill"}
    return [it.metadata.name for kind in kinds for it in site.client.list(kind, labels=ours)]


@pytest.fixture(autouse=True)
def nothing_left(site: KubernetesSite) -> Iterator[None]:
    """What each test ends with."""
    yield
    eventually(lambda: not left(site), "nothing is left")


def pool_of(site: KubernetesSite, **settings: Any) -> Kubernetes:
    settings = {"image": "eventmill:1", "python": str(site.folder / "worker")} | settings
    return Kubernetes(kubeconfig=str(site.kubeconfig), **settings)


def assignment(site: KubernetesSite, call: str) -> Assignment:
    return Assignment("kube", site.folder / "token", site.folder, f"eventmill-kube-{call}")


def early_in_a_second() -> None:
    """Wait until a second has just begun.

    The Job controller of 1.20 looks at a deadline once, so long after it first saw the Job, and counts from the start that
    it has written, in full seconds. When its first write is refused (a conflict) and the second one falls into the next
    second, it looks a moment too early, and never again.
    """
    eventually(lambda: 0.1 < time.time() % 1.0 < 0.4, "a second has just begun")


def states(pool: Kubernetes, jobs: list[str]) -> list[str]:
    return [job.state for job in pool.listing(jobs).values()]


def is_said(pool: Kubernetes, job: str, words: str) -> bool:
    (found,) = pool.listing([job]).values()
    return words in found.reason


def process_of(pool: Kubernetes, job: str, call: Assignment) -> psutil.Process:
    """Of a job that runs, which has said so."""
    eventually(lambda: "runs as" in pool.log(job, call), f"{job} says something")
    return psutil.Process(int(pool.log(job, call).partition("runs as ")[2].split()[0]))


def test_jobs_run_wait_and_end_as_they_are_told(site: KubernetesSite) -> None:
    """From the start of more than the node has room for to the end of all, by what Kubernetes itself says."""
    pool, call = pool_of(site, memory="100M"), assignment(site, "1")
    jobs = pool.start(CPUS + 1, call)
    eventually(lambda: states(pool, jobs).count("started") == CPUS, "as many run as there are CPUs")
    (waiting,) = (job for job, found in pool.listing(jobs).items() if found.state == "queued")
    eventually(lambda: is_said(pool, waiting, "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu"), "why")
    started = [job for job in jobs if job != waiting]
    assert {found.host for found in pool.listing(started).values()} == {"node-1"}
    assert pool.find(call) == jobs and pool.find(assignment(site, "none")) == []

    process = process_of(pool, started[0], call)
    pool.stop([started[0], "eventmill-kube-1-99"])
    eventually(lambda: states(pool, [started[0], waiting]) == ["gone", "started"], "the other one has its turn")
    assert not process.is_running()
    assert pool.listing(["eventmill-kube-1-99"])["eventmill-kube-1-99"].state == "gone"
    pool.stop(jobs)
    eventually(lambda: states(pool, jobs) == ["gone"] * len(jobs), "all are gone")


def test_a_token_is_in_a_secret_and_in_a_file_of_its_worker(site: KubernetesSite) -> None:
    """And in no specification that others may read, no command line, no environment."""
    pool, call = pool_of(site), assignment(site, "2")
    (job,) = pool.start(1, call)
    process = process_of(pool, job, call)
    token = Path(process.cwd()) / "token"
    assert token.read_text() == TOKEN and stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert process.environ()["EVENTMILL_JOB"] == job
    shown = [*process.cmdline(), str(process.environ()), pool.preview(1, call)]
    shown += [yaml.safe_dump(it.to_dict()) for kind in (KubernetesJob, Pod) for it in site.client.list(kind)]  # type: ignore[type-var]
    assert job in shown[-1] and not any(TOKEN in it for it in shown)
    (owner,) = site.client.get(Secret, "eventmill-kube-2").metadata.ownerReferences  # type: ignore[union-attr,misc]
    assert owner.name == job
    pool.stop([job])


def test_a_query_gets_workers_while_it_runs_and_gives_them_back(
    site: KubernetesSite, standing: Standing, tmp_path: Path
) -> None:
    """Real workers; in the place of an image they have this machine's files."""
    pool = pool_of(site, python=sys.executable)
    scales(standing, tmp_path, pool, 3, lambda: bool(left(site)))


def test_a_preview_is_what_kubernetes_takes(site: KubernetesSite) -> None:
    """With all settings that a Job has."""
    settings = {"cores": 2, "memory": "1G", "walltime": "2h", "setup": ["true"], "labels": {"team": "higgs"}}
    pool = pool_of(site, pod={"nodeSelector": {"site": "far"}, "priorityClassName": ""}, **settings)
    secret, job = yaml.safe_load_all(pool.preview(3, assignment(site, "3")))
    for manifest, kind in ((secret, Secret), (job, KubernetesJob)):
        site.client.create(kind.from_dict(manifest), dry_run=True)
    assert job["spec"]["activeDeadlineSeconds"] == 7200 and job["metadata"]["labels"]["team"] == "higgs"
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": str(2**30)}
    assert "--slots 2" in container["command"][-1]


def test_a_worker_that_fails_says_why(site: KubernetesSite) -> None:
    """In a line, and in its log; and an image that is not there keeps it from starting."""
    pool, call = pool_of(site, setup=["echo no such module", "exit 3"]), assignment(site, "4")
    (job,) = pool.start(1, call)
    eventually(lambda: states(pool, [job]) == ["failed"], "it fails")
    assert pool.listing([job])[job] == Job("failed", "Error with code 3: no such module", "node-1")
    assert pool.log(job, call) == "no such module"
    pool.stop([job])

    pool = pool_of(site, image="missing/eventmill:1")
    jobs = pool.start(1, assignment(site, "5"))
    eventually(lambda: states(pool, jobs) == ["held"], "it is held")
    assert is_said(pool, jobs[0], "ErrImagePull: no such image: missing/eventmill:1")
    assert pool.log(jobs[0], call) == ""
    pool.stop(jobs)


def test_a_walltime_ends_a_worker_that_does_not_leave_by_itself(site: KubernetesSite) -> None:
    pool, call = pool_of(site, walltime="2s"), assignment(site, "6")
    early_in_a_second()
    (job,) = pool.start(1, call)
    try:
        process = process_of(pool, job, call)
        eventually(lambda: is_said(pool, job, "DeadlineExceeded"), "its time is over")
        process.wait(30)
    finally:
        pool.stop([job])


def test_a_quota_that_is_used_up_is_no_fault_of_the_job(site: KubernetesSite) -> None:
    """One of pods leaves Jobs waiting, with the reason; one of Jobs lets none be made, and then none is left."""
    quota = ResourceQuota(metadata=ObjectMeta(name="few"), spec=ResourceQuotaSpec(hard={"pods": "1"}))
    site.client.create(quota)
    pool = pool_of(site)
    try:
        eventually(lambda: bool(site.client.get(ResourceQuota, "few").status.hard), "it counts")  # type: ignore[union-attr]
        jobs = pool.start(2, assignment(site, "7"))
        eventually(lambda: sorted(states(pool, jobs)) == ["queued", "started"], "one runs")
        (waiting,) = (job for job, found in pool.listing(jobs).items() if found.state == "queued")
        eventually(lambda: is_said(pool, waiting, "exceeded quota: few"), "why")
        pool.stop(jobs)
        quota.spec = ResourceQuotaSpec(hard={"count/jobs.batch": "3"})
        site.client.replace(quota)

        def counts() -> bool:
            status = site.client.get(ResourceQuota, "few").status
            return bool(status and status.hard and status.used == {"count/jobs.batch": "0"})

        eventually(counts, "it counts Jobs")
        with pytest.raises(PoolError, match="exceeded quota: few") as caught:
            pool.start(5, assignment(site, "8"))
        assert caught.value.trouble == "full"
    finally:
        site.client.delete(ResourceQuota, "few")


# --- what does not go -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words", "trouble"),
    [
        ({"context": "stranger"}, "need the rights to make, list and delete Jobs", "refused"),
        ({"context": "expired"}, "Unauthorized: the credentials in the kubeconfig have expired", "refused"),
        ({"context": "nowhere"}, "which Kubernetes cluster\\? Context 'nowhere' not found", "refused"),
        ({"namespace": "none"}, "there is no namespace 'none'", "refused"),
        ({"pod": {"restartPolicy": "Always"}}, "restartPolicy", "refused"),
        ({"labels": {"team": "no label!"}}, "no label!", "refused"),
        ({"kubeconfig": "/no/such/file"}, "which Kubernetes cluster\\? .*/no/such/file", "refused"),
    ],
)
def test_what_kubernetes_does_not_take_is_said(
    site: KubernetesSite, settings: dict[str, Any], words: str, trouble: str
) -> None:
    """In its own words, and what to do; nothing is left of the attempt."""
    all_settings = {"image": "eventmill:1", "kubeconfig": str(site.kubeconfig)} | settings
    with pytest.raises(PoolError, match=words) as caught:
        Kubernetes(**all_settings).start(2, assignment(site, "9"))
    assert caught.value.trouble == trouble


def test_an_api_that_does_not_answer_is_named(site: KubernetesSite, tmp_path: Path) -> None:
    config = yaml.safe_load(site.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = address = f"https://127.0.0.1:{free_port()}"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    with pytest.raises(PoolError, match=f"Kubernetes does not answer at {address}") as caught:
        Kubernetes(image="i", kubeconfig=str(tmp_path / "kubeconfig")).listing(["a"])
    assert caught.value.trouble == "down"


def test_names_are_made_such_as_kubernetes_takes(site: KubernetesSite) -> None:
    """Pools have names of users' choice."""
    call = Assignment("My_Pool.1", site.folder / "token", site.folder, "eventmill-My_Pool.1-a-1")
    pool = pool_of(site)
    jobs = pool.start(1, call)
    assert jobs == ["eventmill-my-pool-1-a-1-0"] == pool.find(call)
    pool.stop(jobs)
    with pytest.raises(PoolError, match="too long a name"):
        pool.preview(1, Assignment("p", site.folder / "token", site.folder, "x" * 60))
    with pytest.raises(ApiError):
        site.client.get(KubernetesJob, "none", namespace=NAMESPACE)
