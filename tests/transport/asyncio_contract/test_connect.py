"""create_connection(): addresses, refusals, cancellation."""

import asyncio
import errno
import socket

import pytest

from tests.transport.asyncio_contract.media import KERNEL, OURS, contract
from tests.transport.asyncio_contract.recorders import Recorder, reset

BLACKHOLE = "10.0.0.99"  # on the simulated link, where no host has it


async def free_port(net):
    """A port of the server where nobody listens."""
    server, port, _ = await net.serve()
    server.close()
    await asyncio.sleep(0)
    return port


@contract
async def test_returns_transport_and_protocol(net):
    _, port, _ = await net.serve()
    protocol = net.recorder()
    transport, got = await net.client.create_connection(lambda: protocol, net.host, port)
    assert got is protocol
    assert transport is protocol.transport
    assert isinstance(transport, asyncio.Transport)
    assert protocol.callbacks == ["connection_made"]


@contract
async def test_refused(net):
    port = await free_port(net)
    with pytest.raises(ConnectionRefusedError) as caught:
        await net.client.create_connection(Recorder, net.host, port)
    assert caught.value.errno == errno.ECONNREFUSED
    assert net.host in str(caught.value)
    assert str(port) in str(caught.value)
    with pytest.raises(ConnectionRefusedError):
        await net.client.create_connection(Recorder, net.host, 0)


@contract
async def test_by_name(net):
    _, port, _ = await net.serve()
    transport, _protocol = await net.client.create_connection(net.recorder, "server", port)
    assert transport.get_extra_info("peername") == (net.host, port)
    with pytest.raises(socket.gaierror) as caught:
        await net.client.create_connection(Recorder, "no-such-host", port)
    assert caught.value.errno == socket.EAI_NONAME


@contract
async def test_every_address_of_a_name_is_tried(net):
    """The first address refuses, or is nobody's; the second listens."""
    _, port, _ = await net.serve()
    if net.is_ours:
        await second_address_refuses(net)
    transport, _ = await net.client.create_connection(net.recorder, "two-addresses", port)
    assert transport.get_extra_info("peername") == (net.host, port)


async def second_address_refuses(net):
    """The server owns the first of the two addresses as well, so that it refuses at once."""
    interface = next(each for each in net.server.interfaces if each.name != "lo")
    net.server.add_address(interface, bytes([10, 0, 0, 3]), 32)


@contract
async def test_all_addresses_refuse(net):
    port = await free_port(net)
    if net.is_ours:
        await second_address_refuses(net)
    with pytest.raises(OSError, match="Multiple exceptions") as caught:
        await net.client.create_connection(Recorder, "two-addresses", port)
    for address in ("10.0.0.3", "10.0.0.2") if net.is_ours else ("127.0.0.3", "127.0.0.1"):
        assert address in str(caught.value)
    if net.is_ours:  # asyncio's has no errno
        assert isinstance(caught.value, ConnectionRefusedError)


@contract(media=OURS)
async def test_all_errors(net):
    # new in Python 3.12
    port = await free_port(net)
    await second_address_refuses(net)
    with pytest.raises(ExceptionGroup) as caught:
        await net.client.create_connection(Recorder, "two-addresses", port, all_errors=True)
    assert [type(each) for each in caught.value.exceptions] == [ConnectionRefusedError] * 2


@contract(media=OURS)
async def test_happy_eyeballs_does_not_wait_for_a_silent_address(net):
    # RFC 8305: the first address answers to nothing, the second is tried after the delay
    _, port, accepted = await net.serve()
    net.client.names.table["slow-first"] = [BLACKHOLE, net.host]
    made = []

    def factory():
        made.append(net.recorder())
        return made[-1]

    start = net.loop.time()
    transport, protocol = await net.client.create_connection(
        factory, "slow-first", port, happy_eyeballs_delay=0.05
    )
    assert 0.045 < net.loop.time() - start < 1
    assert made == [protocol]
    assert transport.get_extra_info("peername") == (net.host, port)
    assert len(net.client.tcp.connections) == 1
    await net.quiet()
    assert len(accepted) == 1


@contract(media=OURS)
async def test_happy_eyeballs_makes_one_protocol_though_two_addresses_answer(net):
    _, port, _accepted = await net.serve()
    net.client.names.table["twice"] = [net.host, net.host]
    made = []

    def factory():
        made.append(net.recorder())
        return made[-1]

    for delay in (0.0, 0.001, 0.02):
        made.clear()
        _, protocol = await net.client.create_connection(factory, "twice", port, happy_eyeballs_delay=delay)
        assert made == [protocol]
        await net.quiet()
        protocol.transport.abort()
        await net.quiet()
    assert not net.client.tcp.connections


@contract(media=OURS)
async def test_happy_eyeballs_tells_why_all_failed(net):
    port = await free_port(net)
    await second_address_refuses(net)
    with pytest.raises(ConnectionRefusedError, match="Multiple exceptions"):
        await net.client.create_connection(Recorder, "two-addresses", port, happy_eyeballs_delay=0.01)


@contract
async def test_local_addr(net):
    _, port, accepted = await net.serve()
    with socket.socket() if not net.is_ours else NoSocket() as probe:
        probe.bind((net.client_host, 0))
        local_port = probe.getsockname()[1]
    client = await net.connect(port, local_addr=(net.client_host, local_port))
    assert client.transport.get_extra_info("sockname") == (net.client_host, local_port)
    await net.quiet()
    assert accepted[0].transport.get_extra_info("peername") == (net.client_host, local_port)
    with pytest.raises(OSError) as caught:  # the same four numbers again
        await net.connect(port, local_addr=(net.client_host, local_port))
    assert caught.value.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL)
    any_port = await net.connect(port, local_addr=(net.client_host, 0))
    assert any_port.transport.get_extra_info("sockname")[0] == net.client_host


