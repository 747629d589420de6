"""A device that dies under the stack, or whose cable is pulled for a while."""

import asyncio
import errno
import time
from pathlib import Path

import pytest

import asyncstack
from asyncstack.events import InterfaceDown
from tests.interop.applications import Exchange, echo
from tests.interop.kernel import peer, run, until
from tests.interop.medium import ADDRESSES, OURS, PEER, PEER6, TAP, TUN, TWO_OF_THEM, host
from tests.interop.peers import digest
from tests.stack.census import back_to, census

pytestmark = pytest.mark.tun

MB = 1000 * 1000
MEDIA = pytest.mark.parametrize("medium", [TUN, TAP], ids=["tun", "tap"])


class Events:
    """The events of a stack, as they come."""

    def __init__(self, stack: asyncstack.Stack) -> None:
        self._queue: asyncio.Queue = asyncio.Queue()
        stack.subscribe(self._queue.put_nowait)

    async def down(self) -> InterfaceDown:
        async with asyncio.timeout(5):
            while not isinstance(event := await self._queue.get(), InterfaceDown):
                pass
        return event


async def busy_seconds(seconds: float) -> float:
    """CPU time that this process takes while nothing is to be done for so long."""
    start = time.process_time()
    await asyncio.sleep(seconds)
    return time.process_time() - start


@MEDIA
@pytest.mark.parametrize("way, theirs", [("idle", PEER), ("up", PEER6), ("down", PEER)])
async def test_device_is_deleted(medium, way, theirs):
    size = 1 << 30
    async with host(medium) as here:
        stack, events = here.stack, Events(here.stack)
        await stack.start_server(echo, None, 7000)
        other_end = "idle_server" if way == "idle" else "server"
        async with peer(other_end, host=theirs, size=size if way == "down" else 0) as program:
            port = (await program.said())["port"]
            _, protocol = await stack.create_connection(
                lambda: Exchange(size if way == "up" else 0), theirs, port
            )
            if way != "idle":
                await until(
                    lambda: stack.connections()[0].bytes_acked + stack.connections()[0].bytes_received > MB
                )
            await run("ip", "link", "delete", "as0")
            event = await events.down()
            assert event.interface is here.interface
            assert event.error.errno == errno.ENETDOWN
            with pytest.raises(OSError) as caught:
                await protocol.result
            assert caught.value.errno == errno.ENETDOWN
        assert not stack.tcp.connections
        assert stack.interfaces == [stack.routes.loopback]
        assert await busy_seconds(0.2) < 0.1, "the reader spins"
        # the stack goes on, also with a device of that name and those addresses
        await stack.add_interface(medium.device(), ADDRESSES)
        async with peer("client", host=OURS, port=7000, size=MB, seed=1) as program:
            assert await program.ended() == {"size": MB, "digest": digest(MB, 1)}


@MEDIA
async def test_deleted_again_and_again_leaks_nothing(medium):
    await run("true")
    await asyncio.to_thread(int)
    async with asyncstack.Stack() as stack:
        events = Events(stack)
        before = census()
        for _ in range(4):
            await stack.add_interface(medium.device(), ADDRESSES, [PEER, PEER6])
            for address in (PEER, PEER6):
                await stack.ping(address, timeout=5)
            await run("ip", "link", "delete", "as0")
            await events.down()
            await back_to(before)
            stack.config.dad_transmits = 0  # once was enough to see what checking addresses leaves
        assert [interface.name for interface in stack.interfaces] == ["lo"]


async def test_the_other_interface_does_not_notice():
    size = 30 * MB
    async with host(TUN) as here, peer("server", host=PEER, size=size, seed=1) as program:
        events = Events(here.stack)
        await here.stack.add_interface(asyncstack.TapDevice("as1", peer="10.8.0.1/24"), ["10.8.0.2/24"])
        port = (await program.said())["port"]
        _, protocol = await here.stack.create_connection(lambda: Exchange(size, seed=2), PEER, port)
        await until(lambda: here.stack.connections()[0].bytes_received > MB)
        await run("ip", "link", "delete", "as1")
        assert (await events.down()).interface.name == "as1"
        assert await protocol.result == {"size": size, "digest": digest(size, 1)}
        assert await program.ended() == {"size": size, "digest": digest(size, 2)}


@pytest.mark.parametrize("medium, ours, _", TWO_OF_THEM, ids=["tun", "tap, IPv6"])
async def test_stack_is_left_while_the_device_dies(medium, ours, _):
    await run("true")
    await asyncio.to_thread(int)
    before = census()
    loop = asyncio.get_running_loop()
    async with host(medium) as here:
        await here.stack.start_server(echo, None, 7000)
        async with peer("holder", host=ours, port=7000) as holding:
            await holding.said()
            await until(here.stack.connections)
            await run("ip", "link", "delete", "as0")
            start = loop.time()
            await here.stack.close()
            assert loop.time() - start < 1
    await back_to(before)


@pytest.mark.parametrize("medium, _, theirs", TWO_OF_THEM, ids=["tun", "tap, IPv6"])
async def test_the_cable_is_pulled_and_put_back(medium, _, theirs):
    """Down is not gone: connections outlive it, if the kernel does not drop its end's addresses as it does in IPv6."""
    size = 3 * MB
    async with host(medium) as here, peer("server", host=theirs, size=size, seed=1) as program:
        Path("/proc/sys/net/ipv6/conf/as0/keep_addr_on_down").write_text("1")
        port = (await program.said())["port"]
        _, protocol = await here.stack.create_connection(lambda: Exchange(size, seed=2), theirs, port)
        await run("ip", "link", "set", "as0", "down")
        assert await busy_seconds(0.3) < 0.15
        await run("ip", "link", "set", "as0", "up")
        assert await protocol.result == {"size": size, "digest": digest(size, 1)}
        assert await program.ended() == {"size": size, "digest": digest(size, 2)}
        assert here.interface.up


async def test_a_subscriber_that_raises_harms_nobody():
    async with asyncstack.Stack() as stack:
        complaints: list[dict] = []
        stack.loop.set_exception_handler(lambda _, context: complaints.append(context))
        told = 0

        def hear(event) -> None:
            nonlocal told
            told += 1
            raise ZeroDivisionError

        stack.subscribe(hear)
        events = Events(stack)
        gone: list = []
        unsubscribe = stack.subscribe(gone.append)
        unsubscribe()
        await stack.add_interface(TUN.device(), ADDRESSES)
        await run("ip", "link", "delete", "as0")
        await events.down()
        assert told > 2
        assert [type(each["exception"]) for each in complaints] == [ZeroDivisionError] * told
        assert gone == []
