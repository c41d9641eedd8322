"""Kernels: the user's per-event function, compiled into one loop over the columns of a packet.

For each structure of columns (flat, jagged, vectors of vectors, with their types) a loop is written as Python source and
compiled by numba. Slots that share a folder of compiled code (`worker.kernels.code_cache`), and later runs, load the loop
and compile nothing. The user's function and its helpers are
compiled with their bounds checked: an index out of range is an IndexError, not a number from elsewhere in memory.

Their bytecode is compiled as if it stood at the first line of a file of its own, so that an edit above it, or a
restarted notebook, keeps the compiled code. Messages put the user's file and line back.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import linecache
import logging
import re
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.core.errors import NumbaError, UnsupportedBytecodeError
from numba.core.registry import cpu_target
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from ...analysis.analysis import Kernel, register_source
from ...analysis.binning import Binning, is_histogram
from ...analysis.fingerprint import fingerprint_of_code, referenced
from ...analysis.notebook_cells import COMPILED
from ...analysis.ownership import is_users
from ...merge.histograms import FilledHistogram, HistogramTemplate
from ...merge.nodes import widened
from ...protocol.errors import AnalysisError
from ..slot.modules import as_in_session
from ..slot.seeding import Seed
from . import draws as drawing
from . import histogram_fill, inputs, jagged_access, random_streams
from .code_cache import CompiledCode
from .draws import ALL, FEW, GENERATORS, Draws
from .inputs import BLOCK, WIDE, Readable, arguments, in_python, reading, structure
from .numba_internals import number_functions_apart

log = logging.getLogger(__name__)

_NOT_KEPT = frozenset({"cache", "nopython", "nogil", "parallel", "forceobj", "looplift"})  # of a user's own @njit(...)

# Only compiled code calls these functions: they need no door from Python, which takes a fifth of the time to compile.
_OPTIONS: dict[str, Any] = {"boundscheck": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_FROM_PYTHON: dict[str, Any] = {"no_cfunc_wrapper": True}

_COPIED = 1 << 20
"""Bytes of outputs that are copied for each call of a kernel that draws, so that they can be put back."""


class CompiledKernel:
    """A kernel that runs over columns, on this slot, and accumulates its outputs.

    `cache` is the folder for compiled code; it may be shared by processes. Nothing is compiled before the first `run`,
    because only the columns tell the types of the branches. `at`, one int64, is where the loop keeps the index of the entry
    at work: memory that another process may look at too.

    Example:
        >>> import tempfile
        >>> from hist import Hist
        >>> from eventmill import kernel
        >>> from eventmill.reading.columns import Flat
        >>> @kernel(met=Hist.new.Reg(100, 0, 200).Double())
        ... def missing_energy(met, MET_pt):
        ...     met.fill(MET_pt)
        >>> compiled = CompiledKernel(missing_energy, Path(tempfile.mkdtemp()))
        >>> compiled.run({"MET_pt": Flat(np.array([20.0, 30.0]))}, first_entry=0)
        >>> outputs, entries = compiled.take()
        >>> float(outputs["met"].array.sum()), entries
        (2.0, 2)
    """

    def __init__(self, kernel: Kernel, cache: Path, at: NDArray[np.int64] | None = None) -> None:
        self.branches = kernel.branches
        self.compiled = self.loaded = 0  # loops that this object compiled, and that it found in the cache
        self._kernel, self._code = kernel, CompiledCode(cache)
        self._entry, self._first_entry = np.full(1, -1, np.int64) if at is None else at, 0
        self._numbers: NDArray[np.int64] | None = None
        self._pass: tuple[_Loop, dict[str, list[Any]]] | None = None
        self._loops: dict[tuple[str, ...], _Loop] = {}
        self._outputs: dict[str, Any] = {}
        self.store_in(self.new_store())

    def new_store(self) -> tuple[dict[str, Any], NDArray[np.int64]]:
        """Empty outputs, and a count of no entries, for `store_in`."""
        outputs = self._kernel.outputs
        return {name: _output(name, outputs[name]) for name in self._kernel.parameters if name in outputs}, np.zeros(
            1, np.int64
        )

    def store_in(self, store: tuple[dict[str, Any], NDArray[np.int64]]) -> None:
        """Accumulate in these outputs and this count from now on: what `take` takes is theirs."""
        self._outputs, self._counted = store

    @functools.cached_property
    def _own(self) -> _OwnCode:
        return _OwnCode(self._kernel.function)

    @property
    def current_index(self) -> int | None:
        """Which of the columns' entries was being processed when an exception came out of `run`; None before the first."""
        index = int(self._entry[0])
        return index if index >= 0 else None

    @property
    def current_entry(self) -> int | None:
        """As `current_index`, but the entry's number, as given to `run`."""
        index = self.current_index
        if index is None:
            return None
        return self._first_entry + index if self._numbers is None else int(self._numbers[index])

    def forget(self) -> None:
        """The last run is over: what goes wrong before the next one is about none of its entries."""
        self._entry[0], self._pass = -1, None

    def run(
        self,
        columns: Mapping[str, Readable],
        first_entry: int,
        numbers: NDArray[np.int64] | None = None,
        seed: Seed = Seed(0),  # noqa: B008 - it cannot be changed
    ) -> None:
        """Calls the user's function for every entry of the columns (all of one length), without the GIL.

        The outputs accumulate. After an exception they hold part of the columns too: `take` them, and throw them away.
        `numbers` are those of the entries where they do not follow each other; the `seed` of their file decides, with
        them, the random numbers that each draws.

        Raises AnalysisError if the function does not compile for these columns, and what the function itself raises,
        with a note of the entry and the user's line.
        """
        self._first_entry, self._numbers, self._entry[0] = first_entry, numbers, -1
        chosen = [columns[name] for name in self.branches]
        entries = len(chosen[0])
        if any(len(column) != entries for column in chosen):
            raise ValueError(f"columns of different lengths: {[len(column) for column in chosen]}")
        structures = tuple(structure(name, column) for name, column in zip(self.branches, chosen, strict=True))
        loop = self._loops.get(structures)
        if loop is None:
            loop = self._loops[structures] = self._loop(dict(zip(self.branches, structures, strict=True)))
        self._pass = loop, {name: arguments(column) for name, column in zip(self.branches, chosen, strict=True)}
        if loop.draws is not None:
            loop.draws.turn_to(seed, first_entry, numbers)
        try:
            self.run_again(0, entries)
        except Exception as error:
            # Numba tells the line of a raise statement only; that of an index out of range Python can find.
            line = self._own.line_of(error) or self._line_in_python(columns, int(self._entry[0]))
            where = f"in entry {self.current_entry}, kernel {self._kernel.__name__}"
            error.add_note(f"{where}, {line}" if line else where)
            raise

    def run_again(self, start: int, stop: int) -> None:
        """As `run`, over the columns of the last one, from index `start` to before `stop`; `current_index` counts from
        there. What the function raises comes without a note, which takes far longer than raising.
        """
        if self._pass is None:
            raise ValueError("there was no run before")
        loop, columns = self._pass
        draws = loop.draws
        if draws is None or draws.words == ALL:
            self._call(loop, columns, start, stop)
            return
        before = [output.arrays[0].copy() for output in self._outputs.values()]
        counted = int(self._counted[0])
        try:
            self._call(loop, columns, start, stop)
        except Exception:  # anything the user's function may raise
            if not draws.are_used_up():
                raise
        if draws.are_used_up():  # what the loop has done is of numbers that are not the entries' own
            draws.fill_all()
            self._counted[0] = counted
            for output, cells in zip(self._outputs.values(), before, strict=True):
                output.arrays[0] = cells
            self._call(loop, columns, start, stop)

    def _call(self, loop: _Loop, columns: dict[str, list[Any]], start: int, stop: int) -> None:
        self._entry[0] = -1
        arrays = [
            array
            for name in self._kernel.parameters
            for array in (self._outputs[name].arrays if name in self._outputs else columns[name])
        ]
        own = () if loop.draws is None else loop.draws.arguments
        try:
            loop.compiled(start, stop, self._entry, self._counted, *own, *arrays)
        except BaseException:
            # The loop ends without having written its count down: of the entries before this one the calls had returned.
            self._counted[0] += max(0, int(self._entry[0]))
            raise

    def take(self) -> tuple[dict[str, object], int]:
        """The outputs accumulated since the last `take`, by name, in the order of the parameters, and how many entries the
        loop has counted in them; then zeros again.

        Histograms come as `FilledHistogram`, arrays as arrays. What is returned does not change later.
        """
        entries = int(self._counted[0])
        self._counted[0] = 0
        return {name: output.take() for name, output in self._outputs.items()}, entries

    def _line_in_python(self, columns: Mapping[str, Readable], index: int) -> str | None:
        """The user's line where the plain Python function fails for this event; its outputs are thrown away."""
        values: dict[str, Any] = {name: output.in_python() for name, output in self._outputs.items()}
        values |= {name: in_python(columns[name], index) for name in self.branches}
        try:
            with np.errstate(divide="raise", over="ignore", invalid="ignore"):
                self._kernel(*(values[name] for name in self._kernel.parameters))
        except Exception as error:  # anything the user's function may raise
            return self._own.line_of(error)
        return None

    def _loop(self, structures: dict[str, str]) -> _Loop:
        """Compiles the loop for columns of this structure, or loads it."""
        began = time.monotonic()
        loop, compiled, drawn = self._ready(*self._source(structures, draws=False))
        draws = None
        if drawn:
            size = sum(output.arrays[0].nbytes for output in self._outputs.values())
            draws = Draws(drawn, FEW if size < _COPIED else ALL)
            loop, compiled, _ = self._ready(*self._source(structures, draws=True))
        if compiled:
            log.info("compiled the kernel %s in %.2f s", self._kernel.__name__, time.monotonic() - began)
        self.loaded, self.compiled = self.loaded + (not compiled), self.compiled + compiled
        return _Loop(loop, draws)

    def _ready(self, source: str, argument_types: tuple[types.Type, ...]) -> tuple[Callable[..., None], bool, set[str]]:
        """The loop of this source, whether it was compiled now, and which generators of random numbers it draws from."""
        place = "<the loop of a kernel>"
        names = {name: getattr(histogram_fill, name) for name in ("bins", "fillable", "nothing")}
        names |= {name: getattr(jagged_access, name) for name in ("nested", "widened", "window")}
        names |= {name: getattr(drawing, name) for name in ("begun", "used_up")}
        names |= {"restarted": random_streams.restarted, **{wide: getattr(np, wide) for wide in WIDE.values()}}
        # Numba looks for the module of this name when it reads the function back.
        names |= {"function": self._own.function, "__name__": __name__}
        exec(compile(source, place, "exec"), names)  # noqa: S102  (written above, by this class)
        number_functions_apart()
        loop: Any = njit(nogil=True, **_FROM_PYTHON)(names["loop"])
        key = hashlib.sha256("\n".join([_own_sources(), self._own.content, source, str(argument_types)]).encode())
        try:
            compiled, drawn = self._code.provide(loop, argument_types, key.hexdigest(), GENERATORS)
        except (NumbaError, UnsupportedBytecodeError) as error:
            raise AnalysisError(self._own.explained(str(error), self._kernel.__name__)) from None
        except Exception as error:  # numba lets some errors through as they came, such as that of np.no_such_function
            raise AnalysisError(self._own.explained(str(error), self._kernel.__name__)) from error
        loop.disable_compile()  # so that numba casts arrays that can be written to, instead of compiling for them too
        return loop, compiled, drawn

    def _source(self, structures: dict[str, str], draws: bool) -> tuple[str, tuple[types.Type, ...]]:
        """The loop in Python, and the types of its arguments; one that begins the random numbers of each entry, or not."""
        parameters, prologue, widened, calls = (
            ["start", "stop", "entry", "counted"],
            list[str](),
            list[str](),
            list[str](),
        )
        one = types.Array(types.int64, 1, "C")
        argument_types: list[types.Type] = [types.intp, types.intp, one, one]
        if draws:
            parameters += [f"{name}_" for name in Draws.NAMES]
            argument_types += Draws.TYPES
            prologue += [f"{name} = window({name}_, 0, len({name}_))" for name in Draws.NAMES]  # counts no references
        for number, name in enumerate(self._kernel.parameters):
            if name in self._outputs:
                lines, call, kinds = self._outputs[name].source(f"p{number}")
                prologue += lines
            else:
                lines, call, kinds = reading(f"p{number}", structures[name])
                widened += lines
            calls.append(call)
            parameters += [f"p{number}_{position}" for position in range(len(kinds))]
            argument_types += kinds
        steps = ["entry[0] = i - start", f"nothing(function({', '.join(calls)}))"]
        if draws:
            steps.insert(1, f"begun({', '.join(Draws.NAMES)}, i)")
            steps += [f"if used_up({', '.join(Draws.NAMES[:3])}):", "    return"]
        # Counted are the entries of each block whose calls have returned: one by one would take up to a nanosecond an entry.
        entries = ["for i in range(first, last):", *[f"    {step}" for step in steps]]
        entries += ["n += last - first", "first = last"]
        block = [f"last = min((first // {BLOCK} + 1) * {BLOCK}, stop)", *widened, *entries]
        body = [*prologue, "n = 0", "first = start", "while first < stop:", *[f"    {line}" for line in block]]
        body += ["counted[0] += n"]
        text = f'"""Written by eventmill: the loop of the kernel {self._kernel.__name__} over its entries."""\n\n\n'
        text += f"def loop({', '.join(parameters)}):\n" + "".join(f"    {line}\n" for line in body)
        return text, tuple(argument_types)


