"""Default slots: what batch systems and cgroups allow, not what the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from eventmill.worker.allocation.cores import usable_cores

HERE = len(os.sched_getaffinity(0))


def test_affinity_is_the_limit_when_nothing_else_is(tmp_path: Path) -> None:
    assert usable_cores({}, tmp_path) == HERE


@pytest.mark.parametrize("name", ["SLURM_CPUS_PER_TASK", "_CONDOR_NPROCS", "NSLOTS"])
def test_batch_variables_are_kept_to(tmp_path: Path, name: str) -> None:
    assert usable_cores({name: "1"}, tmp_path) == 1
    assert usable_cores({name: "1000"}, tmp_path) == HERE
    assert usable_cores({name: "many"}, tmp_path) == HERE


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", HERE), ("", HERE)]
)
def test_cgroup_quotas_are_kept_to(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores({}, tmp_path) == cores


def test_old_cgroup_quotas_are_kept_to(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("100000")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert usable_cores({}, tmp_path) == 1
