# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Streams of random numbers: some for each cycle, the same in whatever packet and on whatever machine the cycle is made.

Philox counts: its blocks of four 64-bit numbers are a function of a key and a counter of four words (Salmon, Moraes, Dror,
Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). The key is the seed, the fourth word of the counter the
number of the cycle, the third word the number of the stream within the cycle: every stream has 2**128 blocks of its own.

To make a numpy generator takes microseconds. In compiled code one is set back in place, in nanoseconds, by writing into its
state, whose address numpy gives. It is `philox_state` in numpy/random/src/philox/philox.h:

    {uint64 *ctr, *key; int buffer_pos; uint64 buffer[4]; int has_uint32; uint32 uinteger}

Without annotations are the functions that numba compiles: their types are numba's business.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, types
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from .code_cache import CompiledCode
from .numba_internals import number_functions_apart

_BUFFER_POS, _HAS_UINT32, _UINTEGER = 4, 14, 15
"""Where these are in the state, read as 32-bit words; the pointer to the counter is at its beginning."""
_STATE_WORDS = 16
_BUFFER_USED_UP = 4


def generator(seed: int, cycle: int, stream: int = 0) -> Generator:
    """A new generator, at the beginning of a stream of a cycle.

    Example:
        >>> generator(seed=7, cycle=5).random() == generator(seed=7, cycle=5).random() != generator(7, 6).random()
        True
    """
    return Generator(Philox(key=seed, counter=[0, 0, stream, cycle]))


class Stream:
    """One generator that can be set, in place, to the beginning of any stream of a seed.

    `arguments` are what compiled code needs for that: the generator, its counter, and its state as 32-bit words, as they
    come first in `restarted`. `TYPES` are their types.

    Raises:
        ImportError: this numpy lays out the state of a generator in a way that is not known here.
    """

    TYPES = (types.npy_rng, types.Array(types.uint64, 1, "C"), types.Array(types.int32, 1, "C"))

    def __init__(self, seed: int) -> None:
        random = generator(seed, 0)
        random.integers(9, dtype=np.uint32)  # from here on half a number is left over, and some of the buffer
        address = random.bit_generator.ctypes.state_address
        counter_address = ctypes.c_uint64.from_address(address).value
        state = _within(random, address, ctypes.c_int32, _STATE_WORDS)
        counter = _within(random, counter_address, ctypes.c_uint64, 4)
        self.arguments = (random, counter, state)
        expected, told = (each.bit_generator.state for each in (generator(seed, 2**62, 3), self.at(2**62, 3)))
        if {**told, "state": None, "buffer": None} != {**expected, "state": None, "buffer": None} or any(
            (told["state"][name] != expected["state"][name]).any() for name in ("counter", "key")
        ):
            raise _unknown_layout()

    def at(self, cycle: int, stream: int = 0) -> Generator:
        """The generator at the beginning of a stream: always the same object, so use it before the next call."""
        random: Generator = _restart(*self.arguments, cycle, stream)
        return random


def _within(random: Generator, address: int, kind: type[Any], words: int) -> NDArray[Any]:
    """Some memory of a generator as an array of a ctypes type; what is not within the generator is not touched."""
    owner, memory = random.bit_generator, kind * words
    if not 0 <= address - id(owner) <= type(owner).__basicsize__ - ctypes.sizeof(memory):
        raise _unknown_layout()
    return np.ctypeslib.as_array(memory.from_address(address))


def _unknown_layout() -> ImportError:
    return ImportError(
        f"numpy {np.__version__} keeps the state of its Philox generator in a way that eventmill does not know: "
        "install another one where the workers run (2.4 is known)"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Streams:
    """A column of generators: that of entry i is at the beginning of the stream 0 of the cycle `cycles[i]`."""

    stream: Stream
    cycles: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.cycles)


# --- in compiled code -----------------------------------------------------------------------------------------------


def _restart(random, counter, state, cycle, stream):
    """The generator of a `Stream`, at the beginning of another one."""
    counter[0] = 0
    counter[1] = 0
    counter[2] = stream
    counter[3] = cycle
    state[_BUFFER_POS] = _BUFFER_USED_UP
    state[_HAS_UINT32] = 0
    state[_UINTEGER] = 0
    return random


_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # only compiled code calls it
restarted = njit(**_NO_DOORS)(_restart)


_FROM_PYTHON: dict[str, Any] = {"no_cfunc_wrapper": True}
_inner = njit(**_NO_DOORS)


@_inner
def _uniform(random):
    return random.random()


@_inner
def _normal(random):
    return random.standard_normal()


@_inner
def _exponential(random):
    return random.standard_exponential()


_DRAWS = {"uniform": _uniform, "normal": _normal, "exponential": _exponential}
_FILL_TYPES = (*Stream.TYPES, types.int64, types.int64, types.Array(types.float64, 2, "C"))


def _filling(draw):
    def fill(random, counter, state, first, stream, rows):
        for row in range(rows.shape[0]):
            restarted(random, counter, state, first + row, stream)
            for column in range(rows.shape[1]):
                rows[row, column] = draw(random)

    return fill


@functools.cache
def filling(draw: str, cache: Path | None = None) -> Callable[..., None]:
    """What fills each row of an array from one stream: that of a number, of the cycles from a first one on.

    Args:
        draw: `uniform`, `normal` or `exponential`.
        cache: folder for compiled code, which processes may share: to compile it takes a second.

    Example:
        >>> rows = np.empty((2, 3))
        >>> first_cycle, stream = 5, 1
        >>> filling("uniform")(*Stream(7).arguments, first_cycle, stream, rows)
        >>> rows[1].tolist() == generator(7, 6, 1).random(3).tolist()
        True
    """
    number_functions_apart()
    fill: Any = njit(**_FROM_PYTHON)(_filling(_DRAWS[draw]))
    if cache is None:
        fill.compile(_FILL_TYPES)
    else:
        key = hashlib.sha256(Path(__file__).read_bytes() + draw.encode())
        CompiledCode(cache).provide(fill, _FILL_TYPES, key.hexdigest())
    fill.disable_compile()
    return fill  # type: ignore[no-any-return]
