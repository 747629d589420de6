"""ECN, AccECN and Fast Open with the kernel. AccECN is for those that take tcp_ecn=3: later ones than Linux 6.18."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from asyncstack import StackConfig, TcpConfig, TunDevice
from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.testing.marking import marked
from tests.interop.applications import Exchange
from tests.interop.kernel import peer
from tests.interop.medium import OURS, OURS6, PEER, PEER6, TAP, TUN, Medium, host
from tests.interop.peers import digest

pytestmark = pytest.mark.tun

SIZE = 2_000_000
ECN_AGREED, SYN_DATA = 8, 32  # TCPI_OPT_ECN, TCPI_OPT_SYN_DATA
EVERY = 40  # packets


def configure(**settings) -> None:
    for name, value in settings.items():
        Path("/proc/sys/net/ipv4", name).write_text(str(value))


def needs_accecn() -> None:
    try:
        configure(tcp_ecn=3)
    except OSError:
        pytest.skip("this kernel does not negotiate AccECN")


class MarkingTun(TunDevice):
    """A router on the way: each so-manieth packet that may be marked is, in both directions."""

    ours = theirs = marks_of_ours = marks_of_theirs = 0

    def send(self, frame: OutgoingFrame) -> bool:
        data = b"".join(frame.parts)
        after = marked(data, 0)
        self.ours += after is not data
        if after is not data and self.ours % EVERY == 0:
            self.marks_of_ours += 1
            data = after
        return super().send(OutgoingFrame([data], frame.checksum_start, frame.checksum_offset))

    def deliver(self, batch: Sequence[Frame]) -> None:
        for frame in batch:
            data = bytes(frame.data)
            after = marked(data, 0)
            self.theirs += after is not data
            if after is not data and self.theirs % EVERY == 0:
                self.marks_of_theirs += 1
                frame.data = memoryview(after)
        super().deliver(batch)


MARKING = Medium(MarkingTun, offload=False)


def config(ecn: str, **settings) -> StackConfig:
    return StackConfig(tcp=TcpConfig(ecn=ecn, **settings))


async def opened_by_us(stack, address):
    """An exchange over a connection of ours. Returns (our connection, what the kernel says)."""
    async with peer("telling_server", host=address, size=SIZE, seed=1) as program:
        port = (await program.said())["port"]
        _, protocol = await stack.create_connection(lambda: Exchange(SIZE, seed=2), address, port)
        (endpoint,) = stack.tcp.connections.values()
        async with asyncio.timeout(40):
            assert await protocol.result == {"size": SIZE, "digest": digest(SIZE, 1)}
        told = await program.ended()
    assert (told["size"], told["digest"]) == (SIZE, digest(SIZE, 2))
    return endpoint.connection, told


async def opened_by_the_kernel(stack, address):
    made = []

    def factory():
        made.append(Exchange(SIZE, seed=2))
        return made[0]

    server = await stack.create_server(factory, address, 0)
    port = server.sockets[0].getsockname()[1]
    async with peer("telling_client", host=address, port=port, size=SIZE, seed=1) as program:
        async with asyncio.timeout(40):
            while not made or not stack.tcp.connections:
                await asyncio.sleep(0.001)
            (endpoint,) = stack.tcp.connections.values()
            assert await made[0].result == {"size": SIZE, "digest": digest(SIZE, 1)}
        told = await program.ended()
    server.close()
    assert (told["size"], told["digest"]) == (SIZE, digest(SIZE, 2))
    return endpoint.connection, told


WAYS = [(opened_by_us, PEER, PEER6), (opened_by_the_kernel, OURS, OURS6)]
IDS = ["ours", "kernels"]


@pytest.mark.parametrize(("way", "address", "address6"), WAYS, ids=IDS)
@pytest.mark.parametrize("family", [4, 6])
async def test_rfc3168_marks_in_both_directions(way, address, address6, family):
    configure(tcp_ecn=1)
    async with host(MARKING, config("on")) as here:
        connection, told = await way(here.stack, address if family == 4 else address6)
        device = here.interface.device
    assert connection.ecn is not None
    assert not connection.ecn.accurate
    assert told["options"] & ECN_AGREED
    assert device.marks_of_ours > 10
    assert connection.ecn.received_ce == device.marks_of_theirs > 10
    assert connection.sender.congestion.ssthresh < 1 << 40  # the kernel has echoed


@pytest.mark.parametrize(("way", "address", "address6"), WAYS, ids=IDS)
@pytest.mark.parametrize("family", [4, 6])
async def test_rfc9768_the_counts_of_both_ends_agree(way, address, address6, family):
    needs_accecn()
    configure(tcp_ecn=3)
    async with host(MARKING, config("accecn")) as here:
        connection, told = await way(here.stack, address if family == 4 else address6)
        device = here.interface.device
    ecn = connection.ecn
    assert ecn is not None
    assert ecn.accurate
    assert ecn.seen
    assert not ecn.distrusted
    assert not ecn.mute
    assert device.marks_of_ours > 10
    assert ecn.received_ce == device.marks_of_theirs > 10
    # marks on the last packets and ACKs are told by nobody
    assert 0 <= device.marks_of_ours - ecn.delivered_ce <= 8
    assert 0 <= device.marks_of_theirs - told["delivered_ce"] <= 8


@pytest.mark.parametrize("medium", [TUN, TAP])
@pytest.mark.parametrize(("ecn", "kernel"), [("on", 1), ("accecn", 3)])
async def test_super_segments(medium, ecn, kernel):
    if kernel == 3:
        needs_accecn()
    configure(tcp_ecn=kernel)
    async with host(medium, config(ecn)) as here:
        connection, told = await opened_by_us(here.stack, PEER)
        other, _ = await opened_by_the_kernel(here.stack, OURS)
    assert connection.ecn is not None
    assert other.ecn is not None
    assert connection.ecn.accurate == other.ecn.accurate == (kernel == 3)
    assert told["options"] & ECN_AGREED or kernel == 3
    if kernel == 3:
        assert connection.ecn.received_bytes[2] > 0
        assert sum(connection.ecn.received_bytes) == SIZE
        assert connection.ecn.delivered_ce == 0


@pytest.mark.parametrize(
    ("ecn", "kernel", "agreed"), [("accecn", 1, False), ("on", 3, False), ("accecn", 0, None)]
)
async def test_one_end_knows_less(ecn, kernel, agreed):
    if kernel == 3:
        needs_accecn()
    configure(tcp_ecn=kernel)
    async with host(TUN, config(ecn)) as here:
        for way, address in ((opened_by_us, PEER), (opened_by_the_kernel, OURS)):
            connection, _ = await way(here.stack, address)
            assert (None if connection.ecn is None else connection.ecn.accurate) is agreed


# Fast Open


@pytest.mark.parametrize("medium", [TUN, TAP])
@pytest.mark.parametrize("address", [OURS, OURS6])
async def test_rfc7413_the_kernel_opens_fast(medium, address):
    configure(tcp_fastopen=3)
    requests = ["one", "two", "three"]

    async def answer(reader, writer):
        writer.write(b"answer to " + await reader.read(1000))
        await reader.read()
        writer.close()

    async with host(medium, StackConfig(tcp=TcpConfig(fast_open=10))) as here:
        server = await here.stack.start_server(answer, address, 0)
        port = server.sockets[0].getsockname()[1]
        async with peer("fast_client", host=address, port=port, requests=requests) as program:
            said = [await program.said() for _ in requests]
            await program.ended()
        counters = here.stack.counters
        assert [each["answer"] for each in said] == [f"answer to {request}" for request in requests]
        assert [bool(each["options"] & SYN_DATA) for each in said] == [False, True, True]
        assert (counters["tcp.fast_open"], counters["tcp.fast_open_refused"]) == (2, 1)
        server.close()


@pytest.mark.parametrize("medium", [TUN, TAP])
@pytest.mark.parametrize("address", [PEER, PEER6])
async def test_rfc7413_we_open_fast(medium, address):
    configure(tcp_fastopen=3)
    async with (
        host(medium, StackConfig(tcp=TcpConfig(fast_open=1))) as here,
        peer("fast_server", host=address, count=3) as program,
    ):
        port = (await program.said())["port"]
        for number in range(3):
            reader, writer = await here.stack.open_connection(address, port)
            writer.write(b"request")
            assert await reader.read() == b"request"
            writer.close()
            told = await program.said()
            assert (told["request"], bool(told["options"] & SYN_DATA)) == ("request", number > 0)


async def test_rfc7413_the_kernel_brings_back_an_old_cookie():
    configure(tcp_fastopen=3)
    first, second = bytes(range(16)), bytes(range(16, 32))

    async def echo(reader, writer):
        writer.write(await reader.read(100))
        await reader.read()
        writer.close()

    async with host(TUN, StackConfig(tcp=TcpConfig(fast_open=10, fast_open_key=first))) as here:
        server = await here.stack.start_server(echo, OURS, 9000)
        async with peer("fast_client", host=OURS, port=9000, requests=["a", "b"]) as program:
            await program.ended()
        server.close()
        here.stack.tcp.config.tcp.fast_open_key = second
        server = await here.stack.start_server(echo, OURS, 9000)
        async with peer("fast_client", host=OURS, port=9000, requests=["c", "d"]) as program:
            said = [await program.said() for _ in "cd"]
            await program.ended()
        assert [bool(each["options"] & SYN_DATA) for each in said] == [False, True]
        server.close()
