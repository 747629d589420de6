"""Two hosts that claim one address: we and the kernel, which checks with `arping -D` and claims with `arping -A`."""

import asyncio
import errno
import socket
from pathlib import Path

import pytest

from asyncstack import AddressAdded, AddressConflict, AddressRemoved, Stack, StackConfig, TapDevice
from asyncstack.autoconf.link_local import candidates
from asyncstack.network.addresses import Origin, format_address
from asyncstack.wire import arp
from tests.interop.kernel import run
from tests.interop.medium import OURS, PEER, TAP, host

pytestmark = [pytest.mark.tun, pytest.mark.usefixtures("quick_claims")]

LEASED = "10.9.0.50"


class Eavesdropper:
    """The ARP packets that the kernel's side of a TAP gets from us."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        self._socket.bind((name, 0x0806))
        self._socket.setblocking(False)
        self.mac = self._socket.getsockname()[4]

    def heard(self) -> list[arp.Arp]:
        found = []
        while True:
            try:
                data, source = self._socket.recvfrom(2048)
            except BlockingIOError:
                return found
            if source[2] != socket.PACKET_OUTGOING:
                found.append(arp.parse(memoryview(data)[14:]))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
async def made(netns, quick_claims):
    async with host(TAP, StackConfig(ipv4_conflict_probes=3)) as made:
        made.told = []
        made.stack.subscribe(made.told.append)
        made.ears = Eavesdropper("as0")
        yield made
        made.ears.close()


async def claim(address: str, count: int, interface: str = "as0") -> None:
    """The kernel has `address` as well, and says so; an `arping` alone would wait for a second each time."""
    command = ("arping", "-A", "-c", "1", "-I", interface, "-s", address, address)
    await asyncio.gather(*(run(*command) for _ in range(count)))


async def settled(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def test_the_kernel_finds_that_an_address_is_ours(made):
    text = await run("arping", "-D", "-c", "3", "-w", "5", "-I", "as0", OURS, status=1)
    assert made.interface.device.address.hex(":") in text.lower()
    await run("arping", "-D", "-c", "1", "-w", "1", "-I", "as0", LEASED, status=0)
    assert not any(isinstance(event, AddressConflict) for event in made.told)


async def test_we_find_that_an_address_is_the_kernels(made):
    with pytest.raises(OSError, match=made.ears.mac.hex(":")) as raised:
        await made.stack.check_address(made.interface, socket.inet_aton(PEER))
    assert raised.value.errno == errno.EADDRINUSE
    await made.stack.check_address(made.interface, socket.inet_aton(LEASED))
    probes = [packet for packet in made.ears.heard() if packet.target_ip == socket.inet_aton(LEASED)]
    assert [packet.sender_ip for packet in probes] == [bytes(4)] * 3


async def test_a_configured_address_is_defended_and_kept(made):
    made.ears.heard()
    await run("ip", "address", "add", f"{OURS}/32", "dev", "as0")
    await claim(OURS, 3)
    await settled(lambda: made.told)
    (conflict,) = made.told
    ours = socket.inet_aton(OURS)
    assert conflict == AddressConflict(made.interface, ours, made.ears.mac, lost=False)
    (defence,) = made.ears.heard()  # one for three: it is rate limited
    assert (defence.operation, defence.sender_ip, defence.target_ip) == (arp.REQUEST, ours, ours)
    assert defence.sender_mac == made.interface.device.address
    assert ours in made.stack.addresses.local
    await run("ip", "address", "del", f"{OURS}/32", "dev", "as0")
    assert (await made.stack.ping(PEER, timeout=5)).source == PEER


async def test_a_leased_address_is_defended_once_and_then_given_up(made):
    leased = socket.inet_aton(LEASED)
    made.stack.add_address(made.interface, leased, 24, origin=Origin.DHCP4)
    announced = []

    def both() -> bool:
        announced.extend(packet for packet in made.ears.heard() if packet.target_ip == leased)
        return len(announced) == 2

    await settled(both)
    assert "1 received" in await run("ping", "-c1", "-w5", LEASED)
    made.told.clear()
    made.ears.heard()
    await run("ip", "address", "add", f"{LEASED}/32", "dev", "as0")
    await claim(LEASED, 2)
    await settled(lambda: len(made.told) == 3)
    first, second, removed = made.told
    assert [first.lost, second.lost, type(removed)] == [False, True, AddressRemoved]
    assert removed.error.errno == errno.EADDRINUSE
    defences = [packet for packet in made.ears.heard() if packet.sender_ip == leased]
    assert len([packet for packet in defences if packet.target_ip == leased]) == 1
    assert leased not in made.stack.addresses.local
    # it is the kernel's alone now: nobody disputes it
    await run("arping", "-D", "-c", "1", "-w", "1", "-I", "as0", LEASED, status=0)


async def test_link_local_addresses_of_two_stacks_and_the_kernel_on_a_bridge(netns):
    """The kernel has the first choice of one of them, and later takes away what the other has."""
    await run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
    await run("ip", "link", "set", "br0", "up")
    macs = [bytes((2, 0, 0, 0, 0, number)) for number in (1, 2)]
    choices = [candidates(mac) for mac in macs]
    first, second = next(choices[0]), next(choices[1])
    await run("ip", "address", "add", f"{format_address(first)}/16", "dev", "br0")
    async with Stack() as a, Stack() as b:
        stacks, waiting = (a, b), []
        for number, (stack, mac) in enumerate(zip(stacks, macs, strict=True)):
            waiting.append(
                asyncio.ensure_future(
                    stack.add_interface(TapDevice(f"as{number}", address=mac), ["link-local"])
                )
            )
        for number in range(2):
            await settled(lambda number=number: f"as{number}:" in Path("/proc/self/net/dev").read_text())
            await run("ip", "link", "set", f"as{number}", "master", "br0", "up")
        interfaces = await asyncio.gather(*waiting)

        def address(number: int) -> bytes:
            (entry,) = stacks[number].addresses.of(interfaces[number], 4)
            return entry.address

        assert address(0) == next(choices[0])
        assert address(1) == second
        assert (await a.ping(format_address(second), timeout=5)).ttl == 64
        assert (await b.ping(format_address(first), timeout=5)).ttl == 64
        told = []
        b.subscribe(told.append)
        await run("ip", "address", "add", f"{format_address(second)}/16", "dev", "br0")
        await claim(format_address(second), 2, "br0")
        await settled(lambda: any(isinstance(event, AddressAdded) for event in told))
        assert [type(event) for event in told] == [
            AddressConflict,
            AddressConflict,
            AddressRemoved,
            AddressAdded,
        ]
        assert address(1) == next(choices[1])
        assert (await a.ping(format_address(address(1)), timeout=5)).ttl == 64
