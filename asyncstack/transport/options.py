"""Socket options: how they are asked for, and those that every socket has.

One table per protocol, (level, name) -> (getter, setter), serves `StackSocket` and what
`get_extra_info("socket")` gives. A getter returns an int or bytes; a setter takes an int, or bytes where the option
is a structure or a text. Values are the kernel's: SO_RCVBUF is told doubled, TCP_USER_TIMEOUT is in milliseconds.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from asyncstack.errors import os_error

SOL_SOCKET: Final = socket.SOL_SOCKET
IPPROTO_IP: Final = socket.IPPROTO_IP
IPPROTO_IPV6: Final = socket.IPPROTO_IPV6
IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_MTU, IPV6_MTU = 8, 12, 13, 14, 24  # not all in `socket`
ECN_BITS: Final = 3
INT: Final = struct.Struct("@i")


class Option(NamedTuple):
    """How to read an option of a holder and how to set it; None: it can only be read, or only be set."""

    get: Callable[[Any], int | bytes] | None
    set: Callable[[Any, int], None] | None = None
    set_bytes: Callable[[Any, bytes], None] | None = None


Table = dict[tuple[int, int], Option]


@dataclass(slots=True)
class Settings:
    """What a socket has of its own, whatever its protocol."""

    reuse_address: bool = False
    reuse_port: bool = False
    broadcast: bool = False
    v6_only: bool = False
    priority: int = 0
    mark: int = 0
    receive_low: int = 1  # bytes from which on the socket is readable
    receive_buffer: int = 212_992  # of a datagram socket; Linux: net.core.rmem_default
    send_buffer: int = 212_992
    ttl: int = 0  # 0: the stack's
    hops: int = 0  # the same for IPv6
    linger: int = 0  # seconds told while SO_LINGER is off
    quick_ack: bool = True  # before there is a connection
    tos: int = 0
    traffic_class: int = 0
    receive_ttl: bool = False  # ancillary data of datagrams
    receive_tos: bool = False
    packet_info: bool = False
    unread: bool = False  # ancillary data of a stream: how much is left


class Options:
    """The options of one socket; what they act on is up to the subclass."""

    table: ClassVar[Table] = {}
    listening = False
    default_ttl = 64

    def __init__(
        self,
        family: socket.AddressFamily,
        kind: socket.SocketKind,
        proto: int,
        settings: Settings | None = None,
    ) -> None:
        self.family = family
        self.type = kind
        self.proto = proto
        self.settings = Settings() if settings is None else settings

    def take_error(self) -> int:
        """The errno that SO_ERROR tells, once."""
        return 0

    def path_mtu(self) -> int | None:
        """Bytes of the largest packet to the peer; None: not connected."""
        return None

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> int | bytes:
        """The option's value; as at most `buflen` bytes if given. Raises OSError ENOPROTOOPT for one we do not have."""
        if not 0 <= buflen <= 1024:
            raise os_error(errno.EINVAL, "getsockopt buflen out of range")
        if level not in (SOL_SOCKET, IPPROTO_IP, self.proto) and not self._has_ipv6(level):
            raise os_error(errno.EOPNOTSUPP, f"socket options of level {level}")
        getter = self._find(level, option).get
        if getter is None:
            raise os_error(errno.ENOPROTOOPT, f"socket option {option} of level {level} can only be set")
        value = getter(self)
        if buflen:
            if level == IPPROTO_IP and buflen < INT.size and isinstance(value, int) and 0 <= value <= 255:
                return bytes([value])
            return (INT.pack(value) if isinstance(value, int) else value)[:buflen]
        return value if isinstance(value, int) else INT.unpack(value[:4].ljust(4, b"\0"))[0]

    def setsockopt(self, level: int, option: int, value: int | bytes | str | None, optlen: int = 0) -> None:
        """Set the option, a text also as `str`. Raises OSError ENOPROTOOPT for one that we do not have or that can not
        be set, EINVAL for a value that is none."""
        setter = self._find(level, option)
        data = bytes(optlen) if value is None else value.encode() if isinstance(value, str) else value
        if setter.set_bytes is not None:
            setter.set_bytes(self, INT.pack(data) if isinstance(data, int) else bytes(data))
        elif setter.set is None:
            raise os_error(errno.ENOPROTOOPT, f"socket option {option} of level {level} can only be read")
        elif isinstance(data, int):
            setter.set(self, data)
        elif len(data) >= INT.size:
            setter.set(self, INT.unpack(data[: INT.size])[0])
        elif level == IPPROTO_IP:
            setter.set(self, data[0] if data else 0)
        else:
            raise os_error(errno.EINVAL, f"socket option {option} of level {level} takes {INT.size} bytes")

    def _has_ipv6(self, level: int) -> bool:
        return level == IPPROTO_IPV6 and self.family == socket.AF_INET6

    def _find(self, level: int, option: int) -> Option:
        found = self.table.get((level, option)) or COMMON.get((level, option))
        if found is None or (level == IPPROTO_IPV6 and not self._has_ipv6(level)):
            detail = f"socket option {option} of level {level} is not one that asyncstack has"
            raise os_error(errno.ENOPROTOOPT, detail)
        return found


