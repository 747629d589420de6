"""Interfaces that come and go, several of them, several stacks, and devices that somebody else made."""

import asyncio
import errno
import hashlib
import json
import os
import sys
from itertools import groupby

import pytest

import asyncstack
from asyncstack.link.attach import IFF_TAP, IFF_TUN, IFF_VNET_HDR, attach
from tests.interop.applications import Exchange, echo
from tests.interop.kernel import peer, run, until
from tests.interop.medium import ADDRESSES, OURS, OURS6, PEER, PEERS, TAP, TUN, host
from tests.interop.peers import digest
from tests.link.devices import IFF_NO_PI, make_persistent
from tests.stack.census import census

pytestmark = pytest.mark.tun

MB = 1000 * 1000


async def fetch_echo(address: str, size: int = 100_000) -> None:
    """A kernel client of the echo server at `address` port 7000."""
    async with peer("client", host=address, port=7000, size=size, seed=1) as program:
        assert await program.ended() == {"size": size, "digest": digest(size, 1)}


@pytest.mark.parametrize("medium", [TUN, TAP], ids=["tun", "tap"])
async def test_added_and_removed_again_and_again(medium):
    await run("true")
    await asyncio.to_thread(int)
    events = []
    async with asyncstack.Stack() as stack:
        stack.subscribe(events.append)
        await stack.start_server(echo, None, 7000)
        sizes = []
        for turn in range(4):
            before = census()
            interface = await stack.add_interface(medium.device(), ADDRESSES, [PEER])
            await fetch_echo((OURS, OURS6)[turn % 2])
            assert (await stack.ping(PEER, timeout=5)).source == PEER
            await until(lambda: not stack.tcp.connections)
            await stack.remove_interface(interface)
            await asyncio.sleep(0)
            stack.config.dad_transmits = int(
                turn < 1
            )  # twice is enough to see what checking addresses leaves
            after = census()
            after.timers = min(after.timers, 1 + before.timers)  # the TIME-WAIT table has one
            assert after == before or turn == 0
            sizes.append((len(stack.interfaces), len(stack.routes.routes()), stack.addresses.of(interface)))
            with pytest.raises(OSError) as caught:
                await stack.ping(PEER)
            assert caught.value.errno == errno.ENETUNREACH
        assert sizes == [sizes[0]] * 4
    names = [name for name, _ in groupby(type(event).__name__ for event in events)]
    assert names[:12] == ["InterfaceUp", "AddressAdded", "InterfaceDown"] * 4
    assert all(event.error is None for event in events if isinstance(event, asyncstack.InterfaceDown))


async def test_removal_tells_everybody():
    async with host(TUN) as here:
        stack = here.stack
        other = await stack.add_interface(asyncstack.TunDevice("as1", peer="10.8.0.1/24"), ["10.8.0.2/24"])
        assert other.up
        await stack.start_server(echo, None, 7000)
        async with (
            peer("server", host=PEER, size=1 << 30) as one,
            peer("server", host="10.8.0.1", size=MB) as two,
        ):
            ports = [(await each.said())["port"] for each in (one, two)]
            _, dying = await stack.create_connection(lambda: Exchange(), PEER, ports[0])
            reader, writer = await stack.open_connection("10.8.0.1", ports[1])
            errors: asyncio.Queue = asyncio.Queue()

            class Talker(asyncio.DatagramProtocol):
                def error_received(self, exc):
                    errors.put_nowait(exc)

            datagrams, _ = await stack.create_datagram_endpoint(Talker, remote_addr=(PEER, 9))
            await run("ip", "route", "add", "blackhole", OURS)
            pending = asyncio.ensure_future(stack.open_connection(PEER, 80))
            echoed = asyncio.ensure_future(stack.ping(PEER, timeout=60))
            await until(lambda: len(stack.tcp.connections) == 3)
            await stack.remove_interface(here.interface)
            for failed in (dying.result, pending, echoed, errors.get()):
                async with asyncio.timeout(1):
                    try:
                        caught = await failed
                    except OSError as exc:
                        caught = exc
                assert caught.errno == errno.ENETDOWN
            datagrams.close()
            assert len(await reader.read(-1)) == MB
            writer.close()
            await fetch_echo("10.8.0.2")
        with pytest.raises(OSError) as caught:
            await stack.create_server(asyncio.Protocol, OURS, 80)
        assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize(
    ("addresses", "gateway", "error"),
    [
        (["10.9.0.2/24", "10.9.0.2/24"], None, OSError),
        (["10.9.0.2/24"], "nonsense", ValueError),
        (["10.9.0.2/33"], None, ValueError),
    ],
)
async def test_what_can_not_be_added_leaves_nothing(addresses, gateway, error):
    async with asyncstack.Stack() as stack:
        before = census()
        with pytest.raises(error):
            await stack.add_interface(asyncstack.TapDevice("as0", peer=PEERS), addresses, gateway)
        await asyncio.sleep(0)
        assert census() == before
        assert [interface.name for interface in stack.interfaces] == ["lo"]
        assert "as0" not in await run("ip", "link")
        await stack.add_interface(asyncstack.TapDevice("as0", peer=PEERS), ADDRESSES)


