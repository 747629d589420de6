"""Heads of messages: bytes up to the empty line -> records. httptools parses, this file decides.

httptools gets exactly one head at a time, never a body: it does not say where a message ended, so framing
(framing.py) is ours. What it lets pass and HTTP does not (RFC 9112 section 11.2) is checked here:
a second or missing Host, any doubt about the length, a version it does not know.
"""

from __future__ import annotations

import httptools

from asyncstack.application.http.errors import BadResponse, HttpError
from asyncstack.application.http.grammar import (
    ABSOLUTE_FORM,
    AUTHORITY_FORM,
    CONTENT_LENGTH,
    FIELDS,
    HOST,
    REQUEST_LINE,
    STATUS_LINE,
)
from asyncstack.application.http.head import CHUNKED, UNTIL_EOF, RequestHead, ResponseHead
from asyncstack.application.http.headers import Headers


class _Fields:
    """The callbacks that httptools wants: collects the fields, in order, and the few that decide on framing."""

    __slots__ = ("complete", "framing", "items")

    DECIDING = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"))

    def __init__(self) -> None:
        self.items: list[tuple[str, str]] = []
        self.framing: dict[bytes, list[bytes]] = {}
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower in self.DECIDING:
            self.framing.setdefault(lower, []).append(value)
        self.items.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.complete = True

    def tokens(self, name: bytes) -> list[bytes]:
        values = self.framing.get(name)
        if values is None:
            return []
        return [token.strip().lower() for value in values for token in value.split(b",")]


def parse_request(head: bytes, *, request_line: int = 8192, header_count: int = 100) -> RequestHead:
    """`head` runs up to and including the empty line. Raises HttpError (400, 414, 417, 431, 501, 505)."""
    line_end = head.find(b"\r\n") + 2
    if line_end > request_line:
        raise HttpError(414, "the request line is too long")
    match = REQUEST_LINE.match(head)
    if match is None:
        raise HttpError(400, "malformed request line")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise HttpError(505, "this server speaks HTTP/1.1 and HTTP/1.0")
    if minor not in b"01":
        raise HttpError(505, "this server speaks HTTP/1.1 and HTTP/1.0")
    fields = _parse_request_fields(head, match.end(), header_count)
    result = RequestHead(Headers(fields.items))
    result.method = method.decode()
    result.version = "1.0" if minor == b"0" else "1.1"
    _check_host(result, fields)
    _split_target(result, target)
    result.length = _request_length(fields, result.version)
    result.keep_alive = _keep_alive(fields, result.version)
    _check_expect(result, fields)
    return result


def _parse_request_fields(head: bytes, start: int, header_count: int) -> _Fields:
    if FIELDS.fullmatch(head, start, len(head) - 2) is None:
        raise HttpError(400, "malformed header field")
    # One field per CRLF left, less the empty line: counted before anything is built of them.
    if head.count(b"\n", start) - 1 > header_count:
        raise HttpError(431, "too many header fields")
    fields = _Fields()
    parser = httptools.HttpRequestParser(fields)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserInvalidMethodError:
        raise HttpError(501, "unknown method") from None
    except httptools.HttpParserError as exc:
        raise HttpError(400, str(exc)) from None
    if not fields.complete:
        raise HttpError(400, "malformed head")
    return fields


def _check_host(head: RequestHead, fields: _Fields) -> None:
    """RFC 9112 section 3.2: exactly one valid Host in HTTP/1.1; at most one before."""
    hosts = fields.framing.get(b"host")
    if hosts is None:
        if head.version == "1.1":
            raise HttpError(400, "no Host header")
        return
    if len(hosts) > 1:
        raise HttpError(400, "more than one Host header")
    if HOST.fullmatch(hosts[0]) is None:
        raise HttpError(400, "malformed Host header")
    head.authority = hosts[0].decode("latin-1")


def _split_target(head: RequestHead, target: bytes) -> None:
    """The four forms of RFC 9112 section 3.2."""
    if head.method == "CONNECT":
        if AUTHORITY_FORM.fullmatch(target) is None:
            raise HttpError(400, "CONNECT needs host:port")
        raise HttpError(501, "this server is no proxy")
    if target.startswith(b"/"):
        if b"#" in target:
            raise HttpError(400, "a fragment has no place in a request")
        head.target = target.decode("ascii")
    elif target == b"*":
        if head.method != "OPTIONS":
            raise HttpError(400, "* is a target for OPTIONS only")
        head.target = "*"
    else:
        _take_absolute_form(head, target)


