"""What simulated slots analyse with: the tasks and the isolation of real ones, over events that are made up.

An event is its number among all entries of the query, and whether it raises. Each kind of analysis counts how often it has
seen each number, so that what a query gives tells which entries are in it, whatever its account says.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import eventmill as em
import numpy as np
from eventmill.analysis.sent_files import FilesAtHand
from eventmill.merge import Partial, Total
from eventmill.protocol import messages as m
from eventmill.reading.columns import Flat
from eventmill.reading.source import Generated
from eventmill.reading.storage.sources import Traffic
from eventmill.worker.kernels.compile import CompiledKernel
from eventmill.worker.slot.isolation import Fault, Isolation, gaps
from eventmill.worker.slot.modules import OwnModules
from eventmill.worker.slot.seeding import Seed
from eventmill.worker.slot.tasks import ColumnarTask, ItemTask, KernelTask, ProcessorTask, Task, TaskContext
from eventmill.worker.slot.unpacked_files import unpack_files
from eventmill.writing.slot_rows import SlotRows

from .data import MOST_ENTRIES, Bag, Plan, of_friend

COLUMNS = ("number", "bad", "more_of_friend")


class MadeUp(Generated):
    """A source of the entries that a lease stands for, each of a weight."""

    traffic = Traffic()

    def __init__(self, plan: Plan, lease: m.Lease, weight: int) -> None:
        self._plan, self._lease, self._weight = plan, lease, weight
        self._file = plan.by_path[lease.file.path]

    def events(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        """A row an event: its number, whether it raises, and its weight with what a friend has for it."""
        numbers = self._plan.numbers(self._lease, start, stop)
        friend = self._lease.file.friends.get("more")
        assert (friend.path if friend else "") == self._file.friend, f"{self._file} has another friend: {friend}"
        bad = np.isin(numbers - self._file.first, list(self._file.bad))
        return np.stack([numbers, bad, self._weight + (of_friend(numbers) if friend else 0 * numbers)], axis=1)

    def read(self, branches: Any, start: int, stop: int) -> dict[str, Any]:
        """The same as columns."""
        columns = np.ascontiguousarray(self.events(start, stop).T)
        return {name: Flat(column) for name, column in zip(COLUMNS, columns, strict=True)}


def columnar(events: Any) -> dict[str, Any]:
    """Of some events."""
    if events[:, 1].any():
        raise ValueError("a bad entry")
    return {"counts": np.bincount(events[:, 0], minlength=MOST_ENTRIES), "more": events[:, 2].sum()}


def with_objects(events: Any) -> dict[str, Any]:
    """The same, with an object that only Python can merge."""
    return {**columnar(events), "bag": Bag(len(events))}


def of_item(event: Any) -> dict[str, Any]:
    """Of one event."""
    return columnar(event[None, :])


class Processor:
    """The same as a processor, which counts its calls: each of them is the first."""

    def __init__(self) -> None:
        self.calls = 0

    def process(self, events: Any) -> dict[str, Any]:
        self.calls += 1
        return {name: self.calls * value for name, value in columnar(events).items()}


class MadeUpProcessor(ProcessorTask):
    """A processor in a slot, over events that need no file for coffea to read."""

    def _events(self, processor: Any, source: Any, file: m.File, start: int, stop: int) -> tuple[Any, dict[str, int]]:
        return source.events(start, stop), {}


@em.kernel(counts=np.zeros(MOST_ENTRIES, np.int64), more=np.zeros(1, np.int64))
def kernel(counts: Any, more: Any, number: Any, bad: Any, more_of_friend: Any) -> None:
    if bad:
        raise ValueError("a bad entry")
    counts[number] += 1
    more[0] += more_of_friend


@functools.cache
def _compiled() -> tuple[tempfile.TemporaryDirectory[str], CompiledKernel]:
    """The kernel, compiled once a process."""
    folder = tempfile.TemporaryDirectory(prefix="eventmill-chaos-code-")
    compiled = CompiledKernel(kernel, Path(folder.name))
    none = np.empty(0, np.int64)
    compiled.run({name: Flat(none) for name in COLUMNS}, 0)
    return folder, compiled


def task_of(plan: Plan) -> Task:
    """The analysis of a query, in a slot."""
    if plan.analysis == "kernel":
        folder, first = _compiled()
        compiled = CompiledKernel(kernel, Path(folder.name))
        compiled._loops = first._loops
        task: Task = KernelTask(compiled)
    elif plan.analysis == "item":
        task = ItemTask(of_item)
    elif plan.analysis == "processor":
        task = MadeUpProcessor(Processor())
    else:
        task = ColumnarTask(with_objects if plan.objects else columnar)
    task.share(TaskContext(OwnModules({}), FilesAtHand({}, unpack_files), {}, Seed(0), SlotRows("", "")))
    return task


class Analysed:
    """The result of a packet at work, chunk by chunk, as `worker.slot.packet_run` has it.

    Args:
        weight: what the attachment of the analysis says.
        aside: where the results of chunks are put, if the query has passed over an error before.
    """

    def __init__(self, plan: Plan, task: Task, lease: m.Lease, weight: int, aside: Total | None) -> None:
        self._skips, self._task, self._file = plan.skips, task, lease.file
        self._source: Any = MadeUp(plan, lease, weight)
        self.aside = aside

    def chunk(self, start: int, stop: int) -> list[m.Gap] | None:
        """Analyse a chunk: what of it is skipped; None where the packet has to begin again.

        Raises:
            ValueError: an entry is bad, and the query does not skip.
        """
        task, skipped = self._task, list[m.Gap]()
        try:
            task.run(self._source, self._file, start, stop)
        except ValueError as error:
            if not self._skips:
                raise
            if self.aside is None and not task.all_or_nothing:
                task.discard()
                self.aside = Total()
                return None
            skipped = self._pass_over(start, stop, error)
        if self.aside is not None:
            self.aside.add(task.take())
        return skipped

    def _pass_over(self, start: int, stop: int, error: ValueError) -> list[m.Gap]:
        task = self._task
        aside = self.aside = self.aside or Total()
        if task.all_or_nothing:
            aside.add(task.take())
        run = task.parts(self._source, self._file, start, stop)

        def attempt(low: int, high: int) -> Fault | None:
            try:
                run(low, high)
            except ValueError as error:
                return Fault.of(error, low, high, task.index)
            return None

        first = Fault.of(error, start, stop, task.index)
        faults, end = Isolation(attempt, lambda: aside.add(task.take()), task.discard, task.all_or_nothing).run(
            start, stop, first
        )
        assert end == stop
        return gaps(faults)

    def discard(self) -> None:
        """The packet is over, without a result."""
        self._task.discard()

    def partial(self) -> Partial:
        """The packet is over: its result."""
        return self._task.take() if self.aside is None else self.aside.partial()
