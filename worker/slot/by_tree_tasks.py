"""An analysis with a part for each of several trees: every packet is of one tree, and runs the part for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...merge import Partial, keyed
from ...protocol.errors import AnalysisError
from ...protocol.messages import File
from ...reading.source import Source
from ...reading.view import OpenFile
from .tasks import Task, TaskContext


class ByTreeTask(Task):
    """Runs the part for the tree of the packet at work; the result is a dict by tree.

    Args:
        parts: the tasks of the parts, by tree.
    """

    has_parts = True

    def __init__(self, parts: Mapping[str, Task]) -> None:
        self._parts = dict(parts)
        self._at_work = next(iter(self._parts.values()))
        self._ran: dict[str, None] = {}
        self._prepared: set[str] = set()

    def share(self, context: TaskContext) -> None:
        """As `Task.share`, for all parts."""
        super().share(context)
        for part in self._parts.values():
            part.share(context)

    def meet(self, file: File) -> None:
        """As `Task.meet`: its part is at work."""
        if file.tree not in self._parts:
            raise AnalysisError(f"no part of the analysis is for the tree {file.tree} of {file.path}")
        self._at_work = self._parts[file.tree]

    def look_at(self, file: OpenFile) -> None:
        """As `Task.look_at`, for the part at work."""
        self._at_work.look_at(file)

    @property
    def entry(self) -> int | None:
        return self._at_work.entry

    @property
    def index(self) -> int | None:
        return self._at_work.index

    @property
    def all_or_nothing(self) -> bool:  # type: ignore[override]  # it depends on the part
        """As `Task.all_or_nothing`, of the part at work."""
        return self._at_work.all_or_nothing

    @property
    def reads_by_itself(self) -> bool:  # type: ignore[override]
        """As `Task.reads_by_itself`, of the part at work."""
        return self._at_work.reads_by_itself

    @property
    def size(self) -> int:  # type: ignore[override]
        """As `Task.size`, of the part at work."""
        return self._at_work.size

    @property
    def held(self) -> int:  # type: ignore[override]
        """As `Task.held`, of all parts."""
        return sum(part.held for part in self._parts.values())

    def turn_to(self, place: str) -> None:
        """What comes next is of this file."""
        for part in self._parts.values():
            part.turn_to(place)

    def prepare(self, source: Source, file: File) -> None:
        """Compile the part for this tree; those of others are, when a packet of theirs comes."""
        self.meet(file)
        if file.tree not in self._prepared:
            self._at_work.prepare(source, file)
            self._prepared.add(file.tree)

    def run(self, source: Source, file: File, start: int, stop: int) -> None:
        self.prepare(source, file)
        self._ran[file.tree] = None
        self._at_work.run(source, file, start, stop)

    def parts(self, source: Source, file: File, start: int, stop: int) -> Callable[[int, int], None]:
        self.meet(file)
        return self._at_work.parts(source, file, start, stop)

    def take(self) -> Partial:
        found = {tree: self._parts[tree].take() for tree in self._ran}
        self._ran.clear()
        return keyed(found, sum(partial.entries for partial in found.values()))

    def discard(self) -> None:
        for tree in self._ran:
            self._parts[tree].discard()
        self._ran.clear()
