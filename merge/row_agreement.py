"""Whether the rows of two packets go into the same files."""

from __future__ import annotations

from .nodes import Rows, Unmergeable, Written


def check_rows(
    mine: Rows | Written,
    columns: dict[str, str],
    some: bool,
    other: Rows | Written,
    some_others: bool,
) -> None:
    """Refuse rows that do not go into the files of others. Where there are none, their types say nothing."""
    where = f"em.write to {mine.spec.target}"
    if mine.spec != other.spec and not (_in_files(mine) and _in_files(other)):
        names = mine.spec.__struct_fields__
        ways = ", ".join(name for name in names if getattr(mine.spec, name) != getattr(other.spec, name))
        raise Unmergeable(f"{where} in one packet with another {ways} than in another: give them all the same")
    for name in (*columns, *other.columns):
        one, two = columns.get(name), other.columns.get(name)
        if one is None or two is None:
            raise Unmergeable(f"{where}: there is a column {name!r} in one packet, and none in another")
        if one != two and some and some_others:
            raise Unmergeable(f"{where}: the column {name!r} is {one} in one packet and {two} in another")


def _in_files(node: Rows | Written) -> bool:
    return isinstance(node, Written) and not node.pieces
