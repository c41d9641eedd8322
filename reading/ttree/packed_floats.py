"""How ROOT stores `Float16_t` and `Double32_t`, its numbers of few bits: as integers, or with a short mantissa."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BRACKETS = re.compile(r"\[([^\[\]]*)\]")
"""A dimension or range in the title of a leaf or member."""
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?)")
_MOST_BITS = 32
_MANTISSA = 23
"""Bits of a float's."""
_TRUNCATED = np.dtype([("exponent", "u1"), ("mantissa", ">u2")])


class Coding(NamedTuple):
    """How a `Float16_t` or `Double32_t` is stored.

    With a `factor`, as an integer, from which `low` and the value are told. Otherwise as an exponent and a mantissa of so
    many `bits`; as a float, if that is 0. `is_half`: it is a `Float16_t`.
    """

    low: float
    factor: float
    bits: int
    is_half: bool = False

    @property
    def native(self) -> np.dtype[Any]:
        """The type of the values in memory."""
        return np.dtype("f4" if self.is_half else "f8")

    @property
    def is_known(self) -> bool:
        """Whether it can be: titles may say anything, and so may a layout that came from elsewhere."""
        return 0 <= self.bits <= _MANTISSA and math.isfinite(self.low) and math.isfinite(self.factor)

    @property
    def stored(self) -> np.dtype[Any]:
        """The type of what is in the file."""
        return np.dtype(">u4") if self.factor else _TRUNCATED if self.bits else np.dtype(">f4")

    def values(self, stored: NDArray[Any]) -> NDArray[Any]:
        """What is meant by what is in the file.

        Example:
            >>> Coding(-1.0, 100.0, 0).values(np.array([0, 50], ">u4"))
            array([-1. , -0.5])
        """
        return self._decoded(stored).astype(self.native, copy=False)

    def _decoded(self, stored: NDArray[Any]) -> NDArray[Any]:
        if self.factor:
            scaled: NDArray[Any] = stored.astype(np.float64)
            scaled /= self.factor
            scaled += self.low
            return scaled
        if not self.bits:
            return stored
        mantissa = stored["mantissa"].astype(np.int32)
        numbers = stored["exponent"].astype(np.int32) << 23
        numbers |= (mantissa & ((1 << (self.bits + 1)) - 1)) << (23 - self.bits)
        floats = numbers.view(np.float32)
        signed: NDArray[Any] = np.where(mantissa & (1 << (self.bits + 1)), -floats, floats)
        return signed


def coding(title: str, is_half: bool) -> Coding:
    """How floats are stored, by what follows their name, as ROOT's `TStreamerElement::GetRange` reads it.

    Example:
        >>> coding("x[3]/d[0,100,10]", False), coding("[0,0,8] a probability", False), coding("", True)
        (Coding(low=0.0, factor=10.24, bits=0, is_half=False), Coding(low=8.1, factor=0.0, bits=8, is_half=False),
        Coding(low=0.0, factor=0.0, bits=12, is_half=True))
    """
    said = next((part.split(",", 2) for part in BRACKETS.findall(title) if "," in part), None)
    low = factor = 0.0
    if said is not None:
        bits = _whole(said[2]) if len(said) > 2 else _MOST_BITS
        bits = bits if 2 <= bits <= _MOST_BITS else _MOST_BITS
        low, high = _bound(said[0]), _bound(said[1])
        if low < high:
            factor = ((1 << bits) if bits < _MOST_BITS else 0xFFFFFFFF) / (high - low)
        elif bits < 15:
            low = bits + 0.1
    return Coding(low, factor, 0 if factor else int(low) or (12 if is_half else 0), is_half)


def _bound(text: str) -> float:
    text = text.lower().replace(" ", "")
    if "pi" in text:
        twice = any(name in text for name in ("2pi", "2*pi", "twopi"))
        size = 2 * math.pi if twice else math.pi / 2 if "pi/2" in text else math.pi / 4 if "pi/4" in text else math.pi
        return -size if "-" in text else size
    number = _NUMBER.match(text)
    return float(number[0]) if number else 0.0


def _whole(text: str) -> int:
    number = re.match(r"\s*[-+]?\d+", text)
    return int(number[0]) if number else 0
