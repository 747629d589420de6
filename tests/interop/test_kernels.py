"""Kernels that are set up differently: without options that we like, with small packets and large ones."""

import asyncio
import errno
from pathlib import Path

import pytest

import asyncstack
from tests.interop.applications import Exchange
from tests.interop.faulty import FaultyTun
from tests.interop.kernel import peer, run, until
from tests.interop.loops import on_uvloop
from tests.interop.medium import (
    ADDRESSES,
    OURS,
    PEER,
    PEER6,
    PEERS,
    PLAIN_TAP,
    PLAIN_TUN,
    TAP,
    TUN,
    Medium,
    host,
)
from tests.interop.peers import digest

pytestmark = pytest.mark.tun

MB = 1000 * 1000
SETTINGS = [
    {"tcp_timestamps": 0},
    {"tcp_sack": 0},
    {"tcp_window_scaling": 0},
    {"tcp_timestamps": 0, "tcp_sack": 0, "tcp_window_scaling": 0},
    {"tcp_ecn": 1},
    {"tcp_congestion_control": "reno"},
]


def configure(**settings) -> None:
    for name, value in settings.items():
        Path("/proc/sys/net/ipv4", name).write_text(str(value))


def name_of(settings: dict) -> str:
    return ",".join(f"{name.removeprefix('tcp_')}={value}" for name, value in settings.items())


async def transfer_both_ways(stack: asyncstack.Stack, size: int, address: str = PEER) -> None:
    async with peer("server", host=address, size=size, seed=1) as program:
        port = (await program.said())["port"]
        _, protocol = await stack.create_connection(lambda: Exchange(size, seed=2), address, port)
        async with asyncio.timeout(40):
            assert await protocol.result == {"size": size, "digest": digest(size, 1)}
        assert await program.ended() == {"size": size, "digest": digest(size, 2)}


@pytest.mark.parametrize("settings", SETTINGS, ids=name_of)
@pytest.mark.parametrize("medium", [TUN])
async def test_settings_of_the_kernel(peered, settings):
    configure(**settings)
    await transfer_both_ways(peered.stack, MB)
    async with peer("client", host=OURS, port=9) as program:  # and nothing of it confuses a refusal
        await program.kill()


@pytest.mark.parametrize("settings", SETTINGS[1:4], ids=name_of)
@on_uvloop
async def test_settings_of_the_kernel_on_a_bad_link(settings):
    configure(**settings)
    async with host(Medium(FaultyTun, offload=False), loss=0.005) as here:
        await transfer_both_ways(here.stack, MB // 2)


@pytest.mark.parametrize(
    ("medium", "mtu"),
    [
        (TUN, 576),
        (PLAIN_TAP, 576),
        (TAP, 1280),
        (PLAIN_TUN, 1280),
        (PLAIN_TUN, 9000),
        (TUN, 65535),
        (TAP, 65521),
    ],
)
async def test_mtu(medium, mtu, checked_capture):
    six = mtu >= 1280
    async with asyncstack.Stack() as stack:
        device = medium.kind("as0", peer=PEERS if six else f"{PEER}/24", mtu=mtu, offload=medium.offload)
        interface = await stack.add_interface(device, ADDRESSES if six else ADDRESSES[:1])
        checked_capture.attach(interface)
        assert interface.mtu == mtu
        for address in (PEER, PEER6)[: 1 + six]:
            await transfer_both_ways(stack, MB // 4, address)
            assert (await stack.ping(address, size=10_000, timeout=5)).size == 10_000


async def test_path_mtu_behind_the_kernel():
    """The kernel routes to a link where it passes 1,300 bytes, and says so to who sends more."""
    configure(ip_forward=1)
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    size = 2 * MB
    async with asyncstack.Stack() as left, asyncstack.Stack() as right:
        near = asyncstack.TunDevice("as0", peer=["10.9.0.1/24", "fd09::1/64"])
        far = asyncstack.TunDevice("as1", peer=["10.8.0.1/24", "fd08::1/64"])
        await left.add_interface(near, ["10.9.0.2/24", "fd09::2/64"], ["10.9.0.1", "fd09::1"])
        await right.add_interface(far, ["10.8.0.2/24", "fd08::2/64"], ["10.8.0.1", "fd08::1"])
        for address in ("10.8.0.2", "fd08::2"):
            await run("ip", "route", "add", address, "dev", "as1", "mtu", "lock", "1300")
        for address, header in (("10.8.0.2", 20), ("fd08::2", 40)):
            made = []

            def factory(made=made):
                made.append(Exchange(size, seed=1))
                return made[-1]

            server = await right.create_server(factory, address, 7000)
            transport, protocol = await left.create_connection(lambda: Exchange(size, seed=2), address, 7000)
            async with asyncio.timeout(30):
                assert await protocol.result == {"size": size, "digest": digest(size, 1)}
                assert await made[0].result == {"size": size, "digest": digest(size, 2)}
            assert transport.get_extra_info("tcp_info").snd_mss == 1300 - header - 20 - 12
            server.close()
        reply = await left.ping("10.8.0.2", size=5000, timeout=5)
        assert reply.size == 5000


async def test_a_port_is_used_again_at_once():
    """We close first and are in TIME-WAIT; the next connection from the same port of the kernel is taken."""

    async def serve(reader, writer):
        writer.write(b"bye")
        writer.close()

    async with host(TUN) as here:
        await here.stack.start_server(serve, OURS, 7000)
        async with peer("same_port", host=OURS, port=7000, count=20) as program:
            assert await program.ended() == {"done": 20}
        await until(lambda: not here.stack.tcp.connections)


async def test_our_port_in_time_wait_is_in_use():
    """As in the kernel without SO_REUSEADDR, which asyncio does not set for clients. Other ports are free."""
    async with host(TUN) as here, peer("echo_server", host=PEER) as program:
        port = (await program.said())["port"]

        async def exchange(**options):
            reader, writer = await here.stack.open_connection(PEER, port, **options)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            await writer.wait_closed()
            await until(lambda: not here.stack.tcp.connections)

        await exchange(local_addr=(OURS, 7777))
        with pytest.raises(OSError) as refused:
            await exchange(local_addr=(OURS, 7777))
        assert refused.value.errno == errno.EADDRINUSE
        for _ in range(20):
            await exchange()


@on_uvloop
async def test_keepalive_of_the_kernel_is_answered():
    async with host(PLAIN_TUN) as here:
        await here.stack.create_server(asyncio.Protocol, OURS, 7000)
        async with peer("keeps_alive", host=OURS, port=7000, seconds=2.5) as program:
            assert await program.ended() == {"alive": True}


async def test_urgent_data_stays_in_the_stream():
    """RFC 6093: the urgent pointer is of no use; the byte is one like the others."""
    async with host(TUN) as here:
        came = asyncio.get_running_loop().create_future()

        async def serve(reader, writer):
            came.set_result(await reader.read())
            writer.close()

        await here.stack.start_server(serve, OURS, 7000)
        async with peer("urgent", host=OURS, port=7000):
            assert await came == b"before!after"


@on_uvloop
async def test_wrk_finds_no_error():
    from asyncstack.application.http import Application, Response

    app = Application()

    @app.get("/")
    async def page(request):
        return Response(b"hello")

    async with host(TAP) as here:
        server = await here.stack.start_server(app.handle, OURS, 80)
        text = await run("wrk", "-t1", "-c50", "-d1", f"http://{OURS}/")
        assert "Socket errors" not in text, text
        assert "Non-2xx" not in text, text
        assert int(text.split(" requests in ")[0].split()[-1]) > 500
        server.close()
        await app.shutdown(2)
