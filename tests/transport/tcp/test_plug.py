"""The plug for congestion controllers: by name, by class, of a user's own, and swapped at work."""

import asyncio
import errno
import socket

import pytest

from asyncstack import Stack, StackConfig, TcpConfig
from asyncstack.testing.plugin import async_fixture
from asyncstack.transport.tcp.congestion import (
    AckSample,
    CongestionControl,
    Controllers,
    Cubic,
    LossBased,
    Reno,
)
from asyncstack.transport.tcp.options import SO_MAX_PACING_RATE
from tests.transport.tcp.pair import Pair


class Scalable(LossBased):
    """Scalable TCP (T. Kelly, 2003): a hundredth more for what is acknowledged, an eighth less for a loss."""

    __slots__ = ()

    name = "scalable"

    def avoid_congestion(self, acked: int, srtt: float, now: float) -> None:
        self.grow(acked / 100)

    def reduced(self, flight: int) -> int:
        return flight * 7 // 8


class Timid(CongestionControl):
    """Two segments, whatever happens."""

    name = "timid"

    def on_ack(self, sample: AckSample, now: float) -> None:
        self.cwnd = 2 * self.mss


def test_by_name_and_by_class():
    controllers = Controllers()
    assert controllers.find("reno") is Reno
    assert controllers.find("cubic") is Cubic
    assert controllers.find(Scalable) is Scalable, "a class needs no registering"
    with pytest.raises(ValueError, match=r"'scalable'.*'cubic', 'reno'.*register_congestion"):
        controllers.find("scalable")
    controllers.register(Scalable)
    controllers.register(Scalable)
    assert controllers.find("scalable") is Scalable
    assert "scalable" not in Controllers().names, "of one stack only"


class Lacking(LossBased):
    name = "lacking"


class Nameless(Reno):
    pass


class Named(Reno):
    name = "a_name_of_sixteen"


class Impostor(Reno):
    name = "cubic"


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        (Lacking, TypeError, "Lacking has no avoid_congestion, reduced"),
        (Nameless, ValueError, "Nameless needs a `name` of its own"),
        (Named, ValueError, "1 to 15 ASCII characters, not 'a_name_of_sixteen'"),
        (Impostor, ValueError, r"register_congestion\(Impostor\): Cubic has the name 'cubic' already"),
        (dict, TypeError, "neither a name nor a class derived from CongestionControl"),
        (Reno(), TypeError, "neither a name nor a class derived from CongestionControl"),
    ],
)
def test_what_is_no_controller_is_told_so(kind, error, says):
    with pytest.raises(error, match=says):
        Controllers().register(kind)


def test_a_swapped_controller_goes_on_from_the_same_window():
    pair = Pair(config_a=TcpConfig(congestion="reno"), delay=0.01)
    pair.a.to_send = bytes(500_000)
    pair.open()
    pair.run_while(lambda: len(pair.b.received) < 200_000)
    snd = pair.a.connection.sender
    before = snd.congestion
    window = before.cwnd
    before.ssthresh = window + 50_000
    snd.set_controller(Scalable, pair.now)
    assert type(snd.congestion) is Scalable
    assert (snd.congestion.cwnd, snd.congestion.ssthresh) == (window, window + 50_000)
    assert (snd.congestion.mss, snd.congestion.seed) == (before.mss, before.seed)
    assert pair.a.connection.info(pair.now).congestion == "scalable"
    pair.run()
    assert pair.b.received == pair.a.to_send


def test_a_timid_controller_really_rules():
    pair = Pair(config_a=TcpConfig(congestion=Timid), delay=0.01)
    pair.a.to_send = bytes(100_000)
    pair.open()
    pair.run_while(lambda: len(pair.b.received) < 30_000)
    start, before = pair.now, len(pair.b.received)
    pair.run_while(lambda: len(pair.b.received) < 90_000)
    rounds = (pair.now - start) / 0.02
    assert (len(pair.b.received) - before) / rounds <= 2 * 1448 + 1448


