"""A report as HTML: for a notebook's cell, and as a file that needs nothing else, on light and on dark."""

from __future__ import annotations

import html

from ..tables import html_table
from ..wishes import course_line
from .facts import Facts, in_hand, slots_of
from .findings import Finding, findings
from .starts import WORDS, start_table
from .table import HEADINGS, costs
from .words import duration, headline, help_for, packets_line, significant, time_line, verdict, what

MOST_SLOTS = 400
"""Slots that get a line."""
FEW_LINES = 40
"""Of a table that is shown at once; a longer one is to be unfolded."""
_STYLE = """
.em-report { font: 15px/1.45 system-ui, sans-serif; max-width: 1100px; font-variant-numeric: tabular-nums }
.em-report h1 { font-size: 1.5em; margin: 0 0 .2em } .em-report h2 { font-size: 1.1em; margin: 1.4em 0 .4em }
.em-report p { margin: .3em 0 } .em-report .em-soft { opacity: .75 }
.em-report .em-figures { display: grid;
  grid-template-columns: repeat(auto-fit, minmax(10em, 1fr)); gap: .7em; margin: 1em 0 }
.em-report .em-figures div {
  border: 1px solid color-mix(in srgb, currentColor 18%, transparent); border-radius: .5em; padding: .5em .8em }
.em-report .em-figures b { display: block; font-size: 1.35em; font-weight: 600 }
.em-report ol { list-style: none; margin: .6em 0; padding: 0 }
.em-report li { display: flex; gap: 1em; padding: .6em .9em; margin: .45em 0; border-left: 4px solid #ffa90e;
  background: color-mix(in srgb, #ffa90e 9%, transparent); border-radius: 0 .4em .4em 0 }
.em-report li > b { flex: 0 0 6em; text-align: right; white-space: nowrap; font-size: 1.1em }
.em-report li em { display: block; font-style: normal; opacity: .75 }
.em-report .em-pictures { display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: .5em 2em }
.em-report figure { margin: 0 } .em-report figcaption { font-weight: 600; margin: .8em 0 .2em }
.em-report svg { width: 100%; height: auto; display: block; overflow: visible }
.em-report .em-table { overflow-x: auto } .em-report table { font-size: .92em }
.em-report tbody tr:nth-child(odd) { background: color-mix(in srgb, currentColor 5%, transparent) }
.em-report summary { cursor: pointer }
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>:root {{ color-scheme: light dark }} body {{ margin: 2em auto; padding: 0 1.2em; max-width: 1100px;
background: light-dark(#fff, #16181d); color: light-dark(#1b1e24, #e4e6ea) }}</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(facts: Facts) -> str:
    """The whole file."""
    title = f"{facts.name}: report" if facts.name else "report of a query"
    return _PAGE.format(title=html.escape(title), body=fragment(facts))


def fragment(facts: Facts) -> str:
    """What stands in the page, or in a notebook's cell."""
    found = findings(facts)
    lines, left_out = costs(facts, MOST_SLOTS)
    table = html_table(["", "", *HEADINGS], lines, words=2)
    if len(lines) > FEW_LINES:
        table = f"<details><summary>What packets cost, in {len(lines):,} lines</summary>{table}</details>"
    parts = [
        f"<style>{_STYLE}</style>",
        f"<h1>{html.escape(facts.name)}</h1>" if facts.name else "",
        _paragraph(headline(facts).removeprefix(f"{facts.name}: "), "em-soft"),
        _figures(facts),
        _paragraph(verdict(facts, found)),
        f"<ol>{''.join(map(_item, found))}</ol>" if found else "",
        _paragraph(time_line(facts)),
        _paragraph(packets_line(facts)),
        _pictures(facts),
        "<h2>What packets cost</h2>" if facts.workers else "",
        f'<div class="em-table">{table}</div>',
        _paragraph(left_out, "em-soft"),
        _paragraph(WORDS) if facts.starts else "",
        f'<div class="em-table">{html_table(*start_table(facts.starts), words=1)}</div>' if facts.starts else "",
        _paragraph(course_line(facts.wish)) if facts.wish is not None else "",
    ]
    return f'<div class="em-report">{"".join(parts)}</div>'


def _paragraph(text: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f"<p{kind}>{html.escape(text)}</p>" if text else ""


def _item(finding: Finding) -> str:
    said, helps = html.escape(what(finding)), html.escape(help_for(finding))
    return f"<li><b>{duration(finding.seconds)}</b><span>{said}<em>{helps}</em></span></li>"


def _figures(facts: Facts) -> str:
    """The numbers that one asks for first."""
    total, seconds = facts.total, facts.seconds
    if not facts.workers or not seconds:
        return ""
    entries = total.entries if facts.account is None else facts.account.processed
    computing = in_hand(total)["computing"] / (slots_of(facts) * seconds)
    figures = {
        "time": duration(seconds),
        "entries": f"{entries:,}",
        "entries a second": significant(entries / seconds),
        "MB a second": significant(total.bytes_read / 1e6 / seconds),
        "CPU efficiency": f"{total.efficiency:.0%}",
        "of all slots' time analysing": f"{computing:.0%}",
    }
    cells = "".join(f"<div><b>{value}</b>{name}</div>" for name, value in figures.items())
    return f'<div class="em-figures">{cells}</div>'


def _pictures(facts: Facts) -> str:
    try:
        from .plots import pictures
    except ModuleNotFoundError:
        return _paragraph("With pictures: pip install 'eventmill[plot]'", "em-soft")
    drawn = "".join(
        f"<figure><figcaption>{html.escape(it.title)}</figcaption>{it.svg}</figure>" for it in pictures(facts)
    )
    return f'<div class="em-pictures">{drawn}</div>' if drawn else ""
