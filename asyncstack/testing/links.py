"""A simulated link: two devices, and in each direction between them what `Direction` does to the packets.

While a direction has no impairment its frames take the way of a memory link: super-segments and partial checksums pass
whole, and a full inbox stops the sender instead of losing packets. With one, super-segments are cut to the MTU as
they enter, and a packet without room is dropped, as on a router. Parameters may change at any time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from asyncstack.link.device import Device
from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.link.memory import MemoryDevice
from asyncstack.testing.direction import Direction, Tap
from asyncstack.testing.impairment import LossModel, Rule
from asyncstack.timing import Clock, clock_of

if TYPE_CHECKING:
    import os

    from asyncstack.link.capture import Capture

_T = TypeVar("_T")


class LinkEnd(MemoryDevice):
    """The device at one end of a `Link`. A capture sees the packets as they are on the wire: cut to the MTU."""

    outward: Direction
    clock: Clock
    taps: list[Tap]
    device: Device  # itself: what a capture asks an interface for

    def send(self, frame: OutgoingFrame) -> bool:
        """Pass `frame` on to the other end, or to what befalls it on the way."""
        outward = self.outward
        if outward.clear:
            outward.stats.sent += 1
            outward.stats.bytes += len(frame)
            for tap in self.taps:
                tap(self, frame)
            return super().send(frame)
        if not self._plugged:
            self.counters["device.unplugged"] += 1
            return False
        return outward.send(frame)

    def arrive(self, batch: list[Frame]) -> None:
        """Receive `batch` from the other end, behind what is still in the inbox."""
        if not self._plugged or self._context is None:
            self.counters["device.unplugged"] += len(batch)
        elif self._inbox:
            for frame in batch:
                self._put(frame)
        else:
            self._context.run(self.deliver, batch)

    def deliver(self, batch: Sequence[Frame]) -> None:
        """Hand `batch` to the receive coroutine."""
        for tap in self.taps:
            for frame in batch:
                tap(self, frame)
        super().deliver(batch)


class _Parameter(Generic[_T]):
    """An impairment of both directions as an attribute: reads the forward direction's, sets both."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, link: None, owner: type) -> _Parameter[_T]: ...
    @overload
    def __get__(self, link: Link, owner: type) -> _T: ...
    def __get__(self, link: Link | None, owner: type) -> _Parameter[_T] | _T:
        if link is None:
            return self
        value: _T = getattr(link.forward.impairments, self._name)
        return value

    def __set__(self, link: Link, value: _T) -> None:
        link.set(**{self._name: value})


class Link:
    """A link between two hosts, made by `Network.link`. Its parameters are those of `Impairments`.

    `link.loss = 0.2` and `link.set(loss=0.2, delay=0.05)` change both directions, `link.forward.set(loss=0.2)` only
    the one from the first host to the second. `ends` are the two devices.
    """

    delay = _Parameter[float]()
    jitter = _Parameter[float]()
    loss = _Parameter[float | LossModel]()
    rate = _Parameter[float | None]()
    queue = _Parameter[int | None]()
    mark = _Parameter[int | None]()
    duplicate = _Parameter[float]()
    reorder = _Parameter[float]()
    reorder_delay = _Parameter[float]()
    corrupt = _Parameter[float]()
    rule = _Parameter[Rule | None]()

    def __init__(
        self,
        name: str,
        *,
        loop: asyncio.AbstractEventLoop,
        seed: int,
        device_names: Sequence[str] = ("a", "b"),
        mtu: int = 1500,
        ethernet: bool = False,
    ) -> None:
        self.name = name
        rng = random.Random(f"{seed}/{name}/addresses")
        a, b = (LinkEnd(device, mtu=mtu, ethernet=ethernet, rng=rng) for device in device_names)
        a.peer, b.peer = b, a
        self.ends = a, b
        self.forward, self.backward = (
            Direction(
                loop,
                random.Random(f"{seed}/{name}/{direction}"),
                mtu=mtu,
                ethernet=ethernet,
                deliver=receiver.arrive,
            )
            for direction, receiver in (("forward", b), ("backward", a))
        )
        self.forward.reverse, self.backward.reverse = self.backward, self.forward
        a.outward, b.outward = self.forward, self.backward
        for end in self.ends:
            end.taps = end.outward.taps
            end.clock = clock_of(loop)
            end.device = end

    def __repr__(self) -> str:
        return f"<Link {self.name} {'down' if self.is_down else 'up'}>"

    def set(self, **changes: Any) -> None:
        """Change impairments of both directions from now on. Raises ValueError."""
        self.forward.set(**changes)
        self.backward.set(**changes)

    @property
    def is_down(self) -> bool:
        """Whether nothing passes, in either direction."""
        return self.forward.is_down and self.backward.is_down

    def down(self) -> None:
        """Cut the wire: what is on its way is lost, and so is what comes. The hosts are not told."""
        self.forward.set_down(True)
        self.backward.set_down(True)

    def up(self) -> None:
        """Mend the wire."""
        self.forward.set_down(False)
        self.backward.set_down(False)

    def capture(self, path: str | os.PathLike[str], *, end: int = 0) -> Capture:
        """A capture of what the host at `end` (0 or 1) sends and receives on this link, for `async with`."""
        from asyncstack.link.capture import Capture

        capture = Capture(path)
        capture.attach(self.ends[end])
        return capture

    async def close(self) -> None:
        """Forget the packets on their way, stop the timers and both devices."""
        self.forward.clear_pipe()
        self.backward.clear_pipe()
        for end in self.ends:
            await end.close()
