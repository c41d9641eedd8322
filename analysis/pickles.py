"""How the user's things are pickled: what the user's own modules define goes by its name, all else by its content.

A module that travels as a file (`analysis.modules`) is imported anew in a slot. What it defines is looked up there:
functions (compiled ones too), classes and kernels run as the file says when the query starts, also those that the session
imported before an edit, and those of which a reload has made newer ones meanwhile. Values go as the session holds them.
"""

from __future__ import annotations

import functools
import importlib
import io
import operator
import pickle
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import CodeType, FunctionType
from typing import Any, Protocol

import cloudpickle

from ..protocol.errors import AnalysisError
from .attachments import LEAST, Attachments, with_attachments
from .fingerprint import DISPATCHING, CachedFunction
from .modules import top, travels
from .ownership import users_modules

_registering = threading.Lock()

Shared = Mapping[int, tuple[str, str]]
"""Module and name of things that several others may refer to, by their identity."""


class Pickled(Protocol):
    """Pickles a thing for its journey to slots: of what is `shared`, in it, only module and name.

    Raises whatever an object raises that cannot be pickled.
    """

    def __call__(self, thing: object, shared: Shared = ..., /) -> bytes: ...


@contextmanager
def pickling(named: Collection[str] = (), attachments: Attachments | None = None) -> Iterator[Pickled]:
    """Gives the function that pickles things for their journey to slots, as long as this lasts.

    `named` are packages that travel because the user names them. With `attachments`, large buffers are left out.
    """

    def pickled(thing: object, shared: Shared | None = None, /) -> bytes:
        digests: list[str] = []

        def stays(buffer: pickle.PickleBuffer) -> bool:
            memory = buffer.raw()
            if attachments is None or memory.nbytes < LEAST:
                return True
            digests.append(attachments.digest(memory))
            return False

        file = io.BytesIO()
        pickler = _Pickler(file, named, stays) if not shared else _SharingPickler(file, named, stays, thing, shared)
        pickler.dump(thing)
        return with_attachments(file.getvalue(), digests) if digests else file.getvalue()

    with _own_modules_by_value(named):
        yield pickled


def name_of(thing: object, named: Collection[str] = ()) -> tuple[str, str] | None:
    """The module and the name in it by which a thing travels; None for what travels by its content."""
    if not callable(thing):
        return None
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module not in sys.modules:
        return None
    if {module, top(module)} & cloudpickle.list_registry_pickle_by_value() or not (
        top(module) in named or travels(module)
    ):
        return None
    try:
        current = operator.attrgetter(name)(sys.modules[module])
    except AttributeError:  # made in a function, or under another name
        return None
    return (module, name) if current is thing or _is_version_of(current, thing) else None


def defined(module: str, name: str) -> Any:
    """What a module has under a name; how a slot finds what travels by name.

    Raises:
        AnalysisError: it has none.
    """
    try:
        return operator.attrgetter(name)(importlib.import_module(module))
    except AttributeError:
        raise AnalysisError(
            f"the module {module} has no {name} in its file as it was when the query started, though the session has: "
            f"importlib.reload({module}), and import from it again"
        ) from None


def code_of_file(make: Callable[..., CodeType], arguments: tuple[Any, ...], filename: str) -> CodeType:
    """The code object that a reduction of it makes, with the name of the file that it was written in."""
    return make(*arguments).replace(co_filename=filename)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    def __init__(
        self, file: io.BytesIO, named: Collection[str], stays: Callable[[pickle.PickleBuffer], bool] | None = None
    ) -> None:
        super().__init__(file, protocol=5, buffer_callback=stays)
        self._named = named

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, CodeType):  # cloudpickle 3.1.3 forgets the file, without which errors show no line
            return code_of_file, (*self.dispatch_table[CodeType](thing), thing.co_filename)
        name = name_of(thing, self._named)
        if name is not None:
            return defined, name
        reduction = _from_functools(thing)
        return super().reducer_override(thing) if reduction is None else reduction


def _try_out() -> None:
    """Raise `ImportError` unless cloudpickle, which has no public way to it, gives code objects as is taken for granted."""
    code = compile("def area(r): return 3 * r**2", "area.py", "exec")
    try:
        make, arguments, *_ = _Pickler(io.BytesIO(), ()).dispatch_table[CodeType](code)
        again = code_of_file(make, arguments, code.co_filename)
    except Exception as error:
        raise _unknown_cloudpickle(repr(error)) from error
    if again != code or again.co_filename != code.co_filename:
        raise _unknown_cloudpickle("it comes back as another one")


