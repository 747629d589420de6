"""What a server has given a client: an address for a time, and what belongs to it."""

from __future__ import annotations

import ipaddress
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from asyncstack.network.addresses import LIMITED_BROADCAST, format_address, is_loopback, is_multicast
from asyncstack.wire import dhcp_options as options
from asyncstack.wire.dhcp import Message
from asyncstack.wire.dhcp_options import ClasslessRoute

T1_PART, T2_PART = 0.5, 0.875  # of the lease time, RFC 2131 4.4.5
LEAST_MTU = 576
ROUTES = 64  # taken of one server


@dataclass(frozen=True, slots=True)
class Parameters:
    """What belongs to an address. `routes`: prefix, prefix length and router (0.0.0.0: none) of each; `mtu` 0: nothing
    said; `options`: all that the server said, by code."""

    prefix_length: int
    routes: tuple[ClasslessRoute, ...]
    nameservers: tuple[bytes, ...]
    search: tuple[str, ...]
    mtu: int
    options: Mapping[int, bytes]

    @classmethod
    def of(cls, message: Message, address: bytes) -> Parameters:
        """What `message` says for `address`. Options that are malformed are taken as not there."""
        given = message.options
        mask = options.read_mask(given.get(options.SUBNET_MASK))
        routes = options.read_routes(given.get(options.CLASSLESS_ROUTES))
        if not routes:  # RFC 3442: who has these ignores the routers
            routers = options.read_addresses(given.get(options.ROUTER))
            routes = [(bytes(4), 0, router) for router in routers[:1]]
        search = options.read_domains(given.get(options.DOMAIN_SEARCH))
        domain = options.read_text(given.get(options.DOMAIN_NAME))
        mtu = options.read_number(given.get(options.MTU), 2) or 0
        return cls(
            _class_length(address) if mask is None else mask,
            tuple(routes[:ROUTES]),
            tuple(options.read_addresses(given.get(options.NAMESERVERS))),
            tuple(search or ([domain] if domain else [])),
            mtu if mtu >= LEAST_MTU else 0,
            given,
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """`address` until `expires`, from `server`. Times are clock seconds, `math.inf`: never."""

    address: bytes
    server: bytes
    renew_at: float  # T1
    rebind_at: float  # T2
    expires: float
    parameters: Parameters

    @classmethod
    def of(cls, message: Message, asked: float, rng: random.Random) -> Lease | None:
        """What an OFFER or ACK gives, counted from when it was `asked` for (RFC 2131 4.4.1). None if that is nothing
        usable: no address of a host, no server, no time."""
        address = message.yiaddr
        server = options.read_address(message.options.get(options.SERVER_ID))
        seconds = options.read_number(message.options.get(options.LEASE_TIME))
        if server is None or not any(server) or not seconds or not _is_host(address):
            return None
        parameters = Parameters.of(message, address)
        if not _fits(address, parameters.prefix_length):
            return None
        if seconds == options.FOREVER:
            return cls(address, server, math.inf, math.inf, math.inf, parameters)
        renew = options.read_number(message.options.get(options.RENEWAL_TIME))
        rebind = options.read_number(message.options.get(options.REBINDING_TIME))
        t2 = rebind if rebind and rebind < seconds else T2_PART * seconds
        t1 = renew if renew and renew < t2 else min(T1_PART * seconds * rng.uniform(0.95, 1.0), t2)
        return cls(address, server, asked + t1, asked + t2, asked + seconds, parameters)

    def __str__(self) -> str:
        return f"{format_address(self.address)}/{self.parameters.prefix_length}"


def _is_host(address: bytes) -> bool:
    return (
        any(address)
        and address != LIMITED_BROADCAST
        and not is_multicast(address)
        and not is_loopback(address)
        and address[0] not in range(240, 256)
    )


def _fits(address: bytes, length: int) -> bool:
    """Whether `address` is neither the first nor the last of its network, which mean the network."""
    network = ipaddress.IPv4Network((address, length), strict=False)
    return length >= 31 or address not in (network.network_address.packed, network.broadcast_address.packed)


def _class_length(address: bytes) -> int:
    """The prefix length that an address has without a mask (RFC 791 3.2)."""
    return 8 if address[0] < 128 else 16 if address[0] < 192 else 24
