"""RFC 6724: the examples of its section 10 as far as its rules apply here, and each rule by itself."""

import pytest

from asyncstack.network.addresses import AddressTable, Origin, format_address, parse_interface
from asyncstack.network.addresses import parse_address as A
from asyncstack.network.selection import policy, scope
from tests.network.host import Host, Interface

NOW = 1000.0


def table_of(*entries):
    """A table of ("eth0", "fd00::1/64", {attributes}), and its interfaces by name."""
    table, interfaces = AddressTable(lambda: NOW), {}
    for name, text, *more in entries:
        interface = interfaces.setdefault(name, Interface(name, len(interfaces) + 1))
        entry = table.add(*parse_interface(text), interface)
        for attribute, value in (more[0] if more else {}).items():
            setattr(entry, attribute, value)
    return table, interfaces


def source(destination, *entries, next_hop=None, interface="eth0"):
    table, interfaces = table_of(*entries)
    way = interfaces.setdefault(interface, Interface(interface, 99))
    chosen = table.select_source(A(destination), A(next_hop or destination), way)
    return None if chosen is None else format_address(chosen.address)


OLD, SOON = {"preferred_until": NOW}, {"preferred_until": NOW + 1}
TEMPORARY = {"origin": Origin.TEMPORARY}

# destination, addresses of eth0 (or, after a *, of another interface), the source of RFC 6724 10.1 or of a rule
SOURCES = {
    "matching scope": ("2001:db8:1::1", ["2001:db8:3::1/64", "fe80::1/64"], "2001:db8:3::1"),
    "matching scope of a group": ("ff05::1", ["2001:db8:3::1/64", "fe80::1/64"], "2001:db8:3::1"),
    "link-local group": ("ff02::1", ["2001:db8:3::1/64", "fe80::1/64"], "fe80::1"),
    "site-local group": ("ff05::1", ["fe80::1/64", "fec0::1/64", "2001:db8::1/64"], "fec0::1"),
    "same address": ("2001:db8:1::1", ["2001:db8:2::1/64", "2001:db8:1::1/64"], "2001:db8:1::1"),
    "the larger of too small scopes": ("2001:db8::9", ["fe80::1/64", "fec0::1/64"], "fec0::1"),
    "longest prefix": ("2001:db8:1::1", ["2001:db8:9::2/64", "2001:db8:1::2/64"], "2001:db8:1::2"),
    "no longer than the prefix": (
        "2001:db8::1",
        ["2001:db8:0:0:8000::/64", "2001:db8::9/64"],
        "2001:db8:0:0:8000::",
    ),
    "matching label": (
        "2002:c633:6401::1",
        ["2001:db8:1::2/64", "2002:c633:6401::d5e3/64"],
        "2002:c633:6401::d5e3",
    ),
    "unique-local for its like": ("fd11::9", ["2001:db8::1/64", "fd00::1/64"], "fd00::1"),
    "global for global": ("2001:db8:5::9", ["fd00::1/64", "2001:db8::1/64"], "2001:db8::1"),
    "not Teredo": ("2400::9", ["2001::1/64", "2600::1/64"], "2600::1"),
    "IPv4 on the net of the next hop": ("10.0.1.9", ["10.0.0.1/24", "10.0.1.1/24"], "10.0.1.1"),
    "IPv4 of like scope": ("8.8.8.8", ["169.254.1.1/16", "10.0.1.1/24"], "10.0.1.1"),
    "IPv4 bits in common mean nothing": ("192.168.9.9", ["10.0.0.1/24", "192.168.1.1/24"], "10.0.0.1"),
    "the first of equals": ("2400::9", ["2600::2/64", "2600::1/64"], "2600::2"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources(name):
    destination, addresses, expected = SOURCES[name]
    assert source(destination, *(("eth0", text) for text in addresses)) == expected


@pytest.mark.parametrize(
    "first, second",
    [("2001:db8::1/64", "2001:db8::2/64"), ("10.0.0.1/24", "10.0.0.2/24")],
    ids=["IPv6", "IPv4"],
)
def test_a_deprecated_address_speaks_only_if_there_is_no_other(first, second):
    far = "2400::1" if ":" in first else "8.8.8.8"
    one, two = first.split("/")[0], second.split("/")[0]
    assert source(far, ("eth0", first, OLD), ("eth0", second)) == two
    assert source(far, ("eth0", first, SOON), ("eth0", second)) == one
    assert source(far, ("eth0", first, OLD)) == one


def test_a_deprecated_address_speaks_before_one_of_too_small_a_scope():
    assert source("2400::1", ("eth0", "fe80::1/64"), ("eth0", "2001:db8::1/64", OLD)) == "2001:db8::1"


def test_temporary_addresses_come_before_public_ones():
    """RFC 6724 10.1, and RFC 8981 wants the same."""
    public, temporary = ("eth0", "2001:db8:1::2/64"), ("eth0", "2001:db8:1::d5e3/64", TEMPORARY)
    assert source("2001:db8:1::1", public, temporary) == "2001:db8:1::d5e3"
    assert source("2001:db8:1::2", public, temporary) == "2001:db8:1::2"
    gone = ("eth0", "2001:db8:1::d5e3/64", TEMPORARY | OLD)
    assert source("2001:db8:1::1", public, gone) == "2001:db8:1::2"


def test_the_prefix_of_the_next_hop():
    """Rule 5.5: what another router has given may be dropped by this one."""
    one = ("eth0", "2001:db8:1::1/64", {"router": A("fe80::a")})
    two = ("eth0", "2001:db8:2::1/64", {"router": A("fe80::b")})
    assert source("2001:db8:1:1::1", one, two, next_hop="fe80::b") == "2001:db8:2::1"
    assert source("2001:db8:1:1::1", one, two, next_hop="fe80::a") == "2001:db8:1::1"
    assert source("2400::1", one, two, next_hop="2001:db8:2::ff") == "2001:db8:2::1"


def test_addresses_of_other_interfaces_serve_where_the_scope_allows():
    other = ("eth1", "2001:db8::1/64")
    assert source("2400::1", other) == "2001:db8::1"
    assert source("2400::1", ("eth0", "fe80::1/64"), other) == "2001:db8::1"
    assert source("2400::1", ("eth0", "2600::1/64", OLD), other) == "2600::1"
    assert source("fe80::9", ("eth1", "fe80::1/64")) is None
    assert source("ff0e::9", other) is None
    assert source("2400::1", ("lo", "::1/128")) is None
    assert source("8.8.8.8", ("lo", "127.0.0.1/8")) is None
    assert source("8.8.8.8", ("eth1", "10.0.0.1/24")) == "10.0.0.1"


@pytest.mark.parametrize(
    "address, precedence, label",
    [
        ("::1", 50, 0),
        ("2400::1", 40, 1),
        ("10.0.0.1", 35, 4),
        ("::ffff:10.0.0.1", 35, 4),
        ("2002::1", 30, 2),
        ("2001:0:1::", 5, 5),
        ("2001:db8::1", 40, 1),
        ("fd00::1", 3, 13),
        ("::10.0.0.1", 1, 3),
        ("feff::1", 1, 11),
        ("fe80::1", 40, 1),
        ("3ffe::1", 1, 12),
    ],
)
def test_the_policy_table(address, precedence, label):
    assert policy(A(address))[1:] == (precedence, label)


def test_scopes():
    for address, expected in {
        "fe80::1": 2, "febf::1": 2, "fec0::1": 5, "::1": 2, "fd00::1": 14, "2001::1": 14, "ff08::1": 8,
        "169.254.0.1": 2, "127.0.0.1": 2, "10.0.0.1": 14, "8.8.8.8": 14,
    }.items():  # fmt: skip
        assert scope(A(address)) == expected


# addresses of the host (a route to everywhere in the families it has), destinations, and which come first (10.2)
DESTINATIONS = {
    "matching scope": (
        ["2001:db8:1::2/64", "fe80::1/64", "169.254.13.78/16"],
        ["198.51.100.121", "2001:db8:1::1"],
        ["2001:db8:1::1", "198.51.100.121"],
    ),
    "IPv4 if IPv6 has a smaller scope only": (
        ["fe80::1/64", "198.51.100.117/24"],
        ["2001:db8:1::1", "198.51.100.121"],
        ["198.51.100.121", "2001:db8:1::1"],
    ),
    "higher precedence": (
        ["2001:db8:1::2/64", "fe80::1/64", "10.1.2.4/24"],
        ["10.1.2.3", "2001:db8:1::1"],
        ["2001:db8:1::1", "10.1.2.3"],
    ),
    "smaller scope": (
        ["2001:db8:1::2/64", "fe80::2/64"],
        ["2001:db8:1::1", "fe80::1"],
        ["fe80::1", "2001:db8:1::1"],
    ),
    "matching label": (
        ["2002:c633:6401::2/64", "fe80::2/64"],
        ["2001:db8:1::1", "2002:c633:6401::1"],
        ["2002:c633:6401::1", "2001:db8:1::1"],
    ),
    "6to4 after native": (
        ["2002:c633:6401::2/64", "2001:db8:1::2/64", "fe80::2/64"],
        ["2002:c633:6401::1", "2001:db8:1::1"],
        ["2001:db8:1::1", "2002:c633:6401::1"],
    ),
    "a unique-local one of our site before all": (
        ["fd11:1:1::2/64", "2001:db8:1::2/64", "10.1.2.4/24"],
        ["8.8.8.8", "2001:db8:1::1", "fd11:1:1:9::1"],
        ["fd11:1:1:9::1", "2001:db8:1::1", "8.8.8.8"],
    ),
    "IPv4 before a unique-local one of another site": (
        ["fd11:1:1::2/64", "10.1.2.4/24"],
        ["fd11:1:2::1", "8.8.8.8"],
        ["8.8.8.8", "fd11:1:2::1"],
    ),
    "IPv4 before a unique-local one far off": (
        ["2001:db8:1::2/64", "10.1.2.4/24"],
        ["fd11::1", "8.8.8.8"],
        ["8.8.8.8", "fd11::1"],
    ),
    "longest prefix": (
        ["2001:db8:1::2/64", "2001:db8:3ffe::2/64"],
        ["2001:db8:ffff::9", "2001:db8:1::1"],
        ["2001:db8:1::1", "2001:db8:ffff::9"],
    ),
    "our own network": (["10.0.0.1/24"], ["8.8.8.8", "10.0.0.9", "9.9.9.9"], ["10.0.0.9", "8.8.8.8", "9.9.9.9"]),
    "a family that we have not": (["10.0.0.1/24"], ["2400::1", "8.8.8.8"], ["8.8.8.8", "2400::1"]),
    "this host": (["10.0.0.1/24"], ["10.0.0.1", "::1"], ["::1", "10.0.0.1"]),
}  # fmt: skip


@pytest.mark.parametrize("name", DESTINATIONS)
def test_destinations(name):
    ours, given, expected = DESTINATIONS[name]
    host = Host(*ours)
    for prefix in {bytes(len(A(text.split("/")[0]))) for text in ours}:
        host.routes.add(prefix, 0, host.eth0)
    found = host.routes.by_preference([A(text) for text in given])
    assert [format_address(one) for one in found] == expected


def test_destinations_that_nothing_leads_to_stay_in_their_order_and_come_last():
    names = ["2400::2", "8.8.8.8", "2400::1", "10.0.0.9"]
    found = Host("10.0.0.1/24").routes.by_preference([A(text) for text in names])
    assert [format_address(one) for one in found] == ["10.0.0.9", "2400::2", "8.8.8.8", "2400::1"]


def test_a_destination_with_a_deprecated_source_comes_later():
    host = Host("2001:db8::1/64", "10.0.0.1/24")
    host.routes.add(bytes(16), 0, host.eth0)
    host.routes.add(bytes(4), 0, host.eth0)
    both = [A("8.8.8.8"), A("2400::1")]
    assert host.routes.by_preference(both) == both[::-1]
    host.addresses.local[A("2001:db8::1")].preferred_until = host.loop.now
    assert host.routes.by_preference(both) == both


def test_a_path_that_is_kept_does_not_keep_a_source_that_is_deprecated_by_now():
    host = Host("2001:db8::1/64", "2001:db8::2/64")
    assert host.routes.lookup(A("2001:db8::9")).source == A("2001:db8::1")
    host.addresses.local[A("2001:db8::1")].preferred_until = host.loop.now + 5
    host.loop.now += 5
    assert host.routes.lookup(A("2001:db8::9")).source == A("2001:db8::2")
