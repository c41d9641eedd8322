"""What a pool of HTCondor gives to it, and what is made of what it says; `tests/systems` has the real one."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from eventmill.launch.pools import condor_client
from eventmill.launch.pools.condor import Condor
from eventmill.launch.pools.condor_words import job_of, trouble_of
from eventmill.launch.pools.pool import Assignment, Job, PoolError

ASSIGNMENT = Assignment("physics", Path("/home/alice/pool/token"), Path("/home/alice/pool"), "physics-7")


@pytest.mark.parametrize(
    ("ad", "job"),
    [
        ({"JobStatus": 1}, Job("queued")),
        (
            {"JobStatus": 1, "NumJobStarts": 1, "VacateReason": "preempted"},
            Job("ending", "evicted: preempted"),
        ),
        ({"JobStatus": 5, "HoldReasonCode": 16}, Job("queued", "its files are on their way to the schedd")),
        ({"JobStatus": 2, "RemoteHost": "slot1_2@node7"}, Job("started", "", "node7")),
        ({"JobStatus": 3, "RemoteHost": "slot1@node7"}, Job("ending", "", "node7")),
        ({"JobStatus": 4, "ExitCode": 0}, Job("gone")),
        ({"JobStatus": 4, "ExitCode": 126, "LastRemoteHost": "slot1@n"}, Job("failed", "ended with code 126", "n")),
        ({"JobStatus": 4, "ExitBySignal": True, "ExitSignal": 9}, Job("failed", "killed by signal 9")),
        ({"JobStatus": 5, "HoldReason": "no such\n image"}, Job("held", "no such image")),
        ({"JobStatus": 6, "RemoteHost": "slot1@node7"}, Job("ending", "", "node7")),
        ({"JobStatus": 7, "RemoteHost": "slot1@node7"}, Job("started", "suspended by HTCondor", "node7")),
        ({"JobStatus": 8}, Job("queued", "in HTCondor's state 8")),
    ],
)
def test_each_state_of_a_job_has_a_word(ad: dict[str, Any], job: Job) -> None:
    assert job_of({"ClusterId": 17, "ProcId": 0} | ad) == job


@pytest.mark.parametrize(
    ("verb", "failed", "said", "trouble"),
    [
        ("query", "Failed communication with collector.", "connect to <1.2.3.4:9618> failed: refused", "down"),
        ("submit", "Failed communication with collector.", "AUTHENTICATE:1003:Failed to authenticate", "down"),
        ("submit", "there is no schedd 'a': the collector knows b", "", "down"),
        ("submit", "expected next ProcId to be 99, but Schedd says -2", "", "full"),
        ("submit", "expected next ProcId to be 99, but Schedd says -4", "", "full"),
        ("submit", "Failed to create job ad, errmsg=Submit:-1:Parse error", "", "refused"),
        ("remove", "Failed to remove", "", "down"),
    ],
)
def test_each_trouble_has_its_kind(verb: str, failed: str, said: str, trouble: str) -> None:
    """What may pass is tried again, what will not is not, and a limit is no fault of the job."""
    assert trouble_of(verb, failed, said, "HTCondor").trouble == trouble


def test_settings_become_lines_of_the_submit_file() -> None:
    pool = Condor(
        cores=4,
        memory="1.5G",
        disk="2G",
        requirements="HasAVX2",
        attributes={"VMType": "physics", "MaxRuntime": 7200, "WantNice": True},
        commands={"Accounting_Group": "group_cms", "KILL_SIG": "SIGINT"},
        setup=["source env.sh"],
    )
    shown = pool.preview(8, ASSIGNMENT)
    for line in (
        "universe = vanilla", "request_cpus = 4", "request_memory = 1536", "request_disk = 2097152", "queue 8",
        "requirements = (HasAVX2) && NumJobStarts == 0", 'My.VMType = "physics"', "My.MaxRuntime = 7200",
        "My.WantNice = true",
        "Accounting_Group = group_cms", "KILL_SIG = SIGINT", 'environment = "EVENTMILL_JOB=$(Cluster).$(Process)"',
        "should_transfer_files = NO", "source env.sh",
    ):  # fmt: skip
        assert line in shown.splitlines()
    assert "SIGTERM" not in shown
    assert " /home/alice/pool/token " in shown


def test_a_container_is_started_by_htcondor_itself() -> None:
    """What is inside has a Python of its own, and sees no files of ours but those that travel."""
    shown = Condor(container="/cvmfs/unpacked.cern.ch/image").preview(1, ASSIGNMENT)
    assert "universe = container" in shown and "container_image = /cvmfs/unpacked.cern.ch/image" in shown
    assert "transfer_input_files = /home/alice/pool/token" in shown and "encrypt_input_files = token" in shown
    assert "exec python3 -m eventmill worker token " in shown and "apptainer" not in shown


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"disk": "2"}, "no amount of memory"),
        ({"commands": {"Executable": "/bin/sh"}}, "eventmill needs these lines"),
        ({"commands": {"a": "b\nqueue 100"}}, "matching regex"),
        ({"attributes": {"a b": 1}}, "matching regex"),
        ({"requirements": "a\nb"}, "matching regex"),
        ({"scheduler": "a"}, "unknown field `scheduler`"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], words: str) -> None:
    """As they come from a file of pools."""
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert({"system": "condor", **settings}, Condor)


def test_without_its_bindings_one_is_told_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condor_client.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PoolError, match=r'pip install "eventmill\[condor\]"') as caught:
        Condor().listing(["1.0"])
    assert caught.value.trouble == "refused"


def test_a_collector_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bindings would wait for a minute, and hold everything in their process up meanwhile."""
    monkeypatch.setattr(condor_client, "CALL_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(PoolError, match=f"HTCondor .{address}. has not answered within 1 s") as caught:
            Condor(collector=address).listing(["1.0"])
    assert caught.value.trouble == "down"


def test_bindings_that_break_off_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are C++ underneath: a bug there ends a process, which is not that of the launcher."""
    monkeypatch.setenv("CONDOR_CONFIG", str(tmp_path / "none"))
    with pytest.raises(PoolError, match=r"broke off in the middle of a call: .*none") as caught:
        Condor(collector="127.0.0.1:1").listing(["1.0"])
    assert caught.value.trouble == "down"


def test_nothing_is_asked_of_htcondor_when_there_is_nothing_to_ask() -> None:
    pool = Condor(collector="127.0.0.1:1")
    pool.stop([])
    assert pool.listing([]) == {}
