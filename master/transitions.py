"""The states of a query, and what leads from one to another: the table that its lifecycle goes by."""

from __future__ import annotations

from ..protocol.messages import State

TRANSITIONS: dict[tuple[State, str], tuple[State, ...]] = {
    ("running", "complete"): ("merging",),
    ("running", "stop"): ("running", "merging"),
    ("running", "error"): ("merging", "failed"),
    ("running", "abort"): ("aborted",),
    ("running", "fault of ours"): ("failed",),
    ("merging", "taken"): ("done", "stopped", "failed"),
    ("merging", "stop"): ("merging",),
    ("merging", "error"): ("failed",),
    ("merging", "abort"): ("aborted", "failed"),
    ("merging", "fault of ours"): ("failed",),
    ("done", "cannot be sent"): ("failed",),
    ("stopped", "cannot be sent"): ("failed",),
    ("failed", "cannot be sent"): ("failed",),
}
"""What may happen to a query in each state, and where it leads."""

_LEADS_TO: dict[State, set[State]] = {
    state: {target for (origin, _), targets in TRANSITIONS.items() if origin == state for target in targets}
    for state, _ in TRANSITIONS
}


def may_follow(state: State, after: State) -> bool:
    """Whether a query may get into a state from another.

    Example:
        >>> may_follow("merging", after="running"), may_follow("running", after="done")
        (True, False)
    """
    return state in _LEADS_TO.get(after, ())
