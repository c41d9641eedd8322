"""A real Slurm of four nodes on this machine, for tests: in a folder of its own, at free ports, ended completely."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from adopted import Daemons, without
from processes import eventually

from tests.world.fleet import free_port

NODES = ("w1", "w2", "w3", "w4")
SECONDS = 30.0
"""How long its parts may take to start."""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
_CONFIG = """
ClusterName=eventmill
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_min_interval=100000,sched_interval=1,bf_interval=1,default_queue_depth=1000
MinJobAge=300
MaxArraySize=101
MaxJobCount=200
KillWait=5
SlurmdTimeout=3
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MessageTimeout=5
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=9
PartitionName=short Nodes=ALL MaxTime=10 State=UP
PartitionName=closed Nodes=ALL State=DOWN
PartitionName=spare Nodes=w4 State=UP PriorityTier=1
"""


class SlurmCluster:
    """A Slurm that runs: munged, slurmctld and a slurmd for each of `NODES`, which have four cores each.

    Attributes:
        environment: the variables by which Slurm's commands find it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "slurm.conf"
        self.environment = {"SLURM_CONF": str(self.config)}
        self._ports = [free_port() for _ in range(1 + len(NODES))]
        self._write()
        self._daemons = Daemons(folder, self.environment)
        munge = folder / "munge"
        files = [f"--{name}={munge / name}" for name in ("key-file", "socket", "pid-file", "seed-file", "log-file")]
        self._daemons.start("munged", "munged", "--foreground", "--num-threads=2", *files)
        self._wait(lambda: (munge / "socket").exists(), "munge")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self._wait(lambda: self.states() == dict.fromkeys(NODES, "idle"), "nodes are idle")

    def start_controller(self) -> None:
        """Start slurmctld, which goes on from where it was; it answers when this returns."""
        self._daemons.start("slurmctld", "slurmctld", "-D", "-f", str(self.config))
        self._wait(lambda: "is UP" in self.ask("scontrol", "ping"), "slurmctld")

    def stop_controller(self) -> None:
        """End slurmctld: what commands ask is answered by nobody."""
        self._daemons.end("slurmctld")

    def start_node(self, node: str) -> None:
        """Start a node's slurmd, which is on its way then."""
        self._daemons.start(node, "slurmd", "-D", "-N", node, "-f", str(self.config))

    def lose_node(self, node: str) -> None:
        """A node is gone, as by a power cut: its slurmd, and all that runs there."""
        jobs = self.ask("squeue", "-h", "-w", node, "-o", "%A").split()
        self._daemons.end(node, signal.SIGKILL)
        steps = re.compile(rf"slurmstepd: \[({'|'.join(jobs)})\b") if jobs else None
        for process in self._daemons.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                if steps and steps.match(" ".join(process.cmdline())):
                    for one in (process, *process.children(recursive=True)):  # it is not to tell how its job ended
                        one.kill()

    def states(self) -> dict[str, str]:
        """What each node is: "idle", "down*"..."""
        return dict(line.split() for line in self.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t").splitlines())

    def ask(self, *command: str) -> str:
        """What one of its commands says, on both outputs."""
        env = os.environ | self.environment
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=SECONDS, check=False)
        return done.stdout + done.stderr

    def jobs(self) -> list[str]:
        """Lines of squeue, of what is not over."""
        return self.ask("squeue", "-h", "-r", "-o", "%i %T %r").splitlines()

    def close(self) -> None:
        """End it, and all jobs; no process is left when this returns."""
        self._daemons.close()

    def _write(self) -> None:
        controller, *nodes = self._ports
        host = socket.gethostname().partition(".")[0]
        lines = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 CoresPerSocket=4 RealMemory=2000"
            for node, port in zip(NODES, nodes, strict=True)
        ]
        user = pwd.getpwuid(os.geteuid()).pw_name
        for name in ("state", "munge"):
            (self.folder / name).mkdir(mode=0o700)
        for folder in (self.folder, self.folder / "munge"):
            folder.chmod(0o711)  # munge wants its socket to be within the reach of all
        key = self.folder / "munge" / "key-file"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        self.config.write_text(
            _CONFIG.format(host=host, port=controller, user=user, folder=self.folder, nodes="\n".join(lines))
        )

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        try:
            eventually(condition, what, SECONDS)
        except AssertionError:
            said = self._daemons.said()
            self.close()
            raise RuntimeError(f"Slurm does not start ({what}):\n{said}") from None


@contextlib.contextmanager
def running_slurm() -> Iterator[SlurmCluster]:
    """A Slurm to be ended."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        without(f"{', '.join(missing)} not found: `make slurm` installs the batch system that tests need")
    with (
        tempfile.TemporaryDirectory(prefix="eventmill-slurm-") as folder,
        contextlib.closing(SlurmCluster(Path(folder))) as slurm,
    ):
        yield slurm
