"""`eventmill context --web`: a page on this machine that makes a context by form.

    GET  ""                the page; GET "form.js", "form.css" belong to it
    GET  "api/fields"      what can be said, and whether user-data can be made here
    POST "api/check"       what comes of what is in the form, or what is wrong with it
    POST "api/user-data"   user-data with a new token, to be saved

It listens on loopback only, and wants the token that is in its address, as the status page does.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from importlib import resources

import msgspec
from aiohttp import web

from ..launch.contexts.cloud_config import fitted
from ..launch.contexts.form import as_toml, context_of, fields
from ..launch.contexts.worker import WorkerContext, lone_script, worker_user_data
from ..protocol.errors import EventmillError
from ..status.access import is_own_host

STEERING = "X-Eventmill"
"""The header of what is asked by scripts: forms of other sites cannot send it."""
_ASSETS = {"": "text/html", "form.js": "text/javascript", "form.css": "text/css"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_entries = msgspec.json.Decoder(dict[str, str])
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ContextForm:
    """Answers for the form.

    Args:
        pool: what workers are called.
        limit: of user-data, in bytes; `compress`: they may be compressed.
        token: asks the master for a token, for user-data that are made; None: none are.
    """

    def __init__(self, pool: str, limit: int, compress: bool, token: Callable[[], str] | None) -> None:
        self._pool, self._limit, self._compress, self._token = pool, limit, compress, token
        self._secret = secrets.token_urlsafe(32)
        self._cookie = f"eventmill-form-{secrets.token_hex(6)}"

    def url(self, port: int) -> str:
        """Where the page is, with the token."""
        return f"http://127.0.0.1:{port}/?token={self._secret}"

    def app(self) -> web.Application:
        """What answers, to be run."""
        app = web.Application(middlewares=[self._guard], client_max_size=1024 * 1024)
        for name in _ASSETS:
            app.router.add_get(f"/{name}", self._asset)
        app.router.add_get("/api/fields", self._fields)
        app.router.add_post("/api/check", self._check)
        app.router.add_post("/api/user-data", self._make)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            response = await self._admitted(request, handler)
        except web.HTTPException as error:
            response = web.Response(status=error.status, text=error.reason)
        except msgspec.MsgspecError as error:
            response = web.json_response({"problem": str(error)}, status=400)
        except EventmillError as error:
            response = web.json_response({"problem": str(error)}, status=422)
        response.headers.update(_HEADERS)
        return response

    async def _admitted(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if not is_own_host(request.host, {}, frozenset()):
            raise web.HTTPForbidden(reason="This page is for this machine only.")
        if self._is_secret(request.query.get("token", "")) and request.path == "/":
            response = web.Response(status=303, headers={"Location": "./"})
            response.set_cookie(self._cookie, self._secret, path="/", httponly=True, samesite="Strict")
            return response
        if not self._is_secret(request.cookies.get(self._cookie, "")):
            raise web.HTTPForbidden(
                reason="Open the URL that eventmill context --web has said: there is a token in it."
            )
        if request.method == "POST" and request.headers.get(STEERING) != "1":
            raise web.HTTPForbidden(reason=f"This needs the header {STEERING}: 1.")
        return await handler(request)

    def _is_secret(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self._secret.encode())

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.path.removeprefix("/")
        file = resources.files("eventmill.launch.contexts") / "assets" / (name or "form.html")
        return web.Response(body=file.read_bytes(), content_type=_ASSETS[name], charset="utf-8")

    async def _fields(self, _: web.Request) -> web.Response:
        return web.json_response({"fields": fields(), "makes": self._token is not None})

    async def _check(self, request: web.Request) -> web.Response:
        context = context_of(_entries.decode(await request.read()))
        shown = self._user_data(context, "(secret)")
        size = len(fitted(self._user_data(context, "s" * 200), self._limit, self._compress))
        return web.json_response({"toml": as_toml(context), "shown": shown, "size": size})

    async def _make(self, request: web.Request) -> web.Response:
        context = context_of(_entries.decode(await request.read()))
        if self._token is None:
            raise web.HTTPNotFound
        fitted(self._user_data(context, "s" * 200), self._limit, self._compress)  # before there is a token for nothing
        token = await asyncio.to_thread(self._token)
        data = fitted(self._user_data(context, token), self._limit, self._compress)
        return web.Response(body=data, content_type="application/octet-stream")

    def _user_data(self, context: WorkerContext, token: str) -> str:
        return worker_user_data(context, token, lone_script(context, self._pool), asked=time.time())


def serve(form: ContextForm, port: int, said: Callable[[str], None]) -> None:
    """Answer until Ctrl-C; `said` is called with the page's address as soon as it is there."""

    async def run() -> None:
        runner = web.AppRunner(form.app(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        try:
            await site.start()
            said(form.url(runner.addresses[0][1]))
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    try:
        asyncio.run(run())
    except OSError as error:
        raise EventmillError(
            f"the page cannot listen at 127.0.0.1:{port}: {error.strerror}; choose another --port"
        ) from None
    except KeyboardInterrupt:
        said("")
