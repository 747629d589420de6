"""Hostile answers to the clients that configure a host, and to both ends of a TFTP transfer: nothing raises, nothing
grows, and no deadline is in the past for ever."""

import random

import pytest

from asyncstack.application.dhcp6.lease import MOST_ADDRESSES
from asyncstack.application.dhcp6.machine import MOST_OFFERS, Dhcp6Machine
from asyncstack.application.tftp.terms import Terms, accept
from asyncstack.application.tftp.transfer import Receiving, Sending
from asyncstack.counters import Counters
from asyncstack.errors import WireError
from asyncstack.wire import dhcp6, tftp
from tests.fuzz.test_parsers import mutated

SEED = 20240608
ROUNDS = 300
ANSWERS = 20
DUID = b"\0\3\0\1\2\0\0\0\0\1"
POOL = [b"\xfd" + bytes(14) + bytes((n,)) for n in range(1, 6)]


def answer(machine, rng):
    """What a server might say just now, more or less."""
    exchange = machine._exchange
    transaction = exchange.transaction if exchange is not None else 0
    given = [
        dhcp6.IaAddress(
            address, rng.choice((0, 5, 100, dhcp6.INFINITY)), rng.choice((0, 9, 200, dhcp6.INFINITY))
        )
        for address in rng.sample(POOL, rng.randrange(4))
    ]
    status = dhcp6.Status(rng.randrange(7)) if rng.random() < 0.2 else None
    ia_na = dhcp6.IaNa(1, rng.choice((0, 1, 50)), rng.choice((0, 1, 80)), given, status)
    kind = rng.choice((dhcp6.ADVERTISE, dhcp6.REPLY, dhcp6.REPLY))
    return dhcp6.Message(
        kind, transaction, DUID, b"\0\3\0\1\2\0\0\0\0\2", [ia_na],
        preference=rng.choice((None, 0, 255)), rapid_commit=rng.random() < 0.5, nameservers=POOL[:1], search=["lan"],
        sol_max_rt=rng.choice((None, 0, 60)), refresh=rng.choice((None, 0, 600)),
    )  # fmt: skip


@pytest.mark.parametrize("stateful", [True, False])
def test_a_dhcpv6_client(stateful):
    rng = random.Random(f"{SEED} {stateful}")
    states = set()
    for number in range(ROUNDS):
        now = 1000.0
        machine = Dhcp6Machine(DUID, 1, rng=random.Random(number), counters=Counters(), stateful=stateful)
        machine.start(now)
        for _ in range(ANSWERS):
            data = bytearray(dhcp6.build(answer(machine, rng)))
            machine.receive_message(mutated(data, rng) if rng.random() < 0.4 else data, now)
            if rng.random() < 0.05:
                machine.link_up(now)
            if rng.random() < 0.05:
                machine.decline(rng.choice(POOL), now)
            states.add(machine.state)
            for _ in range(rng.randrange(3)):
                if machine.deadline < now + 1e6:
                    assert machine.deadline >= 1000.0
                    now = max(now, machine.deadline)
                    machine.timer_expired(now)
                    assert len(machine.messages_to_send(now)) <= 2
            assert len(machine.lease.addresses) <= MOST_ADDRESSES
            assert len(machine._offers) <= MOST_OFFERS
            machine.messages_to_send(now)
            machine.events()
        settle(machine, now)
    assert len(states) == (7 if stateful else 2)


def settle(machine, now):
    """It can always be stopped, and then has nothing more to do."""
    machine.release(now)
    for _ in range(10):
        machine.timer_expired(max(now, min(machine.deadline, now + 100)))
        now = max(now, min(machine.deadline, now + 100))
    assert (machine.state.name, machine.lease.addresses) == ("IDLE", {})


@pytest.mark.parametrize("sending", [True, False])
@pytest.mark.parametrize("server", [True, False])
def test_a_tftp_transfer(sending, server):
    rng = random.Random(f"{SEED} {sending} {server}")
    ends = set()
    for _ in range(ROUNDS):
        terms, now = Terms(8, rng.choice((1, 4))), 1000.0
        agree = None if server else lambda options, terms=terms: accept(options, terms)
        opening = tftp.build(tftp.Request(tftp.READ, "x"))
        machine = (
            Sending(opening, terms, now, agree)
            if sending
            else Receiving(opening, terms, now, agree, most=100)
        )
        for _ in range(60):
            packet = rng.choice(
                (
                    tftp.Ack(rng.randrange(6)),
                    tftp.Data(rng.randrange(6), rng.randbytes(rng.choice((0, 8, 8, 8)))),
                    tftp.OptionAck({"blksize": "8", "windowsize": rng.choice(("1", "4", "5"))}),
                )
            )
            if rng.random() < 0.7:  # what fits more often than not
                packet = tftp.Ack(rng.randrange(6)) if sending else tftp.Data(machine._last + 1, bytes(8))
            try:
                packet = tftp.parse(
                    mutated(tftp.build(packet), rng) if rng.random() < 0.1 else tftp.build(packet)
                )
            except WireError:
                continue
            machine.receive_packet(packet, now)
            if sending and machine.room:
                machine.supply(rng.randbytes(rng.choice((machine.room, machine.room, 3))), now)
            if rng.random() < 0.2 and machine.deadline < now + 10:
                now = machine.deadline
                machine.timer_expired(now)
            assert len(machine.packets_to_send(now)) <= 2 * terms.window + 1
            if not sending:
                assert len(machine.received()) <= 108
        for _ in range(10):
            now = max(now, min(machine.deadline, now + 10))
            machine.timer_expired(now)
        ends.add(machine.state.name)
    assert "FAILED" in ends
