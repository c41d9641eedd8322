"""Expressions of aliases and `session.draw` compute in 64 bits, as TTree::Draw does."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from eventmill.analysis.expressions import Expression
from eventmill.protocol.errors import AnalysisError

PT = np.array([0.1, 2.0, 16777216.0], "f4")
EVENTS = ak.Array(
    {
        "nJet": np.array([1, 4], "u4"),
        "nMuon": np.array([2, 1], "u1"),
        "met": PT[:2],
        "flag": np.array([True, False]),
        "event": np.array([2**53 + 1, 2], "u8"),
        "times": ak.unflatten(np.array([2**60 + 1, 7, 2**60 + 3], "u8"), [2, 1]),
        "bits": np.array([2**63 + 5, 2], "u8"),
        "Muon": ak.zip({"pt": ak.unflatten(PT, [2, 1]), "charge": ak.unflatten(np.array([-1, 1, 1], "i1"), [2, 1])}),
    }
)
WIDE = PT.astype(float)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nJet - nMuon", [-1, 3]),
        ("events.nJet - events['nMuon']", [-1, 3]),
        ("(lambda n: n - nMuon)(nJet)", [-1, 3]),
        ("np.where(flag, nJet, -1)", [1, -1]),
        ("Muon.charge * 200", [[-200, 200], [200]]),
        ("met * met", (WIDE[:2] * WIDE[:2]).tolist()),
        ("sqrt(met)", np.sqrt(WIDE[:2]).tolist()),
        ("met > 0.1", [True, True]),  # the float nearest to 0.1 is larger
        ("ak.sum(Muon.pt, axis=1) + 1", [WIDE[0] + WIDE[1] + 1, 16777217.0]),
        ("Muon[Muon.charge > 0].pt + 1", [[3.0], [16777217.0]]),
        ("Muon.pt[:, 0] + 1", [WIDE[0] + 1, 16777217.0]),
        ("~flag", [False, True]),
        ("ak.num(Muon.pt)", [2, 1]),
        ("event % 2", [1, 0]),
        ("event - 3", [2**53 - 2, -1]),
        ("-event", [-(2**53) - 1, -2]),
        ("times - times[:, 0]", [[0, 6 - 2**60], [0]]),
        ("np.maximum(times, 0) - 2**60", [[1, 7 - 2**60], [3]]),
        ("ak.where(flag, event, -1)", [2**53 + 1, -1]),
        ("bits % 10", [3, 2]),
    ],
)
def test_expressions_are_those_of_64_bits(text: str, expected: Any) -> None:
    """In the types of the branches, 1 - 2 is 4294967295, and 16777216 + 1 is 16777216."""
    assert Expression(text).value(EVENTS).to_list() == expected


def test_a_column_alone_stays_what_it_is() -> None:
    """An alias that is but another name has the type of its branch, and a record stays one."""
    for text, kind in (("met", "float32"), ("events['nJet']", "uint32"), ("Muon.charge", "int8")):
        assert str(Expression(text).value(EVENTS).type).endswith(kind)
    assert Expression("Muon").value(EVENTS).fields == ["pt", "charge"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nMuon >> > 2", "invalid syntax\n    nMuon >> > 2\n             ^\nWrite it in Python"),
        ("number >", "invalid syntax\n    number >\n            ^\n"),
        ("sqrt(met", "'(' was never closed\n    sqrt(met\n        ^\n"),
        ("µ_pt +* 2", "invalid syntax\n    µ_pt +* 2\n          ^\n"),
        ("(met\n + 3 4)", "Perhaps you forgot a comma?\n    (met\n     ^\n"),
        ("nMuon > 1 && met > 2", "    nMuon > 1 && met > 2\n               ^\n&& is & here. Write"),
        ("!flag || flag", "|| is | here, ! is ~ here. Write"),
        ("met:nMuon", "Two axes are draw(data, 'x', y='y'). Write"),
        ("met\0", "null bytes. Write it in Python"),
        ("met '", "unterminated string literal"),
    ],
)
def test_what_cannot_be_read_is_marked(text: str, told: str) -> None:
    """Where Python stopped, and what those mean who write as for TTree::Draw."""
    with pytest.raises(AnalysisError) as caught:
        Expression(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "ak.sum(met)", "met / np.max(met)", "ak.sum(Muon.pt, axis=None)", "ak.any(flag, 0)", "np.mean(Muon.pt, axis=0)",
        "np.percentile(met, 50)", "met - ak.mean(met[flag])", "met[0]", "met[:5]", "Muon.pt[0, :]", "Muon.pt[-1]",
        "events[1:]",
    ],
)  # fmt: skip
def test_what_depends_on_how_events_are_cut_is_refused(text: str) -> None:
    """A call gets as many events as it gets: such a value would be another one each time."""
    with pytest.raises(AnalysisError, match="how events are cut for an expression is not fixed"):
        Expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "ak.sum(Muon.pt, axis=1)", "ak.max(Muon.pt, 1)", "np.max([met, nJet], axis=0)", "Muon.pt[:, 0]", "met[flag]",
        "ak.unzip(Muon)[0]", "(lambda x: ak.sum(x))(Muon.pt[0])", "events['met']", "ak.flatten(Muon.pt)", "ak.num(Muon)",
        "np.quantile(Muon.pt, 0.5, axis=1)",
    ],
)  # fmt: skip
def test_what_is_of_each_event_is_not(text: str) -> None:
    """Axes are not guessed where somebody names them."""
    Expression(text)
