"""What is known of datasets beside their events: the part of a `Session` that keeps books."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from ..dataset.masks import BRANCHES
from ..protocol.errors import DatasetError
from ..reading.storage.list_files import list_files
from .catalogue import CatalogueEntry, Datasets
from .output_files import as_dataset
from .sums import Sums, check_nothing_lost, not_wholly_in, summed

if TYPE_CHECKING:
    from .lumi import ProcessedLumi
    from .query import Query
    from .result import Result
    from .session import Data, Session


class Bookkeeping:
    """The part of a `Session` that sums what samples are normalised by."""

    _catalogued: dict[str, CatalogueEntry] | None = None

    if TYPE_CHECKING:

        def process(
            self, dataset: Data, analysis: Any, *, name: str | None = None, on_error: Any = "fail"
        ) -> Query: ...

    @property
    def datasets(self) -> Datasets:
        """The datasets that the master knows by name: register, list, verify, refresh and remove them."""
        if self._catalogued is None:
            self._catalogued = {}
        return Datasets(cast("Session", self), self._catalogued)

    def sum(
        self,
        dataset: Data,
        columns: str | Sequence[str],
        *,
        tree: str | None = None,
        of: Result | None = None,
        on_error: Literal["fail", "skip"] = "fail",
        name: str | None = None,
    ) -> Sums:
        """Exact sums of columns by dataset, as a rule of another tree of the files: `genEventSumw` of `Runs`.

        It waits for them. They do not depend on who works on them: whole numbers stay ints of any size, floats are what
        `math.fsum` gives for all rows at once. Where rows are lists (`LHEScaleSumw`), elements of the same place are
        added up: an array. A file whose events were all rejected before it was written counts as any other.

        Args:
            dataset: as for `process`: the dataset that is analysed, whole.
            columns: a column, or an expression of columns (`"genWeight**2"`); or a list of them.
            tree: the tree that has them; by default that of the dataset, with its aliases, mask and what else it has.
            of: the result of an analysis of this dataset: files that are not wholly in it are summed apart, as `.apart`. A
                sample of which some events were lost is not to be normalised by the weights of all.
            on_error: "fail" raises when a file cannot be summed, as one without the tree, and names all of these; "skip"
                sums the others, and lists these in `.account.lost`.
            name: what the query is called in displays.

        Returns:
            The sums by dataset (`""` is one without a name): numbers, or dicts by column where `columns` is a list.

        Raises:
            DatasetError: a file cannot be summed, or which rows belong to the entries that are used cannot be told; or
                `of` is the result of other files.
            AnalysisError: a column has no numbers, or there is none.

        Example:
            >>> sums = session.sum({"signal": ["events.root"]}, ["nMuon", "MET_pt**2"])
            >>> sums["signal"]["nMuon"], round(sums["signal"]["MET_pt**2"])
            (11211, 8899831)
            >>> session.sum({"ttbar": "nano/*.root"}, "genEventSumw", tree="Runs")["ttbar"]      # doctest: +SKIP
            301234567.25
        """
        from ..analysis.column_sums import ColumnSums

        given = as_dataset(dataset)
        if given.files[0].kind != "tree":
            raise DatasetError(f"{given!r} is in no file: there is nothing to be summed")
        if on_error not in ("fail", "skip"):
            raise ValueError(f"on_error={on_error!r}: it must be 'fail' or 'skip'")
        named = [columns] if isinstance(columns, str) else list(columns)
        sums = ColumnSums(named)
        given = self.datasets.resolve(given)
        whole = (given if tree is None else given.of_tree(tree)).expanded(partial(list_files, keep_missing=True))
        if of is not None and tree is None:
            raise DatasetError(
                "of= is for another tree of the files: what of a tree itself is in a result, this counts"
            )
        apart = set() if of is None else not_wholly_in(of, whole.files)
        called = name or f"sum {', '.join(named)}{f' of {tree}' if tree else ''}"
        result = self.process(whole, sums.of_events, name=called, on_error="skip").result()
        if on_error == "fail":
            check_nothing_lost(result.account.lost, tree or "")
        found, others = summed(result.value or {}, named, whole.files, apart)
        if isinstance(columns, str):
            found, others = ({name: its[columns] for name, its in each.items()} for each in (found, others))
        return Sums(found, others, result.account)

    def processed_lumi(
        self,
        dataset: Data,
        result: Result,
        *,
        tree: str | None = "LuminosityBlocks",
        branches: tuple[str, str] = BRANCHES,
    ) -> ProcessedLumi:
        """The luminosity sections of which a result has all events, as CMS' `processed_lumi.json` lists them. It waits.

        A section with events that the result lacks is not in it, since its luminosity must not be counted: what was lost is
        looked at again for that, and where it cannot be read, no section of that file is. With a mask, only sections that it
        lets through are.

        Args:
            dataset: the dataset that was analysed, whole.
            result: of the analysis.
            tree: the tree that lists the sections of a file, also those without a single event left. None: the sections are
                those of the events that there are.
            branches: its columns with the run and the section (those of the events are called alike).

        Returns:
            The sections by run, with `.lost` ones, the `.files`, and `.write(path)`.

        Raises:
            DatasetError: a file has no such tree; the result is of other files; or only some entries of these were to be
                used.

        Example:
            >>> lumi = session.processed_lumi(data, result)                                      # doctest: +SKIP
            >>> lumi.write("processed_lumi.json")                                                # doctest: +SKIP
        """
        from .lumi import processed_lumi

        given = self.datasets.resolve(as_dataset(dataset))
        if given.files[0].kind != "tree" or given.max_entries is not None or given.limits or given.has_entry_lists:
            raise DatasetError("luminosity sections are those of files whose entries were all to be used")
        whole = given.expanded(partial(list_files, keep_missing=True))
        return processed_lumi(cast("Session", self), whole, result, tree, branches)
