"""Kernels with variations of their columns: run again for each variation that matters, but once for all that are of weights.

A kernel is compiled once for the former, since what is put in the place of a column has its type; each variation fills
outputs of its own. Variations that change nothing but weights are lanes of one run (`kernels.lanes`), if the kernel uses
them as weights only: its compilation tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...analysis.variations import NOMINAL, Varied
from ...merge import Partial, Total, encode, keyed
from ...protocol.errors import AnalysisError, CountError
from ...protocol.messages import File
from ...reading.columns import Flat
from ...reading.record_groups import record_group
from ...reading.source import Source
from ...reading.variations import FileVariations, Variation, Variations
from ...reading.varied_range import VariedChunk, VariedRange, note
from ...reading.view import OpenFile
from ..kernels.compile import CompiledKernel
from ..kernels.given import Place
from ..kernels.lanes import Lanes, width_of
from ..kernels.outputs import Store
from ..kernels.weights_only import perhaps_weights
from .seeding import reseed
from .tasks import KernelTask, Task, first_of, numbers_of, place_in


class VariedKernelTask(KernelTask):
    """A compiled kernel over columns and their variations.

    Args:
        varied: a kernel with variations.
        cache, at: as for `CompiledKernel`.
    """

    def __init__(self, varied: Varied, cache: Path, at: NDArray[np.int64] | None) -> None:
        self._at = np.full(1, -1, np.int64) if at is None else at
        super().__init__(CompiledKernel(varied.analysis, cache, self._at))
        self._varied, self._cache = varied, cache
        self._variations = Variations(varied)
        self._names = [NOMINAL, *varied.variations]
        self._stores = {name: Store(varied.analysis) for name in self._names}
        self._ran: set[str] = set()
        self._weighted: WeightedKernel | None = None
        self._at_work = self.kernel
        self._entries = 0

    @property
    def entry(self) -> int | None:
        return self._at_work.current_entry

    @property
    def index(self) -> int | None:
        return self._at_work.current_index

    def look_at(self, file: OpenFile) -> None:
        super().look_at(file)
        self.branches = None  # what the functions of variations read is known when they have run

    def prepare(self, source: Source, file: File) -> None:
        """Compile, or load what was compiled before."""
        known = self._variations.over(source)
        super().prepare(source, file)
        self.branches = None
        weights = _weights(self._varied, known, source, self.kernel.branches)
        place = place_in(source, file)
        self._weighted = next(filter(None, (self._in_lanes(known, source, names, place) for names in weights)), None)

    def _in_lanes(
        self, known: FileVariations, source: Source, weights: Sequence[str], place: Place
    ) -> WeightedKernel | None:
        """The kernel with these parameters as lanes; None if it does not compile with them."""
        names = [it.name for it in known.variations if set(_changed(it, known, self.kernel.branches)) <= {*weights}]
        width = width_of(1 + len(names))
        kernel = CompiledKernel(self._varied.analysis, self._cache, self._at, weights, width)
        kernel.parameters.look_at(lambda name: record_group(known.file, name))
        kernel.parameters.turn_to(place)

        def read(columns: Sequence[str]) -> Mapping[str, Any]:
            nothing: dict[str, Any] = dict(source.read(columns, 0, 0))
            return nothing | {name: Lanes.empty(nothing[name], width) for name in weights if name in nothing}

        try:
            kernel.prepare(read)
        except AnalysisError:  # it does more with them than fill
            return None
        return WeightedKernel(kernel, tuple(weights), names, width)

    # --- a chunk ------------------------------------------------------------------------------------------------------

    def run(self, source: Source, file: File, start: int, stop: int) -> None:
        self.kernel.forget()
        self._entries = stop - start
        numbers, seed = numbers_of(source, start, stop), self.seed.at(first_of(source, start, stop))
        known = self._variations.over(source)
        for kernel in [self.kernel, *([self._weighted.kernel] if self._weighted else [])]:
            kernel.parameters.turn_to(place_in(source, file))
        chunk = VariedChunk(source, known, start, stop, lambda: reseed(seed))
        changed = {it.name: _changed(it, known, self.kernel.branches) for it in known.variations}
        light = self._light(changed)
        if light:
            self._run_weighted([it for it in known.variations if it.name in light], changed, chunk, numbers)
        else:
            self._run(NOMINAL, chunk.nominal, numbers)
        alone = [variation for variation in known.variations if changed[variation.name] and variation.name not in light]
        for variation in alone:
            try:
                self._run(variation.name, chunk.of(variation), numbers)
            except BaseException as error:
                note(error, variation)
                raise
            chunk.forget(variation)
        if self.kernel.store.has_rows:
            nominal = self._weighted.kernel.store if light and self._weighted else self._stores[NOMINAL]
            stores = {NOMINAL: nominal, **{it.name: self._stores[it.name] for it in alone}}
            self._gather_varied(stores, file, start, stop)

    def _gather_varied(self, stores: Mapping[str, Store], file: File, start: int, stop: int) -> None:
        """Take the rows of each variation, which go into folders of their own; where it has none, they are nominal's."""
        taken = {name: encode(store.take_rows()) for name, store in stores.items()}
        of_each = {name: self.rows.of_variation(taken.get(name, taken[NOMINAL]), name) for name in self._names}
        self._hold(keyed(of_each, 0), file, start, stop)

    def _light(self, changed: Mapping[str, Sequence[str]]) -> set[str]:
        """The variations of nothing but weights, in this file."""
        if self._weighted is None:
            return set()
        weights = {*self._weighted.weights}
        return {name for name in self._weighted.names if changed[name] and weights.issuperset(changed[name])}

    def _run(self, name: str, columns: VariedRange, numbers: Any) -> None:
        read = columns.read(self.kernel.branches, columns.start, columns.stop)
        self.kernel.store = self._stores[name]
        self._ran.add(name)
        self._compute(self.kernel, read, columns.start, numbers)

    def _run_weighted(
        self,
        variations: Sequence[Variation],
        changed: Mapping[str, Sequence[str]],
        chunk: VariedChunk,
        numbers: Any,
    ) -> None:
        weighted = self._weighted
        assert weighted is not None
        read: dict[str, Any] = chunk.nominal.read(weighted.kernel.branches, chunk.start, chunk.stop)
        lanes = {name: Lanes.empty(read[name], weighted.width) for name in weighted.weights}
        for name, of_each in lanes.items():
            of_each.values[:] = read[name].values
        for variation in variations:
            columns = chunk.of(variation)
            for name in changed[variation.name]:
                (column,) = columns.read([name], chunk.start, chunk.stop).values()
                assert isinstance(column, Flat) and column.values.dtype == lanes[name].values.dtype
                lanes[name].values[1 + weighted.names.index(variation.name)] = column.values
            chunk.forget(variation)
        self._ran |= {NOMINAL, *(variation.name for variation in variations)}
        self._compute(weighted.kernel, read | lanes, chunk.start, numbers)

    def _compute(self, kernel: CompiledKernel, columns: Mapping[str, Any], start: int, numbers: Any) -> None:
        self._at_work = kernel
        reseed(self.seed.at(start))
        kernel.run(columns, start, numbers, self.seed, self._entries)

    def parts(self, source: Source, file: File, start: int, stop: int) -> Callable[[int, int], None]:
        return Task.parts(self, source, file, start, stop)

    # --- results ------------------------------------------------------------------------------------------------------

    def take(self) -> Partial:
        partials = self._taken()
        nominal = partials[NOMINAL]
        if wrong := next((name for name, partial in partials.items() if partial.entries != nominal.entries), None):
            raise CountError(
                f"the variation {wrong} has run over {partials[wrong].entries} entries, and {NOMINAL} over {nominal.entries}"
            )
        return self._with_rows(keyed({name: partials.get(name, nominal) for name in self._names}, nominal.entries))

    def discard(self) -> None:
        self._taken()
        self._gathered, self.held = Total(), 0

    def _taken(self) -> dict[str, Partial]:
        """What nominal has filled, and the variations that have run."""
        found: dict[str, Partial] = {}
        if self._weighted is not None:
            outputs, entries = self._weighted.kernel.store.take_lanes(1 + len(self._weighted.names))
            if entries:
                lanes = zip([NOMINAL, *self._weighted.names], outputs, strict=True)
                found = {name: encode(of_lane, entries) for name, of_lane in lanes if name in self._ran}
        for name in self._names:
            if name not in found and (name == NOMINAL or name in self._ran):
                found[name] = encode(*self._stores[name].take())
        self._ran.clear()
        return found


