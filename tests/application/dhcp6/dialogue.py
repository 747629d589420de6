"""A client machine, and a server whose words the test chooses."""

import random

from asyncstack.application.dhcp6.lease import Bound, Lost, Told
from asyncstack.application.dhcp6.machine import Dhcp6Machine
from asyncstack.counters import Counters
from asyncstack.network.addresses import parse_address
from asyncstack.wire import dhcp6
from asyncstack.wire.dhcp6 import IaAddress, IaNa, Message

DUID, IAID = bytes.fromhex("00030001020000000001"), 2
SERVER, OTHER = bytes.fromhex("00030001020000000009"), bytes.fromhex("0003000102000000000a")
A, B, DNS = map(parse_address, ("fd00:6::a", "fd00:6::b", "fd00:6::53"))
START = 1000.0


def lease(*addresses, t1=50, t2=80, preferred=100, valid=200, status=None):
    given = [IaAddress(address, preferred, valid) for address in addresses or (A,)]
    return IaNa(IAID, t1, t2, given, status)


class Dialogue:
    """`now` moves by `wait`, from deadline to deadline; `said` is what the client sent since the last look."""

    def __init__(self, seed=1, **arguments):
        self.counters = Counters()
        self.machine = Dhcp6Machine(DUID, IAID, rng=random.Random(seed), counters=self.counters, **arguments)
        self.now = START
        self.times = []  # when `said` was

    @property
    def state(self):
        return self.machine.state.name

    def start(self):
        self.machine.start(self.now)
        return self

    def said(self):
        return [dhcp6.parse(data) for data in self.machine.messages_to_send(self.now)]

    def hears(self, kind, *ia_nas, server=SERVER, **fields):
        """The server answers what was sent last."""
        fields = {"transaction": self.machine._exchange.transaction, "client_id": DUID, **fields}
        message = Message(kind, server_id=server, ia_nas=list(ia_nas), **fields)
        self.machine.receive_message(dhcp6.build(message), self.now)

    def wait(self, seconds):
        """Let time pass; everything that was sent meanwhile, with its time."""
        until, sent = self.now + seconds, []
        for _ in range(10_000):
            if self.machine.deadline > until:
                self.now = until
                return sent
            self.now = max(self.now, self.machine.deadline)
            self.machine.timer_expired(self.now)
            sent += [(self.now, message) for message in self.said()]
        raise AssertionError("it spins")

    def until_said(self, seconds=100):
        """Let time pass until something is sent; that."""
        until = self.now + seconds
        while self.machine.deadline <= until:
            self.now = max(self.now, self.machine.deadline)
            self.machine.timer_expired(self.now)
            if said := self.said():
                [message] = said
                return message
        raise AssertionError(f"nothing was sent within {seconds} s")

    def events(self):
        """[("bound", addresses), ("lost", addresses), ("told", servers, search)]."""
        return [readable(event) for event in self.machine.events()]

    def bound(self, *ia_nas, **fields):
        """Through Solicit, Advertise, Request and Reply."""
        self.start().until_said()
        self.hears(dhcp6.ADVERTISE, *(ia_nas or [lease()]), preference=255)
        [request] = self.said()
        assert request.type == dhcp6.REQUEST
        self.hears(dhcp6.REPLY, *(ia_nas or [lease()]), **fields)
        assert self.state == "BOUND"
        self.events()
        return self


def readable(event):
    if isinstance(event, Bound):
        return "bound", [one.address for one in event.addresses]
    if isinstance(event, Lost):
        return "lost", event.addresses, event.why
    assert isinstance(event, Told)
    return "told", event.nameservers, event.search
