"""Floods: the loop lives, honest clients are served, and tables stay bounded."""

import asyncio
import time

import pytest

import asyncstack
from tests.interop.applications import Exchange, echo
from tests.interop.kernel import peer, run
from tests.interop.medium import OURS, PLAIN_TAP, TAP, TUN, host
from tests.interop.peers import digest

pytestmark = pytest.mark.tun

MB = 1000 * 1000


class Ticks:
    """A loop of `asyncio.sleep(0.01)`, as an application might have it.

    Seconds between two of them: at most `worst` of them, on a machine that may be busy with other things; of this
    process's own processor time `worst_busy`, and `busy` in all.
    """

    def __init__(self) -> None:
        self.count = 0
        self.worst = self.worst_busy = self.busy = 0.0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            start, began = clock(), time.thread_time()
            await asyncio.sleep(0.01)
            busy = time.thread_time() - began
            self.worst, self.worst_busy = max(self.worst, clock() - start), max(self.worst_busy, busy)
            self.busy += busy
            self.count += 1

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.mark.parametrize(("medium", "bound"), [(TUN, False), (TAP, True), (PLAIN_TAP, True)])
async def test_udp_flood_on_one_interface(medium, bound):
    size = 20 * MB
    async with host(medium) as here:
        stack = here.stack
        other = await stack.add_interface(asyncstack.TunDevice("as1", peer="10.8.0.1/24"), ["10.8.0.2/24"])
        if bound:
            await stack.create_datagram_endpoint(asyncio.DatagramProtocol, (OURS, 9))
        made = []

        def factory():
            made.append(Exchange(size, seed=1))
            return made[-1]

        await stack.create_server(factory, "10.8.0.2", 7000)
        async with peer("udp_flood", host=OURS, port=9, seconds=1.5) as flood:
            assert (await flood.said())["started"]
            ticks = Ticks()
            async with peer("client", host="10.8.0.2", port=7000, size=size, seed=2) as client:
                assert await client.ended() == {"size": size, "digest": digest(size, 1)}
                assert await made[0].result == {"size": size, "digest": digest(size, 2)}
            reply = await stack.ping("10.8.0.1", timeout=5)  # the flood may still be on
            assert reply.rtt < 1.0
            report = await flood.ended()
            await ticks.stop()
        assert report["sent"] > 20_000
        assert ticks.busy / ticks.count < 1 / 30
        assert ticks.worst_busy < 0.2
        assert ticks.worst < 2
        assert other.up


@pytest.mark.parametrize("medium", [TUN, PLAIN_TAP])
async def test_syn_flood(medium):
    """20,000 SYNs of nobody: the half-open are bounded, and who answers gets in, meanwhile and afterwards."""
    async with host(medium) as here:
        stack = here.stack
        # no SYN is lost before it comes to us, and of a client no ACK: the cookie's comes only once
        await run("ip", "link", "set", "as0", "txqueuelen", "30000")
        await stack.start_server(echo, OURS, 7000)
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, len(stack.tcp.connections))
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        sources = "10.77"
        async with peer("syn_flood", network=sources, host=OURS, port=7000, count=20_000, seed=1) as flood:
            assert (await flood.said())["started"]
            for size in (1000, 100_000):
                async with peer("client", host=OURS, port=7000, size=size, seed=size) as client:
                    assert await client.ended() == {"size": size, "digest": digest(size, size)}
            assert await flood.ended() == {"sent": 20_000}
        async with peer("client", host=OURS, port=7000, size=1000, seed=3) as client:
            assert await client.ended() == {"size": 1000, "digest": digest(1000, 3)}
        watching.cancel()
        await asyncio.wait([watching])
        backlog = stack.config.tcp.syn_backlog
        assert backlog <= most <= backlog + 10
        assert stack.counters["tcp.syn_backlog_full"] >= 20_000 - backlog