@pytest.mark.virtual_time
async def test_a_stack_chooses_a_registered_class(network):
    """Registered under its name with one stack, and no other."""
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, delay=0.005)
    a.register_congestion(Scalable)

    async def sink(reader, writer):
        assert len(await reader.read()) == 100_000
        writer.close()

    await b.start_server(sink, None, 7)
    a.config.tcp = TcpConfig(congestion="scalable")
    reader, writer = await a.open_connection("b", 7)
    writer.write(bytes(100_000))
    writer.write_eof()
    assert [info.congestion for info in a.connections()] == ["scalable"]
    assert [info.congestion for info in b.connections()] == ["cubic"]
    await reader.read()
    writer.close()
    await writer.wait_closed()


@pytest.mark.virtual_time
async def test_an_unknown_name_is_an_error_of_use_and_never_of_a_peer(network):
    """`listen` and `connect` complain; a SYN that comes after the settings were spoilt is dropped and counted."""
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, delay=0.005)
    server = await b.start_server(lambda reader, writer: None, None, 7)
    b.config.tcp.congestion = "scalable"
    with pytest.raises(ValueError, match="no controller 'scalable'"):
        await b.start_server(lambda reader, writer: None, None, 8)
    with pytest.raises(ValueError, match="no controller 'scalable'"):
        await b.open_connection("a", 7)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await a.open_connection("b", 7)
    assert b.counters["tcp.no_congestion_control"] == 1
    server.close()


async def test_stack_register_congestion():
    async with Stack(StackConfig()) as stack:
        stack.register_congestion(Scalable)
        with pytest.raises(ValueError, match="'cubic' already"):
            stack.register_congestion(Impostor)


@async_fixture
async def line(network):
    """A stack that knows a class of its own, its connection to another stack, and that stack's server."""
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    network.link(a, b, delay=0.005, rate=20e6)
    a.register_congestion(Scalable)

    async def sink(reader, writer):
        while await reader.read(1 << 16):
            pass
        writer.close()

    server = await b.start_server(sink, None, 7)
    _, writer = await a.open_connection("b", 7)
    yield a, writer, server
    writer.close()
    await writer.wait_closed()
    server.close()


@pytest.mark.virtual_time
async def test_tcp_congestion_swaps_at_work(line):
    """As a kernel socket has it: sixteen bytes with zeros behind; also as a text."""
    a, writer, _ = line
    sock = writer.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16) == b"cubic".ljust(16, b"\0")
    writer.write(bytes(1 << 20))
    await asyncio.sleep(0.1)
    (endpoint,) = a.tcp.connections.values()
    window = endpoint.connection.sender.congestion.cwnd
    for name in (b"scalable", b"bbr\0", "reno"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
        assert endpoint.connection.sender.congestion.cwnd == window
        text = name if isinstance(name, str) else name.rstrip(b"\0").decode()
        assert [info.congestion for info in a.connections()] == [text]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode() == text
    with pytest.raises(OSError, match="no controller 'vegas'") as caught:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"vegas")
    assert caught.value.errno == errno.ENOENT
    assert [info.congestion for info in a.connections()] == ["reno"]


@pytest.mark.virtual_time
async def test_tcp_congestion_of_a_listener_goes_for_connections_to_come(line):
    a, _, server = line
    listening = server.sockets[0]
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, "bbr")
    with pytest.raises(OSError, match="no controller"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, "scalable")
    _, writer = await a.open_connection("b", 7)
    await asyncio.sleep(0.1)
    names = [
        endpoint.connection.sender.congestion.name
        for endpoint in listening._listener.layer.connections.values()
    ]
    assert names == ["cubic", "bbr"]
    writer.close()
    await writer.wait_closed()


@pytest.mark.virtual_time
async def test_tcp_congestion_of_an_async_socket(line):
    a, _, _ = line
    sock = a.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"scalable")
    await sock.connect(("b", 7))
    assert a.connections()[-1].congestion == "scalable"
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
    assert a.connections()[-1].congestion == "bbr"
    sock.close()


@pytest.mark.virtual_time
async def test_so_max_pacing_rate(line):
    a, writer, _ = line
    sock = writer.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) in (-1, 0xFFFFFFFF)
    sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 100_000)
    assert sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) == 100_000
    start = a.clock()
    writer.write(bytes(200_000))
    while a.connections()[0].bytes_acked < 200_000:
        await asyncio.sleep(0.01)
    assert a.clock() - start == pytest.approx(2.0, rel=0.1)
    sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 0)
    assert a.connections()[0].pacing_rate == 0.0
