"""Settings of SSH pools, and what is made of what ssh says; `tests/systems` has a real server."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from eventmill.launch.pools import ssh_script
from eventmill.launch.pools.commands import CommandFailed
from eventmill.launch.pools.pool import Assignment, Job
from eventmill.launch.pools.ssh import SSH
from eventmill.launch.pools.ssh_jobs import answers, job_of
from eventmill.launch.pools.ssh_words import trouble_of

ASSIGNMENT = Assignment("hosts", Path("/home/alice/pool/token"), Path("/home/alice/pool"), "eventmill-hosts-7")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hosts": {}}, "length >= 1"),
        ({"hosts": {"node1": 0}}, ">= 1"),
        ({"hosts": {"-oProxyCommand=touch /tmp/x": 1}}, "matching regex"),
        ({"hosts": {"node1 node2": 1}}, "matching regex"),
        ({"hosts": {"node1": 1}, "folder": "~/here"}, "matching regex"),
        ({}, "missing required field `hosts`"),
        ({"hosts": {"node1": 1}, "walltime": "soon"}, "no time"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], words: str) -> None:
    """As they come from a file of pools. A host that ssh takes for an option could have anything run here."""
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert({"system": "ssh", **settings}, SSH)


def test_there_are_never_more_workers_than_hosts_take() -> None:
    assert SSH(hosts={"a": 2, "b": 1}).most == 3
    assert SSH(hosts={"a": 2, "b": 1}, most=2).most == 2


def test_a_preview_shows_the_command_and_the_script_of_each_host() -> None:
    shown = SSH(hosts={"a": 2, "b": 2}, options=["-J", "gate"], setup=["source env.sh"]).preview(3, ASSIGNMENT)
    assert "-J gate -- a exec /bin/sh -s" in shown and "-J gate -- b exec /bin/sh -s" in shown
    assert shown.count("begin eventmill-hosts-7.") == 3
    assert "source env.sh" in shown and "eventmill worker token --pool hosts" in shown


def test_states_are_told_from_what_login_scripts_say() -> None:
    said = "Welcome to node1!\neventmill: c.0@node1 started\neventmill: c.1@node1 failed 3\nfortune: 17\n"
    assert dict(answers(said)) == {"c.0@node1": "started", "c.1@node1": "failed 3"}


@pytest.mark.parametrize(
    ("state", "job"),
    [
        ("started", Job("started", "", "n")),
        ("ending", Job("ending", "", "n")),
        ("gone", Job("gone")),
        ("failed 3", Job("failed", "ended with code 3", "n")),
    ],
)
def test_each_state_has_a_word(state: str, job: Job) -> None:
    assert job_of("c.0@alice@n", state) == job


@pytest.mark.parametrize(
    ("said", "code", "words", "trouble"),
    [
        ("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!", 255, "find out why, then `ssh-keygen -R n`", "refused"),
        ("n: Permission denied (publickey,gssapi-with-mic).", 255, "`ssh-add` a key, or get a ticket", "down"),
        ("ssh: connect to host n port 22: No route to host", 255, "it is not reached", "down"),
        ("client_loop: send disconnect: Broken pipe", 255, "it is not reached", "down"),
        ("something new", 255, "ended with code 255: something new", "down"),
        ("mkdir: cannot create directory", ssh_script.NO_FOLDER, "give the setting `folder` .mkdir", "refused"),
    ],
)
def test_each_trouble_has_its_words_and_kind(said: str, code: int, words: str, trouble: str) -> None:
    error = trouble_of("n", CommandFailed("ssh: ...", said=said, code=code), "")
    assert error.trouble == trouble
    with pytest.raises(type(error), match=f"^n: .*{words}"):
        raise error


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_scripts_are_those_of_any_shell(shell: str, tmp_path: Path) -> None:
    """Its name says nothing of which shell `sh` is on a host."""
    folder = str(tmp_path / "it's here")
    run = "#!/bin/bash\necho 'a b' $EVENTMILL_JOB\nexit 4\n"
    for script in (
        ssh_script.start_script(folder, ["c.0@n"], "secret", run, "sh"),
        ssh_script.state_script(folder, ["c.0@n", "c.1@n"]),
    ):
        command = [shell, *(["--posix"] if shell == "bash" else []), "-s"]
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=True)
        assert done.stderr == ""
    assert dict(answers(done.stdout))["c.1@n"] == "gone"
