"""One use of a UDP port: what it is bound and connected to, and its ways to others (udp(7)).

It is owned by a transport or by a socket, and can be handed from one to the other with all that it is. As on Linux
an IPv6 endpoint speaks IPv4 too unless IPV6_V6ONLY is set, connecting narrows what it is bound to, and only a
connected endpoint hears of ICMP errors.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from asyncstack.errors import os_error
from asyncstack.network.addresses import format_address, is_link_local, is_multicast, parse_address, scope_of
from asyncstack.transport.claims import Claim
from asyncstack.transport.endpoint_socket import SocketAddress
from asyncstack.transport.ports import check_port
from asyncstack.transport.sockets.addresses import KnownNames, destination, hosts_of, join, split
from asyncstack.transport.udp.ancillary import marks
from asyncstack.transport.udp.groups import Memberships
from asyncstack.transport.udp.queue import HEARD_HERE, STAYS_HERE, DatagramQueue, Way
from asyncstack.transport.udp.settings import DatagramSettings
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.transport.udp.layer import Binding, UdpLayer

WAYS_KEPT: Final = 64  # destinations to which an endpoint remembers the way
THE_PEER: Final = None  # the key of the peer among them


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


class UdpEndpoint:
    """A UDP endpoint of `family`, AF_INET or AF_INET6. `names` knows the hosts that are sent to.

    `deliver` is the owner's `receive`. An address of the application's is (host, port[, flowinfo, scope_id]).
    """

    __slots__ = (
        "_asked",
        "_bindings",
        "_interface",
        "_layer",
        "_local",
        "_names",
        "_peer_scope",
        "_ways",
        "claim",
        "deliver",
        "family",
        "groups",
        "owner",
        "peer",
        "queue",
        "settings",
    )

    def __init__(
        self, layer: UdpLayer, family: int, names: KnownNames, settings: DatagramSettings | None = None
    ) -> None:
        self.family = socket.AddressFamily(family)
        self.settings = DatagramSettings() if settings is None else settings
        self.claim: Claim | None = None
        self.peer: tuple[bytes, int] | None = None
        self.owner: DatagramOwner = NOBODY
        self.deliver: Callable[[bytes, Packet, int], None] = NOBODY.receive
        self._layer = layer
        self._names = names
        self._asked = bytes(4 if family == socket.AF_INET else 16)  # the address it was bound to
        self._local = (self._asked, 0)
        self._interface: object = None  # which leads to the peer
        self._peer_scope: Interface | None = None
        self._bindings: list[Binding] = []
        self._ways: dict[Hashable, Way] = {}
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
        return join(*self._local, self.family)

    @property
    def peername(self) -> SocketAddress | None:
        """The same of the peer, if there is one."""
        return None if self.peer is None else join(*self.peer, self.family)

    @property
    def layer(self) -> UdpLayer:
        """The UDP it is an endpoint of."""
        return self._layer

    def path_mtu(self) -> int | None:
        """Bytes of the largest packet to the peer, None without one."""
        return None if self.peer is None else self._way(THE_PEER, None).path.mtu

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

    def connect(self, remote: bytes, port: int, scope: Interface | None = None) -> None:
        """Send to `port` of `remote` by default, and receive from there only. Raises OSError ENETUNREACH, EACCES (a
        broadcast without SO_BROADCAST), OverflowError."""
        claim = self.bound()
        check_port(port)
        remote = destination(remote, self.family, self.settings.v6_only)
        way = self._look_up(remote, scope)
        source = self._local[0] if any(self._local[0]) else way.path.source
        self.peer = (remote, port)
        self._local = (source, claim.port)
        self._interface, self._peer_scope = way.path.interface, scope
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
        self._ways.clear()

    # send

    def send(self, data: bytes, address: Any) -> bool:
        """Send one datagram to `address`, None: to the peer; or let it wait. False: it was dropped.

        Raises OSError EDESTADDRREQ, EMSGSIZE, EACCES, ENETUNREACH, EINVAL (port 0); what is no address raises
        TypeError, OverflowError, or what `names` does.
        """
        if address is not None:
            key: Hashable = address[0] if len(address) == 2 else _with_scope(address)
            port = address[1]
        elif self.peer is not None:
            key, port = THE_PEER, self.peer[1]
        else:
            raise os_error(errno.EDESTADDRREQ)
        way = self._ways.get(key)
        if way is None or way[0].generation != self._layer.routes.generation:
            way = self._way(key, address)
        return self.queue.send(way, port, data)

    def send_marked(self, data: bytes, address: Any, ancillary: Iterable[Any]) -> bool:
        """`send` as `ancillary` says, see `ancillary.marks`. Raises also OSError EINVAL (what can not be asked for, a
        source that is not ours), ENODEV."""
        remote, port, scope = self._destination(address)
        asked = marks(ancillary, len(remote))
        if asked is None:
            return self.send(data, address)
        if asked.interface:
            scope = self._layer.interface_at(asked.interface)
            if scope is None:
                raise os_error(errno.ENODEV, f"no interface {asked.interface}")
        if asked.source or asked.source_port:
            self._check_source(asked.source, asked.source_port)
        key = (remote, scope, asked.source, asked.interface)
        way = self._ways.get(key)
        if way is None or way[0].generation != self._layer.routes.generation:
            way = self._keep(key, self._look_up(remote, scope, asked.source, bool(asked.interface)))
        ttl = way.ttl if asked.ttl is None else asked.ttl
        tos = way.tos if asked.tos is None else asked.tos
        return self.queue.send(Way(way.path, ttl, tos, way.many, asked.source_port), port, data)

    def _check_source(self, source: bytes, port: int) -> None:
        """Raise OSError if we can not speak from there."""
        if port:
            raise os_error(errno.EINVAL, "IP_ORIGDSTADDR is for sending from an endpoint of many addresses")
        if not self._layer.addresses.is_local(source):
            number = errno.ENETUNREACH if len(source) == 4 else errno.EINVAL  # as Linux
            raise os_error(number, f"{format_address(source)} is not an address of this stack")

    def _destination(self, address: Any) -> tuple[bytes, int, Interface | None]:
        """(remote address, port, interface) of `address`, None: of the peer."""
        if address is not None:
            return *split(address, self.family, self._names), self.scope(address)
        if self.peer is None:
            raise os_error(errno.EDESTADDRREQ)
        return *self.peer, self._peer_scope

    def _way(self, key: Hashable, address: Any) -> Way:
        """The way to `address`, None: to the peer; remembered as `key` unless it is a name."""
        remote, _, scope = self._destination(address)
        way = self._look_up(remote, scope)
        return way if address is not None and not _is_literal(address[0]) else self._keep(key, way)

    def _keep(self, key: Hashable, way: Way) -> Way:
        if key not in self._ways and len(self._ways) >= WAYS_KEPT:
            del self._ways[next(iter(self._ways))]
        self._ways[key] = way
        return way

    def _look_up(
        self, remote: bytes, scope: Interface | None, source: bytes = b"", only: bool = False
    ) -> Way:
        """The way to `remote`, by the interface `scope` if the address says nothing without one, or if `only` by that.
        source: b"" as we are bound."""
        settings = self.settings
        remote = destination(remote, self.family, settings.v6_only)
        checked, source = bool(source), source or self._source(len(remote))
        if is_multicast(remote):
            return self._way_to_group(remote, scope, source)
        routes = self._layer.routes
        interface = scope if only or is_link_local(remote) else None
        path = routes.lookup(remote, source, interface, foreign=checked)
        many = 0
        if path.broadcast:
            if not settings.broadcast:
                raise os_error(errno.EACCES, "a broadcast needs allow_broadcast=True, or SO_BROADCAST")
            many = 0 if path.interface is routes.loopback else HEARD_HERE
        if len(remote) == 4:
            return Way(path, settings.ttl, settings.tos, many)
        return Way(path, settings.hops, settings.traffic_class)

    def _way_to_group(self, group: bytes, scope: Interface | None, source: bytes) -> Way:
        """By the interface that IP_MULTICAST_IF says, or the scope, or the routing table."""
        wishes, layer = self.settings.multicast(len(group)), self._layer
        source = source or wishes.address
        interface = scope or (layer.interface_at(wishes.index) if wishes.index else None)
        path = layer.routes.lookup(group, source, interface)
        many = 0
        if path.interface is not layer.routes.loopback:  # from where it comes back by itself
            many = HEARD_HERE * wishes.loop | STAYS_HERE * (wishes.hops == 0)
        tos = self.settings.tos if len(group) == 4 else self.settings.traffic_class
        return Way(path, wishes.hops or 1, tos, many)

    def scope(self, address: Any) -> Interface | None:
        """The interface that an address says: ("fe80::1", port, flowinfo, index) or ("fe80::1%name", port). Raises
        OSError(ENODEV)."""
        index = address[3] if len(address) > 3 else 0
        name = scope_of(address[0]) if isinstance(address[0], str) else ""
        if not index and not name:
            return None
        found = self._layer.interface_at(index or (int(name) if name.isdecimal() else name))
        if found is None:
            raise os_error(errno.ENODEV, f"{address!r}: no interface {index or name}")
        return found

    def _source(self, size: int) -> bytes:
        """The address that we are bound to and can speak from, b"": any. Raises OSError(ENETUNREACH) if it is of the
        other family."""
        host = next((host for host in self.bound().hosts if len(host) == size), b"")
        if not host:
            where = format_address(self._local[0])
            raise os_error(errno.ENETUNREACH, f"bound to {where}, an address of the other family")
        many = not any(host) or is_multicast(host) or self._layer.addresses.is_broadcast(host)
        return b"" if many else host

    def forget_ways(self) -> None:
        """The settings have changed."""
        self._ways.clear()

    # what the layer and the queue tell

    def hears(self, destination: bytes, interface: Interface) -> bool:
        """Whether a datagram to many that arrives on `interface` is for us: a broadcast; a group we have joined, or
        anybody here has unless IP_MULTICAST_ALL is off."""
        return (
            not is_multicast(destination)
            or self.settings.multicast(len(destination)).all
            or (destination, interface) in self.groups
        )

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


def _with_scope(address: Any) -> Hashable:
    """The key of an address of three or four parts: the host, with the scope if there is one."""
    return (address[0], address[3]) if any(address[3:4]) else address[0]


def _is_literal(host: Any) -> bool:
    try:
        parse_address(host)
    except ValueError:
        return False
    return True
