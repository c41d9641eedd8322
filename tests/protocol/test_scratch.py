"""Nothing that is not ours is ever removed: not a user's folder that has our name, not one that another process uses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from eventmill.cli.sample import INDEX_NAME, write_sample
from eventmill.master.journal import Journal
from eventmill.protocol.connection import make_keys
from eventmill.protocol.errors import ConnectionFailed, DatasetError
from eventmill.system.scratch import MARKER, Scratch, remove_if_left, remove_left
from eventmill.worker.cache_eviction import tidy

HOLDER = """
import sys
from eventmill.system.scratch import Scratch
print(Scratch(sys.argv[1]).path, flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process with a folder, which is killed in the end."""
    command = [sys.executable, "-c", HOLDER, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def aged(path: Path) -> Path:
    os.utime(path, times=(time.time() - 10**7,) * 2)
    return path


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    """The folder of the issue: a user's own, older than a minute, whose name begins as ours do."""
    users = tmp_path / "eventmill-ntuples"
    users.mkdir()
    (users / "thesis.root").write_text("three years of work")
    aged(users)
    link = tmp_path / "eventmill-link"
    link.symlink_to(users)
    with holder(tmp_path) as (process, path):
        (path / "statuses").touch()
        aged(path)
        remove_left(tmp_path)
        assert path.exists(), "its process lives"
        process.kill()
        process.wait()
        copy = shutil.copytree(path, tmp_path / "eventmill-copied")
        renamed = path.rename(tmp_path / "eventmill-mine-now")
        remove_left(tmp_path)
        assert copy.exists() and renamed.exists(), "neither is the folder that the marker is about"
        renamed.rename(path)
        remove_left(tmp_path)
        assert not path.exists()
    assert (users / "thesis.root").read_text() == "three years of work" and link.is_symlink()


@pytest.mark.parametrize("content", ["", "{}", "[1]", "\0" * 10, '{"program": "another"}', "link", "pipe"])
def test_a_folder_with_another_marker_stays(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "eventmill-12345678"
    folder.mkdir()
    if content == "pipe":
        os.mkfifo(folder / MARKER)
    elif content == "link":
        (folder / MARKER).symlink_to("/dev/zero")
    else:
        (folder / MARKER).write_text(content)
    assert not remove_if_left(folder) and folder.exists()


def test_a_process_that_lives_keeps_its_folder_where_no_locks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network file systems: pid and start time tell, and of another machine's process nobody knows."""
    monkeypatch.setattr("eventmill.system.scratch._ENDING_SECONDS", 0)
    folder = tmp_path / "eventmill-12345678"
    folder.mkdir()
    with holder(tmp_path) as (_, path):
        marker = json.loads((path / MARKER).read_text())
        marker |= {"name": folder.name, "inode": folder.stat().st_ino}
        (folder / MARKER).write_text(json.dumps(marker))
        assert not remove_if_left(folder)
    (folder / MARKER).write_text(json.dumps(marker | {"host": "another"}))
    assert not remove_if_left(folder)
    (folder / MARKER).write_text(json.dumps(marker))
    assert remove_if_left(folder) and not folder.exists()


def test_the_folder_of_a_process_that_nobody_has_waited_for_goes(tmp_path: Path) -> None:
    """Who ends with a session sees that it has let go of its files before its parent has seen that it is gone."""
    with holder(tmp_path) as (process, path):
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert remove_if_left(path) and not path.exists()


def test_a_folder_goes_with_its_maker_only(tmp_path: Path) -> None:
    scratch = Scratch(str(tmp_path))
    child = os.fork()
    if child == 0:
        scratch.remove()
        os._exit(0 if scratch.path.exists() else 1)
    assert os.waitpid(child, 0)[1] == 0
    moved = scratch.path.rename(tmp_path / "moved")
    scratch.path.mkdir()
    scratch.remove()
    assert moved.exists() and scratch.path.exists(), "what has its name now is another folder"


def test_of_a_cache_only_what_was_made_there_is_tidied_away(tmp_path: Path) -> None:
    """XDG_CACHE_HOME may be a folder of the user's, and "eventmill" in it a checkout."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data.root").touch()
    cache = tmp_path / "cache"
    cache.mkdir()
    digest, old, users = f"{1:040x}", f".{2:040x}.77.old", ["notes.txt", "deadbeef.code", ".hidden"]
    for name in (digest, old, "physics"):
        (cache / name).mkdir()
        (cache / name / "file").touch()
        aged(cache / name)
    for name in users:
        (cache / name).touch()
        aged(cache / name)
    (cache / f"{3:040x}").symlink_to(elsewhere)
    os.utime(cache / f"{3:040x}", times=(0, 0), follow_symlinks=False)
    tidy(cache, re.compile("[0-9a-f]{40}"), often=0.0)
    assert {entry.name for entry in cache.iterdir()} == {"physics", *users, f"{3:040x}", "tidied"}
    assert (elsewhere / "data.root").exists() and (cache / "physics" / "file").exists()


@pytest.mark.parametrize("name", ["events_1.root", INDEX_NAME])
def test_a_sample_is_not_written_over_files_of_the_user(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(DatasetError, match=f"{name} is.*written over"):
        write_sample(tmp_path, events=10, files=2)
    assert {entry.name for entry in tmp_path.iterdir()} == {name} and (tmp_path / name).read_text() == "mine"


def test_a_sample_of_other_parameters_takes_the_place_of_its_own_files_only(tmp_path: Path) -> None:
    write_sample(tmp_path, events=10, files=2)
    first, second = write_sample(tmp_path, events=20, files=2)
    second.unlink()
    write_sample(tmp_path, events=10, files=1)
    first, second = write_sample(tmp_path, events=20, files=2)
    first.write_bytes(second.read_bytes() + b"changed by the user")
    with pytest.raises(DatasetError, match=r"events_0\.root is not as it was written"):
        write_sample(tmp_path, events=10, files=2)


@pytest.mark.parametrize("content", ['{"installed": {"client_secret": "of another program"}}', "[]", "\xff"])
def test_keys_are_not_written_over_files_of_the_user(tmp_path: Path, content: str) -> None:
    (tmp_path / "client.json").write_text(content)
    with pytest.raises(ConnectionFailed, match=r"client\.json holds no keys"):
        make_keys(tmp_path, "tcp://host:1")
    assert [entry.name for entry in tmp_path.iterdir()] == ["client.json"]
    assert (tmp_path / "client.json").read_text() == content


def test_a_lock_file_of_another_program_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "poetry.lock").write_text("mine")
    with pytest.raises(ConnectionFailed, match=r"poetry\.lock is not the lock of a journal"):
        Journal(tmp_path / "poetry")
    assert (tmp_path / "poetry.lock").read_text() == "mine"
