"""`socket.socket` in a program that runs unchanged: what it does with addresses of the stack is recorded, not done.

A library may bind a socket of the kernel to an address of the stack before any loop has seen it. The kernel has no such
address; so `bind`, `listen` and the `connect` of a datagram socket are noted, the names that were given are told again
by `getsockname` and `getpeername`, and the loop, which the socket comes to in the end, makes the stack's socket from
that (`loop.adoption`). Options about groups on its interfaces are noted likewise. What would have to block is refused,
in words; but a thread of its own may connect, see `loop.relaying`. All other addresses are the kernel's as ever.

    ProgramSocket     any socket; only `bind`, `connect`, `connect_ex` and `sendto` look at the address, and
                      `setsockopt` at an interface of the stack's
    RecordedSocket    what it becomes with the first address of the stack
    RelayedSocket     what it becomes once it is connected through the loop
"""

from __future__ import annotations

import errno
import random
import socket
from socket import socket as KernelSocket
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from asyncstack.errors import os_error
from asyncstack.loop.memberships import interface_named
from asyncstack.loop.program import MOST_WISHES, Record, Wish, name_of
from asyncstack.loop.relaying import connect_through

if TYPE_CHECKING:
    from asyncstack.loop.program import Program

NO_SUCH_INTERFACE: Final = (errno.ENODEV, errno.EADDRNOTAVAIL)
INET: Final = (socket.AF_INET, socket.AF_INET6)
EPHEMERAL: Final = range(32768, 61000)
BACKLOG_OFFSET: Final = 28  # of tcpi_sacked, which is the backlog while a socket listens
TCP_INFO_SIZE: Final = 104

SERVE: Final = "no thread can wait on it: serve with asyncio (start_server, or sock= with this socket)"
SEND: Final = "no thread can send by it: use a datagram endpoint of asyncio, or loop.sock_sendto"
IN_THE_LOOP: Final = "it would stop the event loop that has to serve it: use asyncio's calls, or a thread"
NO_LOOP: Final = "no event loop that has the stack runs: connect in one, or in a thread while it runs"
NOT_WAITING: Final = (
    "the socket does not block, and only the loop's own calls (sock_connect, sock=) can connect it"
)
CHILD: Final = (
    "a child process can not have a socket of it. Run the program in one process (uvicorn without --workers and "
    "--reload, hypercorn with --workers 0); `asyncstack serve --workers` shares a TUN between processes"
)


class AnySocket(type):
    """The kernel's sockets that were made before, or by subclasses from before (TLS), are `socket.socket`s too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return issubclass(type(instance), cls)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if cls.__dict__.get("stands_for_all"):
            return issubclass(subclass, KernelSocket)
        return type.__subclasscheck__(cls, subclass)


class ProgramSocket(KernelSocket, metaclass=AnySocket):
    """A socket of the kernel, until it is given an address of the stack."""

    __slots__ = ()
    program: ClassVar[Program]
    recorded: ClassVar[type[RecordedSocket]]
    relayed: ClassVar[type[RelayedSocket]]

    def bind(self, address: Any) -> None:
        local = self.program.territory.local(address[0]) if self._is_inet(address) else None
        if local is None:
            super().bind(address)
            return
        port = address[1] or _any_port()
        self._record(name_of(local, port, self.family))

    def connect(self, address: Any) -> None:
        remote = self._remote(address)
        if remote is None:
            super().connect(address)
        elif self.type == socket.SOCK_DGRAM:
            source = name_of(self.program.territory.source(remote), _any_port(), self.family)
            self._record(source).remote = name_of(remote, address[1], self.family)
        else:
            self._connect_stream(name_of(remote, address[1], self.family))

    def connect_ex(self, address: Any) -> int:
        if self._remote(address) is None:
            return super().connect_ex(address)
        try:
            self.connect(address)
        except OSError as exc:
            if exc.errno is None:
                raise
            return exc.errno
        return 0

    def sendto(self, data: Any, *args: Any) -> int:
        if self._remote(args[-1]) is not None:
            raise self.program.refuse("sendto() to", args[-1], SEND)
        return super().sendto(data, *args)

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        about = interface_named(level, option, value[0])
        ours = about is not None and self.program.territory.has_interface(about)
        if ours and isinstance(about, bytes):
            self._wish((level, option, *value))
            return
        try:
            super().setsockopt(level, option, *value)
        except OSError as exc:
            if not ours or exc.errno not in NO_SUCH_INTERFACE:
                raise
            self._wish((level, option, *value))

    def _wish(self, option: Wish) -> None:
        """An option for the socket of the stack alone."""
        wishes = self.program.wishes.setdefault(self, [])
        if len(wishes) >= MOST_WISHES:
            raise os_error(errno.ENOBUFS, f"{MOST_WISHES} options of a socket that no loop has yet")
        wishes.append(option)

    @property
    def wishes(self) -> list[Wish]:
        """Options about interfaces that only the stack has, for the stack's socket."""
        found: list[Wish] = self.program.wishes.get(self, [])
        return found

    def _connect_stream(self, address: tuple[Any, ...]) -> None:
        """By a thread that may wait, while the loop of another one serves the connection."""
        program = self.program
        if program.loop is None or not program.loop.is_running():
            raise program.refuse("connect() to", address, NO_LOOP)
        if program.is_loops_thread():
            raise program.refuse("connect() to", address, IN_THE_LOOP)
        if self.gettimeout() == 0.0:
            raise program.refuse("connect() to", address, NOT_WAITING)
        bound = program.records.get(self)
        local = connect_through(program.loop, self, address, bound.local if bound is not None else None)
        program.records[self] = Record(local, address)
        self.__class__ = self.relayed

    def _record(self, local: tuple[Any, ...]) -> Record:
        """What is known of it now: its own name is `local`, unless it has one."""
        self.__class__ = self.recorded
        return self.program.records.setdefault(self, Record(local))

    def _is_inet(self, address: Any) -> bool:
        return self.family in INET and isinstance(address, tuple) and len(address) >= 2

    def _remote(self, address: Any) -> bytes | None:
        return self.program.territory.remote(address[0]) if self._is_inet(address) else None


