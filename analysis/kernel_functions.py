"""What kernels may call by `em.`: order in an event, and collections as one. Here in plain Python, to try a kernel without a
session; what compiled code does instead is in `worker.kernels.functions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def argsort(values: ArrayLike, descending: bool = False) -> NDArray[np.int64]:
    """The indices that put the values of an array in order, in kernels too: equal ones keep their order, NaN come last.

    Example:
        >>> argsort(np.array([20.0, np.nan, 50.0, 20.0])).tolist()
        [0, 3, 2, 1]
        >>> argsort(np.array([20.0, np.nan, 50.0, 20.0]), descending=True).tolist()
        [2, 0, 3, 1]
    """
    array = np.asarray(values)
    known = np.flatnonzero(~np.isnan(array))
    if descending:  # from behind, so that equal ones keep their order in the end
        known = known[::-1]
    order = known[np.argsort(array[known], kind="stable")]
    return np.concatenate([order[::-1] if descending else order, np.flatnonzero(np.isnan(array))]).astype(np.int64)


def argmax(values: ArrayLike) -> int:
    """The index of the largest value of an array, in kernels too: of equal ones the first. NaN are passed over; -1 where
    there is nothing else.

    Example:
        >>> argmax(np.array([20.0, np.nan, 50.0, 50.0])), argmax(np.array([np.nan])), argmax(np.array([]))
        (2, -1, -1)
    """
    return _first(argsort(values, descending=True), np.asarray(values))


def argmin(values: ArrayLike) -> int:
    """As `argmax`, of the smallest value.

    Example:
        >>> argmin(np.array([20.0, np.nan, 10.0, 10.0])), argmin(np.array([]))
        (2, -1)
    """
    return _first(argsort(values), np.asarray(values))


def _first(order: NDArray[np.int64], values: NDArray[Any]) -> int:
    return int(order[0]) if len(order) and not np.isnan(values[order[0]]) else -1


def concat(*collections: Any) -> Any:
    """Some collections of an event as one, in kernels too: leptons of muons and electrons.

    Its records have the fields that all of the collections have; `which` is the number of the collection that they come
    from, counted from 0, and `index` their place in it. A field of all of them, `leptons.pt`, is a new array.

    Example:
        >>> from types import SimpleNamespace as Record
        >>> leptons = concat([Record(pt=30.0), Record(pt=20.0)], [Record(pt=25.0)])
        >>> len(leptons), [lepton.which for lepton in leptons], leptons.pt.tolist()
        (3, [0, 0, 1], [30.0, 20.0, 25.0])
    """
    return _Concatenated(
        [_Numbered(record, which, i) for which, some in enumerate(collections) for i, record in enumerate(some)]
    )


_ONE = np.float64(1.0)
"""Times this, values of 32 bits are of 64, as kernels compute; those of awkward arrays, too."""


@dataclass(frozen=True, slots=True)
class Momentum:
    """A four-momentum, or arrays of them, in the unit of what it was made of: see `p4`."""

    px: Any
    py: Any
    pz: Any
    e: Any

    def __add__(self, other: Momentum) -> Momentum:
        return Momentum(self.px + other.px, self.py + other.py, self.pz + other.pz, self.e + other.e)

    @property
    def pt(self) -> Any:
        """The momentum across the beam."""
        return np.sqrt(self.px * self.px + self.py * self.py)

    @property
    def phi(self) -> Any:
        """The angle around the beam, from -pi to pi."""
        return np.arctan2(self.py, self.px)

    @property
    def eta(self) -> Any:
        """The pseudorapidity; infinite along the beam."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.arcsinh(np.divide(self.pz, self.pt))

    @property
    def mass(self) -> Any:
        """The invariant mass; 0 where rounding makes its square negative."""
        square = self.e * self.e - self.px * self.px - self.py * self.py - self.pz * self.pz
        return np.sqrt(np.maximum(square, 0.0))


def p4(particle: Any) -> Momentum:
    """The four-momentum of a record with `pt`, `eta`, `phi` and `mass`, in kernels too, and those of arrays of records in
    columnar functions; in 64 bits. Momenta add up, and have `px`, `py`, `pz`, `e`, `pt`, `eta`, `phi` and `mass`.

    Example:
        >>> from types import SimpleNamespace as Record
        >>> one = Record(pt=40.0, eta=0.5, phi=0.0, mass=0.1)
        >>> other = Record(pt=50.0, eta=-0.5, phi=3.0, mass=0.1)
        >>> round(float((p4(one) + p4(other)).mass), 1)
        100.7
    """
    pt, eta, phi, mass = (_ONE * value for value in (particle.pt, particle.eta, particle.phi, particle.mass))
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return Momentum(px, py, pz, np.sqrt(px * px + py * py + pz * pz + mass * mass))


def delta_phi(phi: Any, other: Any) -> Any:
    """The difference of two angles, from -pi to pi, in kernels too, and of arrays; in 64 bits.

    Example:
        >>> round(float(delta_phi(3.0, -3.0)), 3)
        -0.283
    """
    return (_ONE * phi - other + np.pi) % (2 * np.pi) - np.pi


def delta_r(one: Any, other: Any) -> Any:
    """The distance of two records with `eta` and `phi` in these, in kernels too, and of arrays of records; in 64 bits.

    Example:
        >>> from types import SimpleNamespace as Record
        >>> round(float(delta_r(Record(eta=0.0, phi=3.0), Record(eta=0.3, phi=-3.0))), 3)
        0.413
    """
    eta, phi = _ONE * one.eta - other.eta, delta_phi(one.phi, other.phi)
    return np.sqrt(eta * eta + phi * phi)


class _Numbered:
    def __init__(self, record: Any, which: int, index: int) -> None:
        self._record, self.which, self.index = record, which, getattr(record, "index", index)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Numbered) and (self.which, self.index) == (other.which, other.index)

    __hash__ = None  # type: ignore[assignment]


class _Concatenated:
    def __init__(self, records: Sequence[_Numbered]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> _Numbered:
        return self._records[index]

    def __iter__(self) -> Iterator[_Numbered]:
        return iter(self._records)

    def __getattr__(self, name: str) -> NDArray[Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return np.array([getattr(record, name) for record in self._records])
