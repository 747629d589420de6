"""The HTTP application: routes to handlers, and the connections that it serves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, TypeVar

from asyncstack.application.http.body import RequestBody
from asyncstack.application.http.errors import BodyTruncated, HttpError
from asyncstack.application.http.limits import Limits
from asyncstack.application.http.request import Request
from asyncstack.application.http.response import Response
from asyncstack.application.http.routing import Route, Router, WebSocketRoute

if TYPE_CHECKING:
    from asyncstack.application.http.connection import HttpConnection
    from asyncstack.application.http.head import RequestHead

Handler = Callable[[Request], Awaitable[Response | str | bytes]]
H = TypeVar("H", bound=Callable[..., Any])

ANY_METHOD = ("*",)


class Application:
    """An HTTP/1.1 server's routes. `handle` is what `start_server` wants, of a Stack or of asyncio alike.

        app = Application()

        @app.get("/hello/{name}")
        async def hello(request):
            return Response(f"Hello, {request.params['name']}")

        server = await stack.start_server(app.handle, "10.9.0.2", 80)

    A handler returns a Response, text or bytes, or raises HttpError; anything else it raises is logged and
    answered with 500. HEAD and OPTIONS answer themselves. `clock` gives Unix time in seconds for the Date header;
    a simulation that has to repeat itself brings its own.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        server: str = "asyncstack",
        clock: Callable[[], float] = time.time,
        log: logging.Logger | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.server = server
        self.log = log or logging.getLogger("asyncstack.http")
        self.closing = False
        self._clock = clock
        self._date = (-1, "")
        self._router = Router()
        self._connections: dict[HttpConnection, None] = {}
        self._all_closed = asyncio.Event()

    # Routes

    def route(
        self, path: str, methods: Iterable[str] = ("GET",), *, body_size: int | None = None
    ) -> Callable[[H], H]:
        """A decorator: the handler answers `methods` at `path`, which may hold `{name}`, `{name:int}` (one
        segment) and `{name:path}` (the rest). `body_size` replaces the limit of that name; 0 is none."""

        def add(handler: H) -> H:
            self._add(path, methods, handler, body_size)
            return handler

        return add

    def _add(self, path: str, methods: Iterable[str], handler: Any, body_size: int | None) -> None:
        route = self._router.route(path)
        for method in methods:
            if method in route.methods:
                raise ValueError(f"route {path!r}: {method} has a handler already")
            route.methods[method] = handler
            if body_size is not None:
                route.body_sizes[method] = body_size

    def get(self, path: str) -> Callable[[H], H]:
        """A decorator: the handler answers GET (and HEAD) at `path`."""
        return self.route(path, ("GET",))

    def post(self, path: str, *, body_size: int | None = None) -> Callable[[H], H]:
        """A decorator: the handler answers POST at `path`."""
        return self.route(path, ("POST",), body_size=body_size)

    def put(self, path: str, *, body_size: int | None = None) -> Callable[[H], H]:
        """A decorator: the handler answers PUT at `path`."""
        return self.route(path, ("PUT",), body_size=body_size)

    def patch(self, path: str, *, body_size: int | None = None) -> Callable[[H], H]:
        """A decorator: the handler answers PATCH at `path`."""
        return self.route(path, ("PATCH",), body_size=body_size)

    def delete(self, path: str) -> Callable[[H], H]:
        """A decorator: the handler answers DELETE at `path`."""
        return self.route(path, ("DELETE",))

    def websocket(
        self,
        path: str,
        *,
        subprotocols: Iterable[str] = (),
        origins: Iterable[str | None] | None = None,
        **options: Any,
    ) -> Callable[[H], H]:
        """A decorator: the handler is called with each WebSocket that clients open at `path`.

        `subprotocols` in order of preference; `origins` are the Origin headers accepted, None among them for
        clients that send none (default: any); `options` as for `websocket.connect`: `max_size`, `compression` ...
        """

        def add(handler: H) -> H:
            route = self._router.route(path)
            if route.websocket is not None:
                raise ValueError(f"route {path!r} has a WebSocket handler already")
            accepted = None if origins is None else tuple(origins)
            route.websocket = WebSocketRoute(handler, tuple(subprotocols), accepted, options)
            return handler

        return add

    def mount(self, prefix: str, handler: Handler) -> None:
        """Let `handler` answer every path below `prefix`, with the rest in `request.params["path"]`; for
        example `app.mount("/static", StaticFiles("www"))`. Routes and mounts added earlier win."""
        self._add(prefix.rstrip("/") + "/{path:path}", ANY_METHOD, handler, None)

    # Requests

    async def respond(
        self, request: Request, body: RequestBody, head: RequestHead
    ) -> Response | WebSocketRoute:
        """What to answer to `request`. Raises only BodyTruncated: the client left in the middle of its body."""
        try:
            route = self._find(request)
            if route is None:
                return _options("GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE")
            if route.websocket is not None and _wants_websocket(request, head):
                return route.websocket
            handler = route.handler(request.method)
            if handler is None:
                return _no_handler(route, request)
            self._limit_body(body, route.body_sizes.get(request.method))
            return _response_of(await handler(request))
        except HttpError as error:
            return Response.error(error)
        except BodyTruncated:
            if body.failed:
                raise
            self.log.exception("the handler of %s %s failed", request.method, request.target)
        except Exception:
            self.log.exception("the handler of %s %s failed", request.method, request.target)
        return Response.error(HttpError(500))

    def _find(self, request: Request) -> Route | None:
        """The route; None for OPTIONS *. Raises HttpError(404)."""
        if request.target == "*":
            return None
        found = self._router.find(request.raw_path)
        if found is None:
            raise HttpError(404)
        route, request.params = found
        return route

    def _limit_body(self, body: RequestBody, limit: int | None) -> None:
        if limit is not None:
            body.limit = limit
        if 0 < body.limit < body.remaining:
            raise HttpError(413, f"at most {body.limit} bytes")

    def date(self) -> str:
        """The Date header's value, made once a second (RFC 9110 section 5.6.7)."""
        now = int(self._clock())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True))
        return self._date[1]

    # Connections

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it is closed."""
        from asyncstack.application.http.connection import HttpConnection

        if self.closing:
            writer.close()
            return
        connection = HttpConnection(self, reader, writer)
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            del self._connections[connection]
            if self.closing and not self._connections:
                self._all_closed.set()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def shutdown(self, timeout: float = 10.0) -> None:
        """Close every connection: idle ones now, busy ones after their answer, WebSockets with 1001; what is left
        after `timeout` seconds is cut off. The listener is the caller's to close first."""
        self.closing = True
        for connection in list(self._connections):
            connection.stop()
        if not self._connections:
            return
        try:
            async with asyncio.timeout(timeout):
                await self._all_closed.wait()
        except TimeoutError:
            tasks = [connection.task for connection in self._connections if connection.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _wants_websocket(request: Request, head: RequestHead) -> bool:
    """RFC 6455 section 4.2.1."""
    return (
        request.method == "GET"
        and request.version == "1.1"
        and head.length == 0
        and "websocket" in request.headers.tokens("upgrade")
        and "upgrade" in request.headers.tokens("connection")
    )


def _no_handler(route: Route, request: Request) -> Response:
    if request.method == "OPTIONS":
        return _options(route.allow())
    if route.websocket is not None and request.method == "GET":
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
        return Response("426 this is a WebSocket\n", 426, headers)
    raise HttpError(405, headers={"Allow": route.allow()})


def _options(allow: str) -> Response:
    return Response(b"", 204, {"Allow": allow})


def _response_of(result: Any) -> Response:
    if isinstance(result, Response):
        return result
    if isinstance(result, (str, bytes)):
        return Response(result)
    kind = type(result).__name__
    raise TypeError(f"a handler returned {kind}: return a Response, text or bytes")
