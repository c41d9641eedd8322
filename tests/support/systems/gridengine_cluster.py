"""A real Grid Engine of one host on this machine, for tests: in a folder of its own, at free ports, ended completely."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from adopted import Daemons, without
from gridengine_programs import gridengine_folder
from processes import eventually

from tests.world.fleet import free_port

SECONDS = 30.0
"""How long its parts may take to start."""
SLOTS = 8
_BOOTSTRAP = """
admin_user none
default_domain none
ignore_fqdn false
spooling_method classic
spooling_lib {root}/libspoolc
spooling_params {root}/default/common;{root}/spool
binary_path {root}/bin
qmaster_spool_dir {root}/spool
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
"""
_CONFIGURATION = {
    "execd_spool_dir": "{root}/execd",
    "mailer": "/bin/true",
    "administrator_mail": "none",
    "min_uid": "0",
    "min_gid": "0",
    "load_report_time": "00:00:01",
    "max_unheard": "00:00:05",
    "execd_params": "ENABLE_ADDGRP_KILL=true",
    "reporting_params": "accounting=true reporting=false flush_time=00:00:01 accounting_flush_time=00:00:00",
}
_SCHEDULER = {
    "schedule_interval": "0:0:1",
    "flush_submit_sec": "1",
    "flush_finish_sec": "1",
    "schedd_job_info": "true",
}
_PARALLEL = f"""
pe_name smp
slots {SLOTS}
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""
_QUEUE = {
    "seq_no": "0", "load_thresholds": "NONE", "suspend_thresholds": "NONE", "nsuspend": "1",
    "suspend_interval": "00:05:00", "priority": "0", "min_cpu_interval": "00:05:00", "processors": "UNDEFINED",
    "qtype": "BATCH", "ckpt_list": "NONE", "pe_list": "smp", "rerun": "TRUE", "slots": str(SLOTS), "tmpdir": "/tmp",
    "shell": "/bin/sh", "prolog": "NONE", "epilog": "NONE", "shell_start_mode": "posix_compliant",
    "starter_method": "NONE", "suspend_method": "NONE", "resume_method": "NONE", "terminate_method": "NONE",
    "notify": "00:00:20", "owner_list": "NONE", "user_lists": "NONE", "xuser_lists": "NONE", "subordinate_list": "NONE",
    "complex_values": "NONE", "projects": "NONE", "xprojects": "NONE", "calendar": "NONE", "initial_state": "default",
    **{f"{bound}_{what}": "INFINITY" for bound in "sh"
       for what in ("rt", "cpu", "fsize", "data", "stack", "core", "rss", "vmem")},
}  # fmt: skip


