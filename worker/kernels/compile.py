"""Kernels: the user's per-event function, compiled into one loop over the columns of a packet.

For each structure of columns (flat, jagged, vectors of vectors, with their types) a loop is written as Python source and
compiled by numba. Slots that share a folder of compiled code (`worker.kernels.code_cache`), and later runs, load the loop
and compile nothing. The user's function and its helpers are
compiled with their bounds checked: an index out of range is an IndexError, not a number from elsewhere in memory.

"""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.core.errors import NumbaError, UnsupportedBytecodeError
from numpy.typing import NDArray

from ...analysis.analysis import Kernel
from ...protocol.errors import AnalysisError
from ...protocol.foreign import add_note
from ..slot.seeding import Seed
from . import (
    correction_access,
    cutflow_fill,
    functions,
    given,
    here_access,
    histogram_fill,
    inputs,
    jagged_access,
    lanes,
    lookups,
    momenta,
    own_code,
    parameters,
    random_streams,
    record_access,
    record_unions,
    row_append,
    whole_sums,
    words,
)  # fmt: skip
from . import draws as drawing
from .code_cache import CompiledCode
from .draws import ALL, FEW, GENERATORS, Draws
from .inputs import BLOCK, WIDE, Readable
from .kernel_parameters import KernelParameters, hear
from .numba_internals import linear_algebra_unloaded, number_functions_apart
from .outputs import Store
from .own_code import OwnCode
from .parameters import Read

log = logging.getLogger(__name__)

# The loop needs a door from Python only.
_FROM_PYTHON: dict[str, Any] = {"no_cfunc_wrapper": True}

_COPIED = 1 << 20
"""Bytes of outputs that are copied for each call of a kernel that draws, so that they can be put back."""


