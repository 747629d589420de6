"""The messages of a client (RFC 2131 4.4, table 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asyncstack.application.dhcp.lease import Lease
from asyncstack.network.addresses import format_address
from asyncstack.wire import dhcp_options as options
from asyncstack.wire.dhcp import REQUEST, Message, Type

# what a client wants to know; RFC 3442: the classless routes before the routers
WANTED: Final = bytes(
    [
        options.SUBNET_MASK,
        options.CLASSLESS_ROUTES,
        options.ROUTER,
        options.NAMESERVERS,
        options.DOMAIN_NAME,
        options.DOMAIN_SEARCH,
        options.MTU,
        options.BROADCAST_ADDRESS,
        options.NTP_SERVERS,
        options.LEASE_TIME,
        options.RENEWAL_TIME,
        options.REBINDING_TIME,
    ]
)


def client_id_of(mac: bytes) -> bytes:
    """An identifier as RFC 4361 wants it: of the interface (by its MAC), and of the host, DUID-LL of RFC 8415 11.4."""
    return b"\xff" + mac[-4:] + b"\0\3\0\1" + mac


@dataclass(slots=True)
class Asking:
    """Who asks: the interface with `mac`, known to servers as `client_id`, for a host called `hostname` ("": none) that
    takes IP packets of `largest` bytes."""

    mac: bytes
    client_id: bytes
    hostname: str
    largest: int

    def concerns(self, message: Message) -> bool:
        """Whether an answer is for us. Servers repeat the client identifier (RFC 6842)."""
        ours = message.options.get(options.CLIENT_ID, self.client_id) == self.client_id
        return ours and message.chaddr == self.mac

    def discover(self, xid: bytes, wish: bytes) -> Message:
        """Who offers an address, if possible `wish`?"""
        message = self._message(Type.DISCOVER, xid)
        if wish:
            message.options[options.REQUESTED_ADDRESS] = wish
        return message

    def request(self, xid: bytes, offer: Lease) -> Message:
        """I take this offer, and no other."""
        message = self._message(Type.REQUEST, xid)
        message.options[options.REQUESTED_ADDRESS] = offer.address
        message.options[options.SERVER_ID] = offer.server
        return message

    def reboot(self, xid: bytes, address: bytes) -> Message:
        """Is this still mine?"""
        message = self._message(Type.REQUEST, xid)
        message.options[options.REQUESTED_ADDRESS] = address
        return message

    def renewal(self, xid: bytes, lease: Lease) -> Message:
        """I would like to keep this."""
        message = self._message(Type.REQUEST, xid)
        message.ciaddr = lease.address
        return message

    def inform(self, xid: bytes, address: bytes) -> Message:
        """I have this from elsewhere: what belongs to it?"""
        message = self._message(Type.INFORM, xid)
        message.ciaddr = address
        return message

    def release(self, xid: bytes, lease: Lease) -> Message:
        """I need this no more."""
        message = self._bare(Type.RELEASE, xid)
        message.ciaddr = lease.address
        message.options[options.SERVER_ID] = lease.server
        return message

    def decline(self, xid: bytes, offer: Lease) -> Message:
        """Somebody else uses this."""
        message = self._bare(Type.DECLINE, xid)
        message.options[options.REQUESTED_ADDRESS] = offer.address
        message.options[options.SERVER_ID] = offer.server
        message.options[options.MESSAGE] = f"{format_address(offer.address)} is in use".encode()
        return message

    def _bare(self, kind: Type, xid: bytes) -> Message:
        given = {options.MESSAGE_TYPE: bytes([kind]), options.CLIENT_ID: self.client_id}
        return Message(REQUEST, xid, self.mac, given)

    def _message(self, kind: Type, xid: bytes) -> Message:
        message = self._bare(kind, xid)
        message.options[options.PARAMETERS] = WANTED
        message.options[options.MAX_MESSAGE_SIZE] = self.largest.to_bytes(2, "big")
        if self.hostname:
            message.options[options.HOST_NAME] = self.hostname.encode("ascii")
        return message
