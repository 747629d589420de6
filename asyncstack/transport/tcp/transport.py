"""`asyncio.Transport` over a TCP endpoint: the whole public contract, so that asyncio's ecosystem runs on it.

The protocol's callbacks run in the context saved when the protocol was made, with no current task, as on the
kernel's transports; `pause_writing`, which runs within `write()`, in a copy of that context. What a callback raises
goes to the loop's exception handler and aborts this transport alone; only what the callbacks of flow control raise does
no harm. `connection_made` and `connection_lost` come by `call_soon`, and whoever awaited the connection goes on before
its first data is received.

The write buffer that asyncio's flow control speaks of is what lies beyond the connection's own send buffer,
which stands where the kernel's would. `close()` ends, as there, when the last byte is in the send buffer; the
endpoint lives on without us until the peer has everything.

The connection may end before its transport: what the peer sent before a reset can still be read by a reader that
had paused, and a protocol that said in `eof_received` that it goes on says itself when it is done.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from asyncstack.errors import is_connection_loss
from asyncstack.transport.flow_control import FlowControl
from asyncstack.transport.tcp.endpoint import ENDED, ORPHAN, Owner, TcpEndpoint
from asyncstack.transport.tcp.options import ConnectionSocket

if TYPE_CHECKING:
    from asyncstack.transport.tcp.server import Server

NOTHING: Final = memoryview(b"")  # one for all: each has 300 bytes
HIGH_WATER: Final = 64 << 10  # asyncio's default

# How far a transport's end has come. OVER: the connection has ended, so nothing can be written, but the reader is not
# done. CLOSING: nothing is read any more. LOST: `connection_lost` is on its way.
OPEN, OVER, CLOSING, LOST = range(4)
# bytes in one call of the protocol, as of asyncio's own transports: it may pause in between
MAX_READ: Final = 256 << 10


class TcpTransport(FlowControl, Owner):
    """A connection as asyncio knows it. Made by `Stack.create_connection` and `Stack.create_server`."""

    __slots__ = (
        "__weakref__",
        "_buffered",
        "_context",
        "_end",
        "_endpoint",
        "_eof_received",
        "_eof_told",
        "_eof_written",
        "_error",
        "_flushing",
        "_paused",
        "_protocol",
        "_reading",
        "_remainder",
        "_server",
        "_socket",
        "_writes_after_loss",
    )

    # What `loop.start_tls` and `loop.sendfile` ask for. The latter reads the file and writes its bytes: there is no
    # descriptor to hand to the kernel.
    _start_tls_compatible = True
    _sendfile_compatible = asyncio.constants._SendfileMode.FALLBACK  # type: ignore[attr-defined]

    def __init__(
        self,
        endpoint: TcpEndpoint,
        protocol: asyncio.BaseProtocol,
        context: contextvars.Context,
        *,
        server: Server | None = None,
        waiter: asyncio.Future[TcpTransport] | None = None,
    ) -> None:
        """`waiter` gets this transport once `connection_made` has been called."""
        self._loop = endpoint.layer.loop
        self._endpoint = endpoint
        self._context = context
        self._server = server
        self._high_water, self._low_water = HIGH_WATER, HIGH_WATER // 4
        self._paused = self._protocol_paused = False
        self._reading = False  # whether the protocol may be told of data: not before it is made
        self._end = OPEN
        # of a connection that has ended while a paused reader has data left
        self._error: OSError | None = None
        self._eof_received = self._eof_told = self._eof_written = self._flushing = False
        self._remainder = NOTHING
        self._writes_after_loss = 0
        self._socket: ConnectionSocket | None = None
        self.set_protocol(protocol)
        endpoint.owner = self
        if server is not None:
            server.attach(self)
        self._loop.call_soon(self._connection_made, waiter, context=context)

    def __repr__(self) -> str:
        connection = self._endpoint.connection
        state = (
            "closed" if self._end == LOST else "closing" if self._end == CLOSING else connection.state.name
        )
        return (
            f"<TcpTransport {self.get_extra_info('sockname')} -> {self.get_extra_info('peername')} {state}>"
        )

    def catch_up(self, eof_received: bool, eof_written: bool, error: OSError | None) -> None:
        """The connection was another owner's until now: what that one has heard of it, or done."""
        self._eof_received, self._eof_written = eof_received, eof_written
        if self._endpoint.connection.state in ENDED:
            self.closed(self._endpoint, error)

    # what the endpoint tells

    def readable(self) -> None:
        """In-order data is there: pass it on, unless the protocol has paused reading."""
        if self._reading and not self._paused and self._end < CLOSING:
            self._context.run(self._read)

    def ended(self) -> None:
        """The peer's FIN came in; `eof_received` follows once all data before it has been passed on."""
        self._eof_received = True
        self.readable()

    def writable(self) -> None:
        """The send queue has shrunk: let the protocol write again, or finish a close that waited for it."""
        if self._end < CLOSING:
            if self._protocol_paused:
                self._context.run(self._maybe_resume_protocol)  # type: ignore[attr-defined]
        elif self._end != LOST:
            if self._protocol_paused:
                self._flush_protocol()
            if self.get_write_buffer_size() == 0:
                self._finish_close()

    def _flush_protocol(self) -> None:
        """While closing: a protocol that holds back what it had to write, as TLS does its last records, may write it
        from `resume_writing`, and from nowhere else."""
        self._flushing = True
        try:
            self._context.run(self._maybe_resume_protocol)  # type: ignore[attr-defined]
        finally:
            self._flushing = False

    def closed(self, endpoint: TcpEndpoint, error: OSError | None) -> None:
        """The connection is over. After an error, data that came before stays for a paused reader, unless a writer
        waits to hear of the error. Where both halves have ended in order, to close is up to the protocol."""
        unread = endpoint.connection.unread or self._remainder
        if error is None:
            lingers = self._eof_received and self._eof_written
        else:
            lingers = bool(unread) and not self._protocol_paused
        if self._end >= CLOSING or not lingers:
            self._lose(error)
            return
        self._end = OVER
        self._error = error
        endpoint.layer.lingering[self] = endpoint

    def finish(self, endpoint: TcpEndpoint) -> None:
        """The stack is about to end."""
        self.close()

    # the protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that receives what this transport reads."""
        return cast(asyncio.BaseProtocol, self._protocol)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Put `protocol` in the place of the present one (as `start_tls` does)."""
        self._protocol: Any = protocol
        self._buffered = hasattr(protocol, "buffer_updated")

    def _connection_made(self, waiter: asyncio.Future[TcpTransport] | None) -> None:
        self._call("connection_made", self)
        self._reading = waiter is None
        if waiter is None:
            self._resume()
            return
        if not waiter.done():
            waiter.set_result(self)
        self._loop.call_soon(self._start_reading, context=self._context)  # after who waited has gone on

    def _start_reading(self) -> None:
        self._reading = True
        self._resume()

    def _call(self, method: str, *args: Any) -> Any:
        """Call the protocol. What it raises is reported and aborts this transport."""
        try:
            return getattr(self._protocol, method)(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fatal_error(exc, f"{method}() of the protocol raised")
            return None

    # reading

    def is_reading(self) -> bool:
        """Whether `data_received` may be called."""
        return not self._paused and self._end < CLOSING

    def pause_reading(self) -> None:
        """Stop calling the protocol. What arrives fills the receive window, which then closes."""
        if self._end < CLOSING:
            self._paused = True

    def resume_reading(self) -> None:
        """Go on calling the protocol, from the next loop turn."""
        if self._paused and self._end < CLOSING:
            self._paused = False
            self._loop.call_soon(self._resume, context=self._context)

    def _resume(self) -> None:
        if self._paused or self._end >= CLOSING or not self._reading:
            return
        read = self._endpoint.connection.unread > 0
        self._read()
        if self._error is not None:
            if not self._paused:
                self._lose(self._error)
        elif read and not self._end:
            self._endpoint.settle()  # there may be a window to tell of
        if self._socket is not None:
            self._socket.refresh()

    def _read(self) -> None:
        """Pass on what is there, until the protocol pauses. Runs in the protocol's context."""
        receiver = self._endpoint.connection.receiver
        if self._remainder:
            self._feed_buffered()
        while receiver.unread and not (self._paused or self._end >= CLOSING or self._remainder):
            if receiver.unread > MAX_READ:
                data = receiver.take(MAX_READ)
            else:
                chunks = receiver.read()
                data = bytes(chunks[0]) if len(chunks) == 1 else b"".join(chunks)
            if self._buffered:
                self._remainder = memoryview(data)
                self._feed_buffered()
            else:
                try:
                    self._protocol.data_received(data)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as exc:
                    self._fatal_error(exc, "data_received() of the protocol raised")
        if self._eof_received and not (
            self._eof_told or self._paused or self._end >= CLOSING or self._remainder or receiver.unread
        ):
            self._eof_told = True
            if not self._call("eof_received"):
                self.close()

    def _feed_buffered(self) -> None:
        """Copy into the buffers the protocol lends, until all is passed on or it pauses."""
        while self._remainder and not self._paused and self._end < CLOSING:
            if not self._buffered:
                data, self._remainder = bytes(self._remainder), NOTHING
                self._call("data_received", data)
                return
            protocol = self._protocol
            try:
                count = self._fill(protocol.get_buffer(len(self._remainder)))
                protocol.buffer_updated(count)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._fatal_error(exc, "get_buffer() or buffer_updated() of the protocol failed")
                return

    def _fill(self, buffer: Any) -> int:
        """Move as many bytes of the remainder as fit into `buffer`."""
        view = memoryview(buffer).cast("B")
        if not view:
            raise RuntimeError("get_buffer() returned an empty buffer")
        count = min(len(view), len(self._remainder))
        view[:count] = self._remainder[:count]
        self._remainder = self._remainder[count:]
        return count

    # writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, in order, after all that was written before. Never blocks; see `drain` of the streams.

        Mutable buffers are copied. Raises RuntimeError after `write_eof`, OSError(ENOBUFS) when the
        connections of the stack hold half of `StackConfig.memory` and flow control was ignored here, or hold all of it.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
            data = bytes(data)
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data:
            return
        if self._end and not self._flushing:
            self._write_too_late()
            return
        endpoint = self._endpoint
        endpoint.write(data)
        # the first comparison alone answers for all small writes
        if (
            endpoint.held > self._high_water
            and not self._protocol_paused
            and self.get_write_buffer_size() > self._high_water
        ):
            self._maybe_pause_protocol()
            if self._socket is not None:
                self._socket.refresh()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send the buffers one after the other."""
        self.write(b"".join(list_of_data))

    def _write_too_late(self) -> None:
        if self._end < CLOSING:
            self._lose(self._error)  # so that the writer hears of it, though the reader has paused
            return
        if not self._protocol_paused and self._end != LOST:
            # `drain` would return at once, and a writer that does not look would spin until the buffer is sent
            self._protocol_paused = True
            self._context.copy().run(self._call, "pause_writing")
        self._writes_after_loss += 1
        if self._writes_after_loss == 5:  # as asyncio: now and then a late write is normal
            asyncio.log.logger.warning("asyncstack: write() on a transport that is closed: %r", self)  # type: ignore[attr-defined]

    def can_write_eof(self) -> bool:
        """True: TCP has half-close."""
        return True

    def write_eof(self) -> None:
        """Send FIN after the data written so far; reading goes on."""
        if not self._eof_written and self._end < CLOSING:
            self._eof_written = True
            self._endpoint.shutdown()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait beyond the connection's send buffer."""
        connection = self._endpoint.connection
        beyond = connection.queued - connection.send_buffer_limit
        if low := connection.config.notsent_lowat:
            beyond = max(beyond, connection.sender.unsent - low)
        return max(beyond, 0)

    # the end

    def is_closing(self) -> bool:
        """Whether the transport is closed or about to be."""
        return self._end >= CLOSING

    def close(self) -> None:
        """Send what is written, then close. No more data is received; `connection_lost(None)` follows."""
        if self._end >= CLOSING:
            return
        self._end = CLOSING
        if self.get_write_buffer_size() == 0:
            self._finish_close()

    def abort(self) -> None:
        """Close at once. As on the kernel's transports what is in the send buffer still goes out, before FIN; if some
        lies beyond it, or was not read, the peer gets RST and the rest is lost."""
        self._force_close(None)

    def _finish_close(self) -> None:
        endpoint = self._endpoint
        self._lose(None)
        endpoint.close()

    def _force_close(self, exc: BaseException | None) -> None:
        """As `abort()`, of an error if there is one. Also called by `asyncio.sslproto`, by this name."""
        if self._end != LOST:
            endpoint, whole = self._endpoint, self.get_write_buffer_size() == 0
            self._lose(exc)
            if whole:
                endpoint.close()
            else:
                endpoint.abort()

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        if not is_connection_loss(exc):
            context = {"message": message, "exception": exc, "transport": self, "protocol": self._protocol}
            self._loop.call_exception_handler(context)
        self._force_close(exc)

    def _lose(self, exc: BaseException | None) -> None:
        if self._end == LOST:
            return
        self._end = LOST
        endpoint = self._endpoint
        endpoint.owner = ORPHAN
        endpoint.layer.lingering.pop(self, None)
        if self._socket is not None:
            self._socket.end()
        if endpoint.connection.state in ENDED:
            endpoint.connection.receiver.discard()
        self._loop.call_soon(self._connection_lost, exc, context=self._context)

    def _connection_lost(self, exc: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._remainder = NOTHING
            self._protocol = None
            server, self._server = self._server, None
            if server is not None:
                server.detach(self)

    # facts

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """ "sockname", "peername", "socket"; and "tcp_info" (`TcpInfo`), which a kernel transport lacks."""
        if name == "sockname":
            return self._endpoint.sockname
        if name == "peername":
            return self._endpoint.peername
        if name == "socket":
            if self._socket is None:
                self._socket = ConnectionSocket(self._endpoint)
            return self._socket
        if name == "tcp_info":
            return self._endpoint.info()
        return default


ProtocolFactory = Callable[[], asyncio.BaseProtocol]
