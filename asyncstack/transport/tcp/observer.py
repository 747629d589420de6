"""Who watches a stack's connections, if anybody does. Without an observer nothing is computed for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncstack.transport.tcp.endpoint import TcpEndpoint


class Observer(Protocol):
    """Told what endpoints do; set as `TcpLayer.observer` by `TcpLayer.observe`."""

    def established(self, endpoint: TcpEndpoint) -> None:
        """The handshake is complete."""

    def settled(self, endpoint: TcpEndpoint) -> None:
        """Something has happened: `Sender.trace` and the numbers of the connection tell what."""

    def closed(self, endpoint: TcpEndpoint) -> None:
        """The connection is over."""
