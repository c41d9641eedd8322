"""Analyses: the user's code, how it is declared, and how it travels to the slots.

A session packs what the user hands over (a kernel, a columnar function or a coffea processor) into an `Analysis`: a
digest and opaque bytes. A slot unpacks it. The user's own modules travel along as files (`analysis.modules`), and so does
the source text of the functions, so that a traceback in a slot shows the user's own lines, those of a notebook too.

Example:
    >>> from hist import Hist
    >>> @kernel(met=Hist.new.Reg(100, 0, 200).Double())
    ... def missing_energy(met, MET_pt):
    ...     met.fill(MET_pt)
    >>> analysis = pack(missing_energy)
    >>> analysis.kind, analysis.branches
    ('kernel', ('MET_pt',))
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import linecache
import operator
import pickle
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any, Literal

import cloudpickle
import numpy as np

from ..protocol.codec import Buffer
from ..protocol.errors import AnalysisError
from ..protocol.version import RELEASE
from .attachments import Attachments, split
from .binning import Binning, is_histogram
from .by_tree import ByTree
from .cutflow import Cutflow
from .edits import warn_of_edits
from .fingerprint import CachedFunction, fingerprint, imported, referenced
from .kernel_names import check_used
from .kernel_parameters import Given, check_known
from .module_values import ModuleValues, turn_to, unpickled, values_of
from .modules import Named, OwnModule, collect, find, loaded, top
from .notebook_cells import call_cells, cells
from .once import Once, renew
from .ownership import is_users
from .pickles import Pickled, Shared, pickling
from .registrations import Behaviors, registered
from .row_output import Output
from .sent_files import Name, collect_files
from .sizes import warn_of_size
from .variations import Varied
from .wrapper import WithSchema, Wrapper

Kind = Literal["kernel", "columnar", "processor"]


class Kernel:
    """A function that is compiled and called once an event; made by the decorator `kernel`.

    `function` is what the user wrote (perhaps compiled with numba already) and `__wrapped__` the plain Python function.
    `outputs` are the histograms and arrays that it fills, by parameter name; `given` the parameters with `em.here` and
    `em.constant(...)` as their defaults; `branches` are its other parameters, in order. Calling a kernel calls the plain
    function, to try it with a histogram and numbers of one's own.
    """

    __wrapped__: Any  # a FunctionType, which a type checker would take for a method
    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[..., None], outputs: dict[str, Any]) -> None:
        plain = getattr(function, "py_func", function)
        functools.update_wrapper(self, plain, updated=())
        self.function = function
        self.outputs = outputs
        parameters = inspect.signature(plain).parameters
        self.parameters = tuple(parameters)
        self.given = {name: it.default for name, it in parameters.items() if isinstance(it.default, Given)}
        self.branches = tuple(name for name in self.parameters if name not in outputs and name not in self.given)

    def __call__(self, *arguments: Any, **named: Any) -> None:
        for argument in (*arguments, *named.values()):
            if isinstance(argument, Cutflow):
                argument.begin_event()
        self.__wrapped__(*arguments, **named)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A kernel that its module has under its name is pickled as functions are: by this name, where that travels."""
        module = sys.modules.get(self.__module__)
        by_value = {"__main__", *cloudpickle.list_registry_pickle_by_value()}
        if module is not None and module.__name__ not in by_value:
            with contextlib.suppress(AttributeError):
                if operator.attrgetter(self.__qualname__)(module) is self:
                    return self.__qualname__
        return super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return f"<kernel {self.__name__}: {', '.join(self.branches)} -> {', '.join(self.outputs)}>"


