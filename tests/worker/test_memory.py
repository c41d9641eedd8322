"""How much memory a slot may take: what batch systems, cgroups and the machine allow; and the slot status that tells."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.protocol.messages import Activity
from eventmill.system.free_memory import free_memory
from eventmill.system.quantities import parse_size
from eventmill.system.slot_memory import OWN
from eventmill.worker.allocation.memory import halvings, limit_a_slot, taken
from eventmill.worker.slot_status import _VERSION, AtWork, SlotStatus, SlotStatuses
from processes import SECONDS, Standing

G = 2**30


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A machine of 64 GB."""
    folder = tmp_path / "proc"
    (folder / "self").mkdir(parents=True)
    (folder / "meminfo").write_text("MemTotal:       67108864 kB\nMemFree:        1 kB\n")
    return folder


def limit(proc: Path, slots: int = 1, **environment: str) -> int:
    return limit_a_slot(slots, environment, proc.parent / "cgroup", proc)


def test_without_any_limit_slots_share_the_machine(proc: Path) -> None:
    assert limit(proc) == 64 * G - OWN
    assert limit(proc, slots=8) == (64 * G - OWN) // 8


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_MEM_PER_NODE": "8192"},
        {"SLURM_MEM_PER_CPU": "2048", "SLURM_CPUS_ON_NODE": "4"},
        {"SLURM_MEM_PER_CPU": "4096", "SLURM_CPUS_PER_TASK": "2"},
        {"SLURM_MEM_PER_CPU": "8192"},
    ],
)
def test_slurm_is_kept_to(proc: Path, environment: dict[str, str]) -> None:
    assert limit(proc, **environment) == 8 * G - OWN


def test_free_memory_is_the_least_that_machine_and_control_groups_have_left(proc: Path) -> None:
    """Protects a master in a container, whose machine has plenty."""
    cgroup = proc.parent / "cgroup"
    (proc / "meminfo").write_text("MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n")
    assert free_memory(cgroup, proc) == 32 * G
    (proc / "self" / "cgroup").write_text("0::/job\n")
    (cgroup / "job").mkdir(parents=True)
    for name, text in (("max", f"{8 * G}"), ("current", f"{7 * G}"), ("stat", f"anon 1\ninactive_file {2 * G}\n")):
        (cgroup / "job" / f"memory.{name}").write_text(text)
    assert free_memory(cgroup, proc) == 3 * G
    (cgroup / "job" / "memory.max").write_text("max\n")
    assert free_memory(cgroup, proc) == 32 * G


def test_slurm_without_a_limit_says_zero(proc: Path) -> None:
    assert limit(proc, SLURM_MEM_PER_NODE="0") == 64 * G - OWN


def test_htcondor_is_kept_to_by_its_files(proc: Path, tmp_path: Path) -> None:
    machine, job = tmp_path / ".machine.ad", tmp_path / ".job.ad"
    machine.write_text('Name = "slot1@host"\nTotalMemory = 65536\nMemory = 4096\n')
    job.write_text("RequestMemory = ifthenelse(MemoryUsage isnt undefined, MemoryUsage, 1)\nMemoryProvisioned = 2048\n")
    assert limit(proc, _CONDOR_MACHINE_AD=str(machine), _CONDOR_JOB_AD=str(job)) == 4 * G - OWN
    assert limit(proc, _CONDOR_JOB_AD=str(job)) == 2 * G - OWN
    assert limit(proc, _CONDOR_JOB_AD=str(tmp_path / "none")) == 64 * G - OWN


def test_control_groups_are_kept_to_up_to_the_root(proc: Path) -> None:
    """A batch system limits the job's group, of which this process is in a part."""
    (proc / "self/cgroup").write_text("0::/system/job_7/step_0\n")
    group = proc.parent / "cgroup/system/job_7/step_0"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text(f"{6 * G}\n")
    assert limit(proc, slots=2) == (6 * G - OWN) // 2


