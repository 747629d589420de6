"""Host names and ports to addresses and numbers."""

import ipaddress
import re
import socket

import pytest

from asyncstack.names import Found, Names, port_number

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
        (b"web", V4, [WEB4]),
        (b"127.0.0.1", V4, [LOCAL4]),
        ("me.localhost", 0, [LOCAL4, LOCAL6]),  # RFC 6761 6.3
        ("LocalHost.", V4, [LOCAL4]),
        ("0x7f.1", 0, [LOCAL4]),  # inet_aton's forms, as getaddrinfo takes them
        ("10.1", 0, [WEB4]),
    ],
)
async def test_lookup(names, host, family, found):
    assert names.resolve(host, family) == found
    assert await names.lookup(host, family) == found


@pytest.mark.parametrize(
    ("host", "family", "code"),
    [
        ("nobody", 0, socket.EAI_NONAME),
        ("alone", V6, socket.EAI_NONAME),
        ("10.0.0.1", V6, socket.EAI_ADDRFAMILY),
        ("fd00::1", V4, socket.EAI_ADDRFAMILY),
        (ipaddress.ip_address("fd00::1"), V4, socket.EAI_ADDRFAMILY),
        ("10.0.0.1/24", 0, socket.EAI_NONAME),
        ("10.0.0.", 0, socket.EAI_NONAME),
        ("10.0.0.1 and more", 0, socket.EAI_NONAME),
        ("fe80::1::2", 0, socket.EAI_NONAME),
        ("::1%lo", 0, socket.EAI_NONAME),
        ("", 0, socket.EAI_NONAME),
        (None, 0, socket.EAI_NONAME),
    ],
)
async def test_unknown(names, host, family, code):
    with pytest.raises(socket.gaierror, match=re.escape(repr(host))) as caught:
        names.resolve(host, family)
    assert caught.value.errno == code
    with pytest.raises(socket.gaierror, match=re.escape(repr(host))) as caught:
        await names.lookup(host, family)
    assert caught.value.errno == code


async def test_a_family_that_no_stack_has(names):
    with pytest.raises(socket.gaierror) as caught:
        await names.lookup("web", socket.AF_UNIX)
    assert caught.value.errno == socket.EAI_FAMILY


class Oracle:
    """A DNS that knows everything, and notes what it was asked."""

    def __init__(self):
        self.asked = []

    async def addresses(self, name, family):
        self.asked.append((name, family))
        return Found("canonical", [WEB6, WEB4])

    async def name_of(self, address):
        self.asked.append(address)
        return "oracle"


async def test_dns_is_asked_for_what_is_not_known(names):
    answered = [names.answers(host) for host in ("Web.", b"web", "other", "10.0.0.1", "localhost", "")]
    assert answered == [True, True, False, False, False, False]
    oracle = Oracle()
    names.dns = lambda: oracle
    answered = [names.answers(host) for host in ("Web.", b"web", "other", "10.0.0.1", "localhost", "")]
    assert answered == [True, True, True, False, False, False]
    assert await names.lookup("web") == [WEB4, WEB6]
    assert await names.lookup("localhost") == [LOCAL4, LOCAL6]
    assert await names.lookup("10.0.0.1") == [WEB4]
    for text in ("", "fe80::1::2", "fe80::1%25%lo", None):
        with pytest.raises(socket.gaierror):
            await names.lookup(text)
    with pytest.raises(UnicodeError):
        await names.lookup("a..b")  # as socket.getaddrinfo
    assert oracle.asked == []
    assert await names.lookup("Elsewhere.", V4) == [WEB4]
    assert await names.lookup("bücher.example") == [WEB6, WEB4]
    assert oracle.asked == [("Elsewhere.", V4), ("xn--bcher-kva.example", 0)]
    assert await names.name_of(WEB4) == "web"
    assert await names.name_of(LOCAL6) == "localhost"
    assert await names.name_of(bytes(4)) == "oracle"


async def test_what_is_known_costs_no_turn_of_the_loop(names):
    for host in ("10.0.0.1", "web", "localhost"):
        with pytest.raises(StopIteration):
            names.lookup(host).send(None)


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
async def test_lookup_local(names, host, family, found):
    assert await names.lookup_local(host, family) == found


def test_the_table_is_shared_and_may_change():
    table = {}
    names = Names(table)
    table["new"] = ["10.0.0.1"]
    assert names.resolve("new") == [WEB4]
    assert Names().table == {}


@pytest.mark.parametrize(("port", "number"), [(80, 80), ("80", 80), (0, 0), (None, 0), ("http", 80)])
def test_ports(port, number):
    assert port_number(port) == number


@pytest.mark.parametrize("port", ["no-such-service", "", "-1", "80x", " 80"])
def test_ports_that_are_none(port):
    with pytest.raises(socket.gaierror, match="service is called") as caught:
        port_number(port)
    assert caught.value.errno == socket.EAI_SERVICE
