"""Running the commands of batch systems: with an end to each, and errors in the commands' own words."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping

from .pool import PoolError, Trouble

SECONDS = 60.0
"""How long a command may take: what waits longer waits for a system that does not answer."""
_MOST = 2000
"""Characters of what a command said that an error repeats."""


class CommandFailed(PoolError):
    """A command did not do what it was to do.

    Attributes:
        said: what it said, on its standard error; on its output, if there was nothing.
        output: what it said on its output.
        code: the code that it ended with; None if it was ended since it took too long.
    """

    def __init__(
        self, words: str, trouble: Trouble = "down", said: str = "", code: int | None = None, output: str = ""
    ) -> None:
        super().__init__(words, trouble)
        self.said = said
        self.output = output
        self.code = code


def run(
    *command: str, stdin: str = "", seconds: float | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command to its end; what it said on its standard output.

    When this process ends meanwhile the command goes on: what it submits is looked for by its name (`Pool.find`).

    Args:
        command: its name and arguments: nothing that others may not see.
        stdin: what it gets on its standard input.
        seconds: how long it may take; None for `SECONDS`. Then it is ended, with all that it has started.
        environment: its variables; None: those of this process.

    Raises:
        CommandFailed: it ended with an error, or not in time. Whether it did something nobody knows in the latter case.
        PoolError: it is not there, or cannot be started.

    Example:
        >>> run("cat", stdin="4711")
        '4711'
    """
    seconds = SECONDS if seconds is None else seconds
    name = command[0]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError:
        here = socket.gethostname()
        raise PoolError(
            f"there is no command {name} on {here}: run this where jobs can be submitted, or put its folder into PATH",
            "refused",
        ) from None
    except OSError as error:
        raise PoolError(f"the command {name} cannot be started: {error.strerror}", "refused") from None
    with process:
        try:
            output, errors = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            said = _shortened(process.communicate()[1])
            words = f"{name} has not answered within {seconds:g} s"
            raise CommandFailed(f"{words}: {said}" if said else words, said=said) from None
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        said = _shortened(errors) or _shortened(output) or f"it ended with code {process.returncode}"
        raise CommandFailed(f"{name}: {said}", said=said, code=process.returncode, output=output)
    return output


def _end(process: subprocess.Popen[str]) -> None:
    """Kill it, and what it has started: that may hold its outputs open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _shortened(text: str) -> str:
    return text.strip()[-_MOST:]