class _Loop(NamedTuple):
    """The compiled loop, and the random numbers that it draws, if it does."""

    compiled: Callable[..., None]
    draws: Draws | None


def warm() -> None:
    """Make numba ready in this process: its registries of types and functions are built by the first compilation.

    A process forked from this one then loads a cached kernel in milliseconds. Compiling a typical kernel here would make
    the first new kernel of each slot 0.4 s faster, and every start 0.7 s slower. Starts no thread.
    """
    import numpy.ma  # noqa: F401  (numba asks whether the first array that it sees is of this kind)

    njit((types.float64[::1],))(_first)


def _first(values: NDArray[np.float64]) -> float:
    return float(values[0] + 1.0)


# --- outputs ------------------------------------------------------------------------------------------------


class _FilledOutput:
    """A histogram that a kernel fills: its cells, and its binning for the loop."""

    def __init__(self, name: str, histogram: Any) -> None:
        self._binning = Binning.of(histogram, f"output {name}")
        self._template = HistogramTemplate(histogram)
        self.arrays = [self._binning.empty_cells(), *histogram_fill.bin_numbers(self._binning)]

    def take(self) -> FilledHistogram:
        cells, self.arrays[0] = self.arrays[0], self._binning.empty_cells()
        return FilledHistogram(self._template, self._binning.view(cells), variance_known=not cells[-1])

    def in_python(self) -> object:
        return _Unfilled()

    def source(self, name: str) -> tuple[list[str], str, list[types.Type]]:
        axes = "".join(f"bins({name}_1, {name}_2, {axis}), " for axis in range(len(self._binning.axes)))
        line = f"{name} = fillable({histogram_fill.describe(self._binning)!r}, {name}_0, ({axes}))"
        return [line], name, [_array_type(array) for array in self.arrays]


