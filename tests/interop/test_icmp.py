"""ping both ways, ARP as the kernel sees it, and the ICMP errors of UDP."""

import asyncio
import errno
import json

import pytest

from tests.interop.kernel import peer, run
from tests.interop.medium import BOTH_FAMILIES, OURS, OURS6, TAP, TUN, TWO_OF_THEM

pytestmark = pytest.mark.tun

BOTH = pytest.mark.parametrize(("medium", "ours", "peer_address"), BOTH_FAMILIES)
FEW = pytest.mark.parametrize(("medium", "ours", "peer_address"), TWO_OF_THEM)


@BOTH
async def test_kernel_pings_us(peered, ours, peer_address):
    for size in (0, 1, 55, 56, 1400, 1472, 1473, 3001, 60000, 65507):
        text = await run("ping", "-n", "-c2", "-i0.002", "-w5", "-s", str(size), ours)
        assert "2 received" in text, text
        assert "wrong data" not in text


@pytest.mark.parametrize("medium", [TAP])
async def test_kernel_asks_who_is_on_the_link(peered):
    own = next(
        str(entry) for entry in peered.stack.addresses.of(peered.interface, 16) if entry.address[0] == 0xFE
    )
    text = await run("ping", "-n", "-c2", "-i0.3", "-w5", "ff02::1%as0")  # it answers itself, too
    assert f"from {own.partition('/')[0]}%as0" in text, text


@BOTH
async def test_we_ping_the_kernel(peered, ours, peer_address):
    for sequence, size in enumerate((0, 1, 56, 1452, 1472, 1473, 3001, 60000, 65507)):
        reply = await peered.stack.ping(peer_address, size=size, sequence=sequence, timeout=5)
        assert (reply.source, reply.sequence, reply.size, reply.ttl) == (peer_address, sequence, size, 64)
        assert 0 < reply.rtt < 5


@pytest.mark.parametrize("medium", [TUN, TAP])
async def test_a_flood_of_pings(peered):
    text = await run("ping", "-n", "-q", "-f", "-c", "2000", "-w20", OURS)
    assert ", 0% packet loss" in text, text


@pytest.mark.parametrize("medium", [TAP])
async def test_arping(peered):
    text = await run("arping", "-I", "as0", "-c", "3", "-w", "5", "-f", OURS)
    assert peered.interface.device.address.hex(":") in text.lower()
    # nobody has that one: we must not answer for it
    await run("arping", "-I", "as0", "-c", "1", "-w", "1", "10.9.0.3", status=1)


@pytest.mark.parametrize("medium", [TAP])
async def test_kernel_knows_our_link_address(peered):
    await run("ping", "-c1", "-w5", OURS)
    await run("ping", "-c1", "-w5", OURS6)
    table = {
        entry["dst"]: entry for entry in json.loads(await run("ip", "-j", "neigh", "show", "dev", "as0"))
    }
    mac = peered.interface.device.address.hex(":")
    assert [table[address]["lladdr"] for address in (OURS, OURS6)] == [mac, mac]
    # a unicast probe, as the kernel sends it to confirm an entry
    for address in (OURS, OURS6):
        await run("ip", "neigh", "replace", address, "lladdr", mac, "dev", "as0", "nud", "probe")

    async def states() -> set[str]:
        entries = json.loads(await run("ip", "-j", "neigh", "show", "dev", "as0"))
        return {state for entry in entries if entry["dst"] in (OURS, OURS6) for state in entry["state"]}

    async with asyncio.timeout(10):
        while await states() != {"REACHABLE"}:
            await asyncio.sleep(0.05)


# UDP


class Talker(asyncio.DatagramProtocol):
    """Echoes if told to; keeps datagrams and errors."""

    def __init__(self, echo: bool = False) -> None:
        self.echo = echo
        self.came, self.errors = asyncio.Queue(), asyncio.Queue()

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        if self.echo:
            self.transport.sendto(data, addr)
        self.came.put_nowait((data, addr))

    def error_received(self, exc: OSError) -> None:
        self.errors.put_nowait(exc)


SIZES = [0, 1, 64, 1452, 1472, 1473, 2945, 9000, 65507]


@BOTH
async def test_datagrams_of_the_kernel(peered, ours, peer_address):
    await peered.stack.create_datagram_endpoint(lambda: Talker(echo=True), (ours, 7000))
    async with peer("udp_echo_client", host=ours, port=7000, sizes=SIZES) as program:
        assert await program.ended() == {"echoed": len(SIZES)}


@BOTH
async def test_datagrams_to_the_kernel(peered, ours, peer_address):
    async with peer("udp_echo_server", host=peer_address) as program:
        port = (await program.said())["port"]
        transport, talker = await peered.stack.create_datagram_endpoint(
            Talker, remote_addr=(peer_address, port)
        )
        for size in SIZES:
            data = bytes([size & 0xFF]) * size
            transport.sendto(data)
            async with asyncio.timeout(5):
                came, addr = await talker.came.get()
            assert (came, addr[:2]) == (data, (peer_address, port))
        assert talker.errors.empty()
        transport.close()


@FEW
async def test_datagram_to_a_closed_kernel_port(peered, ours, peer_address):
    transport, talker = await peered.stack.create_datagram_endpoint(Talker, remote_addr=(peer_address, 9))
    transport.sendto(b"anybody?")
    async with asyncio.timeout(5):
        assert isinstance(await talker.errors.get(), ConnectionRefusedError)
    assert not transport.is_closing()
    transport.close()


@FEW
async def test_kernel_datagram_to_our_closed_port(peered, ours, peer_address):
    async with peer("udp_refused", host=ours, port=9) as program:
        assert await program.ended() == {"errno": errno.ECONNREFUSED}


@pytest.mark.parametrize("medium", [TAP])
async def test_datagram_to_an_absent_neighbour(peered):
    peered.interface.link.neighbors4.retrans = 0.2
    transport, talker = await peered.stack.create_datagram_endpoint(Talker, remote_addr=("10.9.0.77", 9))
    transport.sendto(b"anybody?")
    with pytest.raises(OSError) as caught:
        await peered.stack.ping("10.9.0.78", timeout=10)
    assert caught.value.errno == errno.EHOSTUNREACH
    async with asyncio.timeout(10):
        assert (await talker.errors.get()).errno == errno.EHOSTUNREACH
    transport.close()
