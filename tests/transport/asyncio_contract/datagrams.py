"""Datagram endpoints of the two hosts of a medium."""

from tests.transport.asyncio_contract.recorders import Datagrams


async def bound(net, factory=Datagrams, **arguments):
    """An endpoint of the server, and its port."""
    transport, protocol = await net.server.create_datagram_endpoint(
        lambda: net.recorder(factory), (net.host, 0), **arguments
    )
    return protocol, transport.get_extra_info("sockname")[1]


async def connected(net, port, factory=Datagrams, **arguments):
    """An endpoint of the client, connected to `port` of the server."""
    _, protocol = await net.client.create_datagram_endpoint(
        lambda: net.recorder(factory), remote_addr=(net.host, port), **arguments
    )
    return protocol


async def bound_again(net, port, factory):
    _transport, protocol = await net.server.create_datagram_endpoint(
        lambda: net.recorder(factory), (net.host, port)
    )
    return protocol, port
