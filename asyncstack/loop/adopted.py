"""What a library sees of its own socket once a stack's has taken its place: every call tells and does the same.

The object stays the one that the library made, as a `socket.socket`, and its class becomes `AdoptedSocket`. Calls are
BSD's, and do not wait: on a socket that blocks they raise RuntimeError where they would have to, as it is the loop of
the same thread that serves them.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from asyncstack.errors import os_error
from asyncstack.loop.kernel_sockets import refuse
from asyncstack.transport.sockets.base import StackSocket

if TYPE_CHECKING:
    from asyncstack.loop.adoption import Adoptions

T = TypeVar("T")


class AdoptedSocket(socket.socket):
    """A socket of the kernel that a socket of a stack stands in for; each loop has a subclass with its `adoptions`.

    It can have no attributes of its own, or the class of an object that exists could not become this one.
    """

    __slots__ = ()
    adoptions: ClassVar[Adoptions]

    def __repr__(self) -> str:
        return f"<AdoptedSocket {self.adoptions.standing_in(self) or 'closed'}>"

    @property
    def _ours(self) -> Any:
        ours = self.adoptions.standing_in(self)
        if ours is None:
            raise os_error(errno.EBADF)
        return ours

    # facts

    @property
    def family(self) -> socket.AddressFamily:
        return self._ours.family  # type: ignore[no-any-return]

    @property
    def type(self) -> socket.SocketKind:
        return self._ours.type  # type: ignore[no-any-return]

    @property
    def proto(self) -> int:
        return self._ours.proto  # type: ignore[no-any-return]

    @property
    def timeout(self) -> float | None:
        return self.gettimeout()

    def fileno(self) -> int:
        """A descriptor that polls as the socket does; for nothing but polling."""
        ours = self.adoptions.standing_in(self)
        return -1 if ours is None else int(ours.fileno())

    def getsockname(self) -> Any:
        return self._ours.getsockname()

    def getpeername(self) -> Any:
        return self._ours.getpeername()

    def getsockopt(self, *args: Any) -> Any:
        return self._ours.getsockopt(*args)

    def setsockopt(self, *args: Any) -> None:
        self._ours.setsockopt(*args)

    def gettimeout(self) -> float | None:
        timeout: float | None = self._ours.gettimeout()
        return timeout

    def settimeout(self, value: float | None) -> None:
        self._ours.settimeout(value)

    def getblocking(self) -> bool:
        return self.gettimeout() != 0.0

    def setblocking(self, flag: bool) -> None:
        self._ours.setblocking(flag)

    # calls that do not wait

    def bind(self, address: Any) -> None:
        self._ours.bind(address)

    def listen(self, backlog: int = 128) -> None:
        self._ours.listen(backlog)

    def shutdown(self, how: int) -> None:
        self._ours.shutdown(how)

    # calls that might

    def _at_once(self, call: str, *args: Any) -> Any:
        """What the call of the stack's socket returns if it does not wait."""
        ours = self._ours
        timeout = ours.gettimeout()
        if isinstance(ours, StackSocket):
            ours.setblocking(False)
        try:
            return without_waiting(getattr(ours, call)(*args))
        except BlockingIOError:
            if timeout == 0.0:
                raise
        finally:
            ours.settimeout(timeout)
        raise RuntimeError(
            f"{call}() would wait, and stop the loop that serves this socket: use the loop's calls on it, or"
            " setblocking(False)"
        )

    def accept(self) -> tuple[socket.socket, Any]:
        made, address = self._at_once("accept")
        return self.adoptions.stand_in(made), address

    def connect(self, address: Any) -> None:
        self._at_once("connect", address)

    def connect_ex(self, address: Any) -> int:
        try:
            self.connect(address)
        except OSError as exc:
            if exc.errno is None:
                raise
            return exc.errno
        return 0

    def recv(self, *args: Any) -> bytes:
        return self._at_once("recv", *args)  # type: ignore[no-any-return]

    def recv_into(self, *args: Any) -> int:
        return self._at_once("recv_into", *args)  # type: ignore[no-any-return]

    def recvfrom(self, *args: Any) -> tuple[bytes, Any]:
        return self._at_once("recvfrom", *args)  # type: ignore[no-any-return]

    def recvfrom_into(self, *args: Any) -> tuple[int, Any]:
        return self._at_once("recvfrom_into", *args)  # type: ignore[no-any-return]

    def recvmsg(self, *args: Any) -> Any:
        return self._at_once("recvmsg", *args)

    def send(self, *args: Any) -> int:
        return self._at_once("send", *args)  # type: ignore[no-any-return]

    def sendall(self, *args: Any) -> None:
        self._at_once("sendall", *args)

    def sendto(self, *args: Any) -> int:
        return self._at_once("sendto", *args)  # type: ignore[no-any-return]

    def sendmsg(self, *args: Any) -> int:
        return self._at_once("sendmsg", *args)  # type: ignore[no-any-return]

    # what only the kernel could do

    def detach(self) -> int:
        raise refuse("detach()")

    def dup(self) -> Self:
        raise refuse("dup()")

    def sendfile(self, *args: Any) -> int:
        raise refuse("sendfile()")

    def recvmsg_into(self, *args: Any) -> Any:
        raise refuse("recvmsg_into()")

    def close(self) -> None:
        super().close()
        if self._io_refs <= 0:  # type: ignore[attr-defined]
            self.adoptions.closed(self)


def without_waiting(call: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that is not going to suspend."""
    try:
        call.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    call.close()
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