class _SummedOutput:
    """A numpy array that a kernel changes in place: in 64 bits, as sums are kept wherever they go from here."""

    def __init__(self, template: NDArray[Any]) -> None:
        self.arrays = [np.zeros(template.shape, widened(template.dtype))]

    def take(self) -> NDArray[Any]:
        array, self.arrays[0] = self.arrays[0], np.zeros_like(self.arrays[0])
        return array

    def in_python(self) -> object:
        return np.zeros_like(self.arrays[0])

    def source(self, name: str) -> tuple[list[str], str, list[types.Type]]:
        return [], f"{name}_0", [_array_type(self.arrays[0])]


class _Unfilled:
    """A histogram that forgets what is filled."""

    def fill(self, *values: object, **named: object) -> None:
        pass


def _output(name: str, output: Any) -> _FilledOutput | _SummedOutput:
    return _FilledOutput(name, output) if is_histogram(output) else _SummedOutput(output)


def _array_type(array: NDArray[Any]) -> types.Array:
    return types.Array(from_dtype(array.dtype), array.ndim, "C")


# --- the user's functions -----------------------------------------------------------------------------------


class _OwnCode:
    """The user's function and all of the user's functions that it calls, ready for numba.

    `function` is the compiled function; `content` names what decides its machine code and its line numbers.
    """

    def __init__(self, function: Any) -> None:
        self._copies: dict[int, Any] = {}
        self._alive: list[object] = []  # identities stay taken as long as they are keys
        self._places: dict[
            str, tuple[str, int]
        ] = {}  # the name under which code is compiled -> the user's file, first line
        self._lines: list[bytes] = []
        self.function = self._prepared(function)
        self.content = hashlib.sha256(b"".join([fingerprint_of_code(function).encode(), *self._lines])).hexdigest()

    def line_of(self, error: BaseException) -> str | None:
        """Where in the user's code an exception came from, as `dimuon.py:12: x = 1 / n`; None if it does not tell."""
        found, files = None, {file for file, _ in self._places.values()}
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename in self._places:
                found = self._place(frame.filename, frame.lineno or 1)
            elif frame.filename in files:
                found = _shown(frame.filename, frame.lineno or 1, frame.line or "")
        return found

    def explained(self, message: str, kernel: str) -> str:
        """Numba's message in short, with the user's file, line and source line."""
        message = _HIGHLIGHT.sub("", message)
        found = [(name, int(line)) for name, line in _PLACE.findall(message) if name in self._places]
        places = [self._place(name, line) for name, line in found or self._lines_with(message)]
        return f"the kernel {kernel} does not compile: {_reason(message)}" + (f"\n  {places[0]}" if places else "")

    def _lines_with(self, message: str) -> list[tuple[str, int]]:
        """Where the user's code has the name that a message is about, which does not say where."""
        names = [name for match in _UNKNOWN.findall(message) for name in match if name]
        codes = [copy.py_func.__code__ for copy in self._copies.values() if hasattr(copy, "py_func")]
        return [
            (code.co_filename, instruction.positions.lineno)
            for code in codes
            for instruction in dis.get_instructions(code)
            if instruction.argval in names and instruction.positions and instruction.positions.lineno
        ]

    def _place(self, name: str, line: int) -> str:
        file, first = self._places[name]
        return _shown(file, first + line - 1, linecache.getline(name, line).strip())

    def _prepared(self, value: Any) -> Any:
        """A function or module of the user, with everything in it compiled; anything else as it is."""
        if id(value) in self._copies:
            return self._copies[id(value)]
        plain = getattr(value, "py_func", value)
        if isinstance(plain, FunctionType) and (plain is not value or not _known_to_numba(value)):
            if plain is not value and not is_users(plain.__module__):
                return value
            self._alive.append(value)
            return self._function(value, plain)
        if isinstance(value, ModuleType) and is_users(value.__name__):
            self._alive.append(value)
            copy = self._copies[id(value)] = ModuleType(value.__name__)
            vars(copy).update({name: self._prepared(item) for name, item in vars(value).items()})
            return copy
        return value

    def _function(self, value: Any, plain: FunctionType) -> Any:
        # The user's module need not be there when another process reads the function back from the cache (see `_loop`).
        names: dict[str, Any] = {"__name__": __name__, "__builtins__": plain.__globals__["__builtins__"]}
        cells = tuple(CellType() for _ in plain.__code__.co_freevars)
        copy = FunctionType(self._at_first_line(plain), names, plain.__name__, plain.__defaults__, cells)
        copy.__kwdefaults__ = plain.__kwdefaults__
        options = {
            name: option for name, option in getattr(value, "targetoptions", {}).items() if name not in _NOT_KEPT
        }
        # Known before its helpers are prepared, so that functions may call each other in circles.
        compiled = self._copies[id(value)] = njit(**{**options, **_OPTIONS})(copy)
        used = {name: self._prepared(item) for name, item in referenced(plain).items()}
        for name, cell in zip(plain.__code__.co_freevars, cells, strict=True):
            if name in used:
                cell.cell_contents = used.pop(name)
        names.update(used)
        return compiled

    def _at_first_line(self, function: FunctionType) -> CodeType:
        """The function's code, as if it were alone in a file named after it, whose lines tracebacks can show."""
        code = function.__code__
        place = (code.co_filename, code.co_firstlineno)
        name = re.sub("[<>]", "", f"{function.__module__}.{function.__qualname__}")
        taken = self._places.get(f"{COMPILED}{name}>", place) != place
        name = f"{COMPILED}{name} {len(self._places)}>" if taken else f"{COMPILED}{name}>"
        self._places[name] = place
        text = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
        register_source(name, dict(enumerate(text, 1)))
        return self._moved(code, name, 1 - code.co_firstlineno)

    def _moved(self, code: CodeType, name: str, by: int) -> CodeType:
        self._lines.append(code.co_linetable)
        constants = tuple(
            self._moved(constant, name, by) if isinstance(constant, CodeType) else constant
            for constant in code.co_consts
        )
        return code.replace(co_filename=name, co_firstlineno=code.co_firstlineno + by, co_consts=constants)


