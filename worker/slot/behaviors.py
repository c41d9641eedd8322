"""What the session of a query has registered in `awkward.behavior`, in force in a slot while the query is at work there."""

from __future__ import annotations

import sys
from typing import Any

_ABSENT = object()
_in_force: dict[Any, Any] = {}
_before: dict[Any, Any] = {}
"""What was in the place of each entry that `use` has changed."""


def use(behaviors: dict[Any, Any]) -> None:
    """Have these in force, and those of no other query."""
    global _in_force
    if behaviors is _in_force:
        return
    put_back()
    _in_force = behaviors
    if not behaviors:
        return
    import awkward

    for key, behavior in behaviors.items():
        before = awkward.behavior.get(key, _ABSENT)
        if before is not behavior:
            _before[key] = before
            awkward.behavior[key] = behavior


def put_back() -> None:
    """Have none in force: what was there before is there again, but for what the query itself has put there since."""
    global _in_force
    awkward = sys.modules.get("awkward")
    for key, before in _before.items():
        if awkward is None or awkward.behavior.get(key, _ABSENT) is not _in_force[key]:
            continue
        if before is _ABSENT:
            del awkward.behavior[key]
        else:
            awkward.behavior[key] = before
    _before.clear()
    _in_force = {}
