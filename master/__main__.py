"""A master that belongs to one session: `python -m eventmill.master FOLDER PORT LISTENING_FD OWNER HOST`.

`connect()` starts it; `eventmill master` starts a standing one.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path

from ..protocol.connection import KeyFolder
from ..system.garbage import look_for_garbage_seldom, nothing_is_garbage
from ..system.lifeline import Owner
from ..system.scratch import remove_if_left

_KEPT = 2**31
"""Bytes of results of queries that are over."""


def main() -> None:
    """Serve the session, then remove the folder with its keys, unless the session is there to do it."""
    with nothing_is_garbage():
        from .journal import Journal
        from .serve import Binding, Master

    folder, port, descriptor, owner = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Owner.parse(sys.argv[4])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    with contextlib.suppress(ProcessLookupError):  # the session was gone before we started
        keys = KeyFolder(folder)
        # With it another process goes on if this one is killed; when the machine goes down, so does the session.
        journal = Journal(keys.journal, quota=_KEPT, durable=False)
        master = Master(keys, Binding("127.0.0.1", port, sys.argv[5], descriptor), owner, journal)
        look_for_garbage_seldom()
        master.run()
    # After an error the folder stays: the session reads the log in it.
    remove_if_left(folder)


if __name__ == "__main__":
    main()
