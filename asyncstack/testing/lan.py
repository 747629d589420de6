"""A simulated Ethernet segment: a switch, and a cable from it to each host.

    lan = net.lan("office", server, delay=0.0005, rate=1e9)
    await pc.add_interface(lan.port("pc"), ["dhcp4", "slaac"])

The switch learns where a MAC is from the frames that come from there, as IEEE 802.1D has it, and sends what is for a
group, or for a MAC that it does not know, to all ports but the one it came from. Switching itself takes no time.
"""

from __future__ import annotations

import asyncio
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.testing.direction import Tap
from asyncstack.testing.impairment import Impairments
from asyncstack.testing.links import Link, LinkEnd
from asyncstack.timing import clock_of
from asyncstack.wire.ethernet import HEADER_SIZE

if TYPE_CHECKING:
    import os

    from asyncstack.link.capture import Capture

MAC_LIMIT: Final = 4096
AGEING_SECONDS: Final = 300.0  # IEEE 802.1D 7.9.2: then a MAC that was not heard of is forgotten

_unpack = Struct("!6s6s").unpack_from  # destination, source


class Lan:
    """A segment of a simulated network, made by `Network.lan`.

    `cables` are links, from a host's port to the switch, by the name of the port; impairments are a cable's, so a frame
    from host to host meets them twice. `set` changes those of all cables, also later ones; `cables["pc"].set(loss=0.1)`
    or `.forward.set(...)`, which is towards the switch, those of one. `cables["pc"].ends[0].set_link(False)` pulls a
    host's cable so that it notices.

    macs: where each MAC was heard, and when; at most `mac_limit`, of which the one longest silent goes first.
    """

    ethernet = True

    def __init__(
        self,
        name: str,
        *,
        loop: asyncio.AbstractEventLoop,
        seed: int,
        mtu: int = 1500,
        mac_limit: int = MAC_LIMIT,
    ) -> None:
        self.name = name
        self.cables: dict[str, Link] = {}
        self.macs: dict[bytes, tuple[LinkEnd, float]] = {}
        self.taps: list[Tap] = []
        self.clock = clock_of(loop)
        self.device = self  # what a capture asks whether frames are Ethernet's
        self._loop = loop
        self._seed = seed
        self._mtu = mtu
        self._mac_limit = mac_limit
        self._ports: list[LinkEnd] = []
        self._impairments: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Lan {self.name} of {len(self.cables)} ports>"

    def port(self, name: str = "") -> LinkEnd:
        """A port of the switch with a cable: the device for a host, once, to `attach` or to `add_interface`.

        name: of the cable; a number if not given. Raises ValueError for one that is taken.
        """
        name = name or str(len(self.cables) + 1)
        if name in self.cables:
            raise ValueError(f"{self.name} has a port {name!r} already: give each one a name of its own")
        cable = Link(
            f"{self.name}/{name}",
            loop=self._loop,
            seed=self._seed,
            device_names=(self.name, f"{self.name}/{name}"),
            mtu=self._mtu,
            ethernet=True,
        )
        cable.set(**self._impairments)
        outer, inner = cable.ends
        self.cables[name] = cable
        self._ports.append(inner)
        inner.attach(self._loop)
        inner.start(self._receive(inner))
        return outer

    def set(self, **changes: Any) -> None:
        """Change impairments of all cables from now on, in both directions. Raises ValueError."""
        Impairments(**(self._impairments | changes))  # complain also where there is no cable yet
        self._impairments |= changes
        for cable in self.cables.values():
            cable.set(**changes)

    def capture(self, path: str | os.PathLike[str]) -> Capture:
        """A capture, for `async with`, of what the switch receives: each frame once, as it comes out of a cable."""
        from asyncstack.link.capture import Capture

        capture = Capture(path)
        capture.attach(self)
        return capture

    async def close(self) -> None:
        """End all cables."""
        for cable in self.cables.values():
            await cable.close()
        self.macs.clear()

    # the switch

    async def _receive(self, port: LinkEnd) -> None:
        while True:
            for frame in await port.receive():
                for tap in self.taps:
                    tap(self, frame)
                if len(frame.data) >= HEADER_SIZE:
                    self._forward(frame, port)

    def _forward(self, frame: Frame, port: LinkEnd) -> None:
        destination, source = _unpack(frame.data)
        now = self.clock()
        if not source[0] & 1:
            self._learn(source, port, now)
        copy = OutgoingFrame(
            (bytes(frame.data),), frame.checksum_start, frame.checksum_offset, frame.gso_size
        )
        known = None if destination[0] & 1 else self.macs.get(destination)
        if known is None or now - known[1] > AGEING_SECONDS:
            for other in self._ports:
                if other is not port:
                    other.send(copy)
        elif known[0] is not port:
            known[0].send(copy)

    def _learn(self, mac: bytes, port: LinkEnd, now: float) -> None:
        if self.macs.pop(mac, None) is None and len(self.macs) >= self._mac_limit:
            del self.macs[next(iter(self.macs))]
        self.macs[mac] = port, now
