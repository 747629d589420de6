import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.wire import dhcp_options as options

address = socket.inet_aton


@given(st.integers(0, 32))
def test_masks(length):
    assert options.read_mask(options.build_mask(length)) == length


@pytest.mark.parametrize("mask", ["255.0.255.0", "0.0.0.1", "255.255.255.253"])
def test_a_mask_with_holes_is_none(mask):
    assert options.read_mask(address(mask)) is None


def test_classless_routes_as_the_rfc_writes_them():
    value = bytes.fromhex("00 0a0a0a01  08 0a 0a0a0a01  18 0a0000 0a0a0a01  19 c0a80180 00000000")
    routes = [
        (address("0.0.0.0"), 0, address("10.10.10.1")),
        (address("10.0.0.0"), 8, address("10.10.10.1")),
        (address("10.0.0.0"), 24, address("10.10.10.1")),
        (address("192.168.1.128"), 25, address("0.0.0.0")),
    ]
    assert options.read_routes(value) == routes
    assert options.build_routes(routes) == value
    assert options.read_routes(bytes.fromhex("08 ff 0a0a0a01 09 ffff 0a0a0a01"))[1][:2] == (
        address("255.128.0.0"),
        9,
    )


@pytest.mark.parametrize("value", ["21 0a0000000a000001", "18 0a0000 0a00", "00"])
def test_malformed_routes_are_none_at_all(value):
    assert options.read_routes(bytes.fromhex(value)) == []


def test_search_domains_as_the_rfc_compresses_them():
    value = b"\3eng\5apple\3com\0\x09marketing\xc0\x04"
    assert options.read_domains(value) == ["eng.apple.com", "marketing.apple.com"]
    assert options.read_domains(options.build_domains(["eng.apple.com", "b.c."])) == ["eng.apple.com", "b.c"]


@pytest.mark.parametrize(
    "value",
    [
        b"\xc0\0",
        b"\3eng\xc0\0\1",
        b"\3eng",
        b"\3eng\xc0",
        b"\3eng\xc0\4",
        b"\1 \0",
        b"\1\xff\0",
        b"\x40" + b"a" * 64 + b"\0",
    ],
)
def test_malformed_search_domains_are_none_at_all(value):
    assert options.read_domains(value) == []


@given(st.binary(max_size=80))
def test_no_value_raises_or_loops(value):
    for reader in (options.read_domains, options.read_routes, options.read_mask, options.read_addresses):
        reader(value)
    text = options.read_text(value)
    assert text.isascii() and text.isprintable()


def test_addresses_and_numbers():
    assert options.read_addresses(address("10.0.0.1") + bytes(4) + address("10.0.0.2")) == [
        address("10.0.0.1"),
        address("10.0.0.2"),
    ]
    assert options.read_addresses(b"\x0a\0\0") == options.read_addresses(None) == []
    assert options.read_address(b"abc") is None and options.read_number(b"\1\2\3") is None
    assert options.read_number(b"\5\xdc", 2) == 1500
    assert options.read_text(b"host\0") == "host" and options.read_text(b"\xe4") == ""


@pytest.mark.parametrize("name", ["a..b", "a" * 64, ""])
def test_what_is_no_domain_is_refused(name):
    with pytest.raises(ValueError):
        options.build_domains([name])


@pytest.mark.parametrize(("pointers", "names"), [(options.POINTERS, options.POINTERS + 1), (8000, 0)])
def test_pointers_to_pointers_are_followed_a_few_times_only(pointers, names):
    """60 kB of them, in fragments, kept a client busy for minutes: each name was as long a walk."""
    value = bytearray(b"\1a\0\xc0\0")
    for at in range(3, 1 + 2 * pointers, 2):
        value += (0xC000 | at).to_bytes(2, "big")
    assert options.read_domains(bytes(value)) == ["a"] * names


def test_names_beyond_what_anybody_searches_are_not_read():
    assert options.read_domains(b"\1a\0" * (options.DOMAINS + 1)) == ["a"] * options.DOMAINS
