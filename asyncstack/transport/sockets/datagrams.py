"""A UDP socket (udp(7)): datagrams in and out, whole, connected to one peer or to none.

What arrives waits in a queue of SO_RCVBUF bytes; what does not fit is dropped and counted. As on Linux only a
connected socket hears of ICMP errors, once, from the next call or SO_ERROR.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from asyncstack.errors import os_error
from asyncstack.transport.claims import Claim
from asyncstack.transport.datagram_queue import DatagramQueue
from asyncstack.transport.endpoint_socket import SocketAddress
from asyncstack.transport.options import IP_PKTINFO, UDP_OPTIONS
from asyncstack.transport.sockets.addresses import SocketNames, destination, hosts_of, looked_up, split
from asyncstack.transport.sockets.base import Ancillary, StackSocket
from asyncstack.transport.sockets.readiness import IN, OUT
from asyncstack.transport.udp import Binding
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.transport.udp import UdpLayer

OVERHEAD: Final = 256  # charged to the receive buffer for a datagram beside its bytes


class Received(NamedTuple):
    """A datagram and what its packet said."""

    data: bytes
    source: bytes
    port: int
    local: bytes
    ttl: int
    tos: int
    interface: int


class DatagramSocket(StackSocket):
    """A UDP socket of a stack."""

    table = UDP_OPTIONS

    def __init__(
        self, layer: UdpLayer, registry: dict[StackSocket, None], names: SocketNames, family: int
    ) -> None:
        super().__init__(layer.loop, registry, names, family, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
        self._layer = layer
        self._claim: Claim | None = None
        self._bindings: list[Binding] = []
        self._peer: tuple[bytes, int] | None = None
        self._queue: DatagramQueue | None = None
        self._received: deque[Received] = deque()
        self._received_size = 0
        self._shut = 0
        self._error = 0

    # what the layer tells (`DatagramEndpoint`)

    def receive(self, data: bytes, packet: Packet, port: int) -> None:
        """A datagram for this socket."""
        size = len(data) + OVERHEAD
        if self._received_size + size > self.settings.receive_buffer:
            self._layer.counters["udp.receive_queue_full"] += 1
            return
        self._received_size += size
        interface = packet.interface.index if packet.interface is not None else 0
        self._received.append(Received(data, packet.src, port, packet.dst, packet.ttl, packet.tos, interface))
        self._changed()

    def receive_error(self, error: OSError) -> None:
        """An ICMP error about a datagram of ours."""
        if self._peer is not None:
            self._error = error.errno or 0
            self._changed()

    def interface_down(self, interface: object, error: OSError) -> None:
        """`interface` is gone."""
        if self._queue is not None and self._queue.interface_down(interface):
            self.receive_error(error)
        self._changed()

    def abort(self) -> None:
        """Close; what waits is dropped."""
        self.close()

    # facts

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
        if self._queue is None or self._queue.has_room:
            mask |= OUT
        return mask | select.POLLERR if self._error else mask

    def path_mtu(self) -> int | None:
        """Bytes of the largest packet to the peer, None without one."""
        return None if self._peer is None else int(self._way(self.getpeername())[2].mtu)

    @property
    def unread(self) -> int:
        """Bytes of the next datagram (SIOCINQ)."""
        return len(self._received[0].data) if self._received else 0

    @property
    def unsent(self) -> int:
        """Bytes that wait for the interface (SIOCOUTQ)."""
        return 0 if self._queue is None else self._queue.size

    def getsockname(self) -> SocketAddress:
        """(host, port), or (host, port, flowinfo, scope_id) for IPv6; zeros before it is bound."""
        if self._bindings:
            return self._name(*self._bindings[0][:2])
        return self._name(bytes(4 if self.family == socket.AF_INET else 16), 0)

    def getpeername(self) -> SocketAddress:
        """The peer it is connected to. Raises OSError(ENOTCONN)."""
        if self._peer is None:
            raise os_error(errno.ENOTCONN)
        return self._name(*self._peer)

    # bind and connect

    def bind(self, address: Any) -> None:
        """Take a local (host, port); port 0 is any free one. Raises OSError EADDRINUSE, EADDRNOTAVAIL, EINVAL."""
        self._check_open()
        if self._claim is not None:
            raise os_error(errno.EINVAL, "the socket is bound")
        self._bind(*split(address, self.family, self._names))

    def _bind(self, host: bytes, port: int) -> Claim:
        settings = self.settings
        claim = self._claim = self._layer.claim(
            hosts_of(host, self.family, settings.v6_only),
            port,
            reuse_address=settings.reuse_address,
            reuse_port=settings.reuse_port,
        )
        self._layer.claims.add(claim)
        self._queue = DatagramQueue(self._layer, claim.port, self._failed, self._changed)
        self._rebind([(one, claim.port, b"", 0) for one in claim.hosts])
        return claim

    def _bound(self) -> Claim:
        """The claim; made now if there is none yet."""
        if self._claim is not None:
            return self._claim
        return self._bind(bytes(4 if self.family == socket.AF_INET else 16), 0)

    def _rebind(self, bindings: list[Binding]) -> None:
        for binding in self._bindings:
            self._layer.remove(binding, self)
        self._bindings = bindings
        for binding in bindings:
            self._layer.add(binding, self)
        if self._queue is not None:
            self._queue.forget_paths()

    async def connect(self, address: Any) -> None:
        """Send to (host, port) by default, and receive from there only. None dissolves that, as AF_UNSPEC does in C.

        Raises OSError ENETUNREACH, EACCES (a broadcast without SO_BROADCAST).
        """
        self._check_open()
        claim = self._bound()
        if address is None:
            self._peer = None
            self._rebind([(one, claim.port, b"", 0) for one in claim.hosts])
            return
        remote, port, path = await self._named(self._way, address)
        self._peer = (remote, port)
        self._rebind([(path.source, claim.port, remote, port)])

    def _way(self, address: Any) -> tuple[bytes, int, Any]:
        """(remote address, port, path) for an address of the application's."""
        claim, queue = self._bound(), self._queue
        assert queue is not None
        remote, port = split(address, self.family, self._names)
        remote = destination(remote, self.family, self.settings.v6_only)
        local = next((host for host in claim.hosts if len(host) == len(remote)), b"")
        if not local:
            raise os_error(errno.ENETUNREACH, "bound to an address of the other family")
        return remote, port, queue.path(remote, local, self.settings.broadcast)

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
        payload = bytes(memoryview(data).cast("B"))
        try:
            return await self._until(lambda: self._send(payload, address), OUT, flags)
        except socket.gaierror:
            address = await looked_up(address, self.family, self._names)
        return await self._until(lambda: self._send(payload, address), OUT, flags)

    async def sendmsg(
        self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None
    ) -> int:
        """One datagram of the joined `buffers`."""
        if list(ancdata):
            raise os_error(errno.EOPNOTSUPP, "ancillary data for sending")
        return await self.sendto(b"".join(buffers), flags, address)

    def _send(self, payload: bytes, address: Any) -> int | None:
        if self._error:
            raise os_error(self.take_error())
        if self._shut & 2:
            raise os_error(errno.EPIPE)
        if address is None and self._peer is None:
            raise os_error(errno.EDESTADDRREQ)
        remote, port, path = self._way(self.getpeername() if address is None else address)
        queue = self._queue
        assert queue is not None
        if queue and not queue.has_room:
            return None
        settings = self.settings
        if len(remote) == 4:
            queue.send(path, port, payload, settings.ttl, settings.tos)
        else:
            queue.send(path, port, payload, settings.hops, settings.traffic_class)
        return len(payload)

    def _failed(self, error: OSError) -> None:
        self.receive_error(error)

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
        ancillary = self._ancillary(got) if ancbufsize else []
        return got.data[:bufsize], ancillary, cut, self._name(got.source, got.port)

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

    def _ancillary(self, got: Received) -> list[Ancillary]:
        wanted, found = self.settings, []
        if len(got.source) == 4:
            if wanted.receive_ttl:
                found.append((socket.IPPROTO_IP, socket.IP_TTL, struct.pack("@i", got.ttl)))
            if wanted.receive_tos:
                found.append((socket.IPPROTO_IP, socket.IP_TOS, bytes([got.tos])))
            if wanted.packet_info:
                info = struct.pack("@i4s4s", got.interface, got.local, got.local)
                found.append((socket.IPPROTO_IP, IP_PKTINFO, info))
            return found
        if wanted.receive_ttl:
            found.append((socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("@i", got.ttl)))
        if wanted.receive_tos:
            found.append((socket.IPPROTO_IPV6, socket.IPV6_TCLASS, struct.pack("@i", got.tos)))
        if wanted.packet_info:
            info = got.local + struct.pack("@i", got.interface)
            found.append((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info))
        return found

    # the end

    def shutdown(self, how: int) -> None:
        """Stop receiving, sending or both, on this side only. Raises OSError ENOTCONN, EINVAL."""
        self._check_open()
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise os_error(errno.EINVAL, f"shutdown({how})")
        if self._peer is None:
            raise os_error(errno.ENOTCONN)
        self._shut |= how + 1
        self._changed()

    def _end(self) -> None:
        self._rebind([])
        if self._queue is not None:
            self._queue.orphan()
        if self._claim is not None:
            self._layer.claims.release(self._claim)


NOTHING: Final = Received(b"", b"", 0, b"", 0, 0, 0)  # what a socket that is shut down receives
