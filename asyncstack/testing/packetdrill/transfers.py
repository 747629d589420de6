"""System calls that move data. Bytes that a script leaves open (`...`) are zero."""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from asyncstack.testing.packetdrill.constants import constant, number
from asyncstack.testing.packetdrill.report import Mismatch
from asyncstack.testing.packetdrill.script import DOTS, CallLine, ScriptError, Struct, UnsupportedError

if TYPE_CHECKING:
    from asyncstack.testing.packetdrill.calls import SystemCalls


class Transfers:
    """read, write and their kin; a method bears the name of its call."""

    def __init__(self, calls: SystemCalls) -> None:
        self._calls = calls

    # send

    def write(self, line: CallLine) -> Awaitable[int]:
        """write(fd, data, count)"""
        return self._send(line, _data(line.arguments[1], line.arguments[2]))

    def writev(self, line: CallLine) -> Awaitable[int]:
        """writev(fd, iov, count)"""
        return self._send(line, _join(line.arguments[1]))

    def send(self, line: CallLine) -> Awaitable[int]:
        """send(fd, data, count, flags)"""
        return self._send(line, _data(line.arguments[1], line.arguments[2]), number(line.arguments[3]))

    def sendto(self, line: CallLine) -> Awaitable[int]:
        """sendto(fd, data, count, flags, address, size)"""
        data, flags = _data(line.arguments[1], line.arguments[2]), number(line.arguments[3])
        return self._send(line, data, flags, line.arguments[4] if len(line.arguments) > 4 else None)

    def sendmsg(self, line: CallLine) -> Awaitable[int]:
        """sendmsg(fd, msghdr, flags)"""
        header = line.arguments[1]
        if header.get("msg_control"):
            raise UnsupportedError("control messages")
        return self._send(
            line, _join(header.get("msg_iov", [])), number(line.arguments[2]), header.get("msg_name")
        )

    async def _send(self, line: CallLine, data: bytes, flags: int = 0, address: Any = None) -> int:
        file = self._calls.file(line)
        world = self._calls.world
        fast_open = flags & constant("MSG_FASTOPEN")
        if address is DOTS and not fast_open and not hasattr(file, "_datagrams"):
            address = None
        if isinstance(address, Struct) or address is DOTS:
            target = self._calls.address(address, world.remote, world.remote_port)
            sent: int = await file.sendto(data, flags, target)
        else:
            sent = await file.send(data, flags)
        # a blocking call of the kernel's returns when it has taken all
        while sent < len(data) and file.getblocking() and not flags & constant("MSG_DONTWAIT"):
            sent += await file.send(data[sent:], flags & ~fast_open)
        return sent

    # receive

    def read(self, line: CallLine) -> Awaitable[int]:
        """read(fd, data, count)"""
        return self._receive(line, line.arguments[1], number(line.arguments[2]))

    def readv(self, line: CallLine) -> Awaitable[int]:
        """readv(fd, iov, count)"""
        return self._receive(line, DOTS, len(_join(line.arguments[1])))

    def recv(self, line: CallLine) -> Awaitable[int]:
        """recv(fd, data, count, flags)"""
        return self._receive(line, line.arguments[1], number(line.arguments[2]), number(line.arguments[3]))

    recvfrom = recv

    def recvmsg(self, line: CallLine) -> Awaitable[int]:
        """recvmsg(fd, msghdr, flags)"""
        header = line.arguments[1]
        size, flags = len(_join(header.get("msg_iov", []))), number(line.arguments[2])
        control = header.get("msg_control")
        return (
            self._receive_message(line, size, flags, control)
            if control
            else self._receive(line, DOTS, size, flags)
        )

    async def _receive_message(self, line: CallLine, size: int, flags: int, control: list[Any]) -> int:
        """With the control messages that the script names, all of them integers: TCP_CM_INQ."""
        data, ancillary, *_ = await self._calls.file(line).recvmsg(size, 1024, flags)
        wanted = [
            tuple(number(one.get(word)) for word in ("cmsg_level", "cmsg_type", "cmsg_data"))
            for one in control
        ]
        found = [(level, kind, int.from_bytes(value, sys.byteorder)) for level, kind, value in ancillary]
        if found != wanted:
            raise Mismatch(f"{line.name} gave the control messages {found}, the script says {wanted}")
        return len(data)

    async def _receive(self, line: CallLine, wanted: Any, count: int, flags: int = 0) -> int:
        data = await self._calls.file(line).recv(count, flags)
        if isinstance(wanted, bytes) and bytes(data) != wanted:
            raise Mismatch(f"{line.name} gave {bytes(data)!r}, the script says {wanted!r}")
        return len(data)


def _data(value: Any, count: Any) -> bytes:
    size = number(count)
    if value is DOTS:
        return bytes(size)
    if isinstance(value, bytes):
        return value[:size]
    if value == 0:
        return b""
    raise ScriptError(f"{value!r} is no buffer")


def _join(vectors: list[Any]) -> bytes:
    return b"".join(_data(*vector.items) for vector in vectors)
