"""Workers on hosts that one logs in to: a real sshd, whose jobs are stand-ins for workers, as far as SSH is concerned."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from eventmill.launch.pools.pool import Assignment, Job, PoolError
from eventmill.launch.pools.ssh import SSH
from processes import eventually
from ssh_server import SSHServer, ssh_server

__all__ = ["ssh_server"]

SECRET = "nobody-else-may-see-this"
STAND_IN = f"""#!{sys.executable}
import os, signal, sys
def leave(*_):
    print("left well", flush=True)
    sys.exit(5)
signal.signal(signal.SIGTERM, leave)
token = sys.argv[4]
mode, known = oct(os.stat(token).st_mode & 0o777), open(token).read().strip() == "{SECRET}"
print("job", os.environ["EVENTMILL_JOB"], "token", mode, known, flush=True)
while True:
    signal.pause()
"""
Settings = Callable[..., SSH]


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    """With the name of the test's folder, which no other test has."""
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(SECRET)
    return Assignment("hosts", token, tmp_path, tmp_path.name)


@pytest.fixture
def settings(ssh_server: SSHServer, tmp_path: Path) -> Iterator[Settings]:
    """Makes pools whose workers are stand-ins. No job and no file of one is left when a test is over."""
    stand_in = tmp_path / "stand_in.py"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    usual = {"hosts": {"node1": 4, "node2": 4}, "options": ssh_server.options, "python": str(stand_in)}
    yield lambda **changes: SSH(**usual | changes)
    ssh_server.clear()


def wait_until(pool: SSH, jobs: list[str], state: str) -> dict[str, Job]:
    """Until all of these jobs are in this state; what they are then."""
    listing: dict[str, Job] = {}

    def holds() -> bool:
        listing.update(pool.listing(jobs))
        return all(job.state == state for job in listing.values())

    eventually(holds, f"all jobs are {state}")
    return listing


def says(pool: SSH, job: str, assignment: Assignment, words: str) -> None:
    """Wait until a job has said something."""
    eventually(lambda: words in pool.log(job, assignment), f"{job} says {words!r}")


def test_eight_workers_start_on_two_hosts_and_leave_nothing(
    settings: Settings, assignment: Assignment, ssh_server: SSHServer
) -> None:
    """The whole way: evenly on the hosts, known by name, told to end, and then there is no process and no file of them."""
    pool = settings()
    jobs = pool.start(8, assignment)
    assert len(set(jobs)) == 8
    assert sorted(pool.find(assignment)) == sorted(jobs)
    assert sorted(job.host for job in wait_until(pool, jobs, "started").values()) == ["node1"] * 4 + ["node2"] * 4
    says(pool, jobs[3], assignment, f"job {jobs[3]} token 0o600 True")
    processes = ssh_server.processes(*jobs)
    assert len(processes) >= 8
    pool.stop(jobs)
    wait_until(pool, jobs, "gone")
    assert ssh_server.jobs() == []
    psutil.wait_procs(processes, timeout=10)
    assert ssh_server.processes(*jobs) == []
    assert pool.find(assignment) == []
    pool.stop(jobs)


def test_nothing_secret_is_on_a_command_line_or_in_an_environment(
    settings: Settings, assignment: Assignment, ssh_server: SSHServer
) -> None:
    """Other users of a host can read the former, and other processes of the user the latter."""
    pool = settings()
    jobs = pool.start(1, assignment)
    says(pool, jobs[0], assignment, "token")
    for process in ssh_server.processes(*jobs):
        assert SECRET not in str(process.cmdline()) + str(process.environ())
    assert SECRET not in pool.preview(1, assignment)
    files = [path for path in ssh_server.folder.rglob("*") if path.is_file()]
    assert [path.name for path in files if SECRET in path.read_text()] == ["token"]
    assert {oct(path.stat().st_mode & 0o077) for path in (ssh_server.folder, *files)} == {"0o0"}


def test_workers_go_on_when_the_connection_is_gone(
    settings: Settings, assignment: Assignment, ssh_server: SSHServer
) -> None:
    """A launcher that ends, or a network that breaks, costs no work."""
    pool = settings()
    jobs = pool.start(2, assignment)
    ssh_server.break_connections()
    wait_until(pool, jobs, "started")


def test_hosts_take_no_more_workers_than_they_are_to(settings: Settings, assignment: Assignment) -> None:
    """As many as there is room for; then it says who has how many."""
    pool = settings(hosts={"node1": 1, "node2": 2})
    assert pool.most == 3
    first = pool.start(2, assignment)
    more = pool.start(2, Assignment("hosts", assignment.token, assignment.folder, f"{assignment.name}-again"))
    assert len(more) == 1
    with pytest.raises(PoolError, match="node1 has 1 workers of yours; node2 has 2") as caught:
        pool.start(1, assignment)
    assert caught.value.trouble == "full"
    wait_until(pool, first + more, "started")
    assert sorted(pool.find(assignment)) == sorted(first)


def test_a_host_that_is_away_keeps_no_other_from_being_used(settings: Settings, assignment: Assignment) -> None:
    """Of its jobs nothing is said, rather than that they were gone."""
    pool = settings(hosts={"node1": 2, "away": 2})
    jobs = pool.start(4, assignment)
    assert [job.partition("@")[2] for job in jobs] == ["node1", "node1"]
    wait_until(pool, jobs, "started")
    lost = "call.0@away"
    assert set(pool.listing([*jobs, lost])) == set(jobs)
    for verb in (lambda: pool.listing([lost]), lambda: pool.stop([lost]), lambda: pool.find(assignment)):
        with pytest.raises(PoolError, match="away: it is not reached") as caught:
            verb()
        assert caught.value.trouble == "down"
    pool.stop([*jobs, lost])
    wait_until(pool, jobs, "gone")


