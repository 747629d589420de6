"""Heads: what is understood, and every input on which two parsers might disagree."""

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncstack.application.http import BadResponse, HttpError
from asyncstack.application.http.head import CHUNKED, UNTIL_EOF
from asyncstack.application.http.parser import parse_request, parse_response

HOST = b"Host: a\r\n"


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


def test_a_plain_request():
    head = parse_request(
        get(b"Host: example.com:8080", b"Accept:  text/html \t", line=b"GET /a%20b?c=d HTTP/1.1")
    )
    assert (head.method, head.target, head.version) == ("GET", "/a%20b?c=d", "1.1")
    assert head.authority == "example.com:8080"
    assert head.headers["accept"].strip() == "text/html"
    assert (head.length, head.keep_alive, head.expect_continue) == (0, True, False)


@pytest.mark.parametrize(
    ("fields", "version", "keep_alive"),
    [
        ([], b"1.1", True),
        ([b"Connection: close"], b"1.1", False),
        ([b"Connection: x, Close"], b"1.1", False),
        ([b"Connection: keep-alive"], b"1.1", True),
        ([], b"1.0", False),
        ([b"Connection: Keep-Alive"], b"1.0", True),
        ([b"Connection: keep-alive", b"Connection: close"], b"1.0", False),
    ],
)
def test_persistence(fields, version, keep_alive):
    assert parse_request(get(b"Host: a", *fields, line=b"GET / HTTP/" + version)).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("line", "target", "authority"),
    [
        (b"GET /x HTTP/1.1", "/x", "a"),
        (b"GET //x//y HTTP/1.1", "//x//y", "a"),
        (b"GET http://b:81/x?y HTTP/1.1", "/x?y", "b:81"),
        (b"GET HTTP://b HTTP/1.1", "/", "b"),
        (b"GET http://b?q HTTP/1.1", "/?q", "b"),
        (b"GET http://[::1]:80/ HTTP/1.1", "/", "[::1]:80"),
        (b"OPTIONS * HTTP/1.1", "*", "a"),
        (b"OPTIONS http://b HTTP/1.1", "*", "b"),
        (b"OPTIONS http://b/ HTTP/1.1", "/", "b"),
    ],
)
def test_forms_of_target(line, target, authority):
    """RFC 9112 section 3.2; the authority of the target wins over Host."""
    head = parse_request(get(b"Host: a", line=line))
    assert (head.target, head.authority) == (target, authority)


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([b"Content-Length: 0"], 0),
        ([b"Content-Length: 17"], 17),
        ([b"Content-Length: 0017"], 17),
        ([b"Transfer-Encoding: chunked"], CHUNKED),
        ([b"transfer-encoding:\t CHUNKED "], CHUNKED),
    ],
)
def test_body_length(fields, length):
    assert parse_request(get(b"Host: a", *fields, line=b"POST / HTTP/1.1")).length == length


def test_expect_continue():
    fields = [b"Host: a", b"Expect: 100-Continue", b"Content-Length: 5"]
    assert parse_request(get(*fields, line=b"PUT / HTTP/1.1")).expect_continue
    assert not parse_request(get(*fields, line=b"PUT / HTTP/1.0")).expect_continue
    assert not parse_request(get(*fields[:2], line=b"PUT / HTTP/1.1")).expect_continue