def _take_absolute_form(head: RequestHead, target: bytes) -> None:
    """RFC 9112 section 3.2.2: the target's authority replaces what Host says."""
    match = ABSOLUTE_FORM.fullmatch(target)
    if match is None or HOST.fullmatch(match[1]) is None:
        raise HttpError(400, "malformed request target")
    head.authority = match[1].decode("latin-1")
    rest = (match[2] or b"/").decode("ascii")
    if rest.startswith("?"):
        rest = "/" + rest
    head.target = "*" if head.method == "OPTIONS" and match[2] is None else rest


def _request_length(fields: _Fields, version: str) -> int:
    """RFC 9112 section 6.3, without the repairs that it permits."""
    lengths = fields.framing.get(b"content-length")
    codings = fields.framing.get(b"transfer-encoding")
    if codings is None:
        return 0 if lengths is None else _content_length(lengths)
    if lengths is not None:
        raise HttpError(400, "both Content-Length and Transfer-Encoding")
    if version == "1.0":
        raise HttpError(400, "Transfer-Encoding in HTTP/1.0")
    if len(codings) > 1:
        raise HttpError(400, "more than one Transfer-Encoding")
    names = [name.strip().lower() for name in codings[0].split(b",")]
    if names[-1] != b"chunked" or names.count(b"chunked") > 1:
        raise HttpError(400, "Transfer-Encoding does not end with one chunked")
    if len(names) > 1:
        raise HttpError(501, "no transfer coding but chunked is understood")
    return CHUNKED


def _content_length(values: list[bytes]) -> int:
    if len(values) > 1 or CONTENT_LENGTH.fullmatch(values[0]) is None:
        raise HttpError(400, "malformed Content-Length")
    return int(values[0])


def _keep_alive(fields: _Fields, version: str) -> bool:
    """RFC 9112 section 9.3."""
    options = fields.tokens(b"connection")
    if version == "1.1":
        return b"close" not in options
    return b"keep-alive" in options and b"close" not in options


def _check_expect(head: RequestHead, fields: _Fields) -> None:
    """RFC 9110 section 10.1.1; an HTTP/1.0 client can not mean it."""
    expectations = fields.tokens(b"expect")
    if not expectations or head.version == "1.0":
        return
    if expectations != [b"100-continue"]:
        raise HttpError(417, "no expectation but 100-continue is met")
    head.expect_continue = head.length != 0


def parse_response(head: bytes, method: str, *, header_count: int = 200) -> ResponseHead:
    """The head of the answer to a `method` request, up to and including its empty line. Raises BadResponse."""
    match = STATUS_LINE.match(head)
    if match is None:
        raise BadResponse("malformed status line")
    major, minor, status, reason = match.groups()
    if major != b"1":
        raise BadResponse(f"HTTP version {major.decode()}.{minor.decode()}")
    if FIELDS.fullmatch(head, match.end(), len(head) - 2) is None:
        raise BadResponse("malformed header field")
    if head.count(b"\n", match.end()) - 1 > header_count:
        raise BadResponse("too many header fields")
    fields = _parse_response_fields(head, match.end())
    result = ResponseHead()
    result.status = int(status)
    result.reason = (reason or b"").decode("latin-1")
    result.version = "1.0" if minor == b"0" else "1.1"
    result.headers = Headers(fields.items)
    result.keep_alive = _keep_alive(fields, result.version)
    result.length = _response_length(fields, result, method)
    if result.length == UNTIL_EOF:
        result.keep_alive = False
    return result


def _parse_response_fields(head: bytes, start: int) -> _Fields:
    fields = _Fields()
    parser = httptools.HttpResponseParser(fields)
    try:
        # A plain status line: what the real one means for the body is decided here, not by the parser.
        parser.feed_data(b"HTTP/1.1 200 OK\r\n" + head[start:])
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as exc:
        raise BadResponse(str(exc)) from None
    if not fields.complete:
        raise BadResponse("malformed head")
    return fields


def _response_length(fields: _Fields, head: ResponseHead, method: str) -> int:
    """RFC 9112 section 6.3. Two lengths that contradict each other are refused, not interpreted."""
    if method == "HEAD" or head.status < 200 or head.status in (204, 304):
        return 0
    lengths = fields.framing.get(b"content-length")
    codings = fields.framing.get(b"transfer-encoding")
    if codings is not None:
        if lengths is not None:
            raise BadResponse("both Content-Length and Transfer-Encoding")
        if head.version == "1.0" or fields.tokens(b"transfer-encoding") != [b"chunked"]:
            raise BadResponse("a Transfer-Encoding that is not chunked")
        return CHUNKED
    if lengths is None:
        return UNTIL_EOF
    if len(lengths) > 1 or CONTENT_LENGTH.fullmatch(lengths[0]) is None:
        raise BadResponse("malformed Content-Length")
    return int(lengths[0])
