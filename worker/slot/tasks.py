"""A query's analysis inside a slot: one interface over kernels, columnar functions and coffea processors.

It runs over a *source* of entries: a file's reader, the maker of cycles, or the items that came with the query.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from ...analysis import once, sent_files
from ...analysis.analysis import Kernel, files_of, is_processor, unpack_with_behaviors
from ...analysis.by_tree import ByTree
from ...analysis.sent_files import FilesAtHand
from ...analysis.variations import Varied
from ...dataset.metadata import own_metadata
from ...merge import Partial, Total, beside, detached, encode
from ...protocol.codec import Buffer
from ...protocol.errors import AnalysisError, EventmillError
from ...protocol.foreign import add_note
from ...protocol.messages import File, Setup
from ...reading.cached_range import CachedRange
from ...reading.missing_fields import check_readable, missing_field, note_of_group
from ...reading.parquet.coffea_file import coffea_file
from ...reading.parquet.reader import ParquetReader
from ...reading.read_errors import raised, read_errors_within
from ...reading.reader import Reader
from ...reading.record_groups import record_group
from ...reading.source import Source
from ...reading.tree_series import TreeSeries
from ...reading.view import OpenFile
from ...writing.slot_rows import SlotRows
from ..kernels.compile import CompiledKernel
from ..kernels.given import Place
from . import behaviors
from .cycles import CycleSource
from .items import ItemSource
from .kept_values import guarded
from .modules import OwnModules, own_modules
from .outliving import Outliving
from .seeding import Seed, reseed
from .snapshot import Snapshot, is_by_value
from .unpacked_files import unpack_files

once.guard = guarded


def load(
    setup: Setup,
    blob: Buffer,
    cache: Path,
    over: Literal["tree", "cycles", "items"] = "tree",
    at: NDArray[np.int64] | None = None,
    guard: AbstractContextManager[object] | None = None,
    rows: SlotRows | None = None,
) -> Task:
    """The task for a query over files of one kind, its modules entered. Raises what unpickling the user's code raises.

    `at`, one number, is where it keeps the index of the entry at work, as `CompiledKernel` does; the `guard` of its process
    is around every call of the user's code. `rows` knows what becomes of those that are to be written.
    """
    files = FilesAtHand(files_of(blob), unpack_files)
    sent_files.use(files)
    modules = own_modules(blob, cache / "modules")
    modules.enter()
    modules.restore(Seed(setup.seed))
    thing, registered = unpack_with_behaviors(blob)
    behaviors.use(registered)
    if not isinstance(thing, Kernel):
        modules.remember()
    own = _own(registered)
    if over == "items" and isinstance(thing, Varied):
        raise AnalysisError(f"{thing.__name__} has variations of columns, and items are in no file")
    if over == "items":
        task: Task = ItemTask(thing, own, at)
    elif isinstance(thing, ByTree):
        from .by_tree_tasks import ByTreeTask  # it is made of what is here

        task = ByTreeTask({tree: _task(part, cache, at, own) for tree, part in thing.parts.items()})
    else:
        task = _task(thing, cache, at, own)
    rows = rows or SlotRows(setup.token, setup.folder)
    task.share(TaskContext(modules, files, registered, Seed(setup.seed), rows, guard or nullcontext()))
    return task


def _task(thing: Any, cache: Path, at: NDArray[np.int64] | None, own: Sequence[object]) -> Task:
    """The task for an analysis of entries."""
    if isinstance(thing, Varied):
        from .varied_tasks import varied_task

        return varied_task(thing, cache / "kernels", at, own)
    if isinstance(thing, Kernel):
        return KernelTask(CompiledKernel(thing, cache / "kernels", at))
    if is_processor(thing):
        return ProcessorTask(thing, own)
    return ColumnarTask(thing, own)


def _own(registered: dict[Any, Any]) -> list[object]:
    """What came with the analysis of what is registered, and can have changed after a call."""
    return [value for value in registered.values() if is_by_value(getattr(value, "__module__", None) or "")]


def source_without_file(file: File, shared_inputs: Buffer, cache: Path) -> CycleSource | ItemSource:
    """What makes the cycles of a dataset, or has its items at hand, which came as the query's shared_inputs.

    The `cache` is as in `load`.
    """
    return ItemSource(shared_inputs) if file.kind == "items" else CycleSource(file.seed, cache / "kernels")


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a task has of its query, and of its process.

    Attributes:
        modules: the user's own modules.
        files: what `em.file` finds.
        behaviors: what is in `awkward.behavior` in the user's session.
        seed: of the random numbers of the query.
        rows: what becomes of rows that it returns to be written.
        guard: puts back what the user's code has taken from its process, before anything else runs in it.
    """

    modules: OwnModules
    files: FilesAtHand
    behaviors: dict[Any, Any]
    seed: Seed
    rows: SlotRows
    guard: AbstractContextManager[object] = field(default_factory=nullcontext)


