"""A DHCP server as a machine without I/O (RFC 2131 4.3): messages in; replies, checks and events out.

    receive_message(message, now), checked(address, free, now), timer_expired(now)
    replies_to_send(), checks(), events(), deadline

A `Reply` with a `binding` may leave only after that one is on the disk.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final

from asyncstack.application.dhcp.answering import LARGEST, Reply, answer, hostname_of
from asyncstack.application.dhcp.bindings import Binding, BindingAdded, BindingRemoved, Bindings, Event, Phase
from asyncstack.application.dhcp.pool import Pool
from asyncstack.counters import Counters
from asyncstack.network.rate_limit import TokenBucket
from asyncstack.wire import dhcp_options as options
from asyncstack.wire.dhcp import REQUEST, Message, Type

CHECKS_LIMIT: Final = 512  # at a time
OFFER_SECONDS: Final = 60.0  # that an offer is held open
DECLINE_SECONDS: Final = 600.0  # that an address is set aside because another host uses it
_LINK_SELECTION: Final = 5  # suboption of the relay agent's, RFC 3527


class ServerMachine:
    """The server at `own` address for `pools`. check: whether addresses are looked for on the network before they are
    offered. authoritative: clients that it does not know are refused what they have from elsewhere, instead of being
    left alone (RFC 2131 4.3.2). largest: IP packet to send, bytes."""

    def __init__(
        self,
        own: bytes,
        pools: Sequence[Pool],
        rng: random.Random,
        counters: Counters,
        *,
        check: bool = True,
        authoritative: bool = False,
        per_second: float = 500.0,
        largest: int = LARGEST,
    ) -> None:
        self.own = own
        self._largest = largest
        self.pools = pools
        self.bindings = Bindings(pools)
        pool = self._pool_of(own)
        if pool is not None:
            self.bindings.set(pool, Binding(own, b"", b"", "", Phase.DECLINED, math.inf))
        self._check = check
        self._authoritative = authoritative
        self._counters = counters
        self._bucket = TokenBucket(per_second, max(1, int(2 * per_second)), rng)
        self._checking: dict[bytes, Message] = {}
        self._replies: list[Reply] = []
        self._checks: list[bytes] = []
        self._events: list[Event] = []
        self._changed: list[Binding] = []

    @property
    def deadline(self) -> float:
        """When `timer_expired` wants to be called."""
        return self.bindings.deadline

    def restore(self, binding: Binding) -> None:
        """A binding from before a restart. One that is of no pool any more is left out."""
        pool = self._pool_of(binding.address)
        if pool is None or binding.address == self.own:
            return
        self.bindings.set(pool, binding)
        if binding.phase is Phase.BOUND:
            self._events.append(BindingAdded(binding))

    # messages

    def receive_message(self, message: Message, now: float) -> None:
        """A message to the server's port, from a client or a relay agent."""
        client = client_of(message)
        if message.op != REQUEST or not client:
            self._counters["dhcp.malformed"] += 1
            return
        if not self._bucket.take(now):
            self._counters["dhcp.rate_limited"] += 1
            return
        pool = self._pool_for(message)
        if pool is None:
            self._counters["dhcp.no_pool"] += 1
            return
        match message.type:
            case Type.DISCOVER:
                self._discover(pool, message, client, now)
            case Type.REQUEST:
                self._request(pool, message, client, now)
            case Type.DECLINE:
                self._decline(pool, message, client, now)
            case Type.RELEASE:
                self._release(pool, message, client, now)
            case Type.INFORM if any(message.ciaddr):
                self._answer(pool, message, Type.ACK)

    def _pool_of(self, address: bytes) -> Pool | None:
        return next((pool for pool in self.pools if address in pool), None)

    def _pool_for(self, message: Message) -> Pool | None:
        """By the network that the client is on: RFC 3011, RFC 3527, the relay agent's address, its own, ours."""
        chosen = options.read_address(message.options.get(options.SUBNET_SELECTION))
        if chosen is not None:
            return next((pool for pool in self.pools if chosen == pool.prefix or chosen in pool), None)
        if any(message.giaddr):
            link = _suboption(message.options.get(options.RELAY_AGENT, b""), _LINK_SELECTION)
            return self._pool_of(link if len(link) == 4 else message.giaddr)
        if any(message.ciaddr) and (pool := self._pool_of(message.ciaddr)) is not None:
            return pool
        return self._pool_of(self.own)

    # DISCOVER

    def _discover(self, pool: Pool, message: Message, client: bytes, now: float) -> None:
        binding = self._choose(pool, message, client, now)
        if binding is None:
            self._counters["dhcp.pool_exhausted"] += 1
            return
        if binding.address in self._checking:
            self._checking[binding.address] = message
        elif not self._check or binding.phase is Phase.BOUND:
            self._offer(pool, message, binding)
        elif len(self._checking) >= CHECKS_LIMIT:
            self._counters["dhcp.too_many_checks"] += 1
        else:
            self._checking[binding.address] = message
            self._checks.append(binding.address)

    def _choose(self, pool: Pool, message: Message, client: bytes, now: float) -> Binding | None:
        """RFC 2131 4.3.1: what it has, what it had, what it wishes for, another one."""
        reserved = self._reserved(pool, message, client)
        known = self.bindings.of(pool, client)
        if known is not None and self._is_for(pool, known.address, message, client):
            if known.phase is not Phase.BOUND:
                self.bindings.change(pool, known, Phase.OFFERED, now + OFFER_SECONDS)
            return known
        wish = options.read_address(message.options.get(options.REQUESTED_ADDRESS))
        if reserved is not None:
            there = self.bindings.by_address.get(reserved)
            if there is not None and there.phase is not Phase.ENDED:
                return None  # somebody has it, or another host is at it
            address: bytes | None = reserved
        elif wish is not None and wish in pool and self.bindings.is_free(pool, wish, client):
            address = wish
        else:
            address = self.bindings.find(pool, client)
        if address is None:
            return None
        if known is not None:
            self._end(known, "the client's address is another one now")
        binding = self._made(message, client, address, Phase.OFFERED, now + OFFER_SECONDS)
        self.bindings.set(pool, binding)
        return binding

    def checked(self, address: bytes, free: bool, now: float) -> None:
        """The answer to one of `checks`: whether no host is at `address`."""
        message = self._checking.pop(address, None)
        binding, pool = self.bindings.by_address.get(address), self._pool_of(address)
        if message is None or pool is None or binding is None or binding.phase is not Phase.OFFERED:
            return  # BOUND: its client, which has not waited for the offer, may be the host that is there
        if free:
            if binding.client == client_of(message):
                self._offer(pool, message, binding)
            return
        self._counters["dhcp.address_in_use"] += 1
        self._set_aside(pool, binding, now)
        self._discover(pool, message, client_of(message), now)

    def _offer(self, pool: Pool, message: Message, binding: Binding) -> None:
        self._answer(pool, message, Type.OFFER, binding.address)

    # REQUEST

    def _request(self, pool: Pool, message: Message, client: bytes, now: float) -> None:
        """RFC 2131 4.3.2, by what the client says and does not say."""
        server = options.read_address(message.options.get(options.SERVER_ID))
        wish = options.read_address(message.options.get(options.REQUESTED_ADDRESS))
        wanted = wish or message.ciaddr
        if not any(wanted):
            return
        binding = self.bindings.of(pool, client)
        if server is not None and server != self.own:
            if binding is not None and binding.phase is Phase.OFFERED:
                self.bindings.remove(pool, binding)  # it has taken another's offer
            return
        usable = (
            binding is not None and binding.address == wanted and self._is_for(pool, wanted, message, client)
        )
        if usable and binding is not None:
            self._acknowledge(pool, message, binding, now)
        elif server is not None or wanted not in pool or binding is not None:
            self._refuse(pool, message)
        elif self._may_have(pool, message, wanted, client):
            made = self._made(message, client, wanted, Phase.OFFERED, now + OFFER_SECONDS)
            self.bindings.set(pool, made)
            self._acknowledge(pool, message, made, now)
        elif self._authoritative:
            self._refuse(pool, message)

    def _may_have(self, pool: Pool, message: Message, address: bytes, client: bytes) -> bool:
        """Whether a client that is not known may keep what it says it has."""
        there = self.bindings.by_address.get(address)
        if self._reserved(pool, message, client) == address:
            return there is None or there.phase is Phase.ENDED
        return self._authoritative and self.bindings.is_free(pool, address, client)

    def _acknowledge(self, pool: Pool, message: Message, binding: Binding, now: float) -> None:
        lease, _, _ = pool.times(options.read_number(message.options.get(options.LEASE_TIME)))
        hostname = hostname_of(message) or binding.hostname
        new = binding.phase is not Phase.BOUND or hostname != binding.hostname
        binding.hostname, binding.mac = hostname, message.chaddr
        expires = math.inf if lease == options.FOREVER else now + lease
        self.bindings.change(pool, binding, Phase.BOUND, expires)
        self._answer(pool, message, Type.ACK, binding.address, binding)
        if new:
            self._events.append(BindingAdded(binding))

    def _refuse(self, pool: Pool, message: Message) -> None:
        self._answer(pool, message, Type.NAK)

    # DECLINE, RELEASE, time

    def _decline(self, pool: Pool, message: Message, client: bytes, now: float) -> None:
        binding = self.bindings.of(pool, client)
        declined = message.options.get(options.REQUESTED_ADDRESS)
        if binding is None or binding.address != declined:
            return
        if message.options.get(options.SERVER_ID, self.own) != self.own:
            return
        self._counters["dhcp.declined"] += 1
        self._set_aside(pool, binding, now)
        self._changed.append(binding)

    def _set_aside(self, pool: Pool, binding: Binding, now: float) -> None:
        self._end(binding, "another host uses the address")
        self.bindings.change(pool, binding, Phase.DECLINED, now + DECLINE_SECONDS)

    def _release(self, pool: Pool, message: Message, client: bytes, now: float) -> None:
        binding = self.bindings.of(pool, client)
        if binding is None or binding.address != message.ciaddr or binding.phase is not Phase.BOUND:
            return
        self._end(binding, "the client gave it back")
        self.bindings.change(pool, binding, Phase.ENDED, now)
        self._changed.append(binding)

    def timer_expired(self, now: float) -> None:
        """Leases, offers and what was set aside run out."""
        for binding in self.bindings.timer_expired(now):
            pool = self._pool_of(binding.address)
            if pool is None:
                continue
            if binding.phase is Phase.BOUND:
                self._end(binding, "its time is up")
                self.bindings.change(pool, binding, Phase.ENDED, now)
            else:
                self.bindings.remove(pool, binding)

    def _end(self, binding: Binding, reason: str) -> None:
        if binding.phase is Phase.BOUND:
            self._events.append(BindingRemoved(binding, reason))

    def _answer(
        self,
        pool: Pool,
        message: Message,
        kind: Type,
        address: bytes = bytes(4),
        binding: Binding | None = None,
    ) -> None:
        reply = answer(message, kind, self.own, pool, address, binding, largest=self._largest)
        self._replies.append(reply)

    # who may have what

    def _reserved(self, pool: Pool, message: Message, client: bytes) -> bytes | None:
        return pool.reserved.get(client) or pool.reserved.get(message.chaddr)

    def _is_for(self, pool: Pool, address: bytes, message: Message, client: bytes) -> bool:
        """Whether `address` may still be this client's: reservations change between two runs."""
        reserved = self._reserved(pool, message, client)
        return address == reserved or (reserved is None and pool.offers(address))

    @staticmethod
    def _made(message: Message, client: bytes, address: bytes, phase: Phase, expires: float) -> Binding:
        return Binding(address, client, message.chaddr, hostname_of(message), phase, expires)

    # what has to be done

    def replies_to_send(self) -> list[Reply]:
        """The replies since the last call."""
        replies, self._replies = self._replies, []
        return replies

    def changed(self) -> list[Binding]:
        """Bindings that the disk should know of, without a reply that waits for it, since the last call."""
        changed, self._changed = self._changed, []
        return changed

    def checks(self) -> list[bytes]:
        """The addresses to look for, since the last call."""
        checks, self._checks = self._checks, []
        return checks

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events


def client_of(message: Message) -> bytes:
    """Who a client is (RFC 2131 4.2): its identifier, or hardware type and address; b"" if it says neither."""
    given = message.options.get(options.CLIENT_ID, b"")
    if 2 <= len(given) <= 255:
        return given
    return bytes([message.hardware]) + message.chaddr if any(message.chaddr) else b""


def _suboption(value: bytes, code: int) -> bytes:
    """The value of one of the relay agent's suboptions, b"" without it."""
    while len(value) >= 2:
        if value[0] == code:
            return value[2 : 2 + value[1]]
        value = value[2 + value[1] :]
    return b""
