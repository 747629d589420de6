"""Which router packets go to, by what routers say and by who answers."""

import math
from ipaddress import ip_address

from asyncstack.counters import Counters
from asyncstack.network.routers import DEFAULT, PROBE_INTERVAL, ROUTER_LIMIT, ROUTES_PER_ROUTER, Routers
from asyncstack.wire.ndp import RouteInformation, RouterAdvertisement

A, B, C = (ip_address(f"fe80::{letter}").packed for letter in "abc")
SITE = (ip_address("2001:db8::").packed, 32)


def made():
    return Routers(Counters())


def say(routers, router, now, lifetime=1800, preference=0, *routes):
    told = [RouteInformation(prefix, length, order, time) for prefix, length, order, time in routes]
    routers.receive_advertisement(
        router, RouterAdvertisement(lifetime, preference=preference, routes=told), now
    )


def default(routers):
    return routers.routes().get(DEFAULT)


def test_the_first_of_equals_is_used_the_preferred_of_others():
    routers = made()
    assert (default(routers), routers.deadline) == (None, math.inf)
    say(routers, A, 0.0)
    say(routers, B, 1.0)
    assert (default(routers), routers.deadline) == (A, 1800.0)
    say(routers, B, 2.0, preference=1)
    assert default(routers) == B
    say(routers, A, 3.0, preference=1)
    assert default(routers) == A
    say(routers, A, 4.0, preference=-1)
    assert default(routers) == B


def test_no_route_to_what_is_on_each_link():
    """A link-local neighbour, or a group, is behind no router, whatever an attacker advertises."""
    routers = made()
    near, group = ip_address("fe80::1").packed, ip_address("ff02::1").packed
    told = [(near, 128, 1, 600), (near, 10, 1, 600), (group, 8, 1, 600), (group, 128, 1, 600)]
    say(routers, A, 0.0, 1800, 0, *told, (near, 0, 0, 600))
    assert routers.routes() == {DEFAULT: A}


def test_one_that_does_not_answer_comes_last_whatever_its_preference():
    routers = made()
    say(routers, A, 0.0, preference=1)
    say(routers, B, 0.0, preference=-1)
    routers.neighbor_settled(A, False, 5.0)
    assert default(routers) == B
    assert routers.deadline == 5.0 + PROBE_INTERVAL
    assert routers.probes_to_send(5.0 + PROBE_INTERVAL) == [A]
    assert routers.probes_to_send(6.0 + PROBE_INTERVAL) == []
    routers.neighbor_settled(A, True, 66.0)
    assert (default(routers), routers.deadline) == (A, 1800.0)


def test_one_that_nobody_would_use_is_not_probed_for():
    routers = made()
    say(routers, A, 0.0)
    say(routers, B, 0.0)
    routers.neighbor_settled(B, False, 5.0)
    assert (default(routers), routers.deadline) == (A, 1800.0)


def test_if_none_answers_they_take_turns():
    routers = made()
    for router in (A, B, C):
        say(routers, router, 0.0)
    used = []
    for now in range(1, 8):
        used.append(default(routers))
        routers.neighbor_settled(default(routers), False, float(now))
    assert used == [A, B, C, A, B, C, A]


def test_an_advertisement_is_a_sign_of_life():
    routers = made()
    say(routers, A, 0.0)
    say(routers, B, 0.0)
    routers.neighbor_settled(A, False, 5.0)
    say(routers, A, 6.0)
    assert default(routers) == A


def test_lifetimes():
    routers = made()
    say(routers, A, 0.0, 100)
    say(routers, B, 0.0, 200)
    routers.timer_expired(99.9)
    assert default(routers) == A
    routers.timer_expired(100.0)
    assert (default(routers), len(routers)) == (B, 1)
    say(routers, B, 150.0, 0)
    assert (default(routers), len(routers), routers.deadline) == (None, 0, math.inf)


def test_routes_of_their_own():
    routers = made()
    say(routers, A, 0.0, 1800, 0, (*SITE, -1, 600))
    say(routers, B, 0.0, 0, 0, (SITE[0][:15] + b"\1", SITE[1], 0, 0xFFFFFFFF))  # bits beyond the length
    assert routers.routes() == {DEFAULT: A, SITE: B}
    routers.neighbor_settled(B, False, 1.0)
    assert routers.routes() == {DEFAULT: A, SITE: A}
    routers.timer_expired(600.0)
    # its only router does not answer: the default router may know a way (RFC 4191 3.2)
    assert routers.routes() == {DEFAULT: A}
    routers.neighbor_settled(A, False, 601.0)
    assert routers.routes() == {DEFAULT: A, SITE: B}


def test_a_route_to_everything_overrides_the_header():
    """RFC 4191 3.1."""
    routers = made()
    say(routers, A, 0.0)
    say(routers, B, 0.0, 1800, 1, (*DEFAULT, -1, 600))
    assert default(routers) == A


def test_who_is_no_router_any_more_loses_everything():
    routers = made()
    say(routers, A, 0.0, 1800, 0, (*SITE, 0, 600))
    routers.no_router(B)
    assert len(routers) == 1
    routers.no_router(A)
    assert (routers.routes(), len(routers), routers.deadline) == ({}, 0, math.inf)


def test_both_tables_are_bounded_and_who_is_there_stays():
    routers = made()
    say(routers, A, 0.0)
    for number in range(1000):
        net = b"\x20\x01" + number.to_bytes(2, "big") + bytes(12)
        say(routers, number.to_bytes(16, "big"), 1.0, 1800, 1, (net, 32, 1, 600))
        say(routers, A, 1.0, 1800, 0, (net, 33, 1, 600))
    assert len(routers) == ROUTER_LIMIT
    assert len(routers.routes()) <= ROUTER_LIMIT * ROUTES_PER_ROUTER
    routers.timer_expired(601.0)
    say(routers, A, 602.0, 1800, 1)
    assert default(routers) == A


def test_what_changes_nothing_is_the_same_object():
    """A flood of advertisements, true or false, has no routes compared."""
    routers = made()
    say(routers, A, 0.0)
    before = routers.routes()
    say(routers, A, 1.0)
    say(routers, B, 1.0, 0)
    routers.neighbor_settled(B, False, 1.0)
    assert routers.routes() is before
    assert routers.deadline == 1801.0
    for number, change in enumerate(
        [
            lambda: say(routers, B, 2.0),
            lambda: say(routers, B, 2.0, 1800, 1),
            lambda: routers.neighbor_settled(B, False, 3.0),
            lambda: routers.no_router(B),
        ]
    ):
        before = routers.routes()
        change()
        assert routers.routes() is not before, number
