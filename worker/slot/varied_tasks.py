"""Analyses with variations of their columns: run over the columns as they are, and again for each variation that matters.

Both kinds read a chunk once. A kernel is compiled once, since what is put in the place of a column has its type; each
variation fills outputs of its own. A columnar function is called again for the variations of what it has touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...analysis.analysis import Kernel
from ...analysis.variations import NOMINAL, Varied
from ...merge import Partial, encode, keyed
from ...protocol.errors import AnalysisError, CountError, OutputError
from ...protocol.messages import File
from ...reading.source import Source
from ...reading.variations import FileVariations, Variation
from ...reading.varied_range import VariedChunk, VariedRange
from ...reading.view import OpenFile
from ..kernels.compile import CompiledKernel
from .seeding import reseed
from .tasks import ColumnarTask, KernelTask, Task, first_of, numbers_of


def varied_task(varied: Varied, cache: Path, at: NDArray[np.int64] | None, registered: Sequence[object]) -> Task:
    """The task for a varied analysis; the arguments are those of `CompiledKernel` and `ColumnarTask`."""
    if isinstance(varied.analysis, Kernel):
        return VariedKernelTask(CompiledKernel(varied.analysis, cache, at), varied)
    return VariedColumnarTask(varied, registered)


class Variations:
    """The variations of an analysis, for the file at work."""

    def __init__(self, varied: Varied) -> None:
        self._varied = varied
        self._file: FileVariations | None = None

    def over(self, source: Source) -> FileVariations:
        """What they are in the file of a source.

        Raises:
            AnalysisError: a variation names no column of it, or there is no file.
        """
        if source.file is None:
            raise AnalysisError(f"{self._varied.__name__} has variations of columns, and these entries are in no file")
        if self._file is None or self._file.file is not source.file:
            self._file = FileVariations(source.file, self._varied)
        return self._file


class VariedKernelTask(KernelTask):
    """A compiled kernel over columns and their variations."""

    def __init__(self, kernel: CompiledKernel, varied: Varied) -> None:
        super().__init__(kernel)
        self._variations = Variations(varied)
        self._names = [NOMINAL, *varied.variations]
        self._stores = {name: kernel.new_store() for name in self._names}
        self._ran: set[str] = set()

    def look_at(self, file: OpenFile) -> None:
        super().look_at(file)
        self.branches = None  # what the functions of variations read is known when they have run

    def prepare(self, source: Source, file: File) -> None:
        """Compile, or load what was compiled before."""
        self._variations.over(source)
        super().prepare(source, file)
        self.branches = None

    def run(self, source: Source, file: File, start: int, stop: int) -> None:
        self.kernel.forget()
        numbers, seed = numbers_of(source, start, stop), self.seed.at(first_of(source, start, stop))
        known = self._variations.over(source)
        chunk = VariedChunk(source, known, start, stop, lambda: reseed(seed))
        self._run(NOMINAL, chunk.nominal, numbers, start, stop)
        for variation in known.variations:
            if variation.changes(chunk.nominal.touched):
                try:
                    self._run(variation.name, chunk.of(variation), numbers, start, stop)
                except Exception as error:
                    _note(error, variation)
                    raise

    def _run(self, name: str, columns: VariedRange, numbers: Any, start: int, stop: int) -> None:
        read = columns.read(self.kernel.branches, start, stop)
        self.kernel.store_in(self._stores[name])
        self._ran.add(name)
        reseed(self.seed.at(start))
        self.kernel.run(read, start, numbers, self.seed)

    def parts(self, source: Source, file: File, start: int, stop: int) -> Callable[[int, int], None]:
        return Task.parts(self, source, file, start, stop)

    def take(self) -> Partial:
        partials = {name: partial for name in self._names if (partial := self._taken(name)) is not None}
        self._ran.clear()
        nominal = partials[NOMINAL]
        if wrong := next((name for name, partial in partials.items() if partial.entries != nominal.entries), None):
            raise CountError(
                f"the variation {wrong} has run over {partials[wrong].entries} entries, and {NOMINAL} over {nominal.entries}"
            )
        return keyed({name: partials.get(name, nominal) for name in self._names}, nominal.entries)

    def _taken(self, name: str) -> Partial | None:
        """What a variation has filled, if it has run; nominal in any case."""
        if name != NOMINAL and name not in self._ran:
            return None
        self.kernel.store_in(self._stores[name])
        return encode(*self.kernel.take())

    def discard(self) -> None:
        for name in self._ran:
            self.kernel.store_in(self._stores[name])
            self.kernel.take()
        self._ran.clear()


class VariedColumnarTask(ColumnarTask):
    """A function of events, called for the events as they are and for each variation of what it touches."""

    def __init__(self, varied: Varied, registered: Sequence[object] = ()) -> None:
        super().__init__(varied.analysis, [*varied.shifts, *registered])
        self._variations = Variations(varied)

    def run(self, source: Source, file: File, start: int, stop: int) -> None:
        known = self._variations.over(source)
        entry = first_of(source, start, stop)
        chunk = VariedChunk(source, known, start, stop, lambda: self._fresh(entry))
        nominal = self._call(chunk.nominal, file, entry, source)
        if self.rows.has_rows(nominal):
            raise OutputError("em.write has no variations: write rows in a query of their own, without em.vary")
        found = {NOMINAL: nominal}
        for variation in known.variations:
            found[variation.name] = nominal
            if variation.changes(chunk.nominal.touched):
                try:
                    found[variation.name] = self._varied(chunk, variation, file, entry, source)
                except Exception as error:
                    _note(error, variation)
                    raise
        self.total.add(keyed(found, nominal.entries))

    def _varied(self, chunk: VariedChunk, variation: Variation, file: File, entry: int, source: Source) -> Partial:
        """What the function returns in a variation, with all that it touches shifted beforehand: functions that shift may
        draw random numbers, too, and those of the analysis are to be the same as in nominal.
        """
        columns = chunk.of(variation)
        columns.prepare([name for name in chunk.nominal.touched if name in variation.replaced])
        while True:
            try:
                partial = self._call(columns, file, entry, source)
            except Exception:
                if not columns.missed:
                    raise
            else:
                if not columns.missed:
                    return partial
            columns.prepare(list(columns.missed))

    def _call(self, columns: VariedRange, file: File, entry: int, source: Source) -> Partial:
        events = columns.events(columns.start, columns.stop)
        with self.readable(source, columns.start):
            return self._result(self._fresh(entry), events, file, len(events))


def _note(error: BaseException, variation: Variation) -> None:
    """Say where an error was raised, if what shifts columns has not said so."""
    note = f"in the variation {variation.name}"
    if not any(told.startswith(note) for told in getattr(error, "__notes__", ())):
        error.add_note(note)
