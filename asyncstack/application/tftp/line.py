"""A socket that carries one transfer, and the loop that lets a machine talk over it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from asyncstack.application.tftp.transfer import TRIES, Receiving, Sending, Transfer
from asyncstack.errors import WireError
from asyncstack.timing import Clock
from asyncstack.wire import tftp

if TYPE_CHECKING:
    from asyncstack.transport.sockets.datagrams import DatagramSocket

LARGEST = 65535


class Line:
    """`sock` speaks to `peer`; `known`: with the port that the other end has chosen. If not, that is the one from
    which the first answer comes, and others are not heard after that (RFC 1350 4)."""

    def __init__(self, sock: DatagramSocket, clock: Clock, peer: tuple[Any, ...], *, known: bool) -> None:
        self._sock = sock
        self._clock = clock
        self._peer = peer
        self._known = known

    async def send(self, sending: Sending, read: Callable[[int], Awaitable[bytes]]) -> None:
        """Send to the end what `read(bytes)` gives; fewer bytes than asked for are the last. Its OSError fails the
        transfer."""
        while not sending.is_over:
            if sending.room:
                try:
                    sending.supply(await read(sending.room), self._clock())
                except OSError as exc:
                    sending.fail(tftp.UNDEFINED, exc.strerror or "it can not be read")
            await self._exchange(sending)
        await self._flush(sending)

    async def receive(self, receiving: Receiving, write: Callable[[bytes], Awaitable[Any]]) -> None:
        """Receive to the end; what has been written is acknowledged. The OSError of `write` fails the transfer."""
        while not receiving.is_over:
            await self._exchange(receiving)
            data = receiving.received()
            try:
                if data:
                    await write(data)
            except OSError as exc:
                receiving.fail(tftp.DISK_FULL, exc.strerror or "it can not be written")
        await self._flush(receiving)

    async def linger(self, receiving: Receiving) -> None:
        """For as long as the other end may say its last block again, answer it (RFC 1350 6)."""
        patience = TRIES * receiving.terms.timeout
        end = self._clock() + 3 * patience  # whatever it says
        while (data := await self._heard(min(self._clock() + patience, end))) is not None:
            self._pass(data, receiving)
            await self._flush(receiving)

    async def _exchange(self, transfer: Transfer) -> None:
        """Say what is due; hear one packet, or let the time pass."""
        await self._flush(transfer)
        if transfer.is_over or (isinstance(transfer, Sending) and transfer.room):
            return
        data = await self._heard(transfer.deadline)
        if data is None:
            transfer.timer_expired(self._clock())
        else:
            self._pass(data, transfer)

    def _pass(self, data: bytes, transfer: Transfer) -> None:
        try:
            packet = tftp.parse(data)
        except WireError:
            if not transfer.is_over:
                transfer.fail(tftp.ILLEGAL, "that is no packet of TFTP")
        else:
            transfer.receive_packet(packet, self._clock())

    async def _heard(self, until: float) -> bytes | None:
        """The next packet of the other end; None if none comes until then. Raises the OSError that ICMP brought."""
        wait = until - self._clock() if until < math.inf else None
        try:
            async with asyncio.timeout(wait):
                while True:
                    data, address = await self._sock.recvfrom(LARGEST)
                    if self._known:
                        return data
                    if address[0] == self._peer[0]:
                        await self._sock.connect(address)
                        self._known = True
                        return data
        except TimeoutError as exc:
            if exc.errno is not None:
                raise
            return None

    async def _flush(self, transfer: Transfer) -> None:
        for data in transfer.packets_to_send(self._clock()):
            if self._known:
                await self._sock.send(data)
            else:
                await self._sock.sendto(data, self._peer)
