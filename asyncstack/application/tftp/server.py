"""`TftpServer`: the files of one folder for who asks by TFTP (RFC 1350)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from io import FileIO
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiofiles.threadpool import wrap

from asyncstack.application.datagrams import Asker, Datagrams
from asyncstack.application.files import IsDirectory, OpenFile, create_beneath, remove_beneath
from asyncstack.application.tftp.line import Line
from asyncstack.application.tftp.netascii import Decoder, encode
from asyncstack.application.tftp.terms import Terms, answer, number
from asyncstack.application.tftp.transfer import Receiving, Sending, State
from asyncstack.counters import Counters
from asyncstack.errors import WireError
from asyncstack.network.addresses import AddressTable, format_address
from asyncstack.timing import Clock
from asyncstack.wire import tftp
from asyncstack.wire.tftp import Error, OptionAck, Request

if TYPE_CHECKING:
    from asyncstack.transport.sockets.datagrams import DatagramSocket
    from asyncstack.transport.sockets.stream import StreamSocket

MOST_TRANSFERS: Final = 64
MOST_BYTES: Final = 64 << 20
TERMS: Final = Terms(block=1428, window=16)  # packets that fit everywhere

_ERRORS: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (FileNotFoundError, tftp.NOT_FOUND, "File not found"),
    (NotADirectoryError, tftp.NOT_FOUND, "File not found"),
    (IsDirectory, tftp.NOT_FOUND, "File not found"),
    (FileExistsError, tftp.EXISTS, "File already exists"),
    (PermissionError, tftp.ACCESS, "Access violation"),
)


class Host(Protocol):
    """What is needed of a stack."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    counters: Counters
    addresses: AddressTable

    def socket(self, family: int = ..., type: int = ..., proto: int = ...) -> StreamSocket | DatagramSocket:
        """See `Stack.socket`."""

    async def create_datagram_endpoint(
        self, protocol_factory: Callable[[], Any], local_addr: tuple[Any, ...] | None = None
    ) -> tuple[asyncio.DatagramTransport, Any]:
        """See `Calls.create_datagram_endpoint`."""


class TftpServer:
    """Serves the regular files below the folder `root`, for `async with`; no name leads out of it.

    host: the address to listen on, "::" for all of both families. writable: whether new files may be written, of
    `most_bytes` at most; what is there is never changed. transfers: at a time; who comes then is told so. terms: the
    most that clients get.

    Raises at `async with` NotADirectoryError, OSError EADDRINUSE, EADDRNOTAVAIL.
    """

    def __init__(
        self,
        stack: Host,
        root: str | os.PathLike[str],
        host: str = "::",
        port: int = tftp.PORT,
        *,
        writable: bool = False,
        most_bytes: int = MOST_BYTES,
        transfers: int = MOST_TRANSFERS,
        terms: Terms = TERMS,
    ) -> None:
        self._stack = stack
        self._root = os.fspath(root)
        self._bind = host, port
        self._writable = writable
        self._most_bytes = most_bytes
        self._most_transfers = transfers
        self._terms = terms
        self._transfers: dict[tuple[Any, ...], asyncio.Task[None]] = {}  # by the client's address
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> TftpServer:
        self._root = await asyncio.to_thread(_real_folder, self._root)
        transport, _ = await self._stack.create_datagram_endpoint(lambda: Datagrams(self.request), self._bind)
        self._transport = transport
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.abort()
        for task in self._transfers.values():
            task.cancel()
        await asyncio.gather(*self._transfers.values(), return_exceptions=True)

    def request(self, data: bytes, asker: Asker) -> None:
        """A datagram to the server's port. One who asks again is answered already; one who asks all, not at all
        (RFC 1123 4.2.3.5)."""
        counters = self._stack.counters
        try:
            packet = tftp.parse(data)
        except WireError:
            packet = Error(tftp.ILLEGAL, "")
        if not isinstance(packet, Request):
            counters["tftp.malformed"] += 1
        elif not self._stack.addresses.is_local(asker.asked):
            counters["tftp.to_all"] += 1
        elif asker.address in self._transfers:
            counters["tftp.repeated"] += 1
        elif len(self._transfers) >= self._most_transfers:
            self._refuse(asker, tftp.UNDEFINED, "Too many transfers")
        elif packet.mode not in ("octet", "netascii"):
            self._refuse(asker, tftp.ILLEGAL, "Mode octet or netascii")
        elif packet.operation == tftp.WRITE and not self._writable:
            self._refuse(asker, tftp.ACCESS, "Access violation")
        else:
            task = self._stack.loop.create_task(self._serve(packet, asker))
            self._transfers[asker.address] = task
            task.add_done_callback(lambda _: self._transfers.pop(asker.address))

    def _refuse(self, asker: Asker, code: int, text: str) -> None:
        self._stack.counters["tftp.refused"] += 1
        asker.reply(tftp.build(Error(code, text)))

    async def _serve(self, request: Request, asker: Asker) -> None:
        """One transfer. Whatever goes wrong ends it and nothing else."""
        segments = [part for part in request.name.split("/") if part]
        if request.operation == tftp.WRITE and _said_size(request) > self._most_bytes:
            self._refuse(asker, tftp.DISK_FULL, "Too large")
            return
        try:
            if request.operation == tftp.READ:
                transfer = self._read(request, await OpenFile.beneath(self._root, segments), asker)
            else:
                transfer = self._write(request, await self._create(segments), segments, asker)
        except (OSError, IsDirectory) as exc:
            self._refuse(asker, *_said_of(exc))
            return
        try:
            await transfer
        except OSError:
            self._stack.counters["tftp.failed"] += 1

    async def _create(self, segments: list[str]) -> FileIO:
        """A new file; if we are to end meanwhile, none."""
        job = asyncio.ensure_future(asyncio.to_thread(create_beneath, self._root, segments))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.to_thread(_finish, self._root, segments, await job, False)
            raise

    def _line(self, asker: Asker) -> tuple[Line, DatagramSocket]:
        """A port of its own for a transfer (RFC 1350 4)."""
        family = socket.AF_INET if len(asker.address) == 2 else socket.AF_INET6
        sock: DatagramSocket = self._stack.socket(family, socket.SOCK_DGRAM)  # type: ignore[assignment]
        return Line(sock, self._stack.clock, asker.address, known=True), sock

    async def _read(self, request: Request, file: OpenFile, asker: Asker) -> None:
        line, sock = self._line(asker)
        try:
            text = request.mode == "netascii"
            terms, agreed = answer(request.options, self._terms, None if text else file.size)
            await _connect(sock, asker)
            opening = tftp.build(OptionAck(agreed)) if agreed else b""
            sending = Sending(opening, terms, self._stack.clock())
            await line.send(sending, _as_text(file.read) if text else _whole(file.read))
            self._count("reads", sending.state)
        finally:
            sock.close()
            file.close()

    async def _write(self, request: Request, file: FileIO, segments: list[str], asker: Asker) -> None:
        line, sock = self._line(asker)
        done = False
        try:
            terms, agreed = answer(request.options, self._terms, _said_size(request))
            await _connect(sock, asker)
            opening = tftp.build(OptionAck(agreed) if agreed else tftp.Ack(0))
            receiving = Receiving(opening, terms, self._stack.clock(), most=self._most_bytes)
            await line.receive(receiving, _into(file, request.mode == "netascii"))
            done = receiving.state is State.DONE
            self._count("writes", receiving.state)
            if done:
                await line.linger(receiving)
        finally:
            sock.close()
            await asyncio.shield(asyncio.to_thread(_finish, self._root, segments, file, done))

    def _count(self, what: str, state: State) -> None:
        self._stack.counters[f"tftp.{what}" if state is State.DONE else "tftp.failed"] += 1


