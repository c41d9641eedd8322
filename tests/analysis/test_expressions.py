"""Expressions of aliases and `session.draw` compute in 64 bits, as TTree::Draw does."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from eventmill.analysis.expressions import Expression

PT = np.array([0.1, 2.0, 16777216.0], "f4")
EVENTS = ak.Array(
    {
        "nJet": np.array([1, 4], "u4"),
        "nMuon": np.array([2, 1], "u1"),
        "met": PT[:2],
        "flag": np.array([True, False]),
        "event": np.array([2**53 + 1, 2], "u8"),
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
