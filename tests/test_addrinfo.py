"""`getaddrinfo` and `getnameinfo` of a stack against the C library's, for everything that needs no network."""

import socket
from itertools import product

import pytest

from asyncstack import Stack
from asyncstack.testing import Network

pytestmark = pytest.mark.virtual_time

V4, V6 = socket.AF_INET, socket.AF_INET6
STREAM, DGRAM, RAW = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW
PASSIVE, CANON, MAPPED = socket.AI_PASSIVE, socket.AI_CANONNAME, socket.AI_V4MAPPED
NUMERIC_HOST, NUMERIC_SERVICE = socket.AI_NUMERICHOST, socket.AI_NUMERICSERV


def outcome(call, *arguments, **keywords):
    """What the call returns, or what it raises: (type, errno)."""
    try:
        return call(*arguments, **keywords)
    except (OSError, TypeError, UnicodeError) as exc:
        return type(exc), exc.errno if isinstance(exc, socket.gaierror) else None


def now(coroutine):
    """What a coroutine returns that does not wait."""
    try:
        coroutine.send(None)
    except StopIteration as exc:
        return exc.value
    coroutine.close()
    raise AssertionError("it waits")


async def compare(stack, host, port, **arguments):
    ours = outcome(lambda: now(stack.getaddrinfo(host, port, **arguments)))
    theirs = outcome(socket.getaddrinfo, host, port, **arguments)
    assert ours == theirs, (host, port, arguments)
    if isinstance(ours, list):
        assert [(type(a), type(b)) for a, b, *_ in ours] == [(type(a), type(b)) for a, b, *_ in theirs]


HOSTS = [
    "127.0.0.1",
    b"127.0.0.1",
    "::1",
    "10.1.2.3",
    "2001:db8::1",
    "::ffff:1.2.3.4",
    "1.2.3",
    "0x7f.1",
    "010.0.0.1",
]
NO_HOSTS = ["", "[::1]", "256.1.1.1", "127.0.0.1.", "1.2.3.4 x", 12, 1.5, bytearray(b"127.0.0.1")]
FAMILIES = [0, V4, V6, socket.AF_UNIX, -1]


@pytest.mark.parametrize("host", [*HOSTS, None], ids=repr)
async def test_addresses_by_family_type_and_flags(host):
    async with Stack() as stack:
        for family, kind, flags in product(
            FAMILIES, [0, STREAM, DGRAM, RAW, 99], [0, PASSIVE, CANON, MAPPED, MAPPED | socket.AI_ALL]
        ):
            await compare(stack, host, 80, family=family, type=kind, flags=flags | NUMERIC_HOST)
            if host is None or family != V6:
                await compare(stack, host, 80, family=family, type=kind, flags=flags)


@pytest.mark.parametrize("host", NO_HOSTS, ids=repr)
async def test_what_is_no_address(host):
    async with Stack() as stack:
        for family in FAMILIES:
            await compare(stack, host, 80, family=family, flags=NUMERIC_HOST)
        await compare(stack, "::1%lo", 80)  # only link-local addresses have a scope


PORTS = [
    *(80, 0, None, "80", b"80", "", " 80", "080", "+1", "80 ", 70000, "70000", -1, "-1", 80.0, 1j),
    *("http", b"http", "domain", "tftp", "nosuch"),
]


@pytest.mark.parametrize("port", PORTS, ids=repr)
async def test_ports_and_services(port):
    async with Stack() as stack:
        for host, kind, proto, flags in product(
            ["127.0.0.1", None], [0, STREAM, DGRAM, RAW], [0, 6, 17, 99], [0, NUMERIC_SERVICE, 1 << 28]
        ):
            await compare(stack, host, port, type=kind, proto=proto, flags=flags)


async def test_neither_host_nor_port():
    async with Stack() as stack:
        for flags in (0, PASSIVE, CANON):
            await compare(stack, None, None, flags=flags)


@pytest.mark.parametrize("host", ["a..b", ".", "a" * 300, "a" * 70 + ".com"])
async def test_what_can_be_no_name(host):
    async with Stack() as stack:
        await compare(stack, host, 80)


def addresses(results):
    return [sockaddr[0] for *_, sockaddr in results]


async def test_names_of_the_table():
    table = {"web": ["10.0.0.1", "fd00::1"], "four": "10.0.0.4"}
    async with Stack(hosts=table) as stack:
        found = await stack.getaddrinfo("WEB", "http", flags=CANON)
        assert found == [
            (V4, STREAM, 6, "web", ("10.0.0.1", 80)),
            (V6, STREAM, 6, "", ("fd00::1", 80, 0, 0)),
        ]
        assert addresses(await stack.getaddrinfo("web", 80, family=V6, type=DGRAM)) == ["fd00::1"]
        both = {"type": STREAM, "family": V6}
        assert addresses(await stack.getaddrinfo("web", 80, flags=MAPPED, **both)) == ["fd00::1"]
        assert addresses(await stack.getaddrinfo("four", 80, flags=MAPPED, **both)) == ["::ffff:10.0.0.4"]
        mapped = await stack.getaddrinfo("web", 80, flags=MAPPED | socket.AI_ALL, **both)
        assert addresses(mapped) == ["fd00::1", "::ffff:10.0.0.1"]
        for arguments in ({"family": V6}, {"flags": NUMERIC_HOST}):
            with pytest.raises(socket.gaierror) as caught:
                await stack.getaddrinfo("four", 80, **arguments)
            assert caught.value.errno == socket.EAI_NONAME


