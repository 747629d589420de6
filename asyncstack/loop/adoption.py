"""Sockets of the kernel that libraries make themselves, replaced by a stack's where the loop meets them.

A library makes a `socket.socket`, perhaps binds it, and gives it to the loop: by `sock=` or to a call like
`sock_connect`. If its address is a stack's, a socket of that stack of the same family, type, options and name takes its
place: the object stays the library's (`adopted`), what it does is the stack's.

    which stack     that of the bound address; any address is the current stack's; unbound, the one with a route to
                    where it is to be connected or sent
    how long        until the library closes the object or drops it; it is held weakly
    given to a      the object then speaks for the transport, as a `socket.socket` that was given away does, and the
    transport       kernel's descriptor goes

A socket that listens does so on the stack from its first `sock_accept` or `create_server` on; `sock_accept` first gives
whom the kernel has connected to it by then, `create_server` resets them. One that is connected, or
was used to send to the kernel's side, stays the kernel's. What the kernel has received for a socket before the loop met
it is lost: nothing of the stack's can be among it. Groups that were joined are joined on all interfaces of the stack.
"""

from __future__ import annotations

import _socket
import contextlib
import socket
import weakref
from typing import TYPE_CHECKING, Any

from asyncstack.loop.adopted import AdoptedSocket, without_waiting
from asyncstack.loop.choosing import Stacks
from asyncstack.loop.kernel_sockets import (
    KernelOptions,
    backlog,
    has_waiting,
    is_replaceable,
    local_name,
    peer_name,
)
from asyncstack.loop.memberships import join_the_same
from asyncstack.network.addresses import parse_address
from asyncstack.transport.endpoint_socket import EndpointSocket
from asyncstack.transport.sockets.base import StackSocket
from asyncstack.transport.sockets.datagrams import DatagramSocket
from asyncstack.transport.sockets.stream import StreamSocket

if TYPE_CHECKING:
    import asyncio

    from asyncstack.stack import Stack

Ours = StreamSocket | DatagramSocket


class StandIn:
    """Which socket of a stack stands in for one of the kernel; later the transport's that has taken it over."""

    __slots__ = ("dropped", "socket")

    def __init__(self, ours: StackSocket | EndpointSocket, dropped: weakref.finalize[Any, Any]) -> None:
        self.socket = ours
        self.dropped = dropped

    def end(self, close: bool = True) -> None:
        """Nobody asks for it any more."""
        if self.dropped.detach() and close and isinstance(self.socket, StackSocket):
            self.socket.close()


