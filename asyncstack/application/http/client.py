"""The HTTP/1.1 client: requests over a pool of connections, on any stack's `open_connection`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any

from asyncstack.application.http.errors import TooManyRedirects
from asyncstack.application.http.headers import Headers, HeaderSource
from asyncstack.application.http.limits import ClientLimits
from asyncstack.application.http.pool import ConnectionPool, OpenConnection
from asyncstack.application.http.url import Url, follow, parse_url

if TYPE_CHECKING:
    from asyncstack.application.http.exchange import Exchange

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# May be sent again when nobody knows whether the first one arrived (RFC 9110 section 9.2.2).
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))

# Not for another origin than the one they were meant for.
PRIVATE = ("authorization", "cookie", "proxy-authorization")


class ClientResponse:
    """A response: `status`, `reason`, `headers`, `version`, `url` (of the last redirect), and a body.

    `async for piece in response` gives the body as it comes; `read`, `text` and `json` collect it, up to the
    client's `body_size`. A body that ends too early raises BodyTruncated.
    """

    def __init__(self, exchange: Exchange, url: Url, limits: ClientLimits) -> None:
        head, body = exchange.head, exchange.body
        assert body is not None
        self.status = head.status
        self.reason = head.reason
        self.version = head.version
        self.headers = head.headers
        self.url = str(url)
        self._body = body
        self._limits = limits
        self._collected: bytes | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body

    async def read(self) -> bytes:
        """All of the body. LimitExceeded if it is larger than the client's limits allow."""
        if self._collected is None:
            self._body.limit = self._limits.body_size
            self._collected = await self._body.read()
        return self._collected

    async def text(self) -> str:
        """All of the body as UTF-8, malformed bytes replaced."""
        return (await self.read()).decode(errors="replace")

    async def json(self) -> Any:
        """All of the body as JSON. Raises ValueError."""
        return json.loads(await self.read())

    @property
    def trailers(self) -> Headers:
        """The trailer fields of a chunked body that has been read."""
        return Headers(self._body.trailers)

    def __repr__(self) -> str:
        return f"<ClientResponse {self.status} {self.url}>"