def test_old_control_groups_are_kept_to(proc: Path) -> None:
    (proc / "self/cgroup").write_text("9:cpu,cpuacct:/other\n4:memory:/job\n")
    group = proc.parent / "cgroup/memory/job"
    group.mkdir(parents=True)
    (group.parent / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (group / "memory.limit_in_bytes").write_text(f"{3 * G}\n")
    assert limit(proc) == 3 * G - OWN


def test_in_a_container_the_root_is_the_containers(proc: Path) -> None:
    (proc / "self/cgroup").write_text("0::/\n")
    (proc.parent / "cgroup").mkdir()
    (proc.parent / "cgroup/memory.max").write_text(f"{5 * G}\n")
    assert limit(proc) == 5 * G - OWN


def test_little_memory_is_halved_rather_than_none(proc: Path) -> None:
    assert limit(proc, SLURM_MEM_PER_NODE="600") == 300 * 2**20


@pytest.mark.parametrize("text", ["", "4", "G", "-4G", "four", "1e9", "4 X"])
def test_what_is_no_size_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 4G or 400M"):
        parse_size(text)


def test_chunks_shrink_as_a_slot_grows() -> None:
    counts = [halvings(size, 1000.0) for size in range(0, 1200, 10)]
    assert counts == sorted(counts) and counts[79] == 0 and counts[80] == 1
    assert halvings(10**12, float("inf")) == 0


def test_what_a_process_takes_is_known_near_its_limit_and_far_from_it() -> None:
    hoard = np.ones(2**23)  # 64 MB
    with Path("/proc/self/smaps_rollup").open("rb") as rollup:
        quick, exact = (taken(os.getpid(), limit, rollup.fileno()) for limit in (1000 * G, 2**20))
    assert quick > hoard.nbytes and exact > hoard.nbytes and quick != exact
    assert taken(os.getpid(), 2**20) > hoard.nbytes, "a kernel without such a file"
    assert taken(0, G) == 0, "no process"


# --- for real ---------------------------------------------------------------------------------------------------------


@pytest.mark.long("a process grows to its limit, several times")
def test_an_analysis_that_leaks_is_restarted_in_time_and_exact(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "f.root") as file:
        file.mktree("Events", {"x": "int64"}).extend({"x": np.arange(20_000)})

    def leak(events: Any) -> int:
        import builtins

        hoard = vars(builtins).setdefault("hoard", [])
        for _ in range(-(-len(events) // 60)):
            hoard.append(np.ones(2**17))  # a megabyte
            time.sleep(0.012)
        return int(np.asarray(events.x).sum())

    standing = Standing(tmp_path)
    try:
        worker = standing.worker(options=("--memory", "300M"))
        with em.connect(str(tmp_path / "test" / "client.json")) as session:
            result = session.process(str(tmp_path / "f.root"), leak).result(60)
        assert result.value == sum(range(20_000)) and result.account.failed == 0
        worker.wait_for("slot 0 takes")
        worker.wait_for("slot 0 is replaced: it has grown too large")
    finally:
        standing.close()


# --- the slot status ----------------------------------------------------------------------------------------


def test_each_slot_has_a_status_of_its_own(tmp_path: Path) -> None:
    statuses = SlotStatuses(tmp_path / "statuses", 4)
    rows = [SlotStatus.of_slot(tmp_path / "statuses", slot) for slot in range(3)]
    for slot, row in enumerate(rows):
        row.begin(f"q{slot}", slot, 10 * slot, 10 * slot + 10)
    rows[2].at[0] = 4
    found = [statuses.at_work(slot) for slot in range(4)]
    assert [(it.query, it.lease, it.start, it.stop) for it in found if it is not None] == [
        ("q0", 0, 0, 10), ("q1", 1, 10, 20), ("q2", 2, 24, 25),
    ]  # fmt: skip
    assert found[3] is None


def test_an_entry_of_the_chunk_before_is_not_taken_for_one_of_this(tmp_path: Path) -> None:
    statuses, row = SlotStatuses(tmp_path / "statuses", 4), SlotStatus.of_slot(tmp_path / "statuses", 0)
    row.begin("q", 1, 0, 10)
    row.at[0] = 9
    row.begin("q", 1, 10, 20)
    chunk = statuses.at_work(0)
    assert isinstance(chunk, AtWork) and (chunk.start, chunk.stop) == (10, 20)


def test_the_status_tells_what_a_slot_is_doing_since_when(tmp_path: Path) -> None:
    statuses, row = SlotStatuses(tmp_path / "statuses", 4), SlotStatus.of_slot(tmp_path / "statuses", 1)
    before = time.monotonic()
    for what in get_args(Activity):
        row.begin("q", 1, 0, 0)
        row.turn_to(what)
        row.begin("q", 1, 0, 10)
        chunk = statuses.at_work(1)
        assert chunk is not None and chunk.doing == what and before <= chunk.since <= time.monotonic()


def test_orders_reach_a_slot_and_not_its_successor(tmp_path: Path) -> None:
    statuses, row = SlotStatuses(tmp_path / "statuses", 4), SlotStatus.of_slot(tmp_path / "statuses", 0)
    assert (row.halvings, row.retires) == (0, False)
    statuses.order(0, 3, retire=True)
    assert (row.halvings, row.retires) == (3, True)
    statuses.clear(0)
    assert (row.halvings, row.retires) == (0, False)


WRITER = """
import sys
from pathlib import Path
from eventmill.worker.slot_status import SlotStatus

status = SlotStatus.of_slot(Path(sys.argv[1]), 0)
for number in range(1, 100_001):
    status.begin(f"q{number}" * 8, number, 10 * number, 10 * number + 10)
    status.at[0] = number % 10
    status.turn_to(("running", "reading")[number % 2])
    if number % 5 == 0:
        status.end()
"""


def test_a_status_is_never_read_half_written(tmp_path: Path) -> None:
    """One in a thousand reads was, and a slot that was well was killed for what the agent believed to have read."""
    statuses = SlotStatuses(tmp_path / "statuses", 1)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "statuses")])
    read = 0
    while writer.poll() is None:
        it = statuses.at_work(0)
        if it is not None:
            read += 1
            assert it.query == f"q{it.lease}" * 8
            first, one = 10 * it.lease, 10 * it.lease + it.lease % 10
            assert (it.start, it.stop) in {(first, first + 10), (one, one + 1)}
    assert writer.wait(SECONDS) == 0 and read > 0


def test_a_slot_killed_while_it_writes_leaves_what_it_was_at(tmp_path: Path) -> None:
    """The record comes before its version: without the latter, the one before it is in force."""
    statuses, status = SlotStatuses(tmp_path / "statuses", 2), SlotStatus.of_slot(tmp_path / "statuses", 1)
    status.begin("q", 1, 0, 10)
    before = statuses.at_work(1)
    version = status._words[_VERSION]
    status.begin("another", 2, 100, 200)
    status._words[_VERSION] = version
    assert statuses.at_work(1) == before
