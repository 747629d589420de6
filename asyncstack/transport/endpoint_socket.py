"""What stands behind `get_extra_info("socket")`: addresses and options, in the shape of a socket.

Libraries ask it for `family`, `getsockname()` and `setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)`, and poll its descriptor,
which is made when it is asked for. Bytes go through the transport only.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from asyncstack.errors import os_error
from asyncstack.network.addresses import format_address, is_link_local
from asyncstack.transport.options import Options, Settings
from asyncstack.transport.sockets.readiness import PollableFd

SocketAddress = tuple[Any, ...]


def socket_address(address: bytes, port: int, scope: int = 0) -> SocketAddress:
    """What `getsockname()` gives: (host, port), or (host, port, flowinfo, scope_id) for IPv6. scope: the index of the
    interface on whose link a link-local address is."""
    host = format_address(address)
    if len(address) == 4:
        return host, port
    return host, port, 0, scope if is_link_local(address) else 0


class EndpointSocket(Options):
    """The addresses and options of one endpoint. `table` and what it acts on come with the subclass."""

    def __init__(
        self,
        kind: int,
        proto: int,
        sockname: SocketAddress,
        peer: SocketAddress | None,
        settings: Settings | None = None,
    ) -> None:
        family = socket.AF_INET6 if ":" in sockname[0] else socket.AF_INET
        super().__init__(family, socket.SocketKind(kind), proto, settings)
        self._sockname = sockname
        self._peer = peer
        self._fd: PollableFd | None = None
        self._ended = False

    def __repr__(self) -> str:
        return f"<EndpointSocket {self._sockname} -> {self._peer}>"

    def getsockname(self) -> SocketAddress:
        """(host, port), or (host, port, flowinfo, scope_id) for IPv6."""
        return self._sockname

    def getpeername(self) -> SocketAddress:
        """The other end. Raises OSError(ENOTCONN) on a listener or an unconnected datagram endpoint."""
        if self._peer is None:
            raise os_error(errno.ENOTCONN)
        return self._peer

    def fileno(self) -> int:
        """A descriptor that select, poll and epoll find readable and writable as the kernel's would be: readable when
        data or the end waits for a transport that reads no more, for instance. Made on first use; for nothing but
        polling. -1 once the transport is closed."""
        if self._ended:
            return -1
        if self._fd is None:
            self._fd = PollableFd()
            self._watch()
        self.refresh()
        return self._fd.fileno()

    def refresh(self) -> None:
        """What the descriptor shows may have changed, if there is one."""
        if self._fd is not None:
            self._fd.show(self._mask())

    def end(self) -> None:
        """There is nothing to poll any more."""
        self._ended = True
        if self._fd is not None:
            self._fd.close()
            self._fd = None

    def _watch(self) -> None:
        """See to it that `refresh` is called."""

    def _mask(self) -> int:
        """The state in bits of poll(2)."""
        return 0

    def setblocking(self, flag: bool) -> None:
        """Accepted and ignored: there is nothing here that blocks."""

    def settimeout(self, value: float | None) -> None:
        """Accepted and ignored: there is nothing here that blocks."""

    def gettimeout(self) -> float:
        """0.0, as for every socket that asyncio owns."""
        return 0.0

    def _refuse(self, *args: object) -> Any:
        raise os_error(
            errno.EOPNOTSUPP, "use the transport: an asyncstack endpoint has no descriptor of its own"
        )

    recv = recv_into = send = sendall = accept = connect = bind = listen = detach = dup = _refuse
