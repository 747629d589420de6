"""What a handler returns."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable
from typing import Any

from asyncstack.application.http.errors import HttpError, reason_phrase
from asyncstack.application.http.headers import Headers, HeaderSource

ResponseBody = bytes | bytearray | memoryview | str | AsyncIterable[bytes]

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


class Response:
    """One HTTP response.

    `body` is bytes, text (sent as UTF-8), or an async iterable of bytes, sent piece by piece as the client takes
    them: in chunks, or as they are if `length` says how many bytes it will give (giving another number breaks the
    connection, so that the client notices).
    `content_type` defaults to plain text for text and to nothing else. The server adds Date, Server,
    Content-Length, Transfer-Encoding and Connection; the latter three are never to be set by a handler.
    """

    __slots__ = ("body", "headers", "length", "status")

    def __init__(
        self,
        body: ResponseBody = b"",
        status: int = 200,
        headers: HeaderSource | Headers = (),
        *,
        content_type: str = "",
        length: int | None = None,
    ) -> None:
        if not 200 <= status <= 599:
            raise ValueError(f"status {status} is no final status: give 200 to 599")
        self.status = status
        self.headers = Headers(headers)
        if isinstance(body, str):
            body = body.encode()
            content_type = content_type or ("" if "content-type" in self.headers else TEXT)
        self.body: bytes | bytearray | memoryview | AsyncIterable[bytes] = body
        self.length = length
        if content_type:
            self.headers.set("Content-Type", content_type)

    @classmethod
    def html(cls, text: str, status: int = 200, headers: HeaderSource = ()) -> Response:
        """A page."""
        return cls(text, status, headers, content_type=HTML)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: HeaderSource = ()) -> Response:
        """`value` as JSON."""
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return cls(text, status, headers, content_type="application/json")

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Response:
        """Elsewhere: `location` is an absolute URL or a path."""
        return cls(b"", status, {"Location": location})

    @classmethod
    def error(cls, error: HttpError) -> Response:
        """The answer that `error` stands for: its detail, or the status in words, as plain text."""
        text = error.detail or reason_phrase(error.status)
        return cls(f"{error.status} {text}\n", error.status, error.headers)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"
