"""One use of a UDP port: `BoundEndpoint` says where it is, here is how it sends, and its ways to others."""

from __future__ import annotations

import errno
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any, Final

from asyncstack.errors import os_error
from asyncstack.network.addresses import (
    format_address,
    is_link_local,
    is_multicast,
    is_of_host,
    parse_address,
)
from asyncstack.network.routing import Path
from asyncstack.transport.sockets.addresses import KnownNames, destination, flow_label, split
from asyncstack.transport.udp.ancillary import marks
from asyncstack.transport.udp.binding import BoundEndpoint
from asyncstack.transport.udp.layer import PROTOCOL_UDP
from asyncstack.transport.udp.queue import HEARD_HERE, STAYS_HERE, Way
from asyncstack.transport.udp.settings import DatagramSettings

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.transport.udp.layer import UdpLayer

WAYS_KEPT: Final = 64  # destinations to which an endpoint remembers the way
THE_PEER: Final = None  # the key of the peer among them


class UdpEndpoint(BoundEndpoint):
    """A UDP endpoint of `family`, AF_INET or AF_INET6. `names` knows the hosts that are sent to.

    An address of the application's is (host, port[, flowinfo, scope_id]).
    """

    __slots__ = ("_names", "_ways")

    def __init__(
        self, layer: UdpLayer, family: int, names: KnownNames, settings: DatagramSettings | None = None
    ) -> None:
        super().__init__(layer, family, settings)
        self._names = names
        self._ways: dict[Hashable, Way] = {}

    def path_mtu(self) -> int | None:
        """Bytes of the largest packet to the peer, None without one."""
        return None if self.peer is None else self._way(THE_PEER, None).path.mtu

    # send

    def send(self, data: bytes, address: Any) -> bool:
        """Send one datagram to `address`, None: to the peer; or let it wait. False: it was dropped.

        Raises OSError EDESTADDRREQ, EMSGSIZE, EACCES, ENETUNREACH, EINVAL (port 0); what is no address raises
        TypeError, OverflowError, or what `names` does.
        """
        if address is not None:
            key: Hashable = address[0] if len(address) == 2 else _beyond_host(address)
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
        remote, port, scope, label = self._destination(address)
        asked = marks(ancillary, len(remote))
        if asked is None:
            return self.send(data, address)
        if asked.interface:
            scope = self._layer.context.interface_at(asked.interface)
            if scope is None:
                raise os_error(errno.ENODEV, f"no interface {asked.interface}")
        if asked.source or asked.source_port:
            self._check_source(asked.source, asked.source_port)
        label = asked.flow_label or label
        key = (remote, scope, asked.source, asked.interface, label)
        way = self._ways.get(key)
        if way is None or way[0].generation != self._layer.routes.generation:
            way = self._keep(key, self._look_up(remote, scope, label, asked.source, bool(asked.interface)))
        ttl = way.ttl if asked.ttl is None else asked.ttl
        tos = way.tos if asked.tos is None else way.tos & ~0xFF | asked.tos
        return self.queue.send(Way(way.path, ttl, tos, way.many, asked.source_port), port, data)

    def _check_source(self, source: bytes, port: int) -> None:
        """Raise OSError if we can not speak from there."""
        if port:
            raise os_error(errno.EINVAL, "IP_ORIGDSTADDR is for sending from an endpoint of many addresses")
        if not self._layer.addresses.is_local(source):
            number = errno.ENETUNREACH if len(source) == 4 else errno.EINVAL  # as Linux
            raise os_error(number, f"{format_address(source)} is not an address of this stack")

    def _destination(self, address: Any) -> tuple[bytes, int, Interface | None, int]:
        """(remote address, port, interface, flow label) of `address`, None: of the peer."""
        if address is not None:
            found = split(address, self.family, self._names)
            return *found, self._layer.context.scope(*address[::3]), flow_label(address)
        if self.peer is None:
            raise os_error(errno.EDESTADDRREQ)
        return *self.peer, self._peer_scope, self._peer_label

    def _way(self, key: Hashable, address: Any) -> Way:
        """The way to `address`, None: to the peer; remembered as `key` unless it is a name."""
        remote, _, scope, label = self._destination(address)
        way = self._look_up(remote, scope, label)
        return way if address is not None and not _is_literal(address[0]) else self._keep(key, way)

    def _keep(self, key: Hashable, way: Way) -> Way:
        if key not in self._ways and len(self._ways) >= WAYS_KEPT:
            del self._ways[next(iter(self._ways))]
        self._ways[key] = way
        return way

    def _look_up(
        self,
        remote: bytes,
        scope: Interface | None,
        label: int = 0,
        source: bytes = b"",
        only: bool = False,
    ) -> Way:
        """The way to `remote`, by the interface `scope` if the address says nothing without one, or if `only` by that.
        source: b"" as we are bound. label: of the flow, 0: its own."""
        settings = self.settings
        remote = destination(remote, self.family, settings.v6_only)
        checked, source = bool(source), source or self._source(len(remote))
        if is_multicast(remote):
            return self._way_to_group(remote, scope, label, source)
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
        return Way(path, settings.hops, settings.traffic_class | self._mark(path, label))

    def _mark(self, path: Path, label: int) -> int:
        """The label of this flow, as IP takes it. Who is not connected has one flow to all ports of a host."""
        port = self.peer[1] if self.peer is not None and self.peer[0] == path.destination else 0
        labels = self._layer.context.ipv6.flow_labels
        return labels.mark(path, PROTOCOL_UDP, self.queue.source_port, port, label)

    def _way_to_group(self, group: bytes, scope: Interface | None, label: int, source: bytes) -> Way:
        """By the interface that IP_MULTICAST_IF says, or the scope, or the routing table."""
        wishes, layer = self.settings.multicast(len(group)), self._layer
        source = source or wishes.address
        interface = scope or (layer.context.interface_at(wishes.index) if wishes.index else None)
        path = layer.routes.lookup(group, source, interface)
        many = 0
        if path.interface is not layer.routes.loopback:  # from where it comes back by itself
            stays = wishes.hops == 0 or is_of_host(group)
            many = HEARD_HERE * wishes.loop | STAYS_HERE * stays
        tos = self.settings.tos if len(group) == 4 else self.settings.traffic_class
        return Way(path, wishes.hops or 1, tos | self._mark(path, label), many)

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
        """The settings, or what it is bound to, have changed."""
        self._ways.clear()


def _beyond_host(address: Any) -> Hashable:
    """The key of an address of three or four parts: the host, with flow label and scope if there are any."""
    return (address[0], *address[2:]) if any(address[2:]) else address[0]


def _is_literal(host: Any) -> bool:
    try:
        parse_address(host)
    except ValueError:
        return False
    return True
