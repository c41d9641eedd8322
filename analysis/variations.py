"""Variations: an analysis that is to run over its columns as they are, and as systematic uncertainties shift them.

Only declared here; columns are shifted, and what depends on them is run again, in slots (`reading.varied_columns`,
`worker.slot.varied_tasks`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..protocol.errors import AnalysisError
from .expressions import Expression

NOMINAL = "nominal"
"""What is returned for columns as they are has this key."""

Shift: TypeAlias = str | Callable[[Any], Any]
"""What takes the place of columns: an expression of columns, or a function of events."""


class Varied:
    """An analysis with variations of the columns that it reads; made by `vary`.

    `analysis` is what is run, `variations` what is put in the place of its columns, by the names of both.
    """

    def __init__(self, analysis: Any, variations: dict[str, dict[tuple[str, ...], Shift]]) -> None:
        self.analysis = analysis
        self.variations = variations
        self.__name__ = getattr(analysis, "__name__", None) or type(analysis).__name__

    @property
    def functions(self) -> list[Any]:
        """All that is called: the analysis, and what shifts columns."""
        return [self.analysis, *self.shifts]

    @property
    def shifts(self) -> list[Callable[[Any], Any]]:
        """The functions that shift columns, each once."""
        shifts = [shift for columns in self.variations.values() for shift in columns.values()]
        return list({id(shift): shift for shift in shifts if not isinstance(shift, str)}.values())

    def __repr__(self) -> str:
        return f"<{self.__name__} with {len(self.variations)} variations: {', '.join(self.variations)}>"


def vary(analysis: Any, variations: Mapping[str, Mapping[str | tuple[str, ...], Shift]]) -> Varied:
    """An analysis together with systematic variations of what it reads: one pass over the data gives all of them.

    The result has a key for each: `result["nominal"]` is what the analysis gives for the columns as they are, and comes
    first; `result["jes_up"]` what it gives where the columns of this variation are replaced. Data are read once. The
    analysis is run again only for variations that change something it reads (a column, or an alias made of it); the others
    are equal to nominal. Every run draws the same random numbers for the same events.

    Args:
        analysis: a kernel, or a function of events.
        variations: for each name what takes the place of which columns. A column is a branch, an alias of the dataset, or a
            collection such as `Jet`, whose replacement is records with the fields that change; a tuple of columns gets
            as many arrays. In their place comes an expression of columns, as in aliases (`"Jet_pt * 1.03"`, or the name of
            another column, `"puWeightUp"`), or a function of the events as they are.

    What is put in place is converted to the type of the column (`float` stays `float`), and has to have as many values
    for each event.

    Raises:
        AnalysisError: the analysis or a variation is none. That a variation names no column, or has other lengths than
            the column, ends the query at its first events.

    Example:
        >>> from hist import Hist
        >>> def ht(events):
        ...     return {"ht": Hist.new.Reg(50, 0, 500).Weight().fill(ak.sum(events.Jet_pt, axis=1), weight=events.weight)}
        >>> varied = vary(ht, {
        ...     "jes_up": {"Jet_pt": "Jet_pt * 1.03", "MET_pt": lambda events: events.MET_pt * 1.01},
        ...     "jes_down": {"Jet_pt": "Jet_pt * 0.97", "MET_pt": lambda events: events.MET_pt * 0.99},
        ...     "pileup_up": {"weight": "weight_pileup_up"},
        ... })
        >>> varied
        <ht with 3 variations: jes_up, jes_down, pileup_up>
        >>> session.process(data, varied).result()["jes_up"]["ht"]                               # doctest: +SKIP
    """
    if isinstance(analysis, Varied):
        raise AnalysisError(f"{analysis.__name__} is varied already: name all variations in one vary(...)")
    if callable(getattr(analysis, "process", None)) and callable(getattr(analysis, "postprocess", None)):
        raise AnalysisError(
            f"{type(analysis).__name__} is a coffea processor, which makes its events by itself: loop over variations in "
            "its process(), or write a function of events"
        )
    if not callable(analysis):
        raise AnalysisError(f"vary takes a kernel or a function of events, not {analysis!r:.60}")
    if not isinstance(variations, Mapping) or not variations:
        raise AnalysisError('vary takes variations by name, as {"jes_up": {"Jet_pt": "Jet_pt * 1.03"}}')
    return Varied(analysis, {name: _checked(name, columns) for name, columns in variations.items()})


def _checked(name: object, columns: object) -> dict[tuple[str, ...], Shift]:
    """A variation, its columns always in tuples."""
    if not isinstance(name, str) or not name:
        raise AnalysisError(f"{name!r} is no name for a variation: use text")
    if name == NOMINAL:
        raise AnalysisError(f"no variation can be called {NOMINAL}: this is the analysis of the columns as they are")
    if not isinstance(columns, Mapping) or not columns:
        raise AnalysisError(
            f"the variation {name} is to say what takes the place of which columns, as "
            f'{{"Jet_pt": "Jet_pt * 1.03"}}, not {columns!r:.60}'
        )
    found: dict[tuple[str, ...], Shift] = {}
    for key, shift in columns.items():
        names = (key,) if isinstance(key, str) else key
        if not isinstance(names, tuple) or not names or not all(isinstance(each, str) and each for each in names):
            raise AnalysisError(
                f"the variation {name} names {key!r:.60}: a column is a text, several are a tuple of them"
            )
        _check_shift(name, names, shift)
        found[names] = shift
    named = [each for names in found for each in names]
    if twice := next((each for each in named if named.count(each) > 1), None):
        raise AnalysisError(f"the variation {name} replaces {twice} twice")
    return found


def _check_shift(name: str, columns: tuple[str, ...], shift: object) -> None:
    where = f"the variation {name} of {', '.join(columns)}"
    if isinstance(shift, str):
        if len(columns) > 1:
            raise AnalysisError(f"{where}: several columns take a function, which returns an array for each")
        try:
            Expression(shift)
        except AnalysisError as error:
            raise AnalysisError(f"{where}: {error}") from None
        return
    if not callable(shift) or isinstance(shift, type):
        raise AnalysisError(
            f"{where} is {shift!r:.60}: it has to be an expression ({columns[0] + ' * 1.03'!r}) or a function of events"
        )
    if not _takes_events(shift):
        raise AnalysisError(f"{where}: {getattr(shift, '__name__', shift)} is to take the events, and nothing else")


def _takes_events(shift: Any) -> bool:
    try:
        inspect.signature(shift).bind(None)
    except TypeError:
        return False
    except ValueError:  # a callable written in C that does not tell its parameters
        return True
    return True
