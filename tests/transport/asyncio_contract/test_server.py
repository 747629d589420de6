"""create_server() and what it returns."""

import asyncio
import errno
import ipaddress
import socket

import pytest

from asyncstack import Stack
from tests.transport.asyncio_contract.media import KERNEL, OURS, contract
from tests.transport.asyncio_contract.recorders import HalfOpen, PausedReader, Recorder


async def reaches(net, port, host=None):
    """Whether a connection to `port` is accepted."""
    try:
        transport, _ = await net.client.create_connection(Recorder, host or net.host, port)
    except ConnectionRefusedError:
        return False
    transport.abort()
    await asyncio.sleep(0)
    return True


@contract
async def test_port_zero_is_any_free_port(net):
    one, first, _ = await net.serve()
    two, second, _ = await net.serve()
    assert first != second
    assert 1024 <= min(first, second) <= max(first, second) <= 65535
    assert await reaches(net, first)
    assert await reaches(net, second)
    assert one.is_serving()
    assert two.get_loop() is net.loop


@contract
@pytest.mark.parametrize("host", [None, "", "0.0.0.0", ["0.0.0.0"], "server", ["server"], ("server",)])
async def test_hosts(net, host):
    server = await net.server.create_server(Recorder, host, 0)
    by_family = {sock.family: sock for sock in server.sockets}
    assert socket.AF_INET in by_family
    assert await reaches(net, by_family[socket.AF_INET].getsockname()[1])
    if host in (None, ""):
        assert by_family[socket.AF_INET6].getsockname()[0] == "::"
        assert by_family[socket.AF_INET].getsockname()[0] == "0.0.0.0"
    server.close()


@contract
async def test_ipv6_hosts(net):
    server = await net.server.create_server(Recorder, "::", 0)
    (sock,) = server.sockets
    assert sock.family == socket.AF_INET6
    assert sock.getsockname()[:1] + sock.getsockname()[2:] == ("::", 0, 0)
    port = sock.getsockname()[1]
    assert await reaches(net, port, "fd00::2" if net.is_ours else "::1")
    assert not await reaches(net, port)  # IPv6 only
    server.close()


@contract
@pytest.mark.parametrize("shared", [False, True])
async def test_its_sockets_tell_what_they_share(net, shared):
    server = await net.server.create_server(Recorder, net.host, 0, reuse_port=shared)
    (sock,) = server.sockets
    assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)) is shared
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    server.close()


@contract(media=OURS)
@pytest.mark.parametrize("backlog", [1.5, "1"])
async def test_a_backlog_is_an_integer(net, backlog):
    # asyncio's own says so too, and forgets the socket that it has bound
    with pytest.raises(TypeError):
        await net.server.create_server(Recorder, net.host, 0, backlog=backlog)


@contract
async def test_family_selects(net):
    server = await net.server.create_server(Recorder, None, 0, family=socket.AF_INET)
    assert [sock.family for sock in server.sockets] == [socket.AF_INET]
    server.close()


@contract(media=OURS)
async def test_address_objects_are_hosts_too(net):
    server = await net.server.create_server(Recorder, ipaddress.ip_address(net.host), 0)
    assert await reaches(net, server.sockets[0].getsockname()[1])
    server.close()


@contract
async def test_a_list_of_hosts_listens_on_each(net):
    hosts = [net.host, "127.0.0.1" if net.is_ours else "127.0.0.2"]
    server = await net.server.create_server(Recorder, hosts, 0)
    assert sorted(sock.getsockname()[0] for sock in server.sockets) == sorted(hosts)
    server.close()


@contract
async def test_a_host_without_a_port_takes_any(net):
    server = await net.server.create_server(Recorder, net.host)
    assert await reaches(net, server.sockets[0].getsockname()[1])
    server.close()


@contract
async def test_neither_host_nor_port_is_an_error(net):
    with pytest.raises(ValueError, match="port"):
        await net.server.create_server(Recorder)


@contract
async def test_unknown_name(net):
    with pytest.raises(socket.gaierror) as caught:
        await net.server.create_server(Recorder, "no-such-host", 0)
    assert caught.value.errno == socket.EAI_NONAME


@contract
@pytest.mark.parametrize("port", [-1, 65536])
async def test_bad_ports(net, port):
    with pytest.raises(OverflowError):
        await net.server.create_server(Recorder, net.host, port)


