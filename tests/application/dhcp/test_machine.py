"""The client's machine alone: a walk of seeded chance through its table."""

import math
import random

from asyncstack.application.dhcp.asking import Asking, client_id_of
from asyncstack.application.dhcp.machine import ClientMachine
from asyncstack.application.dhcp.outcomes import Check
from asyncstack.application.dhcp.states import TRANSITIONS, Input, State
from asyncstack.wire.dhcp import REPLY, Message, Type
from tests.application.dhcp.world import LEASE, MAC, OFFERED, seconds

STEPS = 40_000


class Watched(ClientMachine):
    """Keeps the transitions that it makes."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.taken_ways = {}

    def _move(self, cause):
        before = self.state
        super()._move(cause)
        self.taken_ways[before, cause] = self.state


def answer(machine, rng, outgoing):
    asked = outgoing.message
    kinds = (Type.OFFER,) if asked.type is Type.DISCOVER else (Type.ACK, Type.ACK, Type.ACK, Type.NAK)
    options = {53: bytes([rng.choice(kinds)])} | LEASE | {51: seconds(rng.choice((100, 1000)))}
    return Message(REPLY, asked.xid, MAC, options, yiaddr=machine.known or OFFERED)


def step(machine, rng, now):
    """Something happens; the time then."""
    outgoing = machine.messages_to_send()
    checks = [event for event in machine.events() if isinstance(event, Check)]
    chance = rng.random()
    if machine.state is State.STOPPED:
        machine.inform(OFFERED, now) if chance < 0.2 else machine.start(now)
    elif chance < 0.01:
        machine.stop(now, release=chance < 0.005)
    elif chance < 0.04:
        machine.link_up(now)
    elif chance < 0.06:
        machine.taken(now)
    elif checks and chance < 0.9:
        machine.checked(chance < 0.8, now)
    elif outgoing and chance < 0.5:
        machine.receive_message(answer(machine, rng, outgoing[-1]), now)
    elif machine.deadline < math.inf:
        now = max(now, machine.deadline) + (rng.choice((0.0, 0.0, 500.0)) if chance > 0.9 else 0.0)
        machine.timer_expired(now)
    return now


def test_every_line_of_the_table_is_walked_and_no_other():
    rng = random.Random(5)
    machine = Watched(Asking(MAC, client_id_of(MAC), "walker", 1500), rng)
    now = 0.0
    for _ in range(STEPS):
        now = step(machine, rng, now)
        holds = machine.lease is not None
        assert holds or machine.state not in (State.BOUND, State.RENEWING, State.REBINDING)
        assert not holds or machine.state not in (State.INIT, State.SELECTING, State.STOPPED)
        idle = (State.STOPPED, State.CHECKING)
        assert machine.deadline < math.inf or machine.state in idle
        assert machine.lease is None or machine.deadline <= machine.lease.expires
    assert machine.taken_ways.items() <= TRANSITIONS.items()
    missing = TRANSITIONS.keys() - machine.taken_ways.keys() - {(State.STOPPED, Input.STOP)}
    assert missing == set()
