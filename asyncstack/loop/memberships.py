"""Which multicast groups a socket of the kernel has joined: nothing tells, but it can be asked about each there is.

The kernel lists the groups of every interface, whoever joined them; MCAST_MSFILTER (RFC 3678 5.1.2) says of one group
on one interface whether this socket is a member, and from which sources it hears. `socket.getsockopt` can not ask that,
as the question goes in with the buffer of the answer.

A group on an interface that only a stack has the kernel refuses to join: `interface_named` tells what such an option
is about.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from asyncstack.transport.options import INT, Options
from asyncstack.transport.udp.group_options import GROUP_OPTIONS, MCAST_JOIN_GROUP, MCAST_MSFILTER

_FILTER: Final = struct.Struct("@I4x128sII")  # struct group_filter without sources
_REQUEST: Final = struct.Struct("@I4x128s")
_SOURCES_READ: Final = 64
_ALL: Final = struct.pack("@II", 0, 0)  # MCAST_EXCLUDE, no sources

Bytes = (bytes, bytearray)
Membership = tuple[
    bytes, bytes
]  # a struct sockaddr_storage of the group; mode, number and sources as in group_filter


def interface_named(level: int, option: int, value: object) -> bytes | int | None:
    """The interface that a socket option about groups names, by address or index, 0: by the routing table. None: it is
    about something else."""
    data = INT.pack(value) if isinstance(value, int) else bytes(value) if isinstance(value, Bytes) else b""
    key = (level, option)
    if key == (socket.IPPROTO_IP, socket.IP_MULTICAST_IF):
        return _address(data, 0 if len(data) == 4 else 4)
    if key == (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF):
        return _index(data, 0)
    if key not in GROUP_OPTIONS:
        return None
    if option >= MCAST_JOIN_GROUP:
        return _index(data, 0)
    return _address(data, 4) if level == socket.IPPROTO_IP else _index(data, 16)


def _address(data: bytes, at: int) -> bytes | int:
    """Of an interface, with its index behind it if there is none."""
    address = data[at : at + 4]
    return address if any(address) else _index(data, 8)


def _index(data: bytes, at: int) -> int:
    return int(INT.unpack_from(data, at)[0]) if len(data) >= at + INT.size else 0


def join_the_same(sock: socket.socket, made: Options, interfaces: Iterable[int]) -> None:
    """Have `made` join the groups that `sock` is in, on each of the stack's `interfaces`: the kernel's are others."""
    for group, chosen in memberships(sock):
        level = socket.IPPROTO_IP if group[:2] == struct.pack("@H", socket.AF_INET) else socket.IPPROTO_IPV6
        for index in interfaces:
            with contextlib.suppress(OSError):  # an interface without the family
                made.setsockopt(level, MCAST_JOIN_GROUP, _REQUEST.pack(index, group))
                if chosen[:8] != _ALL:
                    whole = struct.pack("@I4x128s", index, group) + chosen
                    made.setsockopt(level, MCAST_MSFILTER, whole)


def memberships(sock: socket.socket) -> list[Membership]:
    """The groups, each once, with what is heard of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    found: dict[bytes, bytes] = {}
    for index, group in _groups():
        storage = _storage(group)
        chosen = None if storage in found else _chosen(libc, sock, index, storage, len(group))
        if chosen is not None:
            found[storage] = chosen
    return list(found.items())


def _storage(group: bytes) -> bytes:
    if len(group) == 4:
        return struct.pack("@HH4s120x", socket.AF_INET, 0, group)
    return struct.pack("@HHI16sI100x", socket.AF_INET6, 0, 0, group, 0)


def _chosen(libc: ctypes.CDLL, sock: socket.socket, index: int, group: bytes, size: int) -> bytes | None:
    """What `sock` hears of the group; None: it is no member."""
    level = socket.IPPROTO_IP if size == 4 else socket.IPPROTO_IPV6
    asked = _FILTER.pack(index, group, 0, _SOURCES_READ)
    question = ctypes.create_string_buffer(asked, _FILTER.size + 128 * _SOURCES_READ)
    length = ctypes.c_uint(len(question))
    if libc.getsockopt(sock.fileno(), level, MCAST_MSFILTER, question, ctypes.byref(length)):
        return None
    return question.raw[_REQUEST.size : length.value]


def _groups() -> Iterator[tuple[int, bytes]]:
    """(interface, group) of all that anybody in this network namespace has joined."""
    index = 0
    for line in _lines("/proc/net/igmp"):
        words = line.split()
        if not line[:1].isspace():
            index = int(words[0])
        else:
            yield index, bytes.fromhex(words[0])[::-1]
    for line in _lines("/proc/net/igmp6"):
        number, _, group = line.split()[:3]
        yield int(number), bytes.fromhex(group)


def _lines(path: str) -> list[str]:
    """The lines of a table of the kernel; none where there is no such table."""
    if not os.path.exists(path):
        return []
    return [line for line in Path(path).read_text().splitlines() if line[:1] != "I"]
