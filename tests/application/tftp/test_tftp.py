"""Our TFTP client and server at each other in virtual time, also where packets are lost."""

import asyncio
import os
import random
from contextlib import suppress

import pytest

from asyncstack.application import tftp
from asyncstack.application.tftp import server
from asyncstack.errors import WireError
from asyncstack.testing.plugin import async_fixture
from asyncstack.wire import tftp as wire
from asyncstack.wire import udp
from asyncstack.wire.ipv4 import parse as parse_ipv4

pytestmark = pytest.mark.virtual_time(limit=3600)

SIZES = [0, 1, 511, 512, 513, 1428, 11424, 11425, 100_000]


def content(size):
    return random.Random(size).randbytes(size)


class Site:
    def __init__(self, network, folder, **impairments):
        self.client = network.host("client", "10.0.0.1/24", "fd00::1/64")
        self.server_host = network.host("server", "10.0.0.2/24", "fd00::2/64")
        self.link = network.link(self.client, self.server_host, **{"delay": 0.002, **impairments})
        self.folder = folder
        self.packets = []
        self.link.ends[0].taps.append(self._tap)

    def _tap(self, interface, frame):
        data = b"".join(bytes(part) for part in getattr(frame, "parts", None) or [frame.data])
        if data[0] >> 4 == 4 and data[9] == 17:
            packet = parse_ipv4(memoryview(data))
            with suppress(WireError):
                self.packets.append((packet.src[3], wire.parse(udp.parse(packet.payload).payload)))

    def server(self, **arguments):
        return tftp.TftpServer(self.server_host, self.folder, **arguments)

    def put_file(self, name, data):
        (self.folder / name).write_bytes(data)
        return data

    def ended(self):
        assert self.client.udp.endpoints == {}
        counters = self.server_host.counters
        return {name[5:]: counters[name] for name in counters if name.startswith("tftp.")}


@async_fixture
async def site(network, tmp_path):
    return Site(network, tmp_path)


@pytest.mark.parametrize("host", ["10.0.0.2", "fd00::2", "server"])
@pytest.mark.parametrize("size", SIZES)
async def test_there_and_back(site, size, host):
    data = site.put_file("file", content(size))
    async with site.server(writable=True):
        assert await tftp.get(site.client, host, "file") == data
        await tftp.put(site.client, host, "copy", data)
        assert (site.folder / "copy").read_bytes() == data
    assert site.ended() == {"reads": 1, "writes": 1}


@pytest.mark.parametrize("window", [1, 4, 16])
@pytest.mark.parametrize("size", [512 * 40, 512 * 40 + 7])
async def test_under_loss(network, tmp_path, window, size):
    site = Site(network, tmp_path, loss=0.15, reorder=0.1, duplicate=0.1, reorder_delay=0.01)
    data = site.put_file("file", content(size))
    async with site.server(writable=True):
        for number in range(3):
            assert await tftp.get(site.client, "10.0.0.2", "file", block=512, window=window) == data
            await tftp.put(site.client, "10.0.0.2", f"copy{number}", data, block=512, window=window)
            assert (tmp_path / f"copy{number}").read_bytes() == data
        await asyncio.sleep(20)
    assert site.ended()["writes"] == 3


@pytest.mark.slow
async def test_more_blocks_than_there_are_numbers(site):
    data = site.put_file("file", content(8 * 66_000))
    async with site.server(terms=tftp.Terms(8, 64)):
        assert await tftp.get(site.client, "10.0.0.2", "file", block=8, window=64) == data


