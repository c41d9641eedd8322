"""Connection files: private, checked, and found by path, name or address."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from eventmill.protocol import connection
from eventmill.protocol.errors import ConnectionFailed


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVENTMILL_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_files_are_private_and_roles_have_keys_of_their_own(tmp_path: Path) -> None:
    keys = connection.make_keys(tmp_path / "keys", "tcp://host:1")
    for file in (keys.master, keys.client, keys.worker):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    client, worker, own = (
        connection.load_connection(keys.client),
        connection.load_connection(keys.worker),
        connection.load_master_keys(keys),
    )
    assert own.peers == {client.public_key: "session", worker.public_key: "worker"}
    assert client.server_key == worker.server_key == own.public_key
    assert own.secret_key not in keys.client.read_text() + keys.worker.read_text()


def test_secrets_stay_out_of_reprs(tmp_path: Path) -> None:
    """What is printed or logged must not let anybody in."""
    keys = connection.make_keys(tmp_path, "tcp://host:1")
    client, own = connection.load_connection(keys.client), connection.load_master_keys(keys)
    assert client.secret_key not in repr(client) and own.secret_key not in repr(own)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keys = connection.make_keys(tmp_path, "tcp://host:1")
    keys.client.chmod(0o640)
    with pytest.raises(ConnectionFailed, match=r"can be read by others \(mode 0640\).*chmod 600"):
        connection.load_connection(keys.client)


@pytest.mark.parametrize("content", ["", "{}", '{"address": 1}', "\xff"])
def test_what_is_no_connection_file_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "client.json"
    file.write_text(content, encoding="latin1")
    file.chmod(0o600)
    with pytest.raises(ConnectionFailed, match="not a connection file"):
        connection.load_connection(file)


def test_a_master_is_found_by_name_file_folder_and_address(state: Path) -> None:
    keys = connection.make_keys(connection.named("lab").path, "tcp://lab:8786")
    expected = connection.load_connection(keys.client)
    for target in ("lab", str(keys.client), keys.client, keys.path, "tcp://lab:8786"):
        assert connection.find_connection(target) == expected
    assert connection.find_connection("lab", "worker").role == "worker"


def test_with_any_umask_the_keys_lie_in_folders_of_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        connection.make_keys(tmp_path / "state" / "eventmill" / "lab", "tcp://lab:8786")
    finally:
        os.umask(before)
    made = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert {path.name: path.stat().st_mode & 0o077 for path in made} == dict.fromkeys((path.name for path in made), 0)
    assert len(made) == 6


def test_unknown_targets_say_what_is_known(state: Path) -> None:
    connection.make_keys(connection.named("lab").path, "tcp://lab:8786")
    with pytest.raises(ConnectionFailed, match="masters known here: lab"):
        connection.find_connection("lob")
    with pytest.raises(ConnectionFailed, match="no key for the master at tcp://elsewhere:1"):
        connection.find_connection("tcp://elsewhere:1")
    with pytest.raises(ConnectionFailed, match=r"cannot read the connection file .*nowhere.json"):
        connection.find_connection("nowhere.json")


def test_a_new_address_reaches_both_files(tmp_path: Path) -> None:
    keys = connection.make_keys(tmp_path, "tcp://old:1")
    connection.set_address(keys, "tcp://new:2")
    for file in (keys.client, keys.worker):
        assert connection.load_connection(file).address == "tcp://new:2"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