def kernel(function: None = None, /, **outputs: Any) -> Callable[[Callable[..., None]], Kernel]:
    """Declares a kernel: a function that is compiled and called once an event.

    Keyword arguments name the outputs: empty histograms (of hist or boost-histogram, without growing axes), filled with
    `.fill(x, y, weight=w, sample=s)`, numpy arrays of zeros, changed in place (`counts[0] += 1`) and added up over
    all events, in 64 bits whatever their dtype, cutflows, `Cutflow("all", "two muons")`, with `.passed("all", w)`, and
    rows for files, `Output("skim", {"met": "float32"})`, with `.append(MET_pt)`.

    All other parameters of the function are branches: a number an event, or a one-dimensional array of this event's
    values (a string is one of its UTF-8 bytes), or, for a vector of vectors, `x[i]` is such an array and `len(x)` their
    number. A parameter called like a group of columns, `Muon` or `MET`, has them as fields: `Muon[i].pt`, `MET.pt`; only
    those that are touched are read. What a branch holds in less than 64 bits comes in 64. Arrays of branches cannot be
    written to. Over `em.cycles` there are two instead of branches: `cycle`, a number, and `random`, a numpy Generator.

    Raises AnalysisError when the function cannot be a kernel.

    Example:
        >>> import numpy as np
        >>> from hist import Hist
        >>> @kernel(pt=Hist.new.Reg(100, 0, 200).Double(), seen=np.zeros(1, np.int64))
        ... def muons(pt, seen, Muon_pt):
        ...     seen[0] += 1
        ...     for i in range(len(Muon_pt)):
        ...         pt.fill(Muon_pt[i])
    """

    if function is not None:
        raise AnalysisError(
            f"kernel needs its outputs: write @kernel(mass=Hist.new.Reg(120, 0, 120).Double()) above "
            f"{_described(function)}, with the names and axes of your own"
        )

    def declare(function: Callable[..., None]) -> Kernel:
        plain = getattr(function, "py_func", function)
        if not isinstance(plain, FunctionType):
            raise AnalysisError(f"kernel(...) decorates a function, not {_described(function)}")
        _check_parameters(plain, outputs)
        for name, output in outputs.items():
            _check_output(name, output, plain.__name__)
        return Kernel(function, outputs)

    return declare


@dataclass(frozen=True)
class Analysis:
    """An analysis as it travels: `blob` is opaque to all but slots, `digest` (hexadecimal) names its content.

    `branches` are the branches that a kernel reads; other kinds of analysis read what they touch (None). `attachments` are
    large arrays of it and data files, by their digests: memory of the session's, as it is when they are sent.
    """

    kind: Kind
    name: str
    digest: str
    branches: tuple[str, ...] | None
    blob: bytes
    attachments: Mapping[str, memoryview] = field(default_factory=dict)


def pack(
    thing: object,
    modules: Iterable[Named] = (),
    shared_inputs: Sequence[bytes] = (),
    files: Name | Iterable[Name] = (),
) -> Analysis:
    """Packs the user's analysis for its journey.

    `thing` is a `Kernel`, a coffea processor (an object with `process` and `postprocess`), any callable that takes
    events, and perhaps the file that they come from, or a `Varied` one. The user's own modules (those beside the script)
    go along, as do those that `modules` names. `shared_inputs` is what else the query has pickled, with what it needs of
    such modules; `files` are data files that go along.

    Raises AnalysisError for anything else, for modules that cannot travel, and for what cannot be pickled, naming the
    variable at fault.
    """
    whole = thing.analysis if isinstance(thing, Varied) else thing
    kind, branches = _kind(whole), whole.branches if isinstance(whole, Kernel) else None
    for part in whole.parts.values() if isinstance(whole, ByTree) else [whole]:
        if isinstance(part, Kernel):
            check_used(part.function)
    name = getattr(thing, "__name__", None) or type(thing).__name__
    places = find(modules)
    sent, contents = collect_files(files)
    plain = isinstance(thing, Kernel)
    behaviors = Behaviors() if plain else registered()  # compiled code has no use for them
    attachments = Attachments()
    with pickling(places, attachments) as pickled:
        try:
            payload = pickled((thing, behaviors))
        except Exception as error:
            culprit = _culprit(thing, pickled) or _culprit_of(behaviors, pickled)
            raise AnalysisError(
                f"{name} cannot be sent to the workers: {culprit or 'it'} cannot be pickled ({error}); "
                "create such an object inside the function"
            ) from error
        functions = _users_functions(thing)
        here = loaded(places)
        mentioned = {name for name in here if any(_as_pickled(name) in text for text in (payload, *shared_inputs))}
        own, values, shared = _own(here, places, mentioned.union(*map(imported, functions)), pickled)
        if shared:
            payload = pickled((thing, behaviors), shared)
    names = {module.name for module in own}
    warn_of_edits(here, names, functions)
    digests = [(module.name, module.digest) for module in own] + [(held.module, held.digest) for held in values]
    digests += sorted(sent.items())
    content = fingerprint((kind, RELEASE, _core(thing), digests, *behaviors.content()), names, attachments)
    sources = _sources(function for function in functions if top(function.__module__ or "") not in names)
    parcel = _Parcel(own, values, sources, cells(sources), payload, sent)
    blob = pickle.dumps(parcel, protocol=pickle.HIGHEST_PROTOCOL)
    pickles = [payload, *(content for held in values for content in held.pickled.values())]
    apart = attachments.among({digest for some in pickles for digest in split(some)[0]})
    attributes = {} if plain else getattr(thing, "__dict__", {})
    warn_of_size(len(blob), sum(memory.nbytes for memory in apart.values()), functions, attributes)
    return Analysis(kind, name, content, branches, blob, {**apart, **contents})


