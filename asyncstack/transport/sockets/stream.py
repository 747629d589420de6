"""A TCP socket: BSD's calls straight on a `TcpEndpoint`, with no asyncio transport in between.

Here is what it does with a connection: send, receive, poll, shut down, end; how it gets one is in `opening`. Errors,
their order and the bits of `poll` are Linux's.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from asyncstack.errors import os_error
from asyncstack.transport.options import INT
from asyncstack.transport.sockets.base import MSG_FASTOPEN, Ancillary
from asyncstack.transport.sockets.opening import CONNECTED, CONNECTING, UNCONNECTED, OpeningSocket
from asyncstack.transport.sockets.readiness import IN, OUT
from asyncstack.transport.tcp import urgent
from asyncstack.transport.tcp.endpoint import ENDED, ORPHAN, Owner, TcpEndpoint
from asyncstack.transport.tcp.fast_open import room_on_syn
from asyncstack.transport.tcp.options import TCP_INQ
from asyncstack.transport.tcp.polling import has_room
from asyncstack.transport.tcp.state import FIN_WAIT_2, SYN_SENT

RECEIVE: Final = 1
SEND: Final = 2
BOTH: Final = RECEIVE | SEND


class StreamSocket(OpeningSocket):
    """A TCP socket of a stack."""

    # what the endpoint tells

    def opened(self, endpoint: TcpEndpoint) -> None:
        """The handshake is complete."""
        self._changed()

    def readable(self) -> None:
        """There is more to receive. Nobody will, once both halves are shut down here: the peer has to know (Linux)."""
        if self._deaf and self._shut & SEND and self._endpoint is not None:
            self._endpoint.abort()
            self._error = errno.ECONNRESET
        self._changed()

    def ended(self) -> None:
        """The peer's FIN."""
        self._shut |= RECEIVE
        self._changed()

    def writable(self) -> None:
        """The peer acknowledged data."""
        self._changed()

    def closed(self, endpoint: TcpEndpoint, error: OSError | None) -> None:
        """The connection is over; what was received can still be read."""
        self._shut = BOTH
        if error is not None:
            self._error = error.errno or 0
        self._changed()

    def finish(self, endpoint: TcpEndpoint) -> None:
        """The stack is about to end."""
        self.close()

    def _mask(self) -> int:
        if self._queue is not None:
            return IN if len(self._queue) else 0
        live, shut = self._live, self._shut
        mask = select.POLLHUP if shut == BOTH or live is None else 0
        if shut & RECEIVE:
            mask |= IN | select.POLLRDHUP
        if live is None or not self._is_opening(live):
            if self.unread >= self.settings.receive_low:
                mask |= IN
            if shut & SEND or live is None or has_room(live):
                mask |= OUT
        return mask | select.POLLERR if self._error else mask

    @property
    def unread(self) -> int:
        """Bytes that can be received at once (SIOCINQ)."""
        return 0 if self._endpoint is None else self._endpoint.connection.unread

    @property
    def unsent(self) -> int:
        """Bytes that the peer has not acknowledged (SIOCOUTQ)."""
        return 0 if self._endpoint is None else self._endpoint.connection.queued

    # send

    async def send(self, data: Any, flags: int = 0) -> int:
        """Take bytes of `data` into the send buffer, waiting until there is room for one; how many were taken. All of
        them, unless the buffer fills up. The first data of TCP_FASTOPEN_CONNECT waits for the handshake too.

        Raises OSError EPIPE after `shutdown(SHUT_WR)` or when not connected, ECONNRESET and the like once.
        """
        self._check_flags(flags & ~socket.MSG_OOB)
        view = memoryview(data).cast("B")
        opens = self._waits_for_data() and not (self._timeout == 0.0 or flags & socket.MSG_DONTWAIT)
        taken = await self._until(lambda: self._send(view, flags), OUT, flags)
        if opens and taken:
            await self._until(lambda: self._connected() and self._answered(), OUT)
        return taken

    def _answered(self) -> bool | None:
        """Whether the server has answered the SYN; None: not yet."""
        live = self._live
        return None if live is not None and live.connection.state is SYN_SENT else True

    async def sendall(self, data: Any, flags: int = 0) -> None:
        """`send` until all of `data` is taken. After an error nobody knows how much was."""
        view = memoryview(data).cast("B")
        while True:
            view = view[await self.send(view, flags) :]
            if not view:
                return

    async def sendmsg(
        self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None
    ) -> int:
        """`send` of the joined `buffers`. An `address` on a connected socket is EISCONN."""
        if list(ancdata):
            raise os_error(errno.EOPNOTSUPP, "ancillary data on a TCP socket")
        return await self.sendto(b"".join(buffers), flags, address)

    async def sendto(self, data: Any, flags: Any, address: Any = None) -> int:
        """sendto(data, address) or sendto(data, flags, address): `send`, as the address is known."""
        if isinstance(flags, tuple):
            flags, address = 0, flags
        waits = self._waits_for_data()
        if flags & MSG_FASTOPEN and not waits:
            return await self._fast_open(memoryview(data).cast("B"), flags & ~MSG_FASTOPEN, address)
        if address is not None and self._stage == CONNECTED and not waits:
            raise os_error(errno.EISCONN)
        return await self.send(data, flags)

    def _waits_for_data(self) -> bool:
        """Whether it is connected in name only (TCP_FASTOPEN_CONNECT), and the SYN is still here."""
        fast = None if self._live is None else self._live.connection.fast_open
        return fast is not None and fast.waiting

    async def _fast_open(self, view: memoryview, flags: int, address: Any) -> int:
        """connect(2) and `send` in one (RFC 7413): with a cookie of the server known the data rides on the SYN; else a
        socket that does not wait raises BlockingIOError(EINPROGRESS), and nothing is sent."""
        self._check_open()
        if self._stage != UNCONNECTED or self._queue is not None:
            raise os_error(errno.EALREADY if self._stage == CONNECTING else errno.EISCONN)
        if address is None:
            raise os_error(errno.EDESTADDRREQ)
        await self._named(partial(self._open, data_follows=True), address)
        endpoint = self._endpoint
        assert endpoint is not None
        taken = len(view[: room_on_syn(endpoint.connection)])
        if taken:
            endpoint.write(bytes(view[:taken]))
        if self._timeout == 0.0 or flags & socket.MSG_DONTWAIT:
            if not taken:
                raise os_error(errno.EINPROGRESS)
            return taken
        await self._until(self._connected, OUT)
        return taken + await self.send(view[taken:], flags) if taken < len(view) else taken

    def _send(self, view: memoryview, flags: int) -> int | None:
        if self._error:
            raise os_error(self.take_error())
        live = self._live
        if live is None or self._shut & SEND:
            raise os_error(errno.EPIPE)
        if self._is_opening(live):
            return None
        connection = live.connection
        room = connection.room
        if not view:
            return 0
        if room <= 0:
            return None
        taken = view[:room]
        more = bool(flags & socket.MSG_MORE)
        connection.sender.hold(more)
        live.write(bytes(taken))
        if more:
            connection.sender.more_end = connection.sender.queue.end
        if flags & socket.MSG_OOB and len(taken) == len(view):
            urgent.mark(connection)
        self._changed()
        return len(taken)

    # receive

    async def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[Ancillary], int, Any]:
        """(data, ancillary data, 0, None): at most `bufsize` bytes, b"" at the end of the stream. TCP_INQ asks how many
        are left.

        MSG_PEEK leaves them, MSG_WAITALL waits for all, MSG_TRUNC throws them away and gives zeros.
        """
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        self._check_flags(flags)
        if flags & socket.MSG_WAITALL and not flags & socket.MSG_PEEK:
            data = await self._receive_all(bufsize, flags)
        else:
            data = await self._until(lambda: self._receive(bufsize, flags), IN, flags)
        if flags & socket.MSG_TRUNC:
            data = bytes(len(data))
        ancillary: list[Ancillary] = []
        if ancbufsize and self.settings.unread:
            ancillary.append((socket.IPPROTO_TCP, TCP_INQ, INT.pack(self.unread or self._shut & RECEIVE)))
        return data, ancillary, 0, None

    async def _receive_all(self, size: int, flags: int) -> bytes:
        """`size` bytes, fewer only at the end of the stream. What was taken goes back if this is cancelled."""
        data = bytearray()
        try:
            while len(data) < size:
                wanted = size - len(data)
                got = await self._until(lambda wanted=wanted: self._receive(wanted, flags), IN, flags)  # type: ignore[misc]
                if not got:
                    break
                data += got
        except BlockingIOError:
            if not data:
                raise
        except OSError as exc:
            if not data:
                raise
            self._error = self._error or exc.errno or 0
        except asyncio.CancelledError:
            if data and self._endpoint is not None:
                self._endpoint.connection.receiver.put_back(bytes(data))
            raise
        return bytes(data)

    def _receive(self, size: int, flags: int) -> bytes | None:
        if self._queue is not None:
            raise os_error(errno.ENOTCONN, "a listening socket receives nothing")
        endpoint = self._endpoint
        if endpoint is not None and endpoint.connection.unread:
            unhurried = self._timeout != 0.0 and not flags & socket.MSG_DONTWAIT and not self._shut & RECEIVE
            if not unhurried or endpoint.connection.unread >= min(self.settings.receive_low, size):
                return self._take(endpoint, size, flags)
        if self._error:
            raise os_error(self.take_error())
        if self._shut & RECEIVE:
            return b""
        if endpoint is None:
            raise os_error(errno.ENOTCONN)
        return None

    def _take(self, endpoint: TcpEndpoint, size: int, flags: int) -> bytes:
        receiver = endpoint.connection.receiver
        if flags & socket.MSG_PEEK:
            return receiver.peek(size)
        data = receiver.take(size)
        if receiver.ack_now:
            endpoint.settle()
        self._changed()
        return data

    # the end

    def shutdown(self, how: int) -> None:
        """SHUT_WR: FIN after what was sent. SHUT_RD: `recv` gives what there is and then b"". Raises ENOTCONN."""
        self._check_open()
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise os_error(errno.EINVAL, f"shutdown({how})")
        halves = how + 1
        if self._queue is not None:
            if halves & RECEIVE:
                self._stop_listening()
        elif self._live is None:
            self._shut |= halves
            self._changed()
            raise os_error(errno.ENOTCONN)
        elif self._live.connection.state is SYN_SENT:
            self._disconnect()
            self._error = errno.ECONNRESET
        else:
            self._stage = CONNECTED
            self._shut |= halves
            self._deaf = self._deaf or bool(halves & RECEIVE)
            if halves & SEND:
                self._live.shutdown()
        self._changed()

    def _end(self) -> None:
        self._stop_listening()
        endpoint = self._endpoint
        if endpoint is not None:
            endpoint.owner = ORPHAN
            endpoint.close()
        if self._claim is not None:
            self._layer.claims.release(self._claim)

    async def aclose(self) -> None:
        """`close`, and with SO_LINGER wait as close(2) does: until the peer has acknowledged everything and our FIN, at
        most the time set."""
        live, linger = self._live, self.config.linger
        self.close()
        if live is None or not linger or live.connection.state in ENDED:
            return
        done: asyncio.Future[None] = self._loop.create_future()
        live.owner = _Lingering(live, done)
        try:
            async with asyncio.timeout(linger):
                await done
        except TimeoutError:
            pass
        finally:
            live.owner = ORPHAN


class _Lingering(Owner):
    """The owner of a closed connection whose application waits for its end."""

    def __init__(self, endpoint: TcpEndpoint, done: asyncio.Future[None]) -> None:
        self._endpoint = endpoint
        self._done = done

    def writable(self) -> None:
        """Everything, FIN included, may be acknowledged now."""
        if self._endpoint.connection.state is FIN_WAIT_2 and not self._done.done():
            self._done.set_result(None)

    def closed(self, endpoint: TcpEndpoint, error: OSError | None) -> None:
        """It is over."""
        if not self._done.done():
            self._done.set_result(None)
