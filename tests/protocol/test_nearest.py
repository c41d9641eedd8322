"""Names that are not known are told with a few that are like them, however many there are."""

from __future__ import annotations

from eventmill.protocol.errors import nearest


def test_of_thousands_of_names_three_are_told() -> None:
    names = [f"HLT_path{i}" for i in range(5000)]
    assert nearest("HLT_path70x", names) == "; the nearest names are HLT_path70, HLT_path970, HLT_path870"
    assert nearest("nothing like it", names) == ""


def test_case_counts_only_where_nothing_else_is_near() -> None:
    assert nearest("MUON_PT", ["muon_pt", "electron"]) == "; the nearest names are muon_pt"


def test_of_few_all_are_told_where_this_is_asked_for() -> None:
    assert nearest("Jets", ["events", "runs"], few=2) == "; it has events, runs"
    assert nearest("Jets", ["events", "runs", "Jet"], few=2) == "; the nearest names are Jet, events"
    assert nearest("Jets", [], few=2) == ""