class NoSocket:
    """Stands for a socket that found a free port."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def bind(self, address):
        pass

    def getsockname(self):
        return "", 12345


@contract
async def test_local_addr_of_somebody_else(net):
    _, port, _ = await net.serve()
    with pytest.raises(OSError) as caught:
        await net.connect(port, local_addr=("192.0.2.1", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL


@contract
async def test_host_none_is_this_host(net):
    server = await net.client.create_server(net.recorder, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for host in (None, "localhost", "127.0.0.1"):
        transport, _ = await net.client.create_connection(net.recorder, host, port)
        assert transport.get_extra_info("peername") == ("127.0.0.1", port)
    server.close()


@contract
async def test_arguments_that_make_no_sense(net):
    for arguments in ({}, {"server_hostname": "x", "host": net.host, "port": 1}):
        with pytest.raises(ValueError, match=r"host|ssl"):
            await net.client.create_connection(Recorder, **arguments)
    for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
        with pytest.raises(ValueError, match="only meaningful with ssl"):
            await net.client.create_connection(Recorder, net.host, 1, **{name: 1.0})
    with pytest.raises(ValueError, match="server_hostname"):
        await net.client.create_connection(Recorder, None, 1, ssl=True)
    for port in (-1, 65536):
        with pytest.raises(OverflowError):
            await net.client.create_connection(Recorder, net.host, port)


@contract(media=OURS)
async def test_sock_of_another_kind_is_refused_in_words(net):
    with pytest.raises(ValueError, match="A Stream Socket was expected"):
        await net.client.create_connection(Recorder, sock=object())


@contract
@pytest.mark.parametrize("where", ["255.255.255.255", "224.0.0.1"])
async def test_there_is_no_connection_to_many(net, where):
    with pytest.raises(OSError) as caught:
        await net.client.create_connection(Recorder, where, 80)
    assert caught.value.errno == errno.ENETUNREACH


@contract(media=OURS)
async def test_network_without_a_route(net):
    with pytest.raises(OSError) as caught:
        await net.client.create_connection(Recorder, "192.0.2.7", 80)
    assert caught.value.errno == errno.ENETUNREACH
    assert "192.0.2.7" in str(caught.value)


@contract(media=OURS)
async def test_a_cancelled_connect_leaves_nothing(net):
    connecting = asyncio.create_task(net.client.create_connection(Recorder, BLACKHOLE, 80))
    await asyncio.sleep(0.01)
    assert len(net.client.connections()) == 1
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert net.client.connections() == []


@contract(media=OURS)
@pytest.mark.parametrize("delay", [None, 0.05])
@pytest.mark.parametrize("turns", range(12))
async def test_a_connect_cancelled_at_any_moment_leaves_nothing(net, turns, delay):
    _, port, accepted = await net.serve()
    protocol = net.recorder()
    connecting = asyncio.create_task(
        net.client.create_connection(lambda: protocol, net.host, port, happy_eyeballs_delay=delay)
    )
    for _ in range(turns):
        await asyncio.sleep(0 if net.medium != "virtual" else 0.001)
    connecting.cancel()
    try:
        transport, _ = await connecting
        reset(transport)
    except asyncio.CancelledError:
        pass
    await net.quiet()
    assert net.client.connections() == net.server.connections() == []
    assert protocol.callbacks in ([], ["connection_made", "connection_lost"])
    for one in accepted:
        told = [callback for callback in one.callbacks if callback != "eof_received"]
        assert told == ["connection_made", "connection_lost"]


@contract(media=("virtual",))
async def test_nobody_answers(net):
    # 6 repetitions after 1, 2, 4, 8, 16, 32 s, and 64 s more; the kernel takes the same 127 s
    with pytest.raises(TimeoutError) as caught:
        await net.client.create_connection(Recorder, BLACKHOLE, 80)
    assert caught.value.errno == errno.ETIMEDOUT
    assert BLACKHOLE in str(caught.value)
    assert 126 < net.loop.time() < 128
    await asyncio.sleep(0)  # it leaves the table with the next turn to send
    assert net.client.connections() == []


@contract(media=("virtual",))
async def test_connect_within_a_timeout_of_the_application(net):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await net.client.create_connection(Recorder, BLACKHOLE, 80)
    assert net.loop.time() == 0.5
    await asyncio.sleep(0)
    assert net.client.connections() == []


@contract(media=("virtual",))
async def test_the_next_hop_does_not_answer(net):
    # on Ethernet ARP finds out; the simulated link of this test has none, so the hosts get another
    from asyncstack import memory_pair

    near, far = memory_pair(ethernet=True)
    net.client.attach(near, ["10.7.0.1/24"])
    net.server.attach(far, ["10.7.0.2/24"])
    with pytest.raises(OSError, match="No route to host") as caught:
        await net.client.create_connection(Recorder, "10.7.0.9", 80)
    assert caught.value.errno == errno.EHOSTUNREACH
    assert net.loop.time() < 5


@contract(media=KERNEL)
async def test_the_reference_has_no_errno_for_several_errors(net):
    port = await free_port(net)
    with pytest.raises(OSError, match="Multiple exceptions") as caught:
        await net.client.create_connection(Recorder, "two-addresses", port)
    assert caught.value.errno is None
