"""What is used of numba that it does not make public.

It is tried out when this is imported: a numba that has changed it is named at once, not by an odd error or by wrong numbers
in somebody's analysis. (How types are made known to numba, as `jagged_access` and `histogram_fill` do, is its documented
low-level extension API.)
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import itertools
import secrets
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

TWISTER = 624
"""Words of a Mersenne twister. Numba keeps an index before them, and half a pair of normal numbers behind."""
_KNOWN = "0.68"


def _unknown_numba(what: str, why: object) -> ImportError:
    return ImportError(
        f"numba {numba.__version__} {what} in a way that eventmill does not know ({why}): install another one where the "
        f"workers run, {_KNOWN} is known to work"
    )


try:
    _helpers: Any = importlib.import_module("numba._helperlib")  # kept here: user code may empty sys.modules
    from numba.core import serialize
    from numba.core.bytecode import FunctionIdentity
    from numba.core.compiler import CompileResult

    _rebuild: Any = CompileResult._rebuild
    _reduce: Any = CompileResult._reduce
    _dumps: Any = serialize.dumps
    _identity: Any = FunctionIdentity.from_function
    _np_state, _py_state = _helpers.rnd_get_np_state_ptr, _helpers.rnd_get_py_state_ptr
    _linalg: Any = importlib.import_module("numba.np.linalg")
    _ensure_blas = _linalg.ensure_blas
except (ImportError, AttributeError) as error:
    raise _unknown_numba("has its inside arranged", error) from error


# --- machine code, as numba's own cache keeps it ----------------------------------------------------------------------


def packed(result: Any) -> bytes:
    """A compiled function as bytes."""
    content: bytes = _dumps(_reduce(result))
    return content


def unpacked(context: Any, parts: Any) -> Any:
    """A compiled function again, of what unpickling the bytes of `packed` gave."""
    return _rebuild(context, *parts)


def number_functions_apart() -> None:
    """Have the functions that are compiled next numbered as in no other process.

    Numba numbers functions from 1 in each process, and code that is loaded is linked by name, types and number: the
    `helper` of one kernel would run in the place of that of another one, had each been number 7 where it was compiled.
    """
    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(60))


# --- linear algebra -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def linear_algebra_unloaded() -> Iterator[None]:
    """Have numba not import all of `scipy.linalg`, an eighth of what it takes to be ready, to see whether it is installed.

    What numba compiles for linear algebra imports it when it is compiled, and machine code when it is called.
    """

    def ensure_installed() -> None:
        if importlib.util.find_spec("scipy") is None:
            raise ImportError("scipy is not installed")
        # Machine code that is loaded does not see whether this scipy counts in the integers that numba was built for.
        getattr(_linalg, "_check_lapack_int_width", lambda: None)()

    _linalg.ensure_blas = ensure_installed
    try:
        yield
    finally:
        _linalg.ensure_blas = _ensure_blas


# --- random numbers -----------------------------------------------------------------------------------------------------


def generator_states() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The states of numpy's and of Python's generator in compiled code: index, twister, half a pair, whether they are set.

    Each thread has its own.
    """
    return _state_at(_np_state()), _state_at(_py_state())


@functools.lru_cache(maxsize=16)
def _state_at(address: int) -> NDArray[np.uint32]:
    return np.ctypeslib.as_array((ctypes.c_uint32 * (TWISTER + 5)).from_address(address))


# --- whether it is all as it was ----------------------------------------------------------------------------------------


def _try_out() -> None:
    """Raise `ImportError` unless functions are numbered, and generators keep their state, as is taken for granted above."""
    before = FunctionIdentity._unique_ids
    number_functions_apart()
    one, two = (_identity(_try_out) for _ in range(2))
    FunctionIdentity._unique_ids = before
    if two.unique_id != one.unique_id + 1 or not two.unique_name.endswith(f"${two.unique_id}"):
        raise _unknown_numba("numbers functions", f"{one.unique_name}, {two.unique_name}")
    expected = np.random.RandomState(42).get_state(legacy=False)["state"]
    for address, state in zip((_np_state(), _py_state()), generator_states(), strict=True):
        kept = state.copy()
        _helpers.rnd_seed(address, 42)
        index, words, rest = state[0], state[1 : 1 + TWISTER].copy(), state[1 + TWISTER :].tolist()
        state[:] = kept
        if index != expected["pos"] or (words != expected["key"]).any() or rest != [0, 0, 0, 1]:
            raise _unknown_numba("keeps the state of its random numbers", (int(index), rest))


_try_out()
