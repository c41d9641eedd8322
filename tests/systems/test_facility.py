"""A facility from nothing and back to nothing: machines are real ones of `cloud_machines`, their cloud is a list."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import eventmill as em
import pytest
from cloud_machines import CloudMachine, CloudMachines, cloud_machines
from ec2_site import IMAGE, ec2_site
from eventmill.launch.config import parse
from eventmill.launch.pools.cloud_quirks import QUIRKS
from eventmill.launch.pools.pool import Assignment
from eventmill.protocol.connection import load_connection
from libcloud.compute.base import Node
from made_up_cloud import MadeUpCloud
from processes import call, eventually

from tests.world.fleet import free_port

__all__ = ["cloud_machines"]


class BootingCloud(MadeUpCloud):
    """A list of machines that boot, on this machine.

    Attributes:
        breaks: an error that comes once a machine was made, as when who has asked for it is interrupted.
    """

    def __init__(self, machines: CloudMachines) -> None:
        super().__init__()
        self._machines, self.booted = machines, {}
        self.breaks: BaseException | None = None

    def create_node(self, **arguments: Any) -> Node:
        node = super().create_node(**arguments)
        self.booted[node.id] = self._machines.boot(arguments["ex_userdata"], arguments["name"])
        node.state, node.public_ips = "running", ["127.0.0.1"]
        error, self.breaks = self.breaks, None
        if error is not None:
            raise error
        return node

    def destroy_node(self, node: Node) -> bool:
        machine: CloudMachine = self.booted.pop(node.id)
        machine.close()
        return super().destroy_node(node)


@pytest.fixture
def cloud(cloud_machines: CloudMachines, monkeypatch: pytest.MonkeyPatch) -> BootingCloud:
    made = BootingCloud(cloud_machines)
    monkeypatch.setitem(QUIRKS, "ec2", replace(QUIRKS["ec2"], connect=made.connect))  # type: ignore[arg-type]
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A facility whose head has workers on itself, and a pool of the cloud."""
    secrets = tmp_path / "aws"
    secrets.write_text("AWS_ACCESS_KEY_ID=AKIA\nAWS_SECRET_ACCESS_KEY=nobody-else-may-see-this\n")
    secrets.chmod(0o600)
    file = tmp_path / "cloud.toml"
    python = json.dumps(sys.executable)
    file.write_text(f"""
name = "lab"
[machine]
driver = "ec2"
image = "x86_64"
credentials = "{secrets}"
[head]
python = {python}
clock_wait = 0
port = {free_port()}
host = "127.0.0.1"
status_port = {free_port()}
[pools.here]
system = "local"
[pools.burst]
system = "cloud"
driver = "ec2"
image = "x86_64"
credentials = "{secrets}"
context.python = {python}
[users]
alice = ["higgs"]
""")
    return file


def test_a_facility_comes_up_from_nothing_and_goes_back_to_it(cloud: BootingCloud, file: Path, tmp_path: Path) -> None:
    """Up, a query, down; then there is no machine, also of its pools, and no key. The cloud's credentials are in no word."""
    state = tmp_path / "state"
    code, said = call("facility", "up", str(file), state=state)
    assert code == 0, said
    client = state / "lab/client.json"
    assert "facility lab is up at tcp://127.0.0.1:" in said and "nobody-else" not in said
    with em.connect(client) as session:
        assert {info.pool for info in session.pools()} == {"here", "burst"}
        session.scale(1, "here")
        assert session.process(em.items(range(1000)), lambda item: {"n": 1}).result()["n"] == 1000
        assert [user.groups for user in session.access.users()] == [["higgs"]]
    with em.connect(state / "lab/alice.user.json") as session:
        assert len(session.queries()) == 1, "she is let in, and sees that there are others"
    code, said = call("facility", "status", str(file), state=state)
    assert code == 0 and "started" in said and "pool burst: 0 machines" in said, said

    settings = {"system": "cloud", "driver": "ec2", "image": "x86_64", "credentials": str(tmp_path / "aws")}
    pool = parse({"burst": settings}, "x")["burst"]
    (tmp_path / "token").write_text("t")
    pool.start(1, Assignment("burst", tmp_path / "token", tmp_path, "call", load_connection(client).facility))
    pool.start(1, Assignment("burst", tmp_path / "token", tmp_path, "call", "another master's"))
    code, said = call("facility", "down", str(file), "--yes", state=state)
    assert code == 0, said
    assert [node.extra["tags"]["eventmill-facility"] for node in cloud.nodes] == ["another master's"]
    assert not (state / "lab").exists()


