"""`connect`, the way in. Imports next to nothing, so that master and worker start while the session itself imports."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..launch.local import Embedded

if TYPE_CHECKING:
    from ..analysis.modules import Named
    from ..protocol.credentials import Credentials
    from .session import Session

CONNECT_SECONDS = 5.0
EMBEDDED_SECONDS = 30.0
PATIENCE = 600.0
"""Seconds that a session waits for a master that is gone: long enough to boot its machine."""


def connect(
    target: str | os.PathLike[str] | None = None,
    *,
    slots: int | None = None,
    host: str | None = None,
    timeout: float = CONNECT_SECONDS,
    patience: float = PATIENCE,
    credentials: Credentials | None = None,
    modules: Iterable[Named] = (),
) -> Session:
    """Connect to a master, or start one on this machine.

    Args:
        target: a connection file, the name of a master, or its address ("tcp://host:8786", when its connection file lies
            in the state folder). None starts a master and a worker as processes of this session's own; they end with it:
            when it is closed, when nobody refers to it or its queries any more, and when its process ends.
        slots: worker slots to start on this machine (only without a target); one a core by default; 0 for none, where
            workers of pools are to do all.
        host: name or address under which workers on other machines reach this one, for pools of a master of this session's
            own (only without a target); "*" for the machine's host name. By default nobody but this machine reaches it.
        timeout: seconds to wait for the master's answer.
        patience: seconds for which who waits for a result waits on when the master is gone: it may be started again, here or
            at another address that it writes into its connection file.
        credentials: what workers show to file servers for this session's queries; by default what they find in their own
            environment. See `em.Credentials`.
        modules: of your own, to travel with all queries of this session; as for `Session.process`.

    Raises:
        ConnectionFailed: no master answers, it refuses the key, versions do not fit, or the processes of this session's
            own do not start; their last words are in the text then.

    Example:
        >>> import eventmill as em
        >>> with em.connect(slots=1) as session:
        ...     session
        <Session of an embedded master>
    """
    if target is not None and slots is not None:
        raise ValueError(
            "slots= is for a master of this session's own; start workers of a standing one with `eventmill worker`"
        )
    if slots is not None and slots < 0:
        raise ValueError(f"slots={slots}: a session has 0 worker slots of its own, or more")
    if target is not None and host is not None:
        raise ValueError(
            "host= is for a master of this session's own: a standing one is told by `eventmill master --host`"
        )
    master = os.fspath(target) if target is not None else Embedded(slots, host)
    from .session import Session

    return Session(master, timeout if target is not None else EMBEDDED_SECONDS, patience, credentials, modules)
