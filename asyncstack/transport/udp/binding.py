"""What a UDP endpoint is bound and connected to, who owns it, and what that one is told (udp(7)).

An endpoint can be handed from a socket to a transport with all that it is. As on Linux one of IPv6 speaks IPv4 too
unless IPV6_V6ONLY is set, connecting narrows what it is bound to, and only who is connected hears of ICMP errors.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from asyncstack.errors import os_error
from asyncstack.network.addresses import is_multicast
from asyncstack.transport.claims import Claim
from asyncstack.transport.endpoint_socket import SocketAddress
from asyncstack.transport.ports import check_port
from asyncstack.transport.sockets.addresses import destination, hosts_of, join
from asyncstack.transport.udp.groups import Memberships
from asyncstack.transport.udp.queue import DatagramQueue, Way
from asyncstack.transport.udp.settings import DatagramSettings
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.transport.udp.layer import Binding, UdpLayer


class DatagramOwner(Protocol):
    """Whom an endpoint tells."""

    def receive(self, data: bytes, packet: Packet, port: int) -> None:
        """A datagram, which `packet` brought from `port` of its source."""

    def failed(self, error: OSError) -> None:
        """An ICMP error about a datagram, or one that waited could not be sent."""

    def writable(self) -> None:
        """Fewer datagrams wait."""

    def end(self) -> None:
        """The stack ends."""


class _Nobody:
    """The owner of an endpoint that is closed."""

    def receive(self, data: bytes, packet: Packet, port: int) -> None: ...
    def failed(self, error: OSError) -> None: ...
    def writable(self) -> None: ...
    def end(self) -> None: ...


NOBODY: Final = _Nobody()


class BoundEndpoint:
    """The half of `UdpEndpoint` that knows its own place. `deliver` is the owner's `receive`."""

    __slots__ = (
        "_asked",
        "_bindings",
        "_interface",
        "_layer",
        "_local",
        "_peer_label",
        "_peer_scope",
        "claim",
        "deliver",
        "family",
        "groups",
        "owner",
        "peer",
        "queue",
        "settings",
    )

    def __init__(self, layer: UdpLayer, family: int, settings: DatagramSettings | None = None) -> None:
        self.family = socket.AddressFamily(family)
        self.settings = DatagramSettings() if settings is None else settings
        self.claim: Claim | None = None
        self.peer: tuple[bytes, int] | None = None
        self.owner: DatagramOwner = NOBODY
        self.deliver: Callable[[bytes, Packet, int], None] = NOBODY.receive
        self._layer = layer
        self._asked = bytes(4 if family == socket.AF_INET else 16)  # the address it was bound to
        self._local = (self._asked, 0)
        self._interface: Interface | None = None  # which leads to the peer
        self._peer_scope: Interface | None = None
        self._peer_label = 0
        self._bindings: list[Binding] = []
        self.groups = Memberships(layer)
        self.queue = DatagramQueue(layer, self._failed, self._shorter)

    def hand_to(self, owner: DatagramOwner) -> None:
        """Tell `owner` from now on."""
        self.owner = owner
        self.deliver = owner.receive

    # names

    @property
    def sockname(self) -> SocketAddress:
        """(host, port), or (host, port, flowinfo, scope_id) for IPv6; zeros before it is bound."""
        entry = self._layer.addresses.local.get(self._local[0])
        return join(*self._local, self.family, 0 if entry is None else entry.interface.index)

    @property
    def peername(self) -> SocketAddress | None:
        """The same of the peer, if there is one."""
        if self.peer is None:
            return None
        return join(*self.peer, self.family, 0 if self._interface is None else self._interface.index)

    @property
    def layer(self) -> UdpLayer:
        """The UDP it is an endpoint of."""
        return self._layer

    # bind and connect

    def bind(self, host: bytes, port: int) -> Claim:
        """Take `port` of `host`, all zeros: of all addresses; 0 is any free port.

        Raises OSError EADDRINUSE, EADDRNOTAVAIL, EINVAL (bound already, or IPv4 with IPV6_V6ONLY).
        """
        if self.claim is not None:
            raise os_error(errno.EINVAL, "the endpoint is bound")
        settings, layer = self.settings, self._layer
        claim = layer.claim(
            hosts_of(host, self.family, settings.v6_only),
            port,
            reuse_address=settings.reuse_address,
            reuse_port=settings.reuse_port,
        )
        self.claim = claim
        layer.claims.add(claim)
        self.queue.source_port = claim.port
        self._asked, self._local = host, (host, claim.port)
        self._bind_to([(one, claim.port, b"", 0) for one in claim.hosts])
        return claim

    def bound(self) -> Claim:
        """The claim; any port of all addresses is taken now if there is none yet."""
        return self.claim or self.bind(self._asked, 0)

    def connect(self, remote: bytes, port: int, scope: Interface | None = None, label: int = 0) -> None:
        """Send to `port` of `remote` by default, and receive from there only. Raises OSError ENETUNREACH, EACCES (a
        broadcast without SO_BROADCAST), OverflowError."""
        claim = self.bound()
        check_port(port)
        remote = destination(remote, self.family, self.settings.v6_only)
        way = self._look_up(remote, scope, label)
        source = self._local[0] if any(self._local[0]) else way.path.source
        self.peer = (remote, port)
        self._local = (source, claim.port)
        self._interface, self._peer_scope, self._peer_label = way.path.interface, scope, label
        claim.hosts = [source]
        self._bind_to([(source, claim.port, remote, port)])

    def disconnect(self) -> None:
        """Undo `connect`, as connect(2) to AF_UNSPEC does."""
        claim = self.bound()
        self.peer = self._interface = None
        self._local = (self._asked, claim.port)
        claim.hosts = hosts_of(self._asked, self.family, self.settings.v6_only)
        self._bind_to([(one, claim.port, b"", 0) for one in claim.hosts])

    def _bind_to(self, bindings: list[Binding]) -> None:
        for binding in self._bindings:
            self._layer.remove(binding, self)
        self._bindings = bindings
        for binding in bindings:
            self._layer.add(binding, self)
        self.forget_ways()

    def forget_ways(self) -> None:
        """The settings, or what it is bound to, have changed."""
        raise NotImplementedError

    def _look_up(self, remote: bytes, scope: Interface | None, label: int = 0) -> Way:
        """The way to `remote`."""
        raise NotImplementedError

    # what the layer and the queue tell

    def hears(self, destination: bytes, interface: Interface, source: bytes) -> bool:
        """Whether a datagram to many that arrives on `interface` is for us: a broadcast; a group that we have joined,
        from a source that we want; one that only others here joined unless IP_MULTICAST_ALL is off."""
        if not is_multicast(destination):
            return True
        wanted = self.groups.wanted(destination, interface)
        return self.settings.multicast(len(destination)).all if wanted is None else wanted.passes(source)

    def receive_error(self, error: OSError) -> None:
        """An ICMP error about a datagram of ours."""
        if self.peer is not None:
            self.owner.failed(error)

    def interface_down(self, interface: object, error: OSError) -> None:
        """`interface` is gone: what waits for it is lost, and who is connected over it hears of it."""
        self.queue.interface_down(interface)
        self.groups.interface_down(interface)
        if self._interface is interface:
            self.receive_error(error)
        self.owner.writable()

    def address_removed(self, address: bytes, error: OSError) -> None:
        """`address` is ours no longer: who spoke from it hears of it, also who has no peer."""
        if self._local[0] == address:
            self.owner.failed(error)

    def _failed(self, error: OSError) -> None:
        self.owner.failed(error)

    def _shorter(self) -> None:
        self.owner.writable()

    # the end

    def close(self) -> None:
        """Receive no more and give the port back; what waits still leaves."""
        self._bind_to([])
        self.groups.leave_all()
        if self.claim is not None:
            self._layer.claims.release(self.claim)
            self.claim = None
        self.queue.orphan()
        self.hand_to(NOBODY)
