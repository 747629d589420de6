"""asyncio's calls on a stack: their signatures are asyncio's. What they do is in transport/asyncio_contract."""

import asyncio
import inspect
import socket
import ssl

import pytest

from asyncstack import Stack, memory_pair
from asyncstack.network.addresses import parse_address
from tests.transport.asyncio_contract.recorders import Datagrams, Recorder

pytestmark = pytest.mark.virtual_time

LOOP = asyncio.BaseEventLoop
PAIRS = [
    (Stack.create_connection, LOOP.create_connection),
    (Stack.create_server, LOOP.create_server),
    (Stack.create_datagram_endpoint, LOOP.create_datagram_endpoint),
    (Stack.open_connection, asyncio.open_connection),
    (Stack.start_server, asyncio.start_server),
]
# asyncio's sentinel for "not given" in `family`, and the flags that only a resolver has a use for
DIFFERENT_DEFAULTS = {"family", "flags", "limit"}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda function: function.__qualname__)
def test_signatures_are_asyncio_s(ours, theirs):
    ours, theirs = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    assert [name for name in theirs if name not in ours] == []
    for name, parameter in theirs.items():
        assert ours[name].kind is parameter.kind, name
        if name not in DIFFERENT_DEFAULTS:
            assert ours[name].default == parameter.default, name
    assert positional(ours) == positional(theirs)


def positional(parameters):
    """The names, in order, of what can be given without one."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [name for name, each in parameters.items() if each.kind is kind and name != "self"]


async def test_ports_may_be_text():
    async with Stack() as stack:
        server = await stack.create_server(Recorder, "127.0.0.1", "8080")
        assert server.sockets[0].getsockname() == ("127.0.0.1", 8080)
        transport, _ = await stack.create_connection(Recorder, "127.0.0.1", "8080")
        assert transport.get_extra_info("peername") == ("127.0.0.1", 8080)
        with pytest.raises(socket.gaierror, match="service is called") as caught:
            await stack.create_connection(Recorder, "127.0.0.1", "no-such-service")
        assert caught.value.errno == socket.EAI_SERVICE
        for call in (stack.create_server, stack.create_connection):
            with pytest.raises(ValueError, match="needs a host, a port or a sock"):
                await call(Recorder)


async def test_a_port_without_a_host():
    async with Stack() as stack:
        server = await stack.create_server(Recorder, port=80)
        assert [sock.getsockname()[1] for sock in server.sockets] == [80, 80]
        transport, _ = await stack.create_connection(Recorder, port=80)
        assert transport.get_extra_info("peername") == ("::1", 80, 0, 0)


async def test_port_zero_is_one_port_for_all_hosts():
    """asyncio takes another one for each."""
    async with Stack() as stack:
        server = await stack.create_server(Recorder, ["127.0.0.1", "::1"], 0)
        assert len({sock.getsockname()[1] for sock in server.sockets}) == 1


async def test_family_of_a_connection():
    async with Stack(hosts={"me": ["127.0.0.1", "::1"]}) as stack:
        await stack.create_server(Recorder, None, 80)
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            transport, _ = await stack.create_connection(Recorder, "me", 80, family=family)
            assert transport.get_extra_info("peername")[0] == address


async def test_addresses_take_turns_by_family_with_happy_eyeballs():
    """RFC 8305 4: a, b, c of one family and x of the other are tried as a, x, b, c."""
    six = ["2001:db8::1", "2001:db8::2", "2001:db8::3"]
    async with Stack(hosts={"many": ["127.0.0.1", *six]}) as stack:
        for one in six:
            stack.add_address(stack.routes.loopback, parse_address(one), 128)
        for arguments, order in [
            ({}, [*six, "127.0.0.1"]),
            ({"happy_eyeballs_delay": 1.0}, [six[0], "127.0.0.1", *six[1:]]),
            ({"interleave": 1}, [six[0], "127.0.0.1", *six[1:]]),
            ({"interleave": 2, "happy_eyeballs_delay": 1.0}, [*six[:2], "127.0.0.1", six[2]]),
        ]:
            with pytest.raises(ExceptionGroup) as caught:
                await stack.create_connection(Recorder, "many", 9, all_errors=True, **arguments)
            said = [str(error) for error in caught.value.exceptions]
            assert [text.split("connect to ")[1].split(" ")[0] for text in said] == order


async def test_local_addr_by_family():
    async with Stack(hosts={"both": ["127.0.0.1", "::1"]}) as stack:
        await stack.create_server(Recorder, None, 80)
        transport, _ = await stack.create_connection(Recorder, "both", 80, local_addr=("::1", 5000))
        assert transport.get_extra_info("sockname")[:2] == ("::1", 5000)
        transport, _ = await stack.create_connection(Recorder, "both", 80, local_addr=("", 5001))
        assert transport.get_extra_info("sockname")[:2] == ("::1", 5001)
        with pytest.raises(OSError, match="other address family"):
            await stack.create_connection(Recorder, "127.0.0.1", 80, local_addr=("::1", 0))


async def test_datagram_endpoints_by_family():
    async with Stack(hosts={"both": ["127.0.0.1", "::1"]}) as stack:
        for arguments, name in [
            ({"local_addr": ("both", 7)}, ("::1", 7, 0, 0)),
            ({"local_addr": ("both", 7), "family": socket.AF_INET}, ("127.0.0.1", 7)),
            ({"local_addr": (None, 8)}, ("0.0.0.0", 8)),
            ({"family": socket.AF_INET6, "local_addr": ("", "9")}, ("::", 9, 0, 0)),
            ({"local_addr": ("::1", 10), "remote_addr": ("both", 9)}, ("::1", 10, 0, 0)),
        ]:
            transport, _ = await stack.create_datagram_endpoint(Datagrams, **arguments)
            assert transport.get_extra_info("sockname") == name
            if "remote_addr" in arguments:
                assert transport.get_extra_info("peername") == ("::1", 9, 0, 0)


async def test_the_first_error_of_a_datagram_endpoint_is_raised():
    async with Stack(hosts={"far": ["192.0.2.1", "2001:db8::1"]}) as stack:
        near, _ = memory_pair()
        stack.attach(near, ["10.0.0.1/24"])
        with pytest.raises(OSError, match=r"192\.0\.2\.1"):
            await stack.create_datagram_endpoint(Datagrams, remote_addr=("far", 9))


async def test_tls_arguments_need_tls():
    async with Stack() as stack:
        for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
            with pytest.raises(ValueError, match=f"{name} is only meaningful with ssl"):
                await stack.create_server(Recorder, None, 80, **{name: 1.0})
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server = await stack.create_server(
            Recorder, None, 80, ssl=context, ssl_handshake_timeout=1.0, ssl_shutdown_timeout=1.0
        )
        assert server.is_serving()
        assert stack.servers == {server: None}
        server.close()
        assert stack.servers == {}
