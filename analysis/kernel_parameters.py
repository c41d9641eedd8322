"""Parameters of kernels that are neither outputs nor read from the data: their defaults say what they are.

So they have whatever name the user likes, and none of them can be taken for a branch.
"""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocol.errors import AnalysisError


def check_known(function: FunctionType) -> None:
    """Whether a kernel uses or takes nothing that says by `in_kernels`, a text of its class, what to write instead.

    Raises AnalysisError with this text.
    """
    closure = inspect.getclosurevars(function)
    defaults = {it.name: it.default for it in inspect.signature(function).parameters.values()}
    for name, value in {**closure.globals, **closure.nonlocals, **defaults}.items():
        instead = getattr(type(value), "in_kernels", None)
        if isinstance(instead, str):
            raise AnalysisError(f"{function.__name__} cannot use {name}: {instead.replace('NAME', name)}")


class Given:
    """What stands as the default of such a parameter."""


class Here(Given):
    """Where the event is: `def spectrum(pt, Muon, here=em.here)`.

    `here.dataset`, `here.path` and `here.tree` are words, `here.entry` the number of the entry in its tree, and
    `here.metadata["cross_section"]` what the dataset says: a number, a flag, or a word. Words can be compared with others
    (`here.dataset == "ttbar"`, `here.metadata["era"] in ("2017", "2018")`) and filled into an axis of categories. None of
    it is compiled into the code, which serves all datasets.

    Example:
        >>> from eventmill import kernel
        >>> from hist import Hist
        >>> @kernel(met=Hist.new.StrCat(["signal", "background"]).Reg(100, 0, 200).Weight())
        ... def by_sample(met, MET_pt, here=here):
        ...     met.fill(here.dataset, MET_pt, weight=here.metadata["cross_section"])
        >>> by_sample.branches
        ('MET_pt',)
    """

    def __repr__(self) -> str:
        return "em.here"


here = Here()


class Constant(Given):
    """Numbers that kernels look up: see `constant`."""

    def __init__(self, value: NDArray[Any]) -> None:
        self.value = value

    def __getitem__(self, index: Any) -> Any:
        return self.value[index]

    def __len__(self) -> int:
        return len(self.value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.value, dtype, copy=copy)

    def __repr__(self) -> str:
        return f"em.constant(<{self.value.dtype} of shape {self.value.shape}>)"


def constant(values: Any) -> Constant:
    """An array, or a number, that a kernel takes as a parameter: `def weigh(out, Muon, table=em.constant(factors))`.

    Other than a variable outside, it is not compiled into the code: it may be large, and be another one the next time,
    and nothing is compiled again unless its type or number of dimensions changes. Kernels cannot change it.

    Args:
        values: numbers, of any type and number of dimensions.

    Raises:
        AnalysisError: these are no numbers.

    Example:
        >>> import numpy as np
        >>> from eventmill import kernel
        >>> @kernel(total=np.zeros(1))
        ... def weigh(total, nMuon, factors=constant([1.0, 0.98, 0.95])):
        ...     total[0] += factors[min(nMuon, 2)]
        >>> weigh.branches
        ('nMuon',)
    """
    array = np.ascontiguousarray(values) if np.ndim(values) else np.asarray(values)
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        raise AnalysisError(f"em.constant takes numbers, or an array of them, not {values!r:.60} ({array.dtype})")
    return Constant(array.astype(array.dtype.newbyteorder("="), copy=True))
