"""Cutflows: how many events pass one cut after the other, and how many one alone or all the others.

In columnar functions cuts are masks, in kernels they are passed one by one. What is summed up of either travels and adds up
(`merge`), and comes back as the same class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocol.errors import AnalysisError, nearest
from .passed import Passed, Sums, as_html, as_text, differ, lines

ALL = "all"
"""The first line of a cutflow of masks: all events."""
BEFORE_ITS_TURN = (
    "a cut is passed before one in front of it: they are to be passed in the order in which the cutflow names them"
)
OUT_OF_ORDER = (
    "a cut is added out of order, or twice: all of them are to be added once an event, in the order in which the cutflow "
    "names them"
)
NOT_ALL_ADDED = (
    "an event has added some cuts of a cutflow and not all of them: what passes all cuts but one is known of events that "
    "add each, whether it is passed or not"
)
MOST_ADDED = 50
"""Cuts that a kernel can add: they are bits of a float."""
NO_NUMBER = "the weight of an event is not a finite number"


class Cutflow:
    """How many events pass named cuts, one after the other: counts, sums of weights and of their squares.

    In a columnar function, make one in each call, add masks, and return it. In a kernel it is an output that names its
    cuts, each of which is passed at most once an event, in their order; with `nminusone=True` each is added in every event,
    whether it passes or not, and the result is that of masks. It merges over packets as histograms do, by
    datasets and variations if it is returned under their names.

    Args:
        names: of the cuts, for kernels; the first one is what efficiencies are of, such as "all".
        weight: of each event, for masks; by default 1.
        nminusone: whether a kernel adds all cuts, `cuts.add("two muons", nMuon == 2, weight)`, so that it is known what
            passes each alone, and all but each, as of masks. The first line is then "all": the events that add cuts.

    Attributes:
        adds: whether it was made with `nminusone=True`, for a kernel.

    Raises:
        AnalysisError: cuts of one name, or weights that are not finite numbers.

    Example:
        >>> cuts = Cutflow(weight=np.array([1.0, 2.0, 0.5]))
        >>> good = cuts.add("two muons", np.array([True, True, False])).add("met", np.array([False, True, True])).mask
        >>> cuts
        cut        events           of all      of previous  weighted           of all      of previous
        all             3            100 %                -       3.5            100 %                -
        two muons       2  66.67 ± 27.22 %  66.67 ± 27.22 %         3  85.71 ± 15.27 %  85.71 ± 15.27 %
        met             1  33.33 ± 27.22 %  50.00 ± 35.36 %         2  57.14 ± 30.54 %  66.67 ± 31.43 %
        >>> cuts.counts.tolist(), cuts.nminusone.counts.tolist(), good.tolist()
        ([3, 2, 1], [1, 2, 2], [False, True, False])

        In a kernel: `@kernel(cuts=Cutflow("all", "two muons"))`, and in the function `cuts.passed("two muons", weight)`.
    """

    def __init__(self, *names: str, weight: Any = None, nminusone: bool = False) -> None:
        _check_names([ALL, *names] if nminusone else names)
        if nminusone and not 0 < len(names) <= MOST_ADDED:
            raise AnalysisError(
                f"nminusone=True is for cutflows of kernels, which name their cuts, {MOST_ADDED} of them at most; of masks "
                "it is known in any case"
            )
        if names and weight is not None:
            raise AnalysisError(
                "a cutflow that names its cuts is filled by passed(name, weight); one of masks, Cutflow(weight=...), learns "
                "the names from add(name, mask)"
            )
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._weight = None if weight is None else _weights(weight)
        self._sums = None
        if names:
            self._sums = Sums.zeros([ALL, *names], kinds=3) if nminusone else Sums.zeros(names)
        self.adds = nminusone
        self._reached = self._bits = 0

    @classmethod
    def of_sums(cls, names: Sequence[str], counts: NDArray[np.int64], sums: NDArray[np.float64]) -> Cutflow:
        """A cutflow of what was summed up: in order, and perhaps of each cut alone and of all but each; sums of weights
        and of their squares in the last dimension.
        """
        made = cls()
        made._sums = Sums(tuple(names), counts, sums)
        return made

    # --- filling ------------------------------------------------------------------------------------------------------

    def add(self, name: str, mask: Any, weight: float = 1.0) -> Cutflow:
        """Add a cut: a truth value for each event, None among them refused. Returns the cutflow itself.

        In a kernel whose cutflow has `nminusone=True`, `mask` says whether the event at work passes; its weight is that
        of the last cut.

        Raises:
            AnalysisError: there is a cut of this name, or the mask is none of these events.
            ValueError: in a kernel, cuts are added out of order, or the weight is no finite number.
        """
        if self.adds:
            self._decide(name, bool(mask), weight)
            return self
        if self._sums is not None:
            raise AnalysisError(
                f"this cutflow has its cuts: {', '.join(self._sums.names)}; {name} is for a new Cutflow()"
            )
        _check_names([ALL, *self._masks, name])
        truths = _truths(mask, name)
        if (length := self._length) is not None and len(truths) != length:
            raise AnalysisError(f"the cut {name!r} is about {len(truths)} events, and the cutflow about {length}")
        self._masks[name] = truths
        return self

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The events that pass all cuts so far, in a columnar function."""
        return self.passing(*self._masks)

    def passing(self, *names: str) -> NDArray[np.bool_]:
        """The events that pass these cuts, in a columnar function.

        Raises:
            AnalysisError: there is no mask of this name, or none at all.
        """
        passing = np.ones(self._events, np.bool_)
        for name in names:
            if name not in self._masks:
                raise AnalysisError(f"the cutflow has no cut {name!r}{nearest(name, self._masks, few=10)}")
            passing &= self._masks[name]
        return passing

    def passed(self, name: str, weight: float = 1.0) -> None:
        """Count the event at work as one that passes a cut, in a kernel; a second time in the same event does nothing.

        Raises:
            ValueError: a cut before it was not passed, or the weight is no finite number.
        """
        if self.adds:
            raise AnalysisError("a cutflow with nminusone=True takes add(name, passed, weight), for each cut")
        if self._sums is None or name not in self._sums.names:
            known = () if self._sums is None else self._sums.names
            raise AnalysisError(f"the cutflow has no cut {name!r}{nearest(name, known, few=10)}")
        row = self._sums.names.index(name)
        if not np.isfinite(weight):
            raise ValueError(NO_NUMBER)
        if row < self._reached:
            return
        if row > self._reached:
            raise ValueError(BEFORE_ITS_TURN)
        self._reached = row + 1
        self._sums.counts[0, row] += 1
        self._sums.sums[0, row] += weight, weight * weight

    def _decide(self, name: str, passed: bool, weight: float) -> None:
        assert self._sums is not None
        cuts = self._sums.names[1:]
        if name not in cuts:
            raise AnalysisError(f"the cutflow has no cut {name!r}{nearest(name, cuts, few=10)}")
        if not np.isfinite(weight):
            raise ValueError(NO_NUMBER)
        if cuts.index(name) != self._reached:
            raise ValueError(OUT_OF_ORDER)
        self._bits = (self._bits if self._reached else 0) | passed << self._reached
        self._reached += 1
        if self._reached == len(cuts):
            for kind, row, need in needs(len(cuts)):
                if self._bits & need == need:
                    self._sums.counts[kind, row] += 1
                    self._sums.sums[kind, row] += weight, weight * weight

    def begin_event(self) -> None:
        """What is passed from now on is passed by another event. (Kernels do it by themselves.)"""
        self._reached = 0

    # --- looking ------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The cuts, all events first if it was made of masks."""
        return self.summed.names

    @property
    def counts(self) -> NDArray[np.int64]:
        """Events that pass each cut and those before it."""
        return self.sequential.counts

    @property
    def weights(self) -> NDArray[np.float64]:
        """Sums of weights of the events that pass each cut and those before it."""
        return self.sequential.weights

    @property
    def variances(self) -> NDArray[np.float64]:
        """Sums of the squares of these weights."""
        return self.sequential.variances

    def efficiency(
        self, weighted: bool = True, of_previous: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `Passed.efficiency`, of the events that pass each cut and those before it."""
        return self.sequential.efficiency(weighted, of_previous)

    @property
    def sequential(self) -> Passed:
        """What passes each cut and those before it."""
        return self.summed.passed(0)

    @property
    def alone(self) -> Passed:
        """What passes each cut, whatever the others say. Raises AnalysisError in a cutflow of a kernel."""
        return self._of_masks(1, "of each cut alone")

    @property
    def nminusone(self) -> Passed:
        """What passes all cuts but each; in the first line all of them. Raises AnalysisError in a cutflow of a kernel."""
        return self._of_masks(2, "of all cuts but one")

    def rows(self) -> dict[str, str]:
        """A line in words for each cut."""
        return lines(self._shown)

    def __add__(self, other: Cutflow) -> Cutflow:
        """Both together: of other datasets, for example. Raises AnalysisError unless they have the same cuts."""
        if not isinstance(other, Cutflow):
            return NotImplemented
        mine, theirs = self.summed, other.summed
        if why := differ(mine.names, len(mine.counts), theirs.names, len(theirs.counts)):
            raise AnalysisError(f"cutflows that do not add up: {why}")
        return Cutflow.of_sums(mine.names, mine.counts + theirs.counts, mine.sums + theirs.sums)

    def __radd__(self, other: object) -> Cutflow:
        return self if other == 0 else NotImplemented  # as sum() begins

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cutflow):
            return NotImplemented
        mine, theirs = self.summed, other.summed
        return mine.same(theirs)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return as_text(self._shown)

    def _repr_html_(self) -> str:
        return as_html(self._shown)

    # --- coffea -------------------------------------------------------------------------------------------------------

    @classmethod
    def from_coffea(cls, selection: Any, names: Sequence[str] = (), weight: Any = None) -> Cutflow:
        """The cutflow of a coffea PackedSelection, in a function that has one.

        Args:
            selection: coffea's.
            names: of its selections, in the order of the cuts; all of them by default.
            weight: as for `Cutflow`; coffea's `weights.weight()`.
        """
        made = cls(weight=weight)
        for name in names or selection.names:
            made.add(name, selection.all(name))
        return made

    def to_coffea(self) -> Any:
        """The masks as a coffea PackedSelection, in a columnar function. Takes coffea.

        Raises:
            AnalysisError: only sums are left, as in a result: a selection is of events.
        """
        from coffea.analysis_tools import PackedSelection

        if not self._masks:
            raise AnalysisError("this cutflow has no masks: a PackedSelection is made in the function that adds them")
        selection = PackedSelection("uint64")
        for name, mask in self._masks.items():
            selection.add(name, mask)
        return selection

    @property
    def is_for_kernels(self) -> bool:
        """Whether its cuts are named, to be passed one by one."""
        return self._sums is not None and (self.adds or len(self._sums.counts) == 1)

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def summed(self) -> Sums:
        """What is in it, summed up; for who merges it."""
        if self._sums is not None:
            return self._sums
        return Sums.of_masks({ALL: np.ones(self._events, np.bool_), **self._masks}, self._weight)

    @property
    def _shown(self) -> Passed | None:
        return None if self._sums is None and self._length is None else self.sequential

    @property
    def _length(self) -> int | None:
        if self._weight is not None:
            return len(self._weight)
        return len(next(iter(self._masks.values()))) if self._masks else None

    @property
    def _events(self) -> int:
        length = self._length
        if length is None:
            raise AnalysisError("this cutflow is empty: add(name, mask) in a function of events, names for a kernel")
        return length

    def _of_masks(self, kind: int, what: str) -> Passed:
        summed = self.summed
        if len(summed.counts) == 1:
            raise AnalysisError(
                f"a kernel passes cuts one after the other: what passes is not known {what}. With "
                "Cutflow(..., nminusone=True) it adds each, cuts.add(name, passed, weight)"
            )
        return summed.passed(kind)


def needs(cuts: int) -> list[tuple[int, int, int]]:
    """The kind and the row of each line of a cutflow with so many cuts, behind the line of all events, and which cuts, as
    bits, an event has to pass to count there: in order, each alone, all but each.
    """
    every = (1 << cuts) - 1
    of_row = [(row, 1 << row - 1 if row else 0) for row in range(cuts + 1)]
    return [
        *((0, row, (1 << row) - 1) for row, _ in of_row),
        *((1, row, own) for row, own in of_row),
        *((2, row, every & ~own) for row, own in of_row),
    ]


def _check_names(names: Sequence[Any]) -> None:
    for at, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise AnalysisError(f"a cut has a text for its name, not {name!r:.60}")
        if name in names[:at]:
            raise AnalysisError(f"the cut {name!r} is there twice")


def _truths(mask: Any, name: str) -> NDArray[np.bool_]:
    where = f"the cut {name!r}"
    array = _in_numpy(mask, where)
    if array.dtype != np.bool_:
        raise AnalysisError(
            f"{where} is of {array.dtype}: it takes a truth value for each event, as events.nMuon >= 2 is"
        )
    return array


def _weights(weight: Any) -> NDArray[np.float64]:
    array = _in_numpy(weight, "the weight of a cutflow")
    if array.dtype.kind not in "biuf":
        raise AnalysisError(f"the weight of a cutflow is of {array.dtype}: it takes a number for each event")
    if bad := int(np.count_nonzero(~np.isfinite(array))):
        first = int(np.flatnonzero(~np.isfinite(array))[0])
        raise AnalysisError(
            f"the weight of a cutflow is no finite number in {bad} of {len(array)} events, the first at {first}: "
            f"{array[first]}"
        )
    return array.astype(np.float64)


def _in_numpy(value: Any, where: str) -> NDArray[Any]:
    """One value an event, none of them missing."""
    import awkward as ak

    if isinstance(value, ak.Array):
        if value.ndim != 1 or value.fields:
            raise AnalysisError(
                f"{where} has {ak.type(value).content} for each event, not one value: is ak.any(..., axis=1) missing?"
            )
        missing = int(ak.sum(ak.is_none(value)))
        value = np.empty(0) if missing else ak.to_numpy(value, allow_missing=False)
    else:
        missing = int(np.count_nonzero(np.ma.getmaskarray(value))) if isinstance(value, np.ma.MaskedArray) else 0
        value = np.asarray(value)
    if missing:
        raise AnalysisError(f"{where} has None for {missing} events: say what these are, ak.fill_none(..., False)")
    if value.ndim != 1:
        raise AnalysisError(f"{where} has {value.ndim} dimensions, not one value for each event")
    return np.asarray(value)