class HttpClient:
    """Requests over kept-alive connections.

        async with HttpClient(stack.open_connection) as client:
            response = await client.get("http://10.9.0.2/")         # the body has been read
            async with client.stream("GET", url) as response:       # the body comes as it is asked for
                async for piece in response: ...

    `open_connection` has asyncio's signature (default: asyncio's own). `headers` go with every request. `ssl` is
    an `ssl.SSLContext` for https (True: the default one). A request that meets a connection which the server has
    just closed is sent again, once, if its method is idempotent and its body is bytes.
    Raises OSError and its kinds: ConnectionError (BadResponse, BodyTruncated ...), TimeoutError; ValueError for a
    malformed URL, method or header.
    """

    def __init__(
        self,
        open_connection: OpenConnection | None = None,
        *,
        headers: HeaderSource = (),
        limits: ClientLimits | None = None,
        follow_redirects: bool = False,
        ssl: Any = True,
    ) -> None:
        self.limits = limits or ClientLimits()
        self.pool = ConnectionPool(open_connection or asyncio.open_connection, self.limits, ssl)
        self._headers = Headers(headers)
        self._follow_redirects = follow_redirects

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self.pool.close()

    async def get(self, url: str, **options: Any) -> ClientResponse:
        """`request("GET", url, ...)`."""
        return await self.request("GET", url, **options)

    async def head(self, url: str, **options: Any) -> ClientResponse:
        """`request("HEAD", url, ...)`."""
        return await self.request("HEAD", url, **options)

    async def post(
        self, url: str, body: bytes | str | AsyncIterable[bytes] = b"", **options: Any
    ) -> ClientResponse:
        """`request("POST", url, body=body, ...)`."""
        return await self.request("POST", url, body=body, **options)

    async def put(
        self, url: str, body: bytes | str | AsyncIterable[bytes] = b"", **options: Any
    ) -> ClientResponse:
        """`request("PUT", url, body=body, ...)`."""
        return await self.request("PUT", url, body=body, **options)

    async def delete(self, url: str, **options: Any) -> ClientResponse:
        """`request("DELETE", url, ...)`."""
        return await self.request("DELETE", url, **options)

    async def request(
        self, method: str, url: str, *, timeout: float | None = None, **options: Any
    ) -> ClientResponse:
        """A response whose body has been read; all of it within `timeout` seconds. Options as for `stream`."""
        async with asyncio.timeout(timeout), self.stream(method, url, **options) as response:
            await response.read()
            return response

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: HeaderSource = (),
        body: bytes | str | AsyncIterable[bytes] = b"",
        follow_redirects: bool | None = None,
    ) -> AsyncIterator[ClientResponse]:
        """A response whose body has yet to come. What is not read when the block ends costs the connection.

        An async iterable as `body` is sent in chunks, or as it is if `headers` give its Content-Length; it is
        slowed down to the server's pace.
        """
        if TOKEN.fullmatch(method) is None or method == "CONNECT":
            raise ValueError(f"{method!r} is no method that this client sends")
        data = body.encode() if isinstance(body, str) else body
        fields = self._fields(method, headers, data)
        exchange, final = await self._follow(
            method,
            parse_url(url),
            fields,
            data,
            self._follow_redirects if follow_redirects is None else follow_redirects,
        )
        try:
            yield ClientResponse(exchange, final, self.limits)
        except BaseException:
            await self._end(exchange, broken=True)
            raise
        await self._end(exchange)

    def _fields(self, method: str, headers: HeaderSource, body: bytes | AsyncIterable[bytes]) -> Headers:
        fields = self._headers.copy()
        for name, value in Headers(headers):
            fields.set(name, value)
        if "transfer-encoding" in fields:
            raise ValueError("Transfer-Encoding is the client's: give an async iterable as the body")
        if isinstance(body, bytes):
            fields.remove("content-length")
            if body or method in ("POST", "PUT", "PATCH"):
                fields.set("Content-Length", str(len(body)))
        elif "content-length" not in fields:
            fields.set("Transfer-Encoding", "chunked")
        fields.set_default("User-Agent", "asyncstack")
        fields.set_default("Accept", "*/*")
        return fields

    async def _follow(
        self, method: str, url: Url, fields: Headers, body: bytes | AsyncIterable[bytes], redirects: bool
    ) -> tuple[Exchange, Url]:
        for _ in range(self.limits.redirects + 1):
            exchange = await self._ask(method, url, fields, body)
            status, location = exchange.head.status, exchange.head.headers.get("location")
            if not redirects or not location or status not in (301, 302, 303, 307, 308):
                return exchange, url
            if status in (307, 308) and not isinstance(body, bytes):
                return exchange, url  # the body is gone
            assert exchange.body is not None
            with contextlib.suppress(OSError):
                await exchange.body.discard(self.limits.head_size)
            await self._end(exchange)
            try:
                target = follow(url, location)
            except ValueError as exc:
                raise TooManyRedirects(f"a redirect that can not be followed: {exc}") from None
            method, fields, body = _redirected(status, method, fields, body, target.origin != url.origin)
            url = target
        raise TooManyRedirects(f"more than {self.limits.redirects} redirects")

    async def _ask(
        self, method: str, url: Url, fields: Headers, body: bytes | AsyncIterable[bytes]
    ) -> Exchange:
        from asyncstack.application.http.exchange import Exchange, NoResponse

        headers = Headers([("Host", fields.get("host") or url.origin.authority)])
        for name, value in fields:
            if name.lower() != "host":
                headers.add(name, value)
        fresh = False
        while True:
            connection = await self.pool.acquire(url.origin, fresh=fresh)
            exchange = Exchange(connection, self.limits)
            try:
                await exchange.start(method, url.target, headers, body)
                return exchange
            except NoResponse:
                self.pool.abort(connection)
                if not connection.used or method not in IDEMPOTENT or not isinstance(body, bytes):
                    raise
                fresh = True
            except BaseException:
                self.pool.abort(connection)
                raise

    async def _end(self, exchange: Exchange, *, broken: bool = False) -> None:
        reusable = await exchange.finish()
        if reusable and not broken:
            await self.pool.release(exchange.connection)
        elif broken or exchange.body is None or not exchange.body.done:
            self.pool.abort(exchange.connection)
        else:
            await self.pool.discard(exchange.connection)


def _redirected(
    status: int, method: str, fields: Headers, body: bytes | AsyncIterable[bytes], elsewhere: bool
) -> tuple[str, Headers, bytes | AsyncIterable[bytes]]:
    """The request that a redirect asks for (RFC 9110 section 15.4)."""
    fields = fields.copy()
    fields.remove("host")
    if elsewhere:
        for name in PRIVATE:
            fields.remove(name)
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body = "GET", b""
        for name in ("content-length", "content-type", "transfer-encoding"):
            fields.remove(name)
    return method, fields, body


async def fetch(
    url: str, method: str = "GET", *, open_connection: OpenConnection | None = None, **options: Any
) -> ClientResponse:
    """One request on a connection of its own, the body read: for when a client is too much.

    Options as for `HttpClient.request`.
    """
    async with HttpClient(open_connection) as client:
        return await client.request(method, url, **options)
