"""Socket options that UDP has beyond the common ones; see `transport.options`."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, Final

from asyncstack.errors import os_error
from asyncstack.transport.endpoint_socket import EndpointSocket
from asyncstack.transport.options import IPPROTO_IPV6, SOL_SOCKET, Option, Table
from asyncstack.transport.sockets.readiness import OUT

if TYPE_CHECKING:
    from asyncstack.transport.udp.endpoint import UdpEndpoint


def _buffer(name: str, least: int) -> Option:
    """A buffer, told doubled as Linux does, which counts its own overhead in."""

    def put(holder: Any, value: int) -> None:
        setattr(holder.settings, name, max(2 * value, least))

    return Option(lambda holder: int(getattr(holder.settings, name)), put)


def _set_v6_only(holder: Any, value: int) -> None:
    if holder.endpoint.claim is not None:
        raise os_error(errno.EINVAL, "IPV6_V6ONLY is for a socket that is not bound")
    holder.settings.v6_only = bool(value)


UDP_OPTIONS: Final[Table] = {
    (SOL_SOCKET, socket.SO_RCVBUF): _buffer("receive_buffer", 2304),
    (SOL_SOCKET, socket.SO_SNDBUF): _buffer("send_buffer", 4608),
    (IPPROTO_IPV6, socket.IPV6_V6ONLY): Option(lambda holder: int(holder.settings.v6_only), _set_v6_only),
}


class DatagramEndpointSocket(EndpointSocket):
    """What `get_extra_info("socket")` of a datagram endpoint gives."""

    table = UDP_OPTIONS

    def __init__(self, endpoint: UdpEndpoint) -> None:
        super().__init__(
            socket.SOCK_DGRAM, socket.IPPROTO_UDP, endpoint.sockname, endpoint.peername, endpoint.settings
        )
        self.endpoint = endpoint

    def path_mtu(self) -> int | None:
        """Bytes of the largest packet to the peer, None without one."""
        return self.endpoint.path_mtu()

    def setsockopt(self, level: int, option: int, value: int | bytes | str | None, optlen: int = 0) -> None:
        """Set the option; see `Options.setsockopt`."""
        super().setsockopt(level, option, value, optlen)
        self.endpoint.forget_ways()

    def _mask(self) -> int:
        return OUT if self.endpoint.queue.has_room else 0  # what comes is passed on at once
