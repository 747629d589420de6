"""RFC 8415 15 with the numbers of 7.6."""

import random
from itertools import pairwise

import pytest

from asyncstack.application.dhcp6.retransmission import TIMINGS, Exchange
from asyncstack.wire import dhcp6

SEEDS = range(50)


def times(kind, seed, most=40, longest=0.0):
    """When a message that is never answered leaves, and when that is given up (None: not within `most`)."""
    now = 1000.0
    exchange = Exchange(kind, random.Random(seed), now, longest)
    sent = []
    while len(sent) < most:
        now = exchange.due
        if exchange.is_over(now):
            return sent, now
        sent.append(now)
        exchange.transmitted(now)
    return sent, None


@pytest.mark.parametrize("kind", TIMINGS)
def test_waits_double_up_to_the_longest_and_vary_by_a_tenth(kind):
    timing = TIMINGS[kind]
    for seed in SEEDS:
        sent, _ = times(kind, seed)
        assert 0 <= sent[0] - 1000.0 <= timing.delay
        waits = [after - before for before, after in pairwise(sent)]
        assert 0.9 * timing.irt <= waits[0] <= 1.1 * timing.irt
        for before, after in pairwise(waits):
            longest = 0.9 * timing.mrt <= after <= 1.1 * timing.mrt
            assert longest or 1.9 * before - 1e-6 <= after <= 2.1 * before + 1e-6
            assert not timing.mrt or after <= 1.1 * timing.mrt
    assert len({times(kind, seed)[0][1] for seed in SEEDS}) == len(SEEDS)  # or hosts fall in step


def test_the_first_wait_of_a_solicit_is_longer_than_irt():
    for seed in SEEDS:
        sent, _ = times(dhcp6.SOLICIT, seed)
        assert 1.0 < sent[1] - sent[0] <= 1.1


@pytest.mark.parametrize(
    ("kind", "count"), [(dhcp6.REQUEST, 10), (dhcp6.RELEASE, 4), (dhcp6.DECLINE, 4), (dhcp6.SOLICIT, None)]
)
def test_how_often(kind, count):
    for seed in SEEDS:
        sent, over = times(kind, seed)
        assert (len(sent) if over else None) == count


def test_how_long_a_confirm_is_tried():
    for seed in SEEDS:
        sent, over = times(dhcp6.CONFIRM, seed)
        assert over == pytest.approx(sent[0] + 10)
        assert 4 <= len(sent) <= 5


def test_a_server_may_say_the_longest_wait():
    sent, _ = times(dhcp6.SOLICIT, 1, longest=60.0)
    assert 54 <= sent[-1] - sent[-2] <= 66


def test_elapsed_time_is_of_the_first_and_ends_at_its_limit():
    exchange = Exchange(dhcp6.RENEW, random.Random(1), 10.0)
    assert exchange.elapsed(10.0) == 0
    exchange.transmitted(10.0)
    assert (exchange.elapsed(12.34), exchange.elapsed(2000.0)) == (234, 0xFFFF)
