"""Analyses with variations of their columns: run over the columns as they are, and again for each variation that matters.

A columnar function is called again for the variations of what it has touched; kernels are in `varied_kernels`. Both read a
chunk once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...analysis.analysis import Kernel
from ...analysis.variations import NOMINAL, Varied
from ...merge import Partial, keyed
from ...protocol.messages import File
from ...reading.source import Source
from ...reading.variations import FileVariations, Variation, Variations
from ...reading.varied_range import VariedChunk, VariedRange, note
from .outliving import Outliving
from .recalled_arrays import RecalledArrays
from .tasks import ColumnarTask, Task, first_of
from .varied_kernels import VariedKernelTask


def varied_task(varied: Varied, cache: Path, at: NDArray[np.int64] | None, registered: Sequence[object]) -> Task:
    """The task for a varied analysis; the arguments are those of `CompiledKernel` and `ColumnarTask`."""
    if isinstance(varied.analysis, Kernel):
        return VariedKernelTask(varied, cache, at)
    return VariedColumnarTask(varied, registered)


class VariedColumnarTask(ColumnarTask):
    """A function of events, called for the events as they are and for each variation of what it touches.

    What awkward computes in the first call is there in the others, as long as this works and saves anything.

    Attributes:
        recalls: whether it does.
    """

    def __init__(self, varied: Varied, registered: Sequence[object] = ()) -> None:
        super().__init__(varied.analysis, [*varied.shifts, *registered])
        self._variations = Variations(varied)
        self._chunk: VariedChunk | None = None
        self._outliving = Outliving(self._may_come_back)
        self.recalls = not registered  # what the user's own kinds of arrays compute may be another thing each time

    def run(self, source: Source, file: File, start: int, stop: int) -> None:
        known = self._variations.over(source)
        entry = first_of(source, start, stop)
        try:
            partial = self._all(known, source, file, entry, start, stop)
        except Exception:
            if not self.recalls:
                raise
            self.recalls = False  # it may be this: it writes into an array that others are made of, for example
            partial = self._all(known, source, file, entry, start, stop)
        self._add(partial, file, start, stop)

    def _all(self, known: FileVariations, source: Source, file: File, entry: int, start: int, stop: int) -> Partial:
        """What the function returns, by variations."""
        chunk = self._chunk = VariedChunk(source, known, start, stop, lambda: self._fresh(entry))
        recalled = RecalledArrays(chunk.column_in) if self.recalls else None
        nominal = self._call(chunk.nominal, file, entry, source, recalled)
        found = {NOMINAL: nominal}
        for variation in known.variations:
            found[variation.name] = nominal
            if variation.changes(chunk.nominal.touched):
                try:
                    found[variation.name] = self._varied(chunk, variation, file, entry, source, recalled)
                except BaseException as error:
                    note(error, variation)
                    raise
                chunk.forget(variation)
        self.recalls = recalled is not None and recalled.hits > 0
        if self.rows.has_rows(nominal):
            found = {name: self.rows.of_variation(partial, name) for name, partial in found.items()}
        return keyed(found, nominal.entries)

    def _may_come_back(self, thing: object) -> bool:
        """Whether the calls for several variations may return the same: a column, or what is put back before each call."""
        is_column = self._chunk is not None and self._chunk.holds(thing)
        return is_column or self._snapshot.holds(thing) or self.modules.holds(thing)

    def _varied(
        self,
        chunk: VariedChunk,
        variation: Variation,
        file: File,
        entry: int,
        source: Source,
        recalled: RecalledArrays | None,
    ) -> Partial:
        """What the function returns in a variation, with all that it touches shifted beforehand: functions that shift may
        draw random numbers, too, and those of the analysis are to be the same as in nominal.
        """
        columns = chunk.of(variation)
        columns.prepare([name for name in chunk.nominal.touched if name in variation.replaced])
        while True:
            try:
                partial = self._call(columns, file, entry, source, recalled)
            except Exception:
                if not columns.missed:
                    raise
            else:
                if not columns.missed:
                    return partial
            columns.prepare(list(columns.missed))

    def _call(
        self, columns: VariedRange, file: File, entry: int, source: Source, recalled: RecalledArrays | None
    ) -> Partial:
        events = columns.events(columns.start, columns.stop)
        function = self._fresh(entry)
        listening = nullcontext() if recalled is None else recalled.listening(columns.is_nominal)
        with self.readable(source, columns.start), listening:
            return self._result(function, events, file, len(events))
