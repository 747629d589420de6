"""What a handler is given: one request, its head complete, its body still on the way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, unquote

from asyncstack.application.http.body import RequestBody
from asyncstack.application.http.errors import HttpError
from asyncstack.application.http.head import RequestHead
from asyncstack.application.http.headers import Headers


class Request:
    """One HTTP request.

    `method`, `target` (as received: path and query, or "*"), `raw_path` (percent-encoded), `query_string`,
    `headers`, `version` ("1.1" or "1.0"), `host` (with its port if the client gave one), `params` (of the route,
    decoded), `peer` and `local` (socket addresses, or None).
    """

    __slots__ = (
        "_body",
        "_collected",
        "headers",
        "host",
        "local",
        "method",
        "params",
        "peer",
        "query_string",
        "raw_path",
        "target",
        "version",
    )

    def __init__(self, head: RequestHead, body: RequestBody, peer: Any = None, local: Any = None) -> None:
        self.method = head.method
        self.target = head.target
        self.raw_path, _, self.query_string = head.target.partition("?")
        self.headers: Headers = head.headers
        self.version = head.version
        self.host = head.authority
        self.params: dict[str, Any] = {}
        self.peer = peer
        self.local = local
        self._body = body
        self._collected: bytes | None = None

    @property
    def path(self) -> str:
        """The path with its percent-encoding undone; "/" and an encoded slash look the same here."""
        return unquote(self.raw_path)

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query string, the last one where a name occurs twice."""
        return dict(self.query_items)

    @property
    def query_items(self) -> list[tuple[str, str]]:
        """The parameters of the query string, in order. Raises HttpError(400) beyond 1,000 of them."""
        try:
            return parse_qsl(self.query_string, keep_blank_values=True, max_num_fields=1000)
        except ValueError:
            raise HttpError(400, "too many query parameters") from None

    async def body(self) -> bytes:
        """The whole body, kept for a second call. HttpError 413, 408 or 400 if it is too large, slow or malformed."""
        if self._collected is None:
            self._collected = await self._body.read()
        return self._collected

    async def text(self) -> str:
        """The whole body as UTF-8. HttpError(400) if it is not."""
        try:
            return (await self.body()).decode()
        except UnicodeDecodeError:
            raise HttpError(400, "the body is no UTF-8") from None

    async def json(self) -> Any:
        """The whole body as JSON. HttpError(400) if it is not."""
        try:
            return json.loads(await self.body())
        except (ValueError, RecursionError):
            raise HttpError(400, "the body is no JSON") from None

    def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces of at most 64 KiB, as they arrive; not asking for the next one slows the client down."""
        return self._body

    @property
    def trailers(self) -> Headers:
        """The trailer fields of a chunked body, once all of it was read."""
        return Headers(self._body.trailers)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"