# Every line is something that a proxy in front might read in another way, or that no client sends.
REFUSED = {
    "no host": (400, get()),
    "empty host twice": (400, get(b"Host:", b"Host:")),
    "second host": (400, get(b"Host: a", b"Host: b")),
    "second host, other case": (400, get(b"Host: a", b"hOST: a")),
    "host list": (400, get(b"Host: a, b")),
    "host with path": (400, get(b"Host: a/b")),
    "host with user": (400, get(b"Host: u@a")),
    "host with bad port": (400, get(b"Host: a:8x")),
    "second host in 1.0": (400, get(b"Host: a", b"Host: b", line=b"GET / HTTP/1.0")),
    "length and coding": (400, get(b"Host: a", b"Content-Length: 3", b"Transfer-Encoding: chunked")),
    "coding and length": (400, get(b"Host: a", b"Transfer-Encoding: chunked", b"Content-Length: 3")),
    "two lengths": (400, get(b"Host: a", b"Content-Length: 3", b"Content-Length: 4")),
    "two equal lengths": (400, get(b"Host: a", b"Content-Length: 3", b"Content-Length: 3")),
    "list of lengths": (400, get(b"Host: a", b"Content-Length: 3, 3")),
    "length with sign": (400, get(b"Host: a", b"Content-Length: +3")),
    "negative length": (400, get(b"Host: a", b"Content-Length: -3")),
    "hexadecimal length": (400, get(b"Host: a", b"Content-Length: 0x3")),
    "length with underscore": (400, get(b"Host: a", b"Content-Length: 1_0")),
    "length in Arabic digits": (400, get(b"Host: a", "Content-Length: ٣".encode())),
    "fractional length": (400, get(b"Host: a", b"Content-Length: 3.0")),
    "empty length": (400, get(b"Host: a", b"Content-Length:")),
    "huge length": (400, get(b"Host: a", b"Content-Length: 99999999999999999999")),
    "coding not last": (400, get(b"Host: a", b"Transfer-Encoding: chunked, gzip")),
    "coding without chunked": (400, get(b"Host: a", b"Transfer-Encoding: gzip")),
    "coding identity": (400, get(b"Host: a", b"Transfer-Encoding: identity")),
    "chunked twice": (400, get(b"Host: a", b"Transfer-Encoding: chunked, chunked")),
    "two codings": (400, get(b"Host: a", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    "two codings, one empty": (400, get(b"Host: a", b"Transfer-Encoding:", b"Transfer-Encoding: chunked")),
    "coding with parameter": (400, get(b"Host: a", b"Transfer-Encoding: chunked;q=1")),
    "coding with vertical tab": (400, get(b"Host: a", b"Transfer-Encoding: \x0bchunked")),
    "coding unknown, then chunked": (501, get(b"Host: a", b"Transfer-Encoding: gzip, chunked")),
    "coding in 1.0": (400, get(b"Host: a", b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0")),
    "folded field": (400, get(b"Host: a", b"X: y", b" z")),
    "folded with tab": (400, get(b"Host: a", b"X: y", b"\tz")),
    "folded first field": (400, get(b" Host: a")),
    "space before colon": (400, get(b"Host: a", b"Content-Length : 3")),
    "tab before colon": (400, get(b"Host: a", b"Transfer-Encoding\t: chunked")),
    "space in name": (400, get(b"Host: a", b"Content Length: 3")),
    "no colon": (400, get(b"Host: a", b"Content-Length")),
    "empty name": (400, get(b"Host: a", b": x")),
    "NUL in value": (400, get(b"Host: a", b"X: a\0b")),
    "NUL in name": (400, get(b"Host: a", b"X\0: b")),
    "bell in value": (400, get(b"Host: a", b"X: \x07")),
    "bare CR in value": (400, get(b"Host: a", b"X: a\rTransfer-Encoding: chunked")),
    "bare LF between fields": (400, get(b"Host: a\nTransfer-Encoding: chunked")),
    "bare LF after the line": (400, b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    "quote in name": (400, get(b"Host: a", b'"X": b')),
    "name in UTF-8": (400, get(b"Host: a", "Höst: b".encode())),
    "no version": (400, get(line=b"GET /")),
    "two spaces": (400, get(b"Host: a", line=b"GET  / HTTP/1.1")),
    "tab for a space": (400, get(b"Host: a", line=b"GET\t/ HTTP/1.1")),
    "space at the end": (400, get(b"Host: a", line=b"GET / HTTP/1.1 ")),
    "space in target": (400, get(b"Host: a", line=b"GET /a b HTTP/1.1")),
    "raw UTF-8 in target": (400, get(b"Host: a", line="GET /ä HTTP/1.1".encode())),
    "control in target": (400, get(b"Host: a", line=b"GET /\x01 HTTP/1.1")),
    "fragment in target": (400, get(b"Host: a", line=b"GET /a#b HTTP/1.1")),
    "target without slash": (400, get(b"Host: a", line=b"GET a HTTP/1.1")),
    "other scheme": (400, get(b"Host: a", line=b"GET ftp://a/ HTTP/1.1")),
    "scheme without host": (400, get(b"Host: a", line=b"GET http:/// HTTP/1.1")),
    "user in target": (400, get(b"Host: a", line=b"GET http://u@b/ HTTP/1.1")),
    "asterisk for GET": (400, get(b"Host: a", line=b"GET * HTTP/1.1")),
    "authority for GET": (400, get(b"Host: a", line=b"GET a:80 HTTP/1.1")),
    "path for CONNECT": (400, get(b"Host: a", line=b"CONNECT / HTTP/1.1")),
    "CONNECT": (501, get(b"Host: a", line=b"CONNECT a:443 HTTP/1.1")),
    "unknown method": (501, get(b"Host: a", line=b"BREW / HTTP/1.1")),
    "method in lower case": (501, get(b"Host: a", line=b"get / HTTP/1.1")),
    "method that is no token": (400, get(b"Host: a", line=b"G(T / HTTP/1.1")),
    "HTTP/2 preface": (505, get(line=b"PRI * HTTP/2.0")),
    "HTTP/0.9": (505, get(b"Host: a", line=b"GET / HTTP/0.9")),
    "HTTP/1.2": (505, get(b"Host: a", line=b"GET / HTTP/1.2")),
    "HTTP/1.10": (400, get(b"Host: a", line=b"GET / HTTP/1.10")),
    "http/1.1": (400, get(b"Host: a", line=b"GET / http/1.1")),
    "unknown expectation": (417, get(b"Host: a", b"Expect: coffee")),
    "two expectations": (417, get(b"Host: a", b"Expect: 100-continue, coffee")),
    "long request line": (414, get(b"Host: a", line=b"GET /" + b"x" * 9000 + b" HTTP/1.1")),
    "many fields": (431, get(b"Host: a", *[b"X: y"] * 100)),
}


@pytest.mark.parametrize(("status", "head"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(status, head):
    with pytest.raises(HttpError) as caught:
        parse_request(head)
    assert caught.value.status == status


@pytest.fixture
def lenient(monkeypatch):
    """httptools with every strictness that it can be talked out of switched off."""

    def loosened(kind):
        def make(fields):
            parser = kind(fields)
            parser.set_dangerous_leniencies(
                lenient_headers=True,
                lenient_chunked_length=True,
                lenient_keep_alive=True,
                lenient_transfer_encoding=True,
                lenient_version=True,
                lenient_data_after_close=True,
                lenient_optional_lf_after_cr=True,
                lenient_optional_cr_before_lf=True,
                lenient_optional_crlf_after_chunk=True,
                lenient_spaces_after_chunk_size=True,
            )
            return parser

        return make

    monkeypatch.setattr(httptools, "HttpRequestParser", loosened(httptools.HttpRequestParser))
    monkeypatch.setattr(httptools, "HttpResponseParser", loosened(httptools.HttpResponseParser))


@pytest.mark.parametrize(("status", "head"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_whatever_httptools_thinks_of_it(lenient, status, head):
    """How strict it is depends on its release; who is safe must not."""
    test_refused(status, head)


def test_as_many_fields_as_allowed():
    head = parse_request(get(b"Host: a", *[b"X: y"] * 99))
    assert len(head.headers) == 100
    assert len(head.headers.get_all("x")) == 99


@given(st.binary(max_size=300))
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
def test_any_bytes_parse_or_are_refused(data):
    for head in (data, b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n"):
        try:
            result = parse_request(head)
        except HttpError as error:
            assert 400 <= error.status <= 505
        else:
            assert (
                result.authority == "a" or result.version == "1.0" or result.headers.get_all("host") == [""]
            )
        try:
            parse_response(head, "GET")
        except BadResponse:
            pass


LENGTHS = [
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 5),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", None),
    ("GET", b"HTTP/1.1 200\r\n\r\n", UNTIL_EOF),
    ("GET", b"HTTP/1.0 200 \r\n\r\n", UNTIL_EOF),
    ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKED),
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 0),
    ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 0),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 0),
    ("GET", b"HTTP/1.1 100 Continue\r\n\r\n", 0),
    ("GET", b"HTTP/1.1 999 What\r\n\r\n", None),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", None),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", None),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", None),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", None),
    ("GET", b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", None),
    ("GET", b"HTTP/2.0 200 OK\r\n\r\n", None),
    ("GET", b"ICY 200 OK\r\n\r\n", None),
]


@pytest.mark.parametrize(("method", "head", "length"), LENGTHS)
def test_length_of_a_response(method, head, length):
    """None: refused."""
    if length is None:
        with pytest.raises(BadResponse):
            parse_response(head, method)
    else:
        assert parse_response(head, method).length == length


@pytest.mark.parametrize(("method", "head", "length"), LENGTHS)
def test_length_of_a_response_whatever_httptools_thinks_of_it(lenient, method, head, length):
    test_length_of_a_response(method, head, length)
