"""Contexts on machines that the real cloud-init sets up: a worker joins, and whatever goes wrong ends in its end."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import eventmill as em
import pytest
from cloud_machines import CloudMachines, cloud_machines
from eventmill.launch.contexts.cloud_config import fitted
from eventmill.launch.contexts.head import Cache, HeadContext, head_user_data
from eventmill.launch.contexts.worker import WorkerContext, worker_script, worker_user_data
from eventmill.launch.pools.local_processes import Local
from eventmill.launch.pools.pool import Assignment, Pool
from eventmill.protocol.connection import make_keys
from processes import Standing, call
from sums import total, write_numbers

from benchmarks.xrootd_server import XRootDServer
from tests.world.fleet import free_port

__all__ = ["cloud_machines"]

BUILD = Path(__file__).parents[2] / "build"
SHIFT = """
import time
real = time.time
time.time = lambda: real() - 20 * 365 * 86400
time.time_ns = lambda: int(time.time() * 1e9)
"""


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """One that has no other workers."""
    made = Standing(tmp_path_factory.mktemp("state"))
    yield made
    made.close()


@pytest.fixture
def session(master: Standing) -> Iterator[em.Session]:
    with master.connect() as made:
        yield made


def context(**changes: Any) -> WorkerContext:
    """One for a machine that sees the interpreter of the tests."""
    return WorkerContext(**{"python": sys.executable, "clock_wait": 0} | changes)


def worker_of(pool: Pool, token: str, made: WorkerContext, asked: float = 0.0) -> str:
    """The user-data of a worker of this pool."""
    return worker_user_data(made, token, worker_script(made, pool, Assignment("night", Path(), Path())), asked=asked)


def test_a_machine_becomes_a_worker_and_is_off_when_that_leaves(
    session: em.Session, cloud_machines: CloudMachines
) -> None:
    """The whole way: it enrols under the id that the provider gives it, leaves when nothing is to be done, and is off."""
    token = session.access.make_token("whole way", pool="night")
    machine = cloud_machines.boot(worker_of(Pool(idle=2.0, site="cloud"), token, context()), "i-0123")
    machine.wait_for("joined as night")
    (worker,) = session.workers()
    assert (worker.host, worker.site) == ("i-0123", "cloud")
    assert machine.wait_until_off() == "eventmill: the worker has ended well; switching off"
    assert "a worker begins as job i-0123, user eventmill" in machine.console
    assert token not in machine.console


def test_what_analyses_run_as_reads_neither_the_token_nor_the_user_data(cloud_machines: CloudMachines) -> None:
    """Who has the token can enrol workers for others; it is for the worker to read, and for root."""
    secret = "nobody-else-may-see-this"
    places = "/var/lib/eventmill/given/token /var/lib/cloud/seed/nocloud/user-data /var/lib/cloud/instance/*"
    script = f"id; cat {places}; ls -A ~; wc -c /dev/fd/3; exit 7"
    machine = cloud_machines.boot(worker_user_data(context(), secret, script))
    assert machine.wait_until_off() == (
        "eventmill: the worker has ended with code 7: the lines above say why; switching off"
    )
    assert "(eventmill)" in machine.console and f"\n{len(secret) + 1} /dev/fd/3\n" in machine.console
    assert "/var/lib/eventmill/given/token: Permission denied" in machine.console
    assert "\ntoken\n" not in machine.console and secret not in machine.console


def test_an_analysis_that_looks_for_the_token_does_not_find_it(
    session: em.Session, cloud_machines: CloudMachines
) -> None:
    """Not in any file, descriptor or environment that its user may read; the process that has it is hidden."""
    token = session.access.make_token("sought", pool="night")
    machine = cloud_machines.boot(worker_of(Pool(idle=60.0), token, context()))
    machine.wait_for("joined as night")

    digest = hashlib.sha256(token.encode()).hexdigest()  # the analysis is not to have itself what it looks for

    def hunt(item: int) -> dict[str, int]:
        import hashlib
        import re
        from pathlib import Path

        places = [Path("/dev/fd/3"), *Path("/var/lib/eventmill").rglob("*"), *Path("/tmp").rglob("*")]
        for process in Path("/proc").glob("[0-9]*"):
            places += [process / "environ", process / "cmdline"]
            try:
                places += (process / "fd").iterdir()
            except OSError:
                continue
        found, looked = 0, 0
        for place in places:
            try:
                if place.is_file():
                    tokens = re.findall(rb"eventmill-token-1-[!-~]+", place.read_bytes())
                    looked += 1
                    found += any(hashlib.sha256(it).hexdigest() == digest for it in tokens)
            except OSError:
                continue
        return {"looked": looked, "found": found}

    result = session.process(em.items([1]), hunt).result()
    assert result["looked"] > 5 and result["found"] == 0
    assert machine.file("/var/lib/eventmill/given/token").read_text().strip() == token
    (worker,) = session.workers()
    session.drain(worker.worker)
    assert machine.wait_until_off() == "eventmill: the worker has ended well; switching off"


def test_a_wheel_is_installed_and_found(cloud_machines: CloudMachines) -> None:
    """As a site without a package index does it: from a file that the machine has."""
    (wheel,) = BUILD.glob("*.whl")
    made = context(software=[str(wheel)], pip=["--no-index", "--no-deps"])
    asks = "from importlib.metadata import version; print('it is', version('eventmill'))"
    script = f"exec {made.interpreter} -I -c {shlex.quote(asks)}"
    machine = cloud_machines.boot(worker_user_data(made, "t", script), shared=[BUILD])
    assert machine.wait_until_off() == "eventmill: the worker has ended well; switching off", machine.console
    assert f"it is {em.__version__}" in machine.console


ENDS: dict[str, tuple[dict[str, Any], str]] = {
    "no-wheel": (
        {"software": ["/no/such-1-py3-none-any.whl"], "pip": ["--no-index"]},
        "its software could not be brought: the lines above say why",
    ),
    "no-apptainer": ({"container": "x.sif"}, "its software could not be brought: the lines above say why"),
    "too-slow": ({"commands": ["exec sleep 1000"], "boot_limit": "1"}, "its software was not there after 1 s"),
    "no-python": ({}, "the worker has ended with code 127: the lines above say why"),
}


def test_a_machine_that_comes_to_nothing_switches_itself_off_and_says_why(cloud_machines: CloudMachines) -> None:
    """It would cost money until somebody notices, and its console is all that is left of it."""
    for name, (settings, _) in ENDS.items():
        cloud_machines.boot(worker_user_data(context(**settings), "t", "exec /no/such/python"), name)
    for machine, (_, last) in zip(cloud_machines.machines, ENDS.values(), strict=True):
        assert machine.wait_until_off() == f"eventmill: {last}; switching off", machine.console


def test_a_worker_that_is_not_let_in_leaves_the_reason_on_the_console(
    session: em.Session, cloud_machines: CloudMachines
) -> None:
    token = session.access.make_token("revoked", pool="night")
    session.access.revoke_token("revoked")
    machine = cloud_machines.boot(worker_of(Pool(), token, context()))
    assert "ended with code 1" in machine.wait_until_off()
    assert "does not let this worker in: the token 'revoked' was revoked" in machine.console


def test_a_machine_stays_if_its_context_says_so(cloud_machines: CloudMachines) -> None:
    """To look at it, when workers do not come."""
    machine = cloud_machines.boot(worker_user_data(context(stays=True), "t", "exit 3"))
    machine.wait_for("ended with code 3: the lines above say why; the machine stays, as its context says")
    assert not machine.is_off


def test_compressed_user_data_are_read(cloud_machines: CloudMachines) -> None:
    """Where a provider's limit would be exceeded otherwise."""
    made = context(commands=["true # " + "x" * 20_000])
    data = fitted(worker_user_data(made, "t", "echo it has come"), limit=16384, compress=True)
    machine = cloud_machines.boot(data)
    machine.wait_until_off()
    assert "it has come" in machine.console


