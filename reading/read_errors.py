"""What goes wrong with files, as errors that name the file and say whether another try may help."""

from __future__ import annotations

import errno
import struct
import sys
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import cramjam
from uproot.deserialization import DeserializationError
from uproot.interpretation.identify import UnknownInterpretation
from uproot.interpretation.objects import CannotBeAwkward

from ..protocol.errors import DatasetError, EventmillError
from .storage.xrootd import ServerError

_READING_ERRORS = (
    OSError,
    ValueError,
    struct.error,
    zlib.error,
    cramjam.DecompressionError,
    DeserializationError,
    NotImplementedError,
    AssertionError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    NameError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)
"""What uproot raises for bytes that it cannot make sense of: by its parsers' nature, nearly anything."""
_PERMANENT = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""Errors of the operating system that will be the same the next time."""


@contextmanager
def read_errors(path: str, what: str) -> Iterator[None]:
    """Turn what reading raises, uproot's ways of raising included, into a `DatasetError`.

    Args:
        path: the file's.
        what: what cannot be done: "cannot be opened".
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError(f"there is no file {path}") from error
    except ServerError as error:
        raise DatasetError(f"{path} {what}: {error}", transient=error.transient) from error
    except TimeoutError as error:
        text = f"{path} {what}: the server does not answer ({_brief(error)})"
        raise DatasetError(text, transient=True) from error
    except (UnknownInterpretation, CannotBeAwkward) as error:
        reason = error.reason if isinstance(error, UnknownInterpretation) else _brief(error)
        raise DatasetError(f"{path} {what}: uproot does not know a type in it ({reason})") from error
    except (*_READING_ERRORS, *_http_errors()) as error:
        raise DatasetError(f"{path} {what}: {_brief(error)}", transient=_may_pass(path, error)) from error


@contextmanager
def read_errors_within(module: str, path: str, what: str) -> Iterator[None]:
    """As `read_errors`, but only of what a module of that name, or one in it, raises or lets pass: a library's that reads
    the file while the user's code runs. What the user's code raises stays as it is.
    """
    try:
        yield
    except EventmillError:
        raise
    except Exception as error:
        cause = raised(error)
        if not any(_is_in(frame, module) for frame, _ in traceback.walk_tb(cause.__traceback__)):
            raise
        try:
            with read_errors(path, what):
                raise cause
        except DatasetError as told:
            raise told.with_traceback(cause.__traceback__) from cause


def raised(error: BaseException) -> BaseException:
    """What was raised when a column was asked for: awkward makes an `AttributeError` of all that `events.x` raises."""
    while isinstance(error, AttributeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _is_in(frame: FrameType, module: str) -> bool:
    return f"{frame.f_globals.get('__name__')}.".startswith(f"{module}.")


def _may_pass(path: str, error: BaseException) -> bool:
    """Whether an error in reading may be gone the next time, or with another replica.

    What comes over a network may also be cut off or damaged on its way; what is wrong with a local file stays wrong.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno not in _PERMANENT
    return "://" in path and not isinstance(error, NotImplementedError)


def _http_errors() -> tuple[type[Exception], ...]:
    """What the client of web servers raises, once it is in use."""
    client = sys.modules.get("aiohttp")
    return () if client is None else (client.ClientError,)


def _brief(error: BaseException) -> str:
    """The first line that an error says: uproot's messages go on with advice for its own callers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
