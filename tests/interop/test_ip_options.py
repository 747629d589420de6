"""Header options between the kernel and us: what `ping -R` and `ping -T` print, and what malformed ones bring back."""

import asyncio
import re
import socket

import pytest

from asyncstack.wire import icmp, ipv4
from tests.interop.kernel import run
from tests.interop.medium import OURS, PEER, PLAIN_TUN, TAP, TUN, host

pytestmark = pytest.mark.tun

MEDIA = pytest.mark.parametrize("medium", [TUN, TAP, PLAIN_TUN])


@MEDIA
async def test_the_recorded_route(peered):
    """As from a Linux host: it is there twice, once for each way."""
    text = await run("ping", "-n", "-R", "-c1", "-w5", OURS)
    assert re.findall(r"\d+\.\d+\.\d+\.\d+", text.partition("RR:")[2])[:4] == [PEER, OURS, OURS, PEER]
    large = await run("ping", "-n", "-R", "-c1", "-w5", "-s", "4000", OURS)
    assert "1 received" in large, large


@MEDIA
async def test_the_timestamps(peered):
    text = await run("ping", "-n", "-T", "tsandaddr", "-c1", "-w5", OURS)
    stamps = re.findall(r"^\s*(?:TS:)?\s+(\d+\.\d+\.\d+\.\d+)\s+(-?\d+)", text, re.MULTILINE)
    assert [address for address, _ in stamps] == [PEER, OURS, OURS, PEER], text
    # the first is absolute, the others are differences: our clock is the kernel's
    assert all(abs(int(difference)) < 1000 for _, difference in stamps[1:]), text
    alone = await run("ping", "-n", "-T", "tsonly", "-c1", "-w5", OURS)
    assert len(re.findall(r"-?\d+(?: absolute)?$", alone.partition("TS:")[2], re.MULTILINE)) >= 4, alone


def raw(options: bytes, protocol: int = 1) -> bytes:
    """An echo request with header options that the kernel does not look at."""
    message = icmp.build_echo(7, 1, b"data")
    source, target = socket.inet_aton(PEER), socket.inet_aton(OURS)
    return ipv4.build(source, target, protocol, len(message), options=options) + message


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ("07 01 04 00", (12, 0, 20)),
        ("01 01 07 27", (12, 0, 22)),
        ("07 07 05 00000000 00", (12, 0, 22)),
        ("44 08 09 f0 00000000", (12, 0, 23)),
        ("83 07 04 0a090003 00", (3, 5, 0)),  # source routing
        ("94 04 00 00", (0, 0, 0)),  # router alert: an echo like others
        ("9e 04 00 00", (0, 0, 0)),  # unknown
    ],
)
async def test_what_the_kernel_hears_about_its_options(netns, options, answer):
    async with host(TAP):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender,
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as listener,
        ):
            listener.setblocking(False)
            sender.sendto(raw(bytes.fromhex(options)), (OURS, 0))
            async with asyncio.timeout(5):
                data = await asyncio.get_running_loop().sock_recv(listener, 2048)
    packet = ipv4.parse(memoryview(data))
    message = icmp.parse(packet.payload)
    assert packet.src == socket.inet_aton(OURS)
    assert (message.type, message.code) == answer[:2]
    if message.type == 12:
        assert message.pointer == answer[2]