class CompiledKernel:
    """A kernel that runs over columns, on this slot, and accumulates its outputs.

    `cache` is the folder for compiled code; it may be shared by processes. Nothing is compiled before the first `run`,
    because only the columns tell the types of the branches. `at`, one int64, is where the loop keeps the index of the entry
    at work: memory that another process may look at too. The branches `weights` come as `lanes.Lanes` of this `width`.
    `store` is where the outputs accumulate; another `Store` may be put in its place.

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

    def __init__(
        self,
        kernel: Kernel,
        cache: Path,
        at: NDArray[np.int64] | None = None,
        weights: Collection[str] = (),
        width: int = 0,
    ) -> None:
        self._kernel, self._code = kernel, CompiledCode(cache)
        self.parameters = KernelParameters(kernel, self._own.content, weights)
        self.compiled = self.loaded = 0  # loops that this object compiled, and that it found in the cache
        self._entry, self._first_entry = np.full(1, -1, np.int64) if at is None else at, 0
        self._numbers: NDArray[np.int64] | None = None
        self._pass: tuple[_Loop, dict[str, list[Any]]] | None = None
        self._loops: dict[tuple[str, ...], _Loop] = {}
        self.store = Store(kernel, width)

    @functools.cached_property
    def _own(self) -> OwnCode:
        return OwnCode(self._kernel.function)

    @property
    def branches(self) -> tuple[str, ...]:
        """The columns that it reads, as far as they are known: those of collections are when it is compiled."""
        return self.parameters.columns

    def prepare(self, read: Read) -> None:
        """Compile for the columns of a file, or load what was compiled before; then `branches` are known.

        Raises AnalysisError if the function does not compile, and what reading raises.
        """
        its = self.parameters

        def signed(names: Sequence[str]) -> Mapping[str, Readable]:
            return self._signed(read(names))

        if its.is_ready:
            self._loop_of(its.structures(signed(its.columns)))
            return
        key = f"{_own_sources()} {self._own.content} fields"
        its.expect(self._code.recall(key))
        for it in its.open_ended:
            it.offer(self._own.mentioned() | record_access.offered.get(it.tag, set()), signed)
        attempts = 0
        while not its.is_ready:
            attempts += 1
            columns = signed(its.columns)
            try:
                loop = self._loop(its.structures(columns))
            except AnalysisError:
                asked = [it.offer_wanted(signed) for it in its.open_ended]
                if not any(asked):
                    raise
                continue
            its.have_touched()
            self._loops[tuple(its.structures(columns).values())] = loop
            if attempts > 1:
                self._code.remember(key, its.expected())

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
        entries: int = 0,
    ) -> None:
        """Calls the user's function for every entry of the columns (all of one length), without the GIL; where there are
        none, for so many `entries`.

        The outputs accumulate. After an exception they hold part of the columns too: `take` them, and throw them away.
        `numbers` are those of the entries where they do not follow each other; the `seed` of their file decides, with
        them, the random numbers that each draws.

        Raises AnalysisError if the function does not compile for these columns, and what the function itself raises,
        with a note of the entry and the user's line.
        """
        self._first_entry, self._numbers, self._entry[0] = first_entry, numbers, -1
        chosen = [columns[name] for name in self.branches]
        entries = len(chosen[0]) if chosen else entries
        if any(len(column) != entries for column in chosen):
            raise ValueError(f"columns of different lengths: {[len(column) for column in chosen]}")
        self.parameters.begin(first_entry, numbers)
        columns = self._signed(columns)
        loop = self._loop_of(self.parameters.structures(columns))
        self._pass = loop, self.parameters.arguments(columns, loop.structures)
        if loop.draws is not None:
            loop.draws.turn_to(seed, first_entry, numbers)
        try:
            self.run_again(0, entries)
        except Exception as error:
            # Numba tells the line of a raise statement only; that of an index out of range Python can find.
            line = self._own.line_of(error) or self._line_in_python(columns, int(self._entry[0]))
            where = f"in entry {self.current_entry}, kernel {self._kernel.__name__}"
            add_note(error, f"{where}, {line}" if line else where)
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
        before = self.store.mark()
        try:
            self._call(loop, columns, start, stop)
        except Exception:  # anything the user's function may raise
            if not draws.are_used_up():
                raise
        if draws.are_used_up():  # what the loop has done is of numbers that are not the entries' own
            draws.fill_all()
            self.store.put_back(before)
            self._call(loop, columns, start, stop)

    @functools.cached_property
    def _keeps_unsigned(self) -> bool:
        """Whether the user's code knows of unsigned numbers of 64 bits."""
        return "uint64" in self._own.mentioned()

    def _signed(self, columns: Mapping[str, Readable]) -> Mapping[str, Readable]:
        if self._keeps_unsigned:
            return columns
        return {name: inputs.signed(name, column, 0, len(column)) for name, column in columns.items()}

    def _call(self, loop: _Loop, columns: dict[str, list[Any]], start: int, stop: int) -> None:
        self._entry[0] = -1
        arrays = [
            array
            for name in self._kernel.parameters
            for array in (self.store.outputs[name].arrays if name in self.store.outputs else columns[name])
        ]
        own = () if loop.draws is None else loop.draws.arguments
        try:
            loop.compiled(start, stop, self._entry, self.store.counted, *own, *arrays)
        except BaseException:
            # The loop ends without having written its count down: of the entries before this one the calls had returned.
            self.store.counted[0] += max(0, int(self._entry[0]))
            raise

    def take(self) -> tuple[dict[str, object], int]:
        """What the runs since the last `take` have left in its store, and how many entries; see `Store.take`."""
        return self.store.take()

    def _line_in_python(self, columns: Mapping[str, Readable], index: int) -> str | None:
        """The user's line where the plain Python function fails for this event; its outputs are thrown away."""
        values: dict[str, Any] = {name: output.in_python() for name, output in self.store.outputs.items()}
        values |= self.parameters.in_python(columns, index)
        try:
            with np.errstate(divide="raise", over="ignore", invalid="ignore"):
                self._kernel(*(values[name] for name in self._kernel.parameters))
        except Exception as error:  # anything the user's function may raise
            return self._own.line_of(error)
        return None

    def _loop_of(self, structures: dict[str, str]) -> _Loop:
        loop = self._loops.get(tuple(structures.values()))
        if loop is None:
            loop = self._loops[tuple(structures.values())] = self._loop(structures)
        return loop

    def _loop(self, structures: dict[str, str]) -> _Loop:
        """Compiles the loop for columns of this structure, or loads it."""
        began = time.monotonic()
        loop, compiled, drawn = self._ready(*self._source(structures, draws=False))
        draws = None
        if drawn:
            size = sum(output.arrays[0].nbytes for output in self.store.outputs.values())
            draws = Draws(drawn, FEW if size < _COPIED else ALL)
            loop, compiled, _ = self._ready(*self._source(structures, draws=True))
        if compiled:
            log.info("compiled the kernel %s in %.2f s", self._kernel.__name__, time.monotonic() - began)
        self.loaded, self.compiled = self.loaded + (not compiled), self.compiled + compiled
        return _Loop(loop, draws, structures)

    def _ready(self, source: str, argument_types: tuple[types.Type, ...]) -> tuple[Callable[..., None], bool, set[str]]:
        """The loop of this source, whether it was compiled now, and which generators of random numbers it draws from."""
        place = "<the loop of a kernel>"
        names = {name: getattr(histogram_fill, name) for name in ("bins", "fillable", "nothing")}
        names |= {name: getattr(cutflow_fill, name) for name in ("passable", "event_begun", "event_ended")}
        names |= {name: getattr(jagged_access, name) for name in ("nested", "widened", "window")}
        names |= {name: getattr(lanes, name) for name in ("lanes_at", "lanes_beside")}
        names |= {name: getattr(record_access, name) for name in ("collection", "record")}
        names |= {"place": here_access.place, "tabled": correction_access.tabled}
        names |= {name: getattr(drawing, name) for name in ("begun", "used_up")}
        names |= {"appendable": row_append.appendable}
        names |= {"restarted": random_streams.restarted, **{wide: getattr(np, wide) for wide in WIDE.values()}}
        # Numba looks for the module of this name when it reads the function back.
        names |= {"function": self._own.function, "__name__": __name__}
        exec(compile(source, place, "exec"), names)  # noqa: S102  (written above, by this class)
        number_functions_apart()
        loop: Any = njit(nogil=True, **_FROM_PYTHON)(names["loop"])
        key = hashlib.sha256("\n".join([_own_sources(), self._own.content, source, str(argument_types)]).encode())
        try:
            compiled, drawn, told = self._code.provide(
                loop, argument_types, key.hexdigest(), GENERATORS, self.parameters.told
            )
        except (NumbaError, UnsupportedBytecodeError) as error:
            raise AnalysisError(self._own.explained(str(error), self._kernel.__name__)) from None
        except AnalysisError:
            raise
        except Exception as error:  # numba lets some errors through as they came, such as that of np.no_such_function
            raise AnalysisError(self._own.explained(str(error), self._kernel.__name__)) from error
        hear(told)
        loop.disable_compile()  # so that numba casts arrays that can be written to, instead of compiling for them too
        return loop, compiled, drawn

    def _source(self, structures: dict[str, str], draws: bool) -> tuple[str, tuple[types.Type, ...]]:
        """The loop in Python, and the types of its arguments; one that begins the random numbers of each entry, or not."""
        parameters = ["start", "stop", "entry", "counted"]
        prologue, widened, calls, after = list[str](), list[str](), list[str](), list[str]()
        one = types.Array(types.int64, 1, "C")
        argument_types: list[types.Type] = [types.intp, types.intp, one, one]
        if draws:
            parameters += [f"{name}_" for name in Draws.NAMES]
            argument_types += Draws.TYPES
            prologue += [f"{name} = window({name}_, 0, len({name}_))" for name in Draws.NAMES]  # counts no references
        for number, name in enumerate(self._kernel.parameters):
            if name in self.store.outputs:
                lines, call, kinds = self.store.outputs[name].source(f"p{number}")
                prologue += lines
                after += self.store.outputs[name].after(f"p{number}")
            else:
                lines, call, kinds = self.parameters.by_name[name].source(f"p{number}", structures[name])
                widened += lines
            calls.append(call)
            parameters += [f"p{number}_{position}" for position in range(len(kinds))]
            argument_types += kinds
        steps = ["entry[0] = i - start", f"nothing(function({', '.join(calls)}))", *after]
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
    """The compiled loop, the random numbers that it draws, if it does, and the structures that it was made for."""

    compiled: Callable[..., None]
    draws: Draws | None
    structures: dict[str, str]


def warm() -> None:
    """Make numba ready in this process: its registries of types and functions are built by the first compilation.

    A process forked from this one then loads a cached kernel in milliseconds. Compiling a typical kernel here would make
    the first new kernel of each slot 0.4 s faster, and every start 0.7 s slower. Starts no thread.
    """
    import numpy.ma  # noqa: F401  (numba asks whether the first array that it sees is of this kind)

    with linear_algebra_unloaded():
        njit((types.float64[::1],))(_first)


def _first(values: NDArray[np.float64]) -> float:
    return float(values[0] + 1.0)


# --- what machine code depends on ---------------------------------------------------------------------------


@functools.cache
def _own_sources() -> str:
    """Changes with everything of ours that goes into the machine code of every kernel."""
    modules = (
        correction_access, cutflow_fill, drawing, functions, given, here_access, histogram_fill, inputs, jagged_access,
        lanes, lookups, momenta, own_code, parameters, random_streams, record_access, record_unions, row_append, whole_sums,
        words,
    )  # fmt: skip
    files = (__file__, *map(inspect.getfile, modules))
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
