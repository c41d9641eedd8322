"""What is run on a host of an SSH pool: a script for `sh`, sent to its standard input.

So nothing is on a command line, which everybody can read, and nothing depends on the user's login shell. Each job has a
folder that is called as the job, with its host in the name, since hosts may share a home:

    token, script    as long as it runs; for the user alone
    keeper           what starts it, and tidies up when it has ended
    pid              of `timeout`, which passes SIGTERM on to the worker, and kills it if it is still there a while later
    log              what it has said
    stopped          it was told to end
    status           the code that it ended with, if nobody has told it to

A job that has ended well, or was told to end, leaves nothing. The folder of one that has failed stays for a day, unless
the job is stopped: somebody may want to read its log. Whether a job is alive says the kernel: its process has the job's
name in its environment, which no later process of the same number has.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from .pool import JOB

LEAVE_SECONDS = 60
"""What a worker has between SIGTERM and SIGKILL."""
STAYS_MINUTES = 1440
NO_PYTHON, NO_FOLDER = 41, 42
"""The codes with which a script ends where the interpreter is not there, or nothing can be written."""
MARK = "eventmill:"
"""Before each line of an answer: login scripts say things, too."""
_END = "END-OF-FILE-OF-EVENTMILL"

_KEEPER = f"""
env "{JOB}=$1" timeout -k {LEAVE_SECONDS} 0 /bin/bash ./script >log 2>&1 3>&- &
echo $! >pid
exec 3>&-
wait $!
code=$?
rm -f token script
if [ $code = 0 ] || [ -e stopped ]; then cd / && rm -rf "$2"; else echo $code >status; fi
"""
_FUNCTIONS = f"""
umask 077
alive() {{
    pid=$(cat "$folder/$1/pid" 2>/dev/null) && tr '\\0' '\\n' 2>/dev/null <"/proc/$pid/environ" | grep -qxF "{JOB}=$1"
}}
state() {{
    if [ ! -d "$folder/$1" ]; then echo gone
    elif alive "$1"; then if [ -e "$folder/$1/stopped" ]; then echo ending; else echo started; fi
    else
        sleep 0.1  # its keeper may be tidying up
        if [ -d "$folder/$1" ]; then echo "failed $(cat "$folder/$1/status" 2>/dev/null)"; else echo gone; fi
    fi
}}
begin() {{
    cd "$folder/$1" && : "$(setsid /bin/sh ./keeper "$1" "$folder/$1" 3>&1 >/dev/null 2>&1 </dev/null &)"
}}
end() {{
    if alive "$1"; then : >"$folder/$1/stopped"; kill -TERM "$pid"; else rm -rf "${{folder:?}}/$1"; fi
}}
"""


def start_script(folder: str | None, jobs: Sequence[str], token: str, script: str, python: str | None) -> str:
    """Start these jobs. With `python` it is looked first whether that is there.

    Args:
        token: what is in the file of the token.
        script: that becomes a worker, in a folder that has the file `token`.
    """
    there = f"command -v -- {shlex.quote(python)} >/dev/null || exit {NO_PYTHON}\n" if python is not None else ""
    lines = [there, f'mkdir -p "$folder" && [ -O "$folder" ] && [ -w "$folder" ] || exit {NO_FOLDER}\n', _SWEEP]
    for job in map(shlex.quote, jobs):
        lines.append(f'mkdir "$folder/"{job} || exit {NO_FOLDER}\n')
        files = {"token": token, "script": script, "keeper": _KEEPER}
        lines += [f"cat >\"$folder/\"{job}/{name} <<'{_END}'\n{text}\n{_END}\n" for name, text in files.items()]
        lines.append(f"begin {job}\n")
    return _whole(folder, lines)


_SWEEP = f"""
find "$folder" -mindepth 2 -maxdepth 2 -name status -mmin +{STAYS_MINUTES} | while read -r old; do
    rm -rf "${{old%/status}}"
done
"""


def state_script(folder: str | None, jobs: Iterable[str]) -> str:
    """Say of these jobs what they are at: a line each, with its name and its state."""
    return _whole(folder, [f'echo "{MARK}" {job} "$(state {job})"\n' for job in map(shlex.quote, jobs)])


def list_script(folder: str | None, host: str, name: str = "") -> str:
    """Say what jobs this host has, of this call (of all, if it is ""), and their state."""
    jobs = f'"$folder"/{shlex.quote(name + ".") if name else ""}*{shlex.quote("@" + host)}'
    line = f'job=${{path##*/}}; [ -d "$path" ] && echo "{MARK}" "$job" "$(state "$job")"'
    return _whole(folder, [f"for path in {jobs}; do {line}; done\n"])


def stop_script(folder: str | None, jobs: Iterable[str]) -> str:
    """Tell these jobs to end."""
    return _whole(folder, [f"end {job}\n" for job in map(shlex.quote, jobs)])


def log_script(folder: str | None, job: str, lines: int) -> str:
    """Say the last lines of a job's log, and nothing else."""
    return _whole(folder, [f'echo "{MARK}"; tail -n {lines} "$folder/"{shlex.quote(job)}/log 2>/dev/null\n'])


def _whole(folder: str | None, lines: Iterable[str]) -> str:
    """In braces, so that it is read to its end before anything is done; and programs do not read on in it."""
    place = '"${XDG_CACHE_HOME:-$HOME/.cache}/eventmill/ssh"' if folder is None else shlex.quote(folder)
    return f"{{\nfolder={place}\n{_FUNCTIONS}{''.join(lines)}exit 0\n}} </dev/null\n"