def _unknown_cloudpickle(why: str) -> ImportError:
    return ImportError(
        f"cloudpickle {cloudpickle.__version__} takes code objects apart in a way that eventmill does not know ({why}): "
        "install another one, 3.1 is known to work"
    )


_try_out()


class _SharingPickler(_Pickler):
    def __init__(
        self,
        file: io.BytesIO,
        named: Collection[str],
        stays: Callable[[pickle.PickleBuffer], bool],
        thing: object,
        shared: Shared,
    ) -> None:
        super().__init__(file, named, stays)
        self._thing, self._shared = thing, shared

    def persistent_id(self, thing: object) -> tuple[str, str] | None:
        return None if thing is self._thing else self._shared.get(id(thing))


def _from_functools(thing: Any) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """How what cloudpickle cannot send of the standard library's decorators is made again; None for all else."""
    if isinstance(thing, functools.cached_property):  # it has a lock before Python 3.12
        return _cached_property, (thing.func, thing.attrname)
    if isinstance(thing, functools.singledispatchmethod):  # it has a cache of weak references from Python 3.13 on
        return _dispatching_method, (thing.func, thing.dispatcher)
    if isinstance(thing, CachedFunction) and not _is_installed(thing):
        return _cached, (thing.__wrapped__, *thing.cache_parameters().values())
    if isinstance(thing, FunctionType) and thing.__code__ is DISPATCHING and not _is_installed(thing):
        return _dispatching, (list(thing.registry.items()),)  # type: ignore[attr-defined]
    return None


def _is_installed(thing: Any) -> bool:
    """Whether workers find a thing under its name in an installed module."""
    name, registered = thing.__module__, cloudpickle.list_registry_pickle_by_value()
    module = sys.modules.get(name)
    if module is None or name == "__main__" or {name, top(name)} & registered:
        return False
    try:
        return operator.attrgetter(thing.__qualname__)(module) is thing
    except AttributeError:
        return False


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _cached_property(function: Callable[[Any], Any], name: str | None) -> functools.cached_property[Any]:
    made = functools.cached_property(function)
    made.attrname = name
    return made


def _dispatching_method(function: Callable[..., Any], dispatcher: Any) -> functools.singledispatchmethod[Any]:
    made = functools.singledispatchmethod(function)
    made.dispatcher = dispatcher
    return made


def _dispatching(functions: list[tuple[type, Callable[..., Any]]]) -> Any:
    """A function under `functools.singledispatch`, with one for each type."""
    made = functools.singledispatch(dict(functions)[object])
    for kind, function in functions:
        made.register(kind, function)
    return made


def _is_version_of(current: object, thing: object) -> bool:
    """Whether a reload has put the one in the place of the other; False for what a decorator has hidden in it."""
    inner: Any = current
    while (inner := getattr(inner, "py_func", None) or getattr(inner, "__wrapped__", None)) is not None:
        if inner is thing:
            return False
    if isinstance(current, type) != isinstance(thing, type) or _module_of(current) != _module_of(thing):
        return False
    return _written_as(current) == _written_as(thing)


def _module_of(thing: object) -> object:
    return getattr(thing, "__module__", None)


def _written_as(thing: object) -> str | None:
    """The name that a function, or what decorates one, has in its source: `decorator.<locals>.wrapper` for a wrapper."""
    plain: Any = getattr(thing, "py_func", thing)
    if not isinstance(plain, FunctionType):
        plain = getattr(plain, "__wrapped__", None)
    return plain.__code__.co_qualname if isinstance(plain, FunctionType) else None


@contextmanager
def _own_modules_by_value(but: Collection[str]) -> Iterator[None]:
    """Lets cloudpickle send the contents of the user's own modules, not their names, for as long as this lasts.

    Not of those that travel as files, and of the packages that `but` names.
    """
    with _registering:
        taken = {"__main__", *cloudpickle.list_registry_pickle_by_value()}
        own = [
            module
            for module in users_modules()
            if module.__name__ not in taken and top(module.__name__) not in but and not travels(module.__name__)
        ]
        try:
            for module in own:
                with suppress(ValueError):  # another thread has taken it out of `sys.modules` meanwhile
                    cloudpickle.register_pickle_by_value(module)
            yield
        finally:
            for module in own:
                if module.__name__ in cloudpickle.list_registry_pickle_by_value():
                    cloudpickle.unregister_pickle_by_value(module)
