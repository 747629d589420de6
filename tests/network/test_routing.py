import errno
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.network.addresses import AddressTable, format_address, parse_address, parse_network
from asyncstack.network.routing import KNOWN_PATHS, RoutingTable
from tests.network.host import Host, Interface, fails

A = parse_address


def via(host, destination, source=""):
    path = host.path(destination, source)
    return path.interface.name, format_address(path.source), format_address(path.next_hop)


def test_on_link_and_gateway(host):
    host.routes.add(*parse_network("0.0.0.0/0"), host.eth0, A("10.0.0.254"))
    assert via(host, "10.0.0.9") == ("eth0", "10.0.0.1", "10.0.0.9")
    assert via(host, "8.8.8.8") == ("eth0", "10.0.0.1", "10.0.0.254")


def test_the_longest_prefix_wins(host):
    eth1 = host.attach("eth1", "10.1.0.1/16")
    host.routes.add(*parse_network("10.1.2.0/24"), host.eth0, A("10.0.0.254"))
    host.routes.add(*parse_network("10.1.2.3/32"), eth1, A("10.1.0.254"))
    assert via(host, "10.1.9.9")[0] == "eth1"
    assert via(host, "10.1.2.9") == ("eth0", "10.0.0.1", "10.0.0.254")
    assert via(host, "10.1.2.3") == ("eth1", "10.1.0.1", "10.1.0.254")


def test_the_smallest_metric_wins_then_the_first(host):
    eth1 = host.attach("eth1", "10.1.0.1/16")
    host.routes.add(*parse_network("9.0.0.0/8"), host.eth0, A("10.0.0.254"), 20)
    host.routes.add(*parse_network("9.0.0.0/8"), eth1, A("10.1.0.254"), 10)
    assert via(host, "9.9.9.9")[0] == "eth1"
    host.routes.add(*parse_network("9.0.0.0/8"), host.eth0, A("10.0.0.253"), 10)
    assert via(host, "9.9.9.9")[0] == "eth1"


def test_of_equal_routes_the_one_of_the_source_is_taken(host):
    eth1 = host.attach("eth1", "10.1.0.1/16")
    host.routes.add(*parse_network("0.0.0.0/0"), host.eth0, A("10.0.0.254"))
    host.routes.add(*parse_network("0.0.0.0/0"), eth1, A("10.1.0.254"))
    assert via(host, "8.8.8.8")[0] == "eth0"
    assert via(host, "8.8.8.8", "10.1.0.1") == ("eth1", "10.1.0.1", "10.1.0.254")


def test_an_interface_that_is_down_does_not_count(host):
    eth1 = host.attach("eth1", "10.1.0.1/16")
    host.routes.add(*parse_network("10.0.0.0/24"), eth1, A("10.1.0.254"), 5)
    host.eth0.up = False
    assert via(host, "10.0.0.9") == ("eth1", "10.1.0.1", "10.1.0.254")
    eth1.up = False
    with fails(errno.ENETUNREACH):
        host.path("10.0.0.9")


def test_our_own_addresses_are_reached_over_loopback(host):
    assert via(host, "10.0.0.1") == ("lo", "10.0.0.1", "10.0.0.1")
    assert via(host, "10.0.0.1", "127.0.0.1") == ("lo", "127.0.0.1", "10.0.0.1")
    assert via(host, "127.0.0.1") == ("lo", "127.0.0.1", "127.0.0.1")
    assert via(host, "127.9.9.9") == ("lo", "127.0.0.1", "127.9.9.9")
    assert via(host, "::1") == ("lo", "::1", "::1")
    assert via(host, "fd00::1") == ("lo", "fd00::1", "fd00::1")
    assert host.path("127.0.0.1").mtu == 65535


def test_the_unspecified_destination_is_this_host(host):
    assert via(host, "0.0.0.0") == ("lo", "127.0.0.1", "127.0.0.1")
    assert via(host, "::") == ("lo", "::1", "::1")


def test_errors_say_what_is_wrong(host):
    with fails(errno.ENETUNREACH) as raised:
        host.path("8.8.8.8")
    assert "no route to 8.8.8.8" in str(raised.value)
    with fails(errno.EADDRNOTAVAIL) as raised:
        host.path("10.0.0.9", "10.0.0.77")
    assert "10.0.0.77 is not an address of this stack" in str(raised.value)
    with fails(errno.EINVAL):
        host.path("10.0.0.9", "127.0.0.1")
    host.routes.loopback = None
    with fails(errno.ENETUNREACH):
        host.path("127.0.0.1")


def test_without_an_address_of_the_family_there_is_no_source():
    host = Host("10.0.0.1/24")
    host.routes.add(*parse_network("fd00::/64"), host.eth0)
    with fails(errno.EADDRNOTAVAIL):
        host.path("fd00::9")


