"""Socket options that UDP has beyond the common ones; see `transport.options`."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, Final

from asyncstack.errors import os_error
from asyncstack.transport.endpoint_socket import EndpointSocket
from asyncstack.transport.options import INT, IPPROTO_IP, IPPROTO_IPV6, SOL_SOCKET, Option, Table, flag
from asyncstack.transport.sockets.readiness import OUT
from asyncstack.transport.udp.ancillary import IP_ORIGDSTADDR, IPV6_FLOWINFO, IPV6_ORIGDSTADDR
from asyncstack.transport.udp.group_options import GROUP_OPTIONS

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


# names that `socket` has not
IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 49, 29


def _number(value: bytes) -> int:
    """An option of level IPPROTO_IP that may be one byte. Raises OSError(EINVAL)."""
    if not value:
        raise os_error(errno.EINVAL, "a socket option without a value")
    return int(INT.unpack_from(value)[0]) if len(value) >= INT.size else value[0]


def _one_of(value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise os_error(errno.EINVAL, f"{value} is not in {least} to {most}")
    return value


def _set_hops4(holder: Any, value: bytes) -> None:
    number = _one_of(_number(value), -1, 255)
    holder.settings.multicast4.hops = 1 if number < 0 else number


def _set_hops6(holder: Any, value: int) -> None:
    holder.settings.multicast6.hops = 1 if _one_of(value, -1, 255) < 0 else value


def _set_loop4(holder: Any, value: bytes) -> None:
    holder.settings.multicast4.loop = bool(_number(value))


def _set_loop6(holder: Any, value: int) -> None:
    holder.settings.multicast6.loop = bool(_one_of(value, 0, 1))


def _set_all4(holder: Any, value: bytes) -> None:
    holder.settings.multicast4.all = bool(_one_of(_number(value), 0, 1))


def _set_all6(holder: Any, value: int) -> None:
    holder.settings.multicast6.all = bool(value)


def _set_interface4(holder: Any, value: bytes) -> None:
    """A struct ip_mreqn or ip_mreq, or the address alone; zeros: as the routing table says."""
    if len(value) < 4:
        raise os_error(errno.EINVAL, "IP_MULTICAST_IF takes an address of 4 bytes, or a struct ip_mreqn")
    address = value[4:8] if len(value) >= 8 else value[:4]
    index = INT.unpack_from(value, 8)[0] if len(value) >= 12 else 0
    layer, wishes = holder.endpoint.layer, holder.settings.multicast4
    interface = layer.context.interface_at(index) if index else layer.interface_of(address)
    if interface is None and (index or any(address)):
        raise os_error(errno.EADDRNOTAVAIL, "IP_MULTICAST_IF: no such interface")
    wishes.index = 0 if interface is None else interface.index
    wishes.address = address if any(address) else b""


def _set_interface6(holder: Any, value: int) -> None:
    if value and holder.endpoint.layer.context.interface_at(value) is None:
        raise os_error(errno.ENODEV, f"IPV6_MULTICAST_IF: no interface {value}")
    holder.settings.multicast6.index = value


UDP_OPTIONS: Final[Table] = {
    **GROUP_OPTIONS,
    (SOL_SOCKET, socket.SO_RCVBUF): _buffer("receive_buffer", 2304),
    (SOL_SOCKET, socket.SO_SNDBUF): _buffer("send_buffer", 4608),
    (IPPROTO_IPV6, socket.IPV6_V6ONLY): Option(lambda holder: int(holder.settings.v6_only), _set_v6_only),
    (IPPROTO_IPV6, socket.IPV6_RECVPKTINFO): flag("packet_info6"),
    (IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT): flag("receive_hop_limit"),
    (IPPROTO_IPV6, socket.IPV6_RECVTCLASS): flag("receive_traffic_class"),
    (IPPROTO_IPV6, IPV6_FLOWINFO): flag("receive_flow_info"),
    (IPPROTO_IP, IP_ORIGDSTADDR): flag("original_destination"),
    (IPPROTO_IPV6, IPV6_ORIGDSTADDR): flag("original_destination6"),
    (IPPROTO_IP, socket.IP_MULTICAST_TTL): Option(
        lambda holder: int(holder.settings.multicast4.hops), None, _set_hops4
    ),
    (IPPROTO_IP, socket.IP_MULTICAST_LOOP): Option(
        lambda holder: int(holder.settings.multicast4.loop), None, _set_loop4
    ),
    (IPPROTO_IP, IP_MULTICAST_ALL): Option(
        lambda holder: int(holder.settings.multicast4.all), None, _set_all4
    ),
    (IPPROTO_IP, socket.IP_MULTICAST_IF): Option(
        lambda holder: holder.settings.multicast4.address or bytes(4), None, _set_interface4
    ),
    (IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS): Option(
        lambda holder: int(holder.settings.multicast6.hops), _set_hops6
    ),
    (IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP): Option(
        lambda holder: int(holder.settings.multicast6.loop), _set_loop6
    ),
    (IPPROTO_IPV6, IPV6_MULTICAST_ALL): Option(lambda holder: int(holder.settings.multicast6.all), _set_all6),
    (IPPROTO_IPV6, socket.IPV6_MULTICAST_IF): Option(
        lambda holder: int(holder.settings.multicast6.index), _set_interface6
    ),
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
