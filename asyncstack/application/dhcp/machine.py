"""A DHCP client as a machine without I/O (RFC 2131 4.4): messages and time in; messages, events and a deadline out.

start(now), inform(address, now), link_up(now), stop(now)       what the owner wants
receive_message(message, now), timer_expired(now)               what the network and the clock say
checked(free, now)                                              the answer to a `Check`
messages_to_send(), events(), deadline                          what has to be done
"""

from __future__ import annotations

import math
import random
from typing import Final

from asyncstack.application.dhcp.asking import Asking
from asyncstack.application.dhcp.lease import Lease, Parameters
from asyncstack.application.dhcp.outcomes import Bound, Check, Event, Informed, Lost, Outgoing
from asyncstack.application.dhcp.retry import Backoff, renewal_retry
from asyncstack.application.dhcp.states import TRANSITIONS, Input, State
from asyncstack.network.addresses import ANY_IPV4, LIMITED_BROADCAST, format_address
from asyncstack.wire import dhcp_options as options
from asyncstack.wire.dhcp import REPLY, Message, Type

REQUEST_TRIES: Final = 4  # for an address that was offered, and for parameters
REBOOT_TRIES: Final = 2  # for one that was ours before; if it still is, there is no haste
SETBACK: Final = 10.0  # seconds after a DECLINE (RFC 2131 3.1), and after the second NAK in a row

_ASKED_A_FEW_TIMES: Final = (State.REQUESTING, State.REBOOTING, State.INFORMING)