@contract
async def test_address_in_use(net):
    server, port, _ = await net.serve()
    with pytest.raises(OSError, match="in use") as caught:
        await net.server.create_server(Recorder, net.host, port)
    assert caught.value.errno == errno.EADDRINUSE
    with pytest.raises(OSError, match="in use") as caught:
        await net.server.create_server(Recorder, "0.0.0.0", port)  # Linux: a listener here and one everywhere
    assert caught.value.errno == errno.EADDRINUSE
    server.close()
    await asyncio.sleep(0)
    again = await net.server.create_server(Recorder, net.host, port)
    assert await reaches(net, port)
    again.close()


@contract
async def test_address_in_use_everywhere(net):
    everywhere = await net.server.create_server(Recorder, "0.0.0.0", 0)
    port = everywhere.sockets[0].getsockname()[1]
    with pytest.raises(OSError, match="in use") as caught:
        await net.server.create_server(Recorder, net.host, port)
    assert caught.value.errno == errno.EADDRINUSE
    everywhere.close()


@contract
async def test_the_port_is_free_again_while_connections_last(net):
    server, port, accepted = await net.serve()
    client = await net.connect(port)
    await net.quiet()
    server.close()
    await asyncio.sleep(0)
    again = await net.server.create_server(Recorder, net.host, port)
    assert await reaches(net, port)
    again.close()
    client.transport.write(b"still here")
    assert await accepted[0].received(10) == b"still here"


@contract
async def test_a_failed_list_leaves_nothing(net):
    _server, port, _ = await net.serve()
    other = "127.0.0.1" if net.is_ours else "127.0.0.2"
    with pytest.raises(OSError, match="in use"):
        await net.server.create_server(Recorder, [other, net.host], port)
    again = await net.server.create_server(Recorder, other, port)
    again.close()


@contract
async def test_address_not_available(net):
    with pytest.raises(OSError) as caught:
        await net.server.create_server(Recorder, "192.0.2.1", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL


@contract
async def test_start_serving_later(net):
    server, port, _ = await net.serve(start_serving=False)
    assert not server.is_serving()
    assert len(server.sockets) == 1
    assert not await reaches(net, port)
    await server.start_serving()
    await server.start_serving()  # once more does nothing
    assert server.is_serving()
    assert await reaches(net, port)


@contract
async def test_close_refuses_new_connections_and_keeps_old_ones(net):
    server, port, accepted = await net.serve()
    client = await net.connect(port)
    client.transport.write(b"one")
    await net.quiet()
    server.close()
    server.close()
    assert not server.is_serving()
    assert server.sockets == ()
    await asyncio.sleep(0)
    assert not await reaches(net, port)
    client.transport.write(b"two")
    assert await accepted[0].received(6) == b"onetwo"


@contract(media=OURS)
async def test_wait_closed_waits_for_the_last_connection(net):
    # as Python 3.12 and later do; 3.11's returns at once after close()
    server, port, accepted = await net.serve()
    client = await net.connect(port)
    await net.quiet()
    waiting = [asyncio.create_task(server.wait_closed()) for _ in range(2)]
    await net.quiet()
    server.close()
    await net.quiet()
    assert not any(task.done() for task in waiting)
    client.transport.close()
    await accepted[0].called("connection_lost")
    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)
        await server.wait_closed()


@contract
async def test_wait_closed_without_connections(net):
    server, _, _ = await net.serve()
    server.close()
    async with asyncio.timeout(1):
        await server.wait_closed()
        await server.wait_closed()


@contract(media=OURS)
async def test_a_cancelled_wait_closed_is_forgotten(net):
    server, _, _ = await net.serve()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await server.wait_closed()
    server.close()
    async with asyncio.timeout(1):
        await server.wait_closed()


@contract
async def test_async_with_closes(net):
    server, port, _ = await net.serve()
    async with server as entered:
        assert entered is server
        assert await reaches(net, port)
        await net.quiet()
    assert not server.is_serving()
    assert not await reaches(net, port)


@contract
async def test_serve_forever_until_cancelled(net):
    server, port, _ = await net.serve(start_serving=False)
    serving = asyncio.create_task(server.serve_forever())
    await net.quiet()
    assert server.is_serving()
    assert await reaches(net, port)
    with pytest.raises(RuntimeError, match="already being awaited"):
        await server.serve_forever()
    await net.quiet()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert not server.is_serving()
    assert not await reaches(net, port)
    with pytest.raises(RuntimeError, match="is closed"):
        await server.serve_forever()


@contract
async def test_serve_forever_ends_with_close(net):
    server, _, _ = await net.serve()
    serving = asyncio.create_task(server.serve_forever())
    await net.quiet()
    server.close()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(1):
            await serving


