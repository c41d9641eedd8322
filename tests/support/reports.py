"""Whether a report says what the account says: every number that is shown is the ledger's."""

from __future__ import annotations

import eventmill as em
import pytest


def check_report(query: em.Query) -> None:
    """Compare the report of a query that is over with its account, and its forms with each other."""
    report, account = query.report(), query.account
    rows = report.rows()
    by = {of: [row for row in rows if row["of"] == of] for of in ("query", "slot", "site", "server")}
    assert sum(info.processed for info in report) == account.processed
    assert all(info.processed <= info.entries for info in report), "nobody commits what no slot is through with"
    assert by["query"][0]["entries"] == sum(info.entries for info in report) >= account.processed
    for of in ("slot", "site", "server"):
        for field in ("packets", "entries", "bytes_read", "requests", "calls"):
            assert sum(row[field] for row in by[of]) == by["query"][0][field], (of, field)
        assert sum(row["elapsed"] for row in by[of]) == pytest.approx(by["query"][0]["elapsed"])
    assert report.facts.seconds == pytest.approx(query.result().seconds)
    frames = report.frames()
    assert frames["workers"].processed.sum() == account.processed
    assert frames["costs"].to_dict("records") == rows
    for text in (" ".join(form.split()) for form in (repr(report), report._repr_html_())):  # lines break anywhere
        assert f"{account.processed:,} " in text or f">{account.processed:,}<" in text
        assert not account.redone or f"{account.redone:,} " in text
    for info in report:
        for began, ended in info.spans.values():
            assert (info.joined or 0.0) <= began + 0.5 and began <= ended <= report.facts.seconds + 1e-6
