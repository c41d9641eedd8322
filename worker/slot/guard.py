"""What keeps user code from taking more of its slot than its own call: what is put back, and when a slot is spoilt.

After each call of the user's code, what the slot itself needs is as it was: the modules, the clock, the standard streams. A
process that the code has forked, and that comes back from the call, ends there: it is no second slot.

What a call leaves behind otherwise, it leaves to its own query only: before another one's turn the slot puts back what it
can (`tidy_up`), and makes room for a fresh process, which takes milliseconds, if there is more.
"""

from __future__ import annotations

import contextlib
import decimal
import fcntl
import gc
import locale
import os
import resource
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn, TextIO

import numpy as np

from ...analysis.ownership import is_users
from ...reading.storage.credentials import VARIABLES
from . import behaviors, process_family
from .modules import folders_at_work, names_at_work

OURS = ("read ahead", "open ahead")
"""How the names of this package's threads begin."""
_LIBRARIES = ("fsspecIO", "asyncio_")
"""Threads of libraries that read files for us."""
_TIME = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "process_time", "thread_time", "sleep")
_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
_HIGH = 200
"""Descriptors from here on are rarely closed by code that closes "all"."""
_getpid, _exit, _fstat, _dup2 = os.getpid, os._exit, os.fstat, os.dup2


class Guard:
    """Of one slot, made before any code of a user's has run in it.

    Example:
        >>> guard = Guard()
        >>> with guard:
        ...     time.sleep = lambda seconds: None
        >>> time.sleep.__module__
        'time'
    """

    def __init__(self) -> None:
        self._pid = _getpid()
        self._modules = sys.modules
        self._known: dict[str, ModuleType] = dict(sys.modules)
        self._clock: dict[str, Any] = {name: getattr(time, name) for name in _TIME}
        self._streams: tuple[TextIO, TextIO] = (sys.stdout, sys.stderr)
        self._kept = {number: _kept(number) for number in (1, 2)}
        self.settle()

    def settle(self) -> None:
        """What the process is like now is how `tidy_up` leaves it."""
        self._before = {name: read() for name, (read, _) in _STATE.items()}

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _getpid() != self._pid:
            _end_fork(error)
        if sys.modules is not self._modules:
            sys.modules = self._modules
        if len(sys.modules) < len(self._known) or not self._known.keys() <= sys.modules.keys():
            own = names_at_work()
            for name, module in self._known.items():
                if name.partition(".")[0] not in own:
                    sys.modules.setdefault(name, module)
        for name, function in self._clock.items():
            if getattr(time, name, None) is not function:
                setattr(time, name, function)
        self._open_streams()

    def _open_streams(self) -> None:
        """Have standard output and error, whatever was closed; what the user's code has put in their place stays."""
        for number, (kept, identity) in self._kept.items():
            if _identity(number) != identity:
                _dup2(kept, number)
        for name, stream in zip(("stdout", "stderr"), self._streams, strict=True):
            if getattr(getattr(sys, name, None), "closed", True):
                setattr(sys, name, stream if not stream.closed else _stream(name))

    def tidy_up(self) -> str:
        """Put back what user code has changed of the process, before it is another query's turn.

        Returns:
            What cannot be put back, in words: the slot is to make room for a fresh process then. Empty if there is nothing.
        """
        if process_family.children():
            return "processes"
        if any(not _is_expected(thread) for thread in _threads()):
            return "threads"
        own = names_at_work()
        changed = (name for name, module in self._known.items() if sys.modules.get(name) is not module)
        if any(name.partition(".")[0] not in own for name in changed):
            return "other modules"
        for namespace, name, function in _functions:
            if namespace.get(name) is not function and namespace["__name__"].partition(".")[0] not in own:
                return f"another {namespace['__name__']}.{name}"
        sys.stdout, sys.stderr = self._streams
        self._open_streams()
        behaviors.put_back()
        _forget_users_behaviors()
        for name, (read, write) in _STATE.items():
            before = self._before[name]
            if read() == before:
                continue
            if write is None:
                return name
            try:
                write(before)
            except (OSError, ValueError):
                return name
        return ""


_functions: list[tuple[dict[str, Any], str, Any]] = []
"""Of all modules that a slot begins with: their namespace, the name, and the function or class."""


_CHANGED = frozenset(
    {
        "awkward", "boost_histogram", "builtins", "collections", "functools", "hist", "itertools", "json", "math", "numpy",
        "operator", "os", "pathlib", "random", "shutil", "subprocess", "tempfile", "threading", "uproot", "warnings",
    }
)  # fmt: skip
"""Packages whose functions somebody might put others in the place of: of those that slots begin with."""


