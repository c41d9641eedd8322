"""An exception on its way from a slot to the user: type, message, the user's lines, the entries."""

from __future__ import annotations

import contextlib
import linecache
import logging
import os
import pkgutil
import sysconfig
import traceback
from pathlib import Path

import cloudpickle

from ...analysis.analysis import missing
from ...analysis.notebook_cells import COMPILED
from ...analysis.once import loading_failed
from ...analysis.ownership import arrived
from ...protocol.addresses import shown, without_secrets
from ...protocol.errors import CountError, DatasetError, EventmillError
from ...protocol.foreign import add_note, attribute, class_name, forget_frames, notes_of, text_of
from ...protocol.messages import Failure, File
from ..slot_output import plain
from .modules import as_in_session

log = logging.getLogger(__name__)

_TYPED = ("<stdin>", "<string>", "<console>")
"""Files that Python says the code is in that was typed, or given to `python -c`."""
_PACKAGE = Path(__file__).resolve().parents[2]
_OURS = [_PACKAGE / module.name for module in pkgutil.iter_modules([str(_PACKAGE)]) if module.ispkg]
"""The packages in it, not the package itself: in a checkout its examples, which are users' code, are in it too."""
_INSTALLED = {sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")}
_PLUMBING = (
    "awkward", "boost_histogram", "coffea", "cramjam", "fsspec", "hist", "llvmlite", "numba", "numpy", "uproot", "XRootD",
)  # fmt: skip
"""What an analysis is made with: where one of these raises, it is the user's line that says what was wrong."""
_LIBRARIES = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")} - _INSTALLED)
_UNWRITABLE = (
    "the arrays of events, and large ones that an analysis brings along, cannot be changed in place, since other calls may "
    "see them, too; change a copy (x = x.copy())"
)
ERRORS = (BaseException,)
"""What user code may raise: `sys.exit()`, cancelled tasks and classes of its own included; the slot goes on."""
_FRAMES = 4
"""Of the user's own that are shown: those nearest to the error. All are in the log."""
_LONGEST = 20_000
_LONGEST_NAME = 200
_AWKWARDS_NOTE = "This error occurred while "
_LONGEST_REASON = 300
_NOT_BESIDE = (
    "beside a module of yours, only data files travel that its text names; make it a package (a folder with __init__.py), "
    "all of which travels, or give the full path of a file that workers can read"
)
_LARGEST_PICKLE = 16 * 2**20


def describe(error: BaseException, file: File, start: int | None, stop: int | None) -> tuple[Failure, list[bytes]]:
    """What the session needs to raise `error` again, on entries `[start, stop)` of a file.

    Of the traceback, the user's own lines travel: ours and the libraries' say nothing to the user, and are in the log. The
    exception is pickled where that works; where not, its type and message still arrive. Nothing that a user's exception may
    be or do raises here, or makes a message that cannot travel.
    """
    text = text_of(error)
    if isinstance(error, ModuleNotFoundError):
        add_note(error, missing(error))
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str) and arrived(error.filename) is not None:
        add_note(error, _NOT_BESIDE)
    if isinstance(error, ValueError) and "read-only" in text:
        add_note(error, _UNWRITABLE)
    if isinstance(error, EventmillError):
        _without_awkward(error)
    if isinstance(error, DatasetError) and error.transient:  # servers come and go: a line each will do
        log.info("an error that may pass: %s", without_secrets(text))
    else:
        log.info("an error in %s\n%s", shown(file.path) or "a result", _whole_traceback(error))
    failure = Failure(
        kind="data" if isinstance(error, DatasetError) else "count" if isinstance(error, CountError) else "analysis",
        error=plain(class_name(error))[:_LONGEST_NAME],
        message=plain(without_secrets(text_of(error)))[:_LONGEST],
        notes=plain(without_secrets("\n".join(notes_of(error))))[:_LONGEST],
        traceback=plain(as_in_session(_users_lines(error)))[-_LONGEST:],
        path=file.path,
        tree=file.tree,
        start=start,
        stop=stop,
        transient=isinstance(error, DatasetError) and error.transient,
        denied=error.denied if isinstance(error, DatasetError) else "",
        everywhere=loading_failed(error),
        missing=plain(str(attribute(error, "missing_column", "")))[:_LONGEST_NAME],
    )
    forget_frames(error)
    with contextlib.suppress(BaseException):  # whatever keeps the user's exception from being pickled
        pickled = cloudpickle.dumps(error)
        if len(pickled) <= _LARGEST_PICKLE:
            return failure, [pickled]
    return failure, []


def reason(error: BaseException) -> str:
    """An error in a line, as it is listed with the entries that are lost by it."""
    return plain(without_secrets(f"{class_name(error)[:_LONGEST_NAME]}: {text_of(error)}"))[:_LONGEST_REASON]


def _without_awkward(error: EventmillError) -> None:
    """Take out what awkward adds to all errors that pass through it, which says nothing of what is wrong with data."""
    error.args = tuple(
        word.partition(f"\n\n{_AWKWARDS_NOTE}")[0] if isinstance(word, str) else word for word in error.args
    )
    notes = getattr(error, "__notes__", ())
    error.__notes__ = [note for note in notes if not note.lstrip().startswith(_AWKWARDS_NOTE)]


def _users_lines(error: BaseException) -> str:
    """Where the user's code was; the error itself says the rest."""
    cause = attribute(error, "__cause__")
    lines = traceback.format_list(_frames(error))
    if cause is not None and not isinstance(error, EventmillError) and (because := _frames(cause)):
        lines += [f"because of {reason(cause)}\n", *traceback.format_list(because)]
    return "".join(lines)


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The last of the user's frames in a traceback."""
    return [frame for frame in traceback.extract_tb(attribute(error, "__traceback__")) if _is_users(frame.filename)][
        -_FRAMES:
    ]


def _is_users(filename: str) -> bool:
    """Whether code is neither ours, nor of a library, nor written by one while it runs."""
    if any(Path(filename).is_relative_to(folder) for folder in _OURS):
        return False
    if filename.startswith("<"):  # the line of compiled code is in a note
        return filename in _TYPED or (filename in linecache.cache and not filename.startswith(COMPILED))
    for folder in _INSTALLED:
        if filename.startswith(folder):
            return not filename[len(folder) :].startswith(_PLUMBING)
    return not filename.startswith(_LIBRARIES)


def _whole_traceback(error: BaseException) -> str:
    """As Python shows it, for the log; as far as the exception lets it."""
    try:
        return without_secrets("".join(traceback.format_exception(error)).rstrip())
    except BaseException:
        return "".join([*traceback.format_tb(attribute(error, "__traceback__")), reason(error)])
