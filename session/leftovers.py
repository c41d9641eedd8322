"""What a query that has failed has written, and nobody has made files of: it goes with the query when that is removed."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from ..dataset.generated import items
from ..protocol import messages
from ..protocol.errors import EventmillError
from ..protocol.messages import QueryInfo
from ..writing.merging import discard
from .ending import Ending
from .finishing import in_pieces
from .owner import clipped
from .query import Query

if TYPE_CHECKING:
    from .session import Session

log = logging.getLogger(__name__)

SECONDS = 30.0
"""For workers to remove pieces: a query can be removed where there are none."""


class _Ended(Query):
    """A query that is over, of which nothing is to be made any more."""

    def _over(self, ending: Ending) -> None:
        self._ending = ending


def remove_pieces(session: Session, info: QueryInfo) -> None:
    """Have slots remove the rows that a query has in pieces. Where they cannot, a warning says what stays."""
    attach = partial(messages.Attach, query=info.query)
    query = session._watch.begin(attach, partial(_Ended, session, name=info.name))
    query._wait(lambda: query._result is not None)
    specs = [node.spec for node in in_pieces(query._result)] if query._result is not None else []
    if not specs:
        return
    removing = session.process(items(specs), discard, name=clipped(f"leftovers of {info.name}"), chunk=1)
    try:
        removing.result(SECONDS, progress=False)
    except (EventmillError, TimeoutError) as error:
        removing.abort()
        folders = ", ".join(spec.target for spec in specs)
        log.warning("rows of the query %s stay in hidden folders in %s: %s", info.name, folders, error)
