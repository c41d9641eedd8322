"""What `session.draw` fills of some events: every value once, pairs at the same place, and nothing that is no number."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from eventmill.analysis.drawn_values import drawn_values
from eventmill.analysis.expressions import Expression
from eventmill.protocol.errors import AnalysisError

EVENTS = ak.Array(
    {
        "met": np.array([5.0, np.nan, 7.0], "f4"),
        "n": np.array([2, 0, 1], "u4"),
        "good": np.array([True, False, True]),
        "pt": ak.Array([[30.0, 20.0], [], [10.0]]),
        "other": ak.Array([[1.0], [2.0], [3.0]]),
        "maybe": ak.Array([[1.0, None], None, [3.0]]),
        "cov": ak.to_regular(ak.Array(np.arange(12.0).reshape(3, 2, 2)), axis=None),
        "word": ak.Array(["a", "b", "c"]),
        "Muon": ak.Array([[{"pt": 1.0, "eta": 2.0}], [], []]),
        "phase": np.array([1j, 2j, 3j]),
    }
)


def values(x: str, where: str | None = None, y: str | None = None, events: Any = EVENTS) -> list[list[Any]]:
    given = [None if text is None else Expression(text) for text in (y, where)]
    return [column.tolist() for column in drawn_values(events, Expression(x), *given)]


@pytest.mark.parametrize(
    ("x", "where", "expected"),
    [
        ("pt", None, [30.0, 20.0, 10.0]),
        ("pt", "n > 1", [30.0, 20.0]),
        ("pt", "pt < 25", [20.0, 10.0]),
        ("pt[pt < 25]", "good", [20.0, 10.0]),
        ("met[n > 0]", None, [5.0, 7.0]),
        ("maybe", None, [1.0, 3.0]),
        ("maybe", "maybe > 2", [3.0]),
        ("cov", "n > 0", [0.0, 1.0, 2.0, 3.0, 8.0, 9.0, 10.0, 11.0]),
        ("good", None, [True, False, True]),
        ("n - 3", None, [-1, -3, -2]),
        ("0 * n + 4", None, [4, 4, 4]),
        ("np.max([met, n], axis=0)", "good", [5.0, 7.0]),
        ("pt", "n > 9", []),
        ("ak.num(pt)", None, [2, 0, 1]),
    ],
)
def test_every_value_is_filled_for_which_the_condition_holds(x: str, where: str | None, expected: list[Any]) -> None:
    """Of lists and of arrays all elements; what is missing is left out."""
    assert values(x, where) == [expected]


@pytest.mark.parametrize(
    ("x", "y", "where", "expected"),
    [
        ("pt", "met", None, [[30.0, 20.0, 10.0], [5.0, 5.0, 7.0]]),
        ("met", "pt", "pt < 25", [[5.0, 7.0], [20.0, 10.0]]),
        ("n", "good", "good", [[2, 1], [True, True]]),
        ("maybe", "n", None, [[1.0, 3.0], [2, 1]]),
        ("n", "maybe", None, [[2, 1], [1.0, 3.0]]),
        ("pt", "2 * pt", "n > 1", [[30.0, 20.0], [60.0, 40.0]]),
        ("cov", "n", "n == 1", [[8.0, 9.0, 10.0, 11.0], [1, 1, 1, 1]]),
    ],
)
def test_pairs_are_of_the_same_event_and_element(x: str, y: str, where: str | None, expected: list[Any]) -> None:
    """A number goes with each element of a list; a pair of which one is missing is left out."""
    assert values(x, where, y) == expected


@pytest.mark.parametrize(
    ("x", "y", "where", "told"),
    [
        ("Muon", None, None, "'Muon' gives records, not numbers: draw one of Muon.pt, Muon.eta"),
        ("word", None, None, "'word' gives string, and only numbers"),
        ("phase", None, None, "'phase' gives complex128, and only numbers"),
        ("(n, met)", None, None, "gives one tuple for all events"),
        ("n['x'] if 0 else 3", None, None, "gives one int for all events"),
        ("ak.sum(met, axis=-1)", None, None, "gives one float64 for all events"),
        ("met", None, "ak.any(good, axis=-1)", r"gives one bool\w* for all events"),
        ("pt", "other", None, "'pt' and 'other' have lists of different lengths"),
        ("met", None, "pt > 1", "have several|has several values an event, and 'met' has one"),
        ("met", "n", "pt > 1", r"has several values an event, and \('met', 'n'\) has one"),
        ("pt", None, "other > 1", "have lists of different lengths"),
        ("met", None, "n", "gives uint32, not true or false"),
    ],
)
def test_what_is_no_number_of_an_event_is_refused(x: str, y: str | None, where: str | None, told: str) -> None:
    """A number of all events that are looked at at a time would be another one for every size of a call."""
    with pytest.raises(AnalysisError, match=told):
        values(x, where, y)


def test_nothing_is_filled_of_no_events() -> None:
    """Whatever the types are, which may not be known then."""
    for x, y, where in [("pt", None, "pt > 1"), ("met", "pt", "n > 1"), ("maybe", None, None)]:
        assert all(len(column) == 0 for column in values(x, where, y, EVENTS[:0]))
    assert values("x", events=ak.Array({"x": []})) == [[]]