class WeightedKernel:
    """A kernel some of whose parameters are lanes, one for nominal and one for each of some variations.

    Attributes:
        weights: these parameters.
        names: of the variations, in the order of their lanes.
        width: of the lanes.
    """

    def __init__(self, kernel: CompiledKernel, weights: tuple[str, ...], names: list[str], width: int) -> None:
        self.kernel, self.weights, self.names, self.width = kernel, weights, names, width


def _changed(variation: Variation, known: FileVariations, branches: Iterable[str]) -> list[str]:
    """What of a kernel's columns a variation changes."""
    return [name for name in branches if variation.changes([known.names.of(name)])]


def _weights(varied: Varied, known: FileVariations, source: Source, branches: Sequence[str]) -> list[list[str]]:
    """Which parameters are to be tried as lanes, first all that may be weights, then each of them."""
    columns = source.read(branches, 0, 0)
    kernel = varied.analysis
    perhaps = perhaps_weights(kernel.__wrapped__)
    plain = {
        name
        for name, column in columns.items()
        if isinstance(column, Flat) and column.values.ndim == 1 and column.values.dtype.kind in "biuf"
        and name in kernel.branches and (perhaps is None or name in perhaps)
    }  # fmt: skip
    found: dict[str, None] = {}
    for variation in known.variations:
        changed = _changed(variation, known, branches)
        if plain.issuperset(changed):
            found |= dict.fromkeys(changed)
    every = list(found)
    return [every, *([name] for name in every if len(every) > 1)] if every else []
