"""The end of a query that writes files: its pieces are joined by slots, and the result gets the list of the files.

Whoever waits for the result waits for that too. The pieces stay in the master's result: if the session ends meanwhile,
another one that attaches to the query does it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from ..dataset.generated import items
from ..display.query_view import QueryHistory
from ..merge import Partial
from ..merge.nodes import Tree, Written, rebuilt, walk
from ..merge.rows import OutputFile
from ..protocol.errors import ConnectionFailed, EventmillError
from ..writing.grouping import Group, groups
from ..writing.merging import Finishing, JoinedFile, Joining, files_told, finish, join_pieces
from .changes import Changes
from .ending import Ending
from .owner import clipped
from .result import Result

if TYPE_CHECKING:
    from .delegation import Delegation
    from .query import Query
    from .session import Session


def unfinished(result: Result) -> bool:
    """Whether rows of it are in pieces."""
    return bool(result._frames) and any(
        isinstance(node, Written) and node.pieces for node in walk(Partial.from_frames(result._frames).tree)
    )


class Finishes:
    """The part of a `Query` that has its files finished."""

    _session: Session
    _delegation: Delegation | None
    _changed: Changes
    _ending: Ending | None
    _history: QueryHistory
    id: str
    name: str

    def _over(self, ending: Ending) -> None:
        """The query is over; called in the link's thread. The result is there when its files are."""
        self._history.ended(ending.result)
        if ending.result.state in ("done", "stopped") and unfinished(ending.result):
            threading.Thread(target=self._finish, args=[ending], name=f"files of {self.name}", daemon=True).start()
        else:
            self._ending = ending

    def _finish(self, ending: Ending) -> None:
        try:
            ending = replace(ending, result=self._finished(ending.result))
        except Exception as error:  # whoever waits for the result is to have it
            ending = replace(ending, trouble=error)
        with self._changed:
            self._ending = ending

    def _finished(self, result: Result) -> Result:
        """The result with the list of its files in the place of pieces. Raises `OutputError`, and what a query raises."""
        if not unfinished(result):
            return result
        partial = Partial.from_frames(result._frames)

        def files(tree: Tree) -> Tree:
            if not isinstance(tree, Written) or not tree.pieces:
                return tree
            return msgspec.structs.replace(tree, pieces=[], files=[*tree.files, *self._files(tree)])

        frames = Partial(rebuilt(partial.tree, files), partial.entries).to_frames()
        return Result(frames, result.account, result.seconds, result.state)

    def _files(self, node: Written) -> list[OutputFile]:
        joined = self._joined(node, groups(node))
        datasets = list(dict.fromkeys(piece.dataset for piece in node.pieces))
        return [done.file for done in self._told([Finishing(node.spec, datasets, joined)], finish)]

    def _joined(self, node: Written, some: Sequence[Group]) -> list[JoinedFile]:
        joined = self._told([Joining(node.spec, node.forms, group) for group in some], join_pieces)
        return sorted(joined, key=lambda each: each.file.path)

    def _told(self, work: Sequence[Any], function: Callable[[Any], dict[str, Any]]) -> list[JoinedFile]:
        """Have slots do something with files, as items of a query of its own."""
        try:
            query = self._submitted(work, function)
            told = files_told(query.result(progress=False)["files"])
        except EventmillError as error:
            error.add_note(
                f"the rows are in pieces, and nothing is lost: session.attach({self.id!r}).result() takes it up again"
            )
            raise
        with contextlib.suppress(EventmillError):  # it is in lists of queries then
            self._session.remove(query.id)
        return told

    def _submitted(self, work: Sequence[Any], function: Callable[[Any], dict[str, Any]]) -> Query:
        """A query of its own, as soon as there is a master: it may be away for a while."""
        session, delegation = self._session, self._delegation
        credentials = delegation.first if delegation is not None else None
        while True:
            try:
                name = clipped(f"files of {self.name}")
                return session.process(items(work), function, name=name, credentials=credentials, chunk=1)
            except ConnectionFailed:
                self._changed.wait(lambda: not session._link.lost, session._watch.check)
