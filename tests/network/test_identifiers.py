import random
from ipaddress import ip_address
from types import SimpleNamespace

import pytest

from asyncstack.network import identifiers

MAC = bytes.fromhex("021122334455")
NET, OTHER_NET = ip_address("2001:db8:1::").packed, ip_address("2001:db8:2::").packed


def test_a_stable_identifier_depends_on_all_that_rfc_7217_names():
    first = identifiers.stable(NET, MAC, b"key")
    assert first == identifiers.stable(NET[:8], MAC, b"key")
    others = [
        identifiers.stable(OTHER_NET, MAC, b"key"),
        identifiers.stable(NET, MAC[::-1], b"key"),
        identifiers.stable(NET, MAC, b"another key" * 10),
        identifiers.stable(NET, MAC, b"key", 1),
    ]
    assert len({first, *others}) == 5
    assert {len(made) for made in (first, *others)} == {8}


def test_eui64():
    assert identifiers.eui64(MAC) == bytes.fromhex("001122fffe334455")  # RFC 4291 appendix A


def test_a_temporary_identifier_is_another_one_each_time():
    rng = random.Random(1)
    assert len({identifiers.temporary(rng) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("identifier", "reserved"),
    [
        ("0000000000000000", True),
        ("0000000000000001", False),
        ("fdffffffffffff7f", False),
        ("fdffffffffffff80", True),
        ("fdffffffffffffff", True),
        ("02005efffe005213", True),
        ("02005effff000000", False),
    ],
)
def test_reserved_identifiers(identifier, reserved):
    assert identifiers.is_reserved(bytes.fromhex(identifier)) is reserved


def test_a_reserved_one_is_drawn_again():
    drawn = [bytes(8), b"\1" * 8]
    rng = SimpleNamespace(randbytes=lambda size: drawn.pop(0))
    assert identifiers.temporary(rng) == b"\1" * 8
