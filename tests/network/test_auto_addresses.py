"""The lives of addresses that are made from prefixes, without a clock."""

import math
import random
from ipaddress import ip_network

import pytest

from asyncstack.counters import Counters
from asyncstack.network.slaac import (
    ADDRESS_LIMIT,
    PREFIX_LIMIT,
    AutoAddresses,
    Change,
    State,
    TemporaryLifetimes,
)
from asyncstack.wire.ndp import Prefix

NET = ip_network("2001:db8::/64").network_address.packed
ROUTER = b"\xfe\x80" + bytes(13) + b"\1"
LIVES = TemporaryLifetimes(valid=2000.0, preferred=1000.0, advance=5.0)


def made(temporary=None):
    return AutoAddresses(
        lambda prefix, counter: prefix[:8] + bytes(7) + bytes((counter + 1,)),
        random.Random(1),
        Counters(),
        temporary,
    )


def say(machine, now, valid=10_000, preferred=5_000, prefix=NET, length=64, autonomous=True):
    machine.receive(ROUTER, [Prefix(prefix, length, True, autonomous, valid, preferred)], now)


def settle(machine, now, free=True):
    """Answer the checks; the addresses."""
    asked = [one.address for one in machine.addresses_to_check(now)]
    for address in asked:
        machine.verdict(address, free, now)
    return asked


def changes(machine):
    return [change for change, _ in machine.events()]


def test_an_address_is_checked_assigned_and_ends():
    machine = made()
    say(machine, 0.0)
    [one] = machine.addresses_to_check(0.0)
    assert (one.address, one.state, one.router) == (NET[:8] + bytes(7) + b"\1", State.TENTATIVE, ROUTER)
    assert machine.events() == []
    machine.verdict(one.address, True, 1.0)
    assert machine.events() == [(Change.ASSIGN, one)]
    assert (one.valid_until, one.preferred_until, machine.deadline) == (10_000.0, 5_000.0, 10_000.0)
    machine.timer_expired(10_000.0)
    assert machine.events() == [(Change.REMOVE, one)]
    assert (list(machine), machine.deadline) == ([], math.inf)


@pytest.mark.parametrize(
    "fields",
    [
        {"autonomous": False},
        {"preferred": 10_001},
        {"valid": 0, "preferred": 0},
        {"length": 63},
        {"length": 128},
        {"prefix": b"\xfe\x80" + bytes(14)},
        {"prefix": b"\xff\x02" + bytes(14)},
        {"prefix": bytes(16)},
    ],
)
def test_prefixes_that_make_no_address(fields):
    machine = made()
    say(machine, 0.0, **fields)
    assert machine.addresses_to_check(0.0) == []


@pytest.mark.parametrize(
    ("left", "told", "then"),
    [
        (10_000, 20_000, 20_000),
        (10_000, 7_201, 7_201),
        (10_000, 7_200, 7_200),
        (10_000, 100, 7_200),
        (10_000, 0, 7_200),
        (5_000, 6_000, 6_000),
        (5_000, 4_000, 5_000),
        (5_000, 0, 5_000),
        (math.inf, 0, 7_200),
        (5_000, 0xFFFFFFFF, math.inf),
    ],
)
def test_the_two_hours_of_rfc_4862_5_5_3_e(left, told, then):
    machine = made()
    say(machine, 0.0, 0xFFFFFFFF if left == math.inf else left, 1)
    settle(machine, 0.0)
    say(machine, 0.0, told, 0)
    [one] = machine
    assert (one.valid_until, one.preferred_until) == (then, 0.0)
    assert changes(machine) == [Change.ASSIGN, Change.RENEW]


def test_a_duplicate_is_made_anew_until_it_is_given_up():
    machine = made()
    say(machine, 0.0)
    tried = []
    while asked := settle(machine, 0.0, free=False):
        tried += [address[15] for address in asked]
    assert (tried, changes(machine), list(machine)) == ([1, 2, 3], [Change.GIVE_UP], [])
    say(machine, 1.0)
    assert settle(machine, 1.0) == []


def test_one_in_use_that_somebody_else_has_by_now_is_made_anew():
    machine = made()
    say(machine, 0.0)
    [first] = settle(machine, 0.0)
    machine.events()
    machine.verdict(first, True, 10.0)  # checked again
    assert machine.events() == []
    machine.verdict(first, False, 20.0)
    assert changes(machine) == [Change.REMOVE]
    [second] = settle(machine, 20.0)
    assert second != first
    assert changes(machine) == [Change.ASSIGN]


def test_addresses_of_a_network_that_was_left_are_deprecated_until_it_is_heard_of_again():
    machine = made()
    say(machine, 0.0)
    settle(machine, 0.0)
    machine.events()
    machine.leave(100.0)
    [one] = machine
    assert (changes(machine), one.preferred_until, one.valid_until) == ([Change.RENEW], 100.0, 10_000.0)
    machine.leave(200.0)
    assert one.preferred_until == 100.0
    say(machine, 300.0)
    assert one.preferred_until == 5_300.0


def test_an_address_that_ends_while_it_is_checked():
    machine = made()
    say(machine, 0.0, 10, 5)
    [one] = machine.addresses_to_check(0.0)
    machine.timer_expired(10.0)
    machine.verdict(one.address, True, 11.0)
    assert (machine.events(), list(machine)) == ([], [])


def test_a_temporary_address_has_a_shorter_life_and_a_successor():
    machine = made(LIVES)
    say(machine, 0.0)
    stable, first = machine.addresses_to_check(0.0)
    settle(machine, 0.0)
    for one in (stable, first):
        machine.verdict(one.address, True, 0.0)
    assert (stable.temporary, first.temporary, first.valid_until) == (False, True, 2000.0)
    assert 600.0 <= first.preferred_until <= 1000.0
    say(machine, 100.0)  # makes the stable one live longer, not this one
    assert (stable.valid_until, first.valid_until) == (10_100.0, 2000.0)
    assert first.preferred_until <= 1000.0
    assert machine.deadline == first.preferred_until - 5.0
    machine.timer_expired(machine.deadline)
    [second] = machine.addresses_to_check(0.0)
    assert second.temporary
    assert second.address != first.address
    assert len(machine.of(NET[:8])) == 3


def test_a_deprecated_prefix_gets_no_new_temporary_address():
    machine = made(LIVES)
    say(machine, 0.0, 10_000, 5)
    assert len(settle(machine, 0.0)) == 1
    say(machine, 10.0)
    assert len(settle(machine, 10.0)) == 1
    say(machine, 20.0, 10_000, 0)
    machine.timer_expired(machine.deadline)
    assert settle(machine, 20.0) == []
    say(machine, 30.0)  # preferred again
    assert len(settle(machine, 30.0)) == 1


def test_a_temporary_duplicate_is_drawn_again():
    machine = made(LIVES)
    say(machine, 0.0)
    _, temporary = machine.addresses_to_check(0.0)
    tried = [temporary.address]
    machine.verdict(temporary.address, False, 0.0)
    while asked := settle(machine, 0.0, free=False):
        tried += asked
    assert (len(set(tried)), Change.GIVE_UP in changes(machine)) == (3, False)


def test_prefixes_and_addresses_are_bounded():
    machine = made(LIVES)
    for number in range(1000):
        say(machine, float(number), prefix=b"\x20\x01" + number.to_bytes(6, "big") + bytes(8))
        machine.timer_expired(float(number))
        settle(machine, float(number))
    assert len({one.prefix for one in machine}) <= PREFIX_LIMIT
    assert len(list(machine)) <= ADDRESS_LIMIT
