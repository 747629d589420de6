"""Settings of one server or connection, `tcp=`, beside the stack's."""

import asyncio
import socket

import pytest

from asyncstack import TcpConfig

pytestmark = pytest.mark.virtual_time


async def hosts(network, **link):
    """(client, server, writers that the server has accepted)."""
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, **link)
    return a, b, []


def idle(writer):
    return writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)


async def test_connections_have_the_settings_they_are_made_with(network):
    a, b, accepted = await hosts(network)

    async def serve(reader, writer):
        accepted.append(writer)

    await b.start_server(serve, "b", 80, tcp=TcpConfig(congestion="reno", keepalive_idle=11.0))
    await b.start_server(serve, "b", 81)
    _, plain = await a.open_connection("b", 80)
    _, special = await a.open_connection("b", 81, tcp=TcpConfig(nodelay=False, keepalive_idle=12.0))
    await asyncio.sleep(0.1)
    assert [idle(writer) for writer in (plain, special, *accepted)] == [7200, 12, 11, 7200]
    assert accepted[0].get_extra_info("tcp_info").congestion == "reno"
    assert accepted[1].get_extra_info("tcp_info").congestion == "cubic"
    assert not special.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for writer in (plain, special, *accepted):
        writer.close()


async def test_options_of_a_server_go_for_those_it_accepts_later(network):
    a, b, accepted = await hosts(network)

    async def serve(reader, writer):
        accepted.append(writer)

    server = await b.start_server(serve, "b", 80)
    _, first = await a.open_connection("b", 80)
    await asyncio.sleep(0.1)
    server.sockets[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33)
    _, second = await a.open_connection("b", 80)
    await asyncio.sleep(0.1)
    assert [idle(writer) for writer in accepted] == [7200, 33]
    assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    for writer in (first, second, *accepted):
        writer.close()


async def test_a_write_buffer_bounded_by_what_was_never_sent(network):
    a, b, _ = await hosts(network, delay=0.1, rate=1e6)

    async def serve(reader, writer):
        await reader.read(-1)
        writer.close()

    await b.start_server(serve, "b", 80)
    _, writer = await a.open_connection("b", 80, tcp=TcpConfig(notsent_lowat=10_000))
    most = 0
    for _ in range(200):
        writer.write(bytes(4000))
        await writer.drain()
        (info,) = a.connections()
        most = max(most, info.notsent_bytes)
    assert most <= 10_000 + (64 << 10) + 4000  # and the transport's own high mark
    writer.close()