def test_an_unspecified_source_stands_where_the_interface_is_given():
    host = Host("10.0.0.1/24")
    bare = host.attach("eth1")
    path = host.routes.lookup(A("255.255.255.255"), A("0.0.0.0"), bare)  # as a DHCP client sends
    assert (path.interface, path.source, path.broadcast) == (bare, A("0.0.0.0"), True)
    assert host.path("10.0.0.9", "0.0.0.0").source == A("10.0.0.1")


def test_broadcasts_go_to_every_host_of_the_link(host):
    for text in ("10.0.0.255", "255.255.255.255"):
        path = host.path(text)
        assert (path.interface, path.next_hop, path.broadcast) == (host.eth0, A("255.255.255.255"), True)
    assert host.path("10.0.0.9").broadcast is False
    eth1 = host.attach("eth1", "10.1.0.1/16")
    assert host.path("255.255.255.255", "10.1.0.1").interface is eth1


def test_a_broadcast_beyond_a_gateway_is_an_address_like_others(host):
    eth1 = host.attach("eth1", "10.1.0.1/16")
    host.routes.add(*parse_network("10.1.255.255/32"), host.eth0, A("10.0.0.254"))
    path = host.path("10.1.255.255")
    assert (path.next_hop, path.broadcast) == (A("10.0.0.254"), False)
    assert host.addresses.is_broadcast(A("10.1.255.255"), eth1)


def test_groups_stay_on_the_link_of_the_source(host):
    eth1 = host.attach("eth1", "10.1.0.1/16", "fd01::1/64")
    assert via(host, "224.0.0.251") == ("eth0", "10.0.0.1", "224.0.0.251")
    assert via(host, "224.0.0.251", "10.1.0.1") == ("eth1", "10.1.0.1", "224.0.0.251")
    host.routes.add(*parse_network("224.0.0.0/4"), eth1)
    assert via(host, "224.0.0.251")[0] == "eth1"
    assert host.routes.lookup(A("ff02::fb"), interface=eth1).interface is eth1


def test_link_local_addresses_need_their_interface_when_there_are_two(host):
    eth1 = host.attach("eth1", "fe80::2/64")
    assert host.routes.lookup(A("fe80::9"), interface=eth1).interface is eth1
    assert host.routes.lookup(A("fe80::9"), interface=host.eth0).interface is host.eth0


def test_a_link_local_address_needs_no_route_when_its_interface_is_given():
    host = Host("10.0.0.1/24", "fd00::1/64")
    path = host.routes.lookup(A("fe80::9"), interface=host.eth0)
    assert (path.interface, path.next_hop, path.source) == (host.eth0, A("fe80::9"), A("fd00::1"))
    assert repr(path) == "<Path fd00::1 -> fe80::9 via fe80::9 on eth0 mtu 1500>"
    with fails(errno.ENETUNREACH):
        host.path("fe80::9")
    host.eth0.up = False
    with fails(errno.ENETUNREACH):
        host.routes.lookup(A("fe80::9"), interface=host.eth0)


def test_groups_without_a_route_go_to_the_first_link_that_is_up(host):
    eth1 = host.attach("eth1", "10.1.0.1/16")
    for interface in (host.eth0, eth1):
        host.routes.remove_interface(interface)
    assert host.path("224.0.0.251").interface is host.eth0
    host.eth0.up = False
    assert host.path("224.0.0.251").interface is eth1
    eth1.up = False
    with fails(errno.ENETUNREACH):
        host.path("224.0.0.251")


def test_a_source_on_a_third_interface_does_not_choose_the_route(host):
    host.attach("eth1", "10.1.0.1/16")
    eth2 = host.attach("eth2", "10.2.0.1/16")
    host.routes.add(*parse_network("9.0.0.0/8"), host.eth0, A("10.0.0.254"))
    host.routes.add(*parse_network("9.0.0.0/8"), eth2, A("10.2.0.254"))
    assert via(host, "9.9.9.9", "10.1.0.1") == ("eth0", "10.1.0.1", "10.0.0.254")


def test_routes_with_nonsense_are_refused(host):
    with fails(errno.ENETUNREACH) as raised:
        host.routes.add(*parse_network("0.0.0.0/0"), host.eth0, A("192.168.0.1"))
    assert "route 0.0.0.0/0 via 192.168.0.1 dev eth0: the gateway is on no network of eth0" in str(
        raised.value
    )
    with fails(errno.EINVAL):
        host.routes.add(*parse_network("0.0.0.0/0"), host.eth0, A("10.0.0.1"))
    with fails(errno.EEXIST):
        host.routes.add(*parse_network("10.0.0.0/24"), host.eth0)
    with pytest.raises(ValueError, match="other family"):
        host.routes.add(*parse_network("0.0.0.0/0"), host.eth0, A("fd00::2"))
    with pytest.raises(ValueError, match="no prefix"):
        host.routes.add(A("10.0.0.0"), 33, host.eth0)
    assert len(host.routes.routes()) == 3


