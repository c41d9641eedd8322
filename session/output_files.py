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
            DatasetError: there are no files, or they are not of ROOT.

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
        if self.spec.format == "parquet":
            raise DatasetError(
                "eventmill reads files of ROOT: write format='root', or read these with awkward.from_parquet(files.paths)"
            )
        named: dict[str, dict[str, str]] = {}
        for file in self:
            named.setdefault(file.dataset, {})[file.path] = self.spec.tree
        return Dataset(named[""] if list(named) == [""] else {name: {"files": files} for name, files in named.items()})
