"""An exception on its way from a slot to the user: type, message, the user's lines, the entries."""

from __future__ import annotations

import contextlib
import os
import sysconfig
import traceback
from pathlib import Path

import cloudpickle

from ..protocol.analysis import missing
from ..protocol.errors import DatasetError
from ..protocol.messages import Failure, File
from .modules import as_in_session

_PACKAGE = Path(__file__).resolve().parent.parent
_OURS = [_PACKAGE / name for name in ("merge", "protocol", "worker")]
"""Folders, not the package: in a checkout its examples, which are users' code, are in it too."""
_LIBRARIES = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_LONGEST = 20_000
_LONGEST_NAME = 200
_AWKWARDS_NOTE = "This error occurred while calling"
_LONGEST_REASON = 300
_LARGEST_PICKLE = 16 * 2**20


def describe(error: BaseException, file: File, start: int | None, stop: int | None) -> tuple[Failure, list[bytes]]:
    """What the session needs to raise `error` again, on entries `[start, stop)` of a file.

    The traceback begins at the user's own code: our frames above it say nothing to the user; of what is wrong with data it
    is that code only. The exception is pickled where that works; where not, its type and message still arrive. Nothing that
    a user's exception may be or do raises here, or makes a message that cannot travel.
    """
    if isinstance(error, ModuleNotFoundError):
        error.add_note(missing(error))
    lines = _users_lines(error) if isinstance(error, DatasetError) else _traceback(error)
    failure = Failure(
        kind="data" if isinstance(error, DatasetError) else "analysis",
        error=_plain(type(error).__qualname__)[:_LONGEST_NAME],
        message=_plain(_text(error))[:_LONGEST],
        traceback=_plain(as_in_session(lines))[-_LONGEST:],
        path=file.path,
        tree=file.tree,
        start=start,
        stop=stop,
        transient=isinstance(error, DatasetError) and error.transient,
    )
    with contextlib.suppress(Exception):  # whatever keeps the user's exception from being pickled
        error.__traceback__ = error.__context__ = error.__cause__ = None
        pickled = cloudpickle.dumps(error)
        if len(pickled) <= _LARGEST_PICKLE:
            return failure, [pickled]
    return failure, []


def reason(error: BaseException) -> str:
    """An error in a line, as it is listed with the entries that are lost by it."""
    return _plain(f"{type(error).__qualname__[:_LONGEST_NAME]}: {_text(error)}")[:_LONGEST_REASON]


def _traceback(error: BaseException) -> str:
    """From the user's own code on, if it is in it."""
    report = traceback.TracebackException.from_exception(error)
    while len(report.stack) > 1 and _is_ours(report.stack[0].filename):
        del report.stack[0]
    return "".join(report.format()) if report.stack else ""


def _users_lines(error: DatasetError) -> str:
    """Where the user's code was when data turned out to be wrong; the error says the rest, without awkward's note on it."""
    error.__notes__ = [note for note in getattr(error, "__notes__", ()) if not note.lstrip().startswith(_AWKWARDS_NOTE)]
    stack = traceback.extract_tb(error.__traceback__)
    lines = [frame for frame in stack if not (_is_ours(frame.filename) or frame.filename.startswith(_LIBRARIES))]
    return "".join(["Traceback (most recent call last):\n", *traceback.format_list(lines)]) if lines else ""


def _is_ours(filename: str) -> bool:
    path = Path(filename)
    return any(path.is_relative_to(folder) for folder in _OURS)


def _text(error: BaseException) -> str:
    """What an exception says; a user's own may not even be able to."""
    try:
        return str(error)
    except Exception as another:
        return f"<{type(error).__qualname__} whose text raises {type(another).__qualname__}>"


def _plain(text: str) -> str:
    """A text that can travel: UTF-8 has no lone surrogates, which file names may have."""
    return text.encode("utf-8", "backslashreplace").decode()
