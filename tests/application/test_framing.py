"""Bodies under any split of their bytes."""

import itertools

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncstack.application.http.errors import BodyTruncated
from asyncstack.application.http.framing import (
    LAST_CHUNK,
    ChunkedDecoder,
    EofDecoder,
    FramingError,
    LengthDecoder,
    encode_chunk,
)

AFTER = b"GET /next HTTP/1.1\r\n"


def decode(decoder, pieces):
    """(body, what is left over) after feeding `pieces` one by one."""
    buffer, body = bytearray(), b""
    for piece in pieces:
        buffer += piece
        while not decoder.done and (data := decoder.decode(buffer)):
            body += data
    return body, bytes(buffer)


def split(data, cuts):
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(st.lists(st.binary(min_size=1, max_size=50)), st.lists(st.integers(min_value=0)), st.booleans())
@example([b"x"], list(range(60)), True)
def test_chunks_under_any_split(chunks, cuts, trailer):
    wire = b"".join(b"".join(encode_chunk(chunk)) for chunk in chunks)
    wire += b"0;last=1\r\nX-Sum: 1\r\n\r\n" if trailer else LAST_CHUNK
    decoder = ChunkedDecoder()
    body, rest = decode(decoder, split(wire + AFTER, cuts))
    assert (body, rest, decoder.done) == (b"".join(chunks), AFTER, True)
    assert decoder.trailers == ([("X-Sum", "1")] if trailer else [])


@given(st.binary(max_size=100), st.lists(st.integers(min_value=0)))
def test_length_under_any_split(body, cuts):
    decoder = LengthDecoder(len(body))
    assert decode(decoder, split(body + AFTER, cuts)) == (body, AFTER)
    assert decoder.done


def httptools_body(wire):
    """What httptools makes of `wire`: the body, or None if it refuses."""

    class Collector:
        body = b""
        done = False

        def on_body(self, data):
            self.body += data

        def on_message_complete(self):
            self.done = True

    collector = Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    except httptools.HttpParserError:
        return None
    return collector.body if collector.done else None


fragments = st.sampled_from(
    [
        b"0",
        b"1",
        b"a",
        b"F",
        b"05",
        b"\r\n",
        b"\n",
        b"\r",
        b";",
        b";x=y",
        b" ",
        b"X: y",
        b"abcde",
        b"\0",
        b"-",
        b"0x1",
    ]
)


@given(st.lists(fragments, max_size=14).map(b"".join), st.lists(st.integers(min_value=0)))
@example(b"5\r\nabcde\r\n0\r\n\r\n", [3])
@example(b"5\r\nabcdeX\r\n0\r\n\r\n", [])
def test_stricter_than_httptools_and_never_different(wire, cuts):
    decoder = ChunkedDecoder()
    try:
        body, rest = decode(decoder, split(wire, cuts))
    except FramingError:
        return
    if decoder.done:
        assert httptools_body(wire[: len(wire) - len(rest)]) == body


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x5\r\nabcde\r\n",
        b" 5\r\nabcde\r\n",
        b"5 \r\nabcde\r\n",
        b"5\nabcde\r\n",
        b"5\r\nabcde\n",
        b"5\r\nabcdef\r\n",
        b"5\r\nabcde0\r\n\r\n",
        b"5;a\nb\r\nabcde\r\n",
        b"5;a\0\r\nabcde\r\n",
        b"5\r\r\nabcde\r\n",
        b"ffffffffffffffffffff\r\n",
        b"5;" + b"x" * 2000,
        b"5;" + b"x" * 2000 + b"\r\nabcde\r\n",
        b"0" * 2000,
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 2000,
        b"0\r\nX: " + b"y" * 9000,
    ],
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_malformed_chunks(wire, step):
    with pytest.raises(FramingError):
        decode(ChunkedDecoder(), [wire[at : at + step] for at in range(0, len(wire), step)])


def test_the_end_of_the_connection():
    with pytest.raises(BodyTruncated):
        LengthDecoder(1).eof()
    with pytest.raises(BodyTruncated):
        ChunkedDecoder().eof()
    decoder = EofDecoder()
    assert decode(decoder, [b"ab", b"c"]) == (b"abc", b"")
    decoder.eof()
    assert decoder.done
