"""The user's functions as they are compiled: with all that they call, as if each stood alone in a file of its own.

So an edit above a function, or a restarted notebook, keeps the compiled code; messages put the user's file and line back.
"""

from __future__ import annotations

import dis
import hashlib
import linecache
import re
import traceback
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from numba import njit
from numba.core.errors import NumbaError
from numba.core.registry import cpu_target

from ...analysis.analysis import register_source
from ...analysis.fingerprint import fingerprint_of_code, referenced
from ...analysis.kernel_parameters import Given
from ...analysis.notebook_cells import COMPILED
from ...analysis.ownership import is_users
from ...protocol.errors import AnalysisError
from ..slot.modules import as_in_session
from .lookups import frozen
from .whole_sums import SumsTold

_NOT_KEPT = frozenset({"cache", "nopython", "nogil", "parallel", "forceobj", "looplift"})  # of a user's own @njit(...)

# Only compiled code calls these functions: they need no door from Python, which takes a fifth of the time to compile.
_OPTIONS: dict[str, Any] = {
    "boundscheck": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": SumsTold,
}


class OwnCode:
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

    def mentioned(self) -> set[str]:
        """All names and words in the functions, among which are the fields of records that they touch."""
        waiting: list[object] = [
            function.__code__
            for copy in self._copies.values()
            if isinstance(function := getattr(copy, "py_func", None), FunctionType)
        ]
        found: set[str] = set()
        while waiting:
            it = waiting.pop()
            if isinstance(it, CodeType):
                found.update(it.co_names)
                waiting += it.co_consts
            elif isinstance(it, tuple):
                waiting += it
            elif isinstance(it, str):
                found.add(it)
        return found

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
        return frozen(value, self._prepared)

    def _function(self, value: Any, plain: FunctionType) -> Any:
        # The user's module need not be there when another process reads the function back from the cache (see `_loop`).
        names: dict[str, Any] = {"__name__": __name__, "__builtins__": plain.__globals__["__builtins__"]}
        cells = tuple(CellType() for _ in plain.__code__.co_freevars)
        defaults = tuple(
            None if isinstance(it, Given) else it for it in plain.__defaults__ or ()
        )  # the loop gives these
        copy = FunctionType(self._at_first_line(plain), names, plain.__name__, defaults or None, cells)
        copy.__kwdefaults__ = plain.__kwdefaults__
        options = {
            name: option for name, option in getattr(value, "targetoptions", {}).items() if name not in _NOT_KEPT
        }
        # Known before its helpers are prepared, so that functions may call each other in circles.
        compiled = self._copies[id(value)] = njit(**{**options, **_OPTIONS})(copy)
        used = {name: self._prepared(item) for name, item in referenced(plain).items()}
        for name, item in used.items():
            if type(item) in (list, dict, set):
                raise AnalysisError(
                    f"{plain.__name__} uses {name}, a {type(item).__name__} of other things. {_OUTSIDE}"
                )
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


# --- numba's messages ---------------------------------------------------------------------------------------

_HIGHLIGHT = re.compile(r"\x1b\[[0-9;]*m")  # numba's, wherever colorama is installed
_PLACE = re.compile(r'(?:File "|\bat |\bfrom )(<[^">]+>)"?(?:, line | \()(\d+)')
_UNKNOWN = re.compile(r"has no attribute '(\w+)'|name '(\w+)' is not defined")
_REASONS = (
    re.compile(r"- Resolution failure for literal arguments:\n(?:\w*Error: )?(.+)"),
    re.compile(r"raised a specific error:\n\s*(?:\w*Error: )?(.+)"),
)
_OUTSIDE = (
    "From outside, kernels take numbers, words, tuples, lists and arrays of them, and dicts with words or whole numbers as "
    "keys: make what is needed one of these before the kernel is declared"
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
    elif reason.startswith("Untyped global name") or "freevar" in reason:
        reason += f". {_OUTSIDE}"
    elif reason.startswith("No implementation of function") and (signature := _SIGNATURE.search(message)):
        reason = f"there is no {signature[1]} in compiled code"
    for pattern, plainer in _PLAINER:
        reason = pattern.sub(plainer, reason)
    return reason.partition(" Raised from <")[0]