def _hop_limit(holder: Options) -> int:
    return holder.settings.ttl or holder.default_ttl


def _set_hop_limit(holder: Options, value: int) -> None:
    holder.settings.ttl = checked_hops(value)


def _hops(holder: Options) -> int:
    return holder.settings.hops or holder.default_ttl


def _set_hops(holder: Options, value: int) -> None:
    holder.settings.hops = checked_hops(value)


def checked_hops(value: int) -> int:
    """`value` if it is a hop limit, 0 for -1, the stack's own. Raises OSError EINVAL, unlike Linux also for 0 hops."""
    if value != -1 and not 1 <= value <= 255:
        raise os_error(errno.EINVAL, f"a hop limit of {value}")
    return max(value, 0)


def flag(name: str) -> Option:
    """An option that is one of `Settings`' booleans."""

    def put(holder: Options, value: int) -> None:
        setattr(holder.settings, name, bool(value))

    return Option(lambda holder: int(getattr(holder.settings, name)), put)


def number(name: str) -> Option:
    """An option that is one of `Settings`' numbers."""

    def put(holder: Options, value: int) -> None:
        setattr(holder.settings, name, value)

    return Option(lambda holder: int(getattr(holder.settings, name)), put)


def _set_receive_low(holder: Options, value: int) -> None:
    holder.settings.receive_low = 0x7FFFFFFF if value < 0 else value or 1


def _set_tos(holder: Options, value: int) -> None:
    holder.settings.tos = value & 0xFF


def _set_traffic_class(holder: Options, value: int) -> None:
    holder.settings.traffic_class = checked_traffic_class(value)


def checked_traffic_class(value: int) -> int:
    """`value` if it is one, -1 as 0. Raises OSError EINVAL."""
    if not -1 <= value <= 255:
        raise os_error(errno.EINVAL, f"a traffic class of {value}")
    return max(value, 0)


def _get_mtu(holder: Options) -> int:
    mtu = holder.path_mtu()
    if mtu is None:
        raise os_error(errno.ENOTCONN)
    return mtu


COMMON: Final[Table] = {
    (SOL_SOCKET, socket.SO_TYPE): Option(lambda holder: int(holder.type)),
    (SOL_SOCKET, socket.SO_PROTOCOL): Option(lambda holder: int(holder.proto)),
    (SOL_SOCKET, socket.SO_DOMAIN): Option(lambda holder: int(holder.family)),
    (SOL_SOCKET, socket.SO_ERROR): Option(lambda holder: int(holder.take_error())),
    (SOL_SOCKET, socket.SO_ACCEPTCONN): Option(lambda holder: int(holder.listening)),
    (SOL_SOCKET, socket.SO_REUSEADDR): flag("reuse_address"),
    (SOL_SOCKET, socket.SO_REUSEPORT): flag("reuse_port"),
    (SOL_SOCKET, socket.SO_BROADCAST): flag("broadcast"),
    (SOL_SOCKET, socket.SO_PRIORITY): number("priority"),
    (SOL_SOCKET, socket.SO_MARK): number("mark"),
    (SOL_SOCKET, socket.SO_RCVLOWAT): Option(
        lambda holder: int(holder.settings.receive_low), _set_receive_low
    ),
    (IPPROTO_IPV6, socket.IPV6_V6ONLY): flag("v6_only"),
    (IPPROTO_IP, socket.IP_TTL): Option(_hop_limit, _set_hop_limit),
    (IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS): Option(_hops, _set_hops),
    (IPPROTO_IP, socket.IP_TOS): Option(lambda holder: int(holder.settings.tos), _set_tos),
    (IPPROTO_IPV6, socket.IPV6_TCLASS): Option(
        lambda holder: int(holder.settings.traffic_class), _set_traffic_class
    ),
    (IPPROTO_IP, IP_MTU): Option(_get_mtu),
    (IPPROTO_IPV6, IPV6_MTU): Option(_get_mtu),
    (IPPROTO_IP, IP_RECVTTL): flag("receive_ttl"),
    (IPPROTO_IP, IP_RECVTOS): flag("receive_tos"),
    (IPPROTO_IP, IP_PKTINFO): flag("packet_info"),
    (IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT): flag("receive_ttl"),
    (IPPROTO_IPV6, socket.IPV6_RECVTCLASS): flag("receive_tos"),
    (IPPROTO_IPV6, socket.IPV6_RECVPKTINFO): flag("packet_info"),
}
