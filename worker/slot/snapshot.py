"""What a call of an analysis may leave behind, put back before the next one: every result is that of its own call.

A processor that fills `self.h`, a function that fills a global histogram or counts in a dict, a mutable default, a closure's
counter: whatever outlives a call would be counted again by the next one. Coffea unpickles a processor for each chunk. Here
everything that code can reach and change is noted once, and put back in place. What cannot change costs nothing then:
functions, classes, compiled code; and what `functools.cache` and `once` keep stays, since to outlive calls is what they are
for; of what `once` has loaded, small containers and arrays are put back, too (`kept_values`).

    restored in place: namespaces of functions, classes, modules and objects of the user's, cells of closures, dicts, lists,
                       sets, small arrays, generators of random numbers
    copied by pickle:  everything else, such as histograms
    left alone:        what cannot be changed, large arrays (read-only from then on), models and evaluators, and what cannot
                       be pickled

Generators of random numbers are put back to a state of the call's own: every call would draw the same otherwise.
"""

from __future__ import annotations

import builtins
import collections
import enum
import functools
import io
import pickle
import random
import re
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import cloudpickle
import numpy as np

from ...analysis.once import Once
from ...analysis.ownership import is_users
from .seeding import Seed, reseeded

MOST_COPIED = 8 << 20
"""Bytes of arrays that are put back for each call; those beyond are read-only."""
_UNCHANGED = frozenset(
    {
        "correctionlib.highlevel.Correction",
        "correctionlib.highlevel.CompoundCorrection",
        "correctionlib.highlevel.CorrectionSet",
        "keras.src.models.model.Model",
        "lightgbm.basic.Booster",
        "onnxruntime.capi.onnxruntime_inference_collection.InferenceSession",
        "sklearn.base.BaseEstimator",
        "torch.nn.modules.module.Module",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBModel",
    }
)
"""Classes whose objects are evaluated and not changed, are dear to make, and cannot be results."""
_CONSTANTS = (
    type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range, slice, re.Pattern, enum.Enum,
    types.CodeType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.MethodWrapperType, types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType,
    np.generic, np.dtype, np.ufunc,
)  # fmt: skip
"""Types of what cannot be changed."""
_DICTS = (dict, collections.OrderedDict, collections.defaultdict, collections.Counter)
_LISTS = (list, collections.deque, bytearray)
_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
_KEEPING = (functools._lru_cache_wrapper, Once)
"""Functions that keep what they return, which is to outlive calls."""
_SHARED: Any = (types.FunctionType, types.ModuleType, type, *_KEEPING)
_MODULES_OWN = frozenset({"__builtins__", "__cached__", "__loader__", "__spec__"})
_WITH_CONTENT = (
    dict,
    list,
    set,
    frozenset,
    tuple,
    str,
    bytes,
    bytearray,
    int,
    float,
    complex,
    BaseException,
    np.ndarray,
)


class Holder(Protocol):
    """Something that is put back in place; `copies` are the objects that cannot be, for this call."""

    def restore(self, copies: list[Any], seed: Seed) -> None:
        """Put it back."""


