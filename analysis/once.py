"""What is dear to load, and loaded once in a slot: models, sets of corrections, connections to databases.

A function under `once` loads. What it returns is kept by the process that has called it, for the queries to come, too, and
is never pickled. It is loaded again when what it was made from is another: the code of the function and of the helpers that
it uses, with their values; the arguments; the files.

    looked at for each query:  the function and all that it refers to, as a fingerprint; the files whose paths are among its
                               arguments, values and texts, and those that it opened from Python when it loaded (by size,
                               times and inode); those that came with the query (by their content)
    not seen:                  what compiled code opens by a path that was put together while it ran, what servers send

Nothing of this is known to the slot's other parts: values are in no analysis, so nothing is put back in them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import CodeType, FunctionType, ModuleType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar
from weakref import WeakSet

import cloudpickle

from ..protocol.errors import AnalysisError
from ..protocol.foreign import add_note, attribute
from . import sent_files
from .fingerprint import Walk, imported, looked_up, nested
from .ownership import arrived_folder

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")
Signature = tuple[int, int, int, int]
"""Size, times of the last change of content and of anything, inode: of a file that was changed they are others."""

UNUSED = 8
"""Analyses that may come to a process without a use of a value before it is let go, when something else is loaded."""
_LONGEST_PATH = 4096
_NO_DATA = (".py", ".pyc", ".so")
_INSTALLED = tuple({*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, "/proc/", "/sys/", "/dev/"})


class Once(Generic[Arguments, Value]):
    """A function whose values are loaded once a process; made by `once`.

    `__wrapped__` is the plain function.
    """

    __name__: str
    __qualname__: str
    in_kernels = (
        "what is loaded once in a slot are Python's objects, which are not there in compiled code. Give the kernel numbers, "
        "NAME=em.constant(...), or an em.correction(...); or write a function of events, which calls NAME()"
    )

    def __init__(self, load: Callable[Arguments, Value]) -> None:
        functools.update_wrapper(self, load, updated=())
        self.__wrapped__ = load
        self._known: dict[Any, _Loaded] = {}
        _living.add(self)

    def __call__(self, *arguments: Arguments.args, **named: Arguments.kwargs) -> Value:
        call = tuple(arguments), tuple(sorted(named.items()))
        key = call, tuple(type(argument) for argument in (*arguments, *named.values()))
        try:
            loaded = self._known.get(key)
        except TypeError as error:
            raise AnalysisError(
                f"{self.__name__}, which is under em.once, was called with an {error}: what is loaded is known by its "
                "arguments, so they must be such as keys of a dict are: numbers, texts, tuples of them"
            ) from None
        with _loading:
            if loaded is None:
                loaded = self._known[key] = _store.loaded(self.__wrapped__, call)
            if _noting is not None:  # another function loads with it
                _noting.add(loaded)
            loaded.is_in_use = True
        value: Value = loaded.value
        return value

    def renew(self) -> None:
        """Look at the next call whether what it was loaded from is still the same."""
        self._known.clear()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """What its module has under its name is pickled by this name, as functions are; what it has loaded, never."""
        module = sys.modules.get(self.__module__)
        by_value = {"__main__", *cloudpickle.list_registry_pickle_by_value()}
        if module is not None and module.__name__ not in by_value and "<locals>" not in self.__qualname__:
            found: Any = module
            for name in self.__qualname__.split("."):
                found = getattr(found, name, None)
            if found is self:
                return self.__qualname__
        return Once, (self.__wrapped__,)

    def __repr__(self) -> str:
        return f"<{self.__qualname__}, loaded once>"


def once(load: Callable[Arguments, Value]) -> Once[Arguments, Value]:
    """Declares a function that loads something dear: each slot calls it once, and keeps what it returns for later queries.

    It is called again once what it was made from is another: its code and that of its helpers, their values, its arguments
    (which must be hashable), and the files that it reads: those that came by `process(files=...)`, those that it opens from
    Python, and those whose paths are written in it, in its variables or arguments. Paths that it puts together for a library
    written in C are not seen: give such a path as an argument.

    What it returns is shared by all calls of the analysis: use it, and do not change it. Small dicts and lists, and arrays
    of numbers in these, are put back before each call; of large ones arrays are read-only, and when the rest was changed the
    query fails. Where it raises, the query fails at once, also with `on_error="skip"`.

    Raises AnalysisError when `load` is no function.

    Example:
        >>> @once
        ... def scale_factors(year):
        ...     print("loading", year)
        ...     return {"2018": 1.02}[year]
        >>> scale_factors("2018"), scale_factors("2018")
        loading 2018
        (1.02, 1.02)
    """
    if not isinstance(load, FunctionType):
        raise AnalysisError(f"once decorates a function that loads something, not {load!r:.60}")
    return Once(load)


def renew() -> None:
    """An analysis has come: what functions were loaded from may have changed."""
    _store.analyses += 1
    for function in list(_living):
        function.renew()


def loading_failed(error: BaseException) -> bool:
    """Whether an exception is of what is loaded for all events: then every call of the analysis would raise it."""
    return attribute(error, _MARK) is True


def cannot_load(error: BaseException, note: str = "") -> None:
    """Mark an exception as one of what all calls of the analysis need: the query fails with it, and nothing is skipped."""
    with contextlib.suppress(Exception):  # of a class whose attributes cannot be set
        setattr(error, _MARK, True)
    if note:
        add_note(error, note)


class Kept(Protocol):
    """A value that was loaded, as it was then."""

    def put_back(self) -> None:
        """Put back what a call may have changed of it, as far as that is quick."""

    def is_unchanged(self) -> bool:
        """Whether all that was not put back is as it was."""


def put_back() -> None:
    """Put back what a call may have changed of what was loaded, as far as `guard` says how."""
    for loaded in _store.all():
        if loaded.kept is not None:
            loaded.kept.put_back()


def check_unchanged() -> None:
    """Raise `AnalysisError` when calls have changed what was loaded and is not put back: they are of all calls before, then.

    Whoever is at work next loads it again.
    """
    changed = _store.let_changed_go()
    if changed:
        error = AnalysisError(
            f"what {changed} has loaded was changed by the analysis, so that each call would depend on those before it: it "
            "is under em.once, and too large to be put back before each call. Use it and do not change it: copy what is to "
            "be changed (dict(...), list(...)), return what is counted, and ask a defaultdict by .get(...)"
        )
        cannot_load(error)
        raise error


_MARK = "_eventmill_loading_failed"
_living: WeakSet[Once[Any, Any]] = WeakSet()
_loading = threading.RLock()


def _stays(value: object) -> None:
    """Outside of slots nothing is put back."""


guard: Callable[[Any], Kept | None] = _stays
"""Gives for a value that is loaded how it is put back before each call; None: it stays as it is. Set by slots."""


@dataclass
class _Read:
    """What a value was read from.

    Attributes:
        signatures: files, as they were before they were read.
        sent: digests of those that came with the query, by name.
        lasts: whether it can be told later that all of it is the same.
    """

    signatures: dict[str, Signature | None] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)
    lasts: bool = True
    thread: int = field(default_factory=threading.get_ident)

    def add(self, loaded: _Loaded) -> None:
        """Another value was used for this one."""
        for path, known in loaded.read.signatures.items():
            self.signatures.setdefault(path, known)
        self.sent |= loaded.read.sent
        self.lasts = self.lasts and loaded.read.lasts

    @property
    def is_current(self) -> bool:
        """Whether all of it is what it was."""
        unchanged = all(_signature(path) == known for path, known in self.signatures.items())
        return self.lasts and unchanged and sent_files.are_current(self.sent)


@dataclass
class _Loaded:
    """A value, the name of its function, what it was read from, how it is put back, when an analysis has last used it, and
    whether somebody has asked for it since it was last looked at.
    """

    value: Any
    name: str
    read: _Read
    kept: Kept | None
    used: int
    is_in_use: bool = False

    @property
    def is_unchanged(self) -> bool:
        """Whether no call has changed it."""
        return self.kept is None or self.kept.is_unchanged()


class _Store:
    """What this process has loaded, by the digest of how."""

    def __init__(self) -> None:
        self.analyses = 0
        self._loaded: dict[bytes, _Loaded] = {}

    def all(self) -> Iterable[_Loaded]:
        """What there is."""
        return self._loaded.values()

    def let_changed_go(self) -> str:
        """Forget values that calls have changed; the name of the function of one of them, or nothing."""
        in_use = [key for key, loaded in self._loaded.items() if loaded.is_in_use]
        names = [self._loaded.pop(key).name for key in in_use if not self._loaded[key].is_unchanged]
        for key in in_use:
            if key in self._loaded:
                self._loaded[key].is_in_use = False
        if names:
            for function in list(_living):
                function.renew()
        return names[0] if names else ""

    def loaded(self, load: Callable[..., Any], call: Any) -> _Loaded:
        """What a function loads for these arguments: what it has loaded before, if that is still the same."""
        walk = _LoaderWalk()
        key = walk.digest((load, call))
        kept = self._loaded.get(key)
        if kept is not None and kept.read.is_current and kept.is_unchanged:
            kept.used = self.analyses
            return kept
        for other in [it for it, held in self._loaded.items() if it == key or held.used < self.analyses - UNUSED]:
            del self._loaded[other]  # before something else takes its memory
        kept = None
        read = _Read({path: _signature(path) for path in walk.paths()})
        with _note_in(read):
            try:
                arguments, named = call
                value = load(*arguments, **dict(named))
            except Exception as error:
                cannot_load(error, f"{load.__qualname__} could not load, and is not tried again: it is under em.once")
                raise
        read.signatures = {path: known for path, known in read.signatures.items() if known is None or _signature(path)}
        came = {str(folder) for path in read.signatures if (folder := arrived_folder(path)) is not None}
        read.lasts = read.lasts and walk.is_complete and came <= walk.folders
        loaded = self._loaded[key] = _Loaded(value, load.__qualname__, read, guard(value), self.analyses)
        return loaded


_store = _Store()


# --- what it is loaded from -----------------------------------------------------------------------------------------------


class _LoaderWalk(Walk):
    """A walk over a function that loads, its helpers and their values, which notes what may be paths of files."""

    def __init__(self) -> None:
        super().__init__(())
        self.folders: set[str] = set()
        self.is_complete = True
        self._texts: set[str] = set()

    def paths(self) -> Iterator[str]:
        """The files among all texts."""
        for text in self._texts:
            with contextlib.suppress(OSError, ValueError):  # what can be no path
                path = str(Path(text).absolute())
                if 0 < len(text) < _LONGEST_PATH and Path(path).is_file() and not sent_files.was_sent(path):
                    yield path

    def _content(self, value: object) -> bytes:
        if isinstance(value, Once):
            return self._all("once", value.__wrapped__)
        if isinstance(value, str | PurePath):
            text = str(value)
            if (folder := arrived_folder(text)) is not None:  # named after its content, which is told below
                return self._all("arrived path", text[len(str(folder)) :], _data(self._noted(folder)))
            self._texts.add(text)
        return super()._content(value)

    def _code(self, code: CodeType) -> bytes:
        for part in nested(code):
            self._texts.update(text for text in _texts_in(part.co_consts))
        return super()._code(code)

    def _function(self, function: FunctionType) -> bytes:
        content = super()._function(function)
        file = getattr(sys.modules.get(function.__module__ or ""), "__file__", None) or ""
        folder = arrived_folder(file)
        return content if folder is None else self._all("with data", content, _data(self._noted(folder)))

    def _uses(self, function: FunctionType) -> dict[str, Any]:
        found = looked_up(function)
        for name in imported(function):
            try:
                spec = importlib.util.find_spec(name.partition(".")[0])
            except ValueError:  # a module that was made by hand
                self.is_complete = False
                continue
            origin = (spec.origin if spec is not None else None) or ""
            if (folder := arrived_folder(origin)) is not None:
                found[f"import {name}"] = self._whole(folder, name)
        return found

    def _whole(self, folder: Path, name: str) -> object:
        """All of a module of the user's that a function imports when it runs, values that were set in it included."""
        self._noted(folder)
        module = sys.modules.get(name)
        return folder.name, None if module is None else module

    def _module(self, module: ModuleType) -> bytes:
        """Of the user's own, what it holds now: in the folder in which it came is what its file says."""
        if not self._is_to_follow(module.__name__):
            return super()._module(module)
        held = {
            name: value
            for name, value in vars(module).items()
            if not (name.startswith("__") and name.endswith("__")) and not isinstance(value, ModuleType)
        }
        file = getattr(module, "__file__", None) or ""
        folder = arrived_folder(file)
        came = "" if folder is None else self._noted(folder).name
        return self._all("module", module.__name__, came, sorted(held.items()))

    def _object(self, value: object) -> bytes:
        try:
            return super()._object(value)
        except Exception:  # what cannot be looked into, as a lock in a module of the user's
            self.is_complete = False
            return self._all("unknown", type(value).__name__)

    def _noted(self, folder: Path) -> Path:
        self.folders.add(str(folder))
        return folder


