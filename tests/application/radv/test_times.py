"""When advertisements are due, as RFC 4861 6.2 says it."""

import math
import random
from itertools import pairwise

import pytest

from asyncstack.application.radv.times import (
    MAX_DELAY,
    MIN_DELAY_BETWEEN,
    AdvertisementTimes,
    Due,
    State,
)

START = 1000.0


@pytest.fixture
def times():
    return AdvertisementTimes((200.0, 600.0), random.Random(5))


def sent(times, until, solicited=()):
    """When advertisements leave up to `until`, with solicitations at the times of `solicited`."""
    asked, left = sorted(solicited), []
    while (now := min([times.deadline, *asked[:1]])) <= until:
        if asked and now == asked[0]:
            times.receive_solicitation(asked.pop(0))
        times.timer_expired(now)
        left += [now for _ in times.advertisements_to_send(now)]
    return left


def test_three_in_short_order_and_then_between_the_intervals(times):
    times.start(START)
    assert times.advertisements_to_send(START) == [Due.ADVERTISE]
    assert times.state is State.INITIAL
    left = [START, *sent(times, START + 10_000)]
    gaps = [after - before for before, after in pairwise(left)]
    assert gaps[:2] == [16.0, 16.0]
    assert all(200 <= gap <= 600 for gap in gaps[2:])
    assert len(set(gaps[2:])) == len(gaps[2:]) > 15  # each its own, or routers fall in step
    assert times.state is State.STEADY


def test_a_solicitation_is_answered_within_half_a_second(times):
    times.start(START)
    times.advertisements_to_send(START)
    sent(times, START + 100)
    [answer] = sent(times, START + 102, solicited=[START + 101])
    assert START + 101 <= answer <= START + 101 + MAX_DELAY


def test_a_flood_of_solicitations_makes_one_each_three_seconds(times):
    times.start(START)
    times.advertisements_to_send(START)
    left = [START, *sent(times, START + 60, solicited=[START + n / 100 for n in range(6000)])]
    gaps = [after - before for before, after in pairwise(left)]
    assert all(MIN_DELAY_BETWEEN <= gap <= MIN_DELAY_BETWEEN + MAX_DELAY + 0.01 for gap in gaps)
    assert 17 <= len(gaps) <= 20


def test_an_answer_does_not_put_off_one_that_is_due_sooner(times):
    times.start(START)
    times.advertisements_to_send(START)
    due = times.deadline
    times.receive_solicitation(due - 0.001)
    assert times.deadline <= due


def test_the_end_is_said_once_and_then_nothing(times):
    times.stop(START)
    assert times.advertisements_to_send(START) == []  # it has not begun
    times.start(START)
    times.stop(START)
    assert times.advertisements_to_send(START) == [Due.CEASE]
    times.receive_solicitation(START + 1)
    times.stop(START + 2)
    assert (times.deadline, times.advertisements_to_send(START + 3)) == (math.inf, [])
    times.start(START + 4)
    assert times.advertisements_to_send(START + 4) == [Due.ADVERTISE]


@pytest.mark.parametrize("interval", [(2.0, 600.0), (600.0, 200.0), (200.0, 1801.0), (3.0, 3.5)])
def test_intervals_that_the_rfc_does_not_allow(interval):
    with pytest.raises(ValueError, match="interval"):
        AdvertisementTimes(interval, random.Random(1))