class Snapshot:
    """The state of some objects, as it is now.

    Args:
        roots: what is called, or whose functions are.
        follows: whether the namespace of this module, or of functions and classes of a module of this name, belongs to it.

    Example:
        >>> kept = [0]
        >>> snapshot = Snapshot([kept], lambda module: False)
        >>> kept.append(1)
        >>> snapshot.restore(Seed(0)), kept
        ([[0]], [0])
    """

    def __init__(self, roots: Iterable[object], follows: Callable[[str], bool]) -> None:
        self._follows = follows
        self._stays: dict[int, object] = {id(builtins.__dict__): builtins}
        self._copied: dict[int, int] = {}
        self._originals: list[object] = []
        self._waiting: collections.deque[Any] = collections.deque()
        self._holders: list[Holder] = []
        self._bytes = 0
        self._roots = _Places.of(self, list(enumerate(roots)))
        self._walk()
        self._pickle()

    def restore(self, seed: Seed) -> list[Any]:
        """Put everything back, generators of random numbers to what this seed makes of them; returns the roots."""
        copies: list[Any] = []
        if self._originals:
            unpickler = _Unpickler(io.BytesIO(self._content), buffers=iter(self._buffers))
            unpickler.shared = self._shared
            copies = [unpickler.load() for _ in self._originals]
        for holder in self._holders:
            holder.restore(copies, seed)
        self._roots.fill(copies)
        return list(self._roots.kept.values())

    def holds(self, thing: object) -> bool:
        """Whether it is put back in place, so that it may be returned by every call."""
        return id(thing) in self._stays

    # --- finding out ----------------------------------------------------------------------------------------------

    def number(self, value: Any) -> int | None:
        """Which of the objects that are copied for each call this one is; None for one that stays itself."""
        if isinstance(value, _CONSTANTS) or id(value) in self._stays:
            return None
        known = self._copied.get(id(value))
        if known is not None:
            return known
        if self._stays_itself(value):
            self._stays[id(value)] = value
            return None
        self._copied[id(value)] = len(self._originals)
        self._originals.append(value)
        return self._copied[id(value)]

    def _stays_itself(self, value: Any) -> bool:
        kind = type(value)
        if kind in (tuple, frozenset):
            return self._all_stay(value)
        if isinstance(value, types.MethodType):
            return self._all_stay([value.__func__, value.__self__])
        if kind is functools.partial:
            return self._all_stay([value.func, value.args, value.keywords])
        if kind is np.ndarray:
            return not value.dtype.hasobject and self._array_stays(value)
        if self._is_namespace(value) or kind in (*_DICTS, *_LISTS, set, *_GENERATORS):
            self._waiting.append(value)
            return True
        return isinstance(value, types.ModuleType | type(sys.stdout)) or is_unchanged(kind)

    def _all_stay(self, parts: Iterable[Any]) -> bool:
        numbers = [self.number(part) for part in parts]
        return not any(number is not None for number in numbers)

    def _is_namespace(self, value: Any) -> bool:
        if isinstance(value, types.FunctionType | types.CellType | type | staticmethod | classmethod | property):
            return True
        if isinstance(value, types.ModuleType):
            return self._follows(value.__name__)
        if isinstance(value, (*_KEEPING, functools.cached_property)) or hasattr(value, "py_func"):
            return True
        return _is_plain(value)

    def _array_stays(self, array: np.ndarray[Any, Any]) -> bool:
        if not array.flags.writeable:
            return True
        self._bytes += array.nbytes
        if self._bytes > MOST_COPIED:
            self._bytes -= array.nbytes
            array.flags.writeable = False
        else:
            self._holders.append(_Array(array, array.copy()))
        return True

    def _walk(self) -> None:
        while self._waiting:
            self._look_into(self._waiting.popleft())

    def _look_into(self, value: Any) -> None:
        """Note all that can change in a thing that stays itself."""
        match value:
            case types.FunctionType():
                self._look_into_function(value)
            case types.CellType():
                self._attributes(value, ("cell_contents",), object)
            case type():
                home = _home(value)
                belongs = is_users(value.__module__) if home is None else self._follows(home)
                if belongs and not issubclass(value, enum.Enum):
                    self._holders.append(_Class(value, _Places.of(self, _Class.entries(value))))
            case types.ModuleType():
                self.number(vars(value))
            case staticmethod() | classmethod():
                self.number(value.__func__)
            case property():
                self._all_stay([value.fget, value.fset, value.fdel])
            case functools.cached_property():
                self.number(value.func)
            case dict():
                self._holders.append(_Dict(value, _Places.of(self, list(value.items()))))
                self._all_stay([*value, getattr(value, "default_factory", None)])
            case list() | collections.deque() | bytearray():
                self._holders.append(_List(value, _Places.of(self, list(enumerate(value)))))
            case set():
                self._holders.append(_Set(value, _Places.of(self, list(enumerate(value)))))
            case np.random.Generator() | np.random.RandomState() | random.Random():
                self._holders.append(reseeded(value))
            case _ if hasattr(value, "py_func") or isinstance(value, _KEEPING):
                self.number(getattr(value, "py_func", None) or value.__wrapped__)
            case _:
                self.number(type(value))
                if hasattr(value, "__dict__"):
                    self.number(vars(value))
                slots = (getattr(base, "__slots__", ()) for base in type(value).__mro__)
                names = [name for some in slots for name in ([some] if isinstance(some, str) else some)]
                self._attributes(value, [name for name in names if name not in ("__dict__", "__weakref__")], object)

    def _look_into_function(self, function: types.FunctionType) -> None:
        home = _home(function)
        if home is not None and not self._follows(home):
            return
        for cell in function.__closure__ or ():
            self.number(cell)
        self._attributes(function, ("__defaults__", "__kwdefaults__"), object)
        self.number(vars(function))
        name = function.__globals__.get("__name__", "")
        module = sys.modules.get(name)
        if module is None or vars(module) is not function.__globals__:
            self.number(function.__globals__)

    def _attributes(self, owner: Any, names: Iterable[str], base: Any) -> None:
        entries = [(name, getattr(owner, name)) for name in names if hasattr(owner, name)]
        self._holders.append(_Attributes(owner, tuple(names), _Places.of(self, entries)))

    # --- copying --------------------------------------------------------------------------------------------------

    def _pickle(self) -> None:
        """Pickle what is copied: one stream, so that what two of them share they share in every copy, too."""
        self._shared: list[object] = []
        self._buffers: list[Any] = []
        file = io.BytesIO()
        pickler = _Pickler(self, file)
        done = 0
        while done < len(self._originals):
            original = self._originals[done]
            if not _can_be_pickled(self, original):
                self._stays[id(original)] = original
            pickler.dump(original)
            self._walk()
            done += 1
        self._content = file.getvalue()

    def shares(self, value: Any) -> bool:
        """Whether a thing in what is copied is not."""
        if id(value) in self._stays:
            return True
        return (isinstance(value, _SHARED) or type(value) in _GENERATORS or _is_plain(value)) and self.number(
            value
        ) is None


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    def __init__(self, snapshot: Snapshot, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5, buffer_callback=self._apart)
        self._snapshot = snapshot
        self._numbers: dict[int, int] = {}

    def persistent_id(self, value: Any) -> int | None:
        if not self._snapshot.shares(value):
            return None
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._snapshot._shared)
            self._snapshot._shared.append(value)
        return self._numbers[id(value)]

    def _apart(self, buffer: pickle.PickleBuffer) -> bool:
        """Whether the bytes of an array go into the pickle: those of large ones are read-only and shared by all copies."""
        memory = buffer.raw()
        if memory.nbytes <= MOST_COPIED // 8:
            return True
        self._snapshot._buffers.append(memory.toreadonly())
        return False


