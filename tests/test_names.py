"""Host names and ports to addresses and numbers."""

import ipaddress
import socket

import pytest

from asyncstack.names import Names, port_number

V4, V6 = socket.AF_INET, socket.AF_INET6
ANY4, ANY6 = bytes(4), bytes(16)
LOCAL4, LOCAL6 = bytes([127, 0, 0, 1]), bytes(15) + b"\1"
WEB4, WEB6 = bytes([10, 0, 0, 1]), bytes([0xFD]) + bytes(14) + b"\1"


@pytest.fixture
def names():
    return Names(
        {"web": ["10.0.0.1", "fd00::1"], "web.example": ["fd00::1", "10.0.0.1"], "alone": "10.0.0.1"}
    )


@pytest.mark.parametrize(
    ("host", "family", "found"),
    [
        ("10.0.0.1", 0, [WEB4]),
        ("fd00::1", 0, [WEB6]),
        ("FD00:0::1", V6, [WEB6]),
        (ipaddress.ip_address("10.0.0.1"), 0, [WEB4]),
        (ipaddress.ip_address("fd00::1"), 0, [WEB6]),
        ("web", 0, [WEB4, WEB6]),
        ("WEB", 0, [WEB4, WEB6]),
        ("web.example.", 0, [WEB6, WEB4]),  # in the order of the table
        ("web", V4, [WEB4]),
        ("web", V6, [WEB6]),
        ("alone", 0, [WEB4]),  # one address needs no list
        ("localhost", 0, [LOCAL4, LOCAL6]),
        ("localhost", V6, [LOCAL6]),
        ("127.0.0.1", V4, [LOCAL4]),
    ],
)
def test_resolve(names, host, family, found):
    assert names.resolve(host, family) == found


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("nobody", 0),
        ("alone", V6),
        ("10.0.0.1", V6),
        ("fd00::1", V4),
        ("10.0.0.1/24", 0),
        ("10.0.0", 0),
        ("", 0),
        (None, 0),
        ("web", socket.AF_UNIX),
    ],
)
def test_unknown(names, host, family):
    with pytest.raises(socket.gaierror, match="not in the stack's hosts table") as caught:
        names.resolve(host, family)
    assert caught.value.errno == socket.EAI_NONAME
    assert repr(host) in str(caught.value)


@pytest.mark.parametrize(
    ("host", "family", "found"),
    [
        (None, 0, [ANY4, ANY6]),
        ("", 0, [ANY4, ANY6]),
        (None, V4, [ANY4]),
        ("", V6, [ANY6]),
        ("0.0.0.0", 0, [ANY4]),
        ("::", 0, [ANY6]),
        ("web", 0, [WEB4, WEB6]),
        (["web", "10.0.0.1", "127.0.0.1"], 0, [WEB4, WEB6, LOCAL4]),  # each once
        (("web", None), V4, [WEB4, ANY4]),
        ([], 0, []),
        (ipaddress.ip_address("10.0.0.1"), 0, [WEB4]),
    ],
)
def test_resolve_local(names, host, family, found):
    assert names.resolve_local(host, family) == found


def test_the_table_is_shared_and_may_change():
    table = {}
    names = Names(table)
    table["new"] = ["10.0.0.1"]
    assert names.resolve("new") == [WEB4]
    assert Names().table == {}


@pytest.mark.parametrize(("port", "number"), [(80, 80), ("80", 80), (0, 0), (None, 0), (65535, 65535)])
def test_ports(port, number):
    assert port_number(port) == number


@pytest.mark.parametrize("port", ["http", "", "-1", "80x", " 80"])
def test_ports_that_are_no_numbers(port):
    with pytest.raises(socket.gaierror, match="service names") as caught:
        port_number(port)
    assert caught.value.errno == socket.EAI_SERVICE
