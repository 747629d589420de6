import errno
import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.network.addresses import (
    AddressTable,
    format_address,
    is_link_local,
    is_multicast,
    parse_address,
    parse_interface,
    parse_own,
    scope_of,
)
from tests.network.host import Interface

A = parse_address


@pytest.fixture
def table():
    return AddressTable()


@pytest.fixture
def eth0():
    return Interface("eth0", 1)


@pytest.fixture
def eth1():
    return Interface("eth1", 2)


@given(st.ip_addresses())
def test_text_and_objects_become_bytes_and_text_again(address):
    assert parse_address(address) == parse_address(str(address)) == address.packed
    assert ipaddress.ip_address(format_address(address.packed)) == address


def test_bytes_are_taken_as_they_are():
    assert parse_address(b"\x0a\0\0\x01") == b"\x0a\0\0\x01"
    with pytest.raises(ValueError, match="4 or 16 bytes, not 5"):
        parse_address(b"12345")


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "host", "fe80::1::2", "10.0.0.1/24"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError):
        parse_address(text)


def test_a_scope_belongs_to_link_local_addresses_only():
    assert parse_address("fe80::1%eth0") == A("fe80::1")
    assert (scope_of("fe80::1%eth0"), scope_of("fe80::1")) == ("eth0", "")
    with pytest.raises(ValueError, match="only a link-local address has a scope"):
        parse_address("fd00::1%eth0")


def test_interface_text():
    assert parse_interface("10.0.0.1/24") == (A("10.0.0.1"), 24)
    assert parse_interface("10.0.0.1/255.255.0.0") == (A("10.0.0.1"), 16)
    assert parse_interface("fd00::1") == (A("fd00::1"), 128)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("10.0.0.1/33", "'10.0.0.1/33': '33' is no prefix length, which is 0 to 32"),
        ("fd00::1/129", "'fd00::1/129': '129' is no prefix length, which is 0 to 128"),
        ("10.0.0.1/x", "'10.0.0.1/x': 'x' is no prefix length, which is 0 to 32"),
        ("10.0.0.300/24", "'10.0.0.300/24': '10.0.0.300' is no IPv4 or IPv6 address"),
        ("", "'': '' is no IPv4 or IPv6 address"),
    ],
)
def test_which_half_of_it_is_wrong(text, complaint):
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}$"):
        parse_interface(text)


def test_an_address_of_our_own_has_its_prefix_length_and_is_of_one_host():
    assert parse_own("10.0.0.1/24") == (A("10.0.0.1"), 24)
    with pytest.raises(ValueError, match=r"'10\.0\.0\.1' needs a prefix length, such as 10\.0\.0\.1/24"):
        parse_own("10.0.0.1")
    for text in ("224.0.0.1/24", "ff02::1/64", "0.0.0.0/0", "::/0"):
        with pytest.raises(ValueError, match="can not be a host's own"):
            parse_own(text)


@given(st.ip_addresses())
def test_kinds_agree_with_the_standard_library(address):
    assert is_multicast(address.packed) == address.is_multicast
    assert is_link_local(address.packed) == address.is_link_local


def test_an_added_address_is_local_until_it_is_removed(table, eth0):
    table.add(A("10.0.0.1"), 24, eth0)
    assert table.is_local(A("10.0.0.1"))
    assert not table.is_local(A("10.0.0.2"))
    table.remove(A("10.0.0.1"))
    assert not table.is_local(A("10.0.0.1"))
    assert A("10.0.0.1") not in table.no_source
    assert not table.is_broadcast(A("10.0.0.255"))


def test_all_of_127_is_local(table):
    assert table.is_local(A("127.1.2.3"))
    assert not table.is_local(A("128.0.0.1"))


def test_an_address_has_one_owner(table, eth0, eth1):
    table.add(A("10.0.0.1"), 24, eth0)
    with pytest.raises(FileExistsError, match=r"10\.0\.0\.1 is already an address of eth0"):
        table.add(A("10.0.0.1"), 16, eth1)
    with pytest.raises(OSError) as raised:
        table.remove(A("10.0.0.9"))
    assert raised.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize(
    ("address", "length"),
    [
        ("224.0.0.5", 24),
        ("ff02::1", 64),
        ("0.0.0.0", 0),
        ("::", 64),
        ("255.255.255.255", 32),
        ("10.0.0.255", 24),
        ("10.0.0.1", 33),
        ("10.0.0.1", -1),
    ],
)
def test_what_no_host_can_have_is_refused(table, eth0, address, length):
    with pytest.raises(ValueError):
        table.add(A(address), length, eth0)
    assert not table.local


def test_broadcasts_belong_to_their_networks(table, eth0, eth1):
    table.add(A("10.0.0.1"), 24, eth0)
    table.add(A("10.1.0.1"), 31, eth1)  # RFC 3021: two ends, no broadcast
    assert table.is_broadcast(A("10.0.0.255"), eth0)
    assert table.is_broadcast(A("10.0.0.255"))
    assert not table.is_broadcast(A("10.0.0.255"), eth1)
    assert not table.is_broadcast(A("10.1.0.1"), eth1)
    assert table.is_broadcast(A("255.255.255.255"), eth1)
    assert A("10.0.0.255") in table.no_source


def test_removing_an_interface_removes_all_that_it_had(table, eth0, eth1):
    table.add(A("10.0.0.1"), 24, eth0)
    table.add(A("fd00::1"), 64, eth0)
    table.add(A("10.1.0.1"), 24, eth1)
    table.groups.join(A("239.1.2.3"), eth0, "member")
    table.remove_interface(eth0)
    assert list(table.local) == [A("10.1.0.1")]
    assert table.of(eth0) == []
    assert table.groups.of(eth0) == []


def test_addresses_of_an_interface_by_family(table, eth0):
    table.add(A("10.0.0.1"), 24, eth0)
    table.add(A("fd00::1"), 64, eth0)
    assert [str(entry) for entry in table.of(eth0)] == ["10.0.0.1/24", "fd00::1/64"]
    assert [str(entry) for entry in table.of(eth0, 16)] == ["fd00::1/64"]


def choose(table, interface, destination, next_hop=None):
    chosen = table.select_source(A(destination), A(next_hop or destination), interface)
    return format_address(chosen.address) if chosen else ""


def test_the_source_is_on_the_network_of_the_next_hop(table, eth0, eth1):
    table.add(A("10.0.0.1"), 24, eth0)
    table.add(A("10.0.1.1"), 24, eth0)
    assert choose(table, eth0, "10.0.1.9") == "10.0.1.1"
    assert choose(table, eth0, "8.8.8.8", "10.0.1.254") == "10.0.1.1"
    assert choose(table, eth0, "8.8.8.8", "10.9.9.9") == "10.0.0.1"  # the first, then
    assert choose(table, eth1, "8.8.8.8") == "10.0.0.1"  # none there: another interface's
    assert choose(table, eth1, "fd00::1") == ""


def test_the_source_has_the_scope_of_the_destination(table, eth0):
    table.add(A("fe80::1"), 64, eth0)
    table.add(A("fd00::1"), 64, eth0)
    table.add(A("2001:db8::1"), 64, eth0)
    assert choose(table, eth0, "fe80::9") == "fe80::1"
    assert choose(table, eth0, "fd00::9") == "fd00::1"
    assert choose(table, eth0, "2001:db8:1::9", "fe80::9") == "2001:db8::1"
