"""What poll(2) shows of a connection, also of one whose transport takes the data at once."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final

from asyncstack.transport.sockets.readiness import IN, OUT
from asyncstack.transport.tcp.endpoint import ENDED, Owner, TcpEndpoint
from asyncstack.transport.tcp.state import CLOSE_WAIT, CLOSING, LAST_ACK

if TYPE_CHECKING:
    from asyncstack.transport.endpoint_socket import EndpointSocket

FINISHED: Final = (CLOSE_WAIT, CLOSING, LAST_ACK)  # the peer has sent its FIN


def has_room(endpoint: TcpEndpoint) -> bool:
    """Whether a writer should be woken: a third of the buffer is free (Linux: sk_stream_write_space)."""
    connection = endpoint.connection
    if (low := connection.config.notsent_lowat) and 2 * connection.sender.unsent >= low:
        return False
    return 3 * connection.queued <= 2 * connection.send_buffer_limit


def shown(endpoint: TcpEndpoint) -> int:
    """The bits of poll(2) for an open connection, or one that has ended."""
    connection = endpoint.connection
    if connection.state in ENDED:
        return IN | OUT | select.POLLRDHUP | select.POLLHUP
    mask = IN if connection.unread else 0
    if connection.state in FINISHED:
        mask |= IN | select.POLLRDHUP
    return mask | OUT if has_room(endpoint) else mask


class Watched(Owner):
    """Stands between an endpoint and its owner while somebody polls `sock`: passes everything on, and shows it."""

    __slots__ = ("_owner", "_sock")

    def __init__(self, owner: Owner, sock: EndpointSocket) -> None:
        self._owner = owner
        self._sock = sock

    def readable(self) -> None:
        """See `Owner`."""
        self._owner.readable()
        self._sock.refresh()

    def ended(self) -> None:
        """See `Owner`."""
        self._owner.ended()
        self._sock.refresh()

    def writable(self) -> None:
        """See `Owner`."""
        self._owner.writable()
        self._sock.refresh()

    def closed(self, endpoint: TcpEndpoint, error: OSError | None) -> None:
        """See `Owner`."""
        self._owner.closed(endpoint, error)
        self._sock.refresh()

    def finish(self, endpoint: TcpEndpoint) -> None:
        """See `Owner`."""
        self._owner.finish(endpoint)