class Task(ABC):
    """Runs the analysis on chunks, and holds the result of the packet at work. It has what is in its `TaskContext`; the
    seed is that of the file at work."""

    modules: OwnModules
    files: FilesAtHand
    behaviors: dict[Any, Any]
    seed: Seed
    rows: SlotRows
    guard: AbstractContextManager[object] = nullcontext()
    branches: tuple[str, ...] | None = None
    """The branches that every chunk reads, where that is known beforehand."""
    all_or_nothing = True
    """Whether nothing of a `run` that raises is in the result."""
    reads_by_itself = False
    """Whether it needs the file's own reader, whose columns nobody reads for it."""
    held = 0
    """Bytes in the packet at work of what grows with it: of rows to be written, and of awkward arrays."""
    has_parts = False
    """Whether files of other trees are run by other parts of the analysis, which may call other columns alike."""
    size = 0
    """Bytes of the columns that it has read by itself in the last `run`; 0 while unknown."""

    def share(self, context: TaskContext) -> None:
        """Take what it needs of its query, and of its process."""
        self.modules, self.files, self.behaviors = context.modules, context.files, context.behaviors
        self.seed, self.rows, self.guard = context.seed, context.rows, context.guard

    def meet(self, file: File) -> None:  # noqa: B027 - most do the same for every file
        """A packet of this file is at work from now on."""

    def enter(self) -> None:
        """Be in the environment of the user's session: before its code runs, or what it made is pickled."""
        sent_files.use(self.files)
        self.modules.enter()
        behaviors.use(self.behaviors)

    @property
    def entry(self) -> int | None:
        """The entry at work when the analysis raised, where that is known."""
        return None

    @property
    def index(self) -> int | None:
        """As `entry`, but counted from the first of the `run`."""
        return None

    def parts(self, source: Source, file: File, start: int, stop: int) -> Callable[[int, int], None]:
        """As `run`, for any parts of the entries `[start, stop)`, of which `run` has just raised; they are read once."""
        held = source if source.file is None else CachedRange(source, start, stop)
        return lambda low, high: self.run(held, file, low, high)

    def turn_to(self, place: str) -> None:
        """What comes next is of this file."""
        self.seed = Seed(self.seed.query, place)

    def look_at(self, file: OpenFile) -> None:  # noqa: B027 - most read what they touch
        """Learn which columns of a file will be read, as far as its names tell."""

    def prepare(self, source: Source, file: File) -> None:  # noqa: B027 - most have nothing to prepare
        """Do, once a query, what its first chunk would have to wait for: the time of a packet is to say how fast it was."""

    @abstractmethod
    def run(self, source: Source, file: File, start: int, stop: int) -> None:
        """Analyse entries `[start, stop)`."""

    @abstractmethod
    def take(self) -> Partial:
        """The result since the last `take` or `discard`."""

    @abstractmethod
    def discard(self) -> None:
        """Forget the result of the packet at work."""