async def test_no_apprentice(network, tmp_path):
    """Every packet comes twice, and still each block is sent once."""
    site = Site(network, tmp_path, duplicate=1.0)
    data = site.put_file("file", content(512 * 20))
    async with site.server(writable=True):
        assert await tftp.get(site.client, "10.0.0.2", "file", block=512, window=1) == data
        await asyncio.sleep(10)
        await tftp.put(site.client, "10.0.0.2", "copy", data, block=512, window=1)
        await asyncio.sleep(10)
    sent = [packet.block for host, packet in site.packets if isinstance(packet, wire.Data) and host == 1]
    assert sent == list(range(1, 22))
    heard = [packet.block for host, packet in site.packets if isinstance(packet, wire.Data) and host == 2]
    assert heard.count(7) == 2  # the copy that the link made


async def test_what_is_agreed(site):
    site.put_file("file", content(5000))
    async with site.server(terms=tftp.Terms(block=1000, window=2)):
        await tftp.get(site.client, "10.0.0.2", "file", block=1200, window=4)
        packets = [packet for _, packet in site.packets]
        assert packets[:4] == [
            wire.Request(wire.READ, "file", "octet", {"tsize": "0", "blksize": "1200", "windowsize": "4"}),
            wire.OptionAck({"tsize": "5000", "blksize": "1000", "windowsize": "2"}),
            wire.Ack(0),
            packets[3],
        ]
        assert [p.block for p in packets if isinstance(p, wire.Ack)] == [0, 2, 4, 6]


# files


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "/../secret",
        "a/../../secret",
        "link",
        "folder/link",
        "..",
        "",
        ".",
        "folder",
        "pipe",
        "missing",
    ],
)
async def test_nothing_leads_out_of_the_folder(site, tmp_path, name):
    (tmp_path / "secret").write_text("secret")
    site.folder = tmp_path / "root"
    (site.folder / "folder").mkdir(parents=True)
    (site.folder / "link").symlink_to(tmp_path / "secret")
    (site.folder / "folder" / "link").symlink_to("../../secret")
    os.mkfifo(site.folder / "pipe")
    async with site.server():
        with pytest.raises(FileNotFoundError, match="File not found"):
            await tftp.get(site.client, "10.0.0.2", name)
    assert site.ended() == {"refused": 1}


@pytest.mark.parametrize("name", ["../new", "link/new", "folder/../../new", "missing/new", "dangling"])
async def test_nothing_is_written_outside(site, tmp_path, name):
    site.folder = tmp_path / "root"
    (site.folder / "folder").mkdir(parents=True)
    (site.folder / "link").symlink_to(tmp_path)
    (site.folder / "dangling").symlink_to(tmp_path / "new")
    async with site.server(writable=True):
        with pytest.raises(FileNotFoundError):
            await tftp.put(site.client, "10.0.0.2", name, b"x")
    assert sorted(os.listdir(tmp_path)) == ["root"]


async def test_what_may_be_written(site):
    data = site.put_file("file", content(3000))
    async with site.server() as serving:
        with pytest.raises(PermissionError, match="Access violation"):
            await tftp.put(site.client, "10.0.0.2", "new", b"x")
        serving._writable = True
        with pytest.raises(FileExistsError):
            await tftp.put(site.client, "10.0.0.2", "file", b"x")
        serving._most_bytes = 1000
        with pytest.raises(OSError, match="No space left"):
            await tftp.put(site.client, "10.0.0.2", "new", data)
    assert sorted(os.listdir(site.folder)) == ["file"]
    assert (site.folder / "file").read_bytes() == data