class GridEngineCluster:
    """A Grid Engine that runs: sge_qmaster and sge_execd, with a queue `main.q`, and one `closed.q` that is switched off.

    Attributes:
        environment: the variables by which Grid Engine's commands, and the libraries of these, are found.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, programs = folder, gridengine_folder()
        folder.chmod(0o755)
        self.programs = programs / "usr/lib/gridengine"
        ports = {"SGE_QMASTER_PORT": str(free_port()), "SGE_EXECD_PORT": str(free_port())}
        libraries = ":".join(map(str, (self.programs, *sorted((programs / "usr/lib").glob("*-linux-gnu")))))
        self.environment = {
            "SGE_ROOT": str(folder), "SGE_CELL": "default", **ports, "LD_LIBRARY_PATH": libraries,
            "PATH": f"{self.programs}:{os.environ['PATH']}",
        }  # fmt: skip
        self._write(programs / "usr/share/gridengine")
        self._daemons = Daemons(folder, self.environment | {"SGE_ND": "1"})
        self.start_master()
        for what in ("h", "s"):
            self.ask("qconf", f"-a{what}", "localhost")
        self._daemons.start("execd", str(self.programs / "sge_execd"))
        self._define()
        self._wait(lambda: "lx-" in self.ask("qstat", "-f") and "au" not in self.ask("qstat", "-f"), "its host")

    def start_master(self) -> None:
        """Start sge_qmaster, which goes on from where it was; it answers when this returns."""
        self._daemons.start("qmaster", str(self.programs / "sge_qmaster"))
        self._wait(lambda: self.ask("qconf", "-sh").strip() == "localhost", "sge_qmaster")

    def stop_master(self) -> None:
        """End sge_qmaster: what commands ask is answered by nobody."""
        self._daemons.end("qmaster")

    def ask(self, *command: str) -> str:
        """What one of its commands says, on both outputs."""
        env = os.environ | self.environment
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=SECONDS, check=False)
        return done.stdout + done.stderr

    def close(self) -> None:
        """End it, and all jobs; no process is left when this returns."""
        self._daemons.close()

    def _write(self, shared: Path) -> None:
        """The folder of a Grid Engine that has just been installed."""
        common = self.folder / "default/common"
        for made in (common, self.folder / "spool", self.folder / "execd"):
            made.mkdir(parents=True)
        (self.folder / "util").symlink_to(shared / "util")
        architecture = subprocess.check_output([shared / "util/arch"], text=True).strip()
        for name in ("bin", "lib", "utilbin"):
            (self.folder / name).mkdir()
            (self.folder / name / architecture).symlink_to(self.programs)
        (self.folder / "libspoolc.so").symlink_to(self.programs / "libspoolc.so")  # its path must be short
        (common / "bootstrap").write_text(_BOOTSTRAP.format(root=self.folder).lstrip())
        (common / "act_qmaster").write_text("localhost\n")
        (common / "host_aliases").write_text(f"localhost {socket.gethostname()}\n")
        configuration = self.folder / "configuration"
        settings = {name: value.format(root=self.folder) for name, value in _CONFIGURATION.items()}
        configuration.write_text(_changed((shared / "default-configuration").read_text(), settings))
        resources = shared / "util/resources"
        self.ask("spoolinit", "classic", f"{self.folder}/libspoolc", f"{common};{self.folder / 'spool'}", "init")
        self.ask("spooldefaults.bin", "configuration", str(configuration))
        self.ask("spooldefaults.bin", "complexes", str(resources / "centry"))
        self.ask("spooldefaults.bin", "usersets", str(resources / "usersets"))
        self.ask("spooldefaults.bin", "managers", pwd.getpwuid(os.geteuid()).pw_name)

    def _define(self) -> None:
        """The scheduler's settings, a parallel environment and the queues."""
        scheduler = _changed(self.ask("qconf", "-ssconf"), _SCHEDULER)
        self._give("-Msconf", scheduler)
        self._give("-Ap", _PARALLEL.lstrip())
        lines = "".join(f"{name} {value}\n" for name, value in _QUEUE.items())
        for name in ("main.q", "closed.q"):
            self._give("-Aq", f"qname {name}\nhostlist localhost\n{lines}")
        self.ask("qmod", "-d", "closed.q")

    def _give(self, option: str, text: str) -> None:
        file = self.folder / "given"
        file.write_text(text)
        said = self.ask("qconf", option, str(file))
        if not any(word in said for word in ("added", "changed")):
            self.close()
            raise RuntimeError(f"qconf {option}: {said}")

    def _wait(self, condition, what: str) -> None:
        try:
            eventually(condition, what, SECONDS)
        except AssertionError:
            said = self._daemons.said()
            self.close()
            raise RuntimeError(f"Grid Engine does not start ({what}):\n{said}") from None


def _changed(text: str, settings: dict[str, str]) -> str:
    """Lines of "name value" with other values."""
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return "".join(f"{name} {settings.get(name, value)}\n" for name, value in lines)


@contextlib.contextmanager
def running_gridengine() -> Iterator[GridEngineCluster]:
    """A Grid Engine to be ended."""
    if not gridengine_folder().is_dir():
        without("no Grid Engine: `make gridengine` unpacks its programs, which tests need")
    with (
        tempfile.TemporaryDirectory(prefix="eventmill-ge-", ignore_cleanup_errors=True) as folder,
        contextlib.closing(GridEngineCluster(Path(folder))) as cluster,
    ):
        yield cluster
