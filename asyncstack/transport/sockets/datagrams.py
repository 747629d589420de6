"""A UDP socket (udp(7)): datagrams in and out, whole, connected to one peer or to none.

What arrives waits in a queue of SO_RCVBUF bytes; what does not fit is dropped and counted. As on Linux only a
connected socket hears of ICMP errors, once, from the next call or SO_ERROR.
"""

from __future__ import annotations

import errno
import select
import socket
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from asyncstack.errors import os_error
from asyncstack.transport.endpoint_socket import SocketAddress
from asyncstack.transport.sockets.addresses import SocketNames, flow_label, join, looked_up, split
from asyncstack.transport.sockets.base import Ancillary, StackSocket
from asyncstack.transport.sockets.readiness import IN, OUT
from asyncstack.transport.udp.ancillary import Received, fitted, told
from asyncstack.transport.udp.endpoint import UdpEndpoint
from asyncstack.transport.udp.options import UDP_OPTIONS
from asyncstack.transport.udp.settings import DatagramSettings
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.transport.udp.layer import UdpLayer

OVERHEAD: Final = 256  # charged to the receive buffer for a datagram beside its bytes


class DatagramSocket(StackSocket):
    """A UDP socket of a stack."""

    table = UDP_OPTIONS

    def __init__(
        self, layer: UdpLayer, registry: dict[StackSocket, None], names: SocketNames, family: int
    ) -> None:
        super().__init__(layer.loop, registry, names, family, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
        settings = self.settings = DatagramSettings()
        self.endpoint = UdpEndpoint(layer, family, names, settings)
        self.endpoint.hand_to(self)
        self._received: deque[Received] = deque()
        self._received_size = 0
        self._shut = 0
        self._error = 0

    # what the endpoint tells (`DatagramOwner`)

    def receive(self, data: bytes, packet: Packet, port: int) -> None:
        """A datagram for this socket."""
        size = len(data) + OVERHEAD
        if self._received_size + size > self.settings.receive_buffer:
            self.endpoint.layer.counters["udp.receive_queue_full"] += 1
            return
        self._received_size += size
        self._received.append(Received.of(data, packet, port))
        self._changed()

    def failed(self, error: OSError) -> None:
        """An ICMP error about a datagram of ours, or one that waited could not be sent."""
        self._error = error.errno or 0
        self._changed()

    def writable(self) -> None:
        """Fewer datagrams wait."""
        self._changed()

    def end(self) -> None:
        """The stack ends."""
        self.close()

    # facts

    @property
    def layer(self) -> UdpLayer:
        """The UDP it is a socket of."""
        return self.endpoint.layer

    def take_error(self) -> int:
        """The errno that nobody has been told, once."""
        error, self._error = self._error, 0
        return error

    def _mask(self) -> int:
        mask = IN if self._received else 0
        if self._shut & 1:
            mask |= IN | select.POLLRDHUP
        if self._shut == 3:
            mask |= select.POLLHUP
        if self.endpoint.queue.has_room:
            mask |= OUT
        return mask | select.POLLERR if self._error else mask

    def path_mtu(self) -> int | None:
        """Bytes of the largest packet to the peer, None without one."""
        return self.endpoint.path_mtu()

    def setsockopt(self, level: int, option: int, value: int | bytes | str | None, optlen: int = 0) -> None:
        """Set the option; see `Options.setsockopt`."""
        super().setsockopt(level, option, value, optlen)
        self.endpoint.forget_ways()

    @property
    def unread(self) -> int:
        """Bytes of the next datagram (SIOCINQ)."""
        return len(self._received[0].data) if self._received else 0

    @property
    def unsent(self) -> int:
        """Bytes that wait for the interface (SIOCOUTQ)."""
        return self.endpoint.queue.size

    def getsockname(self) -> SocketAddress:
        """(host, port), or (host, port, flowinfo, scope_id) for IPv6; zeros before it is bound."""
        return self.endpoint.sockname

    def getpeername(self) -> SocketAddress:
        """The peer it is connected to. Raises OSError(ENOTCONN)."""
        if self.endpoint.peername is None:
            raise os_error(errno.ENOTCONN)
        return self.endpoint.peername

    # bind and connect

    def bind(self, address: Any) -> None:
        """Take a local (host, port); port 0 is any free one. Raises OSError EADDRINUSE, EADDRNOTAVAIL, EINVAL."""
        self._check_open()
        host, port = split(address, self.family, self._names)
        self.layer.context.scope(*address[::3])
        self.endpoint.bind(host, port)

    async def connect(self, address: Any) -> None:
        """Send to (host, port) by default, and receive from there only. None dissolves that, as AF_UNSPEC does in C.

        Raises OSError ENETUNREACH, EACCES (a broadcast without SO_BROADCAST).
        """
        self._check_open()
        if address is None:
            self.endpoint.disconnect()
        else:
            await self._named(self._connect, address)

    def _connect(self, address: Any) -> None:
        remote, port = split(address, self.family, self._names)
        self.endpoint.connect(remote, port, self.layer.context.scope(*address[::3]), flow_label(address))

    # send

    async def send(self, data: Any, flags: int = 0) -> int:
        """Send one datagram to the peer. Raises OSError EDESTADDRREQ, and the errno that ICMP brought, once."""
        return await self.sendto(data, flags)

    async def sendall(self, data: Any, flags: int = 0) -> None:
        """`send`."""
        await self.send(data, flags)

    async def sendto(self, data: Any, flags: Any, address: Any = None) -> int:
        """sendto(data, address) or sendto(data, flags, address): one datagram; waits while none can leave.

        Raises OSError EMSGSIZE, EDESTADDRREQ, EACCES, ENETUNREACH, EINVAL (port 0).
        """
        if isinstance(flags, tuple):
            flags, address = 0, flags
        self._check_flags(flags)
        return await self._send_when_possible(bytes(memoryview(data).cast("B")), (), flags, address)

    async def sendmsg(
        self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None
    ) -> int:
        """One datagram of the joined `buffers`, as `ancdata` says: IP_TTL, IP_TOS and IP_PKTINFO (interface and source
        address), or IPV6_HOPLIMIT, IPV6_TCLASS and IPV6_PKTINFO. Raises the errors of `sendto`."""
        self._check_flags(flags)
        return await self._send_when_possible(b"".join(buffers), list(ancdata), flags, address)

    async def _send_when_possible(self, data: bytes, ancillary: Any, flags: int, address: Any) -> int:
        try:
            return await self._until(lambda: self._send(data, address, ancillary), OUT, flags)
        except socket.gaierror:
            address = await looked_up(address, self.family, self._names)
        return await self._until(lambda: self._send(data, address, ancillary), OUT, flags)

    def _send(self, payload: bytes, address: Any, ancillary: Any) -> int | None:
        if self._error:
            raise os_error(self.take_error())
        if self._shut & 2:
            raise os_error(errno.EPIPE)
        endpoint = self.endpoint
        if endpoint.queue and not endpoint.queue.has_room:
            return None
        if ancillary:
            endpoint.send_marked(payload, address, ancillary)
        else:
            endpoint.send(payload, address)
        return len(payload)

    # receive

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[Ancillary], int, Any]:
        """(data, ancillary data, flags, sender) of the next datagram. What of it is beyond `bufsize` is lost, and the
        flags say MSG_TRUNC. MSG_PEEK leaves it; IP_RECVTTL, IP_RECVTOS and IP_PKTINFO ask for ancillary data."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        self._check_flags(flags)
        got = await self._until(lambda: self._receive(flags), IN, flags)
        if got is NOTHING:
            return b"", [], 0, None
        cut = socket.MSG_TRUNC if len(got.data) > bufsize else 0
        ancillary, lost = fitted(told(got, self.endpoint.settings, self.endpoint.layer), ancbufsize)
        return got.data[:bufsize], ancillary, cut | lost, self._sender(got)

    def _receive(self, flags: int) -> Received | None:
        if self._error:
            raise os_error(self.take_error())
        if not self._received:
            waits = self._timeout != 0.0 and not flags & socket.MSG_DONTWAIT
            return NOTHING if self._shut & 1 and waits else None
        if flags & socket.MSG_PEEK:
            return self._received[0]
        got = self._received.popleft()
        self._received_size -= len(got.data) + OVERHEAD
        self._changed()
        return got

    def _sender(self, got: Received) -> SocketAddress:
        return join(got.source, got.port, self.family, got.interface)

    # the end

    def shutdown(self, how: int) -> None:
        """Stop receiving, sending or both, on this side only. Raises OSError ENOTCONN, EINVAL."""
        self._check_open()
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise os_error(errno.EINVAL, f"shutdown({how})")
        if self.endpoint.peer is None:
            raise os_error(errno.ENOTCONN)
        self._shut |= how + 1
        self._changed()

    def hand_over(self) -> tuple[UdpEndpoint, list[Received]]:
        """Give the endpoint away, with the datagrams that wait. Whoever gets it closes it. What
        still works here are the names and the options. Raises OSError(EBADF)."""
        self._check_open()
        self._closed = True
        self._registry.pop(self, None)
        self._readiness.close(os_error(errno.EBADF, "the socket became a transport"))
        waiting = list(self._received)
        self._received.clear()
        self._received_size = 0
        return self.endpoint, waiting

    def _end(self) -> None:
        self.endpoint.close()


NOTHING: Final = Received(b"", b"", 0, b"", 0, 0, 0, 0)  # what a socket that is shut down receives