class KernelTask(Task):
    """A compiled kernel over columns."""

    all_or_nothing = False

    def __init__(self, kernel: CompiledKernel) -> None:
        self.kernel = kernel
        self._has_looked = False
        self._gathered = Total()

    @property
    def entry(self) -> int | None:
        return self.kernel.current_entry

    @property
    def index(self) -> int | None:
        return self.kernel.current_index

    def look_at(self, file: OpenFile) -> None:
        if not self._has_looked:
            self.kernel.parameters.look_at(lambda name: record_group(file, name))
            self.branches = self.kernel.branches
            self._has_looked = True

    def prepare(self, source: Source, file: File) -> None:
        """Compile, or load what was compiled before."""
        self.kernel.parameters.turn_to(place_in(source, file))
        self.kernel.prepare(lambda names: source.read(names, 0, 0))
        self.branches = self.kernel.branches

    def run(self, source: Source, file: File, start: int, stop: int) -> None:
        self.kernel.forget()
        numbers = numbers_of(source, start, stop)
        reseed(self.seed.at(start))
        self.kernel.parameters.turn_to(place_in(source, file))
        columns = source.read(self.kernel.branches, start, stop)
        self.kernel.run(columns, start, numbers, self.seed, stop - start)
        self._gather(file, start, stop)

    def parts(self, source: Source, file: File, start: int, stop: int) -> Callable[[int, int], None]:
        if self.index is None:  # the columns could not be read
            return super().parts(source, file, start, stop)

        def run(low: int, high: int) -> None:
            self.kernel.run_again(low - start, high - start)
            self._gather(file, low, high)

        return run

    def _gather(self, file: File, start: int, stop: int) -> None:
        """Take the rows that came of entries `[start, stop)`, while that is known."""
        if self.kernel.store.has_rows:
            self._hold(encode(self.kernel.store.take_rows()), file, start, stop)

    def _hold(self, rows: Partial, file: File, start: int, stop: int) -> None:
        placed = self.rows.placed(rows, file, start, stop)
        self._gathered.add(placed)
        self.held += self.rows.size(placed)

    def take(self) -> Partial:
        return self._with_rows(encode(*self.kernel.take()))

    def _with_rows(self, partial: Partial) -> Partial:
        """A result together with the rows that have been gathered, which are held no more."""
        rows, self._gathered, self.held = self._gathered.partial(), Total(), 0
        return beside(partial, rows)

    def discard(self) -> None:
        self.kernel.take()
        self._gathered, self.held = Total(), 0


class ColumnarTask(Task):
    """A function of an awkward array of events, and of the file if it takes a second argument.

    Each call finds the function, and all that it can change, as it came; so it does what is `registered` of the user's own.
    """

    def __init__(self, function: Any, registered: Sequence[object] = ()) -> None:
        self.takes_file = _positional(function) > 1
        self.total = Total()
        self._snapshot = Snapshot([function, *registered], is_by_value)
        self._outliving = Outliving(lambda thing: self._snapshot.holds(thing) or self.modules.holds(thing))

    def run(self, source: Source, file: File, start: int, stop: int) -> None:
        events = source.events(start, stop)
        with self.readable(source, start):
            partial = self._result(self._fresh(first_of(source, start, stop)), events, file, len(events))
        self._add(partial, file, start, stop)

    def _add(self, partial: Partial, file: File, start: int, stop: int) -> None:
        """Add the result of entries `[start, stop)` of a file."""
        partial = self.rows.placed(partial, file, start, stop)
        self.total.add(partial)
        self.held += self.rows.grown(partial)

    @contextmanager
    def readable(self, source: Source, entry: int) -> Iterator[None]:
        """Where a field is missing because its column cannot be read, the error says why."""
        try:
            yield
        except (AttributeError, ak.errors.FieldNotFoundError) as error:
            check_readable(source, error, entry)
            raise

    def _fresh(self, entry: int) -> Any:
        """The analysis as it came, for a call whose first entry is this one; random numbers begin where they do for it."""
        seed = self.seed.at(entry)
        reseed(seed)
        self.modules.restore(seed)
        once.put_back()
        thing, *_ = self._snapshot.restore(seed)
        return thing

    def _result(self, function: Callable[..., object], events: Any, file: File, entries: int) -> Partial:
        """What the function returns for so many entries, which are counted here and nowhere else."""
        if self.takes_file:
            file = own_metadata(file)
        try:
            with self.guard:
                value = function(events, file) if self.takes_file else function(events)
        except (AttributeError, ak.errors.FieldNotFoundError) as error:
            if isinstance(raised(error), EventmillError):
                raise raised(error) from None
            if isinstance(events, ak.Array) and (missing := missing_field(error, events)) is not None:
                raise missing.with_traceback(error.__traceback__) from None
            raise
        except (IndexError, TypeError, ValueError) as error:
            if isinstance(events, ak.Array) and (note := note_of_group(error, events)):
                add_note(error, note)
            raise
        self._outliving.check(value)
        partial = detached(encode(value, entries))
        del value
        self._outliving.forget()
        return partial

    def take(self) -> Partial:
        partial, self.total, self.held = self.total.partial(), Total(), 0
        return partial

    def discard(self) -> None:
        self.total, self.held = Total(), 0


class ItemTask(ColumnarTask):
    """A function of one item, and of the file if it takes a second argument."""

    def __init__(
        self, function: Callable[..., object], registered: Sequence[object] = (), at: NDArray[np.int64] | None = None
    ) -> None:
        super().__init__(function, registered)
        self._at, self._start = np.full(1, -1, np.int64) if at is None else at, 0

    @property
    def entry(self) -> int | None:
        return None if self.index is None else self._start + self.index

    @property
    def index(self) -> int | None:
        index = int(self._at[0])
        return index if index >= 0 else None

    def run(self, source: Source, file: File, start: int, stop: int) -> None:
        self._start, self._at[0] = start, -1
        total = Total()
        for index in range(stop - start):
            self._at[0] = index
            (item,) = source.events(start + index, start + index + 1)
            result = self._result(self._fresh(start + index), item, file, 1)
            total.add(self.rows.placed(result, file, start + index, start + index + 1))
        partial = total.partial()
        self.total.add(partial)
        self.held += self.rows.grown(partial)


