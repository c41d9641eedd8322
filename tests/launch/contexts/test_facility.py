"""What the file of a facility says, and what is refused in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eventmill.launch.contexts.facility import load_facility, parse_facility
from eventmill.launch.pools.cloud import Cloud
from eventmill.protocol.errors import EventmillError
from processes import call

MACHINE = {"driver": "ec2", "image": "debian-13"}


def test_a_facility_is_its_machine_its_head_its_pools_and_its_users() -> None:
    pools = {"work": {"system": "cloud", **MACHINE, "context": {"site": "aws"}}}
    found = parse_facility(
        {
            "name": "lab",
            "machine": MACHINE | {"cores": 4},
            "head": {"port": 9000},
            "pools": pools,
            "users": {"a": ["g"]},
        },
        "x",
    )
    assert (found.machine.cores, found.head.port, found.users) == (4, 9000, {"a": ["g"]})
    (pool,) = found.pools.values()
    assert isinstance(pool, Cloud) and pool.context.site == "aws"


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({}, r"a facility needs name = "),
        ({"name": "lab"}, r"a table \[machine\]"),
        ({"name": "l/b", "machine": MACHINE}, "name begins with a letter"),
        ({"name": "lab", "machine": MACHINE, "haed": {}}, "no setting 'haed'; it has name, machine, head"),
        ({"name": "lab", "machine": MACHINE | {"flavor": "x"}}, r"\[machine\]: pool lab: no setting 'flavor'.*flavour"),
        ({"name": "lab", "machine": MACHINE | {"context": {}}}, "context is a setting of workers; what the head needs"),
        ({"name": "lab", "machine": MACHINE, "head": {"ports": 1}}, r"\[head\]: no setting 'ports'.* port"),
        ({"name": "lab", "machine": MACHINE, "users": {"alice": "cms"}}, "users are written as"),
        ({"name": "lab", "machine": MACHINE, "pools": {"a": {"system": "clod"}}}, "unknown system 'clod'"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_place(tables: dict[str, Any], words: str) -> None:
    """Before a machine is asked for that costs."""
    with pytest.raises(EventmillError, match=f"cloud.toml.*{words}"):
        parse_facility(tables, "cloud.toml")


def test_a_file_that_is_no_toml_is_told(tmp_path: Path) -> None:
    (tmp_path / "cloud.toml").write_text("name = lab")
    with pytest.raises(EventmillError, match=r"cloud\.toml is not written as TOML is"):
        load_facility(tmp_path / "cloud.toml")


def test_the_user_data_of_a_head_are_written_for_its_owner_alone(tmp_path: Path) -> None:
    """Keys are made once, and go into a file of mode 0600; what is shown has none, and a limit is told before anything."""
    state, file = tmp_path / "state", tmp_path / "head.user-data"
    code, said = call("context", "head", "lab", "--show", state=state)
    assert code == 0 and said.count("(secret)") == 3 and not (state / "lab").exists()
    code, said = call("context", "head", "lab", "--output", str(file), state=state)
    assert code == 0 and file.stat().st_mode & 0o777 == 0o600, said
    secret = (state / "lab/master.json").read_text().splitlines()[2].strip()
    assert secret in file.read_text() and secret not in said
    code, said = call("context", "head", "lab", "--limit", "100", state=state)
    assert code == 1 and "and the provider takes 100; most of it: " in said


def test_a_worker_of_a_pool_that_there_is_not_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pools.toml").write_text('[night]\nsystem = "local"\n')
    code, said = call("context", "worker", "--pool", "day", "--pools", str(tmp_path / "pools.toml"), state=tmp_path)
    assert code == 1 and "has no pool day; it has night" in said
    code, said = call("context", "worker", "--pool", "day", state=tmp_path)
    assert code == 1 and "no connection file and no master called 'default'" in said
