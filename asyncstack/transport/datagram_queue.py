"""Datagrams on their way out: sent at once while the interface has room, else in order as it gets room.

What waits is bounded by `StackConfig.udp_queue` bytes. Beyond that, datagrams are dropped and counted, as the kernel
does: UDP promises nothing.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from asyncstack.errors import os_error
from asyncstack.network.routing import Path

if TYPE_CHECKING:
    from asyncstack.transport.udp import UdpLayer

PATHS_KEPT: Final = 64  # destinations whose path an unconnected endpoint remembers


class Outgoing(NamedTuple):
    """A datagram that waits; ttl 0: the stack's."""

    path: Path
    port: int
    data: bytes
    ttl: int
    tos: int


class DatagramQueue:
    """What one endpoint sends (`Sender` of the interfaces). `on_error(OSError)`: a datagram that waited could not be
    sent; `on_shorter()`: fewer wait."""

    __slots__ = ("_layer", "_on_error", "_on_shorter", "_paths", "_waiting", "queued", "size", "source_port")

    def __init__(
        self,
        layer: UdpLayer,
        source_port: int,
        on_error: Callable[[OSError], None],
        on_shorter: Callable[[], None],
    ) -> None:
        self.queued = False
        self.source_port = source_port
        self.size = 0  # bytes that wait
        self._layer = layer
        self._on_error = on_error
        self._on_shorter = on_shorter
        self._paths: dict[bytes, Path] = {}
        self._waiting: deque[Outgoing] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether at least half of what may wait is free."""
        return 2 * self.size <= self._layer.config.udp_queue

    def path(self, remote: bytes, local: bytes, broadcast: bool) -> Path:
        """The way to `remote`. Raises PermissionError for a broadcast without leave, OSError ENETUNREACH."""
        path = self._paths.get(remote)
        if path is None or path.generation != self._layer.routes.generation:
            path = self._layer.routes.lookup(remote, local if any(local) else b"")
            if len(self._paths) >= PATHS_KEPT:
                del self._paths[next(iter(self._paths))]
            self._paths[remote] = path
        if path.broadcast and not broadcast:
            raise os_error(errno.EACCES, "a broadcast needs allow_broadcast=True, or SO_BROADCAST")
        return path

    def forget_paths(self) -> None:
        """The local address may be another one from now on."""
        self._paths.clear()

    def send(self, path: Path, port: int, data: bytes, ttl: int = 0, tos: int = 0) -> bool:
        """Send a datagram, or let it wait. False: it was dropped. Raises OSError EMSGSIZE, EINVAL (port 0)."""
        if not port:
            raise os_error(errno.EINVAL, "a datagram to port 0")
        layer, interface = self._layer, path.interface
        if not self._waiting and interface.device.writable:
            layer.send(path, self.source_port, port, data, ttl, tos)
            return True
        if self.size + len(data) > layer.config.udp_queue:
            layer.counters["udp.send_queue_full"] += 1
            return False
        self._waiting.append(Outgoing(path, port, data, ttl, tos))
        self.size += len(data)
        interface.mark_ready(self)
        return True

    def transmit(self, now: float, quantum: int) -> bool:
        """Send what waits, while there is room (`Sender`)."""
        while self._waiting and quantum > 0:
            path, port, data, ttl, tos = self._waiting[0]
            if not path.interface.device.writable:
                path.interface.mark_ready(self)
                break
            self._waiting.popleft()
            self.size -= len(data)
            quantum -= len(data)
            try:
                self._layer.send(path, self.source_port, port, data, ttl, tos)
            except OSError as exc:
                self._on_error(exc)
        self._on_shorter()
        return bool(self._waiting) and not self.queued

    def unreachable(self, error: OSError) -> None:
        """Never parked: datagrams wait in the neighbour's own queue."""

    def blocked(self, now: float) -> None:
        """Datagrams wait as long as it takes, or are dropped at their bound."""

    def interface_down(self, interface: object) -> bool:
        """`interface` is gone, and what waits for it is lost. Returns whether anything was ever sent there."""
        dropped = [datagram for datagram in self._waiting if datagram.path.interface is interface]
        for datagram in dropped:
            self._waiting.remove(datagram)
            self.size -= len(datagram.data)
        self._layer.counters["udp.interface_down"] += len(dropped)
        if self._waiting:
            self._waiting[0].path.interface.mark_ready(self)
        return any(path.interface is interface for path in self._paths.values())

    def orphan(self) -> None:
        """Send what waits, but tell nobody: the endpoint has gone, and no cycle holds it."""
        self._on_error = lambda error: None
        self._on_shorter = lambda: None

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        self.size = 0