_COFFEAS_READING = "coffea.nanoevents.mapping"
"""What reads the columns of NanoEvents when they are touched."""


class ProcessorTask(ColumnarTask):
    """A coffea processor: its `process` over NanoEvents, as coffea's own executors call it."""

    reads_by_itself = True

    def parts(self, source: Source, file: File, start: int, stop: int) -> Callable[[int, int], None]:
        return lambda low, high: self.run(source, file, low, high)  # it reads by itself

    def __init__(self, processor: Any, registered: Sequence[object] = ()) -> None:
        super().__init__(processor, registered)
        self.takes_file = False

    def run(self, source: Source, file: File, start: int, stop: int) -> None:
        processor = self._fresh(first_of(source, start, stop))
        path = "" if source.file is None else source.file.path
        with read_errors_within(_COFFEAS_READING, path, "cannot be read"):
            events, read = self._events(processor, source, file, start, stop)
            self._add(self._result(processor.process, events, file, len(events)), file, start, stop)
        self.size = sum(buffer.nbytes for buffer in read.values())

    def _events(
        self, processor: Any, source: Source, file: File, start: int, stop: int
    ) -> tuple[Any, Mapping[str, NDArray[Any]]]:
        """Some entries as coffea hands them over, and their buffers that have been touched.

        Where coffea is given a place for buffers, arrays keep none themselves: what that place forgets is read again for
        every selection of it.
        """
        from coffea.nanoevents import NanoAODSchema, NanoEventsFactory  # type: ignore[import-not-found,unused-ignore]

        schema = getattr(processor, "schema", NanoAODSchema)
        reader, (first, last) = source.file, source.covering(start, stop)
        if isinstance(reader, TreeSeries):
            raise AnalysisError(
                f"a coffea processor reads one tree at a time, and {reader.tree} are {len(reader.trees)} in {reader.path}: "
                f"list them, tree=[{reader.trees[0]!r}, ...], or write a function of events"
            )
        if not isinstance(reader, Reader | ParquetReader):  # what a processor sees are no views
            raise AnalysisError("a coffea processor needs events from files")
        chunk = {"treename": reader.tree, "entrystart": first, "entrystop": last, "fileuuid": reader.uuid}
        metadata = {**chunk, **own_metadata(file).metadata, "dataset": file.dataset, "filename": file.path}
        read: dict[str, NDArray[Any]] = {}
        options = {"schemaclass": schema, "mode": "virtual", "metadata": metadata}
        options |= {"buffer_cache": read} if _has_cache(NanoEventsFactory) else {}
        if isinstance(reader, ParquetReader):
            rows = coffea_file(reader, first, last)
            made = NanoEventsFactory.from_parquet(rows, entry_start=0, entry_stop=last - first, **options)
        else:
            made = NanoEventsFactory.from_root(
                reader.stored.keeping, treepath=reader.tree, entry_start=first, entry_stop=last, **options
            )
        events = made.events()
        numbers = source.numbers(start, stop)
        if numbers is not None:
            events = events[numbers - first]
        return events, read


@functools.cache
def _has_cache(factory: Any) -> bool:
    """Whether this coffea takes a cache of buffers; before 2025.12 it did not."""
    return "buffer_cache" in inspect.signature(factory.from_root).parameters


def place_in(source: Source, file: File) -> Place:
    """Where the entries of a source are; the tree by its name also where it is the only one of its file."""
    return Place(file.dataset, file.path, file.tree if source.file is None else source.file.tree, file.metadata)


def numbers_of(source: Source, start: int, stop: int) -> NDArray[np.int64] | None:
    """The numbers that entries have in their file where only some of it are used, and all are counted by their positions."""
    return source.numbers(start, stop) if start < stop else None


def first_of(source: Source, start: int, stop: int) -> int:
    """The number of the first entry in its file."""
    numbers = numbers_of(source, start, stop)
    return start if numbers is None else int(numbers[0])


def _positional(function: Callable[..., object]) -> int:
    """How many positional arguments a callable takes, 1 where Python cannot tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters)
