"""`get` and `put`: a file from, and to, a TFTP server (RFC 1350)."""

from __future__ import annotations

import io
import socket
from typing import TYPE_CHECKING, Final, Protocol

from asyncstack.application.tftp.line import Line
from asyncstack.application.tftp.terms import Terms, accept, failure, offer
from asyncstack.application.tftp.transfer import TRIES, Receiving, Sending, State, Transfer
from asyncstack.names import Names
from asyncstack.network.addresses import format_address
from asyncstack.timing import Clock
from asyncstack.wire import tftp

if TYPE_CHECKING:
    from asyncstack.transport.sockets.datagrams import DatagramSocket
    from asyncstack.transport.sockets.stream import StreamSocket

BLOCK: Final = 1428  # bytes: a packet that fits everywhere
WINDOW: Final = 8
MOST_BYTES: Final = 64 << 20


class Host(Protocol):
    """What is needed of a stack."""

    clock: Clock
    names: Names

    def socket(self, family: int = ..., type: int = ..., proto: int = ...) -> StreamSocket | DatagramSocket:
        """See `Stack.socket`."""


async def get(
    stack: Host,
    server: str,
    name: str,
    *,
    port: int = tftp.PORT,
    block: int = BLOCK,
    window: int = WINDOW,
    timeout: float = 1.0,
    most: int = MOST_BYTES,
) -> bytes:
    """The file `name` of `server`.

    block: bytes in a packet; window: packets before an answer has to come; a server may take less. timeout: seconds
    until something is said again, six times at most. most: bytes.

    Raises OSError: ENOENT, EACCES and others that the server says, ENOSPC if the file is larger than `most`,
    TimeoutError if it falls silent; socket.gaierror, ValueError.
    """
    wanted = _terms(block, window, timeout)
    request = tftp.Request(tftp.READ, name, options=offer(wanted, 0))
    line, sock = await _open(stack, server, port)
    async with sock:
        opening = tftp.build(request)
        receiving = Receiving(
            opening, wanted, stack.clock(), lambda agreed: accept(agreed, wanted), most=most
        )
        found: list[bytes] = []

        async def keep(data: bytes) -> None:
            found.append(data)

        await line.receive(receiving, keep)
    _check(receiving, server, name)
    return b"".join(found)


async def put(
    stack: Host,
    server: str,
    name: str,
    data: bytes,
    *,
    port: int = tftp.PORT,
    block: int = BLOCK,
    window: int = WINDOW,
    timeout: float = 1.0,
) -> None:
    """Have `server` write `data` to its file `name`. As `get`; raises EEXIST and ENOSPC too."""
    wanted = _terms(block, window, timeout)
    request = tftp.Request(tftp.WRITE, name, options=offer(wanted, len(data)))
    line, sock = await _open(stack, server, port)
    source = io.BytesIO(data)
    async with sock:
        opening = tftp.build(request)
        sending = Sending(opening, wanted, stack.clock(), lambda agreed: accept(agreed, wanted))

        async def read(size: int) -> bytes:
            return source.read(size)

        await line.send(sending, read)
    _check(sending, server, name)


def _terms(block: int, window: int, timeout: float) -> Terms:
    if block not in tftp.BLOCK_SIZES or window not in tftp.WINDOW_SIZES or timeout <= 0:
        raise ValueError(
            f"block={block}, window={window}, timeout={timeout}: 8 to 65464, 1 to 65535, above 0"
        )
    return Terms(block, window, timeout)


async def _open(stack: Host, server: str, port: int) -> tuple[Line, DatagramSocket]:
    address = (await stack.names.lookup(server))[0]
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    sock: DatagramSocket = stack.socket(family, socket.SOCK_DGRAM)  # type: ignore[assignment]
    return Line(sock, stack.clock, (format_address(address), port), known=False), sock


def _check(transfer: Transfer, server: str, name: str) -> None:
    if transfer.state is State.DONE:
        return
    if transfer.error is not None:
        raise failure(transfer.error, f"the transfer of {name!r} with {server} failed: it")
    raise TimeoutError(f"no answer from {server} about {name!r}, which was said {TRIES} times")
