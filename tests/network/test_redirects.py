"""Redirects: from whom they are believed, and how long."""

from ipaddress import ip_address

import pytest

from asyncstack.counters import Counters
from asyncstack.network.redirects import LIMIT, Redirects
from tests.network.host import Host

ROUTER, BETTER, FAR = "fe80::10", "fe80::20", "2001:db8:9::1"


def packed(text):
    return ip_address(text).packed


def made(gateway=ROUTER):
    host = Host()
    host.routes.add(bytes(16 if ":" in gateway else 4), 0, host.eth0, packed(gateway))
    return host, Redirects(host.routes, Counters())


def tell(host, redirects, source=ROUTER, destination=FAR, target=BETTER, interface=None):
    return redirects.receive(packed(source), packed(destination), packed(target), interface or host.eth0)


def next_hop(host, destination=FAR):
    return str(ip_address(host.path(destination).next_hop))


@pytest.mark.parametrize(
    ("gateway", "destination", "target"),
    [(ROUTER, FAR, BETTER), (ROUTER, FAR, FAR), ("10.0.0.9", "192.0.2.1", "10.0.0.8")],
)
def test_the_router_in_use_is_believed_for_that_destination(gateway, destination, target):
    host, redirects = made(gateway)
    before = host.routes.generation
    assert tell(host, redirects, gateway, destination, target)
    assert host.routes.generation > before
    assert next_hop(host, destination) == target
    assert next_hop(host, "198.51.100.1" if "." in gateway else "2001:db8:9::2") == gateway


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "fe80::66"},  # not our router
        {"destination": "fd00::7"},  # on the link: it goes to no router
        {"destination": "fd00::1"},  # our own
        {"destination": "ff02::1"},
        {"destination": "::1"},
        {"target": "fd00::1"},
        {"target": "ff02::5"},
    ],
)
def test_nobody_else_is(fields):
    host, redirects = made()
    assert not tell(host, redirects, **fields)
    assert (len(redirects), next_hop(host)) == (0, ROUTER)


def test_nor_one_on_another_link():
    host, redirects = made()
    assert not tell(host, redirects, interface=host.attach("eth1", "fd01::1/64"))


def test_an_ipv4_router_has_to_be_on_our_network():
    host, redirects = made("10.0.0.9")
    assert not tell(host, redirects, "10.0.0.9", "192.0.2.1", "192.0.2.66")
    assert next_hop(host, "192.0.2.1") == "10.0.0.9"


def test_the_new_router_may_redirect_further_the_old_one_no_more():
    host, redirects = made()
    tell(host, redirects)
    assert not tell(host, redirects, ROUTER, target="fe80::66")
    assert tell(host, redirects, BETTER, target="fe80::30")
    assert (len(redirects), next_hop(host)) == (1, "fe80::30")


def test_without_an_answer_the_old_way_is_taken():
    host, redirects = made()
    tell(host, redirects)
    assert not redirects.neighbor_failed(packed("fe80::77"), host.eth0)
    assert redirects.neighbor_failed(packed(BETTER), host.eth0)
    assert next_hop(host) == ROUTER
    tell(host, redirects, target=FAR)
    assert redirects.neighbor_failed(packed(FAR), host.eth0)
    assert (next_hop(host), len(redirects)) == (ROUTER, 0)


def test_the_table_is_bounded_and_the_oldest_go():
    host, redirects = made()
    routes = len(host.routes.routes())
    for number in range(LIMIT + 5):
        assert tell(host, redirects, destination=f"2001:db8:9::{number + 1:x}")
    assert (len(redirects), len(host.routes.routes())) == (LIMIT, routes + LIMIT)
    assert (next_hop(host, "2001:db8:9::5"), next_hop(host, "2001:db8:9::6")) == (ROUTER, BETTER)


def test_an_interface_takes_its_redirects_along():
    host, redirects = made()
    tell(host, redirects)
    redirects.remove_interface(host.eth0)
    assert (next_hop(host), len(redirects)) == (ROUTER, 0)
