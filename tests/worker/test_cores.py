"""Default slots: what batch systems and cgroups allow, not what the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from eventmill.worker.allocation.cores import usable_cores

HERE = len(os.sched_getaffinity(0))


def test_affinity_is_the_limit_when_nothing_else_is(tmp_path: Path) -> None:
    assert usable_cores({}, tmp_path, tmp_path) == HERE


@pytest.mark.parametrize("name", ["SLURM_CPUS_PER_TASK", "_CONDOR_NPROCS", "NSLOTS"])
def test_batch_variables_are_kept_to(tmp_path: Path, name: str) -> None:
    assert usable_cores({name: "1"}, tmp_path, tmp_path) == 1
    assert usable_cores({name: "1000"}, tmp_path, tmp_path) == HERE
    assert usable_cores({name: "many"}, tmp_path, tmp_path) == HERE


QUOTAS = [("50000", 1), ("100000", 1), ("200000", 2), ("250000", 2), ("none", 8), ("", 8)]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of eight cores, with folders `proc` and `cgroups`."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path


def cores(machine: Path) -> int:
    return usable_cores({}, machine / "cgroups", machine / "proc")


def is_in(machine: Path, *lines: str) -> None:
    """What the kernel tells of the groups of this process."""
    (machine / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in lines))


def limit(machine: Path, group: str, quota: str, version: int = 2) -> None:
    folder = machine / "cgroups" / group
    folder.mkdir(parents=True, exist_ok=True)
    if version == 2:
        (folder / "cpu.max").write_text(quota and f"{quota.replace('none', 'max')} 100000")
    else:
        (folder / "cpu.cfs_quota_us").write_text(quota.replace("none", "-1"))
        (folder / "cpu.cfs_period_us").write_text("100000")


@pytest.mark.parametrize(("quota", "expected"), QUOTAS)
@pytest.mark.parametrize("group", ["", "batch.slice/job_7", "batch.slice/job_7/step_0/task"])
def test_quotas_of_the_own_control_group_and_those_around_it_are_kept_to(
    machine: Path, group: str, quota: str, expected: int
) -> None:
    """A batch system limits the job's group, of which this process is in a part; a container's limit is at its root."""
    is_in(machine, "0::/batch.slice/job_7/step_0/task")
    limit(machine, group, quota)
    limit(machine, "batch.slice/job_8", "100000")  # another job's
    assert cores(machine) == expected


@pytest.mark.parametrize(("quota", "expected"), QUOTAS)
@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("group", ["", "slurm/uid_1000/job_7", "slurm/uid_1000/job_7/step_0"])
def test_quotas_of_old_control_groups_are_kept_to(
    machine: Path, mount: str, group: str, quota: str, expected: int
) -> None:
    is_in(machine, "4:memory:/other", f"3:{mount}:/slurm/uid_1000/job_7/step_0", "0::/")
    limit(machine, f"{mount}/{group}", quota, version=1)
    limit(machine, f"{mount}/other", "100000", version=1)  # this process is there for its memory only
    assert cores(machine) == expected


def test_beside_old_control_groups_new_ones_are_kept_to(machine: Path) -> None:
    is_in(machine, "3:cpu:/", "0::/job")
    limit(machine, "cpu", "600000", version=1)
    limit(machine, "unified/job", "300000")
    assert cores(machine) == 3


def test_the_least_quota_on_the_way_to_the_root_counts(machine: Path) -> None:
    is_in(machine, "0::/batch/job/step")
    for group, quota in (("batch", "700000"), ("batch/job", "300000"), ("batch/job/step", "500000")):
        limit(machine, group, quota)
    assert cores(machine) == 3


@pytest.mark.parametrize("path", ["/../../elsewhere", "/docker/0123/not/here"])
def test_in_a_container_a_group_that_is_not_there_limits_nothing_and_the_root_does(machine: Path, path: str) -> None:
    """Without a name space of its own, a container is told paths of the machine outside."""
    is_in(machine, f"0::{path}")
    limit(machine, "../elsewhere", "100000")
    limit(machine, "", "400000")
    assert cores(machine) == 4


def test_without_any_control_group_the_affinity_counts(machine: Path) -> None:
    assert cores(machine) == 8
