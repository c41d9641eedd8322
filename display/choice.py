"""What is chosen of a result to be looked at: what it lists, what it draws. A notebook and a page have the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .drawings import Drawing, Item, Pick, compared, drawings, find, is_histogram, item, named

FIRST_SHOWN = 2
"""Histograms that are drawn until somebody picks some."""
MOST_ITEMS = 200
"""Histograms of a result that are listed, and other things; the rest is found by its names."""
Pictures = list[tuple[str, list[Drawing]]]


def listed(
    value: Any,
    filter: str = "",  # noqa: A002 - it is called so
    shown: Sequence[str] | None = None,
) -> tuple[list[Item], int]:
    """What a result holds whose names have a text in them, as far as it is listed, and how much more.

    Args:
        value: the result.
        filter: the text, in any case of letters.
        shown: the histograms that have menus to pick from; by default all that are listed.

    Example:
        >>> listed({"muons": 3, "jets": 4}, "MU")
        ([Item(name='muons', kind='row', text='3', menus={})], 0)
    """
    histograms: list[tuple[str, Any]] = []
    others: list[tuple[str, Any]] = []
    for name, inner in named(value):
        if filter.lower() in name.lower():
            (histograms if is_histogram(inner) else others).append((name, inner))
    kept = [*histograms[:MOST_ITEMS], *others[:MOST_ITEMS]]
    found = [item(name, inner, shown is None or name in shown) for name, inner in kept]
    return found, len(histograms) + len(others) - len(found)


def pictures(
    value: Any, shown: Sequence[str], picks: Mapping[str, Mapping[str, Pick]], together: bool = False
) -> Pictures:
    """What is to be drawn of a result, each picture with its histograms.

    Args:
        value: the result.
        shown: names of its histograms; those that are not in it (yet) are left out.
        picks: of each, what is picked of the axes that do not go into the picture.
        together: all in one picture, to be compared.
    """
    found: Pictures = []
    for name in shown:
        try:
            histogram = find(value, name)
        except KeyError:
            continue  # it may not have been merged yet
        found.append((name, drawings(name, histogram, picks.get(name))))
    if together and len(found) > 1:
        return [(" and ".join(name for name, _ in found), compared([parts for _, parts in found]))]
    return found
