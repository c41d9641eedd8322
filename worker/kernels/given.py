"""Parameters of kernels that their defaults explain: where the event is (`em.here`), and constants (`em.constant`).

What they hold are arguments of the compiled loop: another dataset, other metadata and another constant need no other code.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from ...analysis.corrections import Correction
from ...analysis.kernel_parameters import Constant, Given
from ...analysis.word_codes import code_of
from ...protocol.errors import AnalysisError, nearest
from . import correction_access, here_access, record_access
from .here_access import A_WORD
from .inputs import Readable
from .parameters import Read

_KINDS = {bool: "b1", int: "i8", float: "f8", str: A_WORD}
_NUMBERS = types.Array(types.int64, 1, "C", readonly=True)


@dataclass(frozen=True)
class Place:
    """Where the entries of a run are."""

    dataset: str = ""
    path: str = ""
    tree: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


class HereParameter:
    """Where the event is.

    Args:
        tag: names this parameter of this kernel, for `record_access`.
        kernel: its name, for errors.
    """

    columns: tuple[str, ...] = ()

    def __init__(self, tag: str, kernel: str) -> None:
        self.tag, self._kernel = tag, kernel
        self._place = Place()
        self._first, self._numbers = 0, np.zeros(0, np.int64)
        self._offered: dict[str, None] = {}
        self._names: tuple[str, ...] = ()

    def turn_to(self, place: Place) -> None:
        """What comes next is there."""
        self._place = place

    def begin(self, first: int, numbers: NDArray[np.int64] | None) -> None:
        """The next run is of the entries from this number on, or of these numbers."""
        self._first, self._numbers = first, np.zeros(0, np.int64) if numbers is None else numbers

    # --- which metadata there are -------------------------------------------------------------------------------------

    def offer(self, names: Collection[str], _read: Read) -> None:
        """As `Records.offer`, of metadata."""
        has = self._place.metadata
        for name in has:
            if name in names and type(has[name]) in _KINDS:
                self._offered[name] = None
        others = {name: "" if type(value) in _KINDS else self._odd(name) for name, value in has.items()}
        record_access.others[self.tag] = {name: why for name, why in others.items() if name not in self._offered}
        record_access.unknown[self.tag] = lambda name: self._lacks(name)
        self._offered = dict(
            sorted(self._offered.items())
        )  # in one order, however they came: the code is of this order
        self._names = tuple(self._offered)

    @property
    def on_offer(self) -> Collection[str]:
        """The metadata that code can touch."""
        return self._offered.keys()

    def offer_wanted(self, read: Read) -> bool:
        """As `Records.offer_wanted`."""
        new = record_access.wanted.pop(self.tag, set()) - self._offered.keys()
        self.offer(new, read)
        return bool(new)

    def touched(self, names: Collection[str]) -> None:
        """As `Records.touched`."""
        self._names = tuple(name for name in self._offered if name in names)

    def _odd(self, name: str) -> str:
        kind = type(self._place.metadata[name]).__name__
        return (
            f"the metadata {name!r} of the dataset {self._place.dataset} are a {kind}: kernels take numbers, flags and "
            "words; give it metadata of these, or em.constant(...) as a parameter"
        )

    def _lacks(self, name: str) -> str:
        return (
            f"the dataset {self._place.dataset or self._place.path} has no metadata {name!r}"
            f"{nearest(name, self._place.metadata, few=10)}: em.Dataset(..., metadata={{...}}) gives it some"
        )

    # --- a parameter --------------------------------------------------------------------------------------------------

    def structure(self, _columns: Mapping[str, Readable]) -> str:
        """The metadata that are touched, with their types."""
        return json.dumps({name: self._kind(name) for name in self._names})

    def _kind(self, name: str) -> str:
        if name not in self._place.metadata:
            raise AnalysisError(f"the kernel {self._kernel}: {self._lacks(name)}")
        kind = _KINDS.get(type(self._place.metadata[name]))
        if kind is None:
            raise AnalysisError(f"the kernel {self._kernel}: {self._odd(name)}")
        return kind

    def source(self, name: str, structure: str) -> tuple[list[str], str, list[types.Type]]:
        """As `Parameter.source`."""
        kinds: dict[str, str] = json.loads(structure)
        fixed = [f"{name}_{number}" for number in range(2, 2 + len(here_access.WORDS) + len(kinds))]
        entry = f"({name}_0[i] if len({name}_0) > 0 else {name}_1 + i)"
        description = json.dumps([self.tag, kinds])
        argument_types: list[types.Type] = [_NUMBERS, types.int64, *[types.int64] * len(here_access.WORDS)]
        argument_types += [types.int64 if kind == A_WORD else from_dtype(np.dtype(kind)) for kind in kinds.values()]
        return [], f"place({description!r}, ({entry}, {', '.join(fixed)},))", argument_types

    def arguments(self, _columns: Mapping[str, Readable], structure: str) -> list[Any]:
        """As `Parameter.arguments`; 0 for metadata that are not touched."""
        words = [code_of(getattr(self._place, name)) for name in here_access.WORDS]
        values: list[Any] = []
        for name, kind in json.loads(structure).items():
            value: Any = self._place.metadata[name] if name in self._names else ("" if kind == A_WORD else 0)
            values.append(code_of(value) if kind == A_WORD else np.dtype(kind).type(value).item())
        return [self._numbers, self._first, *words, *values]

    def in_python(self, _columns: Mapping[str, Readable], index: int) -> Any:
        """As `Parameter.in_python`."""
        place = self._place
        entry = int(self._numbers[index]) if len(self._numbers) else self._first + index
        return SimpleNamespace(
            dataset=place.dataset, path=place.path, tree=place.tree, entry=entry, metadata=place.metadata
        )


class ConstantParameter:
    """An array, or a number, that stays the same."""

    columns: tuple[str, ...] = ()

    def __init__(self, constant: Constant) -> None:
        self._value = np.require(constant.value, requirements=("C", "A"))

    def structure(self, _columns: Mapping[str, Readable]) -> str:
        """Its type and number of dimensions."""
        return f"{self._value.dtype.str[1:]}x{self._value.ndim}"

    def source(self, name: str, structure: str) -> tuple[list[str], str, list[types.Type]]:
        """As `Parameter.source`."""
        kind, _, dimensions = structure.partition("x")
        dtype = from_dtype(np.dtype(kind))
        if int(dimensions) == 0:
            return [], f"{name}_0[0]", [types.Array(dtype, 1, "C", readonly=True)]
        array = types.Array(dtype, int(dimensions), "C", readonly=True)
        return [], f"window({name}_0, 0, len({name}_0))", [array]

    def arguments(self, _columns: Mapping[str, Readable], _structure: str) -> list[Any]:
        """As `Parameter.arguments`."""
        return [self._value if self._value.ndim else self._value.reshape(1)]

    def in_python(self, _columns: Mapping[str, Readable], _index: int) -> Any:
        """As `Parameter.in_python`."""
        return self._value if self._value.ndim else self._value[()]


class CorrectionParameter:
    """A correction of correctionlib."""

    columns: tuple[str, ...] = ()

    def __init__(self, correction: Correction) -> None:
        self._correction = correction
        self._tables = list(correction.tables.arrays())

    def structure(self, _columns: Mapping[str, Readable]) -> str:
        """Its name and its inputs."""
        return json.dumps([self._correction.name, self._correction.inputs])

    def source(self, name: str, structure: str) -> tuple[list[str], str, list[types.Type]]:
        """As `Parameter.source`."""
        tables = ", ".join(f"window({name}_{number}, 0, len({name}_{number}))" for number in range(len(self._tables)))
        return [], f"tabled({structure!r}, ({tables}))", list(correction_access.TABLES)

    def arguments(self, _columns: Mapping[str, Readable], _structure: str) -> list[Any]:
        """As `Parameter.arguments`."""
        return self._tables

    def in_python(self, _columns: Mapping[str, Readable], _index: int) -> Any:
        """As `Parameter.in_python`."""
        return self._correction


def parameter_of(given: Given, tag: str, kernel: str) -> HereParameter | ConstantParameter | CorrectionParameter:
    """What the default of a kernel's parameter stands for.

    Args:
        given: the default.
        tag, kernel: as `HereParameter` has them.
    """
    if isinstance(given, Constant):
        return ConstantParameter(given)
    if isinstance(given, Correction):
        return CorrectionParameter(given)
    return HereParameter(tag, kernel)
