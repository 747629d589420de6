"""TLS: the standard library's, over our transports as over the kernel's."""

import asyncio
import ssl

import pytest

from tests.transport.asyncio_contract.media import contract
from tests.transport.asyncio_contract.recorders import Buffered, Recorder

NOT_UVLOOP = (
    "kernel",
    "memory",
    "virtual",
    "routed",
)  # uvloop's own start_tls() takes its own transports only


@contract
async def test_bytes_both_ways(net, server_tls, client_tls):
    _, port, accepted = await net.serve(ssl=server_tls)
    client = await net.connect(port, ssl=client_tls)
    data = bytes(range(256)) * 2000
    client.transport.write(data)
    await net.until(lambda: accepted and accepted[0].transport)
    assert await accepted[0].received(len(data)) == data
    accepted[0].transport.write(data[::-1])
    assert await client.received(len(data)) == data[::-1]
    client.transport.close()
    await client.called("connection_lost")
    await accepted[0].called("connection_lost")
    assert (client.lost, accepted[0].lost) == (None, None)
    assert accepted[0].outline[-2:] == ["eof_received", "connection_lost"]


@contract
async def test_facts(net, server_tls, client_tls):
    _, port, _ = await net.serve(ssl=server_tls)
    client = await net.connect(port, ssl=client_tls, server_hostname="server")
    info = client.transport.get_extra_info
    assert info("sslcontext") is client_tls
    assert info("ssl_object").version() == "TLSv1.3"
    assert info("cipher")
    assert ("DNS", "server") in info("peercert")["subjectAltName"]
    assert info("peername") == (net.host, port)
    assert info("socket").getpeername() == (net.host, port)
    assert not client.transport.can_write_eof()
    assert client.transport.get_write_buffer_limits()