def _own(
    here: Sequence[str],
    places: dict[str, Path],
    mentioned: Collection[str],
    pickled: Pickled,
) -> tuple[list[OwnModule], list[ModuleValues], Shared]:
    """The modules that travel, and what those of them hold that are imported `here`, which may need others in turn."""
    while True:
        own = collect(places, mentioned)
        values, shared = values_of(here, {module.name for module in own}, pickled)
        contents = [content for held in values for content in held.pickled.values()]
        more = {name for name in here if any(_as_pickled(name) in content for content in contents)}.difference(
            mentioned
        )
        if not more:
            return own, values, shared
        mentioned = more.union(mentioned)


@dataclass(frozen=True)
class _Parcel:
    """What is in the blob of an analysis."""

    modules: list[OwnModule]
    values: list[ModuleValues]
    sources: dict[str, dict[int, str]]
    cells: dict[str, str]
    payload: bytes
    files: dict[str, str]


def files_of(blob: Buffer) -> dict[str, str]:
    """The digests of the data files that came with an analysis, by name."""
    return _parcel(blob).files


def modules_of(blob: Buffer) -> tuple[list[OwnModule], list[ModuleValues]]:
    """The user's own modules that came with an analysis, and what they hold in the session."""
    parcel = _parcel(blob)
    return parcel.modules, parcel.values


_latest: tuple[Buffer, _Parcel] | None = None


def _parcel(blob: Buffer) -> _Parcel:
    """What is in a blob: taken apart once, however often the analysis is made again from it."""
    global _latest
    if _latest is None or _latest[0] is not blob:
        _latest = blob, pickle.loads(blob)
    return _latest[1]


def unpack(blob: Buffer) -> Any:
    """Makes the kernel, columnar function or processor again, in a slot only: this runs code that came with the blob.

    Its own modules must be where `import` finds them; those that are imported get the values that the session holds, each
    time anew. Raises AnalysisError when something that it imports is not there.
    """
    return unpack_with_behaviors(blob)[0]


def unpack_with_behaviors(blob: Buffer) -> tuple[Any, dict[Any, Any]]:
    """As `unpack`, and what the session had in `awkward.behavior`."""
    parcel = _parcel(blob)
    for file, lines in parcel.sources.items():
        register_source(file, lines)
    call_cells(parcel.cells)
    turn_to(parcel.values)
    try:
        thing, behaviors = unpickled(parcel.payload)
        _renew(parcel)
        renew()
        return thing, behaviors.find()
    except ModuleNotFoundError as error:
        raise AnalysisError(f"the analysis cannot be made again on this worker: {error}; {missing(error)}") from error
    except ImportError as error:
        raise AnalysisError(f"the analysis cannot be made again on this worker: {error}") from error


def _renew(parcel: _Parcel) -> None:
    """Let the modules that came with an analysis be as the session has them, whatever was done in them here."""
    for held in parcel.values:
        if held.module in sys.modules:
            held.apply(sys.modules[held.module])
    names = {module.name for module in parcel.modules}
    for module in [module for name, module in sys.modules.copy().items() if top(name) in names]:
        for value in vars(module).copy().values():
            if isinstance(value, CachedFunction):  # what it remembers is of an earlier query
                value.cache_clear()


def missing(error: ModuleNotFoundError) -> str:
    """What to do about a module that is not on a worker."""
    name = top(error.name or "")
    return (
        f"if {name} is a package to be installed, install it where workers run; if it is your own, send it along: "
        f"session.process(..., modules=[{name!r}])"
    )


