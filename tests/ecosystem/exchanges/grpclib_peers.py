"""grpclib's server and client: gRPC over HTTP/2, in the clear and over TLS."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from grpclib import GRPCError, Status
from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream

from tests.ecosystem.site import Exchange, Site, blob

PORT = 50051
REVERSE, WORDS = "/test.Text/Reverse", "/test.Text/Words"


class Text:
    """What a generated service would derive from: the table of its methods."""

    async def reverse(self, stream: Stream[BytesValue, BytesValue]) -> None:
        request = await stream.recv_message()
        if not request.value:
            raise GRPCError(Status.INVALID_ARGUMENT, "nothing to reverse")
        await stream.send_message(BytesValue(value=request.value[::-1]))

    async def words(self, stream: Stream[StringValue, StringValue]) -> None:
        async for request in stream:
            for word in request.value.split():
                await stream.send_message(StringValue(value=word))

    def __mapping__(self) -> dict[str, Handler]:
        return {
            REVERSE: Handler(self.reverse, Cardinality.UNARY_UNARY, BytesValue, BytesValue),
            WORDS: Handler(self.words, Cardinality.STREAM_STREAM, StringValue, StringValue),
        }


@asynccontextmanager
async def _serve(site: Site, **options: object) -> AsyncIterator[None]:
    server = Server([Text()])
    await server.start(site.host, PORT, **options)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


async def _use(site: Site, **options: object) -> None:
    async with Channel(site.host, PORT, **options) as channel:
        reverse = UnaryUnaryMethod(channel, REVERSE, BytesValue, BytesValue)
        body = blob()
        assert (await reverse(BytesValue(value=body))).value == body[::-1]
        with pytest.raises(GRPCError, match="nothing to reverse"):
            await reverse(BytesValue())
        words = StreamStreamMethod(channel, WORDS, StringValue, StringValue)
        async with words.open() as stream:
            for sentence in ("one two", "three"):
                await stream.send_message(StringValue(value=sentence))
                for word in sentence.split():
                    assert (await stream.recv_message()).value == word
            await stream.end()
            assert await stream.recv_message() is None


def serve_secure(site: Site):
    return _serve(site, ssl=site.server_tls("h2"))


async def use_secure(site: Site) -> None:
    await _use(site, ssl=site.client_tls("h2"))


plain = Exchange(_serve, _use)
secure = Exchange(serve_secure, use_secure)
