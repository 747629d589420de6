"""`asyncio.DatagramTransport` over UDP.

What can not leave at once waits in the endpoint's queue, and `pause_writing` says so.

What a callback raises goes to the loop's exception handler, and the endpoint lives on: one bad datagram does not
stop a server. Errors of sending are told to `error_received`, at once, as asyncio does.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Iterable
from typing import Any, Final

from asyncstack.network.addresses import format_address, parse_address
from asyncstack.transport.endpoint_socket import SocketAddress
from asyncstack.transport.flow_control import FlowControl
from asyncstack.transport.sockets.addresses import join
from asyncstack.transport.udp.ancillary import Received, told
from asyncstack.transport.udp.endpoint import UdpEndpoint
from asyncstack.transport.udp.options import DatagramEndpointSocket
from asyncstack.wire.packet import Packet

HIGH_WATER: Final = 64 << 10


class DatagramTransport(FlowControl, asyncio.DatagramTransport):
    """A UDP endpoint as asyncio knows it. Made by `Stack.create_datagram_endpoint`.

    address: where everything is sent, whether the endpoint is connected to it or not. backlog: datagrams that came
    before.

    A protocol that has `message_received(data, ancillary, address)` gets that called instead of `datagram_received`;
    ancillary is as `socket.recvmsg` gives it, and what the options of the socket ask for (IP_RECVTTL, IP_RECVTOS,
    IP_PKTINFO, IP_RECVORIGDSTADDR, and those of IPv6).
    """

    def __init__(
        self,
        endpoint: UdpEndpoint,
        protocol: asyncio.DatagramProtocol,
        *,
        address: SocketAddress | None = None,
        backlog: Iterable[Received] = (),
        waiter: asyncio.Future[None] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._queue = endpoint.queue
        self._address = address
        self._mapped = endpoint.family != socket.AF_INET
        self._loop = endpoint.layer.loop
        self.set_protocol(protocol)
        self._context = contextvars.copy_context()
        self._high_water, self._low_water = HIGH_WATER, HIGH_WATER // 4
        self._made = self._protocol_paused = self._closing = self._lost = False
        self._socket: DatagramEndpointSocket | None = None
        endpoint.hand_to(self)
        self._loop.call_soon(self._connection_made, backlog, waiter, context=self._context)

    def __repr__(self) -> str:
        return (
            f"<DatagramTransport {self.get_extra_info('sockname')} {'closing' if self._closing else 'open'}>"
        )

    def _connection_made(self, backlog: Iterable[Received], waiter: asyncio.Future[None] | None) -> None:
        self._made = True
        self._call("connection_made", self)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        for got in backlog:
            self._tell(got)

    def _call(self, method: str, *args: Any) -> None:
        try:
            getattr(self._protocol, method)(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            message = f"{method}() of the datagram protocol raised"
            context = {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
            self._loop.call_exception_handler(context)

    # what the endpoint tells (`DatagramOwner`)

    def receive(self, data: bytes, packet: Packet, port: int) -> None:
        """A datagram for this endpoint."""
        if not self._made:
            got = Received.of(data, packet, port)
            self._loop.call_soon(self._tell, got, context=self._context)  # after connection_made()
        elif not self._closing:
            if self._tells_all:
                self._context.run(self._tell, Received.of(data, packet, port))
            elif self._mapped:
                address = join(packet.src, port, socket.AF_INET6, packet.interface.index)
                self._context.run(self._call, "datagram_received", data, address)
            else:
                address = (format_address(packet.src), port)
                self._context.run(self._call, "datagram_received", data, address)

    def _tell(self, got: Received) -> None:
        if self._closing:
            return
        endpoint = self._endpoint
        address = join(got.source, got.port, endpoint.family, got.interface)
        if self._tells_all:
            self._call("message_received", got.data, told(got, endpoint.settings, endpoint.layer), address)
        else:
            self._call("datagram_received", got.data, address)

    def failed(self, error: OSError) -> None:
        """An ICMP error about a datagram of ours, or one that waited could not be sent."""
        if not self._closing:
            self._context.run(self._call, "error_received", error)

    def writable(self) -> None:
        """Fewer datagrams wait."""
        if self._socket is not None:
            self._socket.refresh()
        if self._protocol_paused:
            self._context.run(self._maybe_resume_protocol)  # type: ignore[attr-defined]
        if self._closing and not self._queue:
            self._lose(None)

    def end(self) -> None:
        """The stack ends."""
        self.abort()

    # send

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send `data` to `addr`, (host, port[, flowinfo, scope_id]) with a literal address, or to the peer.

        Raises ValueError for an address other than the peer's on a connected endpoint, and for none on another.
        `error_received` is told of PermissionError (a broadcast without `allow_broadcast`), OSError EMSGSIZE,
        ENETUNREACH, EINVAL (port 0).
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        self._send(bytes(data), addr, ())

    def sendmsg(
        self,
        buffers: Iterable[bytes | bytearray | memoryview],
        ancdata: Iterable[tuple[int, int, bytes]] = (),
        flags: int = 0,
        address: Any = None,
    ) -> None:
        """`sendto` of the joined `buffers`, as `ancdata` says: see `DatagramSocket.sendmsg`. `flags` are those that
        make no difference here."""
        self._send(b"".join(buffers), address, list(ancdata))

    def _send(self, data: bytes, addr: Any, ancillary: Any) -> None:
        if self._closing:
            return
        endpoint = self._endpoint
        if self._address is not None:
            if addr is not None and addr != self._address:
                self._check_same(addr)
            addr = self._address
        if endpoint.peer is not None:
            addr = None  # as asyncio has it for a socket that was connected before
        elif addr is None:
            raise ValueError("sendto() on an unconnected endpoint needs an address")
        try:
            if ancillary:
                endpoint.send_marked(data, addr, ancillary)
            else:
                endpoint.send(data, addr)
        except OSError as exc:
            self._call("error_received", exc)
            return
        if self._queue.size > self._high_water:
            self._maybe_pause_protocol()
            if self._socket is not None:
                self._socket.refresh()

    def _check_same(self, addr: Any) -> None:
        """Raise ValueError if `addr` is another address than the one that everything is sent to."""
        known = self._address
        assert known is not None
        try:
            same = (parse_address(addr[0]), addr[1]) == (parse_address(known[0]), known[1])
        except ValueError:
            same = False  # a name: nobody is asked what it stands for
        if not same:
            raise ValueError(f"Invalid address: must be None or {known}")

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
        self._protocol: Any = protocol
        self._tells_all = hasattr(protocol, "message_received")

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
            if self._socket is not None:
                self._socket.end()
            self._endpoint.close()
            self._loop.call_soon(self._connection_lost, exc, context=self._context)

    def _connection_lost(self, exc: BaseException | None) -> None:
        protocol, self._protocol = self._protocol, None
        protocol.connection_lost(exc)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """ "sockname", "peername" (None when not connected) and "socket"."""
        endpoint = self._endpoint
        if name == "sockname":
            return endpoint.sockname
        if name == "peername":
            return default if endpoint.peername is None else endpoint.peername
        if name == "socket":
            if self._socket is None:
                self._socket = DatagramEndpointSocket(endpoint)
            return self._socket
        return default