def test_a_gateway_on_a_link_of_two_ends_or_with_a_link_local_address_is_not_checked(host):
    host.routes.add(*parse_network("::/0"), host.eth0, A("fe80::9"))
    host.eth0.device.ethernet = False
    host.routes.add(*parse_network("0.0.0.0/0"), host.eth0, A("192.168.0.1"))
    assert via(host, "8.8.8.8")[2] == "192.168.0.1"


def test_a_gateway_may_lie_behind_an_on_link_route(host):
    host.routes.add(*parse_network("192.168.0.1/32"), host.eth0)
    host.routes.add(*parse_network("0.0.0.0/0"), host.eth0, A("192.168.0.1"))
    assert via(host, "8.8.8.8") == ("eth0", "10.0.0.1", "192.168.0.1")


def test_removed_routes_are_gone(host):
    route = host.routes.add(*parse_network("9.0.0.0/8"), host.eth0, A("10.0.0.254"))
    host.routes.remove(route)
    with fails(errno.ENETUNREACH):
        host.path("9.9.9.9")
    with fails(errno.ESRCH):
        host.routes.remove(route)
    host.routes.remove_interface(host.eth0)
    assert host.routes.routes() == []


def test_every_change_makes_old_paths_stale(host):
    def stale_after(change, *args):
        before = host.path("10.0.0.9")
        assert before.generation == host.routes.generation
        change(*args)
        return before.generation != host.routes.generation

    default = (*parse_network("0.0.0.0/0"), host.eth0, A("10.0.0.254"))
    assert stale_after(host.routes.add, *default)
    assert stale_after(lambda: host.routes.remove(host.routes.routes()[1]))
    assert stale_after(host.addresses.add, A("10.0.0.2"), 24, host.eth0)
    assert stale_after(host.addresses.remove, A("10.0.0.2"))
    assert stale_after(host.routes.update_path_mtu, A("10.0.0.9"), 1400, 0.0)
    assert not stale_after(host.routes.update_path_mtu, A("10.0.0.9"), 1400, 1.0)
    assert not stale_after(host.routes.timer_expired, 600.0)
    assert stale_after(host.routes.timer_expired, 601.0)
    assert stale_after(host.routes.changed)


def test_a_path_has_the_mtu_that_was_reported(host):
    host.routes.update_path_mtu(A("10.0.0.9"), 1400, 0.0)
    assert host.path("10.0.0.9").mtu == 1400
    assert host.path("10.0.0.8").mtu == 1500
    host.routes.update_path_mtu(A("10.0.0.9"), 9000, 0.0)
    assert host.path("10.0.0.9").mtu == 1500
    host.routes.update_path_mtu(A("10.0.0.9"), 296, 0.0)
    assert (host.path("10.0.0.9").mtu, host.path("10.0.0.9").fragile) == (552, True)


def test_an_mtu_beyond_what_a_header_can_say_is_cut(host):
    host.eth0.mtu = 100_000
    assert host.path("10.0.0.9").mtu == 65535


networks = st.tuples(st.binary(min_size=4, max_size=4), st.integers(0, 32))


@given(st.lists(networks, max_size=20), st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=20))
def test_lookup_agrees_with_a_search_through_all(prefixes, destinations):
    addresses = AddressTable()
    routes = RoutingTable(addresses)
    known = {}
    addresses.add(A("10.0.0.1"), 32, Interface("home", 99))
    for index, (prefix, length) in enumerate(prefixes):
        network = ipaddress.ip_network((prefix, length), strict=False)
        if network not in known:
            known[network] = Interface(f"eth{index}", index)
            routes.add(prefix, length, known[network])
    for destination in destinations:
        address = ipaddress.ip_address(destination)
        special = address.is_multicast or address.is_loopback or address.is_unspecified
        if special or addresses.is_local(destination) or destination == b"\xff" * 4:
            continue
        matching = [network for network in known if address in network]
        if matching:
            best = known[max(matching, key=lambda network: network.prefixlen)]
            assert routes.lookup(destination).interface is best
        else:
            with fails(errno.ENETUNREACH):
                routes.lookup(destination)


def test_who_asks_again_gets_the_same_path_until_something_changes(host):
    path = host.path("10.0.0.9")
    assert host.path("10.0.0.9") is path
    assert host.path("10.0.0.9", "10.0.0.1") is not path, "who names a source may get another path"
    host.routes.update_path_mtu(A("10.0.0.9"), 1000, 0.0)
    changed = host.path("10.0.0.9")
    assert (path.mtu, changed.mtu) == (1500, 1000)
    assert host.path("10.0.0.9") is changed
    host.eth0.up = False
    with fails(errno.ENETUNREACH):
        host.path("10.0.0.9")


def test_paths_that_are_kept_are_bounded(host):
    host.routes.add(*parse_network("0.0.0.0/0"), host.eth0, A("10.0.0.254"))
    for number in range(3 * KNOWN_PATHS):
        host.routes.lookup((0x08000000 + number).to_bytes(4, "big"))
        assert len(host.routes._known) <= KNOWN_PATHS
