"""The status page's web server: who may come in, what is asked of it, and how it answers.

Pages and programs ask under the same addresses, all of them relative, so that a proxy may put them under any path:

    GET  ""                                the page
    GET  "assets/NAME"                     what belongs to it
    GET  "events"                          server-sent events: `summary`, each second
    GET  "api/workers", "api/time", "api/timeline", "api/spread", "api/queries", "api/logs", "api/failures"
    GET  "api/query/NUMBER"                a query: its account, what it holds, its report, what ended it
    GET  "api/query/NUMBER/drawings"       its histograms, once they are others than those of `after`
    POST "api/query/NUMBER/stop", "…/abort"
    GET  "metrics"                         for Prometheus

Every answer in JSON has `version`, so that a page of another version loads itself again. An array of a drawing is the
base64 of little-endian float64. What needs the master or much computing runs in threads, beside the event loop.
"""

from __future__ import annotations

import asyncio
import functools
import html
import json
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

import msgspec
from aiohttp import web

from ..protocol.errors import ConnectionFailed, EventmillError, QueryFailed
from ..protocol.version import __version__
from . import facts, metrics
from .access import Access, is_own_host
from .attached import Attached, Attachments, picks_of, windows_of
from .source import Source
from .watching import Look, Watching

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
LOOK_SECONDS = 5.0
"""How often is looked for queries that nobody looks at any more."""
STEERING = "X-Eventmill"
"""The header of what changes something: forms of other sites cannot send it."""
_ASSETS = {
    "page.js": ("text/javascript", (".", "page.js")),
    "dom.js": ("text/javascript", (".", "dom.js")),
    "charts.js": ("text/javascript", (".", "charts.js")),
    "query.js": ("text/javascript", (".", "query.js")),
    "logs.js": ("text/javascript", (".", "logs.js")),
    "pools.js": ("text/javascript", (".", "pools.js")),
    "page.css": ("text/css", (".", "page.css")),
    "icon.svg": ("image/svg+xml", (".", "icon.svg")),
    "uplot.min.js": ("text/javascript", (".", "uplot.min.js")),
    "uplot.min.css": ("text/css", (".", "uplot.min.css")),
    "histograms.js": ("text/javascript", ("..display", "histograms.js")),
    "board.js": ("text/javascript", ("..display", "board.js")),
    "widget.css": ("text/css", ("..display", "widget.css")),
    "jsroot.min.js": ("text/javascript", ("..display", "jsroot.min.js")),
}
_HEADERS = {
    # JSROOT sets styles, and needs no `eval` for histograms; it is loaded from a blob where a notebook has it as a text.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Eventmill-Version": __version__,
}
_ROLE = web.RequestKey("role", str)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StatusServer:
    """Answers for one master.

    Args:
        source: the session that tells of it.
        access: who may look, and who may steer.
        local: whether only this machine can reach it: then a request for another host is refused.
        names: of this host, beside `localhost`.
        secure: whether it is reached by TLS.
    """

    def __init__(
        self,
        source: Source,
        access: Access,
        *,
        local: bool = True,
        names: frozenset[str] = frozenset(),
        secure: bool = False,
    ) -> None:
        self._source, self._access = source, access
        self._local, self._names, self._secure = local, names, secure
        self._watching = Watching(source, self._summary)
        self._attachments = Attachments(source)

    def app(self) -> web.Application:
        """What answers, to be run."""
        app = web.Application(middlewares=[self._guard], client_max_size=64 * 1024)
        app.router.add_get("/", self._index)
        app.router.add_get("/assets/{name}", self._asset)
        app.router.add_get("/events", self._events)
        app.router.add_get("/metrics", self._metrics)
        get = functools.partial(app.router.add_get, allow_head=False)
        get("/api/workers", self._asked(lambda look, asked: facts.workers(look.view, look.when, asked)))
        get("/api/queries", self._asked(lambda look, asked: facts.queries(look.view, look.when, asked)))
        get("/api/pools", self._asked(lambda look, _: facts.pools(look.view, look.when)))
        get("/api/time", self._asked(_over_time))
        get("/api/timeline", self._asked(_timeline))
        get("/api/spread", self._asked(lambda look, asked: facts.spread(look.view, asked.get("query", ""))))
        get("/api/logs", self._asked(lambda look, asked: facts.log_lines(look.logs, asked)))
        get("/api/failures", self._asked(lambda look, _: facts.failures(look.logs)))
        get("/api/query/{number}", self._query)
        get("/api/query/{number}/drawings", self._drawings)
        app.router.add_post("/api/query/{number}/stop", functools.partial(self._stop, keep=True))
        app.router.add_post("/api/query/{number}/abort", functools.partial(self._stop, keep=False))
        app.cleanup_ctx.append(self._background)
        return app

    async def _background(self, _app: web.Application) -> Any:
        tasks = [asyncio.create_task(self._watching.run()), asyncio.create_task(self._leave_idle())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._attachments.close()

    async def _leave_idle(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._attachments.leave_idle(time.monotonic())

    def _summary(self, look: Look) -> bytes:
        return facts.encoded(
            {
                "version": __version__,
                "master": self._source.address,
                "connected": look.connected,
                **facts.summary(look.view, look.logs, look.when),
            }
        )

    # --- who comes in -----------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            response = await self._admitted(request, handler)
        except web.HTTPException as error:
            response = _page(error.status, error.reason)
        except facts.BadQuestion as error:
            response = _problem(400, str(error))
        except QueryFailed as error:
            response = _problem(404, str(error))
        except (ConnectionFailed, EventmillError) as error:
            response = _problem(503, str(error))
        except (ConnectionResetError, asyncio.CancelledError):  # the browser has gone
            raise
        except Exception:
            log.exception("error of ours in the status page: %s %s", request.method, request.path)
            response = _problem(500, "an error of the status page itself; its log has more")
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _admitted(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if self._local and not is_own_host(request.host, request.headers, self._names):
            return _page(403, "This page is for this machine only, and was asked for under the name of another one.")
        role = self._access.allowed(request.query, request.headers, request.cookies)
        if role is None:
            return self._refused(request)
        if request.method == "POST":
            if role != "steer":
                return _problem(403, "this token may look only: the page of who may steer has another one")
            if request.headers.get(STEERING) != "1":
                return _problem(403, f"what changes something needs the header {STEERING}: 1")
        if request.path == "/" and "token" in request.query:
            return self._entered(request)
        request[_ROLE] = role
        return await handler(request)

    def _entered(self, request: web.Request) -> web.Response:
        """The token goes into a cookie, and out of the address."""
        rest = request.rel_url.without_query_params("token").query_string
        headers = {"Location": f"./?{rest}" if rest else "./", "Cache-Control": "no-store"}
        response = web.Response(status=303, headers=headers)
        secure = self._secure or request.headers.get("X-Forwarded-Proto") == "https"
        # Without a path the browser takes that of the request, which a proxy may have put in front of ours.
        response.set_cookie(
            self._access.cookie, request.query["token"], path="", httponly=True, samesite="Strict", secure=secure
        )
        return response

    def _refused(self, request: web.Request) -> web.Response:
        if request.path != "/":
            return _problem(403, "no token, or a wrong one: open the URL that the master said when it started")
        # Who comes by a link of another site has no strict cookie with him; from a page of ours, he has.
        from_elsewhere = request.headers.get("Sec-Fetch-Site") == "cross-site" and "again" not in request.query
        return _page(
            403,
            "This is the status page of an eventmill master, and it needs a token. Open the URL with ?token= in it that "
            "`eventmill master` said when it started (it is in status.json beside the master's keys, too), or that "
            "session.dashboard shows. After the master was started again there is another one.",
            '<meta http-equiv="refresh" content="0; url=./?again=1">' if from_elsewhere else "",
        )

    # --- what is asked ----------------------------------------------------------------------------------------------

    async def _index(self, _: web.Request) -> web.Response:
        text = _read(".", "page.html").decode().replace("{version}", html.escape(__version__, quote=True))
        return web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-cache"})

    async def _asset(self, request: web.Request) -> web.Response:
        kind, place = _ASSETS.get(request.match_info["name"], ("", (".", "")))
        if not kind:
            raise web.HTTPNotFound
        response = web.Response(body=_read(*place), content_type=kind, charset="utf-8")
        response.headers["Cache-Control"] = "no-cache"
        response.etag = __version__
        if any(tag.value == __version__ for tag in request.if_none_match or ()):
            return web.Response(status=304)
        response.enable_compression()
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**_HEADERS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        await response.prepare(request)
        role = facts.encoded({"role": request[_ROLE]})[:-1] + b","
        async for told in self._watching.stream(HEARTBEAT_SECONDS):
            # Waits while the browser does not read: what comes next is the latest then, and nothing piles up.
            await response.write(b"event: summary\ndata: " + role + told[1:] + b"\n\n" if told else b": there\n\n")
        return response

    def _asked(self, make: Callable[[Look, dict[str, str]], Any]) -> _Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            asked = dict(request.query)
            asked.pop("token", None)
            key = (request.path, *sorted(asked.items()))
            return _json(await self._watching.made(key, lambda look: {"version": __version__, **make(look, asked)}))

        return handler

    async def _query(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        look = await self._known(number)
        attached = await self._attached(number)
        about = await asyncio.to_thread(attached.about, request.query.get("filter", ""))
        row = facts.query_row(look.view.queries[number], look.when)
        return _json(facts.encoded({"version": __version__, "row": row, **about}))

    async def _drawings(self, request: web.Request) -> web.Response:
        number, asked = request.match_info["number"], request.query
        await self._known(number)
        picks, windows = picks_of(_told(asked, "picks")), windows_of(_told(asked, "windows"))
        attached = await self._attached(number)
        try:
            newer = await attached.newer(asked.get("after", ""))
        except EventmillError:
            self._attachments.lost(number)
            raise
        if not newer:
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
        shown, together = asked.getall("shown", []), asked.get("together") == "1"
        body = await asyncio.to_thread(
            lambda: facts.encoded({"version": __version__, **attached.drawings(shown, picks, windows, together)})
        )
        return _json(body)

    async def _known(self, number: str) -> Look:
        """What is known, with this query in it. Raises QueryFailed when it is not."""
        look = await self._watching.current()
        for _ in range(2):  # the answer that is on its way may have been made before the query
            if number in look.view.queries:
                return look
            look = await self._watching.next()
        if number not in look.view.queries:
            raise QueryFailed(f"no query {number[:100]!r} on this master (any more)")
        return look

    async def _attached(self, number: str) -> Attached:
        return await self._attachments.get(number)

    async def _stop(self, request: web.Request, keep: bool) -> web.Response:
        number = request.match_info["number"]
        await asyncio.to_thread(functools.partial(self._source.stop, number, keep=keep))
        log.info("query %s is %s by the status page", number, "stopped" if keep else "aborted")
        return _json(facts.encoded({"version": __version__, "query": number, "kept": keep}))

    async def _metrics(self, _: web.Request) -> web.Response:
        look = await self._watching.current()
        try:
            body = await asyncio.to_thread(metrics.exposition, look.view, look.logs, look.connected)
        except ModuleNotFoundError:
            return _problem(501, "metrics need prometheus_client: pip install 'eventmill[metrics]'")
        return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE, "Cache-Control": "no-store"})


# --- parts of requests and answers --------------------------------------------------------------------------------------


def _over_time(look: Look, asked: dict[str, str]) -> Any:
    since = facts.seconds(asked, "since", max(60.0, look.view.now))
    return facts.over_time(look.view, look.when, asked.get("by", "site"), since)


def _timeline(look: Look, asked: dict[str, str]) -> Any:
    return facts.timeline(look.view, facts.seconds(asked, "since", 60.0), asked)


def _told(asked: Mapping[str, str], name: str) -> Any:
    """What JSON a browser has in its question. Raises BadQuestion when it is none."""
    try:
        return json.loads(asked.get(name) or "{}")
    except json.JSONDecodeError as error:
        raise facts.BadQuestion(f"{name}: {error}") from None


def _json(body: bytes) -> web.Response:
    response = web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})
    if len(body) > 4096:
        response.enable_compression()
    return response


def _problem(status: int, words: str) -> web.Response:
    body = msgspec.json.encode({"version": __version__, "error": words[:2000]})
    return web.Response(
        status=status, body=body, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _page(status: int, words: str, head: str = "") -> web.Response:
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">{head}'
        f'<title>eventmill</title><body style="font:16px/1.5 sans-serif;max-width:40em;margin:4em auto;padding:0 1em">'
        f"<h1>eventmill</h1><p>{html.escape(words)}</p></body></html>"
    )
    return web.Response(status=status, text=text, content_type="text/html", headers={"Cache-Control": "no-store"})


@functools.cache
def _read(place: str, name: str) -> bytes:
    package = __package__ if place == "." else f"{__package__.rpartition('.')[0]}.{place.lstrip('.')}"
    return resources.files(package).joinpath(str(PurePosixPath("assets", name))).read_bytes()


def tls(certificate: str, key: str) -> ssl.SSLContext:
    """For a server with these files. Raises ConnectionFailed when they are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConnectionFailed(f"no certificate and key for TLS in {certificate} and {key}: {error}") from None
    return context
