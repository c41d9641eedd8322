"""What the `Dask` pool runs inside of Dask's own processes.

These functions travel by value, with their code: each is made inside of another, where pickle finds no name for it. So
eventmill need not be importable where Dask's workers run, only where `python` of the pool is. Hence they import what they
use themselves, and refer to nothing of this module.

What goes on in a Dask worker stands in an attribute of it, which the task of each job and the functions that are called
beside it share: the jobs that run there, those that were told to end, and a condition that is notified when either changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def worker_task(
    job: str, token: str, command: Sequence[str], script: str, cores: int, own_python: bool, own_memory: bool
) -> Callable[[], None]:
    """The task of a job: start a worker as a child, and stay until it ends.

    The child ends with the process of the Dask worker, however that ends (the kernel sees to it), and is told to leave when
    the Dask worker closes in good order. Dask itself never interrupts a task that runs.

    Args:
        job: what Dask calls the task.
        token: content of the token file. It is in the function's closure and not an argument, since Dask writes the
            arguments of tasks that fail into its log.
        command: of the worker, in whose working folder the token is the file `token`.
        script: of shell, to run instead, with "@command@" in the place of the command; "" for the command alone.
        cores: threads of the Dask worker that it takes. It waits for so many to be left by other jobs.
        own_python: run it by the Dask worker's interpreter.
        own_memory: tell it that it may use its part of what the Dask worker may.
    """
    words = list(command)

    def eventmill_worker() -> None:
        import os
        import shlex
        import shutil
        import signal
        import subprocess
        import sys
        import tempfile
        import threading
        from pathlib import Path

        from distributed import get_worker

        bound = f"""import ctypes, os, sys
ctypes.CDLL(None).prctl(1, {int(signal.SIGTERM)})
if os.getppid() == int(sys.argv[1]):
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"cannot run {{sys.argv[2]}}: {{error.strerror}}")
"""  # it becomes the worker, once the kernel is to end it with its parent, which may have ended before
        dask_worker = get_worker()
        threads = dask_worker.state.nthreads
        book = vars(dask_worker).setdefault(
            "eventmill", {"running": {}, "ended": set(), "changed": threading.Condition()}
        )
        running, ended, changed = book["running"], book["ended"], book["changed"]
        if cores > threads:
            raise RuntimeError(
                f"a worker with cores = {cores} does not fit into a Dask worker of {threads} threads: set cores to {threads}"
            )
        with changed:
            while job not in ended and cores + sum(other["cores"] for other in running.values()) > threads:
                changed.wait()
            if job in ended:
                return
            mine: dict[str, Any] = {"cores": cores, "process": None, "log": None}
            running[job] = mine
        folder = Path(tempfile.mkdtemp(prefix="eventmill-", dir=dask_worker.local_directory))
        try:
            (folder / "token").touch(0o600)
            (folder / "token").write_text(token)
            arguments = [sys.executable, *words[1:]] if own_python else list(words)
            limit = dask_worker.memory_manager.memory_limit
            if own_memory and limit:
                arguments += ["--memory", str(limit // threads)]
            if script:
                arguments = ["/bin/bash", "-c", script.replace("@command@", shlex.join(arguments))]
            log = folder / "log"
            with changed, log.open("wb") as said:
                if job in ended:
                    return
                process = subprocess.Popen(
                    [sys.executable, "-c", bound, str(os.getpid()), *arguments],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    env={**os.environ, "EVENTMILL_JOB": job},
                    start_new_session=True,
                )
                mine.update(process=process, log=log)
            closing = False
            while process.returncode is None:
                try:
                    process.wait(1.0)
                except subprocess.TimeoutExpired:
                    if dask_worker.status.name not in ("running", "paused"):  # which no event tells
                        closing = True
                        process.terminate()
            last_words = log.read_text(errors="replace")[-20_000:]
        finally:
            with changed:
                told = job in ended
                del running[job]
                ended.discard(job)
                changed.notify_all()
            shutil.rmtree(folder, ignore_errors=True)
        if process.returncode != 0 and not told and not closing:
            raise RuntimeError(f"the worker ended with code {process.returncode}\n{last_words}")

    return eventmill_worker


def jobs_of_worker() -> Callable[..., dict[str, tuple[str, str]]]:
    """To be called in Dask workers: the jobs whose workers run there: "started" or "ending", and the host."""

    def jobs_here(dask_worker: Any) -> dict[str, tuple[str, str]]:
        import socket

        book = vars(dask_worker).get("eventmill", {"running": {}, "ended": set()})
        host = socket.gethostname()
        return {job: ("ending" if job in book["ended"] else "started", host) for job in list(book["running"])}

    return jobs_here


def end_of_jobs(jobs: Sequence[str]) -> Callable[..., None]:
    """To be called in Dask workers: tell these jobs to end, also those that are just about to begin there."""
    told = list(jobs)

    def end_here(dask_worker: Any) -> None:
        import threading

        book = vars(dask_worker).setdefault(
            "eventmill", {"running": {}, "ended": set(), "changed": threading.Condition()}
        )
        with book["changed"]:
            book["ended"].update(told)
            for job in told:
                process = book["running"].get(job, {}).get("process")
                if process is not None:
                    process.terminate()
            book["changed"].notify_all()

    return end_here


def log_of_job(job: str) -> Callable[..., str]:
    """To be called in Dask workers: the end of what a job that runs has said."""

    def said_here(dask_worker: Any) -> str:
        log = vars(dask_worker).get("eventmill", {"running": {}})["running"].get(job, {}).get("log")
        if not log:
            return ""
        with log.open("rb") as said:
            said.seek(0, 2)
            said.seek(max(0, said.tell() - 20_000))
            return str(said.read(), errors="replace")

    return said_here