async def test_more_than_was_said(site):
    """Who says nothing of the size is stopped as soon as it is too much, and what he wrote is removed."""
    async with site.server(writable=True, most_bytes=1000):
        transport, talk = await site.client.create_datagram_endpoint(Talk, ("10.0.0.1", 0))
        transport.sendto(wire.build(wire.Request(wire.WRITE, "new")), ("10.0.0.2", 69))
        packet, peer = await talk.heard()
        assert packet == wire.Ack(0)
        for block in (1, 2):
            transport.sendto(wire.build(wire.Data(block, bytes(512))), peer)
            packet, _ = await talk.heard()
        assert packet == wire.Error(wire.DISK_FULL, "no more than 1000 bytes are taken")
        await asyncio.sleep(0.1)
        transport.close()
    assert os.listdir(site.folder) == []


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_disk_that_is_full(site, monkeypatch, size):
    """Also if it is so at the last block, which is not acknowledged then."""

    async def write(data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(server, "_into", lambda file, text: write)
    async with site.server(writable=True):
        with pytest.raises(OSError, match="No space left on device") as raised:
            await tftp.put(site.client, "10.0.0.2", "new", content(size))
        await asyncio.sleep(0.1)
    assert (raised.value.errno, os.listdir(site.folder)) == (28, [])
    assert site.ended() == {"failed": 1}


async def test_a_file_that_can_not_be_read(site, monkeypatch):
    async def read(self, size):
        raise OSError(5, "Input/output error")

    site.put_file("file", content(10))
    monkeypatch.setattr(server.OpenFile, "read", read)
    async with site.server():
        with pytest.raises(OSError, match="Input/output error"):
            await tftp.get(site.client, "10.0.0.2", "file")
        await asyncio.sleep(0.1)
    assert site.ended() == {"failed": 1}


async def test_a_client_that_goes_away_leaves_no_half_file(site):
    async with site.server(writable=True):
        putting = asyncio.create_task(tftp.put(site.client, "10.0.0.2", "new", content(100_000), block=512))
        await asyncio.sleep(0.05)
        assert os.listdir(site.folder) == ["new"]
        site.link.down()
        putting.cancel()
        await asyncio.sleep(30)
        assert os.listdir(site.folder) == []
    assert site.server_host.counters["tftp.failed"] == 1


async def test_the_end_of_the_server_ends_its_transfers(site):
    async with site.server(writable=True):
        putting = asyncio.create_task(
            tftp.put(site.client, "10.0.0.2", "new", content(100_000), block=512, window=1)
        )
        await asyncio.sleep(0.05)
    assert os.listdir(site.folder) == []
    with pytest.raises(OSError):
        await putting
    assert site.server_host.udp.endpoints == {}


# bad company


class Talk(asyncio.DatagramProtocol):
    def __init__(self):
        self.queue = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.queue.put_nowait((wire.parse(data), addr))

    async def heard(self):
        async with asyncio.timeout(30):
            return await self.queue.get()


async def test_a_server_that_is_silent(site):
    began = site.client.clock()
    with pytest.raises(TimeoutError, match=r"no answer from 10.0.0.2"):
        await tftp.get(site.client, "10.0.0.2", "file", port=70)
    assert site.client.clock() - began == pytest.approx(6.0)
    assert site.ended() == {}


async def test_no_more_transfers_than_allowed(site):
    site.put_file("file", content(5000))
    async with site.server(transfers=2):
        transport, talk = await site.client.create_datagram_endpoint(Talk, ("10.0.0.1", 0))
        others = [await site.client.create_datagram_endpoint(Talk, ("10.0.0.1", 0)) for _ in range(2)]
        for one, _ in others:
            for _ in range(5):  # who asks again is answered once
                one.sendto(wire.build(wire.Request(wire.READ, "file")), ("10.0.0.2", 69))
        await asyncio.sleep(0.1)
        transport.sendto(wire.build(wire.Request(wire.READ, "file")), ("10.0.0.2", 69))
        assert (await talk.heard())[0] == wire.Error(wire.UNDEFINED, "Too many transfers")
        await asyncio.sleep(30)  # the others say nothing
        assert site.server_host.counters["tftp.failed"] == 2
        assert await tftp.get(site.client, "10.0.0.2", "file") == content(5000)


@pytest.mark.parametrize("wrong", [wire.Data(1, bytes(513)), wire.Ack(1), wire.Request(wire.READ, "x")])
async def test_nonsense_ends_a_transfer(site, wrong):
    async with site.server(writable=True):
        transport, talk = await site.client.create_datagram_endpoint(Talk, ("10.0.0.1", 0))
        transport.sendto(wire.build(wire.Request(wire.WRITE, "new")), ("10.0.0.2", 69))
        _, peer = await talk.heard()
        transport.sendto(wire.build(wrong), peer)
        assert (await talk.heard())[0].code == wire.ILLEGAL
        await asyncio.sleep(0.1)
    assert os.listdir(site.folder) == []


@pytest.mark.parametrize(
    "data", [b"", b"\0\1x", wire.build(wire.Data(1, b"")), wire.build(wire.Error(1, ""))]
)
@pytest.mark.forges("requests that are none")
async def test_what_is_no_request_is_not_answered(site, data):
    async with site.server():
        transport, talk = await site.client.create_datagram_endpoint(Talk, ("10.0.0.1", 0))
        transport.sendto(data, ("10.0.0.2", 69))
        await asyncio.sleep(5)
        assert (talk.queue.empty(), site.server_host.counters["tftp.malformed"]) == (True, 1)


@pytest.mark.parametrize(
    "option", [{"blksize": "9999"}, {"windowsize": "9"}, {"magic": "1"}, {"blksize": "x"}]
)
async def test_a_server_may_not_agree_to_what_was_not_asked(site, option):
    transport, talk = await site.server_host.create_datagram_endpoint(Talk, ("10.0.0.2", 69))
    getting = asyncio.create_task(tftp.get(site.client, "10.0.0.2", "file"))
    _, peer = await talk.heard()
    transport.sendto(wire.build(wire.OptionAck(option)), peer)
    assert (await talk.heard())[0].code == wire.OPTIONS
    with pytest.raises(OSError, match="not asked for"):
        await getting


async def test_a_server_that_knows_no_options(site):
    transport, talk = await site.server_host.create_datagram_endpoint(Talk, ("10.0.0.2", 69))
    getting = asyncio.create_task(tftp.get(site.client, "10.0.0.2", "file"))
    _, peer = await talk.heard()
    transport.sendto(wire.build(wire.Data(1, bytes(512))), peer)
    assert (await talk.heard())[0] == wire.Ack(1)
    transport.sendto(wire.build(wire.Data(2, b"end")), peer)
    assert await getting == bytes(512) + b"end"


async def test_a_file_that_is_too_large_for_the_client(site):
    site.put_file("file", content(5000))
    async with site.server():
        with pytest.raises(OSError, match="no more than 4000 bytes"):
            await tftp.get(site.client, "10.0.0.2", "file", most=4000)
        await asyncio.sleep(1)


async def test_nobody_else_is_heard(site):
    """A third host, or another port, can not put words into a transfer."""
    transport, talk = await site.server_host.create_datagram_endpoint(Talk, ("10.0.0.2", 69))
    other, _ = await site.server_host.create_datagram_endpoint(Talk, ("10.0.0.2", 4000))
    getting = asyncio.create_task(tftp.get(site.client, "10.0.0.2", "file", block=512))
    _, peer = await talk.heard()
    transport.sendto(wire.build(wire.Data(1, b"a" * 512)), peer)
    assert (await talk.heard())[0] == wire.Ack(1)
    other.sendto(wire.build(wire.Data(2, b"evil")), peer)
    await asyncio.sleep(0.1)
    transport.sendto(wire.build(wire.Data(2, b"good")), peer)
    assert await getting == b"a" * 512 + b"good"


@pytest.mark.parametrize("terms", [{"block": 7}, {"block": 65465}, {"window": 0}, {"timeout": 0}])
async def test_terms_that_make_no_sense(site, terms):
    with pytest.raises(ValueError, match="8 to 65464"):
        await tftp.get(site.client, "10.0.0.2", "file", **terms)


async def test_no_folder_to_serve(site, tmp_path):
    with pytest.raises(NotADirectoryError):
        await tftp.TftpServer(site.server_host, tmp_path / "missing").__aenter__()
