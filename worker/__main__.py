"""A worker that belongs to one session: `python -m eventmill.worker CONNECTION SLOTS OWNER LOG`.

`connect()` starts it; `eventmill worker` starts one for a standing master.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path

from ..system.garbage import nothing_is_garbage
from .agent.forkserver_client import ForkserverClient


def main() -> None:
    """Work for the session's master."""
    forkserver = ForkserverClient(alone=True)
    with nothing_is_garbage():  # imported while the forkserver warms up
        from ..protocol.connection import load_connection
        from ..system.lifeline import Owner
        from .agent.serve import Worker
        from .allocation.cores import usable_cores

    connection, owner = load_connection(Path(sys.argv[1])), Owner.parse(sys.argv[3])
    slots = int(sys.argv[2]) or usable_cores()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    with contextlib.suppress(ProcessLookupError):  # the session was gone before we started
        # Without grace: a session that closes waits for nothing.
        log = Path(sys.argv[4])
        Worker(
            connection, slots, name="local", patience=60.0, owner=owner, forkserver=forkserver, grace=0.0, log=log
        ).run()


if __name__ == "__main__":
    main()
