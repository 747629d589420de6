"""An endpoint of many addresses or ports.

It takes what comes for any of them, those of other hosts too if their packets are routed to this stack, as Linux does
for a socket with IP_TRANSPARENT. Who was meant is told as ancillary data, IP_ORIGDSTADDR or IPV6_ORIGDSTADDR; an answer
is sent with the same, to say which of the addresses and ports speaks.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from asyncstack.errors import os_error
from asyncstack.network.addresses import format_address
from asyncstack.transport.claims import Claim
from asyncstack.transport.endpoint_socket import SocketAddress
from asyncstack.transport.reach import Reach
from asyncstack.transport.sockets.addresses import KnownNames
from asyncstack.transport.udp.endpoint import UdpEndpoint
from asyncstack.transport.udp.settings import DatagramSettings

if TYPE_CHECKING:
    from asyncstack.transport.udp.layer import UdpLayer


class WideEndpoint(UdpEndpoint):
    """The endpoint of `reaches`. Raises OSError EADDRINUSE, EADDRNOTAVAIL."""

    __slots__ = ("_reaches",)

    def __init__(
        self, layer: UdpLayer, reaches: list[Reach], names: KnownNames, settings: DatagramSettings
    ) -> None:
        six = any(len(reach.prefix) == 16 for reach in reaches)
        super().__init__(layer, socket.AF_INET6 if six else socket.AF_INET, names, settings)
        settings.original_destination = settings.original_destination6 = True
        for reach in reaches:
            _check(layer, reach, settings.reuse_port)
        self._reaches = reaches
        for reach in reaches:
            layer.reaches.add(reach, self)

    @property
    def sockname(self) -> SocketAddress:
        """(network, port), port 0 if there are more, of the first of them."""
        reach = self._reaches[0]
        port = reach.ports[0] if len(reach.ports) == 1 else 0
        return (str(reach), port) if self.family == socket.AF_INET else (str(reach), port, 0, 0)

    def bound(self) -> Claim:
        """Not to one port: raises OSError(EADDRNOTAVAIL)."""
        detail = (
            "an endpoint of many addresses sends with sendmsg() and an IP_ORIGDSTADDR that says from which"
        )
        raise os_error(errno.EADDRNOTAVAIL, detail)

    def _check_source(self, source: bytes, port: int) -> None:
        sharing = self._layer.reaches.find(source, port, self._layer.addresses.is_local(source))
        if not source or self not in sharing:
            where = f"{format_address(source)} port {port}" if source else f"port {port}"
            raise os_error(errno.EADDRNOTAVAIL, f"{where} is not of this endpoint")

    def close(self) -> None:
        """Receive no more; what waits still leaves."""
        for reach in self._reaches:
            self._layer.reaches.remove(reach, self)
        super().close()


def _check(layer: UdpLayer, reach: Reach, reuse_port: bool) -> None:
    where = f"{reach} ports {reach.ports[0]} to {reach.ports[-1]}"
    one = reach.prefix_length == 8 * len(reach.prefix)
    if one and not reach.foreign and not layer.addresses.is_local(reach.prefix):
        raise os_error(errno.EADDRNOTAVAIL, f"bind to {where}: not an address of this stack")
    for other in layer.reaches.clashing(reach):
        if not (reuse_port and other.settings.reuse_port):
            raise os_error(errno.EADDRINUSE, f"bind to {where}")
