"""The files that a query has written, with which one can go on."""

from __future__ import annotations

from ..dataset.dataset import Dataset
from ..merge import OutputFiles
from ..protocol.errors import DatasetError


class Outputs(OutputFiles):
    """What `em.write` has written, in a result: a list of `OutputFile`, each with path, rows, bytes, dataset, checksum."""

    def dataset(self) -> Dataset:
        """The files as a dataset, under the names of the datasets that they came of.

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
        tree = None if self.spec.format == "parquet" else self.spec.tree
        named: dict[str, dict[str, str | None]] = {}
        for file in self:
            named.setdefault(file.dataset, {})[file.path] = tree
        return Dataset(named[""] if list(named) == [""] else {name: {"files": files} for name, files in named.items()})