def _texts_in(constants: tuple[object, ...]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple):
            yield from _texts_in(constant)


@functools.lru_cache(maxsize=1000)
def _data(folder: Path) -> str:
    """What the data files are that came with a module; their folder is named after its content, and never changes."""
    state = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in _NO_DATA):
        for part in (str(path.relative_to(folder)).encode("utf-8", "surrogateescape"), path.read_bytes()):
            state.update(len(part).to_bytes(8, "little") + part)
    return state.hexdigest()


def _signature(path: str) -> Signature | None:
    try:
        status = os.stat(path)  # noqa: PTH116  # of each file for each query
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


# --- what a function opens ------------------------------------------------------------------------------------------------

_noting: _Read | None = None
_is_heard = False


@contextlib.contextmanager
def _note_in(read: _Read) -> Iterator[None]:
    """Note the files that are opened meanwhile, from Python and in this thread."""
    global _noting, _is_heard
    if not _is_heard:
        sys.addaudithook(_hear)
        _is_heard = True
    before, _noting = _noting, read
    told = sent_files.listen(read.sent.update)
    try:
        yield
    finally:
        _noting = before
        sent_files.listen(told)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """What Python says of all that it does: files that are opened to be read, and that belong to no installed package."""
    if event != "open" or _noting is None or threading.get_ident() != _noting.thread:
        return
    path, _, flags, *_ = arguments
    if not isinstance(path, str | bytes) or flags & (os.O_WRONLY | os.O_CREAT):
        return
    text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # may be called from anywhere
    known = text in _noting.signatures or text.startswith(_INSTALLED) or text.endswith(_NO_DATA)
    if not known and not sent_files.was_sent(text):
        _noting.signatures[text] = _signature(text)
