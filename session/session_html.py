"""A session as the last value of a notebook's cell: who is there, and what goes on."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from ..display.pools import LaunchList
from ..display.waits import STARTING
from ..protocol.errors import EventmillError

if TYPE_CHECKING:
    from .steering import Steering


def session_html(session: Steering) -> str:
    """The session with the workers, queries and pools of its master; without them, and why, when that does not answer."""
    title = f"<p>{html.escape(repr(session))}</p>"
    try:
        workers, queries, pools = session.workers(), session.queries(), session.pools()
    except EventmillError as error:
        return f"{title}<p>{html.escape(str(error))}</p>"
    starting = not workers and session.starts_workers
    shown = "".join([pools._repr_html_(), *(LaunchList(info)._repr_html_() for info in pools)]) if pools else ""
    return title + (f"<p>{STARTING}</p>" if starting else workers._repr_html_()) + queries._repr_html_() + shown
