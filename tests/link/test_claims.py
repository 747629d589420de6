"""RFC 5227 as dialogues with an explicit clock."""

import math
import random

import pytest

from asyncstack.link.claims import Claims, Conflict, Free, Taken

A, B = b"\x0a\0\0\1", b"\x0a\0\0\2"
NOBODY = bytes(4)
MAC, OTHER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
PROBE, ANNOUNCEMENT = True, False


@pytest.fixture
def claims():
    return Claims(random.Random(1))


def use(claims, now, *, yielding):
    claims.use(A, now, yielding=yielding)
    claims.announce(A)


def run(claims, until, now=0.0):
    """[(when, what)] sent up to `until`; the timer fires when it says."""
    sent = [(now, packet) for packet in claims.packets_to_send(now)]
    while claims.deadline <= until:
        now = claims.deadline
        claims.timer_expired(now)
        sent += [(now, packet) for packet in claims.packets_to_send(now)]
    return sent


@pytest.mark.parametrize("seed", range(20))
def test_three_probes_and_silence_make_an_address_free(seed):
    claims = Claims(random.Random(seed))
    claims.check(A, 100.0)
    sent = run(claims, 200.0, 100.0)
    assert [packet for _, packet in sent] == [(A, PROBE)] * 3
    first, second, third = (when for when, _ in sent)
    assert 0.0 <= first - 100.0 <= 1.0 <= second - first <= 2.0 and 1.0 <= third - second <= 2.0
    assert claims.events() == [Free(A)]
    assert (len(claims), claims.deadline) == (0, math.inf)


def test_it_is_not_free_before_two_seconds_after_the_last_probe(claims):
    claims.check(A, 0.0, probes=1)
    ((when, _),) = run(claims, 1.0)
    claims.timer_expired(when + 1.99)
    assert claims.events() == [] and claims.is_checking(A)
    claims.timer_expired(when + 2.0)
    assert claims.events() == [Free(A)]


@pytest.mark.parametrize("when", [0.0, 1.5, 4.0])
@pytest.mark.parametrize(("sender", "target"), [(A, B), (A, A), (A, NOBODY), (NOBODY, A)])
def test_who_has_it_or_wants_it_too_is_found(claims, when, sender, target):
    claims.check(A, 0.0)
    run(claims, when)
    claims.heard(sender, target, OTHER, when)
    assert claims.events() == [Taken(A, OTHER)]
    assert run(claims, 100.0, when) == [] and len(claims) == 0


@pytest.mark.parametrize(("sender", "target"), [(B, A), (B, B), (NOBODY, B), (NOBODY, NOBODY)])
def test_questions_for_it_and_other_addresses_are_no_conflict(claims, sender, target):
    claims.check(A, 0.0)
    claims.heard(sender, target, OTHER, 0.5)
    assert claims.events() == [] and claims.is_checking(A)


def test_an_abandoned_check_is_over(claims):
    claims.check(A, 0.0)
    claims.abandon(A)
    assert (len(claims), run(claims, 100.0), claims.events()) == (0, [], [])
    use(claims, 0.0, yielding=True)
    claims.abandon(A)  # it is in use now: nothing to abandon
    assert len(claims) == 1


def test_a_leased_address_is_announced_twice_and_then_quiet(claims):
    use(claims, 5.0, yielding=True)
    assert run(claims, 100.0, 5.0) == [(5.0, (A, ANNOUNCEMENT)), (7.0, (A, ANNOUNCEMENT))]
    assert claims.deadline == math.inf
    claims.give_up(A)
    assert len(claims) == 0


def test_a_configured_address_is_announced_once_and_costs_nothing(claims):
    use(claims, 5.0, yielding=False)
    assert run(claims, 100.0, 5.0) == [(5.0, (A, ANNOUNCEMENT))]
    assert len(claims) == 0


@pytest.mark.parametrize("again", [0.0, 9.9])
def test_a_leased_address_is_defended_once_and_then_given_up(claims, again):
    use(claims, 0.0, yielding=True)
    run(claims, 50.0)
    claims.conflict(A, OTHER, 50.0)
    assert claims.packets_to_send(50.0) == [(A, ANNOUNCEMENT)]
    assert claims.events() == [Conflict(A, OTHER, lost=False)]
    claims.conflict(A, OTHER, 50.0 + again)
    assert claims.packets_to_send(50.0 + again) == []
    assert claims.events() == [Conflict(A, OTHER, lost=True)]
    assert (len(claims), claims.deadline) == (0, math.inf)


def test_conflicts_that_are_ten_seconds_apart_are_each_defended(claims):
    use(claims, 0.0, yielding=True)
    run(claims, 50.0)
    for now in (50.0, 60.0, 70.0, 80.0):
        claims.conflict(A, OTHER, now)
        assert claims.packets_to_send(now) == [(A, ANNOUNCEMENT)]
        assert claims.events() == [Conflict(A, OTHER, lost=False)]


def test_a_configured_address_is_never_given_up_nor_shouted_about(claims):
    told = []
    for now in range(100):
        claims.conflict(A, OTHER, float(now))
        told += claims.events()
    assert claims.packets_to_send(100.0) == [(A, ANNOUNCEMENT)] * 10
    assert told == [Conflict(A, OTHER, lost=False)] * 10
    assert claims.deadline == math.inf


def test_an_address_that_was_given_up_is_forgotten(claims):
    claims.conflict(A, OTHER, 0.0)
    claims.give_up(A)
    claims.check(A, 1.0)
    claims.give_up(A)  # not in use: the check goes on
    assert claims.is_checking(A)