def test_a_clock_that_is_wrong_breaks_neither_enrolment_nor_a_result(
    session: em.Session, cloud_machines: CloudMachines, master: Standing, tmp_path: Path
) -> None:
    """Tokens, keys and leases know the master's clock only, and durations no clock at all: nothing absurd is shown."""
    (tmp_path / "data").mkdir()
    numbers = write_numbers(tmp_path / "data")
    files = [{"path": "/opt/shifted/sitecustomize.py", "content": SHIFT, "permissions": "0644"}]
    made = context(cloud_config={"write_files": files})
    token = session.access.make_token("wrong clock", pool="night", valid=600.0)
    pool = Pool(idle=60.0, setup=["export PYTHONPATH=/opt/shifted"])
    machine = cloud_machines.boot(worker_of(pool, token, made, asked=4e9), shared=[tmp_path / "data"])
    machine.wait_for("joined as night")
    assert "its clock is wrong: it says" in machine.console
    then = datetime.now().astimezone() - timedelta(days=20 * 365)
    assert re.search(rf"^{then.year}-.*enrolled with the master", machine.console, re.MULTILINE)
    result = session.process(numbers, lambda events: {"n": len(events)}).result()
    assert result["n"] == 10_000
    (worker,) = session.workers()
    session.drain(worker.worker)
    assert machine.wait_until_off() == "eventmill: the worker has ended well; switching off"
    stages = [
        float(seconds)
        for seconds in re.findall(r"(?:environment|enrolled|warm) after ([\d.]+) s", master.master.output)
    ]
    assert stages and max(stages) < 86_400, "by the wrong clock they would have taken years"


