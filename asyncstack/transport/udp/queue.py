"""Datagrams on their way out: sent at once while the interface has room, else in order as it gets room.

What waits is bounded by `StackConfig.udp_queue` bytes, and in number. Beyond that, datagrams are dropped and counted,
as the kernel does: UDP promises nothing.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from asyncstack.errors import os_error
from asyncstack.network.routing import Path
from asyncstack.transport.ports import check_port

if TYPE_CHECKING:
    from asyncstack.transport.udp.layer import UdpLayer


WAITING_LIMIT: Final = 4096  # datagrams; some have no bytes to count
HEARD_HERE: Final = 1
STAYS_HERE: Final = 2


class Way(NamedTuple):
    """How datagrams get to one address: along `path`, marked like this; ttl 0: the stack's; tos: as IP's `send` takes
    it, with the flow label. many: HEARD_HERE if this host is one of those they are for, STAYS_HERE if it is the only
    one. source_port 0: the endpoint's."""

    path: Path
    ttl: int
    tos: int
    many: int = 0
    source_port: int = 0


class Outgoing(NamedTuple):
    """A datagram that waits."""

    way: Way
    port: int
    data: bytes


class DatagramQueue:
    """What one endpoint sends (`Sender` of the interfaces). `on_error(OSError)`: a datagram that waited could not be
    sent; `on_shorter()`: fewer wait."""

    __slots__ = ("_layer", "_on_error", "_on_shorter", "_waiting", "queued", "size", "source_port")

    def __init__(
        self, layer: UdpLayer, on_error: Callable[[OSError], None], on_shorter: Callable[[], None]
    ) -> None:
        self.queued = False
        self.source_port = 0
        self.size = 0  # bytes that wait
        self._layer = layer
        self._on_error = on_error
        self._on_shorter = on_shorter
        self._waiting: deque[Outgoing] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether at least half of what may wait is free."""
        return 2 * self.size <= self._layer.config.udp_queue and 2 * len(self._waiting) <= WAITING_LIMIT

    def send(self, way: Way, port: int, data: bytes) -> bool:
        """Send a datagram, or let it wait. False: it was dropped. Raises OSError EMSGSIZE, EINVAL (port 0)."""
        if not 0 < port <= 0xFFFF:
            check_port(port)
            raise os_error(errno.EINVAL, "a datagram to port 0")
        path, ttl, tos, many, own = way
        layer, interface = self._layer, path.interface
        if not self._waiting and interface.device.writable:
            if many:
                layer.send_to_many(way, own or self.source_port, port, data)
            else:
                layer.send(path, own or self.source_port, port, data, ttl, tos)
            return True
        if self.size + len(data) > layer.config.udp_queue or len(self._waiting) >= WAITING_LIMIT:
            layer.counters["udp.send_queue_full"] += 1
            return False
        self._waiting.append(Outgoing(way, port, data))
        self.size += len(data)
        interface.mark_ready(self)
        return True

    def transmit(self, now: float, quantum: int) -> bool:
        """Send what waits, while there is room (`Sender`)."""
        while self._waiting and quantum > 0:
            way, port, data = self._waiting[0]
            path = way.path
            if not path.interface.device.writable:
                path.interface.mark_ready(self)
                break
            self._waiting.popleft()
            self.size -= len(data)
            quantum -= len(data)
            try:
                own = way.source_port or self.source_port
                if way.many:
                    self._layer.send_to_many(way, own, port, data)
                else:
                    self._layer.send(path, own, port, data, way.ttl, way.tos)
            except OSError as exc:
                self._on_error(exc)
        self._on_shorter()
        return bool(self._waiting) and not self.queued

    def unreachable(self, error: OSError) -> None:
        """Never parked: datagrams wait in the neighbour's own queue."""

    def blocked(self, now: float) -> None:
        """Datagrams wait as long as it takes, or are dropped at their bound."""

    def interface_down(self, interface: object) -> None:
        """`interface` is gone, and what waits for it is lost."""
        dropped = [datagram for datagram in self._waiting if datagram.way.path.interface is interface]
        for datagram in dropped:
            self._waiting.remove(datagram)
            self.size -= len(datagram.data)
        self._layer.counters["udp.interface_down"] += len(dropped)
        if self._waiting:
            self._waiting[0].way.path.interface.mark_ready(self)

    def orphan(self) -> None:
        """Send what waits, but tell nobody: the endpoint has gone, and no cycle holds it."""
        self._on_error = lambda error: None
        self._on_shorter = lambda: None

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        self.size = 0
