"""Our TFTP server and the clients that people have; our client and dnsmasq's server."""

import random

import pytest

from asyncstack.application import tftp
from tests.interop.dnsmasq import dnsmasq
from tests.interop.kernel import run
from tests.interop.medium import OURS, OURS6, PEER, PEER6, TAP, host
from tests.programs import require_program

pytestmark = pytest.mark.tun

SIZES = [0, 511, 512, 1_000_000]
PROGRAMS = ["tftp", "curl", "busybox"]
ENDS = [(TAP, OURS, PEER), (TAP, OURS6, PEER6)]


def content(size):
    return random.Random(size).randbytes(size)


def url(server, name):
    return f"tftp://[{server}]/{name}" if ":" in server else f"tftp://{server}/{name}"


async def fetch(program, server, name, to):
    if program == "tftp":
        await run("tftp", "-m", "binary", server, "-c", "get", name, str(to))
    elif program == "curl":
        await run("curl", "-sS", "-g", "--tftp-blksize", "1400", "-o", str(to), url(server, name))
    else:
        await run("busybox", "tftp", "-g", "-b", "1024", "-l", str(to), "-r", name, server)


async def store(program, server, name, source):
    if program == "tftp":
        await run("tftp", "-m", "binary", server, "-c", "put", str(source), name)
    elif program == "curl":
        await run("curl", "-sS", "-g", "-T", str(source), url(server, name))
    else:
        await run("busybox", "tftp", "-p", "-l", str(source), "-r", name, server)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("medium", "ours", "peer"), ENDS)
async def test_clients_of_our_server(medium, ours, peer, checked_capture, tmp_path, program):
    require_program(program)
    root = tmp_path / "root"
    root.mkdir()
    async with host(medium) as made, tftp.TftpServer(made.stack, root, writable=True):
        checked_capture.attach(made.interface)
        sizes = SIZES[program == "curl" :]  # curl 7.88 gets an empty file from nobody, dnsmasq included
        for size in sizes:
            (root / f"{size}").write_bytes(content(size))
            got, back = tmp_path / f"got{size}", root / f"back{size}"
            await fetch(program, ours, f"{size}", got)
            assert (got.read_bytes() if got.exists() else b"") == content(size)
            source = tmp_path / f"source{size}"
            source.write_bytes(content(size))
            await store(program, ours, f"back{size}", source)
            assert back.read_bytes() == content(size)
        assert (made.stack.counters["tftp.reads"], made.stack.counters["tftp.writes"]) == (
            len(sizes),
            len(sizes),
        )
        assert made.stack.counters["tftp.failed"] == 0


async def test_text(checked_capture, tmp_path):
    """tftp-hpa's mode of choice is netascii."""
    require_program("tftp")
    text = b"".join(b"line %d\n" % number for number in range(500)) + b"a \r in between\n"
    (tmp_path / "text").write_bytes(text)
    async with host(TAP) as made, tftp.TftpServer(made.stack, tmp_path, writable=True):
        checked_capture.attach(made.interface)
        await run("tftp", "-m", "ascii", OURS, "-c", "get", "text", str(tmp_path / "got"))
        assert (tmp_path / "got").read_bytes() == text
        await run("tftp", "-m", "ascii", OURS, "-c", "put", str(tmp_path / "got"), "back")
        assert (tmp_path / "back").read_bytes() == text


async def test_refusals(checked_capture, tmp_path):
    async with host(TAP) as made, tftp.TftpServer(made.stack, tmp_path):
        checked_capture.attach(made.interface)
        assert "File not found" in await run(
            "tftp", "-m", "binary", OURS, "-c", "get", "missing", "/dev/null"
        )
        assert "(68)" in await run("curl", "-sS", url(OURS, "missing"), status=68)
        (tmp_path / "source").write_bytes(b"x")
        said = await run("tftp", "-m", "binary", OURS, "-c", "put", str(tmp_path / "source"), "new")
        assert "Access violation" in said


@pytest.mark.parametrize(("medium", "ours", "peer"), ENDS)
async def test_our_client_and_dnsmasq(medium, ours, peer, checked_capture, tmp_path):
    for size in SIZES:
        (tmp_path / f"{size}").write_bytes(content(size))
    async with host(medium) as made:
        checked_capture.attach(made.interface)
        options = ("--port=0", "--interface=as0", "--enable-tftp", f"--tftp-root={tmp_path}")
        async with dnsmasq(tmp_path, *options):
            for size in SIZES:
                assert await tftp.get(made.stack, peer, f"{size}") == content(size)
            with pytest.raises(FileNotFoundError, match="not found"):
                await tftp.get(made.stack, peer, "missing")
