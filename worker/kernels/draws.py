# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Random numbers in kernels: what `np.random.normal()` and `random.random()` draw in compiled code, for each entry its own.

Numba has a Mersenne twister for each of the two: 624 words of 32 bits that are handed out one by one, and made anew when
they are used up. To fill one for each entry takes a microsecond; most entries draw a handful of numbers. So the words at the
end are filled, as many as most entries need, with a function of seed and entry that counts (SplitMix64: Steele, Lea, Flood,
OOPSLA 2014, from a start and an offset of 64 bits each). Should an entry use them up, what the loop has done is taken back
and it runs again with all words filled: the first numbers of an entry are the same either way.

Without annotations are the functions that numba compiles: their types are numba's business.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from ..slot.seeding import Seed
from .numba_internals import TWISTER, generator_states

FEW, ALL = 32, TWISTER // 2
"""How many words of 64 bits are filled for each entry."""
_INDEX, _WORDS, _HALF = 0, 1, 1 + TWISTER
"""Where in a state the next word's number is, the words, and whether half a pair of normal numbers is left over."""
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MARK = np.uint32(0x5EEDED)
"""Stands in the first word as long as the twister has not turned."""
_ONE = types.Array(types.uint32, 1, "C")


GENERATORS = ("numba_get_np_random_state", "numba_get_py_random_state")
"""What compiled code calls that draws with `np.random` and with `random`."""


class Draws:
    """What a loop needs to begin the random numbers of each entry.

    Args:
        which: in whose generators: of `GENERATORS`.
        words: how many words of 64 bits are filled at first.

    Example:
        >>> draws = Draws({"numba_get_np_random_state"})
        >>> draws.turn_to(Seed(0, "a file"), 100, None)
        >>> loop(*draws.arguments)                                                                # doctest: +SKIP
    """

    NAMES = ("told", "numpys", "pythons", "numbers")
    TYPES = (types.Array(types.uint64, 1, "C"), _ONE, _ONE, types.Array(types.int64, 1, "C", readonly=True))

    def __init__(self, which: Collection[str], words: int = FEW) -> None:
        self.which = [name in which for name in GENERATORS]
        self.words = words
        self.arguments: tuple[NDArray[Any], ...] = ()

    def turn_to(self, seed: Seed, first: int, numbers: NDArray[np.int64] | None) -> None:
        """What comes next are the entries from `first` on, or those of these `numbers`; in the thread that runs the loop."""
        keys = [
            *seed.words(b"entries of np.random").view(np.uint64)[:2],
            *seed.words(b"and of random").view(np.uint64)[:2],
        ]
        told = np.array([self.words, first, *keys, *self.which], np.uint64)
        self.arguments = (told, *generator_states(), np.zeros(0, np.int64) if numbers is None else numbers)
        for state in self._states():  # not used up; the loop fills them when it begins an entry
            state[_INDEX], state[_WORDS] = TWISTER - 2 * self.words, _MARK

    def are_used_up(self) -> bool:
        """Whether the entry at work has drawn more numbers than were filled, so that others are among them."""
        # In Python: to compile it takes a second, in every slot.
        least = TWISTER - 2 * self.words
        return self.words != ALL and any(_turned(state, least) for state in self._states())

    def fill_all(self) -> None:
        """Fill all words from now on."""
        self.words = ALL
        self.arguments[0][0] = ALL

    def _states(self) -> list[NDArray[Any]]:
        """Of the generators that it draws from."""
        return [state for state, draws in zip(self.arguments[1:3], self.which, strict=True) if draws]


# --- in compiled code -----------------------------------------------------------------------------------------------

_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_inner = njit(**_NO_DOORS)


@_inner
def _mixed(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _filling(words):
    """Fills so many words; the number is known when it is compiled, which is faster."""
    place = _WORDS + TWISTER - 2 * words

    @_inner
    def fill(state, entry, key, another):
        start = _mixed(key + entry * _STEP)
        offset = _mixed(another ^ start)
        for number in range(words):
            word = _mixed(start + np.uint64(number) * _STEP) ^ offset
            state[place + 2 * number] = np.uint32(word)
            state[place + 2 * number + 1] = np.uint32(word >> np.uint64(32))
        state[_INDEX] = TWISTER - 2 * words
        state[_HALF] = 0
        state[-1] = 1

    return fill


_fill_few, _fill_all = _filling(FEW), _filling(ALL)


@_inner
def _fill(state, words, entry, key, another):
    if words == ALL:
        _fill_all(state, entry, key, another)
    else:
        _fill_few(state, entry, key, another)
        state[_WORDS] = _MARK


@njit
def begun(told, numpys, pythons, numbers, i):
    """Set the generators to where they are for the entry of this index."""
    words = np.int64(told[0])
    entry = np.uint64(numbers[i]) if len(numbers) > 0 else told[1] + np.uint64(i)
    if told[6]:
        _fill(numpys, words, entry, told[2], told[3])
    if told[7]:
        _fill(pythons, words, entry, told[4], told[5])


def _turned(state, least):
    return state[_INDEX] < least or state[_WORDS] != _MARK


_has_turned = _inner(_turned)


@njit
def used_up(told, numpys, pythons):
    """Whether one of them has turned, which it does when its words are used up or it is seeded."""
    if told[0] == ALL:
        return False
    least = TWISTER - 2 * np.int64(told[0])
    return (told[6] and _has_turned(numpys, least)) or (told[7] and _has_turned(pythons, least))
