"""`Stack.ping`."""

import asyncio
import errno
from dataclasses import replace

import pytest

from asyncstack import PingReply, Stack, StackConfig, UnreachableError, memory_pair

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def hosts(request):
    """`hosts(network, **link)`: two hosts on a link of 10 ms."""

    def make(network, **link):
        a = network.host("a", "10.0.0.1/24", "fd00::1/64")
        b = network.host("b", "10.0.0.2/24", "fd00::2/64")
        return a, b, network.link(a, b, **{"delay": 0.01, **link})

    return make


@pytest.mark.parametrize("host", ["b", "10.0.0.2", "fd00::2"])
async def test_a_reply(network, hosts, host):
    a, _, _ = hosts(network)
    reply = await a.ping(host)
    assert isinstance(reply, PingReply)
    assert reply.source == ("10.0.0.2" if "." in host else "fd00::2")
    assert reply.rtt == pytest.approx(0.02)
    assert (reply.size, reply.ttl) == (56, 64)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.1", "localhost"])
async def test_oneself(network, hosts, host):
    a, _, _ = hosts(network)
    assert (await a.ping(host)).rtt == 0


@pytest.mark.parametrize("host", ["10.0.0.2", "fd00::2"])
@pytest.mark.parametrize("size", [0, 1, 1452, 1473, 9000, 65000])
async def test_sizes(network, hosts, host, size):
    """Also those that leave in fragments."""
    a, _, _ = hosts(network)
    assert (await a.ping(host, size=size)).size == size


@pytest.mark.parametrize("size", [-1, 65508])
async def test_sizes_that_are_none(network, hosts, size):
    a, _, _ = hosts(network)
    with pytest.raises(ValueError, match="0 to 65507"):
        await a.ping("b", size=size)


async def test_sequence_numbers(network, hosts):
    a, _, _ = hosts(network)
    first, second = await a.ping("b"), await a.ping("b")
    assert second.sequence == (first.sequence + 1) & 0xFFFF
    assert (await a.ping("b", sequence=7)).sequence == 7


async def test_source(network, hosts):
    a, _, _ = hosts(network)
    assert (await a.ping("b", source="10.0.0.1")).source == "10.0.0.2"
    with pytest.raises(OSError) as caught:
        await a.ping("b", source="10.0.0.9")
    assert caught.value.errno == errno.EADDRNOTAVAIL


async def test_many_at_once(network, hosts):
    a, _, _ = hosts(network)
    replies = await asyncio.gather(*(a.ping("b", sequence=number % 10) for number in range(500)))
    assert [reply.sequence for reply in replies] == [number % 10 for number in range(500)]
    assert not a._probes


async def test_no_two_at_once_have_one_name(network, hosts):
    a, _, _ = hosts(network)
    replies = await asyncio.gather(*(a.ping("b", sequence=1) for _ in range(700)))
    assert len(replies) == 700
    assert not a._probes


@pytest.mark.parametrize(
    ("argument", "value"), [("sequence", -1), ("sequence", 65536), ("ttl", -1), ("ttl", 256)]
)
async def test_numbers_that_are_none(network, hosts, argument, value):
    a, _, _ = hosts(network)
    with pytest.raises(ValueError, match=f"{argument}={value}"):
        await a.ping("b", **{argument: value})


async def test_nobody_answers(network, hosts):
    a, _, link = hosts(network)
    link.down()
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(TimeoutError, match=r"no echo reply from 10\.0\.0\.2 within 2\.5 s"):
        await a.ping("10.0.0.2", timeout=2.5)
    assert loop.time() - start == 2.5
    assert not a._probes


async def test_a_late_reply_is_no_reply(network, hosts):
    a, _, _ = hosts(network, delay=1.0)
    with pytest.raises(TimeoutError):
        await a.ping("b", timeout=1.5)
    assert (await a.ping("b", timeout=2.5)).rtt == pytest.approx(2.0)


async def test_cancelled(network, hosts):
    a, _, _ = hosts(network)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.005):
            await a.ping("b")
    assert not a._probes
    await asyncio.sleep(1)


async def test_no_route(network, hosts):
    a, _, _ = hosts(network)
    with pytest.raises(OSError) as caught:
        await a.ping("192.0.2.1")
    assert caught.value.errno == errno.ENETUNREACH


async def test_a_neighbour_that_is_not_there(network, hosts):
    a, _, _ = hosts(network, ethernet=True)
    with pytest.raises(UnreachableError) as caught:
        await a.ping("10.0.0.9", timeout=60)
    assert caught.value.errno == errno.EHOSTUNREACH
    assert caught.value.reporter == "10.0.0.1"


async def test_the_interface_goes(network, hosts):
    a, _, link = hosts(network)
    waiting = asyncio.create_task(a.ping("b", timeout=60))
    await asyncio.sleep(0.005)
    link.ends[0].set_down()
    with pytest.raises(OSError) as caught:
        await waiting
    assert caught.value.errno == errno.ENETDOWN


async def test_the_stack_closes(network, hosts):
    a, _, link = hosts(network)
    link.down()
    waiting = asyncio.create_task(a.ping("b", timeout=60))
    await asyncio.sleep(0.005)
    await a.close()
    with pytest.raises(OSError):
        await waiting
    with pytest.raises(RuntimeError, match="closed"):
        await a.ping("b")


async def test_a_reply_with_other_bytes_is_not_ours():
    """Whoever answers has to have seen the request."""
    async with Stack() as a, Stack() as b:
        near, far = memory_pair()
        a.attach(near, ["10.0.0.1/24"])
        b.attach(far, ["10.0.0.2/24"])
        spoofed = []

        def forge(packet, ident, sequence, payload):
            spoofed.append(payload)
            body = bytes(packet.payload[:8]) + b"x" * len(payload)
            reply(replace(packet, payload=memoryview(body)), ident, sequence, body[8:])

        reply, a.icmp.on_echo_reply = a.icmp.on_echo_reply, forge
        with pytest.raises(TimeoutError):
            await a.ping("10.0.0.2", timeout=1)
        assert len(spoofed) == 1


async def test_a_host_that_answers_no_errors_beyond_its_rate(network):
    config = StackConfig(icmp_errors_per_second=1.0)
    a = network.host("a", "10.0.0.1/24")
    b = network.host("b", "10.0.0.2/24", config=config)
    network.link(a, b)
    for _ in range(20):
        assert (await a.ping("b")).rtt == 0  # replies are no errors
