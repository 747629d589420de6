"""The head of a message, checked: what the rest of the server and the client work with."""

from __future__ import annotations

from asyncstack.application.http.headers import Headers

CHUNKED = -1  # as a body length: framed by chunks
UNTIL_EOF = -2  # as a body length: ends when the connection does (responses only)


class RequestHead:
    """Method, target and header fields of a request, checked. `length` is the body's in bytes, or CHUNKED."""

    __slots__ = (
        "authority",
        "expect_continue",
        "headers",
        "keep_alive",
        "length",
        "method",
        "target",
        "version",
    )

    def __init__(self, headers: Headers) -> None:
        self.method = ""
        self.target = ""  # origin form (path and query), or "*"
        self.authority = ""  # of the target if it has one, else Host
        self.version = "1.1"
        self.headers = headers
        self.length = 0
        self.keep_alive = True
        self.expect_continue = False


class ResponseHead:
    """Status and header fields of a response. `length` in bytes, or CHUNKED, or UNTIL_EOF."""

    __slots__ = ("headers", "keep_alive", "length", "reason", "status", "version")

    def __init__(self) -> None:
        self.status = 0
        self.reason = ""
        self.version = "1.1"
        self.headers = Headers()
        self.length = 0
        self.keep_alive = True
