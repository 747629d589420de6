"""Whether an address is free, as dialogues with a machine that has no clock."""

import math
import random

import pytest

from asyncstack.network.dad import DuplicateDetection, State

MAC = b"\2\0\0\0\0\1"


def started(delay=0.0, **options):
    machine = DuplicateDetection(random.Random(1), **options)
    machine.start(10.0, delay)
    return machine


def test_silence_makes_an_address_unique():
    machine = started()
    [nonce] = machine.solicitations_to_send(10.0)
    assert (len(nonce), machine.state, machine.deadline) == (6, State.TENTATIVE, 11.0)
    machine.timer_expired(10.9)
    assert machine.state is State.TENTATIVE
    machine.timer_expired(11.0)
    assert (machine.state, machine.deadline) == (State.UNIQUE, math.inf)


def test_it_may_begin_later_and_ask_more_often():
    machine = started(delay=0.7, transmits=3, retrans=0.25)
    asked = []
    while machine.deadline < math.inf:
        now = machine.deadline
        machine.timer_expired(now)
        asked += [(now, nonce) for nonce in machine.solicitations_to_send(now)]
    assert [now for now, _ in asked] == [10.7, 10.95, 11.2]
    assert len({nonce for _, nonce in asked}) == 3
    assert (now, machine.state) == (11.45, State.UNIQUE)


def test_who_has_it_says_so():
    machine = started()
    machine.receive_advertisement(MAC)
    assert (machine.state, machine.owner, machine.deadline) == (State.DUPLICATE, MAC, math.inf)
    machine.receive_advertisement(b"another")
    assert machine.owner == MAC


@pytest.mark.parametrize("nonce", [b"", b"others"])
def test_who_asks_at_the_same_time_wants_it_too(nonce):
    machine = started()
    machine.receive_solicitation(nonce)
    assert (machine.state, machine.owner) == (State.DUPLICATE, b"")


def test_even_before_we_have_asked():
    machine = started(delay=0.5)
    machine.receive_solicitation(b"")
    assert machine.state is State.DUPLICATE
    assert machine.solicitations_to_send(10.1) == []


def test_our_own_question_that_comes_back_is_no_duplicate():
    """RFC 7527: there is a loop, so three more questions make sure that nobody answers."""
    machine = started()
    asked = []
    while machine.deadline < math.inf:
        for nonce in machine.solicitations_to_send(machine.deadline):
            asked.append(nonce)
            machine.receive_solicitation(nonce)
        machine.timer_expired(machine.deadline)
    assert (len(asked), machine.looped, machine.state) == (4, 4, State.UNIQUE)


def test_a_loop_hides_nobody():
    machine = started()
    machine.receive_solicitation(*machine.solicitations_to_send(10.0))
    machine.timer_expired(11.0)
    machine.receive_advertisement(MAC)
    assert (machine.state, machine.looped) == (State.DUPLICATE, 1)


def test_what_comes_after_the_verdict_changes_nothing():
    machine = started()
    machine.timer_expired(11.0)
    machine.receive_advertisement(MAC)
    machine.receive_solicitation(b"")
    assert (machine.state, machine.owner) == (State.UNIQUE, b"")
