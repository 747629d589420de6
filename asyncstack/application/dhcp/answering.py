"""The messages of a server (RFC 2131 4.3, table 3), and where they go (4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncstack.application.dhcp.bindings import Binding
from asyncstack.application.dhcp.pool import Pool
from asyncstack.errors import WireError
from asyncstack.network.addresses import LIMITED_BROADCAST
from asyncstack.wire import dhcp
from asyncstack.wire import dhcp_options as options
from asyncstack.wire.dhcp import REPLY, Message, Type

_REPEATED: Final = (options.CLIENT_ID, options.SUBNET_SELECTION, options.RELAY_AGENT)
LARGEST: Final = 1500  # bytes of IP packet


@dataclass(slots=True)
class Reply:
    """`data` for `port` of `address`; if `mac` is given at that neighbour, who does not answer for the address yet.
    It has to wait until `binding`, if there is one, is on the disk."""

    data: bytes
    address: bytes
    port: int
    mac: bytes
    binding: Binding | None


def answer(
    asked: Message,
    kind: Type,
    own: bytes,
    pool: Pool,
    address: bytes = bytes(4),
    binding: Binding | None = None,
    *,
    largest: int = LARGEST,
) -> Reply:
    """The answer of the server at `own` to `asked`, an IP packet of `largest` bytes at most. What does not fit of the
    options is left out, the least wanted first."""
    given = {options.MESSAGE_TYPE: bytes([kind]), options.SERVER_ID: own}
    given |= {code: asked.options[code] for code in _REPEATED if code in asked.options}
    reply = Message(
        REPLY,
        asked.xid,
        asked.chaddr,
        given,
        yiaddr=address,
        giaddr=asked.giaddr,
        broadcast=asked.broadcast or kind is Type.NAK,
        hardware=asked.hardware,
    )
    if kind is Type.NAK:
        given[options.MESSAGE] = b"not an address for this client here"
    else:
        if any(address):
            times = pool.times(options.read_number(asked.options.get(options.LEASE_TIME)))
            for code, seconds in zip(_TIMES, times, strict=True):
                given[code] = seconds.to_bytes(4, "big")
        wanted = asked.options.get(options.PARAMETERS, bytes(pool.told))
        given |= {code: pool.told[code] for code in wanted if code in pool.told and code not in given}
        if kind is Type.ACK:
            reply.ciaddr = asked.ciaddr
    to, port, mac = _destination(asked, kind, address)
    return Reply(_build(reply, asked, largest), to, port, mac, binding)


_TIMES: Final = (options.LEASE_TIME, options.RENEWAL_TIME, options.REBINDING_TIME)


def _build(reply: Message, asked: Message, largest: int) -> bytes:
    size = options.read_number(asked.options.get(options.MAX_MESSAGE_SIZE), 2) or 0
    limit = max(min(size, largest), dhcp.LEAST_LIMIT)
    while True:
        try:
            return dhcp.build(reply, limit)
        except WireError:
            reply.options.popitem()


def _destination(asked: Message, kind: Type, address: bytes) -> tuple[bytes, int, bytes]:
    """(address, port, MAC)."""
    if any(asked.giaddr):
        return asked.giaddr, dhcp.SERVER_PORT, b""
    if kind is Type.NAK:
        return LIMITED_BROADCAST, dhcp.CLIENT_PORT, b""
    if any(asked.ciaddr):
        return asked.ciaddr, dhcp.CLIENT_PORT, b""
    ethernet = asked.hardware == dhcp.ETHERNET and len(asked.chaddr) == 6 and not asked.chaddr[0] & 1
    if asked.broadcast or not ethernet:
        return LIMITED_BROADCAST, dhcp.CLIENT_PORT, b""
    return address, dhcp.CLIENT_PORT, asked.chaddr


def hostname_of(message: Message) -> str:
    """The first label of what a client calls itself, in lower case; "" if that can be no name."""
    text = options.read_text(message.options.get(options.HOST_NAME)).partition(".")[0].lower()
    plain = text.replace("-", "").isalnum() and not text.startswith("-") and not text.endswith("-")
    return text if plain and len(text) <= 63 else ""