class _Unpickler(pickle.Unpickler):
    shared: list[object]

    def persistent_load(self, number: Any) -> Any:
        return self.shared[number]


def _can_be_pickled(snapshot: Snapshot, value: object) -> bool:
    try:
        _Pickler(snapshot, io.BytesIO()).dump(value)
    except Exception:  # whatever an object raises that cannot be pickled: the answer is no
        return False
    return True


def is_by_value(module: str) -> bool:
    """Whether functions and classes that say they are of this module came with an analysis, and not in the module's file."""
    return module == "__main__" or module not in sys.modules


def is_unchanged(kind: type) -> bool:
    """Whether objects of a class are taken not to change when they are used."""
    return any(f"{base.__module__}.{base.__qualname__}" in _UNCHANGED for base in kind.__mro__)


def _is_plain(value: Any) -> bool:
    """Whether a thing is of a class of the user's whose objects are their attributes, and nothing else."""
    kind = type(value)
    return (
        is_users(kind.__module__)
        and not isinstance(value, _WITH_CONTENT)
        and all(
            getattr(kind, name) is getattr(object, name) for name in ("__reduce_ex__", "__reduce__", "__getstate__")
        )
    )


def _home(thing: types.FunctionType | type) -> str | None:
    """The module in which a function or class is found by its name; None for one that was made in a function."""
    module = sys.modules.get(thing.__module__ or "")
    if module is None:
        return None
    found: Any = module
    for part in thing.__qualname__.split("."):
        found = vars(found).get(part) if isinstance(found, type | types.ModuleType) else None
    return module.__name__ if found is thing else None


# --- what is put back in place ----------------------------------------------------------------------------------------


@dataclass
class _Places:
    """Values by key, some of which are another copy for each call."""

    kept: dict[Any, Any]
    numbers: list[tuple[Any, int]]

    @classmethod
    def of(cls, snapshot: Snapshot, entries: list[tuple[Any, Any]]) -> _Places:
        numbered = [(key, None if key in _MODULES_OWN else snapshot.number(value)) for key, value in entries]
        return cls(dict(entries), [(key, number) for key, number in numbered if number is not None])

    def fill(self, copies: list[Any]) -> None:
        for key, number in self.numbers:
            self.kept[key] = copies[number]


@dataclass
class _Dict:
    target: dict[Any, Any]
    places: _Places

    def restore(self, copies: list[Any], seed: Seed) -> None:
        self.places.fill(copies)
        self.target.clear()
        self.target.update(self.places.kept)


@dataclass
class _List:
    target: Any
    places: _Places

    def restore(self, copies: list[Any], seed: Seed) -> None:
        self.places.fill(copies)
        self.target.clear()
        self.target.extend(self.places.kept.values())


@dataclass
class _Set:
    target: set[Any]
    places: _Places

    def restore(self, copies: list[Any], seed: Seed) -> None:
        self.places.fill(copies)
        self.target.clear()
        self.target.update(self.places.kept.values())


@dataclass
class _Array:
    target: np.ndarray[Any, Any]
    content: np.ndarray[Any, Any]

    def restore(self, copies: list[Any], seed: Seed) -> None:
        np.copyto(self.target, self.content)


@dataclass
class _Attributes:
    """Attributes of an object that are not in its `__dict__`."""

    owner: Any
    names: tuple[str, ...]
    places: _Places

    def restore(self, copies: list[Any], seed: Seed) -> None:
        self.places.fill(copies)
        for name in self.names:
            if name in self.places.kept:
                object.__setattr__(self.owner, name, self.places.kept[name])
            elif hasattr(self.owner, name):
                object.__delattr__(self.owner, name)


@dataclass
class _Class:
    """A class's own attributes."""

    owner: type
    places: _Places
    _found: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def entries(owner: type) -> list[tuple[str, Any]]:
        return [item for item in vars(owner).items() if not item[0].startswith("__") and item[0] != "_abc_impl"]

    def restore(self, copies: list[Any], seed: Seed) -> None:
        self.places.fill(copies)
        now, kept = dict(self.entries(self.owner)), self.places.kept
        for name in now.keys() - kept.keys():
            type.__delattr__(self.owner, name)
        for name, value in kept.items():
            if now.get(name, self) is not value:
                type.__setattr__(self.owner, name, value)
