"""One question to a time server: `query`."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from asyncstack.errors import WireError, os_error
from asyncstack.wire import ntp

if TYPE_CHECKING:
    from asyncstack.calls import Calls

MOST_DISTANCE: Final = 16.0  # seconds from the true time by its own account; RFC 5905 7.3: MAXDISP

# other codes say why a server has no time to tell, as INIT: not yet
KISSES: Final = ("DENY", "RSTR", "RATE")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server says. offset: seconds to add to this host's clock; delay: seconds of the way there and back.

    time: the server's when it answered, seconds since 1970. stratum: 1 has a clock of its own, 2 asks one of those, ….
    leap: 1 if the day ends with a leap second, -1 if with one less. reference: who the server has it from, in text.
    """

    server: str
    offset: float
    delay: float
    time: float
    stratum: int
    leap: int
    reference: str
    root_delay: float
    root_dispersion: float


class Kiss(ConnectionRefusedError):
    """The server wants to be left alone (RFC 5905 7.4). `code`: "DENY" and "RSTR": for ever, "RATE": for longer."""

    def __init__(self, server: str, code: str) -> None:
        super().__init__(errno.ECONNREFUSED, f"the time server {server} sends a kiss of death: {code}")
        self.code = code


async def query(
    stack: Calls,
    server: str,
    port: int = ntp.PORT,
    *,
    timeout: float = 5.0,
    now: Callable[[], float] = time.time,
) -> Reading:
    """Ask `server`, a name or an address, once; ask again after a minute, not sooner. `now` is the clock that is read,
    seconds since 1970.

    Raises TimeoutError after `timeout` seconds without an answer that is one, `Kiss`, OSError EPROTO from a server that
    does not know the time itself, the OSError that ICMP brought, socket.gaierror.
    """
    transport: asyncio.DatagramTransport | None = None
    cookie = stack.udp.context.rng.getrandbits(64) or 1
    try:
        async with asyncio.timeout(timeout):
            transport, asking = await stack.create_datagram_endpoint(
                lambda: _Asking(stack.loop.create_future(), cookie, now), remote_addr=(server, port)
            )
            asking.ask()
            packet, sent, received = await asking.answer
    except TimeoutError as exc:
        if exc.errno is not None:
            raise
        raise TimeoutError(f"no answer from the time server {server} within {timeout:g} s") from None
    finally:
        if transport is not None:
            transport.abort()
    return _reading(server, packet, sent, received)


class _Asking(asyncio.DatagramProtocol):
    """`answer` is (packet, when the question left, when it came). `cookie` goes in the place of our time, which is
    nobody's business: forgers have to guess it."""

    def __init__(
        self,
        answer: asyncio.Future[tuple[ntp.Packet, float, float]],
        cookie: int,
        now: Callable[[], float],
    ) -> None:
        self.answer = answer
        self._cookie = cookie
        self._now = now

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.DatagramTransport = transport

    def ask(self) -> None:
        """Send the question."""
        self._sent = self._now()
        self._transport.sendto(ntp.build(ntp.Packet(ntp.CLIENT, transmitted=self._cookie)))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        received = self._now()
        try:
            packet = ntp.parse(data)
        except WireError:
            return
        if packet.mode == ntp.SERVER and packet.origin == self._cookie and not self.answer.done():
            self.answer.set_result((packet, self._sent, received))

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


def _reading(server: str, packet: ntp.Packet, sent: float, received: float) -> Reading:
    """RFC 5905 8 and 14: what the four times say. Raises as `query`."""
    if packet.stratum == 0 and _text(packet.reference_id) in KISSES:
        raise Kiss(server, _text(packet.reference_id))
    distance = packet.root_delay / 2 + packet.root_dispersion
    if (
        packet.leap == ntp.UNSYNCHRONIZED
        or not 1 <= packet.stratum <= ntp.MOST_STRATUM
        or not packet.transmitted
        or not 0.0 <= distance < MOST_DISTANCE
    ):
        raise os_error(errno.EPROTO, f"the time server {server} does not know the time itself")
    there = ntp.to_unix(packet.received, sent)
    back = ntp.to_unix(packet.transmitted, received)
    return Reading(
        server=server,
        offset=((there - sent) + (back - received)) / 2,
        delay=max((received - sent) - (back - there), 0.0),
        time=back,
        stratum=packet.stratum,
        leap={0: 0, 1: 1, 2: -1}[packet.leap],
        reference=_text(packet.reference_id) if packet.stratum == 1 else packet.reference_id.hex(),
        root_delay=packet.root_delay,
        root_dispersion=packet.root_dispersion,
    )


def _text(ident: bytes) -> str:
    return "".join(chr(byte) for byte in ident if 32 < byte < 127)
