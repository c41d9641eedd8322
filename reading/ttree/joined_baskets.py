"""Baskets of lists of lists that are decoded all at once: what awkward and uproot do for each basket takes longer than the
values of a small one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from .nested_decoding import Shape, decoded
from .nested_shapes import layout_as


@dataclass(frozen=True, slots=True)
class RawBasket:
    """The bytes of a basket's entries.

    Attributes:
        data: the bytes.
        begins: where each entry begins among them, from 0 on, and where the last one ends.
        name: what an error calls the basket.
    """

    data: NDArray[np.uint8]
    begins: NDArray[Any]
    name: str

    def __len__(self) -> int:
        return len(self.begins) - 1


@dataclass(frozen=True, slots=True)
class NestedLists:
    """How lists of lists are written, and what their arrays are.

    Attributes:
        shape: what an entry holds.
        form: of the arrays.
    """

    shape: Shape
    form: Any

    def array(self, baskets: Sequence[RawBasket]) -> ak.Array:
        """The entries of neighbouring baskets.

        Raises:
            ValueError: a basket is damaged; the text begins with its name.
            NotImplementedError: an entry was written member by member.
        """
        try:
            return ak.Array(layout_as(decoded(self.shape, *_joined(baskets)), self.form))
        except ValueError:
            for basket in baskets:
                self._check(basket)
            raise

    def entries(self, baskets: Mapping[int, RawBasket], start: int, stop: int, edges: Sequence[int]) -> ak.Array:
        """The entries [start, stop).

        Args:
            baskets: by number.
            edges: the first entry of each basket, and the entry after the last.
        """
        numbers = [
            number for number, (low, high) in enumerate(itertools.pairwise(edges)) if low < stop and high > start
        ]
        if not numbers:
            return ak.Array(self.form.length_zero_array(highlevel=False))
        first = edges[numbers[0]]
        return self.array([baskets[number] for number in numbers])[start - first : stop - first]

    def _check(self, basket: RawBasket) -> None:
        try:
            decoded(self.shape, basket.data, basket.begins)
        except ValueError as error:
            raise ValueError(f"{basket.name} is damaged: {error}") from error


def _joined(baskets: Sequence[RawBasket]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """The bytes of the entries of some baskets as those of one."""
    if len(baskets) == 1:
        return baskets[0].data, baskets[0].begins
    data = [basket.data[: basket.begins[-1]] for basket in baskets]
    firsts = itertools.accumulate((len(each) for each in data), initial=0)
    begins = [basket.begins[:-1].astype(np.int64) + first for basket, first in zip(baskets, firsts, strict=False)]
    return np.concatenate(data), np.concatenate([*begins, [sum(len(each) for each in data)]])
