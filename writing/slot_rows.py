"""The rows of a query in a slot: looked at when the first ones come, and written as pieces when they leave the slot."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Sequence

from msgspec.structs import replace

from ..analysis.writes import WriteSpec, resolved
from ..merge import Partial
from ..merge.held_rows import placed
from ..merge.nodes import Awkward, Rows, Tree, Written, rebuilt, walk
from ..merge.rows import HeldSpan, Piece, Span
from ..protocol.errors import OutputError
from ..protocol.messages import File
from . import formats, pieces
from .checksums import checksum, checksum_text
from .grouping import as_name, stem
from .places import files_of, staging
from .storage import join, storage_of


class SlotRows:
    """What becomes of a query's rows in one slot.

    Args:
        token: of the query.
        folder: the session's, from which relative paths count.
    """

    def __init__(self, token: str, folder: str) -> None:
        self._token, self._folder = token, folder
        self._known: set[tuple[WriteSpec, str]] = set()
        self._dropped = False

    @staticmethod
    def has_rows(partial: Partial) -> bool:
        """Whether a result has rows for files, be they none."""
        return any(isinstance(node, Rows) for node in walk(partial.tree))

    @staticmethod
    def size(partial: Partial) -> int:
        """Bytes of the rows in a result that are in no piece."""
        return sum(node.nbytes for node in walk(partial.tree) if isinstance(node, Rows))

    @staticmethod
    def grown(partial: Partial) -> int:
        """Bytes of what is longer the more entries a result is of: of rows that are in no piece, and of awkward arrays."""
        return sum(node.nbytes for node in walk(partial.tree) if isinstance(node, Rows | Awkward))

    @staticmethod
    def of_variation(partial: Partial, name: str) -> Partial:
        """A result whose rows go into a folder of a variation, below that of the output."""

        def move(tree: Tree) -> Tree:
            if not isinstance(tree, Rows):
                return tree
            spec = replace(tree.spec, target=join(tree.spec.target, as_name(name)))
            return Rows(spec, tree.columns, tree.held, tree.metadata)

        return Partial(rebuilt(partial.tree, move), partial.entries)

    def placed(self, partial: Partial, file: File, start: int, stop: int) -> Partial:
        """A result whose rows know that they came of entries `[start, stop)` of a file.

        Raises:
            OutputError: they cannot be written there, or not in this format; or files of these names are there.
        """
        span, outputs = Span(file.place, file.path, file.tree, start, stop, 0), set[tuple[str, str, str]]()

        def place(tree: Tree) -> Tree:
            if not isinstance(tree, Rows):
                return tree
            spec = replace(tree.spec, target=resolved(tree.spec.target, self._folder), token=self._token)
            output = (spec.target, spec.name, formats.suffix(spec))
            if output in outputs:
                raise OutputError(
                    f"two outputs in {spec.target} whose files have the same names: give em.write a name="
                )
            outputs.add(output)
            rows = placed(Rows(spec, tree.columns, tree.held), file.dataset, span, file.metadata)
            self._look(rows, file.dataset)
            return rows

        if not self.has_rows(partial):
            return partial
        return Partial(rebuilt(partial.tree, place), partial.entries)

    def written(self, partial: Partial) -> Partial:
        """The result with its rows in pieces, which lie on disk when this returns. Raises `OutputError`."""

        def write(tree: Tree) -> Tree:
            return self._pieces(tree) if isinstance(tree, Rows) else tree

        if not self._known:
            return partial
        return Partial(rebuilt(partial.tree, write), partial.entries)

    def drop(self) -> None:
        """The query was aborted: what has been written of it is of no use."""
        self._dropped = True
        for spec in {spec for spec, _ in self._known}:
            storage_of(spec.target).remove_all(staging(spec))

    def _look(self, rows: Rows, dataset: str) -> None:
        """Look, once, at whether rows of a dataset can be written."""
        if self._dropped or (rows.spec, dataset) in self._known:
            return
        spec = rows.spec
        formats.check(spec, rows.held.spans[0].array)
        storage = storage_of(spec.target)
        there = [] if spec.overwrite else files_of(storage.names(spec.target), spec, dataset)
        if there:
            raise OutputError(
                f"{join(spec.target, there[0])} is there already: choose another folder, or replace what is there with "
                "em.write(..., overwrite=True)"
            )
        storage.make(staging(spec))
        self._known.add((rows.spec, dataset))

    def _pieces(self, rows: Rows) -> Written:
        by_dataset: dict[str, list[HeldSpan]] = {}
        for held in rows.held.spans:
            by_dataset.setdefault(held.dataset, []).append(held)
        written = [self._piece(rows.spec, dataset, held) for dataset, held in by_dataset.items()]
        arrays = [held.array for held in rows.held.spans if held.span.rows] or [rows.held.spans[0].array]
        forms = dict.fromkeys(array.layout.form.to_json() for array in arrays)
        return Written(rows.spec, rows.columns, list(forms), written, metadata=rows.metadata)

    def _piece(self, spec: WriteSpec, dataset: str, held: Sequence[HeldSpan]) -> Piece:
        some = [each for each in held if each.span.rows]
        if not some:
            return Piece("", dataset, 0, 0, "", [])
        data, size, spans = pieces.packed(some, spec)
        name = f"{stem(spec, dataset)}-{_host()}-{os.getpid()}-{secrets.token_hex(4)}.piece"
        path = join(staging(spec), name)
        storage_of(spec.target).put(path, data)
        summed = checksum_text(checksum(data))
        return Piece(path, dataset, sum(span.rows for span in spans), size, summed, spans)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "", socket.gethostname())
