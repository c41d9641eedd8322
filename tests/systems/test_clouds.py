"""Workers on machines of a cloud: the interface of EC2, whose machines boot on this one by the real cloud-init."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import eventmill as em
import pytest
from cloud_calls import TOKEN, assigned, states
from ec2_site import ARM_IMAGE, Ec2Site, ec2_site
from eventmill.launch.pools.cloud import Cloud
from eventmill.launch.pools.pool import PoolError
from eventmill.protocol.messages import LaunchInfo
from eventmill.session.pools import PoolHandle
from pool_agent import agent_of
from processes import SECONDS, Standing, eventually, run
from scaling import scales

CYCLES = 400_000
BURST = "pools burst for the master"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ec2Site]:
    with ec2_site(tmp_path_factory.mktemp("ec2")) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left(site: Ec2Site) -> Iterator[None]:
    """What each test ends with."""
    yield
    eventually(lambda: site.is_empty, "no machine is left")


def test_machines_boot_are_found_and_end_as_they_are_told(site: Ec2Site, tmp_path: Path) -> None:
    """By what the service itself says, from the start to the end of all processes."""
    pool, call = site.pool(python="/bin/true", context={"commands": ["touch /ready; sleep 1000"]}), assigned(tmp_path)
    jobs = pool.start(2, call)
    assert sorted(jobs) == pool.find(call) == pool.left(call) and pool.find(assigned(tmp_path, "2")) == []
    assert states(pool, jobs) == ["started", "started"]
    _, first = site.machine_of(jobs[0])
    eventually(lambda: first.file("/ready").exists(), "it boots")
    user_data = first.file("/var/lib/eventmill/given/token")
    assert user_data.read_text().strip() == TOKEN and user_data.stat().st_mode & 0o777 == 0o600
    pool.stop([jobs[0], "eventmill-unknown-0"])
    assert states(pool, jobs) == ["gone", "started"]
    eventually(lambda: first.is_off, "its processes are gone")
    pool.stop(jobs)
    assert pool.left(call) == []


def test_a_machine_that_does_not_come_up_says_why(site: Ec2Site, tmp_path: Path) -> None:
    """It ends by itself; what its console shows is there when it is gone."""
    pool, call = site.pool(context={"commands": ["echo no such mirror >&2; exit 7"]}), assigned(tmp_path)
    (job,) = pool.start(1, call)
    eventually(lambda: states(pool, [job]) == ["failed"], "it switches itself off")
    assert "switched itself off (terminated: Client.InstanceInitiatedShutdown)" in pool.listing([job])[job].reason
    said = pool.log(job, call)
    assert "no such mirror" in said and "its software could not be brought" in said and TOKEN not in said


def test_a_query_gets_machines_while_it_runs_and_gives_them_back(
    site: Ec2Site, standing: Standing, tmp_path: Path
) -> None:
    """Real workers, which enrol under the names that their machines were given."""
    scales(standing, tmp_path, site.pool(memory="1G"), 2, lambda: not site.is_empty)


@pytest.mark.parametrize("kept", [True, False], ids=["with its record", "without its record"])
def test_a_launcher_that_is_killed_finds_its_machines_again(
    site: Ec2Site, standing: Standing, tmp_path: Path, kept: bool
) -> None:
    """Nobody else would end them. Without the record nobody knows that they were wanted: they are ended."""
    file, folder = tmp_path / "pools.json", tmp_path / "pools.launcher"
    file.write_text(json.dumps({"burst": site.settings()}))
    with standing.connect() as session:

        def stages() -> list[str]:
            return [it.stage for pool in session.pools() if pool.pool == "burst" for it in pool.launches]

        with agent_of(standing, file, BURST) as first:
            session.scale(2, "burst")
            eventually(lambda: stages() == ["idle", "idle"], "two machines have joined")
            machines = site.running
            first.process.send_signal(signal.SIGKILL)
            first.wait()
        if not kept:
            shutil.rmtree(folder)
        with agent_of(standing, file, BURST) as second:
            if kept:
                eventually(lambda: stages() == ["idle", "idle"], "they are found")
                assert site.running == machines
                session.scale(0, "burst")
            else:
                second.wait_for("2 jobs are there that are in no record")
            eventually(lambda: site.is_empty, "they are ended")


def test_a_machine_that_is_taken_back_leaves_in_time(site: Ec2Site, standing: Standing, tmp_path: Path) -> None:
    """Its provider gives notice: the worker hands on what it has, says why it goes, and is replaced. Nothing is done twice;
    and a second one that is taken without notice costs no result."""
    gate = tmp_path / "gate"
    pool = site.pool(spot=True, metadata=site.metadata.url, memory="1G")
    with standing.connect() as session:
        query = session.process(em.cycles(CYCLES), slow_here(gate))
        handle = session.scale(1, pool)
        (job,) = working(handle)
        instance, machine = site.machine_of(job)
        site.metadata.notice(instance)
        machine.wait_for("the provider takes this machine back in 1")
        machine.wait_until_off()
        eventually(lambda: job not in working(handle), "another one is there")
        eventually(lambda: launched(handle, job).stage == "gone", "it is gone")
        assert launched(handle, job).reason.startswith("left: the provider takes this machine back in")
        assert query.account.failed == 0
        (job,) = working(handle)
        instance, _ = site.machine_of(job)
        site.reclaim(instance)
        eventually(lambda: job not in working(handle), "it is replaced, too")
        eventually(lambda: launched(handle, job).stage == "gone", "it is gone")
        assert launched(handle, job).reason.startswith("the provider has taken the machine back")
        gate.touch()
        assert query.result(timeout=SECONDS).value == CYCLES
        handle.scale(0)


def slow_here(gate: Path) -> Callable[..., int]:
    """An analysis that takes long, until the gate is there; on machines of the cloud a tenth of that: none is long at
    what it has begun."""
    file = str(gate)

    def count(events: Any) -> int:
        import os
        import socket
        import time

        until = time.monotonic() + len(events) * (0.0005 if socket.gethostname().startswith("i-") else 0.005)
        while time.monotonic() < until and not os.path.exists(file):  # noqa: PTH110
            time.sleep(0.02)
        return len(events)

    return count


def launched(handle: PoolHandle, job: str) -> LaunchInfo:
    """What is known of a job."""
    return next(it for it in handle.launches() if it.job == job)


def working(handle: PoolHandle) -> list[str]:
    """The jobs that work, once there are any."""
    eventually(lambda: any(it.stage == "working" for it in handle.launches()), "a worker is at work", 2 * SECONDS)
    return [it.job for it in handle.launches() if it.stage == "working"]


def test_a_quota_and_rights_are_told_in_words(site: Ec2Site, tmp_path: Path) -> None:
    """The service itself looks at signatures, and at what users may do."""
    call = assigned(tmp_path)
    strange = site.write_credentials("stranger", "AKIA0000000000000000", "wrong")
    cases: list[tuple[Cloud, str, str]] = [
        (site.pool("reader"), "starts no machine: these credentials may not do that (AccessDenied", "refused"),
        (site.pool(credentials=str(strange)), "does not know these credentials: AuthFailure", "refused"),
        (site.pool(image="ami-0123"), "InvalidAMIID.NotFound", "refused"),
        (site.pool(image=ARM_IMAGE, flavour="m5.large"), "and a machine of flavour m5.large is x86_64", "refused"),
        (site.pool(flavour="m9.huge"), "InvalidInstanceType", "refused"),
        (site.pool(endpoint="http://127.0.0.1:1"), "does not answer: Connection refused", "down"),
    ]  # fmt: skip
    for pool, words, trouble in cases:
        with pytest.raises(PoolError) as caught:
            pool.start(1, call)
        assert words in str(caught.value) and caught.value.trouble == trouble
    assert site.pool("reader").left(call) == []
    try:
        site.ask("quota", most=0)
        with pytest.raises(PoolError, match="VcpuLimitExceeded") as full:
            site.pool().start(1, call)
        assert full.value.trouble == "full"
    finally:
        site.ask("quota", most=1000)


def test_user_data_as_long_as_they_may_be_arrive(site: Ec2Site, tmp_path: Path) -> None:
    """They are compressed, and go as the body of a request: a URL would be too long, and be in logs."""
    noise = [f"echo {number * 7919 % 100003} >>/noise" for number in range(2000)]
    pool = site.pool(python="/bin/true", context={"commands": [*noise, "echo all of it", "sleep 1000"]})
    jobs = pool.start(1, assigned(tmp_path))
    (instance,) = site.running
    eventually(lambda: instance in site.machines, "it is booted")
    site.machines[instance].wait_for("all of it")
    pool.stop(jobs)


def test_an_endpoint_is_checked_line_by_line(site: Ec2Site, standing: Standing, tmp_path: Path) -> None:
    """What it can and cannot, then a worker; moto ignores client tokens, as others that speak like EC2 do."""
    file = tmp_path / "pools.json"
    file.write_text(json.dumps({"burst": site.settings(), "mute": site.settings(credentials=str(tmp_path / "none"))}))
    code, said = run("pool", "check", "burst", "--pools", str(file), "--master", standing.name, state=standing.state)
    lines = [line.split(None, 1) for line in said.splitlines() if line.startswith("  ") and " s  " not in line]
    found = {line[1].partition(":")[0]: line[0] for line in lines if line[0] in ("pass", "no", "untried")}
    assert code == 0 and said.rstrip().endswith("it works"), said
    assert found == {
        "credentials are known, machines are listed": "pass",
        "image and flavour are found, and go together": "pass",
        "user-data of a worker fit": "pass",
        "machines that may be taken back (spot)": "untried",
        "the end of a machine is the end of its costs": "pass",
        "a machine is started, with user-data": "pass",
        "it has its tags from the first moment on": "pass",
        "the same call made twice makes one machine": "no",
        "its console is shown": "pass",
        "it is deleted": "pass",
    }, said
    code, said = run("pool", "check", "mute", "--pools", str(file), "--master", standing.name, state=standing.state)
    assert code == 1 and "no      credentials are known" in said and "cannot be read" in said
