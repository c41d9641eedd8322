"""What becomes a worker of this machine: `python -I -S local_boot.py LAUNCHER_PID LOG_PREFIX COMMAND...`.

With the number of its launcher it ends when that does; 0: it stays.

It runs on its own, without the package: it takes 20 ms, and then it is the worker.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    launcher, begin, *command = sys.argv[1:]
    if launcher != "0":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != int(launcher):
            sys.exit("the launcher has ended")
    with open("/proc/self/stat") as status:  # noqa: PTH123 - pathlib takes as long as all the rest
        job = f"{os.getpid()}.{status.read().rpartition(')')[2].split()[19]}"
    os.environ["EVENTMILL_JOB"] = job
    log = os.open(f"{begin}{job}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what it is for
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")
