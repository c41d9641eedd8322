"""A launcher of a session or master: `python -m eventmill.launch POOLS CONNECTION FOLDER OWNER HOW [LOG]`.

HOW is "ends", when the workers are to end with the owner, or "stays". `Session.scale` and `eventmill master --pools` start
it; `eventmill pool agent` is one in a terminal.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path

from ..protocol.connection import load_connection
from ..protocol.errors import EventmillError
from ..system.lifeline import Owner
from ..system.scratch import remove_if_left
from .config import load
from .serve import Ending, Launcher


def main() -> None:
    """Serve the owner's master."""
    pools, connection, folder = map(Path, sys.argv[1:4])
    ending = Ending(Owner.parse(sys.argv[4]), with_owner=sys.argv[5] == "ends")
    log = sys.argv[6] if len(sys.argv) > 6 else None
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", filename=log)
    with contextlib.suppress(ProcessLookupError):  # the owner was gone before we started
        try:
            Launcher(load_connection(connection), load(pools), folder, ending, connection).run()
        except EventmillError as error:
            sys.exit(f"eventmill launcher: {error}") if log is None else logging.error("%s", error)
    if ending.with_owner:
        remove_if_left(folder)


if __name__ == "__main__":
    main()
