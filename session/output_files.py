"""The files that a query has written, with which one can go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, overload

from msgspec.structs import replace

from ..dataset.dataset import Dataset
from ..dataset.metadata import split
from ..merge import OutputFiles, Partial
from ..merge.nodes import Tree, Written, rebuilt, walk
from ..merge.rows import OutputFile
from ..protocol.errors import DatasetError
from ..protocol.messages import CatalogueFile, File

Make: TypeAlias = Callable[[Sequence[Written]], Sequence[list[OutputFile]]]
"""Makes files of the pieces of outputs."""


class Outputs(OutputFiles):
    """What `em.write` has written, in a result: a list of `OutputFile`, each with path, rows, bytes, dataset, checksum.

    It is a dataset to go on with: `session.process` and `session.datasets.register` take it as it is.

    Args:
        node: of the result.
        make: for a query that has failed, whose rows wait in pieces: makes files of them when they are looked at.
    """

    def __init__(self, node: Written, make: Make | None = None) -> None:
        super().__init__(node)
        self._node, self._make = node, make
        if make is not None:
            self._until = ": looking at its files makes them"

    def dataset(self, metadata: Mapping[str, Any] | None = None) -> Dataset:
        """The files as a dataset, under the names of the datasets that they came of, and with the metadata of these.

        Their lengths are known; sizes and checksums go along where it is registered.

        Args:
            metadata: others, as `em.Dataset` takes them.

        Raises:
            DatasetError: there are no files.

        Example:
            >>> def skim(events):
            ...     return {"skim": em.write(events[events.MET_pt > 50], "tight", format="root", overwrite=True)}
            >>> tight = session.process("events.root", skim).result()["skim"].dataset()
            >>> session.process(tight, lambda events: {"n": len(events)}).result()["n"]
            791
        """
        if not self.paths:
            waiting = ": its query is not over" if self.pending else ""
            raise DatasetError(f"no file has been written to {self.folder}{waiting}")
        tree = "" if self.spec.format == "parquet" else self.spec.tree
        shared, own = split(metadata or {}, {file.dataset: file for file in self})
        written = [
            CatalogueFile(
                File(
                    file.path, tree, file.dataset, file.rows,
                    {**self.metadata.get(file.dataset, {}), **shared, **own.get(file.dataset, {})},
                ),
                file.bytes, file.checksum,
            )
            for file in self
        ]  # fmt: skip
        dataset = Dataset.of_files(it.file for it in written)
        dataset.told = tuple(written)
        return dataset

    @overload
    def __getitem__(self, index: int) -> OutputFile: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[OutputFile]: ...

    def __getitem__(self, index: int | slice) -> OutputFile | Sequence[OutputFile]:
        self._have()
        return super().__getitem__(index)

    def __len__(self) -> int:
        self._have()
        return super().__len__()

    def _have(self) -> None:
        if self.pending and self._make is not None:
            (made,) = self._make([self._node])
            self._files, self.pending = (*self._files, *made), 0


def with_files(partial: Partial, make: Make) -> Partial:
    """A result with the list of its files in the place of pieces."""
    made = iter(make([node for node in walk(partial.tree) if isinstance(node, Written) and node.pieces]))

    def files(tree: Tree) -> Tree:
        if not isinstance(tree, Written) or not tree.pieces:
            return tree
        return replace(tree, pieces=[], files=[*tree.files, *next(made)])

    return Partial(rebuilt(partial.tree, files), partial.entries)


def as_dataset(data: Any) -> Dataset:
    """What `process` and the like take for a dataset, as one."""
    if isinstance(data, Outputs):
        return data.dataset()
    return data if isinstance(data, Dataset) else Dataset(data)
