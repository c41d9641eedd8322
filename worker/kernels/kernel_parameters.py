"""All parameters of a kernel that are no outputs, together: what they read, and what they are in the loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...analysis.analysis import Kernel
from ...reading.groups import Group
from . import record_access
from .given import HereParameter, Place, parameter_of
from .inputs import Readable
from .lanes import Weight
from .parameters import Branch, Parameter, Records


class KernelParameters:
    """The parameters of a kernel.

    Args:
        kernel: the kernel.
        content: names its code.
        weights: the branches that come as lanes.

    Attributes:
        by_name: each of them.
        is_ready: which columns they read is known.
    """

    def __init__(self, kernel: Kernel, content: str, weights: Collection[str] = ()) -> None:
        self._content = content[:32]
        self.by_name: dict[str, Parameter] = {
            name: Weight(name) if name in weights else Branch(name) for name in kernel.branches
        }
        for name, it in kernel.given.items():
            self.by_name[name] = parameter_of(it, f"{self._content} {name}", kernel.__name__)
        self.is_ready = not self.open_ended

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read for all of them, as far as it is known."""
        return tuple(dict.fromkeys(column for it in self.by_name.values() for column in it.columns))

    @property
    def open_ended(self) -> list[Records | HereParameter]:
        """Those of which it is to be found out what the code touches."""
        return [it for it in self.by_name.values() if isinstance(it, Records | HereParameter)]

    def look_at(self, groups: Callable[[str], Group | None]) -> None:
        """Learn which are the names of groups of columns, of what tells the groups of a file."""
        for name in [name for name, it in self.by_name.items() if isinstance(it, Branch)]:
            group = groups(name)
            if group is not None:
                self.by_name[name] = Records(name, group, f"{self._content} {name}")
                self.is_ready = False

    def turn_to(self, place: Place) -> None:
        """What comes next is there."""
        for it in self.open_ended:
            if isinstance(it, HereParameter):
                it.turn_to(place)

    def begin(self, first: int, numbers: NDArray[np.int64] | None) -> None:
        """The next run is of the entries from this number on, or of these numbers."""
        for it in self.open_ended:
            if isinstance(it, HereParameter):
                it.begin(first, numbers)

    def have_touched(self) -> None:
        """The code was typed: they read what it touches, and no more."""
        for it in self.open_ended:
            record_access.offered[it.tag] = set(it.on_offer)
            it.touched(record_access.touched.get(it.tag, ()))
        self.is_ready = True

    def expect(self, lines: Iterable[str]) -> None:
        """Some process has found out which fields the code needs, as `expected` has told there."""
        if not any(it.tag in record_access.offered for it in self.open_ended):
            _sort_into(record_access.offered, lines)

    def expected(self) -> list[str]:
        """The fields with which the code was typed in the end."""
        return [f"{it.tag} {name}" for it in self.open_ended for name in sorted(it.on_offer)]

    def told(self) -> list[str]:
        """What the code touches, to be kept with it."""
        return [f"{it.tag} {name}" for it in self.open_ended for name in sorted(record_access.touched.get(it.tag, ()))]

    def structures(self, columns: Mapping[str, Readable]) -> dict[str, str]:
        """What of their columns decides the code."""
        return {name: it.structure(columns) for name, it in self.by_name.items()}

    def arguments(self, columns: Mapping[str, Readable], structures: Mapping[str, str]) -> dict[str, list[Any]]:
        """What a loop for these structures takes."""
        return {name: it.arguments(columns, structures[name]) for name, it in self.by_name.items()}

    def in_python(self, columns: Mapping[str, Readable], index: int) -> dict[str, Any]:
        """Entry `index` as the plain Python function takes it."""
        return {name: it.in_python(columns, index) for name, it in self.by_name.items()}


def hear(told: tuple[str, ...]) -> None:
    """Know of code that another process has typed what it touches."""
    _sort_into(record_access.touched, told)


def _sort_into(fields: dict[str, set[str]], lines: Iterable[str]) -> None:
    for line in lines:
        tag, _, name = line.rpartition(" ")
        fields.setdefault(tag, set()).add(name)
