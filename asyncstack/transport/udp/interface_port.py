"""A UDP port of one interface, for who has to speak and to hear before there are addresses: DHCP.

It takes what comes for its port on its interface, whomever it is for, unless an endpoint has it; and sends from
0.0.0.0, and to a neighbour whose address nobody answers for yet. On Linux it takes a packet socket.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from asyncstack.errors import os_error
from asyncstack.link.frame import OutgoingFrame
from asyncstack.wire import ipv4, udp
from asyncstack.wire.checksum import complete, pseudo_header_sum
from asyncstack.wire.ethernet import ETHERTYPE_IPV4
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.transport.udp.layer import UdpLayer


class InterfacePort:
    """`receive(data, packet)` is called for each datagram, `down(error)` when the interface goes; then it is closed.

    Raises OSError EADDRINUSE if the port is taken.
    """

    def __init__(
        self,
        layer: UdpLayer,
        interface: Interface,
        port: int,
        receive: Callable[[bytes, Packet], None],
        down: Callable[[OSError], None],
    ) -> None:
        self.interface = interface
        self.port = port
        self.receive = receive
        self.down = down
        self._layer = layer
        place = layer.interface_ports.setdefault(port, {})
        if interface in place:
            raise os_error(errno.EADDRINUSE, f"port {port} of {interface.name} is in use")
        place[interface] = self

    def send(self, data: bytes, port: int, source: bytes, destination: bytes, mac: bytes = b"") -> bool:
        """Send one datagram from `source`, ours or 0.0.0.0; to the neighbour at `mac` if given, without a look at the
        routing table. Its checksum is complete also where a device would do that: some DHCP clients read frames below
        whoever should have completed it. False: no room, and it is lost. Raises OSError ENETUNREACH, EADDRNOTAVAIL.
        """
        length = udp.HEADER_SIZE + len(data)
        header_sum = pseudo_header_sum(source, destination, udp.PROTOCOL, length)
        datagram = bytearray(udp.build(self.port, port, len(data), header_sum) + data)
        complete(datagram, 0, udp.CHECKSUM_OFFSET)
        if mac:
            header = ipv4.build(source, destination, udp.PROTOCOL, length)
            return self.interface.link.send(OutgoingFrame([header, datagram]), mac, ETHERTYPE_IPV4)
        path = self._layer.routes.lookup(destination, source, self.interface)
        return self._layer.context.ipv4.send(path, udp.PROTOCOL, (datagram,), dont_fragment=False)

    def close(self) -> None:
        """Receive no more. Safe to call twice."""
        place = self._layer.interface_ports.get(self.port, {})
        if place.get(self.interface) is self:
            del place[self.interface]
        if not place:
            self._layer.interface_ports.pop(self.port, None)