def test_an_interrupted_up_is_continued(cloud: BootingCloud, file: Path, tmp_path: Path) -> None:
    """The head that was made before the interruption is found again, and there is only one."""
    cloud.breaks = KeyboardInterrupt()
    code, _ = call("facility", "up", str(file), state=tmp_path / "state")
    assert code != 0 and len(cloud.nodes) == 1
    code, said = call("facility", "up", str(file), state=tmp_path / "state")
    assert code == 0 and "there is a head" in said, said
    assert len(cloud.nodes) == 1


def test_a_head_that_fails_is_told_with_the_reason(cloud: BootingCloud, file: Path, tmp_path: Path) -> None:
    """And gone: the cloud would keep it, and it would cost."""
    file.write_text(file.read_text().replace("[pools.here]", 'commands = ["exit 1"]\n[pools.here]'))
    cloud.breaks = KeyboardInterrupt()
    call("facility", "up", str(file), state=tmp_path / "state")
    (machine,) = cloud.booted.values()
    machine.wait_for("its software could not be brought: the lines above say why; the machine stays")
    cloud.nodes[0].state = "stopped"
    code, said = call("facility", "up", str(file), state=tmp_path / "state")
    assert code == 1 and "makes another one" in said, said
    assert cloud.nodes == []


def test_a_master_of_this_machine_is_not_taken_over(cloud: BootingCloud, file: Path, tmp_path: Path) -> None:
    """`down` would delete its keys and its journal."""
    assert call("keys", "lab", state=tmp_path / "state")[0] == 0
    for command in (["up"], ["down", "--yes"]):
        code, said = call("facility", *command, str(file), state=tmp_path / "state")
        assert code == 1 and "lab" in said, said
    assert (tmp_path / "state/lab/master.json").exists() and cloud.nodes == []


def test_a_facility_of_ec2_starts_workers_there_and_leaves_none(tmp_path: Path) -> None:
    """All of it by the real interface: a head whose launcher starts a machine, which joins it, and `down` ends both."""
    (tmp_path / "ec2").mkdir()
    with ec2_site(tmp_path / "ec2") as site:
        machine = f"""
driver = "ec2"
endpoint = "{site.endpoint}"
image = "{IMAGE}"
credentials = "{tmp_path / "ec2/owner"}"
"""
        python = json.dumps(sys.executable)
        (tmp_path / "cloud.toml").write_text(f"""
name = "lab"
address = "127.0.0.1"
[machine]{machine}
[head]
python = {python}
clock_wait = 0
port = {free_port()}
host = "127.0.0.1"
status_port = {free_port()}
[pools.burst]
system = "cloud"{machine}
[pools.burst.context]
python = {python}
clock_wait = 0
""")
        state, file = tmp_path / "state", str(tmp_path / "cloud.toml")
        code, said = call("facility", "up", file, state=state)
        assert code == 0, said
        with em.connect(state / "lab") as session:
            session.scale(1, "burst")
            assert session.process(em.items(range(1000)), lambda item: {"n": 1}).result()["n"] == 1000
            assert len(site.running) == 2
        code, said = call("facility", "status", file, state=state)
        assert code == 0 and "pool burst: 1 machine eventmill-burst-" in said, said
        code, said = call("facility", "down", file, "--yes", state=state)
        assert code == 0, said
        eventually(lambda: site.is_empty, "no machine is left")
