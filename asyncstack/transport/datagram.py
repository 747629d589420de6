"""`asyncio.DatagramTransport` over UDP.

What can not leave at once waits in a `DatagramQueue`, and `pause_writing` says so.

What a callback raises goes to the loop's exception handler, and the endpoint lives on: one bad datagram does not
stop a server. Errors of sending are told to `error_received`, at once, as asyncio does.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from asyncio.transports import _FlowControlMixin
from typing import Any, Final

from asyncstack.network.addresses import parse_address
from asyncstack.transport.claims import Claim
from asyncstack.transport.datagram_queue import DatagramQueue
from asyncstack.transport.endpoint_socket import EndpointSocket, SocketAddress, socket_address
from asyncstack.transport.options import UDP_OPTIONS, Settings
from asyncstack.transport.ports import check_port
from asyncstack.transport.udp import Binding, UdpLayer
from asyncstack.wire.packet import Packet

HIGH_WATER: Final = 64 << 10


class DatagramTransport(_FlowControlMixin, asyncio.DatagramTransport):
    """A UDP endpoint as asyncio knows it. Made by `Stack.create_datagram_endpoint`. The mix-in, private to asyncio, has
    the water marks."""

    def __init__(
        self,
        layer: UdpLayer,
        binding: Binding,
        protocol: asyncio.DatagramProtocol,
        *,
        broadcast: bool = False,
        waiter: asyncio.Future[None] | None = None,
    ) -> None:
        self.binding = binding
        self._layer = layer
        self._loop = layer.loop
        self._protocol: Any = protocol
        self._settings = Settings(broadcast=broadcast)
        self._context = contextvars.copy_context()
        self._high_water, self._low_water = HIGH_WATER, HIGH_WATER // 4
        self._made = self._protocol_paused = self._closing = self._lost = False
        local, port, remote, _ = binding
        self._queue = DatagramQueue(layer, port, self._failed, self._shorter)
        if remote:
            self._queue.path(remote, local, broadcast)  # PermissionError if it is a broadcast
        self._claim = Claim([local], port)
        layer.claims.add(self._claim)
        layer.add(binding, self)
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

    def receive(self, data: bytes, packet: Packet, port: int) -> None:
        """A datagram for this endpoint."""
        if not self._made:
            self._loop.call_soon(self.receive, data, packet, port)  # after connection_made()
        elif not self._closing:
            self._context.run(self._call, "datagram_received", data, socket_address(packet.src, port))

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
            self._send(remote, port, bytes(data))
        except OSError as exc:
            self._call("error_received", exc)

    def _send(self, remote: bytes, port: int, data: bytes) -> None:
        path = self._queue.path(remote, self.binding[0], self._settings.broadcast)
        settings = self._settings
        hops = settings.ttl if len(remote) == 4 else settings.hops
        self._queue.send(path, port, data, hops, settings.tos if len(remote) == 4 else settings.traffic_class)
        if self._queue.size > self._high_water:
            self._maybe_pause_protocol()  # type: ignore[attr-defined]

    def _failed(self, error: OSError) -> None:
        self._context.run(self._call, "error_received", error)

    def _shorter(self) -> None:
        """Fewer datagrams wait."""
        if self._protocol_paused:
            self._context.run(self._maybe_resume_protocol)  # type: ignore[attr-defined]
        if self._closing and not self._queue:
            self._lose(None)

    def interface_down(self, interface: object, error: OSError) -> None:
        """`interface` is gone: what waits for it is lost, and a connected endpoint hears of it."""
        if self._queue.interface_down(interface):
            self.receive_error(error)
        self._shorter()

    # the contract

    def get_write_buffer_size(self) -> int:
        """Bytes of datagrams that wait for the interface."""
        return self._queue.size

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
            if not self._queue:
                self._lose(None)

    def abort(self) -> None:
        """Close at once; what waits is dropped."""
        self._queue.clear()
        self._lose(None)

    def _lose(self, exc: BaseException | None) -> None:
        self._closing = True
        if not self._lost:
            self._lost = True
            self._layer.remove(self.binding, self)
            self._layer.claims.release(self._claim)
            self._loop.call_soon(self._connection_lost, exc, context=self._context)

    def _connection_lost(self, exc: BaseException | None) -> None:
        self._queue.orphan()
        protocol, self._protocol = self._protocol, None
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
            return DatagramEndpointSocket(socket.SOCK_DGRAM, socket.IPPROTO_UDP, own, peer, self._settings)
        return default


class DatagramEndpointSocket(EndpointSocket):
    """What `get_extra_info("socket")` of a datagram endpoint gives."""

    table = UDP_OPTIONS
