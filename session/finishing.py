"""The end of a query that writes files: its pieces are joined by slots, and the result gets the list of the files.

Files that are full are joined while the query goes on, the others at its end. Whoever waits for the result waits for that
too. The pieces stay in the master's result: if the session ends meanwhile, another one that attaches to the query does it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from ..dataset.generated import items
from ..display.query_view import QueryHistory
from ..merge import Partial
from ..merge.nodes import Written, walk
from ..merge.rows import OutputFile
from ..protocol.errors import ConnectionFailed, EventmillError, OutputError
from ..writing.grouping import Group, file_name, groups
from ..writing.merging import Finishing, JoinedFile, Joining, files_told, finish, join_pieces
from ..writing.places import is_of
from ..writing.storage import join
from .changes import Changes
from .ending import Ending
from .output_files import with_files
from .owner import clipped
from .result import Result, Snapshot

if TYPE_CHECKING:
    from .delegation import Delegation
    from .query import Query
    from .session import Session


log = logging.getLogger(__name__)

_TAG = Written.__name__.encode()
"""Of such a node, in MessagePack: results that have none are not decoded."""


def in_pieces(result: Snapshot) -> list[Written]:
    """What of a result is in pieces."""
    if not result._frames or _TAG not in bytes(result._frames[0]):
        return []
    tree = Partial.from_frames(result._frames).tree
    return [node for node in walk(tree) if isinstance(node, Written) and node.pieces]


class EarlyFiles:
    """Files that are full, joined while the query goes on.

    A master that was started again may have lost what a snapshot had: of what is joined, that counts whose pieces are
    those of the result, one by one.

    Args:
        join: has slots join a group of pieces.
        name: of the query.
    """

    def __init__(self, join: Callable[[Written, Sequence[Group]], list[JoinedFile]], name: str) -> None:
        self._join, self._name = join, name
        self._joined: dict[bytes, JoinedFile] = {}
        self._thread: threading.Thread | None = None

    def heard(self, nodes: Sequence[Written]) -> None:
        """There is more of the query: join what is full, in a thread, if that is not going on already."""
        if self._thread is not None and self._thread.is_alive():
            return
        full = [(node, group) for node in nodes for group in groups(node, complete=False)]
        new = [(node, group) for node, group in full if _key(node, group) not in self._joined]
        if new:
            self._thread = threading.Thread(target=self._run, args=[new], name=f"full {self._name}", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Until nothing is being joined."""
        if self._thread is not None:
            self._thread.join()

    def of(self, node: Written, group: Group) -> JoinedFile | None:
        """The file of a group, if it is joined."""
        return self._joined.get(_key(node, group))

    def _run(self, new: Sequence[tuple[Written, Group]]) -> None:
        try:
            for node, group in new:
                (self._joined[_key(node, group)],) = self._join(node, [group])
        except Exception as error:  # it is tried again when the query is over, and whoever waits is told then
            log.info("files of %s cannot be joined yet: %s", self._name, error)


def _key(node: Written, group: Group) -> bytes:
    return msgspec.msgpack.encode((node.spec, group))


def _check_apart(grouped: Sequence[tuple[Written, Group]]) -> None:
    """Raise `OutputError` when files of two outputs have one name."""
    paths: set[str] = set()
    for node, group in grouped:
        path = join(node.spec.target, file_name(node.spec, group.dataset, group.number))
        if path in paths:
            raise OutputError(f"{path} is a file of another output of this query, too: give one of them another name=")
        paths.add(path)


class Finishes:
    """The part of a `Query` that has its files finished."""

    _session: Session
    _delegation: Delegation | None
    _changed: Changes
    _ending: Ending | None
    _history: QueryHistory
    id: str
    name: str
    _early: EarlyFiles | None = None

    def _heard(self, snapshot: Snapshot) -> None:
        """A snapshot came; called in the link's thread."""
        nodes = in_pieces(snapshot)
        if nodes and self._early is None:
            self._early = EarlyFiles(self._joined, self.name)
        if self._early is not None:
            self._early.heard(nodes)

    def _over(self, ending: Ending) -> None:
        """The query is over; called in the link's thread. The result is there when its files are."""
        self._history.ended(ending.result, ending.report.total.bytes_read)
        waits = in_pieces(ending.result)
        if ending.result.state in ("done", "stopped") and waits:
            threading.Thread(target=self._finish, args=[ending], name=f"files of {self.name}", daemon=True).start()
            return
        if waits:
            ending.result._make = self._files
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
        if not in_pieces(result):
            return result
        frames = with_files(Partial.from_frames(result._frames), self._files).to_frames()
        return Result(frames, result.account, result.seconds, result.state)

    def _files(self, nodes: Sequence[Written]) -> list[list[OutputFile]]:
        """The files of each output, all of which are joined, and then get their names, at the same time."""
        if self._early is not None:
            self._early.wait()
        grouped = [(node, group) for node in nodes for group in groups(node)]
        _check_apart(grouped)
        early = [None if self._early is None else self._early.of(node, group) for node, group in grouped]
        waiting = [Joining(it[0].spec, it[0].forms, it[1]) for it, done in zip(grouped, early, strict=True) if not done]
        joined = [done for done in early if done] + (self._told(waiting, join_pieces) if waiting else [])
        joined.sort(key=lambda each: each.file.path)
        finishing = [
            Finishing(
                node.spec, list(dict.fromkeys(piece.dataset for piece in node.pieces)),
                [each for each in joined if is_of(each.file, node.spec)],
            )
            for node in nodes
        ]  # fmt: skip
        done = [each.file for each in self._told(finishing, finish)]
        return [[file for file in done if is_of(file, node.spec)] for node in nodes]

    def _joined(self, node: Written, some: Sequence[Group]) -> list[JoinedFile]:
        return self._told([Joining(node.spec, node.forms, group) for group in some], join_pieces)

    def _told(self, work: Sequence[Any], function: Callable[[Any], dict[str, Any]]) -> list[JoinedFile]:
        """Have slots do something with files, as items of a query of its own."""
        try:
            query = self._submitted(work, function)
            told = files_told(query.result(progress=False)["files"])
        except EventmillError as error:
            error.add_note(
                f"the rows are in pieces, and nothing is lost: session.attach({self.id!r}).partial() takes it up again"
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