def register_source(file: str, lines: dict[int, str]) -> None:
    """Lets tracebacks show these lines (numbered from 1) of a file that need not exist here."""
    known = linecache.cache.get(file)
    text: list[str] = list(known[2]) if known is not None and len(known) == 4 else []
    text += ["\n"] * (max(lines, default=0) - len(text))
    for number, line in lines.items():
        text[number - 1] = line
    linecache.cache[file] = (sum(map(len, text)), None, text, file)


def is_processor(thing: object) -> bool:
    """Whether an analysis is a coffea processor, by what it can do."""
    return callable(getattr(thing, "process", None)) and callable(getattr(thing, "postprocess", None))


def _kind(thing: object) -> Kind:
    if isinstance(thing, ByTree):
        for part in thing.parts.values():
            _kind(part.analysis if isinstance(part, Varied) else part)
        return "columnar"
    if isinstance(thing, Kernel):
        return "kernel"
    if isinstance(thing, WithSchema) and isinstance(thing.inner, Kernel | Varied | ByTree):
        raise AnalysisError(
            f"{thing.__name__} is no plain function of events, or processor, which is what has a schema"
        )
    if is_processor(thing):
        if isinstance(thing, type):
            raise AnalysisError(f"{thing.__name__} is a class: pass a processor made of it, {thing.__name__}(...)")
        return "processor"
    if not callable(thing) or isinstance(thing, type):
        raise AnalysisError(
            f"{_described(thing)} is no analysis: pass a function decorated with kernel(...), a function of events, "
            "or a coffea processor"
        )
    try:
        signature = inspect.signature(thing)
    except ValueError:  # a callable written in C that does not tell its parameters
        return "columnar"
    for arguments in ((None,), (None, None)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return "columnar"
    raise AnalysisError(
        f"{_described(thing)} takes {signature}: a columnar function takes events, and perhaps their file; "
        "a function of branches, called once an event, needs the decorator kernel(output=...)"
    )


def _core(thing: object) -> object:
    """What decides the outcome of an analysis: of a kernel only its function and its outputs."""
    if isinstance(thing, Varied):
        return _core(thing.analysis), list(thing.variations.items())
    if isinstance(thing, ByTree):
        return [(tree, _core(part)) for tree, part in thing.parts.items()]
    if not isinstance(thing, Kernel):
        return thing
    return (thing.function, sorted(thing.outputs.items()), sorted(thing.given.items()))


def _described(thing: object) -> str:
    return getattr(thing, "__name__", None) or f"{thing!r:.60} ({type(thing).__name__})"


def _check_parameters(function: FunctionType, outputs: dict[str, Any]) -> None:
    check_known(function)
    name, parameters = function.__name__, inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise AnalysisError(
                f"{name}: the parameter {parameter} is no branch: a kernel names each of its outputs and branches"
            )
        if isinstance(parameter.default, Given):
            if parameter.name in outputs:
                raise AnalysisError(f"{name}: {parameter.name} is an output, and has a default: {parameter.default!r}")
        elif parameter.default is not parameter.empty:
            raise AnalysisError(
                f"{name}: the parameter {parameter.name} has a default value, but every parameter of a kernel is an "
                f"output or a branch: make it a variable outside the function, or {parameter.name}=em.constant(...)"
            )
    if missing := [output for output in outputs if output not in parameters]:
        raise AnalysisError(
            f"{name} has no parameter {missing[0]} for the output of this name: write def {name}"
            f"({', '.join([*missing, *parameters])})"
        )
    if not outputs:
        raise AnalysisError(
            f"{name} has no output: name at least one, as in kernel(mass=Hist.new.Reg(120, 0, 120).Double())"
        )
    if len(parameters) == len(outputs):
        raise AnalysisError(f"{name} reads no branch: every parameter that is not an output names a branch")


def _check_output(name: str, output: Any, function: str) -> None:
    where = f"{function}: output {name}"
    if is_histogram(output):
        Binning.of(output, where)
        contents = np.asarray(output.view(flow=True))
    elif isinstance(output, Cutflow):
        if not output.is_for_kernels:
            raise AnalysisError(f'{where} names no cuts: for a kernel, write Cutflow("all", "two muons") with its own')
        contents = output.counts
    elif isinstance(output, Output):
        contents = np.array(len(output.rows))
    elif isinstance(output, np.ndarray):
        contents = output
        if output.dtype.kind not in "iufc" or output.dtype.itemsize > (16 if output.dtype.kind == "c" else 8):
            raise AnalysisError(
                f"{where} is an array of {output.dtype}, which cannot be added up: use an array of numbers"
            )
    else:
        raise AnalysisError(
            f"{where} is {_described(output)}: an output is a histogram, a numpy array, a cutflow or rows for files, as "
            "Hist.new.Reg(100, 0, 200).Double(), np.zeros(4), Cutflow('all', 'muons') or Output('skim', {'met': float})"
        )
    if np.any(contents != np.zeros((), contents.dtype)):
        raise AnalysisError(
            f"{where} is not empty: every worker starts from it, so its contents would count many times"
        )


def _culprit(thing: object, pickled: Pickled) -> str | None:
    """The innermost variable that refuses to be pickled, in words."""
    function = _functions_of(thing)
    for plain in function:
        for name, value in referenced(plain).items():
            if value is thing or _pickles(value, pickled):
                continue
            inner = (
                _culprit(value, pickled) if isinstance(value, FunctionType | Kernel) and value not in function else None
            )
            return inner or f"the variable {name} ({type(value).__name__}), which {plain.__name__} uses,"
    for name, value in getattr(thing, "__dict__", {}).copy().items():
        if not isinstance(thing, FunctionType | Kernel) and not _pickles(value, pickled):
            return f"its attribute {name} ({type(value).__name__})"
    return None


def _culprit_of(behaviors: Behaviors, pickled: Pickled) -> str | None:
    """The entry of `awkward.behavior` that refuses to be pickled, in words."""
    bad = (key for key, value in behaviors.entries.items() if not _pickles((key, value), pickled))
    return next((f"awkward.behavior[{key!r}], registered in this session," for key in bad), None)


def _pickles(value: object, pickled: Pickled) -> bool:
    try:
        pickled(value)
    except Exception:  # whatever an object raises that cannot be pickled: the answer is no
        return False
    return True


def _functions_of(thing: Any) -> list[FunctionType]:
    """The functions that make up an analysis, without their helpers."""
    if isinstance(thing, Varied | ByTree):
        return [function for part in thing.functions for function in _functions_of(part)]
    if isinstance(thing, Kernel):
        return [thing.__wrapped__]
    if isinstance(thing, functools.partial):
        return _functions_of(thing.func)
    if isinstance(thing, Wrapper):
        return _functions_of(thing.inner)
    if isinstance(thing, MethodType):
        return _functions_of(thing.__func__)
    if isinstance(thing, CachedFunction | Once):
        return _functions_of(thing.__wrapped__)
    plain = getattr(thing, "py_func", thing)
    if isinstance(plain, FunctionType):
        return [plain]
    if isinstance(thing, ModuleType):
        return [value for value in vars(thing).copy().values() if isinstance(value, FunctionType)]
    own = [base for base in (thing if isinstance(thing, type) else type(thing)).__mro__ if is_users(base.__module__)]
    return [value for base in own for value in vars(base).copy().values() if isinstance(value, FunctionType)]


def _users_functions(thing: object) -> list[FunctionType]:
    """The user's functions that make up an analysis, helpers included."""
    found: dict[int, FunctionType] = {}
    waiting = [thing]
    while waiting:
        for function in _functions_of(waiting.pop()):
            if id(function) not in found and is_users(function.__module__):
                found[id(function)] = function
                waiting += [
                    value for value in referenced(function).values() if callable(value) or isinstance(value, ModuleType)
                ]
    return list(found.values())


def _as_pickled(name: str) -> bytes:
    """What a pickle that refers to a module contains."""
    encoded = name.encode()
    return pickle.SHORT_BINUNICODE + len(encoded).to_bytes(1) + encoded


def _sources(functions: Iterable[FunctionType]) -> dict[str, dict[int, str]]:
    """The source lines of functions, by file and line number."""
    found: dict[str, dict[int, str]] = {}
    for function in functions:
        try:
            lines, first = inspect.getsourcelines(function)
        except (OSError, TypeError):  # typed into an interpreter that keeps no text: there is nothing to send
            continue
        found.setdefault(function.__code__.co_filename, {}).update(enumerate(lines, max(first, 1)))
    return found