class Adoptions:
    """The sockets of the kernel that stacks of one loop have replaced."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stacks: Stacks) -> None:
        self._loop = loop
        self._stacks = stacks
        self._stand_ins: weakref.WeakKeyDictionary[socket.socket, StandIn] = weakref.WeakKeyDictionary()
        self._left: weakref.WeakSet[socket.socket] = weakref.WeakSet()  # to the kernel
        self._options = KernelOptions()
        self._class: type[AdoptedSocket] | None = None

    def __len__(self) -> int:
        return len(self._stand_ins)

    # who stands in

    def find(self, sock: Any) -> Ours | None:
        """The socket of a stack that `sock` is, or that stands in for it."""
        if isinstance(sock, (StreamSocket, DatagramSocket)):
            return sock
        found = self.standing_in(sock)
        return found if isinstance(found, (StreamSocket, DatagramSocket)) else None

    def standing_in(self, sock: Any) -> StackSocket | EndpointSocket | None:
        """What speaks for `sock`: also the socket of a transport that has taken it over. Raises RuntimeError for one
        that another loop has adopted."""
        if not isinstance(sock, socket.socket):
            return None
        if isinstance(sock, AdoptedSocket) and sock.adoptions is not self:
            raise RuntimeError(f"{sock!r} belongs to a stack of another event loop")
        found = self._stand_ins.get(sock)
        return None if found is None else found.socket

    def stack_of(self, ours: Ours) -> Stack | None:
        """The open stack that `ours` is a socket of."""
        return next((stack for stack in self._stacks if ours.layer in (stack.tcp, stack.udp)), None)

    # adopting

    def at(self, sock: Any) -> Ours | None:
        """The socket of a stack for `sock` if it is bound to an address of that stack, or to any; else None."""
        found = self.find(sock)
        if found is not None or not self._may_be_ours(sock):
            return found
        peer = peer_name(sock)
        if peer is not None:
            return self._connected(sock, peer)
        address, _ = local_name(sock)
        stack = self._stacks.of_local(address)
        return None if stack is None else self._adopt(sock, stack)

    def comes_late(self, sock: Any) -> bool:
        """Whether the kernel has connections for `sock`, which listens, that would be reset if a stack took it over."""
        return self.find(sock) is None and self._may_be_ours(sock) and has_waiting(sock)

    def towards(self, sock: Any, remotes: list[bytes], scope: str = "") -> Ours | None:
        """The socket of a stack for `sock`, which is to reach one of `remotes`, by the interface called `scope` if one
        is given; None: let the kernel do it."""
        found = self.find(sock)
        if found is not None or not self._may_be_ours(sock):
            return found
        address, port = local_name(sock)
        if peer_name(sock) is not None:
            return None
        if port and any(address):
            stack = self._stacks.of_local(address)
        else:
            stack = next(filter(None, (self._stacks.of_remote(one, scope) for one in remotes)), None)
        if stack is not None:
            return self._adopt(sock, stack)
        self._left.add(sock)  # what it binds by itself is the kernel's
        return None

    def _may_be_ours(self, sock: Any) -> bool:
        return bool(self._stacks) and is_replaceable(sock) and sock not in self._left

    def _connected(self, sock: socket.socket, peer: tuple[Any, ...]) -> Ours | None:
        """A datagram socket may be connected without a word to anybody; of a stream the kernel has the other end."""
        stack = self._stacks.of_remote(parse_address(peer[0])) if sock.type == socket.SOCK_DGRAM else None
        if stack is None:
            return None
        ours = self._made(sock, stack)
        try:
            without_waiting(ours.connect(peer))
        except BaseException:
            ours.close()
            raise
        self._keep(sock, ours)
        return ours

    def _adopt(self, sock: socket.socket, stack: Stack) -> Ours:
        ours = self._made(sock, stack)
        try:
            _, port = local_name(sock)
            if port:
                ours.bind(sock.getsockname())
            if isinstance(ours, DatagramSocket):
                join_the_same(sock, ours, [interface.index for interface in stack.interfaces])
            waiting = backlog(sock) if isinstance(ours, StreamSocket) else None
            if isinstance(ours, StreamSocket) and waiting is not None:
                ours.listen(waiting)
                sock.shutdown(socket.SHUT_RD)  # the kernel listens no more
        except BaseException:
            ours.close()
            raise
        self._keep(sock, ours)
        return ours

    def _made(self, sock: socket.socket, stack: Stack) -> Ours:
        ours = stack.socket(sock.family, sock.type, sock.proto)
        self._options.copy(sock, ours)
        for wish in getattr(sock, "wishes", ()):
            ours.setsockopt(*wish)
        ours.settimeout(sock.gettimeout())
        return ours

    def _keep(self, sock: socket.socket, ours: StackSocket) -> None:
        dropped = weakref.finalize(sock, _drop, self._loop, ours)
        dropped.atexit = False
        self._stand_ins[sock] = StandIn(ours, dropped)
        if type(sock) is socket.socket or hasattr(sock, "gives_way"):
            sock.__class__ = self._adopted

    @property
    def _adopted(self) -> type[AdoptedSocket]:
        if self._class is None:
            self._class = type("AdoptedSocket", (AdoptedSocket,), {"__slots__": (), "adoptions": self})
        return self._class

    def stand_in(self, ours: StackSocket) -> socket.socket:
        """A `socket.socket`, without a descriptor of the kernel, for one that a stack has accepted."""
        sock = self._adopted.__new__(self._adopted)
        sock._io_refs, sock._closed = 0, False  # type: ignore[attr-defined]
        self._keep(sock, ours)
        return sock

    # the end

    def handed_over(self, sock: Any, pseudo: StackSocket | EndpointSocket) -> None:
        """A transport or server has taken over the socket that stood in for `sock`: `pseudo` speaks for it."""
        stand_in = self._stand_ins.get(sock)
        if stand_in is None:  # it is a stack's own, or the library has closed it meanwhile
            return
        stand_in.end(close=False)
        stand_in.socket = pseudo
        _socket.socket.close(sock)  # the descriptor; the object goes on telling its name
        if not isinstance(sock, AdoptedSocket):
            sock.close()

    def closed(self, sock: socket.socket) -> None:
        """The library has closed `sock`."""
        stand_in = self._stand_ins.pop(sock, None)
        if stand_in is not None:
            stand_in.end()


def _drop(loop: asyncio.AbstractEventLoop, ours: StackSocket) -> None:
    """The library has forgotten its socket: in any thread, in the middle of anything."""
    with contextlib.suppress(RuntimeError):  # the loop is closed, and its stacks
        loop.call_soon_threadsafe(ours.close)