async def test_localhost_has_both_families():
    async with Stack() as stack:
        found = await stack.getaddrinfo("localhost", 80, type=STREAM)
        assert found == [
            (V6, STREAM, 6, "", ("::1", 80, 0, 0)),
            (V4, STREAM, 6, "", ("127.0.0.1", 80)),
        ]


async def test_addrconfig_leaves_out_a_family_that_the_stack_has_not(network):
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24", "fd00::2/64")
    network.link(a, b, addresses=(["10.0.0.1/24"], ["10.0.0.2/24"]))
    asked = {"type": STREAM, "flags": socket.AI_ADDRCONFIG}
    assert addresses(await a.getaddrinfo("b", 80, **asked)) == ["10.0.0.2", "10.0.0.2"]
    with pytest.raises(socket.gaierror) as caught:
        await a.getaddrinfo("b", 80, family=V6, **asked)
    assert caught.value.errno == socket.EAI_NONAME


async def test_scopes_name_interfaces_of_the_stack():
    async with Network() as network:
        a, b = network.host("a", "fe80::1/64"), network.host("b", "fe80::2/64")
        network.link(a, b)
        interface = a.interfaces[-1]
        for scope in (interface.name, str(interface.index)):
            found = await a.getaddrinfo(f"fe80::2%{scope}", 80, type=STREAM)
            assert found[0][4] == ("fe80::2", 80, 0, interface.index)
        assert await a.getnameinfo(found[0][4], socket.NI_NUMERICHOST) == (
            f"fe80::2%{interface.name}",
            "http",
        )
        with pytest.raises(socket.gaierror) as caught:
            await a.getaddrinfo("fe80::2%nope", 80)
        assert caught.value.errno == socket.EAI_NONAME


SOCKADDRS = [
    *(("127.0.0.1", 80), ("10.1.2.3", 12345), ("::1", 80), ("::1", 80, 0, 0), ("::ffff:1.2.3.4", 80)),
    *(("127.0.0.1", 69), ("127.0.0.1", 0), ("127.0.0.1", -1), ("127.0.0.1", 65536), ("127.0.0.1",), "x"),
    *(
        ("localhost", 80),
        ("127.0.0.1", "80"),
        ("127.0.0.1", 80, 0, 0),
        ("::1", 80, 1 << 20, 0),
        ("fe80::1", 80, 0, 0),
    ),
]


@pytest.mark.parametrize("sockaddr", SOCKADDRS, ids=repr)
async def test_getnameinfo_in_numbers(sockaddr):
    async with Stack() as stack:
        for flags in (socket.NI_NUMERICSERV, 0, socket.NI_DGRAM, socket.NI_NAMEREQD, 1 << 20):
            flags |= socket.NI_NUMERICHOST
            try:
                theirs = socket.getnameinfo(sockaddr, flags)
            except (OSError, TypeError, OverflowError) as exc:
                with pytest.raises(type(exc)) as caught:
                    await stack.getnameinfo(sockaddr, flags)
                assert caught.value.args[0] == exc.args[0]
            else:
                assert await stack.getnameinfo(sockaddr, flags) == theirs


async def test_getnameinfo_by_the_table():
    async with Stack(hosts={"web": ["10.0.0.1", "fd00::1"]}) as stack:
        assert await stack.getnameinfo(("fd00::1", 443, 0, 0)) == ("web", "https")
        assert await stack.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICSERV) == ("localhost", "80")
        assert await stack.getnameinfo(("10.0.0.9", 80)) == ("10.0.0.9", "http")
        with pytest.raises(socket.gaierror) as caught:
            await stack.getnameinfo(("10.0.0.9", 80), socket.NI_NAMEREQD)
        assert caught.value.errno == socket.EAI_NONAME


async def test_every_host_of_a_network_knows_the_others(network):
    a, b = (
        network.host("Alice", "10.0.0.1/24", "fd00::1/64"),
        network.host("bob", "10.0.0.2/24", "fd00::2/64"),
    )
    network.link(a, b)
    assert addresses(await a.getaddrinfo("bob", 80, type=STREAM)) == ["fd00::2", "10.0.0.2"]
    assert addresses(await b.getaddrinfo("alice", 80, type=STREAM)) == ["fd00::1", "10.0.0.1"]
    assert await b.getnameinfo(("fd00::1", 80, 0, 0)) == ("alice", "http")
    network.link(a, b, addresses=("10.1.0.1/24", "10.1.0.2/24"))
    assert addresses(await a.getaddrinfo("bob", 80, family=V4, type=STREAM)) == ["10.0.0.2", "10.1.0.2"]
