"""Reads the next chunk in a thread while the slot computes the one in hand, and asks for the bytes of those behind it.

A reader belongs to one thread at a time. Either an *order* is out, and the thread of this module reads, or none is, and
the slot's own thread may (`settle` waits for that). So readers need no locks. Files that are waited for are opened in
other threads: nobody else has their readers yet.

Two threads on one core would only hinder each other. The next chunk is read ahead where that gains time: where the file is
far, where a core is spare, or where bytes are waited for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ...protocol.errors import AnalysisError, DatasetError
from ...protocol.messages import Activity
from ...reading.prefetched_range import Names, PrefetchedRange
from ...reading.reader_cache import Place, ReaderCache
from ...reading.source import Source
from ...reading.tree_series import TreeReader
from ...reading.view import OpenFile
from .readahead_window import Key, ReadaheadWindow, Stretch

WAITS = 0.25
"""From this part of its time that a slot waits for the bytes of files that are not far, they are read ahead too."""
MOST_OPENING = 4
"""Files that are opened ahead at most, side by side: of more, the first are of packets that went to somebody else."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read: entries of a source, and which columns of them."""

    stretch: Stretch
    source: Source
    names: Names


@dataclass(frozen=True, slots=True)
class Order:
    """A chunk that the thread reads."""

    lease: Key
    fetched: PrefetchedRange
    done: Future[None]


class Prefetch:
    """The pipeline of one slot.

    Args:
        spare: there are more cores than slots, so that the thread has one to run on.
        turn_to: told when the slot, in the middle of its analysis, has to read by itself, and when it goes on.

    Attributes:
        waited: seconds in which the slot had nothing to do, since its data had not come.

    Example:
        Chunk after chunk::

            fetched = prefetch.take(lease, source, position, stop, names)
            prefetch.order([Plan(rest_of_the_packet, source, names), Plan(next_packet, another, names)])
            task.run(fetched, file, position, stop)
            prefetch.chunk_took(fetched, seconds)
    """

    def __init__(self, spare: bool = False, turn_to: Callable[[Activity], None] = lambda _: None) -> None:
        self._spare = spare
        self._turn_to = turn_to
        self._thread: ThreadPoolExecutor | None = None
        self._order: Order | None = None
        self._window = ReadaheadWindow()
        self._waits = 0.0
        self.waited = 0.0

    def opened(self, file: OpenFile, began: tuple[float, float]) -> None:
        """A file was opened, or waited for: since `began`, by the clock and in CPU time, there was nothing else to do."""
        idle = _idle(began)
        self.waited += idle if file.is_far else min(idle, file.traffic.waited)

    def settle(self) -> None:
        """Wait until the thread reads nothing: from then on, and until the next `order`, readers are the caller's."""
        if self._order is not None:
            wait([self._order.done])

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While the slot reads what its analysis asks for, and nobody has read ahead; the thread reads nothing then."""
        self._turn_to("reading")
        self.settle()
        try:
            yield
        finally:
            self._turn_to("running")

    def drop(self) -> None:
        """Forget what is read ahead: it will not be wanted. Readers are the caller's then."""
        self.settle()
        self._order = None

    def ordered(self, lease: Key, start: int) -> int | None:
        """Where the chunk from `start` on that is being read ahead ends, None if there is none."""
        order = self._order
        return (
            order.fetched.stop if order is not None and (order.lease, order.fetched.start) == (lease, start) else None
        )

    def take(self, lease: Key, source: Source, start: int, stop: int, names: Names) -> PrefetchedRange:
        """The entries `[start, stop)`, and more if more was read ahead.

        Nothing is read here if the file is near: what is asked for of the entries is read then. Raises nothing that
        reading may raise, but what comes out of it later.
        """
        began = time.monotonic(), time.process_time()
        self.settle()
        order, self._order = self._order, None
        if order is not None:
            order.done.result()
            fetched = order.fetched
            fetched.idle = min(_idle(began), fetched.waited)
            if (order.lease, fetched.start) == (lease, start) and fetched.file is source.file:
                return fetched
            self.waited += fetched.idle
        fetched = PrefetchedRange(source, start, stop, self.alone)
        if source.is_far and names:
            fetched.fetch(names)
            fetched.idle = fetched.waited
        return fetched

    def order(self, plans: Sequence[Plan], halvings: int = 0) -> None:
        """Have the first chunk of the first plan read, and the bytes of what follows asked for, as far as that is of use.

        Args:
            plans: what will be read, in order; none of it is in hand.
            halvings: how often to halve what is in memory, because it is short.
        """
        if self._order is not None or not plans:
            return
        first, far = plans[0], self._pieces(plans, halvings)
        reads = bool(first.names) and (first.source.is_far or self._spare or self._waits > WAITS)
        if not far and not reads:
            return
        fetched = PrefetchedRange(first.source, first.stretch.start, first.stretch.end, self.alone)
        names = first.names if reads else Names()

        def carry_out() -> None:
            _ask(far)
            fetched.fetch(names)

        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "read ahead")
        self._order = Order(first.stretch.lease, fetched, self._thread.submit(carry_out))

    def ask(self, plans: Sequence[Plan], halvings: int = 0) -> None:
        """Ask for the bytes of what comes next at once, before there is anything to compute."""
        self.settle()
        _ask(self._pieces(plans, halvings))

    def _pieces(self, plans: Sequence[Plan], halvings: int) -> list[tuple[Plan, Stretch]]:
        """What is to be asked for now, of files that are far."""
        far = {plan.stretch.lease: plan for plan in plans if plan.source.is_far}
        self._window.keep(far)
        latency = max((plan.source.traffic.latency for plan in far.values()), default=0.0)
        pieces = self._window.ask([plan.stretch for plan in far.values()], latency, halvings)
        return [(far[piece.lease], piece) for piece in pieces]

    def chunk_took(self, fetched: PrefetchedRange, seconds: float) -> None:
        """A chunk is over. It took `seconds` from being taken to its end, with what it read on demand."""
        self.waited += fetched.idle
        self._window.chunk_took(max(0.0, seconds - fetched.idle))
        if not fetched.source.is_far:
            self._waits += (fetched.waited / max(seconds, 1e-6) - self._waits) / 8

    def opens(self, path: str) -> bool:
        """Whether it is of use to open this file ahead."""
        return self._spare or "://" in path


