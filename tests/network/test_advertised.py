"""What else routers say, and when they are asked: prefixes on the link, nameservers, solicitations. Without a clock."""

import math
import random
from ipaddress import ip_network
from itertools import pairwise

import pytest

from asyncstack.counters import Counters
from asyncstack.network.prefixes import LIMIT, OnLinkPrefixes
from asyncstack.network.rdnss import LIMIT as DNS_LIMIT
from asyncstack.network.rdnss import AdvertisedDns
from asyncstack.network.solicitor import RouterSolicitor
from asyncstack.wire.ndp import Dnssl, Prefix, Rdnss, RouterAdvertisement

NET = ip_network("2001:db8::/64").network_address.packed
SERVER = NET[:15] + b"\x35"


# prefixes


def said(machine, now, prefix=NET, length=64, on_link=True, valid=100):
    machine.receive([Prefix(prefix, length, on_link, True, valid, 0)], now)
    return machine.prefixes()


def test_a_prefix_is_on_the_link_as_long_as_was_said():
    machine = OnLinkPrefixes(Counters())
    assert said(machine, 0.0, SERVER) == [(NET, 64)]
    assert said(machine, 10.0, on_link=False, valid=0) == [(NET, 64)]  # it does not say that it is not
    assert said(machine, 50.0) == [(NET, 64)]
    machine.timer_expired(149.0)
    assert (machine.prefixes(), machine.deadline) == ([(NET, 64)], 150.0)
    machine.timer_expired(150.0)
    assert (machine.prefixes(), machine.deadline) == ([], math.inf)
    said(machine, 150.0, valid=0xFFFFFFFF)
    assert machine.deadline == math.inf
    assert said(machine, 151.0, valid=0) == []


@pytest.mark.parametrize(
    ("prefix", "length"),
    [(b"\xfe\x80" + bytes(14), 64), (b"\xff\x02" + bytes(14), 16), (bytes(16), 0)],
)
def test_prefixes_that_can_not_be(prefix, length):
    assert said(OnLinkPrefixes(Counters()), 0.0, prefix, length) == []


def test_the_prefix_list_is_bounded():
    counters = Counters()
    machine = OnLinkPrefixes(counters)
    for number in range(100):
        said(machine, 0.0, number.to_bytes(8, "big") + bytes(8))
    assert (len(machine.prefixes()), counters["ndp.prefixes_refused"]) == (LIMIT, 100 - LIMIT)
    assert len(said(machine, 1.0, bytes(16), valid=0)) == LIMIT - 1


# nameservers


def heard(machine, now, servers=(), domains=(), lifetime=600):
    record = RouterAdvertisement(0, rdnss=[Rdnss(lifetime, servers)], dnssl=[Dnssl(lifetime, domains)])
    machine.receive(record, now)
    return machine.servers(), machine.domains()


def test_nameservers_and_domains_as_long_as_was_said():
    machine = AdvertisedDns(Counters())
    assert heard(machine, 0.0, [SERVER], ["Example.com"]) == ([SERVER], ["example.com"])
    assert heard(machine, 10.0, [NET[:15] + b"\x36"], ["example.com"])[1] == ["example.com"]
    machine.timer_expired(600.0)
    assert machine.servers() == [NET[:15] + b"\x36"]
    assert machine.domains() == ["example.com"]
    assert heard(machine, 601.0, [NET[:15] + b"\x36"], ["EXAMPLE.com"], 0) == ([], [])
    assert machine.deadline == math.inf
    assert heard(machine, 602.0, [bytes(16), b"\xff\x02" + bytes(14)]) == ([], [])


def test_both_lists_are_bounded_and_who_is_there_stays():
    machine = AdvertisedDns(Counters())
    heard(machine, 0.0, [SERVER], ["example.com"])
    for number in range(1, 100):
        heard(machine, 1.0, [number.to_bytes(16, "big")], [f"d{number}.example"], 9999)
    servers, domains = machine.servers(), machine.domains()
    assert (len(servers), len(domains)) == (DNS_LIMIT, DNS_LIMIT)
    assert (servers[0], domains[0]) == (SERVER, "example.com")


# solicitations


def test_solicitations_become_rare():
    """RFC 7559: 4 seconds, then twice as long each time, an hour at most, each a tenth more or less."""
    machine = RouterSolicitor(random.Random(3))
    machine.start(0.0)
    sent, now = [], 0.0
    while len(sent) < 15:
        sent += [now] * machine.solicitations_to_send(now)
        now = machine.deadline
        machine.timer_expired(now)
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert 3.6 <= gaps[0] <= 4.4
    for before, after in pairwise(gaps):
        assert 1.9 * before <= after <= 2.1 * before or 3240 <= after <= 3960
    assert all(3240 <= gap <= 3960 for gap in gaps[-3:])
    assert machine.asked == 16


def test_a_router_ends_them_until_they_begin_anew():
    machine = RouterSolicitor(random.Random(3))
    machine.start(0.0)
    machine.receive_router()
    assert (machine.deadline, machine.solicitations_to_send(0.0)) == (math.inf, 0)
    machine.timer_expired(1e9)
    assert machine.solicitations_to_send(1e9) == 0
    machine.start(100.0)
    assert machine.solicitations_to_send(100.0) == 1
    assert 103.6 <= machine.deadline <= 104.4
