"""Whether the kernel's side of a TUN or TAP is up, and news of that (rtnetlink(7)).

A device whose other side is down still reads and writes, in vain; only the kernel's broadcasts say when that begins and
ends. They need no privilege. Where netlink is not permitted nobody tells, and the link counts as up.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

RTMGRP_LINK: Final = 1
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
IFLA_NEW_NETNSID: Final = 45
NLM_F_REQUEST: Final = 1
IFF_LOWER_UP: Final = 0x10000  # up, and what carries it too: `ip link set carrier off` clears it
READS: Final = 64  # messages in one turn of the loop
READ_SIZE: Final = 32 << 10

_HEADER: Final = Struct("=IHHII")  # length, type, flags, sequence, port
_LINK: Final = Struct("=BxHiII")  # family, type, index, flags, change
_ATTRIBUTE: Final = Struct("=HH")  # length, type
_BODY: Final = _HEADER.size + _LINK.size


class Carrier:
    """Watches the interface called `name`; `on_change(up)` is called when it goes down, or up again."""

    def __init__(self, name: str, on_change: Callable[[bool], None]) -> None:
        self.up = True
        self._on_change = on_change
        self._index = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        try:
            kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
            self._socket.bind((0, RTMGRP_LINK))
            self._index = socket.if_nametoindex(name)
        except OSError:
            # also where the device was opened elsewhere and its interface is in another namespace
            self.close()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask how it is, and listen from now on."""
        if self._socket is not None and self._loop is None:
            self._loop = loop
            loop.add_reader(self._socket.fileno(), self._read)
            self._ask()

    def close(self) -> None:
        """Listen no more. Safe to call twice."""
        sock, self._socket = self._socket, None
        if sock is not None:
            if self._loop is not None:
                self._loop.remove_reader(sock.fileno())
            sock.close()

    def _ask(self) -> None:
        assert self._socket is not None
        request = _HEADER.pack(_BODY, RTM_GETLINK, NLM_F_REQUEST, 0, 0) + _LINK.pack(0, 0, self._index, 0, 0)
        try:
            self._socket.send(request)
        except OSError:
            pass  # no room now; the next change is told all the same

    def _read(self) -> None:
        for _ in range(READS):
            if self._socket is None:
                return  # closed by who was told
            try:
                data = self._socket.recv(READ_SIZE)
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno == errno.ENOBUFS:
                    self._ask()  # news were lost
                return
            for index, up in link_messages(data):
                if index == self._index:
                    self._set(up)

    def _set(self, up: bool) -> None:
        if up != self.up:
            self.up = up
            self._on_change(up)


def link_messages(data: bytes) -> Iterator[tuple[int, bool]]:
    """(interface index, whether it is up) as each message of a datagram of the kernel's has it. One that is moved into
    another network namespace, from where no news come, counts as up; of one that is deleted its file tells."""
    at = 0
    while at + _BODY <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            _, _, index, flags, _ = _LINK.unpack_from(data, at + _HEADER.size)
            if kind == RTM_NEWLINK:
                yield index, flags & IFF_LOWER_UP != 0
            elif IFLA_NEW_NETNSID in _attributes(data[at + _BODY : at + length]):
                yield index, True
        at += length + 3 & ~3


def _attributes(data: bytes) -> Iterator[int]:
    """The types of the attributes in `data`."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind
        at += length + 3 & ~3