def test_a_worker_that_fails_says_so_and_leaves_its_log(
    settings: Settings, assignment: Assignment, ssh_server: SSHServer
) -> None:
    """It is over before anybody looks. Its token is not left lying about, and stopping it removes the rest."""
    pool = settings(setup=["echo no such environment", "exit 3"])
    (job,) = pool.start(1, assignment)
    assert wait_until(pool, [job], "failed")[job] == Job("failed", "ended with code 3", job.partition("@")[2])
    assert pool.log(job, assignment) == "no such environment"
    assert sorted(path.name for path in (ssh_server.folder / job).iterdir()) == ["keeper", "log", "pid", "status"]
    pool.stop([job])
    assert pool.listing([job]) == {job: Job("gone")}


def test_a_worker_that_leaves_by_itself_leaves_nothing(
    settings: Settings, assignment: Assignment, ssh_server: SSHServer
) -> None:
    pool = settings(setup=["exit 0"])
    (job,) = pool.start(1, assignment)
    wait_until(pool, [job], "gone")
    assert ssh_server.jobs() == []
    assert pool.log(job, assignment) == ""


def test_a_host_that_was_restarted_has_lost_its_workers(
    settings: Settings, assignment: Assignment, ssh_server: SSHServer
) -> None:
    """Whoever has the number of the process now is not taken for it."""
    pool = settings()
    (job,) = pool.start(1, assignment)
    for process in ssh_server.processes(job, "keeper"):
        process.kill()
    (ssh_server.folder / job / "pid").write_text(f"{os.getpid()}\n")
    (found,) = wait_until(pool, [job], "failed").values()
    assert "it was restarted" in found.reason


def test_hosts_may_share_a_home(settings: Settings, assignment: Assignment) -> None:
    """As in these tests they do: each knows its own jobs."""
    pool = settings()
    jobs = pool.start(4, assignment)
    assert len(settings(hosts={"node1": 4}).find(assignment)) == 2
    assert len(settings(hosts={"node3": 4}).find(assignment)) == 0
    wait_until(pool, jobs, "started")


def test_the_folder_can_be_chosen(settings: Settings, assignment: Assignment, tmp_path: Path) -> None:
    """A home may be one that jobs cannot write into, without a ticket. Not everything is a folder."""
    pool = settings(folder=str(tmp_path / "it's here"))
    (job,) = pool.start(1, assignment)
    assert (tmp_path / "it's here" / job).is_dir()
    pool.stop([job])
    wait_until(pool, [job], "gone")
    assert list((tmp_path / "it's here").iterdir()) == []
    with pytest.raises(PoolError, match="node1: no folder for workers can be made there") as caught:
        settings(folder="/proc/none").start(1, assignment)
    assert caught.value.trouble == "refused"


def test_logs_of_failed_workers_are_kept_for_a_day(
    settings: Settings, assignment: Assignment, ssh_server: SSHServer
) -> None:
    """And no longer: nobody else would remove them."""
    for name, hours in (("old", 25), ("new", 23)):
        old = ssh_server.folder / f"{name}.0@node1"
        old.mkdir(parents=True)
        subprocess.run(["touch", "-d", f"{hours} hours ago", str(old / "status")], check=True)
    settings(hosts={"node1": 1}).start(1, assignment)
    assert [name for name in ssh_server.jobs() if name.endswith(".0@node1") and not name.startswith("test")] == [
        "new.0@node1"
    ]


def test_a_jump_host_is_gone_through(settings: Settings, assignment: Assignment) -> None:
    """As the user's own configuration says."""
    pool = settings(hosts={"behind": 1})
    (job,) = pool.start(1, assignment)
    assert wait_until(pool, [job], "started")[job].host == "behind"


def test_what_people_have_in_their_configuration_does_no_harm(
    settings: Settings, assignment: Assignment, ssh_server: SSHServer
) -> None:
    """A command of their own for when they log in, a terminal, a connection that stays open for the next ones."""
    pool = settings(hosts={"elaborate": 1})
    try:
        (job,) = pool.start(1, assignment)
        wait_until(pool, [job], "started")
        says(pool, job, assignment, "token")
    finally:
        subprocess.run(["ssh", *ssh_server.options, "-O", "exit", "elaborate"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("host", "changes", "words", "trouble"),
    [
        ("stranger", {}, "stranger: its key is not known here: run `ssh stranger` once", "refused"),
        ("denied", {}, "denied: it does not let you in without a password: `ssh-add` a key", "down"),
        ("away", {}, "away: it is not reached .*refused", "down"),
        ("node1", {"options": ["-oHostName=nowhere.invalid"]}, "node1: there is no host of this name", "refused"),
        ("node1", {"options": ["-oNoSuchOption=1"]}, "node1: ssh does not know these options", "refused"),
        ("node1", {"python": "/no/such/python"}, "node1: there is no /no/such/python: give the setting", "refused"),
    ],
    ids=["unknown key", "not let in", "port closed", "no such name", "wrong option", "no python"],
)
def test_what_is_wrong_is_said_in_words(
    host: str,
    changes: dict[str, Any],
    words: str,
    trouble: str,
    settings: Settings,
    assignment: Assignment,
    ssh_server: SSHServer,
) -> None:
    """None of them asks a question that nobody answers."""
    with pytest.raises(PoolError, match=words) as caught:
        settings(hosts={host: 1}, **changes).start(1, assignment)
    assert caught.value.trouble == trouble
    assert ssh_server.jobs() == []
