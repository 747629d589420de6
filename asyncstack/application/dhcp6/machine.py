"""A DHCPv6 client (RFC 8415 18.2). Does no I/O and reads no clock.

    start(now), decline(address, now), release(now), link_up(now)
    receive_message(data, now), timer_expired(now)
    messages_to_send(now), events(), deadline

`states` says what follows what, `retransmission` how often something is said, `lease` what was given. Every message
goes to all servers; Reconfigure and the option that allows unicast are not asked for, and ignored.
"""

from __future__ import annotations

import math
import random
from typing import Final

from asyncstack.application.dhcp6.lease import Bound, Event, Lease, Lost, Told, association, usable
from asyncstack.application.dhcp6.retransmission import Exchange, Pace
from asyncstack.application.dhcp6.states import SAYS, TRANSITIONS, Input, State
from asyncstack.counters import Counters
from asyncstack.errors import WireError
from asyncstack.wire import dhcp6
from asyncstack.wire.dhcp6 import IaAddress, IaNa, Message

MOST_OFFERS: Final = 16  # of servers, among which one is chosen
AT_ONCE: Final = 255  # the preference that ends the choice
REFRESH: Final = 86400  # RFC 8415 7.6: IRT_DEFAULT, and
LEAST_REFRESH: Final = 600  # IRT_MINIMUM
MAX_RT: Final = range(60, 86401)  # RFC 8415 21.24

_WANTED: Final = [dhcp6.DNS_SERVERS, dhcp6.DOMAIN_LIST]


