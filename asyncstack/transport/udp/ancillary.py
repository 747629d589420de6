"""Ancillary data: what recvmsg tells of a datagram beside its bytes, and what sendmsg is told (ip(7), RFC 3542).

Both have the shape of `socket.recvmsg`: (level, type, bytes). As on Linux the IPv4 datagrams of an IPv6 socket come
with IPv4's.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncstack.errors import os_error
from asyncstack.transport.options import INT, IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6
from asyncstack.transport.sockets.addresses import MAPPED
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.transport.udp.layer import UdpLayer
    from asyncstack.transport.udp.settings import DatagramSettings

Ancillary = tuple[int, int, bytes]

IP_ORIGDSTADDR, IPV6_ORIGDSTADDR, IPV6_FLOWINFO = 20, 74, 11  # not in `socket`

_IN_PKTINFO = struct.Struct("@i4s4s")  # interface, our address, destination
_IN6_PKTINFO = struct.Struct("@16si")  # our address, interface
_SOCKADDR_IN = struct.Struct("@H2s4s8x")  # family, port, address
_FLOW_INFO = struct.Struct("4s")  # traffic class and flow label, as on the wire
_SOCKADDR_IN6 = struct.Struct("@H2s4s16sI")  # family, port, flow, address, scope


class Received(NamedTuple):
    """A datagram and what its packet said."""

    data: bytes
    source: bytes
    port: int
    destination: bytes
    destination_port: int
    ttl: int
    tos: int
    interface: int
    flow_label: int = 0

    @classmethod
    def of(cls, data: bytes, packet: Packet, port: int) -> Received:
        """What `packet` brought from `port` of its source. Its payload is still there."""
        own = int.from_bytes(packet.payload[2:4], "big")
        index = packet.interface.index
        label = packet.flow_label
        return cls(data, packet.src, port, packet.dst, own, packet.ttl, packet.tos, index, label)


def told(got: Received, wanted: DatagramSettings, layer: UdpLayer) -> list[Ancillary]:
    """What the options ask for: IP_RECVTTL, IP_RECVTOS, IP_PKTINFO, IP_RECVORIGDSTADDR, or their IPv6 twins."""
    found: list[Ancillary] = []
    if wanted.packet_info6:
        address = got.destination if len(got.destination) == 16 else MAPPED + got.destination
        found.append((IPPROTO_IPV6, socket.IPV6_PKTINFO, _IN6_PKTINFO.pack(address, got.interface)))
    if len(got.source) == 4:
        if wanted.packet_info:
            own = layer.own_address(got.destination, got.source, got.interface)
            info = _IN_PKTINFO.pack(got.interface, own, got.destination)
            found.append((IPPROTO_IP, IP_PKTINFO, info))
        if wanted.receive_ttl:
            found.append((IPPROTO_IP, socket.IP_TTL, INT.pack(got.ttl)))
        if wanted.receive_tos:
            found.append((IPPROTO_IP, socket.IP_TOS, bytes([got.tos])))
        if wanted.original_destination:
            port = got.destination_port.to_bytes(2, "big")
            info = _SOCKADDR_IN.pack(socket.AF_INET, port, got.destination)
            found.append((IPPROTO_IP, IP_ORIGDSTADDR, info))
        return found
    if wanted.receive_hop_limit:
        found.append((IPPROTO_IPV6, socket.IPV6_HOPLIMIT, INT.pack(got.ttl)))
    if wanted.receive_traffic_class:
        found.append((IPPROTO_IPV6, socket.IPV6_TCLASS, INT.pack(got.tos)))
    if wanted.receive_flow_info and (got.tos or got.flow_label):
        info = (got.tos << 20 | got.flow_label).to_bytes(4, "big")
        found.append((IPPROTO_IPV6, IPV6_FLOWINFO, info))
    if wanted.original_destination6:
        port = got.destination_port.to_bytes(2, "big")
        info = _SOCKADDR_IN6.pack(socket.AF_INET6, port, bytes(4), got.destination, 0)
        found.append((IPPROTO_IPV6, IPV6_ORIGDSTADDR, info))
    return found


def fitted(ancillary: list[Ancillary], size: int) -> tuple[list[Ancillary], int]:
    """What of `ancillary` a control buffer of `size` bytes takes, and MSG_CTRUNC if that is not all."""
    found: list[Ancillary] = []
    for level, kind, data in ancillary:
        if size < socket.CMSG_LEN(0):
            return found, socket.MSG_CTRUNC
        room = size - socket.CMSG_LEN(0)
        found.append((level, kind, data[:room]))
        if room < len(data):
            return found, socket.MSG_CTRUNC
        size -= socket.CMSG_SPACE(len(data))
    return found, 0


@dataclass(slots=True)
class Marks:
    """How one datagram is to be sent, where it differs from the endpoint's settings: None, b"" and 0: it does not.

    source, source_port: from where; the port, and an address of another host, only on an endpoint of many places.
    """

    ttl: int | None = None
    tos: int | None = None
    source: bytes = b""
    source_port: int = 0
    interface: int = 0
    flow_label: int = 0


def marks(ancillary: Iterable[Any], size: int) -> Marks | None:
    """What `sendmsg` is told for a datagram to an address of `size` bytes; None: nothing. What is for another level is
    passed over, as on Linux. Raises OSError EINVAL."""
    found: Marks | None = None
    for level, kind, data in ancillary:
        if level not in (IPPROTO_IP, IPPROTO_IPV6):
            continue
        found = found or Marks()
        if size == 4 and (level == IPPROTO_IP or kind == socket.IPV6_PKTINFO):
            _mark_ipv4(found, level, kind, bytes(data))
        elif size == 16 and level == IPPROTO_IPV6:
            _mark_ipv6(found, kind, bytes(data))
    return found


def _mark_ipv4(found: Marks, level: int, kind: int, data: bytes) -> None:
    if level == IPPROTO_IPV6:  # of a socket that speaks both
        address, found.interface = _unpack(_IN6_PKTINFO, data)
        if address[:12] != MAPPED:
            raise os_error(errno.EINVAL, "IPV6_PKTINFO: no IPv4 address")
        found.source = _given(address[12:])
    elif kind == IP_PKTINFO:
        found.interface, source, _ = _unpack(_IN_PKTINFO, data)
        found.source = _given(source)
    elif kind == socket.IP_TTL:
        found.ttl = _in_range(_unpack(INT, data)[0], 1)
    elif kind == socket.IP_TOS:
        found.tos = _in_range(data[0] if len(data) == 1 else _unpack(INT, data)[0], 0)
    elif kind == IP_ORIGDSTADDR:
        _, port, found.source = _unpack(_SOCKADDR_IN, data)
        found.source_port = int.from_bytes(port, "big")
    else:
        raise os_error(errno.EINVAL, f"ancillary data of level IPPROTO_IP and type {kind}")


def _mark_ipv6(found: Marks, kind: int, data: bytes) -> None:
    if kind == socket.IPV6_PKTINFO:
        source, found.interface = _unpack(_IN6_PKTINFO, data)
        found.source = _given(source)
    elif kind == socket.IPV6_HOPLIMIT:
        value = _in_range(_unpack(INT, data)[0], -1)
        found.ttl = None if value < 0 else value
    elif kind == socket.IPV6_TCLASS:
        value = _in_range(_unpack(INT, data)[0], -1)
        found.tos = None if value < 0 else value
    elif kind == IPV6_FLOWINFO:
        found.flow_label = int.from_bytes(_unpack(_FLOW_INFO, data)[0], "big") & 0xFFFFF
    elif kind == IPV6_ORIGDSTADDR:
        _, port, _, found.source, _ = _unpack(_SOCKADDR_IN6, data)
        found.source_port = int.from_bytes(port, "big")
    else:
        raise os_error(errno.EINVAL, f"ancillary data of level IPPROTO_IPV6 and type {kind}")


def _unpack(kind: struct.Struct, data: bytes) -> tuple[Any, ...]:
    if len(data) != kind.size:
        raise os_error(errno.EINVAL, f"ancillary data of {len(data)} bytes where {kind.size} belong")
    return kind.unpack(data)


def _given(address: bytes) -> bytes:
    return address if any(address) else b""


def _in_range(value: int, least: int) -> int:
    if not least <= value <= 255:
        raise os_error(errno.EINVAL, f"ancillary data: {value} is not in {least} to 255")
    return value
