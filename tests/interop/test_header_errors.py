"""What Linux says of extension headers that nobody can make anything of, and what we say."""

import asyncio
import socket

import pytest

from asyncstack.link.frame import OutgoingFrame
from asyncstack.wire import icmpv6
from tests.interop.medium import OURS6, PEER6, TUN, host
from tests.network.host import Host
from tests.network.test_ipv6_headers import SILENT, TOLD, packet

pytestmark = [pytest.mark.tun, pytest.mark.forges("extension headers that are none")]

US, LINUX = (socket.inet_pton(socket.AF_INET6, text) for text in (OURS6, PEER6))
# Linux knows the option, or the routing header, and has its own reasons to refuse it
KNOWN_TO_LINUX = {"a jumbo payload", "routing type 2", "routing type 4"}
CASES = {
    **{name: headers for name, (headers, _, _) in TOLD.items() if name not in KNOWN_TO_LINUX},
    **{
        name: headers for name, headers in SILENT.items() if name != "nine headers"
    },  # a limit of ours, RFC 8504 5.3
}


def ours(headers):
    """(code, pointer) of what we say, or None."""
    me = Host(f"{PEER6}/64")
    for reply in me.receive(packet(*headers, src=US, dst=LINUX)):
        message = icmpv6.parse(memoryview(reply)[40:], LINUX, US)
        return message.code, message.pointer
    return None


class Answers:
    """Takes the place of ICMPv6 on the stack and keeps the Parameter Problems."""

    def __init__(self, icmp):
        self.icmp, self.heard = icmp, []

    async def receive(self, received):
        message = icmpv6.parse(received.payload, received.src, received.dst, received.checksum_valid)
        if message.type == icmpv6.PARAMETER_PROBLEM:
            self.heard.append((message.code, message.pointer))
        await self.icmp.receive(received)

    def receive_error(self, error):
        return self.icmp.receive_error(error)


async def test_linux_says_the_same(netns):
    netns.run("sh", "-c", "echo 0 > /proc/sys/net/ipv6/icmp/ratelimit")
    async with host(TUN) as made:
        ip = made.stack.ipv6
        answers = ip.handlers[icmpv6.PROTOCOL] = Answers(ip.handlers[icmpv6.PROTOCOL])
        await made.stack.ping(PEER6, timeout=5)
        theirs = {}
        for name, headers in CASES.items():
            answers.heard.clear()
            made.interface.transmit(OutgoingFrame([packet(*headers, src=US, dst=LINUX)]))
            await made.stack.ping(PEER6, timeout=5)  # what it has to say comes before
            await asyncio.sleep(0)
            theirs[name] = answers.heard[0] if answers.heard else None
    assert theirs == {name: ours(headers) for name, headers in CASES.items()}
