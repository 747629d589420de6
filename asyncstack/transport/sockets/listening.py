"""The queue of a listening socket: connections that are open and wait for `accept` (listen(2))."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from asyncstack.transport.tcp.endpoint import TcpEndpoint

if TYPE_CHECKING:
    from asyncstack.transport.sockets.opening import OpeningSocket

S = TypeVar("S", bound="OpeningSocket")

SOMAXCONN: Final = 4096  # Linux: net.core.somaxconn


class AcceptQueue(Generic[S]):
    """What the listeners of one socket hand over to (`Acceptor`)."""

    __slots__ = ("_make", "_ready", "_waiting", "backlog")

    def __init__(self, backlog: int, make: Callable[[TcpEndpoint], S], ready: Callable[[], None]) -> None:
        self._make = make
        self._ready = ready
        self._waiting: deque[S] = deque()
        self.backlog = backlog

    def __len__(self) -> int:
        return len(self._waiting)

    def limit(self, backlog: int) -> None:
        """Go by another backlog; a negative one is the largest, as on Linux."""
        self.backlog = backlog if 0 <= backlog < SOMAXCONN else SOMAXCONN

    @property
    def has_room(self) -> bool:
        """Whether one more connection would be taken; Linux takes one more than the backlog."""
        return len(self._waiting) <= self.backlog

    def take(self, endpoint: TcpEndpoint) -> None:
        """A connection whose handshake is complete."""
        self._waiting.append(self._make(endpoint))
        self._ready()

    def pop(self) -> S | None:
        """The connection that has waited longest."""
        return self._waiting.popleft() if self._waiting else None

    def close(self) -> None:
        """Nobody will accept what waits: it is reset."""
        while self._waiting:
            self._waiting.popleft().abort()
