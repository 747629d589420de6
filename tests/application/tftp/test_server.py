"""A server with more than one address, and what goes wrong before a transfer begins, in virtual time."""

import asyncio
import os
import socket
import threading

import pytest

from asyncstack.application import files, tftp
from asyncstack.testing.plugin import async_fixture
from asyncstack.wire import tftp as wire

pytestmark = pytest.mark.virtual_time(limit=3600)


@async_fixture
async def hosts(network):
    client = network.host("client", "10.0.0.1/24", "fd00::1/64")
    server = network.host("server", "10.0.0.2/24", "10.0.0.3/24", "fd00::2/64", "fd00::3/64")
    network.link(client, server, delay=0.002)
    return client, server


@pytest.mark.parametrize(
    ("listen", "name"),
    [
        ("::", "10.0.0.2"),
        ("::", "10.0.0.3"),
        ("::", "fd00::2"),
        ("::", "fd00::3"),
        ("0.0.0.0", "10.0.0.3"),
        ("10.0.0.3", "10.0.0.3"),
        ("fd00::3", "fd00::3"),
    ],
)
async def test_it_answers_from_the_address_that_was_asked(hosts, tmp_path, listen, name):
    """RFC 1123 4.1.3.5; a client hears nobody else."""
    client, server = hosts
    (tmp_path / "file").write_bytes(b"x" * 5000)
    async with tftp.TftpServer(server, tmp_path, listen, writable=True):
        assert await tftp.get(client, name, "file", timeout=0.1) == b"x" * 5000
        await tftp.put(client, name, "copy", b"y" * 5000, timeout=0.1)
        with pytest.raises(FileNotFoundError):
            await tftp.get(client, name, "none", timeout=0.1)
    assert (tmp_path / "copy").read_bytes() == b"y" * 5000


@pytest.mark.parametrize("name", ["10.0.0.255", "255.255.255.255"])
async def test_who_asks_everybody_is_not_answered(hosts, tmp_path, name):
    """RFC 1123 4.2.3.5."""
    client, server = hosts
    (tmp_path / "file").write_bytes(b"x")
    async with tftp.TftpServer(server, tmp_path), client.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        await sock.sendto(wire.build(wire.Request(wire.READ, "file")), (name, 69))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await sock.recvfrom(1000)
    assert server.counters["tftp.to_all"] == 1


@pytest.mark.parametrize(
    ("name", "write", "text"),
    [
        ("x" * 300, False, "File name too long"),
        ("x" * 300, True, "File name too long"),
        ("loop", False, "symbolic links"),
    ],
)
async def test_a_file_that_can_not_be_opened_is_said_so(hosts, tmp_path, name, write, text):
    client, server = hosts
    (tmp_path / "loop").symlink_to("loop")
    async with tftp.TftpServer(server, tmp_path, writable=True):
        with pytest.raises(OSError, match=text):
            if write:
                await tftp.put(client, "10.0.0.2", name, b"x")
            else:
                await tftp.get(client, "10.0.0.2", name)
    assert server.counters["tftp.refused"] == 1


@pytest.mark.parametrize(("asked", "agreed"), [("5", {"timeout": "5"}), ("255", {})])
async def test_nobody_holds_a_place_for_long_by_saying_nothing(hosts, tmp_path, asked, agreed):
    """Who waits for 255 s, and forges its address, would have it for 25 minutes."""
    client, server = hosts
    (tmp_path / "file").write_bytes(b"x")
    async with tftp.TftpServer(server, tmp_path) as serving, client.socket(type=socket.SOCK_DGRAM) as sock:
        options = {"timeout": asked, "tsize": "0"}
        await sock.sendto(wire.build(wire.Request(wire.READ, "file", options=options)), ("10.0.0.2", 69))
        assert wire.parse((await sock.recvfrom(1000))[0]) == wire.OptionAck(agreed | {"tsize": "1"})
        await asyncio.sleep(60)
        assert serving._transfers == {}


async def test_an_end_while_a_file_is_made_leaves_none(hosts, tmp_path, monkeypatch):
    client, server = hosts
    loop, begun, go_on, made = asyncio.get_running_loop(), asyncio.Event(), threading.Event(), []

    def slow(root, segments):
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(10)
        made.append(files.create_beneath(root, segments))
        return made[0]

    monkeypatch.setattr("asyncstack.application.tftp.server.create_beneath", slow)
    async with tftp.TftpServer(server, tmp_path, writable=True):
        putting = asyncio.create_task(tftp.put(client, "10.0.0.2", "new", b"x"))
        await begun.wait()
        loop.call_soon(go_on.set)
    assert os.listdir(tmp_path) == [] and made[0].closed
    with pytest.raises(OSError):
        await putting
