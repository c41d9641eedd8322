"""The tables in benchmarks/README.md."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).with_name("README.md")


def put(name: str, table: str) -> None:
    """Replace what is between the README's comments `NAME: begin` and `NAME: end`.

    Raises:
        ValueError: there are no such comments.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = README.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{README} has no place for the table {name}")
    README.write_text(f"{before}{begin}\n{table}\n{end}{after}")