class RecordedSocket(ProgramSocket):
    """One that was given an address of the stack, and waits for the loop to make something of it."""

    __slots__ = ()
    gives_way: ClassVar[bool] = True  # to the class of an adopted socket

    @property
    def record(self) -> Record:
        """What it was told."""
        found: Record = self.program.records[self]
        return found

    def __repr__(self) -> str:
        return f"<socket of the stack, {self.record}>"

    def bind(self, address: Any) -> None:
        raise os_error(errno.EINVAL, f"it is bound to {self.record.local} already")

    def listen(self, backlog: int = 128, /) -> None:
        self.record.backlog = max(backlog, 0)

    def shutdown(self, how: int, /) -> None:
        """As the kernel does: of one that only listens, it ends that."""
        if self.record.backlog is None:
            raise os_error(errno.ENOTCONN)
        self.record.backlog = None

    def getsockname(self) -> Any:
        return self.record.local

    def getpeername(self) -> Any:
        if self.record.remote is None:
            raise os_error(errno.ENOTCONN)
        return self.record.remote

    def getsockopt(self, level: int, option: int, *size: int) -> Any:
        """The kernel's, which does not know that it listens."""
        backlog = self.record.backlog
        if backlog is not None and (level, option) == (socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return 1
        if backlog is not None and (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO):
            return (
                bytes(BACKLOG_OFFSET)
                + backlog.to_bytes(4, "little")
                + bytes(TCP_INFO_SIZE - BACKLOG_OFFSET - 4)
            )
        return super().getsockopt(level, option, *size)

    def _refuse(self, *args: Any, **kwds: Any) -> NoReturn:
        raise self.program.refuse("waiting on a socket of", self.record.local, SERVE)

    accept = recv = recv_into = recvfrom = recvfrom_into = recvmsg = recvmsg_into = _refuse
    send = sendall = sendfile = sendmsg = _refuse

    def sendto(self, data: Any, *args: Any) -> NoReturn:
        raise self.program.refuse("sendto() from", self.record.local, SEND)

    def dup(self) -> Any:
        made = super().dup()
        self.program.records[made] = self.record
        made.__class__ = type(self)
        return made

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise self.program.refuse("a socket for", self.record.local, CHILD)


class RelayedSocket(ProgramSocket):
    """A connection to the stack for a thread that may wait: its descriptor is one end of a pair, see `relaying`."""

    __slots__ = ()

    def getsockname(self) -> Any:
        return self.program.records[self].local

    def getpeername(self) -> Any:
        return self.program.records[self].remote

    def setsockopt(self, level: int, *args: Any) -> None:
        if level == socket.SOL_SOCKET:  # of TCP and IP there is nothing to set on a pair
            super().setsockopt(level, *args)


def _any_port() -> int:
    """A port that nobody has, most likely; who binds it for good, later, says if somebody had."""
    return random.SystemRandom().choice(EPHEMERAL)


def socket_class(program: Program) -> type[ProgramSocket]:
    """What stands in the place of `socket.socket` in `program`."""
    shared = {"__slots__": (), "program": program}
    made: Any = AnySocket("socket", (ProgramSocket,), {**shared, "stands_for_all": True})
    made.recorded = AnySocket("socket", (RecordedSocket, made), {**shared, "stands_for_all": False})
    made.relayed = AnySocket("socket", (RelayedSocket, made), {**shared, "stands_for_all": False})
    return made  # type: ignore[no-any-return]
