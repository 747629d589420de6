"""Frames that one worker passes to another: an inbox for each, which all the others write to.

The sockets are of SOCK_SEQPACKET: a message is a frame, whoever sent it, and the kernel bounds what waits. What finds
no room is lost and counted, as on any link.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from struct import Struct
from typing import Final

from asyncstack.link.frame import Frame
from asyncstack.link.tuntap import READ_SIZE

BUFFER: Final = 1 << 20  # bytes that may wait for a worker; the kernel may allow less
_HEADER: Final = Struct("!??HHH")


def make_inbox() -> tuple[socket.socket, socket.socket]:
    """(the end that a worker reads, the end that the others write)."""
    inbox, outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (inbox, outbox):
        end.setblocking(False)
    outbox.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    return inbox, outbox


class Handover:
    """A worker's own inbox, and the way to the inbox of each worker, by index."""

    def __init__(self, inbox: socket.socket, outboxes: Sequence[socket.socket]) -> None:
        self.inbox = inbox
        self._outboxes = outboxes

    def send(self, index: int, frame: Frame, *, offer: bool = False) -> bool:
        """Pass `frame` to worker `index`. `offer`: it is for whoever has the connection. False: there was no room."""
        header = _HEADER.pack(
            offer, frame.checksum_valid, frame.gso_size, frame.checksum_start, frame.checksum_offset
        )
        try:
            self._outboxes[index].sendmsg((header, frame.data))
        except OSError:  # EAGAIN, ENOBUFS
            return False
        return True

    def receive(self) -> tuple[Frame, bool] | None:
        """The next frame, and whether it is an offer; None: no more for now."""
        try:
            data = self.inbox.recv(READ_SIZE)
        except BlockingIOError:
            return None
        offer, valid, gso_size, start, offset = _HEADER.unpack_from(data)
        return Frame(memoryview(data)[_HEADER.size :], valid, gso_size, start, offset), offer

    def close(self) -> None:
        """Close this process's ends."""
        for end in (self.inbox, *self._outboxes):
            end.close()