def _shown(file: str, line: int, text: str) -> str:
    """A line of the user's; of what was typed into Python itself there is no text."""
    return as_in_session(f"{file}:{line}: {text}" if text else f"{file}:{line}")


def _known_to_numba(value: object) -> bool:
    try:
        cpu_target.typing_context.resolve_value_type(value)
    except (ValueError, NumbaError):  # numba's way of saying that it has no type for it
        return False
    return True


# --- what machine code depends on ---------------------------------------------------------------------------


@functools.cache
def _own_sources() -> str:
    """Changes with everything of ours that goes into the machine code of every kernel."""
    modules = (drawing, histogram_fill, inputs, random_streams, jagged_access)
    files = (__file__, *map(inspect.getfile, modules))
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()


# --- numba's messages ---------------------------------------------------------------------------------------

_HIGHLIGHT = re.compile(r"\x1b\[[0-9;]*m")  # numba's, wherever colorama is installed
_PLACE = re.compile(r'(?:File "|\bat |\bfrom )(<[^">]+>)"?(?:, line | \()(\d+)')
_UNKNOWN = re.compile(r"has no attribute '(\w+)'|name '(\w+)' is not defined")
_REASONS = (
    re.compile(r"- Resolution failure for literal arguments:\n(?:\w*Error: )?(.+)"),
    re.compile(r"raised a specific error:\n\s*(?:\w*Error: )?(.+)"),
)
_SIGNATURE = re.compile(r">>> (.+)")
_PLAINER = (
    (re.compile(r"(?:readonly )?array\((\w+), (\d)d, \w\)"), r"array(\1, \2d)"),
    (re.compile(r"Literal\[str\]\(([^)]*)\)"), r"'\1'"),
    (re.compile(r"Literal\[\w+\]\(([^)]*)\)"), r"\1"),
    (re.compile(r"Histogram\(\{.*?\}\)"), "Histogram"),
    (re.compile(r"unicode_type"), "str"),
)


def _reason(message: str) -> str:
    """The line of numba's message that says what is wrong; the rest tells what numba tried."""
    lines = [line for line in message.splitlines() if line.strip() and not line.startswith("Failed in nopython mode")]
    reason = lines[0].strip() if lines else message
    if match := next((match for pattern in _REASONS if (match := pattern.search(message))), None):
        reason = match[1].strip()
    elif reason.startswith("No implementation of function") and (signature := _SIGNATURE.search(message)):
        reason = f"there is no {signature[1]} in compiled code"
    for pattern, plainer in _PLAINER:
        reason = pattern.sub(plainer, reason)
    return reason.partition(" Raised from <")[0]
