"""Where the random numbers of a call begin: in a state of its own, told by the query's seed and the entries.

Slots are forked from one process. Left alone, all of them would draw what it would have drawn: the same numbers, everywhere.
So numpy's and Python's own generators, numba's, and those that an analysis has made for itself, are set anew for each call;
in kernels those that draw, for each entry (`worker.kernels.draws`).
"""

from __future__ import annotations

import hashlib
import pickle
import random
import sys
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator, RandomState
from numpy.typing import NDArray

from ...protocol.messages import File
from ..kernels.numba_internals import TWISTER, generator_states

_WORDS = 8
"""Of 32 bits, from which a generator is seeded."""


@dataclass(frozen=True, slots=True)
class Seed:
    """What decides the random numbers of a call.

    Args:
        query: the seed of the query.
        place: which file its entries are of.
        entry: the first of them.

    Example:
        >>> [bool(Seed(0, "a", 5).words()[0] == Seed(0, "a", entry).words()[0]) for entry in (5, 6)]
        [True, False]
    """

    query: int
    place: str = ""
    entry: int = 0

    def at(self, entry: int) -> Seed:
        """The same for another entry."""
        return Seed(self.query, self.place, entry)

    def words(self, of: bytes = b"") -> NDArray[np.uint32]:
        """Numbers of 32 bits to seed a generator with; other ones for each thing that they are `of`."""
        told = f"{self.query}\n{self.place}\n{self.entry}\n".encode()
        return np.frombuffer(hashlib.sha256(told + of).digest(), np.uint32, _WORDS)


def place_of(file: File, reader: Identified | None) -> str:
    """How `Seed` names a file: by what is in it, so that it draws the same wherever it lies; cycles by their seed."""
    if reader is None:
        return f"{file.kind} {file.seed}"
    own, _, _ = reader.identity.partition("|")
    return f"{own} {file.tree}"


class Identified(Protocol):
    """An open file."""

    @property
    def identity(self) -> str:
        """UUID and size, and those of its friends behind bars."""


def reseed(seed: Seed) -> None:
    """Set the generators that a process has anyway: those of `np.random.normal()`, `random.random()`, of both in functions
    compiled by numba, and torch's if it is imported.
    """
    words = seed.words()
    np.random.seed(words)
    random.seed(_whole(seed.words(b"random")))
    twisters = np.frombuffer(hashlib.shake_128(words.tobytes()).digest(2 * 4 * TWISTER), np.uint32)
    for state, twister in zip(generator_states(), (twisters[:TWISTER], twisters[TWISTER:]), strict=True):
        state[0], state[1 : 1 + TWISTER], state[1 + TWISTER :] = TWISTER, twister, 0
        state[-1] = 1
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(_whole(words[:2]))


@dataclass
class Reseeded:
    """A generator that an analysis has made; it is put to a state that its own and the call's seed decide."""

    target: Generator | RandomState | random.Random
    own: bytes

    def restore(self, copies: list[Any], seed: Seed) -> None:
        """Let it begin anew, with numbers of this call's own."""
        words = seed.words(self.own)
        match self.target:
            case random.Random():
                self.target.seed(_whole(words))
            case RandomState():
                self.target.seed(words)
            case Generator():
                bits = self.target.bit_generator
                bits.state = type(bits)(np.random.SeedSequence(words.tolist())).state


def reseeded(generator: Generator | RandomState | random.Random) -> Reseeded:
    """The holder of a generator as it is now."""
    if isinstance(generator, random.Random):
        state: Any = generator.getstate()
    elif isinstance(generator, RandomState):
        state = generator.get_state()
    else:
        state = generator.bit_generator.state
    return Reseeded(generator, hashlib.sha256(pickle.dumps(state)).digest())


def _whole(words: NDArray[np.uint32]) -> int:
    return int.from_bytes(words.tobytes(), sys.byteorder)