def note_functions() -> None:
    """Note which functions modules have, before slots are forked and the code of users can put others in their place."""
    _functions[:] = [
        (vars(module), name, value)
        for module in list(sys.modules.values())
        if isinstance(module, ModuleType) and _is_public(vars(module).get("__name__", ""))
        for name, value in list(vars(module).items())
        if callable(value) and name not in _TIME
    ]


def _is_public(module: str) -> bool:
    first, *others = module.split(".")
    return first in _CHANGED and not any(name.startswith("_") for name in others)


# --- what of a process user code may change -------------------------------------------------------------------------------


def _where() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # the folder has been removed
        return None


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in VARIABLES}


def _set_environment(before: dict[str, str]) -> None:
    for name in _environment().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _set_umask_of(line: str) -> None:
    os.umask(int(line.split()[1], 8))


def _umask() -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((line for line in lines if line.startswith("Umask:")), "")


def _set_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _path() -> list[str]:
    """Where modules are looked for, without those of the query at work."""
    folders = folders_at_work()
    return [place for place in sys.path if place not in folders]


def _set_path(before: list[str]) -> None:
    sys.path[:] = [*folders_at_work(), *before]


def _context() -> str:
    return repr(decimal.getcontext())


def _set_context(_: str) -> None:
    decimal.setcontext(decimal.Context())


def _forget_users_behaviors() -> None:
    """What awkward arrays can do stays, if a library says so: it says it once, when it is imported."""
    awkward = sys.modules.get("awkward")
    for key, behavior in list(awkward.behavior.items()) if awkward is not None else ():
        if is_users(getattr(behavior, "__module__", None)):
            del awkward.behavior[key]  # type: ignore[union-attr]


def _timers() -> list[tuple[float, float]]:
    return [signal.getitimer(timer) for timer in _TIMERS]


def _stop_timers(_: object) -> None:
    for timer in _TIMERS:
        signal.setitimer(timer, 0.0)


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _set_handlers(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _set_tracing(before: tuple[Any, Any]) -> None:
    sys.settrace(before[0])
    sys.setprofile(before[1])


_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_STATE: dict[str, tuple[Callable[[], Any], Callable[[Any], object] | None]] = {
    "another working directory": (_where, os.chdir),
    "another environment": (_environment, _set_environment),
    "a timer": (_timers, _stop_timers),
    "signal handlers": (_handlers, _set_handlers),
    "blocked signals": (
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        lambda before: signal.pthread_sigmask(signal.SIG_SETMASK, before),
    ),
    "limits": (lambda: [resource.getrlimit(limit) for limit in _LIMITS], None),
    "another priority": (lambda: os.nice(0), None),
    "another umask": (_umask, _set_umask_of),
    "another locale": (
        lambda: locale.setlocale(locale.LC_ALL),
        lambda before: locale.setlocale(locale.LC_ALL, before),
    ),
    "another handling of floating-point errors": (np.geterr, lambda before: np.seterr(**before)),
    "another function for floating-point errors": (np.geterrcall, np.seterrcall),
    "other folders of modules": (_path, _set_path),
    "other decimal arithmetic": (_context, _set_context),
    "warning filters": (lambda: list(warnings.filters), _set_filters),
    "tracing": (lambda: (sys.gettrace(), sys.getprofile()), _set_tracing),
    "another recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "another garbage collection": (gc.isenabled, lambda before: gc.enable() if before else gc.disable()),
}
"""How to find out, and how to put it back; None where a process cannot."""


# --- in a slot's process --------------------------------------------------------------------------------------------------


def _is_expected(thread: threading.Thread) -> bool:
    """Whether a thread is ours, or of a library that reads or sends for us: pyzmq's, which has no name of its own, begins
    with the first large result.
    """
    return thread.name.startswith((*OURS, *_LIBRARIES)) or type(thread).__module__.startswith("zmq.")


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread is not threading.main_thread()]


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = _fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _kept(descriptor: int) -> tuple[int, tuple[int, int] | None]:
    """A copy of a descriptor, out of the way, and what it is of."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH), _identity(descriptor)
    except OSError:  # there is none, or no room
        return descriptor, _identity(descriptor)


def _stream(name: str) -> TextIO:
    """A standard stream in the place of one that was closed."""
    number = {"stdout": 1, "stderr": 2}[name]
    stream = os.fdopen(number, "w", buffering=1, errors="backslashreplace", closefd=False)
    setattr(sys, f"__{name}__", stream)
    return stream


def _end_fork(error: BaseException | None) -> NoReturn:
    """End a process that user code has forked and let come back, as Python would end it at the end of a script."""
    code: Any = 0
    if isinstance(error, SystemExit):
        code = error.code
    elif error is not None:
        code = 1
        traceback.print_exception(error)
    if code is not None and not isinstance(code, int):
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{code}\n")
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    _exit((code or 0) & 0xFF)