@contract
async def test_streams(net, server_tls, client_tls):
    async def handler(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    port = await net.start_server(handler, ssl=server_tls)
    reader, writer = await net.open_connection(port, ssl=client_tls)
    writer.write(b"hello\n")
    assert await reader.read() == b"HELLO\n"
    writer.close()
    await writer.wait_closed()


@contract
async def test_buffered_protocols(net, server_tls, client_tls):
    class Lending(Buffered):
        def get_buffer(self, sizehint):
            return memoryview(super().get_buffer(sizehint))  # the stdlib's TLS loses data in a bytearray

    _, port, accepted = await net.serve(Lending, ssl=server_tls)
    client = await net.connect(port, ssl=client_tls)
    client.transport.write(b"x" * 200_000)
    await net.until(lambda: accepted and len(accepted[0].data) >= 200_000)
    assert accepted[0].data == b"x" * 200_000


@contract
async def test_backpressure_reaches_through(net, server_tls, client_tls):
    class Deaf(Recorder):
        def connection_made(self, transport):
            transport.pause_reading()
            super().connection_made(transport)

    _, port, accepted = await net.serve(Deaf, ssl=server_tls)
    client = await net.connect(port, ssl=client_tls)
    for _ in range(2):  # the stdlib's TLS passes the first on whole
        client.transport.write(bytes(20_000_000))
    assert "pause_writing" in client.callbacks
    await net.quiet()
    assert "resume_writing" not in client.callbacks
    accepted[0].transport.resume_reading()
    await client.called("resume_writing")
    await accepted[0].received(20_000_000)


@contract
async def test_a_certificate_nobody_knows(net, server_tls):
    _, port, accepted = await net.serve(ssl=server_tls)
    with pytest.raises(ssl.SSLCertVerificationError):
        await net.connect(port, ssl=ssl.create_default_context())
    await net.quiet()
    for one in accepted:
        assert "connection_made" not in one.callbacks
    net.take_errors()  # the kernel's server keeps silent; in debug mode it logs


@contract
async def test_a_certificate_of_somebody_else(net, server_tls, client_tls):
    _, port, _ = await net.serve(ssl=server_tls)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await net.connect(port, ssl=client_tls, server_hostname="another")
    await net.quiet()


@contract
async def test_a_peer_that_speaks_no_tls(net, server_tls, client_tls):
    async def plain(reader, writer):
        writer.write(b"220 this is no TLS\r\n")
        try:
            await reader.read()
        except ConnectionResetError:
            pass
        writer.close()

    with pytest.raises(ssl.SSLError):
        await net.open_connection(await net.start_server(plain), ssl=client_tls)
    tls_port = await net.start_server(plain, ssl=server_tls)
    reader, writer = await net.open_connection(tls_port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n" * 10)
    try:
        await reader.read()
    except ConnectionResetError:
        pass
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass
    await net.quiet()


@contract
async def test_a_peer_that_ends_during_the_handshake(net, client_tls):
    async def hang_up(reader, writer):
        writer.close()

    with pytest.raises((ConnectionResetError, ConnectionAbortedError, ssl.SSLError, BrokenPipeError)):
        await net.open_connection(await net.start_server(hang_up), ssl=client_tls)


@contract
async def test_a_handshake_that_takes_too_long(net, client_tls):
    writers = []

    async def silent(reader, writer):
        writers.append(writer)

    port = await net.start_server(silent)
    with pytest.raises(ConnectionAbortedError, match="handshake"):
        await net.open_connection(port, ssl=client_tls, ssl_handshake_timeout=0.05)
    for writer in writers:
        writer.transport.abort()


@contract
async def test_a_handshake_cancelled(net, client_tls):
    writers = []

    async def silent(reader, writer):
        writers.append(writer)

    port = await net.start_server(silent)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await net.open_connection(port, ssl=client_tls)
    await net.quiet()
    for writer in writers:
        writer.transport.abort()


@contract
async def test_abort(net, server_tls, client_tls):
    _, port, accepted = await net.serve(ssl=server_tls)
    client = await net.connect(port, ssl=client_tls)
    client.transport.write(b"x")
    await net.until(lambda: accepted and accepted[0].data)
    client.transport.abort()
    await client.called("connection_lost")
    await accepted[0].called("connection_lost")
    assert client.lost is None


@contract(media=NOT_UVLOOP)
async def test_start_tls_of_the_streams(net, server_tls, client_tls):
    async def handler(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.drain()
        await writer.start_tls(server_tls)
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    reader, writer = await net.open_connection(await net.start_server(handler))
    writer.write(b"STARTTLS\n")
    assert await reader.readline() == b"go\n"
    await writer.start_tls(client_tls, server_hostname="server")
    assert writer.get_extra_info("ssl_object") is not None
    writer.write(b"secret\n")
    assert await reader.read() == b"SECRET\n"
    writer.close()
    await writer.wait_closed()


@contract(media=NOT_UVLOOP)
async def test_start_tls_of_the_loop(net, server_tls, client_tls):
    class Upgrading(Recorder):
        def data_received(self, data):
            super().data_received(data)
            if data == b"STARTTLS":
                self.task = asyncio.get_running_loop().create_task(self.upgrade())

        async def upgrade(self):
            transport = self.transport
            transport.write(b"go")
            self.transport = await net.loop.start_tls(transport, self, server_tls, server_side=True)
            self.transport.write(b"welcome")

    client, server = await net.pair(server=Upgrading)
    client.transport.write(b"STARTTLS")
    await client.received(2)
    client.transport = await net.loop.start_tls(
        client.transport, client, client_tls, server_hostname="server"
    )
    assert await client.received(9) == b"gowelcome"
    client.transport.write(b"secret")
    assert (await server.received(14))[8:] == b"secret"
    client.transport.close()
    await server.called("connection_lost")
    assert client.callbacks.count("connection_made") == 1


@contract(media=("uvloop",))
async def test_start_tls_of_uvloop_takes_its_own_only(net, client_tls):
    # the streams' start_tls() goes through it; `ssl=` does not, and works on uvloop as everywhere
    client, _ = await net.pair()
    with pytest.raises(TypeError):
        await net.loop.start_tls(client.transport, client, client_tls, server_hostname="server")


# what a context asks for


@contract
async def test_alpn(net, server_tls, client_tls):
    server_tls.set_alpn_protocols(["h2", "http/1.1"])
    client_tls.set_alpn_protocols(["http/1.1"])
    _, port, accepted = await net.serve(ssl=server_tls)
    client = await net.connect(port, ssl=client_tls)
    await net.until(lambda: accepted and accepted[0].transport)
    for one in (client, accepted[0]):
        assert one.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


@contract
async def test_sni(net, server_tls, client_tls):
    asked = []
    server_tls.sni_callback = lambda ssl_object, name, context: asked.append(name)
    _, port, _ = await net.serve(ssl=server_tls)
    await net.connect(port, ssl=client_tls, server_hostname="server")
    assert asked == ["server"]


@contract
async def test_a_certificate_of_the_client(net, server_tls, client_tls, certificate):
    server_tls.load_verify_locations(certificate[0])
    server_tls.verify_mode = ssl.CERT_REQUIRED
    client_tls.load_cert_chain(*certificate)
    _, port, accepted = await net.serve(ssl=server_tls)
    await net.connect(port, ssl=client_tls)
    await net.until(lambda: accepted and accepted[0].transport)
    subject = accepted[0].transport.get_extra_info("peercert")["subject"]
    assert (("commonName", "server"),) in subject


@contract
async def test_no_certificate_of_the_client(net, server_tls, client_tls, certificate):
    server_tls.load_verify_locations(certificate[0])
    server_tls.verify_mode = ssl.CERT_REQUIRED
    _, port, accepted = await net.serve(ssl=server_tls)
    client = await net.connect(port, ssl=client_tls)  # in TLS 1.3 done before the server has looked
    await client.called("connection_lost")
    assert not accepted[0].callbacks
    net.take_errors()


class Resuming(ssl.SSLContext):
    """asyncio has no argument for the session to go on with."""

    session = None

    def wrap_bio(self, *arguments, **keywords):
        return super().wrap_bio(*arguments, **keywords, session=self.session)


@contract(media=("kernel", "memory", "virtual"))  # uvloop keeps its own way into OpenSSL
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_goes_on(net, server_tls, certificate, version):
    client_tls = Resuming(ssl.PROTOCOL_TLS_CLIENT)
    client_tls.load_verify_locations(certificate[0])
    client_tls.maximum_version = version
    _, port, accepted = await net.serve(ssl=server_tls)
    for turn in range(2):
        client = await net.connect(port, ssl=client_tls)
        await net.until(lambda turn=turn: len(accepted) > turn and accepted[turn].transport)
        accepted[turn].transport.write(b"x")  # the ticket of TLS 1.3 comes with the first data
        await client.received(1)
        ssl_object = client.transport.get_extra_info("ssl_object")
        assert ssl_object.session_reused == bool(turn)
        client_tls.session = ssl_object.session
        client.transport.close()
        await accepted[turn].called("connection_lost")


@contract
async def test_close_notify(net, server_tls, client_tls):
    """A server that closes says so inside of TLS, before the FIN: an end is no cut."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    _, port, accepted = await net.serve(ssl=server_tls)
    reader, writer = await net.open_connection(port)
    peer = client_tls.wrap_bio(incoming, outgoing, server_hostname="server")

    async def until_done(call, *arguments):
        while True:
            try:
                return call(*arguments)
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                data = await reader.read(65536)
                incoming.write(data) if data else incoming.write_eof()
            finally:
                writer.write(outgoing.read())

    await until_done(peer.do_handshake)
    await net.until(lambda: accepted and accepted[0].transport)
    accepted[0].transport.write(b"bye")
    accepted[0].transport.close()
    assert await until_done(peer.read, 100) == b"bye"
    assert await until_done(peer.read, 100) == b""  # SSLEOFError, had there been a FIN alone
    await until_done(peer.unwrap)
    await accepted[0].called("connection_lost")
    assert accepted[0].lost is None
    writer.close()
    await net.quiet()
