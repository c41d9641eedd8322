"""What the code in a slot says: its standard streams, warnings and log records, on their way to the agent."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct
import sys
import termios
import warnings
from typing import Any, TextIO

from ..slot_output import Mark, Record
from .modules import as_in_session
from .standard_streams import flush

_OURS = "eventmill"
_show_as_text = warnings.showwarning


class SlotOutput:
    """The standard output and error of a slot's process; made before any code of a user's runs in it.

    Example:
        >>> output = SlotOutput()
        >>> output.leave("q1", 7, 0, 100)
    """

    def __init__(self) -> None:
        self._pipes = {number: _identity(number) for number in (1, 2)}
        self._stderr: TextIO = sys.stderr

    def take_over(self) -> None:
        """Warnings and log records go to the agent as what they are, and no longer as text."""
        global _at_work
        _at_work = self
        root = logging.getLogger()
        for handler in list(root.handlers):
            root.removeHandler(handler)
        root.addHandler(RecordHandler(self))

    def leave(self, query: str, lease: int, start: int, stop: int) -> None:
        """The slot goes on from this work to something else: what nobody has read yet is marked as said at it."""
        flush()
        for number in self._pipes:
            if self._is_ours(number) and _waits(number):
                _write(number, Mark(query, lease, start, stop).encoded())

    def say(self, record: Record) -> bool:
        """Say something as what it is; false when user code has put something in the place of standard error."""
        if sys.stderr is not self._stderr or not self._is_ours(2):
            return False
        with contextlib.suppress(OSError, ValueError):
            self._stderr.flush()
        _write(2, record.encoded())
        return True

    def _is_ours(self, number: int) -> bool:
        return self._pipes[number] is not None and _identity(number) == self._pipes[number]


class RecordHandler(logging.Handler):
    """Of the root logger in a slot."""

    def __init__(self, output: SlotOutput) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(logging.Formatter("%(message)s"))
        self._as_text = logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record to the agent."""
        try:
            ours = record.name.partition(".")[0] == _OURS
            if not self._output.say(Record("logging", self.format(record), record.levelname, record.name, ours)):
                sys.stderr.write(self._as_text.format(record) + "\n")
        except Exception:
            self.handleError(record)


_at_work: SlotOutput | None = None


def show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """In the place of `warnings.showwarning`: hand a warning to the agent, if this is a slot."""
    if file is None and _at_work is not None:
        place = as_in_session(f"{filename}:{lineno}")
        if _at_work.say(Record("warning", str(message), category.__name__, place)):
            return
    _show_as_text(message, category, filename, lineno, file, line)


def _identity(number: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _waits(number: int) -> bool:
    """Whether something is in a pipe that has not been read; of what is no pipe nobody asks."""
    try:
        return bool(struct.unpack("i", fcntl.ioctl(number, termios.FIONREAD, bytes(4)))[0])
    except OSError:
        return False


def _write(number: int, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the agent has ended, and so will this process
        while data:
            data = data[os.write(number, data) :]
