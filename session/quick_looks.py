"""Quick looks at data: what is in a file, and what an expression gives, drawn at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, overload

from ..dataset.dataset import Dataset
from ..protocol.errors import DatasetError
from .draw import Bins, Drawing, Drawn
from .output_files import as_dataset

if TYPE_CHECKING:
    from hist import Hist

    from ..display.contents_table import Contents
    from .query import Query
    from .session import Data
    from .watch import Watch


class QuickLooks:
    """The part of a `Session` that is for a look before there is an analysis."""

    _watch: Watch

    if TYPE_CHECKING:

        def process(self, dataset: Data, analysis: Any, *, name: str | None = None) -> Query: ...

    @overload
    def draw(
        self,
        dataset: Data,
        expression: Drawn,
        where: str | None = None,
        *,
        y: str | None = None,
        weight: str | None = None,
        bins: Bins | list[Bins] | tuple[Bins, Bins] = None,
        wait: Literal[True] = True,
    ) -> Hist[Any]: ...

    @overload
    def draw(
        self,
        dataset: Data,
        expression: Drawn,
        where: str | None = None,
        *,
        y: str | None = None,
        weight: str | None = None,
        bins: Bins | list[Bins] | tuple[Bins, Bins] = None,
        wait: Literal[False],
    ) -> Query: ...

    def draw(
        self,
        dataset: Data,
        expression: Drawn,
        where: str | None = None,
        *,
        y: str | None = None,
        weight: str | None = None,
        bins: Bins | list[Bins] | tuple[Bins, Bins] = None,
        wait: bool = True,
    ) -> Hist[Any] | Query:
        """A quick look at data: the histogram of an expression, in one pass. In a notebook it is seen to fill.

        Args:
            dataset: as for `process`.
            expression: Python, with branches by their names, `np` and `ak`. Of lists, all values are filled. A list of
                expressions, or a dict of them by name, is drawn over each other: one axis of the histogram are their names.
            where: which values to fill: a condition on events, or on each value of a list.
            y: an expression for a second axis. A number beside a list is filled with each of its values.
            weight: an expression for the weights, of events or of each value: bins hold their sums, and the sums of their
                squares as variances.
            bins: number of bins, lower and upper end of the axis; or their number only. With `y` a list of these for
                both axes, or one number. By default, or with a number, the range fits all but half a percent of the
                values on either side, in bins of a round width; it is chosen at the end from all of them.
            wait: return the histogram once all is done. False: return the query at once, whose `result().value` it will be,
                and which can be watched, stopped and shown.

        What is missing (None) is left out. What is outside of the axes, infinite or no number (nan) is in their flow bins:
        `sum(flow=True)` counts it.

        Raises:
            AnalysisError: an expression cannot be read, or gives no numbers for events, or `where` is no condition on them.
            ValueError: such bins, or expressions, cannot be.
            Exception: as from `Query.result`.

        Example:
            >>> drawn = session.draw("events.root", "Muon_pt", where="nMuon >= 2", bins=(50, 0, 100))
            >>> drawn.axes[0].size, int(drawn.sum(flow=True))
            (50, 7213)
            >>> both = session.draw("events.root", "Muon_eta", y="Muon_phi", bins=20)
            >>> [axis.label for axis in both.axes], int(both.sum(flow=True))
            (['Muon_eta', 'Muon_phi'], 11211)
            >>> weighted = session.draw("events.root", "Muon_pt", weight="1 / nMuon", bins=(50, 0, 100))
            >>> bool(weighted.sum(flow=True).value < drawn.sum(flow=True))
            True
            >>> over = session.draw("events.root", {"all": "MET_pt", "with muons": "MET_pt[nMuon > 0]"})
            >>> list(over.axes[0])
            ['all', 'with muons']
        """
        data = as_dataset(dataset)
        if data.files[0].kind != "tree":
            raise DatasetError(f"only branches can be drawn, and {data.files[0].kind} have none: use session.process")
        drawing = Drawing.of(expression, where, y, bins, weight)
        query = self.process(data, drawing.of_events, name=drawing.name)
        if not wait:
            return query
        drawn: Hist[Any] | None = query.result().value
        return drawing.of_nothing() if drawn is None else drawn

    def peek(
        self, file: Dataset | str | os.PathLike[str], tree: str | None = None, *, grep: str | None = None
    ) -> Contents:
        """What is in a file: as `em.peek`, with this session's credentials.

        Example:
            >>> session.peek("events.root", grep="^Muon_pt").trees[0].branches
            (BranchInfo(name='Muon_pt', type='float[]', title='', counter='nMuon', stored=68314, unpacked=84928),)
        """
        from .peek import peek

        delegation = self._watch.delegation
        return peek(file, tree, grep=grep, credentials=None if delegation is None else delegation.ready())