class ClientMachine:
    """The client of one interface. `known`: an address to ask for first, b"" or that of an earlier time.

    `lease` is what it holds: it stays while it is renewed or asked for again, and goes with a `Lost`.
    """

    def __init__(
        self, asking: Asking, rng: random.Random, *, known: bytes = b"", first_retry: float = 4.0
    ) -> None:
        self.state = State.STOPPED
        self.lease: Lease | None = None
        self.known = known
        self.deadline = math.inf
        self.asked = 0  # DISCOVERs or INFORMs since the start, for error messages
        self._asking = asking
        self._rng = rng
        self._backoff = Backoff(rng, first_retry)
        self._offer: Lease | None = None
        self._xid = b""
        self._began = 0.0  # of this attempt, for `secs`
        self._asked_at = 0.0  # from when a lease counts
        self._next_try = math.inf
        self._setbacks = 0
        self._released = False  # `known`: it can be wished for, but is not ours to ask for
        self._outgoing: list[Outgoing] = []
        self._events: list[Event] = []

    # what the owner wants

    def start(self, now: float) -> None:
        """Get an address, and keep it."""
        self._setbacks = self.asked = 0
        self._move(Input.START_KNOWN if self.known and not self._released else Input.START)
        self._wait(0.0, now)

    def inform(self, address: bytes, now: float) -> None:
        """Ask for what belongs to `address`, which is ours already (RFC 2131 3.4)."""
        self._move(Input.INFORM)
        self.known, self.asked = address, 0
        self._begin(now)
        self._ask(now)

    def link_up(self, now: float) -> None:
        """Ask whether the address is good here too (RFC 2131 3.7)."""
        if (self.state, Input.LINK_UP) in TRANSITIONS:
            held = self.lease or self._offer  # of CHECKING, the address is given already
            if held is not None and self.state is not State.REQUESTING:
                self.known = held.address
            self._move(Input.LINK_UP)
            self._wait(0.0, now)
        elif self.state in (State.INIT, State.SELECTING):
            self._backoff.restart()
            self._next_try = now
            self._set_deadline()

    def stop(self, now: float, *, release: bool = True) -> None:
        """Give the address back."""
        lease = self.lease
        self._move(Input.STOP)
        self._next_try = math.inf
        if lease is not None:
            if release:
                self._xid = self._rng.randbytes(4)
                message = self._asking.release(self._xid, lease)
                self._outgoing.append(Outgoing(message, lease.address, lease.server))
                self._released = True
            self._lose("it was given back")
        self._set_deadline()

    def checked(self, free: bool, now: float) -> None:
        """Nobody uses the address of the last `Check`, or somebody does."""
        offer = self._offer
        if self.state is not State.CHECKING or offer is None:
            return
        if free:
            self._move(Input.FREE)
            self._setbacks = 0
            self._hold(offer)
            return
        self._decline(offer, now)

    def taken(self, now: float) -> None:
        """Another host uses the address that we hold, and has won it (RFC 5227 2.4)."""
        if self.lease is not None and (self.state, Input.TAKEN) in TRANSITIONS:
            self._decline(self.lease, now)

    def _decline(self, lease: Lease, now: float) -> None:
        self._move(Input.TAKEN)
        message = self._asking.decline(self._rng.randbytes(4), lease)
        self._outgoing.append(Outgoing(message, ANY_IPV4, LIMITED_BROADCAST))
        self._setbacks += 1
        self.known = b""
        self._lose("another host uses it")
        self._wait(SETBACK, now)

    # what the network says

    def receive_message(self, message: Message, now: float) -> None:
        """A message arrived. What is not the answer to our question is passed over."""
        kind = message.type
        if message.op != REPLY or message.xid != self._xid or not self._asking.concerns(message):
            return
        if kind is Type.OFFER and self.state is State.SELECTING:
            self._receive_offer(message, now)
        elif kind is Type.ACK:
            self._receive_ack(message, now)
        elif kind is Type.NAK and (self.state, Input.NAK) in TRANSITIONS and self._is_from_ours(message):
            self._refused(now)

    def _receive_offer(self, message: Message, now: float) -> None:
        offer = Lease.of(message, self._asked_at, self._rng)
        if offer is None:
            return
        self._offer = offer
        self._move(Input.OFFER)
        self._backoff.restart()
        self._ask(now)

    def _receive_ack(self, message: Message, now: float) -> None:
        if self.state is State.INFORMING:
            self._informed(Parameters.of(message, self.known))
            return
        if (self.state, Input.ACK) not in TRANSITIONS:
            return
        lease = Lease.of(message, self._asked_at, self._rng)
        if lease is None or lease.address != self._wanted() or lease.expires <= now:
            return
        self._move(Input.ACK)
        if self.state is State.BOUND:
            self._hold(lease)
            return
        self._offer, self._next_try = lease, math.inf
        self._events.append(Check(lease))
        self._set_deadline()

    def _wanted(self) -> bytes:
        """The address that was asked for."""
        if self.state is State.REBOOTING:
            return self.known
        held = self._offer if self.state is State.REQUESTING else self.lease
        return b"" if held is None else held.address

    def _is_from_ours(self, message: Message) -> bool:
        """Whether a NAK comes from the server that was asked; where all were, any may refuse."""
        held = self._offer if self.state is State.REQUESTING else self.lease
        if self.state not in (State.REQUESTING, State.RENEWING) or held is None:
            return True
        return message.options.get(options.SERVER_ID, held.server) == held.server

    def _refused(self, now: float) -> None:
        self._move(Input.NAK)
        self.known = b""
        self._lose("a DHCP server says that it is not for this network")
        self._wait(SETBACK if self._setbacks else 0.0, now)
        self._setbacks += 1

    # what the clock says

    def timer_expired(self, now: float) -> None:
        """The deadline has passed."""
        if now < self.deadline:
            return
        lease = self.lease
        if lease is not None and now >= lease.expires:
            self._expire(now)
        elif lease is not None and self.state is State.RENEWING and now >= lease.rebind_at:
            self._move(Input.T2)
            self._ask(now)
        elif now < self._next_try:
            pass
        elif self.state in (State.INIT, State.INIT_REBOOT):
            self._move(Input.BEGIN)
            self._begin(now)
            self._ask(now)
        elif self.state is State.BOUND:
            self._move(Input.T1)
            self._begin(now)
            self._ask(now)
        elif self._backoff.tries >= self._most_tries():
            self._give_up(now)
        else:
            self._ask(now)
        self._set_deadline()

    def _expire(self, now: float) -> None:
        if (self.state, Input.EXPIRED) in TRANSITIONS:
            self._move(Input.EXPIRED)
        self.known = b""
        self._lose("its lease has run out, and no DHCP server has renewed it")
        if self.state is State.INIT:
            self._wait(0.0, now)

    def _most_tries(self) -> float:
        if self.state is State.REBOOTING and self.lease is None:
            return REBOOT_TRIES
        return REQUEST_TRIES if self.state in _ASKED_A_FEW_TIMES else math.inf

    def _give_up(self, now: float) -> None:
        if self.state is State.INFORMING:
            self._informed(None)
            return
        if self.state is State.REBOOTING and self.lease is not None:
            self._move(Input.T2)  # it is good until it runs out (RFC 2131 3.2)
            self._begin(now)
            self._ask(now)
            return
        self._move(Input.GIVE_UP)
        self._wait(0.0, now)

    # common

    def _begin(self, now: float) -> None:
        self._xid = self._rng.randbytes(4)
        self._began = now
        self._backoff.restart()

    def _ask(self, now: float) -> None:
        """Send what the state is for, and set when to do so again."""
        state, lease = self.state, self.lease
        source, destination = ANY_IPV4, LIMITED_BROADCAST
        if state in (State.RENEWING, State.REBINDING) and lease is not None:
            message = self._asking.renewal(self._xid, lease)
            source = lease.address
            renewing = state is State.RENEWING
            destination = lease.server if renewing else destination
            self._next_try = renewal_retry(now, lease.rebind_at if renewing else lease.expires)
        else:
            self._next_try = now + self._backoff.next()
            if state is State.INFORMING:
                message, source = self._asking.inform(self._xid, self.known), self.known
                self.asked += 1
            elif state is State.REQUESTING and self._offer is not None:
                message = self._asking.request(self._xid, self._offer)
            elif state is State.REBOOTING:
                message = self._asking.reboot(self._xid, self.known)
            else:
                message = self._asking.discover(self._xid, self.known)
                self.asked += 1
        message.secs = int(now - self._began)
        if self._backoff.tries <= 1:  # an answer may be to the first of several; renewals are far apart
            self._asked_at = now
        self._outgoing.append(Outgoing(message, source, destination))
        self._set_deadline()

    def _wait(self, seconds: float, now: float) -> None:
        """Begin anew after that long."""
        self._offer = None
        self._xid = b""
        self._next_try = now + seconds
        self._set_deadline()

    def _hold(self, lease: Lease) -> None:
        self.lease, self._offer = lease, None
        self.known, self._released = lease.address, False
        self._next_try = lease.renew_at
        self._xid = b""
        self._events.append(Bound(lease))
        self._set_deadline()

    def _lose(self, reason: str) -> None:
        lease, self.lease = self.lease, None
        if lease is not None:
            self._events.append(Lost(lease, f"{format_address(lease.address)}: {reason}"))

    def _informed(self, parameters: Parameters | None) -> None:
        self._move(Input.GIVE_UP if parameters is None else Input.ACK)
        self._next_try = math.inf
        self._events.append(Informed(parameters))
        self._set_deadline()

    def _move(self, cause: Input) -> None:
        self.state = TRANSITIONS[self.state, cause]

    def _set_deadline(self) -> None:
        lease = self.lease
        self.deadline = self._next_try
        if lease is not None:
            phase = lease.rebind_at if self.state is State.RENEWING else lease.expires
            self.deadline = min(self.deadline, phase)

    # what has to be done

    def messages_to_send(self) -> list[Outgoing]:
        """The messages since the last call."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events
