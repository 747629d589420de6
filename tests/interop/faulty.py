"""Devices that lose, repeat and reorder packets on the way to and from the kernel.

The kernel's own `netem` is a module that many kernels lack; this needs none. Every packet is delayed, some longer,
so that later ones overtake them.
"""

import asyncio
import heapq
import random
from collections.abc import Callable, Sequence

from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.link.tap import TapDevice
from asyncstack.link.tun import TunDevice


class Impairment:
    """One direction. `pass_on(packets)` gets the packets whose time has come, in the order of their times."""

    def __init__(self, pass_on: Callable[[list], None], seed: int, loss: float, delay: float) -> None:
        self._pass_on = pass_on
        self._rng = random.Random(seed)
        self._loss, self._delay = loss, delay
        self._held: list[tuple[float, int, object]] = []
        self._serial = 0
        self._timer: asyncio.TimerHandle | None = None
        self.lost = self.repeated = self.reordered = 0

    def take(self, packet: object) -> None:
        chance = self._rng.random()
        if chance < self._loss:
            self.lost += 1
            return
        delay = self._delay
        if chance < self._loss + 0.05:
            self.repeated += 1
            self._hold(packet, delay)
        elif chance < self._loss + 0.1:
            self.reordered += 1
            delay *= 1 + self._rng.random()
        self._hold(packet, delay)

    def _hold(self, packet: object, delay: float) -> None:
        loop = asyncio.get_running_loop()
        self._serial += 1
        heapq.heappush(self._held, (loop.time() + delay, self._serial, packet))
        if self._timer is None:
            self._timer = loop.call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        ready = []
        while self._held and self._held[0][0] <= now:
            ready.append(heapq.heappop(self._held)[2])
        if self._held:
            self._timer = loop.call_at(self._held[0][0], self._due)
        if ready:
            self._pass_on(ready)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class Faulty:
    """Mixed in before a TUN or TAP device."""

    def __init__(self, *args, seed: int = 1, loss: float = 0.02, delay: float = 0.001, **options) -> None:
        super().__init__(*args, **options)
        self.inward = Impairment(self._deliver_now, seed, loss, delay)
        self.outward = Impairment(self._send_now, seed + 1, loss, delay)

    def deliver(self, batch: Sequence[Frame]) -> None:
        for frame in batch:
            self.inward.take(frame)

    def _deliver_now(self, frames: list[Frame]) -> None:
        super().deliver(frames)

    def send(self, frame: OutgoingFrame) -> bool:
        self.outward.take(frame)
        return True

    def _send_now(self, frames: list[OutgoingFrame]) -> None:
        for frame in frames:
            super().send(frame)

    def stop(self) -> None:
        self.inward.close()
        self.outward.close()
        super().stop()


class FaultyTun(Faulty, TunDevice):
    pass


class FaultyTap(Faulty, TapDevice):
    pass
