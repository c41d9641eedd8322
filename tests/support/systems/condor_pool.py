"""A real HTCondor pool for tests: one machine that says it has many cores, in a folder of its own, and ended whole."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import htcondor2
import psutil
import pytest
from condor_programs import condor_folder

from tests.world.fleet import eventually, free_port

SLOTS = 12
USER = "nobody"
"""Whose rights a pool has that root starts: HTCondor runs no job as root. But like root, it may read what others may not,
so that jobs can run the Python of the tests wherever that is."""
DOMAIN = "condor.test"
START_SECONDS = 60.0
END_SECONDS = 20.0

COMMON = """
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:{port}
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
UID_DOMAIN = {domain}
FILESYSTEM_DOMAIN = {domain}
TRUST_DOMAIN = {domain}
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = IDTOKENS
SEC_DEFAULT_ENCRYPTION = REQUIRED
SEC_DEFAULT_INTEGRITY = REQUIRED
SEC_TOKEN_DIRECTORY = {base}/tokens
SEC_TOKEN_SYSTEM_DIRECTORY = {base}/tokens
"""
SERVER = """
RELEASE_DIR = {programs}/usr
BIN = $(RELEASE_DIR)/bin
SBIN = $(RELEASE_DIR)/sbin
LIB = $(RELEASE_DIR)/lib/condor
LIBEXEC = $(RELEASE_DIR)/libexec/condor
SHARE = $(RELEASE_DIR)/share/condor
LOCAL_DIR = {base}
RUN = $(LOCAL_DIR)/run
LOG = $(LOCAL_DIR)/log
LOCK = $(LOCAL_DIR)/lock
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
STARTER_JOB_ENVIRONMENT = "HOME={base}/home"
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD
SCHEDD_NAME = physics@{domain}
USE_SHARED_PORT = True
SHARED_PORT_PORT = {port}
SEC_PASSWORD_DIRECTORY = $(LOCAL_DIR)/passwords
SEC_TOKEN_POOL_SIGNING_KEY_FILE = $(LOCAL_DIR)/passwords/POOL
SEC_DEFAULT_AUTHENTICATION_METHODS = FS, IDTOKENS
ALLOW_READ = *@{domain}
ALLOW_WRITE = *@{domain}
ALLOW_DAEMON = *@{domain}
ALLOW_ADMINISTRATOR = *@{domain}
ALLOW_NEGOTIATOR = *@{domain}
NUM_CPUS = {slots}
MEMORY = {slots}000
NUM_SLOTS_TYPE_1 = {slots}
SLOT_TYPE_1 = cpus=1,memory=1000
SLOT_TYPE_1_PARTITIONABLE = False
VMType = "physics"
MAX_JOBS_PER_OWNER = 100
# It has no container runtime, but says so: that an image is missing is seen when it is to travel, before it would run.
HasContainer = True
HasSingularity = True
HasSIF = True
STARTD_ATTRS = VMType, HasContainer, HasSingularity, HasSIF
# Machines may be for one kind of jobs only.
START = TARGET.VMType =?= UNDEFINED || TARGET.VMType == MY.VMType
SUSPEND = False
PREEMPT = False
KILL = False
WANT_SUSPEND = False
RUNBENCHMARKS = False
STARTD_DETECT_GPUS = false
DISCARD_SESSION_KEYRING_ON_STARTUP = False
# What a pool of thousands does every few minutes, one of tests does at once.
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_CYCLE_DELAY = 1
NEGOTIATOR_MIN_INTERVAL = 1
SCHEDD_INTERVAL = 2
SCHEDD_MIN_INTERVAL = 1
UPDATE_INTERVAL = 1
MASTER_UPDATE_INTERVAL = 5
PERIODIC_EXPR_INTERVAL = 1
"""


class CondorPool:
    """A pool, started and ready when this is made.

    Args:
        base: an empty folder that everybody may enter, for all that the pool has.

    Attributes:
        collector: its address.
        config: what a client's CONDOR_CONFIG has to name.
        host: what jobs say that they run on.
    """

    def __init__(self, base: Path) -> None:
        port = free_port()
        self.base, self.collector, self.config = base, f"127.0.0.1:{port}", base / "client"
        self.host = socket.gethostname()
        self._server = base / "server"
        values = {"programs": condor_folder(), "base": base, "port": port, "domain": DOMAIN, "slots": SLOTS}
        self.config.write_text(COMMON.format(**values))
        self._server.write_text((COMMON + SERVER).format(**values))
        folders = [base / name for name in ("run", "log", "lock", "spool", "execute", "home", "passwords", "tokens")]
        for folder in folders:
            folder.mkdir(mode=0o700 if folder.name in ("passwords", "tokens") else 0o755)
        key = base / "passwords/POOL"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(64))
        if os.geteuid() == 0:
            for path in (base, *folders, key):
                shutil.chown(path, USER)
        token = self.run("condor_token_create", "-identity", f"{USER}@{DOMAIN}")
        (base / "tokens/test").touch(mode=0o600)
        (base / "tokens/test").write_text(token)
        self._log = (base / "log/start").open("wb")
        self.master = subprocess.Popen(
            [*_as_user(), str(condor_folder() / "usr/sbin/condor_master"), "-f"],
            env=self._environment(), cwd=base, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def wait(self) -> None:
        """Until all slots and the schedd are known to the collector."""
        eventually(self._ready, f"the HTCondor pool is there; its logs are in {self.base}/log", START_SECONDS)

    def run(self, command: str, *arguments: str) -> str:
        """What one of HTCondor's own commands says."""
        program = str(condor_folder() / "usr/bin" / command)
        done = subprocess.run(
            [*_as_user(), program, *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def queue(self, *attributes: str) -> list[dict[str, Any]]:
        """The jobs that there are, with these attributes."""
        return [dict(ad) for ad in self.schedd().query("True", list(attributes))]

    def vacate(self, job: str) -> None:
        """Take its machine from a job, as for somebody else's."""
        self.schedd().act(htcondor2.JobAction.Vacate, [job], ("somebody else comes first", None))

    def edit(self, job: str, attribute: str, value: str) -> None:
        """Change what a job says of itself."""
        self.schedd().edit([job], attribute, value)

    def clear(self) -> None:
        """Remove all jobs, and wait until they are gone and the slots are free."""
        schedd = self.schedd()
        schedd.act(htcondor2.JobAction.RemoveX, "True", ("the test is over", None))
        schedd.act(htcondor2.JobAction.Remove, "True", ("the test is over", None))
        eventually(lambda: self.queue("ClusterId") == [], "no job is left")

    def schedd(self) -> Any:
        """The pool's schedd, as the bindings have it."""
        return htcondor2.Schedd(htcondor2.Collector(self.collector).locateAll(htcondor2.DaemonType.Schedd)[0])

    def close(self) -> None:
        """End it. Its jobs end with it, in good order."""
        family = [psutil.Process(self.master.pid)] if self.master.poll() is None else []
        family += family[0].children(recursive=True) if family else []
        if family:
            self.master.send_signal(signal.SIGQUIT)  # the fast way
        _, alive = psutil.wait_procs(family, timeout=END_SECONDS)
        for process in alive:
            process.kill()
        self.master.wait()
        self._log.close()
        assert not alive, f"these did not end with the pool: {alive}"

    def _ready(self) -> bool:
        assert self.master.poll() is None, f"condor_master has ended: {self._said()}"
        try:
            collector = htcondor2.Collector(self.collector)
            slots = collector.query(htcondor2.AdType.Startd, projection=["Name"])
            return len(slots) == SLOTS and len(collector.locateAll(htcondor2.DaemonType.Schedd)) == 1
        except htcondor2.HTCondorException:
            return False

    def _said(self) -> str:
        log = self.base / "log/MasterLog"
        return log.read_text()[-2000:] if log.exists() else ""

    def _environment(self) -> dict[str, str]:
        return os.environ | {"CONDOR_CONFIG": str(self._server)}


@contextlib.contextmanager
def serving_condor() -> Iterator[CondorPool]:
    """A pool to be ended. Its configuration is that of HTCondor's bindings meanwhile, here and in what is started."""
    if not condor_folder().is_dir():
        message = "no HTCondor: `make condor` unpacks the programs that tests need"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    # Not in pytest's folders: those are private, and sockets have short paths.
    with tempfile.TemporaryDirectory(prefix="eventmill-condor-") as folder, pytest.MonkeyPatch.context() as patch:
        base = Path(folder)
        base.chmod(0o755)
        pool = CondorPool(base)
        try:
            patch.setenv("CONDOR_CONFIG", str(pool.config))
            htcondor2.reload_config()
            pool.wait()
            yield pool
        finally:
            pool.close()


@pytest.fixture(scope="session")
def condor_pool() -> Iterator[CondorPool]:
    """A pool, ended with the test session."""
    with serving_condor() as pool:
        yield pool


def _as_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    rights = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    user = pwd.getpwnam(USER)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *rights]
