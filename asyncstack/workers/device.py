"""One queue of a TUN or TAP, as the device of a worker's stack: what is not for this worker is passed on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from asyncstack.link.device import BATCH_FRAMES
from asyncstack.link.frame import Frame
from asyncstack.link.tap import TapDevice
from asyncstack.link.tun import TunDevice
from asyncstack.link.tuntap import TunTapDevice
from asyncstack.workers.handover import Handover
from asyncstack.workers.steering import EVERYBODY, Steering

HELD_SYNS: Final = 1024  # most SYNs that wait until the worker listens


class QueueDevice(TunTapDevice):
    """What the queues of both kinds have in common. Until `release` SYNs wait, since nobody listens yet.

    counters, of its stack: `workers.passed_on` (frames), `workers.no_room` (lost, another worker was too slow),
    `workers.held` and `workers.syns_dropped`.
    """

    def __init__(self, fd: int, steering: Steering, handover: Handover, count: int, **options: Any) -> None:
        super().__init__(fd=fd, **options)
        self.knows: Callable[[Frame], bool] = lambda frame: False
        self._steering = steering
        self._handover = handover
        self._others = [index for index in range(count) if index != steering.index]
        self._held: deque[Frame] | None = deque()

    def start(self, receiver: Coroutine[Any, Sequence[Frame], None]) -> None:
        """As any device; what others pass on comes in too."""
        super().start(receiver)
        self._loop.add_reader(self._handover.inbox, self._read_inbox)

    def stop(self) -> None:
        """As any device."""
        if self._handover.inbox.fileno() >= 0 and self._receiver is not None:
            self._loop.remove_reader(self._handover.inbox)
        super().stop()

    async def close(self) -> None:
        """As any device; and the sockets to the others."""
        await super().close()
        self._handover.close()

    # receive

    def deliver(self, batch: Sequence[Frame]) -> None:
        """Keep what is ours of `batch`, just read from the queue, and pass on the rest."""
        index, place = self._steering.index, self._steering.place
        mine = []
        for frame in batch:
            where = place(frame.data)
            if where == index:
                mine.append(frame)
                continue
            self.pass_on(frame, where)
            if where == EVERYBODY:
                mine.append(frame)
        if self._held is not None:
            mine = [frame for frame in mine if not self._hold(frame, self._held)]
        if mine:
            super().deliver(mine)

    def pass_on(self, frame: Frame, where: int, *, offer: bool = False) -> None:
        """Pass `frame` to worker `where`, or to all others."""
        for index in self._others if where == EVERYBODY else (where,):
            sent = self._handover.send(index, frame, offer=offer)
            self.counters["workers.passed_on" if sent else "workers.no_room"] += 1

    def _read_inbox(self) -> None:
        frames = []
        for _ in range(BATCH_FRAMES):
            received = self._handover.receive()
            if received is None:
                break
            frame, offer = received
            if not offer or self.knows(frame):
                frames.append(frame)
        if frames:
            super().deliver(frames)

    def _hold(self, frame: Frame, held: deque[Frame]) -> bool:
        if not self._steering.is_syn(frame.data):
            return False
        if len(held) < HELD_SYNS:
            held.append(frame)
            self.counters["workers.held"] += 1
        else:
            self.counters["workers.syns_dropped"] += 1
        return True

    def release(self) -> None:
        """Somebody listens now."""
        held, self._held = self._held, None
        if held:
            asyncio.get_running_loop().call_soon(super().deliver, list(held))


class TunQueue(QueueDevice, TunDevice):
    """A queue of a TUN."""


class TapQueue(QueueDevice, TapDevice):
    """A queue of a TAP; every worker has the same Ethernet address."""
