"""A hop in the middle takes only 1,300 bytes, which neither end can see: we, two routers, and a far host, all Linux.

stack (TAP, 1500)  --  router 1, the namespace of the test  -- 1300 --  router 2  -- 1500 --  far host
"""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest

from asyncstack import Stack
from tests.interop.kernel import peer
from tests.interop.medium import OURS, OURS6, TAP, host
from tests.interop.routers import FAR, FAR6, Path
from tests.interop.test_icmp import Talker
from tests.programs import require_program

pytestmark = pytest.mark.tun

SMALL = 1300
FAMILIES = pytest.mark.parametrize(("ours", "far"), [(OURS, FAR), (OURS6, FAR6)], ids=["IPv4", "IPv6"])


@pytest.fixture
async def path(netns) -> AsyncIterator[Path]:
    with ExitStack() as stack:
        yield Path(stack, SMALL)


@asynccontextmanager
async def far_peer(path: Path, name: str, **arguments):
    """`peer` in the namespace of the far host."""
    with path.far.entered():
        running = peer(name, **arguments)
        program = await running.__aenter__()
    try:
        yield program
    finally:
        await running.__aexit__(None, None, None)


def known_mtu(stack: Stack, far: str) -> int:
    family = socket.AF_INET6 if ":" in far else socket.AF_INET
    return stack.routes.pmtu.get(socket.inet_pton(family, far))


async def again(ask) -> None:
    """Until it is answered: one is lost for each end that has to be told."""
    async with asyncio.timeout(20):
        while True:
            with suppress(OSError):
                return await ask()


@FAMILIES
async def test_a_program_finds_it_on_the_way_to_us(path, ours, far):
    """tracepath, or traceroute --mtu, which does the same."""
    if shutil.which("tracepath"):
        command = ("tracepath", "-n", ours)
        expected = f"pmtu {SMALL}"
    else:
        command = (require_program("traceroute"), "-n", "--mtu", "-q1", "-w2", ours)
        expected = f"F={SMALL}"
    async with host(TAP):
        text = await asyncio.to_thread(path.far.run, *command)
    assert expected in text, text
    assert ours in text.splitlines()[-1] or "reached" in text, text


@FAMILIES
async def test_streams_both_ways(path, ours, far):
    size, seed = 3_000_000, 11
    async with host(TAP) as made, far_peer(path, "server", host=far, size=size, seed=seed) as program:
        port = (await program.said())["port"]
        reader, writer = await made.stack.open_connection(far, port)
        data = bytes(range(251)) * 12_000
        writer.write(data)
        writer.write_eof()
        came = await reader.read()
        result = await program.ended()
        assert (len(came), result["size"]) == (size, len(data))
        info = writer.get_extra_info("tcp_info")
        header = 40 if ":" in far else 20
        assert info.pmtu == known_mtu(made.stack, far) == SMALL
        assert info.snd_mss == SMALL - header - 20 - 12
        assert info.rto < 1.0, "nothing had to be found out by waiting"
        writer.close()


@FAMILIES
async def test_datagrams_both_ways(path, ours, far):
    """The first is lost where somebody has to be told; then both ends cut theirs."""
    async with host(TAP) as made, far_peer(path, "udp_echo_server", host=far) as program:
        port = (await program.said())["port"]
        transport, talker = await made.stack.create_datagram_endpoint(Talker, remote_addr=(far, port))
        for size in (1400, 9000):
            data = bytes(size)

            async def echoed(data=data):
                transport.sendto(data)
                async with asyncio.timeout(0.3):
                    while (await talker.came.get())[0] != data:
                        pass

            await again(echoed)
        sock = transport.get_extra_info("socket")
        if ":" in far:
            assert sock.getsockopt(socket.IPPROTO_IPV6, 24) == SMALL  # IPV6_MTU
        transport.close()


@FAMILIES
async def test_echoes(path, ours, far):
    async with host(TAP) as made:
        # a router tells us, and then the far host, whose answer is as large
        await again(lambda: made.stack.ping(far, size=1400, timeout=0.3))
        for size in (1400, 9000):
            assert (await made.stack.ping(far, size=size, timeout=5)).size == size


@FAMILIES
async def test_echoes_of_the_far_host(path, ours, far):
    """Our answers have to be cut once we know."""
    async with host(TAP) as made:
        await made.stack.ping(far, timeout=3)  # until then the router looks for its neighbours
        command = f"ping -n -c8 -i0.1 -W1 -s 1400 {ours} || true"  # some are lost until both ends know
        text = await asyncio.to_thread(path.far.run, "sh", "-c", command)
    assert int(text.split(" received")[0].split()[-1]) >= 4, text