def test_a_worker_of_the_command_line_joins(
    master: Standing, session: em.Session, cloud_machines: CloudMachines, tmp_path: Path
) -> None:
    """By the file that `eventmill context worker` writes, with a token that the master has been asked for."""
    settings, file = tmp_path / "context.toml", tmp_path / "user-data"
    settings.write_text(f'python = "{sys.executable}"\nclock_wait = 0\nsite = "desk"\n')
    arguments = ["context", "worker", "--pool", "night", "--context", str(settings)]
    code, said = call(*arguments, "--master", master.name, "--output", str(file), state=master.state)
    assert code == 0, said
    assert file.stat().st_mode & 0o777 == 0o600
    token = re.search(r"eventmill-token-1-\S+", file.read_text())
    assert token is not None and token[0] not in said
    code, shown = call(*arguments, "--show", state=master.state)
    assert code == 0 and "(secret)" in shown and "eventmill-token-1-" not in shown
    machine = cloud_machines.boot(file.read_bytes())
    machine.wait_for("joined as night")
    (worker,) = session.workers()
    assert worker.site == "desk"
    session.drain(worker.worker)
    assert "ended well" in machine.wait_until_off()


def test_a_head_is_a_whole_facility(cloud_machines: CloudMachines, tmp_path: Path, xrootd_server: XRootDServer) -> None:
    """Its user can connect as soon as it is there; it has a status page, and workers, which read through its cache."""
    port, page, cache = free_port(), free_port(), free_port()
    keys = make_keys(tmp_path / "keys", f"tcp://127.0.0.1:{port}")
    texts = {file.name: file.read_text() for file in (keys.master, keys.client, keys.worker)}
    settings = HeadContext(
        python=sys.executable,
        clock_wait=0,
        port=port,
        status_port=page,
        host="127.0.0.1",
        cache=Cache(origin="127.0.0.1", port=cache),
    )
    machine = cloud_machines.boot(head_user_data(settings, "lab", texts, {"here": Local(idle=600.0)}), "head")
    machine.wait_for("a master begins as job head, user eventmill")
    with em.connect(keys.client, timeout=60.0) as session:
        session.scale(1, "here")
        (tmp_path / "data").mkdir()
        write_numbers(tmp_path / "data")
        for file in (tmp_path / "data").iterdir():
            xrootd_server.take_in(file.rename(file.with_name(f"of-a-head-{file.name}")))  # others have files there, too
        result = session.process(em.Dataset(f"{xrootd_server.url}/of-a-head-*.root", tree="tree"), total).result()
        assert result.value == 10 * sum(range(1000))
        assert any(machine.file("/var/lib/eventmill/home/cache").rglob("*.root"))
        status = json.loads(machine.file("/var/lib/eventmill/home/keys/status.json").read_text())
        assert f":{page}/?token=" in json.dumps(status) and "token=" not in machine.console