def _said_size(request: Request) -> int:
    return number(request.options.get("tsize", ""))


def _said_of(error: Exception) -> tuple[int, str]:
    """(error code, text) for a file that can not be opened."""
    for kind, code, text in _ERRORS:
        if isinstance(error, kind):
            return code, text
    return tftp.UNDEFINED, error.strerror or "" if isinstance(error, OSError) else ""


async def _connect(sock: DatagramSocket, asker: Asker) -> None:
    """Speak to `asker` from the address that was asked: it hears no other."""
    own = format_address(asker.asked)
    if len(asker.address) == 4:
        own = own if ":" in own else f"::ffff:{own}"
        sock.bind((own, 0, 0, asker.address[3]))
    else:
        sock.bind((own, 0))
    await sock.connect(asker.address)


def _real_folder(root: str) -> str:
    real = os.path.realpath(root)
    if not os.path.isdir(real):
        raise NotADirectoryError(f"{root} is no folder")
    return real


def _whole(read: Callable[[int], Awaitable[bytes]]) -> Callable[[int], Awaitable[bytes]]:
    """`read`, but with fewer bytes than asked for only at the end."""

    async def read_whole(size: int) -> bytes:
        parts: list[bytes] = []
        while size and (data := await read(size)):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    return read_whole


def _as_text(read: Callable[[int], Awaitable[bytes]]) -> Callable[[int], Awaitable[bytes]]:
    """`read` of a file as netascii."""
    rest = b""

    async def read_text(size: int) -> bytes:
        nonlocal rest
        while len(rest) < size and (data := await read(size)):
            rest += encode(data)
        data, rest = rest[:size], rest[size:]
        return data

    return read_text


def _into(file: FileIO, text: bool) -> Callable[[bytes], Awaitable[Any]]:
    """What writes to `file`."""
    write: Callable[[bytes], Awaitable[Any]] = wrap(file, loop=None, executor=None).write
    decoder = Decoder()

    async def write_all(data: bytes) -> None:
        view = memoryview(decoder.decode(data) if text else data)
        while view:
            view = view[await write(view) :]  # type: ignore[arg-type]

    return write_all


def _finish(root: str, segments: list[str], file: FileIO, done: bool) -> None:
    """Close `file`; half a file is no file."""
    try:
        if not done:
            remove_beneath(root, segments, file)
    except OSError:
        pass  # somebody else has removed it
    finally:
        file.close()