@contract
async def test_cancelling_serve_forever_does_not_wait_for_a_silent_client(net):
    """Python 3.11 leaves the client alone; since 3.12 its wait_closed() would hang on it, so it is closed."""
    server, port, accepted = await net.serve()
    client = await net.connect(port)
    await net.quiet()
    serving = asyncio.create_task(server.serve_forever())
    await net.quiet()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(1):
            await serving
    if net.is_ours:
        await client.called("connection_lost")
        assert client.lost is None
        assert accepted[0].lost is None


@contract(media=OURS)
async def test_starting_a_closed_server_is_an_error(net):
    # (asyncio's own raises TypeError)
    server, _, _ = await net.serve(start_serving=False)
    server.close()
    with pytest.raises(RuntimeError, match="is closed"):
        await server.start_serving()


@contract(media=OURS)
async def test_close_clients(net):
    # new in Python 3.13
    server, port, accepted = await net.serve()
    clients = [await net.connect(port) for _ in range(3)]
    await net.quiet()
    accepted[0].transport.write(b"x" * 100_000)
    server.close_clients()
    for client in clients:
        await client.called("connection_lost")
        assert client.lost is None
    assert len(clients[0].data) == 100_000
    assert await reaches(net, port)
    server.close()
    async with asyncio.timeout(5):
        await server.wait_closed()


@contract(media=OURS)
async def test_abort_clients(net):
    # new in Python 3.13
    server, port, accepted = await net.serve()
    client = await net.connect(port, PausedReader)
    await net.quiet()
    accepted[0].transport.write(bytes(20_000_000))
    server.close()
    server.close_clients()
    await net.quiet()
    assert "connection_lost" not in accepted[0].callbacks
    server.abort_clients()
    await accepted[0].called("connection_lost")
    async with asyncio.timeout(5):
        await server.wait_closed()
    client.transport.resume_reading()
    await client.called("connection_lost")
    assert isinstance(client.lost, ConnectionResetError)


@contract(media=("virtual",))
async def test_more_clients_at_once_than_the_backlog(net):
    """Those beyond it try again: what completes their handshake is dropped, not refused. (So the kernel does.)

    Two are taken each time that all the others repeat their data at once, which they do less and less often.
    """
    _, port, accepted = await net.serve(backlog=2)
    clients = await asyncio.gather(*(net.connect(port) for _ in range(20)))
    for client in clients:
        client.transport.write(b"here")
    async with asyncio.timeout(30):  # of virtual time: more than `until` has
        while [bytes(one.data) for one in accepted] != [b"here"] * 20:
            await asyncio.sleep(0.01)


@contract
async def test_a_hundred_clients_at_once(net):
    _, port, accepted = await net.serve(HalfOpen)
    clients = await asyncio.gather(*(net.connect(port) for _ in range(100)))
    for number, client in enumerate(clients):
        client.transport.write(b"%d" % number)
        client.transport.write_eof()
    await net.until(lambda: len(accepted) == 100)
    for one in accepted:
        await one.called("eof_received")
        one.transport.write(bytes(one.data))
        one.transport.close()
    for number, client in enumerate(clients):
        await client.called("connection_lost")
        assert client.data == b"%d" % number


@contract(media=OURS)
async def test_what_a_stack_can_not_do_is_refused_in_words(net):
    for arguments, said in [
        ({"sock": object(), "port": 80}, "sock"),
    ]:
        with pytest.raises(ValueError, match=said):
            await net.server.create_server(Recorder, net.host, **{"port": 0, **arguments})
    with pytest.raises(TypeError, match="SSLContext"):
        await net.server.create_server(Recorder, net.host, 0, ssl=True)
    for accepted in ({"reuse_address": True}, {"reuse_address": False}, {"keep_alive": None}):
        (await net.server.create_server(Recorder, net.host, 0, **accepted)).close()


@contract(media=KERNEL)
async def test_the_reference_takes_ssl_contexts_only(net):
    with pytest.raises(TypeError, match="SSLContext"):
        await net.server.create_server(Recorder, net.host, 0, ssl=True)


@contract(media=OURS)
async def test_keep_alive_is_for_every_connection(net):
    # new in Python 3.13.3
    _, port, accepted = await net.serve(keep_alive=True)
    await net.connect(port)
    await net.quiet()
    sock = accepted[0].transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


@contract(media=OURS)
async def test_repr_and_a_closed_stack(net):
    server, port, _ = await net.serve()
    assert repr(server) == f"<Server [('{net.host}', {port})]>"
    stack = Stack()
    await stack.close()
    with pytest.raises(RuntimeError, match="closed"):
        await stack.create_server(Recorder, None, 0)
