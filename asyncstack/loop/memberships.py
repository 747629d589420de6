"""Which multicast groups a socket of the kernel has joined: nothing tells, but it can be asked about each there is.

The kernel lists the groups of every interface, whoever joined them; MCAST_MSFILTER (RFC 3678 5.1.2) says of one group
on one interface whether this socket is a member. `socket.getsockopt` can not ask that, as the question goes in with the
buffer of the answer.
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

MCAST_MSFILTER: Final = 48
_FILTER: Final = struct.Struct("@I4x128sII")  # struct group_filter without sources


def join_the_same(sock: socket.socket, made: Options, interfaces: Iterable[int]) -> None:
    """Have `made` join the groups that `sock` is in, on each of the stack's `interfaces`: the kernel's are others."""
    for group in memberships(sock):
        for index in interfaces:
            with contextlib.suppress(OSError):  # an interface without the family
                if len(group) == 4:
                    mreqn = group + bytes(4) + INT.pack(index)
                    made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, mreqn)
                else:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + INT.pack(index))


def memberships(sock: socket.socket) -> list[bytes]:
    """The groups, each once."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = [group for index, group in _groups() if _is_member(libc, sock, index, group)]
    return list(dict.fromkeys(found))


def _is_member(libc: ctypes.CDLL, sock: socket.socket, index: int, group: bytes) -> bool:
    ipv4 = len(group) == 4
    if ipv4:
        level, address = socket.IPPROTO_IP, struct.pack("@HH4s", socket.AF_INET, 0, group)
    else:
        level, address = socket.IPPROTO_IPV6, struct.pack("@HHI16sI", socket.AF_INET6, 0, 0, group, 0)
    question = ctypes.create_string_buffer(_FILTER.pack(index, address, 0, 0))
    size = ctypes.c_uint(_FILTER.size)
    failed: int = libc.getsockopt(sock.fileno(), level, MCAST_MSFILTER, question, ctypes.byref(size))
    return not failed


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