async def test_stack_closed_while_a_device_opens():
    await asyncio.to_thread(int)
    before = census()
    stack = asyncstack.Stack()
    adding = asyncio.ensure_future(stack.add_interface(asyncstack.TunDevice("as0", peer=PEERS), ADDRESSES))
    await asyncio.sleep(0)
    await stack.close()
    with pytest.raises(RuntimeError, match="is closed"):
        await adding
    del adding
    assert census() == before


async def test_cancelled_while_a_device_opens():
    async with asyncstack.Stack() as stack:
        before = census()
        adding = asyncio.ensure_future(
            stack.add_interface(asyncstack.TunDevice("as0", peer=PEERS), ADDRESSES)
        )
        await asyncio.sleep(0)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        assert census() == before
        assert len(stack.interfaces) == 1


async def test_two_stacks_with_the_kernel_as_the_router_between():
    """Super-segments of one become the other's, through the kernel's forwarding."""
    with open("/proc/sys/net/ipv4/ip_forward", "w") as switch:
        switch.write("1")
    size = 20 * MB
    async with asyncstack.Stack(name="left") as left, asyncstack.Stack(name="right") as right:
        await left.add_interface(asyncstack.TunDevice("as0", peer="10.9.0.1/24"), ["10.9.0.2/24"], "10.9.0.1")
        await right.add_interface(
            asyncstack.TapDevice("as1", peer="10.8.0.1/24"), ["10.8.0.2/24"], "10.8.0.1"
        )
        made = []

        def factory():
            made.append(Exchange(size, seed=1))
            return made[-1]

        await right.create_server(factory, "10.8.0.2", 7000)
        assert (await left.ping("10.8.0.2", timeout=5)).ttl == 63
        _, protocol = await left.create_connection(lambda: Exchange(size, seed=2), "10.8.0.2", 7000)
        assert await protocol.result == {"size": size, "digest": digest(size, 1)}
        assert await made[0].result == {"size": size, "digest": digest(size, 2)}


async def test_one_address_on_two_stacks_is_two_hosts():
    """No state is shared: the same address and port, served twice in one process, on two links."""
    async with asyncstack.Stack() as one, asyncstack.Stack() as two:
        for number, stack in enumerate((one, two)):
            device = asyncstack.TunDevice(f"as{number}", peer=f"10.{number}.0.1/24")
            await stack.add_interface(device, [f"10.{number}.0.2/24", "10.7.7.7/32"])

            async def serve(reader, writer, number=number):
                writer.write(b"%d" % number)
                writer.close()

            await stack.start_server(serve, "10.7.7.7", 7000)
        for number in (0, 1, 0):
            await run("ip", "route", "replace", "10.7.7.7", "via", f"10.{number}.0.2", "dev", f"as{number}")
            async with peer("client", host="10.7.7.7", port=7000) as program:
                assert (await program.ended())["digest"] == hashlib.sha256(b"%d" % number).hexdigest()


# made by somebody else


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize(
    ("kind", "device"), [(IFF_TUN, asyncstack.TunDevice), (IFF_TAP, asyncstack.TapDevice)]
)
async def test_open_fd_handed_in(kind, device, offload):
    fd = attach("as0", kind, offload).fd
    async with asyncstack.Stack() as stack:
        interface = await stack.add_interface(device(fd=fd, peer=PEERS), ADDRESSES)
        assert interface.name == "as0"
        assert interface.device.checksum_offload is offload
        await stack.start_server(echo, None, 7000)
        await fetch_echo(OURS, 3 * MB)
        await fetch_echo(OURS6)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize("kind", ["tun", "tap"])
async def test_persistent_device_without_net_admin(kind):
    """A process that lost the capability uses the device that was made, set up and given to its user."""
    make_persistent("as0", IFF_TUN if kind == "tun" else IFF_TAP, IFF_NO_PI | IFF_VNET_HDR)
    await run("ip", "address", "add", f"{PEER}/24", "dev", "as0")
    await run("ip", "link", "set", "as0", "up")
    script = os.path.join(os.path.dirname(__file__), "unprivileged.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, kind, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        started = json.loads(await process.stdout.readline())
        assert started == {"net_admin": False, "new_device": "EPERM", "mtu": 1500, "up": True}
        await fetch_echo(OURS, 3 * MB)
        process.stdin.close()
        assert await process.wait() == 0
    links = json.loads(await run("ip", "-j", "address", "show", "as0"))
    assert "UP" in links[0]["flags"], "what somebody else had set up is as before"
    assert PEER in {address["local"] for address in links[0]["addr_info"]}
