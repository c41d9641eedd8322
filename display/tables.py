"""Tables as text and as HTML: rows of cells, of which the first ones are words and the others numbers."""

from __future__ import annotations

import html
from collections.abc import Sequence

Row = Sequence[str]
_WORD, _NUMBER = "padding:.2em .7em;text-align:left", "padding:.2em .7em;text-align:right;white-space:nowrap"


def text_table(headings: Row, rows: Sequence[Row], words: int = 1) -> str:
    """The rows below their headings, in columns; all but the first `words` columns to the right.

    Example:
        >>> print(text_table(["site", "slots"], [["cern.ch", "4"], ["x", "12"]]))
        site     slots
        cern.ch      4
        x           12
    """
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def html_table(headings: Row, rows: Sequence[Row], words: int = 1, caption: str = "") -> str:
    """The same for a page or a notebook, escaped, with its style in itself: it has the colours of what it stands in.

    Example:
        >>> "a &lt;b&gt;" in html_table(["name"], [["a <b>"]])
        True
    """

    def line(kind: str, cells: Row) -> str:
        return "<tr>" + "".join(_cell(kind, cell, at < words) for at, cell in enumerate(cells)) + "</tr>"

    title = (
        f'<caption style="text-align:left;font-weight:bold;padding:.2em .7em">{html.escape(caption)}</caption>'
        if caption
        else ""
    )
    head = f"<thead>{line('th', headings)}</thead>" if any(headings) else ""
    body = "".join(line("td", row) for row in rows)
    return f'<table style="border-collapse:collapse;margin:.4em 0 1em">{title}{head}<tbody>{body}</tbody></table>'


def _cell(kind: str, cell: str, is_word: bool) -> str:
    return f'<{kind} style="{_WORD if is_word else _NUMBER}">{html.escape(cell)}</{kind}>'
