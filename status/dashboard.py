"""The status page beside a session, in a thread of its process: `session.dashboard`."""

from __future__ import annotations

import asyncio
import html
import logging
import os
import socket
import threading
from typing import Any

from aiohttp import web

from .access import Access
from .server import StatusServer
from .source import Beside

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
_PREFIX = "JUPYTERHUB_SERVICE_PREFIX"
"""The environment variable in which a hub says under which path its user's notebook server is."""


class Dashboard:
    """The status page of a session's master. It is on this machine only, and ends with the session.

    Args:
        session: it is not kept by the page.

    Attributes:
        url: where it is, with a token that lets its bearer look and steer. Give it to nobody.

    Example:
        >>> dashboard = session.dashboard                                                            # doctest: +SKIP
        >>> dashboard.url                                                                            # doctest: +SKIP
        'http://127.0.0.1:40123/?token=...'
    """

    def __init__(self, session: Any) -> None:
        self._pid = os.getpid()
        self._access = Access.new()
        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = listening.getsockname()[1]
        self._server = StatusServer(Beside(session), self._access)
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="eventmill dashboard", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the page is, for who may steer."""
        return self._access.url(f"http://127.0.0.1:{self.port}", "steer")

    @property
    def proxied(self) -> str:
        """Where it is behind the notebook server that runs this kernel, if jupyter-server-proxy is there."""
        prefix = os.environ.get(_PREFIX, "/")
        return self._access.url(f"{prefix}proxy/{self.port}", "steer")

    def close(self) -> None:
        """End it; closing twice is allowed, and does nothing in a fork."""
        if os.getpid() != self._pid or not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._ended.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_SECONDS)

    def _run(self, listening: socket.socket) -> None:
        try:
            self._loop.run_until_complete(serve(self._server, listening, self._ended))
        except Exception:
            log.exception("the dashboard of this session has ended")
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def __repr__(self) -> str:
        return f"<Dashboard at http://127.0.0.1:{self.port}>"

    def _repr_html_(self) -> str:
        url, proxied = html.escape(self.url, quote=True), html.escape(self.proxied, quote=True)
        link = '<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>'
        return (
            f"<p>{link.format(url, 'status page')}, or {link.format(proxied, 'behind the notebook server')}, "
            "if that runs elsewhere and has jupyter-server-proxy</p>"
        )


async def serve(server: StatusServer, listening: socket.socket, ended: asyncio.Event, tls: Any = None) -> None:
    """Answer at a socket until told to end. No access log: addresses have tokens in them."""
    runner = web.AppRunner(server.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.SockSite(runner, listening, ssl_context=tls).start()
        await ended.wait()
    finally:
        await runner.cleanup()
