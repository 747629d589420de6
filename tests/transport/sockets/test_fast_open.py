"""Fast Open with BSD's calls: TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_KEY, MSG_FASTOPEN (tcp(7))."""

import asyncio
import errno
import socket
from contextlib import closing

import pytest

from asyncstack.testing import Network

pytestmark = pytest.mark.virtual_time

TCP = socket.IPPROTO_TCP
FASTOPEN, CONNECT, KEY = socket.TCP_FASTOPEN, 30, 33
DELAY = 0.05
ADDRESS = ("10.0.0.2", 80)


class World:
    """A client and a listening socket."""

    def __init__(self, network: Network) -> None:
        self.a = network.host("a", "10.0.0.1/24")
        self.b = network.host("b", "10.0.0.2/24")
        self.link = network.link(self.a, self.b, delay=DELAY)
        self.listener = self.b.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind(("", 80))
        self.listener.setsockopt(TCP, FASTOPEN, 5)
        self.listener.listen(5)

    def client(self, *, blocking: bool = True, connect: bool = False):
        made = self.a.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(blocking)
        made.setsockopt(TCP, CONNECT, int(connect))
        return made

    async def learn(self) -> None:
        """The client comes to know a cookie."""
        with closing(self.client()) as sock:
            assert await sock.sendto(b"first", socket.MSG_FASTOPEN, ADDRESS) == 5
            accepted, _ = await self.listener.accept()
            with closing(accepted):
                assert await accepted.recv(100) == b"first"
        await asyncio.sleep(1.0)

    @property
    def now(self) -> float:
        return self.a.tcp.clock()


@pytest.fixture
async def world(network):
    made = World(network)
    yield made
    made.listener.close()


async def test_msg_fastopen_without_a_cookie_connects_and_sends(world):
    started = world.now
    with closing(world.client()) as sock:
        assert await sock.sendto(b"request", socket.MSG_FASTOPEN, ADDRESS) == 7
        assert world.now - started == pytest.approx(2 * DELAY, abs=0.002)
        accepted, _ = await world.listener.accept()
        with closing(accepted):
            assert await accepted.recv(100) == b"request"


async def test_msg_fastopen_with_a_cookie_is_read_before_the_handshake_is_complete(world):
    await world.learn()
    started = world.now
    with closing(world.client(blocking=False)) as sock:
        assert await sock.sendto(b"request", socket.MSG_FASTOPEN, ADDRESS) == 7
        with pytest.raises(BlockingIOError):
            await sock.recv(100)
        accepted, peer = await world.listener.accept()
        with closing(accepted):
            assert peer[0] == "10.0.0.1"
            assert await accepted.recv(100) == b"request"
            assert world.now - started == pytest.approx(DELAY, abs=0.002)
            assert await accepted.send(b"answer") == 6
            sock.setblocking(True)
            assert await sock.recv(100) == b"answer"
            assert world.now - started == pytest.approx(2 * DELAY, abs=0.002)


async def test_msg_fastopen_takes_what_fits_the_syn(world):
    await world.learn()
    with closing(world.client(blocking=False)) as sock:
        assert await sock.sendto(bytes(5000), socket.MSG_FASTOPEN, ADDRESS) == 1420
    with closing(world.client()) as sock:
        assert await sock.sendto(bytes(5000), socket.MSG_FASTOPEN, ADDRESS) == 5000


async def test_msg_fastopen_without_a_cookie_takes_nothing_if_it_may_not_wait(world):
    with closing(world.client(blocking=False)) as sock:
        with pytest.raises(BlockingIOError) as raised:
            await sock.sendto(b"request", socket.MSG_FASTOPEN, ADDRESS)
        assert raised.value.errno == errno.EINPROGRESS
        with pytest.raises(BlockingIOError):
            await sock.sendto(b"request", socket.MSG_FASTOPEN, ADDRESS)
        sock.setblocking(True)
        assert await sock.send(b"request") == 7


async def test_connect_with_a_cookie_succeeds_at_once_and_the_syn_waits_for_data(world):
    await world.learn()
    started, before = world.now, world.link.forward.stats.sent
    with closing(world.client(blocking=False, connect=True)) as sock:
        await sock.connect(ADDRESS)
        await asyncio.sleep(1.0)
        assert world.link.forward.stats.sent == before
        assert await sock.send(b"request") == 7
        accepted, _ = await world.listener.accept()
        with closing(accepted):
            assert await accepted.recv(100) == b"request"
            assert world.now - started == pytest.approx(1.0 + DELAY, abs=0.002)


async def test_connect_without_a_cookie_takes_a_round_trip(world):
    started = world.now
    with closing(world.client(connect=True)) as sock:
        await sock.connect(ADDRESS)
        assert world.now - started == pytest.approx(2 * DELAY, abs=0.002)


async def test_sendto_after_a_connect_that_waits(world):
    await world.learn()
    with closing(world.client(connect=True)) as sock:
        await sock.connect(ADDRESS)
        assert await sock.sendto(b"request", socket.MSG_FASTOPEN, ADDRESS) == 7
        accepted, _ = await world.listener.accept()
        with closing(accepted):
            assert await accepted.recv(100) == b"request"


async def test_a_listener_without_the_option_opens_as_ever(world):
    world.listener.setsockopt(TCP, FASTOPEN, 0)
    await world.learn()
    started = world.now
    with closing(world.client()) as sock:
        await sock.sendto(b"request", socket.MSG_FASTOPEN, ADDRESS)
        assert world.now - started == pytest.approx(2 * DELAY, abs=0.002)
    assert world.b.counters["tcp.fast_open"] == 0


async def test_the_key_of_a_listener(world):
    key = bytes(range(16))
    world.listener.setsockopt(TCP, KEY, key)
    assert world.listener.getsockopt(TCP, KEY, 100) == key
    await world.learn()
    world.listener.setsockopt(TCP, KEY, key[::-1] + key)  # the old one is good for a while
    with closing(world.client()) as sock:
        await sock.sendto(b"request", socket.MSG_FASTOPEN, ADDRESS)
    assert world.b.counters["tcp.fast_open"] == 1
    for wrong in (b"", bytes(3), bytes(17)):
        with pytest.raises(OSError, match="TCP_FASTOPEN_KEY") as raised:
            world.listener.setsockopt(TCP, KEY, wrong)
        assert raised.value.errno == errno.EINVAL


async def test_msg_fastopen_on_a_connection(world):
    with closing(world.client()) as sock:
        await sock.connect(ADDRESS)
        with pytest.raises(OSError, match="connected") as raised:
            await sock.sendto(b"x", socket.MSG_FASTOPEN, ADDRESS)
        assert raised.value.errno == errno.EISCONN