class Openings:
    """Files that are being opened in threads, for packets that wait; of those that are open, whether they still are what
    their path means.

    Files are named as `ReaderCache.new` takes them: by path, tree, and what is shown to their server.
    """

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._opening: dict[Place, Future[TreeReader]] = {}
        self._checking: dict[TreeReader, Future[bool]] = {}

    def begin(self, readers: ReaderCache, files: Iterable[Place], since: float = 0.0) -> None:
        """Open what is not open. What was opened since the last call, or before, goes into the cache.

        What is open since before `since` is asked for at its server, as `ReaderCache.get` would do and wait.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MOST_OPENING, "open ahead")
        for file in files:
            reader = readers.peek(*file)
            if reader is not None:
                if reader.is_far and reader.opened < since and reader not in self._checking:
                    self._checking = {known: asked for known, asked in self._checking.items() if not asked.done()}
                    self._checking[reader] = self._threads.submit(reader.is_current, since)
                continue
            opening = self._opening.get(file)
            if opening is None:
                while len(self._opening) >= MOST_OPENING:
                    self._opening.pop(next(iter(self._opening))).add_done_callback(_close)
                self._opening[file] = self._threads.submit(readers.new, *file)
            elif opening.done() and opening.exception() is None:
                readers.adopt(self._opening.pop(file).result(), *file)

    def keep(self, files: Container[Place]) -> None:
        """Forget what was begun for packets that went elsewhere, also that it failed: it may not fail again."""
        for file in [file for file in self._opening if file not in files]:
            self._opening.pop(file).add_done_callback(_close)

    def hand_over(self, readers: ReaderCache, files: Iterable[Place]) -> None:
        """Put files whose opening has begun into the cache, once it is done, and wait for what servers say of open ones.

        Raises what opening the first of them has raised. For the others, friends of it, `Views.get` says it better.
        """
        for number, file in enumerate(files):
            reader = readers.peek(*file)
            if reader is not None and (checking := self._checking.pop(reader, None)) is not None:
                wait([checking])
            opening = self._opening.pop(file, None)
            if opening is not None and (number == 0 or opening.exception() is None):
                readers.adopt(opening.result(), *file)


def _ask(pieces: Sequence[tuple[Plan, Stretch]]) -> None:
    """Ask for bytes ahead. If that cannot be done, whoever reads them hears why, and it is about those entries then."""
    for plan, piece in pieces:
        with contextlib.suppress(DatasetError, AnalysisError):
            plan.source.ahead(plan.names.columns, piece.start, piece.stop)


def _close(opening: Future[TreeReader]) -> None:
    if opening.exception() is None:
        opening.result().close()


def _idle(began: tuple[float, float]) -> float:
    """Seconds since then in which no thread of this process computed."""
    clock, cpu = began
    return max(0.0, time.monotonic() - clock - (time.process_time() - cpu))


def weight_of(source: Source, names: Names) -> float:
    """Bytes in its file of an entry of these columns, 0 if nobody knows: whoever reads them will hear why."""
    try:
        return source.weight(names.columns)
    except DatasetError:
        return 0.0
