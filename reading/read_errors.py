"""What goes wrong with files, as errors that name the file and say whether another try may help."""

from __future__ import annotations

import errno
import struct
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import cramjam
from uproot.deserialization import DeserializationError
from uproot.interpretation.identify import UnknownInterpretation
from uproot.interpretation.objects import CannotBeAwkward

from ..protocol.errors import DatasetError, EventmillError
from .storage.xrootd import ServerError

_OF_TYPES = (UnknownInterpretation, CannotBeAwkward, NotImplementedError)
"""What uproot raises for a type that it does not know: that will be so the next time, too."""
_READING_ERRORS = (
    *_OF_TYPES,
    OSError,
    ValueError,
    struct.error,
    zlib.error,
    cramjam.DecompressionError,
    DeserializationError,
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
_OF_CODE = (LookupError, AttributeError, NameError, TypeError)
"""What says little without its name."""
_INSTEAD = (
    ". Other branches can be read; to use this one, say how it is to be read (em.Dataset(..., interpretations=)), or write "
    "what is needed of it as numbers, texts or lists of them (RDataFrame's Define and Snapshot)"
)
"""What to do about a type that cannot be read."""
_PERMANENT = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""Errors of the operating system that will be the same the next time."""


@contextmanager
def read_errors(path: str, what: str, kind: Callable[[], str] | None = None) -> Iterator[None]:
    """Turn what reading raises, uproot's ways of raising included, into a `DatasetError`.

    Args:
        path: the file's.
        what: what cannot be done: "cannot be opened".
        kind: tells the type of what is read, as it was written, where that may be why.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError(f"there is no file {path}") from error
    except ServerError as error:
        raise DatasetError(f"{path} {what}: {error}", transient=error.transient, denied=error.denied) from error
    except TimeoutError as error:
        text = f"{path} {what}: the server does not answer ({_brief(error)})"
        raise DatasetError(text, transient=True) from error
    except (*_READING_ERRORS, *_http_errors()) as error:
        if isinstance(error.__cause__, CannotBeAwkward):  # as uproot's branches say it
            error = error.__cause__
        said = f"{path} {what}: {_reason(error)}"
        if kind is not None and not isinstance(error, OSError):
            said += _of_type(kind)
        if isinstance(error, _OF_TYPES) and kind is not None:
            said += _INSTEAD
        raise DatasetError(said, transient=_may_pass(path, error)) from error


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


def _of_type(kind: Callable[[], str]) -> str:
    """The type of what is read; nothing where the file's description of its types is damaged as well."""
    try:
        return f"; it is of type {kind()}"
    except _READING_ERRORS:
        return ""


def _is_in(frame: FrameType, module: str) -> bool:
    return f"{frame.f_globals.get('__name__')}.".startswith(f"{module}.")


def _may_pass(path: str, error: BaseException) -> bool:
    """Whether an error in reading may be gone the next time, or with another replica.

    What comes over a network may also be cut off or damaged on its way; what is wrong with a local file stays wrong.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno not in _PERMANENT
    return "://" in path and not isinstance(error, _OF_TYPES)


def _http_errors() -> tuple[type[Exception], ...]:
    """What the client of web servers raises, once it is in use."""
    client = sys.modules.get("aiohttp")
    return () if client is None else (client.ClientError,)


def _reason(error: BaseException) -> str:
    """Why something cannot be read."""
    if isinstance(error, UnknownInterpretation):
        return f"uproot does not know a type in it ({error.reason})"
    if isinstance(error, CannotBeAwkward):
        return f"uproot does not know a type in it ({error.because} makes no awkward array)"
    if isinstance(error, DeserializationError):
        return " ".join(str(error.message).split())
    return _brief(error)


def _brief(error: BaseException) -> str:
    """The first line that an error says: uproot's messages go on with advice for its own callers, and what it has read."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0].partition(" MetaData(")[0].removesuffix(".") if lines else ""
    return f"{type(error).__name__}: {said}".removesuffix(": ") if isinstance(error, _OF_CODE) or not said else said
