"""What a datagram endpoint calls its protocol with, and when: up to its end."""

import asyncio

import pytest

from tests.transport.asyncio_contract.datagrams import bound, bound_again, connected
from tests.transport.asyncio_contract.media import OURS, contract
from tests.transport.asyncio_contract.recorders import Datagrams


@contract
async def test_close_and_abort(net):
    for method in ("close", "abort"):
        server, port = await bound(net)
        client = await connected(net, port)
        client.transport.sendto(b"last")
        getattr(client.transport, method)()
        assert client.transport.is_closing()
        assert client.callbacks == ["connection_made"]
        await client.called("connection_lost")
        assert client.lost is None
        assert await server.received(1) == [b"last"]
        client.transport.sendto(b"late")
        client.transport.close()
        await net.quiet()
        assert client.callbacks == ["connection_made", "connection_lost"]
        assert len(server.datagrams) == 1


@contract
async def test_nothing_is_received_after_close(net):
    server, port = await bound(net)
    client = await connected(net, port)
    server.transport.close()
    client.transport.sendto(b"late")
    await net.quiet()
    assert server.callbacks == ["connection_made", "connection_lost"]


@contract
@pytest.mark.parametrize("method", ["datagram_received", "error_received"])
async def test_an_error_in_a_callback_is_reported_and_no_more(net, method):
    """One bad datagram does not stop a server."""
    error = ValueError(method)

    class Failing(Datagrams):
        def fail(self):
            raise error

        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            if data == b"bad":
                self.fail()

        def error_received(self, exc):
            super().error_received(exc)
            self.fail()

    server, port = await bound(net, Failing)
    client = await connected(net, port, Failing)
    if method == "datagram_received":
        client.transport.sendto(b"bad")
        await server.received(1)
    else:
        server.transport.close()
        await server.called("connection_lost")
        client.transport.sendto(b"anybody?")
        await client.called("error_received")
        server, _ = await bound_again(net, port, Failing)
    assert net.take_errors() == [error]
    client.transport.sendto(b"good")
    await server.until(lambda: (b"good", client.transport.get_extra_info("sockname")) in server.datagrams)
    assert not client.transport.is_closing()


@contract
async def test_answers_from_inside_datagram_received(net):
    class Echo(Datagrams):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            self.transport.sendto(data, addr)
            if data == b"bye":
                self.transport.close()

    server, port = await bound(net, Echo)
    client = await connected(net, port)
    for number in range(10):
        client.transport.sendto(b"%d" % number)
    client.transport.sendto(b"bye")
    assert await client.received(11) == [*(b"%d" % number for number in range(10)), b"bye"]
    await server.called("connection_lost")


@contract
async def test_context_and_task_of_callbacks(net):
    seen = []

    class Contextual(Datagrams):
        def note(self, name):
            seen.append((name, asyncio.current_task()))
            super().note(name)

    server, port = await bound(net, Contextual)
    client = await connected(net, port)
    client.transport.sendto(b"x")
    await server.received(1)
    server.transport.close()
    await server.called("connection_lost")
    names = ("connection_made", "datagram_received", "connection_lost")
    assert seen == [(name, None) for name in names]


@contract
async def test_limits(net):
    server, _ = await bound(net)
    transport = server.transport
    assert transport.get_write_buffer_size() == 0
    transport.set_write_buffer_limits(high=1000)
    if net.is_ours:
        assert transport.get_write_buffer_limits() == (250, 1000)
    with pytest.raises(ValueError, match="must be >="):
        transport.set_write_buffer_limits(high=1, low=2)


@contract
async def test_the_protocol_can_be_changed_and_is_let_go(net):
    server, port = await bound(net)
    client = await connected(net, port)
    transport = server.transport
    assert transport.get_protocol() is server
    other = net.recorder(Datagrams)
    transport.set_protocol(other)
    client.transport.sendto(b"x")
    assert await other.received(1) == [b"x"]
    assert server.datagrams == []
    transport.close()
    await other.called("connection_lost")
    await asyncio.sleep(0)
    assert transport.get_protocol() is None


@contract(media=OURS)
async def test_the_factory_raises(net):
    # (asyncio forgets its socket in this case)
    def fail():
        raise ValueError("factory")

    with pytest.raises(ValueError, match="factory"):
        await net.server.create_datagram_endpoint(fail, (net.host, 0))
