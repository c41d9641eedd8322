"""An exception on its way from a slot to the user: type, message, the user's lines, the entries."""

from __future__ import annotations

import traceback
from pathlib import Path

import cloudpickle

from ..protocol.errors import DatasetError
from ..protocol.messages import Failure, File

_PACKAGE = str(Path(__file__).resolve().parent.parent)
_LONGEST = 20_000


def describe(error: BaseException, file: File, start: int | None, stop: int | None) -> tuple[Failure, list[bytes]]:
    """What the session needs to raise `error` again, on entries `[start, stop)` of a file.

    The traceback begins at the user's own code: our frames above it say nothing to the user. The exception is pickled
    where that works; where not, its type and message still arrive.
    """
    report = traceback.TracebackException.from_exception(error)
    while len(report.stack) > 1 and report.stack[0].filename.startswith(_PACKAGE):
        del report.stack[0]
    failure = Failure(
        kind="data" if isinstance(error, DatasetError) else "analysis",
        error=type(error).__qualname__,
        message=str(error)[:_LONGEST],
        traceback="".join(report.format())[-_LONGEST:] if report.stack else "",
        path=file.path,
        tree=file.tree,
        start=start,
        stop=stop,
    )
    error.__traceback__ = error.__context__ = error.__cause__ = None
    try:
        return failure, [cloudpickle.dumps(error)]
    except Exception:
        return failure, []
