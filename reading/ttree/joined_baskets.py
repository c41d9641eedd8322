"""Baskets that are decoded all at once: what awkward and uproot do for each takes longer than the values of a small one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray


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
class JoinedBaskets:
    """How the entries of baskets are decoded, all at once where they are alike.

    Attributes:
        decode: makes a layout of the bytes of entries and of where each begins. Raises ValueError for what is damaged, and
            NotImplementedError for what this version cannot read.
        form: of the layouts.
    """

    decode: Callable[[NDArray[np.uint8], NDArray[Any]], Any]
    form: Any

    def array(self, baskets: Sequence[RawBasket]) -> ak.Array:
        """The entries of neighbouring baskets.

        Raises:
            ValueError: a basket is damaged; the text begins with its name.
            NotImplementedError: its entries are written in a way that this version cannot read.
        """
        try:
            return ak.Array(self.decode(*_joined(baskets)))
        except (ValueError, NotImplementedError) as error:
            if len(baskets) > 1:  # they may be written in different ways
                return ak.concatenate([self.array([basket]) for basket in baskets], mergebool=False)
            if isinstance(error, NotImplementedError):
                raise
            raise ValueError(f"{baskets[0].name} is damaged: {error}") from error

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


def _joined(baskets: Sequence[RawBasket]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """The bytes of the entries of some baskets as those of one."""
    if len(baskets) == 1:
        return baskets[0].data, baskets[0].begins
    data = [basket.data[: basket.begins[-1]] for basket in baskets]
    firsts = itertools.accumulate((len(each) for each in data), initial=0)
    begins = [basket.begins[:-1].astype(np.int64) + first for basket, first in zip(baskets, firsts, strict=False)]
    return np.concatenate(data), np.concatenate([*begins, [sum(len(each) for each in data)]])


def named(basket: Any, branch: Any) -> str:
    """What an error calls a basket of a branch, both as uproot has them."""
    start, stop = branch.entry_offsets[basket.basket_num : basket.basket_num + 2]
    return f"basket {basket.basket_num} of branch {branch.name} (entries [{start}, {stop}))"
