"""`asyncio.DatagramTransport` over UDP.

A datagram goes out at once while the interface has room; else it waits, in order, in a queue of
`StackConfig.udp_queue` bytes, and `pause_writing` says so. Beyond that bound datagrams are dropped and counted,
as the kernel does: UDP promises nothing.

What a callback raises goes to the loop's exception handler, and the endpoint lives on: one bad datagram does not
stop a server. Errors of sending are told to `error_received`, at once, as asyncio does.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import socket
from collections import deque
from typing import Any, Final

from asyncstack.errors import os_error
from asyncstack.network.addresses import parse_address
from asyncstack.network.routing import Path
from asyncstack.transport.endpoint_socket import EndpointSocket, SocketAddress, socket_address
from asyncstack.transport.options import Settings
from asyncstack.transport.ports import check_port
from asyncstack.transport.udp import Binding, UdpLayer

PATHS_KEPT: Final = 64  # destinations whose path an unconnected endpoint remembers
HIGH_WATER: Final = 64 << 10


class DatagramTransport(asyncio.DatagramTransport):
    """A UDP endpoint as asyncio knows it. Made by `Stack.create_datagram_endpoint`."""

    def __init__(
        self,
        layer: UdpLayer,
        binding: Binding,
        protocol: asyncio.DatagramProtocol,
        *,
        broadcast: bool = False,
        waiter: asyncio.Future[None] | None = None,
    ) -> None:
        super().__init__()
        self.queued = False
        self.binding = binding
        self._layer = layer
        self._loop = layer.loop
        self._protocol: Any = protocol
        self._settings = Settings(broadcast=broadcast)
        self._context = contextvars.copy_context()
        self._paths: dict[bytes, Path] = {}
        self._waiting: deque[tuple[Path, int, bytes]] = deque()
        self._waiting_bytes = 0
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self._made = self._paused = self._closing = self._lost = False
        if binding[2]:
            self._path(binding[2])  # PermissionError if it is a broadcast
        layer.add(self)
        self._loop.call_soon(self._connection_made, waiter, context=self._context)

    def __repr__(self) -> str:
        return (
            f"<DatagramTransport {self.get_extra_info('sockname')} {'closing' if self._closing else 'open'}>"
        )

    def _connection_made(self, waiter: asyncio.Future[None] | None) -> None:
        self._made = True
        self._call("connection_made", self)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _call(self, method: str, *args: Any) -> None:
        try:
            getattr(self._protocol, method)(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            message = f"{method}() of the datagram protocol raised"
            context = {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
            self._loop.call_exception_handler(context)

    # receive

    def receive(self, data: bytes, source: bytes, port: int) -> None:
        """A datagram for this endpoint."""
        if not self._made:
            self._loop.call_soon(self.receive, data, source, port)  # after connection_made()
        elif not self._closing:
            self._context.run(self._call, "datagram_received", data, socket_address(source, port))

    def receive_error(self, error: OSError) -> None:
        """An ICMP error about a datagram of ours. As on Linux only a connected endpoint hears of it."""
        if self.binding[2] and not self._closing:
            self._context.run(self._call, "error_received", error)

    # send

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send `data` to `addr`, (host, port[, flowinfo, scope_id]) with a literal address, or to the peer.

        Raises ValueError for an address other than the peer's on a connected endpoint, and for none on another.
        `error_received` is told of PermissionError (a broadcast without `allow_broadcast`), OSError EMSGSIZE,
        ENETUNREACH, EINVAL (port 0).
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._closing:
            return
        _, _, remote, port = self.binding
        if remote:
            if addr is not None and (parse_address(addr[0]), addr[1]) != (remote, port):
                raise ValueError(f"Invalid address: must be None or {socket_address(remote, port)}")
        elif addr is None:
            raise ValueError("sendto() on an unconnected endpoint needs an address")
        else:
            remote, port = parse_address(addr[0]), check_port(addr[1])
        try:
            self._send(self._path(remote), port, bytes(data))
        except OSError as exc:
            self._call("error_received", exc)

    def _path(self, remote: bytes) -> Path:
        path = self._paths.get(remote)
        if path is None or path.generation != self._layer.routes.generation:
            local = self.binding[0]
            path = self._layer.routes.lookup(remote, local if any(local) else b"")
            if len(self._paths) >= PATHS_KEPT:
                del self._paths[next(iter(self._paths))]
            self._paths[remote] = path
        if path.broadcast and not self._settings.broadcast:
            raise os_error(errno.EACCES, "a broadcast needs allow_broadcast=True")
        return path

    def _send(self, path: Path, port: int, data: bytes) -> None:
        if not port:
            raise os_error(errno.EINVAL, "a datagram to port 0")
        interface = path.interface
        if not self._waiting and interface.device.writable:
            self._layer.send(path, self.binding[1], port, data)
            return
        if self._waiting_bytes + len(data) > self._layer.config.udp_queue:
            self._layer.counters["udp.send_queue_full"] += 1
            return
        self._waiting.append((path, port, data))
        self._waiting_bytes += len(data)
        interface.mark_ready(self)
        self._pause_if_full()

    def _pause_if_full(self) -> None:
        if not self._paused and self._waiting_bytes > self._high:
            self._paused = True
            self._call("pause_writing")

    def transmit(self, now: float, quantum: int) -> bool:
        """Send what waits, while there is room (`Sender`)."""
        while self._waiting and quantum > 0:
            path, port, data = self._waiting[0]
            if not path.interface.device.writable:
                path.interface.mark_ready(self)
                break
            self._waiting.popleft()
            self._waiting_bytes -= len(data)
            quantum -= len(data)
            try:
                self._layer.send(path, self.binding[1], port, data)
            except OSError as exc:
                self._context.run(self._call, "error_received", exc)
        self._shorter()
        return bool(self._waiting) and not self.queued

    def _shorter(self) -> None:
        """The queue has shrunk."""
        if self._paused and self._waiting_bytes <= self._low:
            self._paused = False
            self._context.run(self._call, "resume_writing")
        if self._closing and not self._waiting:
            self._lose(None)

    def unreachable(self, error: OSError) -> None:
        """Never parked: datagrams wait in the neighbour's own queue."""

    def blocked(self, now: float) -> None:
        """Datagrams wait as long as it takes, or are dropped at their bound."""

    def interface_down(self, interface: object, error: OSError) -> None:
        """`interface` is gone: what waits for it is lost, and a connected endpoint hears of it."""
        dropped = [datagram for datagram in self._waiting if datagram[0].interface is interface]
        for datagram in dropped:
            self._waiting.remove(datagram)
            self._waiting_bytes -= len(datagram[2])
        self._layer.counters["udp.interface_down"] += len(dropped)
        if any(path.interface is interface for path in self._paths.values()):
            self.receive_error(error)
        if self._waiting:
            self._waiting[0][0].interface.mark_ready(self)
        self._shorter()

    # the contract

    def get_write_buffer_size(self) -> int:
        """Bytes of datagrams that wait for the interface."""
        return self._waiting_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high), bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Call `pause_writing` above `high` bytes and `resume_writing` at `low`; defaults as in asyncio."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._pause_if_full()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that receives the datagrams."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Put `protocol` in the place of the present one."""
        self._protocol = protocol

    def is_closing(self) -> bool:
        """Whether the transport is closed or about to be."""
        return self._closing

    def close(self) -> None:
        """Send what waits, then close; `connection_lost(None)` follows."""
        if not self._closing:
            self._closing = True
            if not self._waiting:
                self._lose(None)

    def abort(self) -> None:
        """Close at once; what waits is dropped."""
        self._waiting.clear()
        self._waiting_bytes = 0
        self._lose(None)

    def _lose(self, exc: BaseException | None) -> None:
        self._closing = True
        if not self._lost:
            self._lost = True
            self._layer.remove(self)
            self._loop.call_soon(self._connection_lost, exc, context=self._context)

    def _connection_lost(self, exc: BaseException | None) -> None:
        protocol, self._protocol = self._protocol, None
        self._paths.clear()
        protocol.connection_lost(exc)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """ "sockname", "peername" (None when not connected) and "socket"."""
        local, port, remote, remote_port = self.binding
        own: SocketAddress = socket_address(local, port)
        peer = socket_address(remote, remote_port) if remote else None
        if name == "sockname":
            return own
        if name == "peername":
            return peer if peer is not None else default
        if name == "socket":
            return EndpointSocket(socket.SOCK_DGRAM, socket.IPPROTO_UDP, own, peer, self._settings)
        return default
