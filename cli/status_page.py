"""The process of a standing master's status page: `python -m eventmill.cli.status_page CLIENT_FILE STATUS_FILE FD OWNER`.

`eventmill master --status-port` starts it, and starts it again when it is killed. It is a session of the master as any
other, and ends with it. The tokens are in the file beside the master's keys, never on a command line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import signal
import socket
from pathlib import Path

from ..protocol.connection import load_connection
from ..session.connect import connect
from ..status.access import Access
from ..status.dashboard import serve
from ..status.server import StatusServer, tls
from ..system.lifeline import Lifeline, Owner

log = logging.getLogger(__name__)

START_SECONDS = 60.0
"""How long the master may take to answer for the first time."""


def main() -> None:
    """Serve the page until told to end, or the master is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", type=Path)
    parser.add_argument("status", type=Path)
    parser.add_argument("descriptor", type=int)
    parser.add_argument("owner", type=Owner.parse)
    parser.add_argument("--certificate", default="")
    parser.add_argument("--key", default="")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    with contextlib.suppress(ProcessLookupError):  # the master was gone before we started
        asyncio.run(_serve(asked, Lifeline(asked.owner)))


async def _serve(asked: argparse.Namespace, owner: Lifeline) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(owner.fileno(), ended.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    listening = socket.socket(fileno=asked.descriptor)
    access = Access.read(asked.status)
    context = tls(asked.certificate, asked.key) if asked.certificate else None
    local = listening.getsockname()[0] in ("127.0.0.1", "::1")
    connecting = asyncio.create_task(asyncio.to_thread(connect, asked.client, timeout=START_SECONDS, patience=math.inf))
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait([connecting, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not connecting.done():
        return
    with await connecting as session:
        server = StatusServer(session, access, local=local, names=frozenset(), secure=context is not None)
        log.info("the status page of the master at %s is there", load_connection(asked.client).address)
        await serve(server, listening, ended, context)


if __name__ == "__main__":
    main()