class Dhcp6Machine:
    """The client of one interface, which calls itself `duid`, and what it asks for `iaid`.

    stateful: it wants an address; else only to be told (RFC 8415 6.1). why: what stands in the way, in words.
    """

    def __init__(
        self,
        duid: bytes,
        iaid: int,
        *,
        rng: random.Random,
        counters: Counters,
        stateful: bool = True,
        rapid_commit: bool = True,
    ) -> None:
        self.state = State.IDLE
        self.lease = Lease()
        self.why = "no server answered"
        self._duid = duid
        self._iaid = iaid
        self._rng = rng
        self._counters = counters
        self._stateful = stateful
        self._rapid_commit = rapid_commit
        self._exchange: Exchange | None = None
        self._pace = Pace()
        self._offers: list[Message] = []
        self._chosen = Message(dhcp6.ADVERTISE, 0)
        self._given_up: list[bytes] = []  # the addresses to decline or to release
        self._refresh_at = math.inf
        self._longest = {dhcp6.SOLICIT: 0.0, dhcp6.INFORMATION_REQUEST: 0.0}  # as servers say
        self._told = Told([], [])
        self._messages: list[bytes] = []
        self._events: list[Event] = []

    # commands

    def start(self, now: float) -> None:
        """Begin."""
        self._apply(Input.START if self._stateful else Input.INFORM, now)

    def release(self, now: float) -> None:
        """Give the addresses back and end; it ends in State.IDLE."""
        self._given_up = self._lose("given back")
        self._apply(Input.RELEASE, now)

    def decline(self, address: bytes, now: float) -> None:
        """Somebody else has `address` (RFC 8415 18.2.8)."""
        if self.lease.addresses.pop(address, None) is not None:
            before = self._given_up if self.state is State.DECLINING else []
            self._given_up = [*before, address]
            self._apply(Input.TAKEN, now)

    def link_up(self, now: float) -> None:
        """The link was away, and may be another one: ask whether the addresses fit it (RFC 8415 18.2.12)."""
        self._apply(Input.LINK_UP, now)

    # inputs

    def receive_message(self, data: bytes | memoryview, now: float) -> None:
        """A datagram from a server. What is wrong, or no answer to what was asked last, is counted."""
        try:
            message = dhcp6.parse(data)
        except WireError:
            self._counters["dhcp6.malformed"] += 1
            return
        exchange = self._exchange
        expected = dhcp6.REPLY, *([dhcp6.ADVERTISE] if self.state is State.SOLICITING else [])
        if (
            exchange is None
            or not exchange.sent
            or message.type not in expected
            or message.transaction != exchange.transaction
            or message.client_id != self._duid
            or not message.server_id
        ):
            self._counters["dhcp6.ignored"] += 1
            return
        self._obey(message)
        if message.type == dhcp6.ADVERTISE:
            self._receive_advertise(message, now)
        else:
            self._receive_reply(message, now)

    def timer_expired(self, now: float) -> None:
        """Do what is due. Early calls do nothing."""
        gone = self.lease.take_expired(now)
        if gone:
            self._events.append(Lost(gone, "its lifetime has ended"))
            if not self.lease.addresses:
                self._apply(Input.EXPIRED, now)
        if now >= self.lease.t2:
            self._apply(Input.T2, now)
        elif now >= self.lease.t1:
            self._apply(Input.T1, now)
        if now >= self._refresh_at:
            self._apply(Input.REFRESH, now)
        exchange = self._exchange
        if exchange is not None and now >= exchange.due:
            if self._offers:
                self._choose(now)
            elif exchange.is_over(now):
                self._give_up(now)
            else:
                self._say(exchange, now)

    # outputs

    @property
    def deadline(self) -> float:
        """When to call `timer_expired`, clock seconds; `math.inf` for never."""
        times = [self.lease.expires, self._refresh_at]
        if self._exchange is not None:
            times.append(self._exchange.due)
        if self.state is State.BOUND:
            times.append(self.lease.t1)
        elif self.state is State.RENEWING:
            times.append(self.lease.t2)
        return min(times)

    def messages_to_send(self, now: float) -> list[bytes]:
        """The datagrams that are due, for all servers."""
        messages, self._messages = self._messages, []
        return messages

    def events(self) -> list[Event]:
        """What has happened since the last call."""
        events, self._events = self._events, []
        return events

    # what is said

    def _say(self, exchange: Exchange, now: float) -> None:
        if now < self._pace.free_at:
            exchange.due = self._pace.free_at
            return
        message = Message(exchange.kind, exchange.transaction, self._duid, elapsed=exchange.elapsed(now))
        if exchange.kind in (dhcp6.RENEW, dhcp6.RELEASE, dhcp6.DECLINE):
            message.server_id = self.lease.server_id
        elif exchange.kind == dhcp6.REQUEST:
            message.server_id = self._chosen.server_id
        if exchange.kind != dhcp6.INFORMATION_REQUEST:
            message.ia_nas = [IaNa(self._iaid, addresses=list(map(IaAddress, self._asked(exchange.kind))))]
        if exchange.kind == dhcp6.INFORMATION_REQUEST:
            message.requested = [*_WANTED, dhcp6.INFORMATION_REFRESH, dhcp6.INF_MAX_RT]
        elif exchange.kind in (dhcp6.SOLICIT, dhcp6.REQUEST, dhcp6.RENEW, dhcp6.REBIND):
            message.requested = [*_WANTED, dhcp6.SOL_MAX_RT]  # RFC 8415 18.2.1: has to be asked for
        message.rapid_commit = exchange.kind == dhcp6.SOLICIT and self._rapid_commit
        self._messages.append(dhcp6.build(message))
        self._pace.transmitted(now)
        exchange.transmitted(now)

    def _asked(self, kind: int) -> list[bytes]:
        """The addresses to name."""
        if kind in (dhcp6.RELEASE, dhcp6.DECLINE):
            return self._given_up
        offered = association(self._chosen, self._iaid) if kind == dhcp6.REQUEST else None
        if offered is not None:
            return [one.address for one in usable(offered)]
        return list(self.lease.addresses)

    def _give_up(self, now: float) -> None:
        """The last message was not answered, often enough."""
        if self.state is State.REQUESTING:
            self.why = "the server that had offered an address did not give it"
            self._apply(Input.REFUSED, now)
        elif self.state is State.DECLINING:
            self._apply(Input.STILL_GOOD if self.lease.addresses else Input.ENDED, now)
        else:  # RFC 8415 18.2.3: nobody says no
            self._apply(Input.STILL_GOOD if self.state is State.CONFIRMING else Input.ENDED, now)

    # what is heard

    def _obey(self, message: Message) -> None:
        for kind, longest in (
            (dhcp6.SOLICIT, message.sol_max_rt),
            (dhcp6.INFORMATION_REQUEST, message.inf_max_rt),
        ):
            if longest is not None and longest in MAX_RT:
                self._longest[kind] = float(longest)

    def _receive_advertise(self, message: Message, now: float) -> None:
        """RFC 8415 18.2.9."""
        exchange = self._exchange
        assert exchange is not None
        offered = association(message, self._iaid)
        status = (offered and offered.status) or message.status
        if offered is None or not any(one.valid for one in usable(offered)):
            self.why = f"the server has no address for us: {status or 'it says nothing of one'}"
            self._counters["dhcp6.no_address"] += 1
        elif len(self._offers) < MOST_OFFERS:
            self._offers.append(message)
            # the first wait is for all servers to answer; after that the first is taken
            if message.preference == AT_ONCE or exchange.sent > 1:
                self._choose(now)

    def _choose(self, now: float) -> None:
        """The highest preference; of equals who came first (RFC 8415 18.2.9)."""
        self._chosen = max(self._offers, key=lambda offer: offer.preference or 0)
        self._apply(Input.CHOSEN, now)

    def _receive_reply(self, message: Message, now: float) -> None:
        """RFC 8415 18.2.10."""
        status = message.status.code if message.status is not None else dhcp6.SUCCESS
        if self.state is State.SOLICITING and not (message.rapid_commit and self._rapid_commit):
            self._counters["dhcp6.ignored"] += 1
        elif self.state is State.INFORMING:
            self._refresh_at = now + max(
                REFRESH if message.refresh is None else message.refresh, LEAST_REFRESH
            )
            if message.refresh == dhcp6.INFINITY:
                self._refresh_at = math.inf
            self._learn(message)
            self._apply(Input.TOLD, now)
        elif self.state is State.CONFIRMING:
            if status == dhcp6.NOT_ON_LINK:
                self._lose("it does not fit this link")
            self._apply(Input.REFUSED if status == dhcp6.NOT_ON_LINK else Input.STILL_GOOD, now)
        elif self.state in (State.DECLINING, State.RELEASING):
            self._give_up(now)
        elif status in (dhcp6.UNSPEC_FAIL, dhcp6.USE_MULTICAST):
            self.why = f"the server says {message.status}"  # and is asked again when it is time
        else:
            self._receive_lease(message, now)

    def _receive_lease(self, message: Message, now: float) -> None:
        """RFC 8415 18.2.10.1."""
        given = association(message, self._iaid)
        status = (given and given.status) or message.status
        if status is not None and status.code != dhcp6.SUCCESS:
            self.why = f"the server says {status}"
            if status.code == dhcp6.NO_BINDING and self.state is not State.REQUESTING:
                self._chosen = Message(dhcp6.ADVERTISE, 0, server_id=message.server_id)
                self._apply(Input.NO_BINDING, now)
            elif status.code in (dhcp6.NO_ADDRS_AVAIL, dhcp6.NOT_ON_LINK, dhcp6.NO_BINDING):
                self._apply(Input.REFUSED, now)
        elif given is not None and usable(given):
            lost = self.lease.update(message.server_id, given, now)
            if lost:
                self._events.append(Lost(lost, "the server has taken it back"))
            self._learn(message)
            self._apply(Input.LEASED, now)
            if self.lease.addresses:
                self._events.append(Bound(list(self.lease.addresses.values())))
            else:
                self._apply(Input.EXPIRED, now)

    def _learn(self, message: Message) -> None:
        told = Told(message.nameservers, message.search)
        if told != self._told:
            self._told = told
            self._events.append(told)

    def _lose(self, why: str) -> list[bytes]:
        """Give up all addresses; which."""
        lost = list(self.lease.addresses)
        self.lease.addresses.clear()
        if lost:
            self._events.append(Lost(lost, why))
        return lost

    # the machine

    def _apply(self, event: Input, now: float) -> None:
        state = TRANSITIONS.get((self.state, event))
        if state is not None:
            self._enter(state, now)

    def _enter(self, state: State, now: float) -> None:
        """The one place that assigns `state`. What is to be said in it begins."""
        self.state = state
        self._offers = []
        kind = SAYS.get(state)
        self._exchange = None
        if state is not State.INFORMED:
            self._refresh_at = math.inf
        if kind is not None:
            exchange = self._exchange = Exchange(kind, self._rng, now, self._longest.get(kind, 0.0))
            if exchange.due <= now:
                self._say(exchange, now)
        if state in (State.IDLE, State.SOLICITING) and not self.lease.addresses:
            self.lease = Lease()
