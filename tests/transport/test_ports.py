"""Ports: numbers, and random free ones."""

import errno
import itertools
import random

import pytest

from asyncstack.transport.ports import check_port, choose_ephemeral


@pytest.mark.parametrize("port", [0, 1, 80, 65535])
def test_numbers_that_are_ports(port):
    assert check_port(port) == port


@pytest.mark.parametrize("port", [-1, 65536, 1 << 40])
def test_numbers_that_are_none(port):
    with pytest.raises(OverflowError, match="0 to 65535"):
        check_port(port)


def test_every_port_of_the_range_can_come():
    rng = random.Random(1)
    found = {choose_ephemeral(rng, (100, 109), lambda port: False) for _ in range(500)}
    assert found == set(range(100, 110))


def test_a_port_in_use_is_passed_over():
    rng = random.Random(1)
    free = {101, 107}
    found = {choose_ephemeral(rng, (100, 109), lambda port: port not in free) for _ in range(200)}
    assert found == free


def test_all_are_found_before_none_is_left():
    rng, used = random.Random(1), set()
    for _ in range(10):
        used.add(choose_ephemeral(rng, (100, 109), used.__contains__))
    with pytest.raises(OSError, match="100 to 109 are in use") as caught:
        choose_ephemeral(rng, (100, 109), used.__contains__)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_the_next_port_can_not_be_guessed_from_the_last():
    rng = random.Random(1)
    ports = [choose_ephemeral(rng, (32768, 60999), lambda port: False) for _ in range(1000)]
    steps = [later - earlier for earlier, later in itertools.pairwise(ports)]
    assert len(set(steps)) > 950
    assert max(steps.count(step) for step in set(steps)) < 5
