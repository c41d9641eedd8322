"""A query's analysis inside a slot: one interface over kernels, columnar functions and coffea processors."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..merge import Partial, Total, encode
from ..protocol.analysis import Kernel, unpack
from ..protocol.codec import Buffer
from ..protocol.messages import File, Setup
from .kernels import CompiledKernel
from .readers import Reader


def load(setup: Setup, blob: Buffer, cache: Path) -> Task:
    """The task for a query. Raises what unpickling the user's code raises."""
    thing = unpack(bytes(blob))
    if isinstance(thing, Kernel):
        return KernelTask(CompiledKernel(thing, cache))
    if setup.kind == "processor":
        return ProcessorTask(thing)
    return ColumnarTask(thing)


class Task(ABC):
    """Runs the analysis on bites, and holds the result of the packet at work."""

    branches: tuple[str, ...] | None = None
    """The branches that every bite reads, where that is known beforehand."""

    @property
    def entry(self) -> int | None:
        """The entry at work when the analysis raised, where that is known."""
        return None

    def prepare(self, reader: Reader, file: File) -> None:  # noqa: B027 - most have nothing to prepare
        """Do, once a query, what its first bite would have to wait for: the time of a packet is to say how fast it was."""

    @abstractmethod
    def run(self, reader: Reader, file: File, start: int, stop: int) -> None:
        """Analyse entries `[start, stop)`."""

    @abstractmethod
    def take(self) -> Partial:
        """The result since the last `take` or `discard`."""

    @abstractmethod
    def discard(self) -> None:
        """Forget the result of the packet at work."""


class KernelTask(Task):
    """A compiled kernel over columns."""

    def __init__(self, kernel: CompiledKernel) -> None:
        self.kernel = kernel
        self.branches = kernel.branches

    @property
    def entry(self) -> int | None:
        return self.kernel.current_entry

    def prepare(self, reader: Reader, file: File) -> None:
        """Compile, or load what was compiled before, by running over no entries."""
        self.run(reader, file, 0, 0)

    def run(self, reader: Reader, file: File, start: int, stop: int) -> None:
        self.kernel.run(reader.read(self.kernel.branches, start, stop), start)

    def take(self) -> Partial:
        return encode(self.kernel.take())

    def discard(self) -> None:
        self.kernel.take()


class ColumnarTask(Task):
    """A function of an awkward array of events, and of the file if it takes a second argument."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.takes_file = _positional(function) > 1
        self.total = Total()

    def run(self, reader: Reader, file: File, start: int, stop: int) -> None:
        events = reader.events(start, stop)
        self.total.add(encode(self.function(events, file) if self.takes_file else self.function(events)))

    def take(self) -> Partial:
        partial, self.total = self.total.partial(), Total()
        return partial

    def discard(self) -> None:
        self.total = Total()


class ProcessorTask(ColumnarTask):
    """A coffea processor: its `process` over NanoEvents, as coffea's own executors call it."""

    def __init__(self, processor: Any) -> None:
        super().__init__(processor.process)

    def run(self, reader: Reader, file: File, start: int, stop: int) -> None:
        from coffea.nanoevents import NanoAODSchema, NanoEventsFactory  # type: ignore[import-not-found,unused-ignore]

        schema = getattr(self.function.__self__, "schema", NanoAODSchema)  # type: ignore[attr-defined]
        metadata = {**file.metadata, "dataset": file.dataset, "filename": file.path}
        events = NanoEventsFactory.from_root(
            {file.path: reader.tree}, entry_start=start, entry_stop=stop, schemaclass=schema, mode="virtual",
            metadata=metadata,
        ).events()  # fmt: skip
        self.total.add(encode(self.function(events)))


def _positional(function: Callable[..., object]) -> int:
    """How many positional arguments a callable takes, 1 where Python cannot tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters)
