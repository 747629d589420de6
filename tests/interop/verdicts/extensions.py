"""What two programs of thc-ipv6 find out about a target."""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Iterable

from asyncstack.network.addresses import parse_address
from tests.interop.verdicts.target import ADDRESS6, Target, run
from tests.programs import require_program

IMPLEMENTATION, FRAGMENTATION = range(1, 58), range(1, 34)  # the numbers of their tests
ETH_P_IPV6 = 0x86DD
WAIT = 0.2  # seconds for the last answers


async def implementation(target: Target, cases: Iterable[int] | None = None) -> dict[str, str]:
    """The answers of implementation6, which prints them."""
    program = require_program("atk6-implementation6")
    if cases is None:
        texts = [await run(target, program, "eth0", ADDRESS6, seconds=240)]
    else:
        texts = [await run(target, program, "-p", "eth0", ADDRESS6, str(case), seconds=10) for case in cases]
    return {
        f"{int(found[1]):2} {found[2]}": found[3]
        for text in texts
        for found in re.finditer(r"^Test +(\d+): (.*?)\s*\t+((?:PASSED|FAILED).*)$", text, re.MULTILINE)
    }


async def fragmentation(target: Target, cases: Iterable[int] | None = None) -> dict[str, str]:
    """The answers to the tests of fragmentation6, which leaves it to a sniffer to look."""
    program = require_program("atk6-fragmentation6")
    answers = {}
    for case in cases or FRAGMENTATION:
        with target.attacker.entered():
            sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IPV6))
        with sniffer:
            sniffer.bind(("eth0", ETH_P_IPV6))
            sniffer.setblocking(False)
            text = await run(target, program, "-p", "eth0", ADDRESS6, str(case), seconds=20)
            await asyncio.sleep(WAIT)
            found = re.search(r"^ATTACK (\w+) \d+ - (.*)$", text, re.MULTILINE)
            assert found is not None, text
            answers[f"{case:2} {found[1]}: {found[2]}"] = _said(sniffer)
    return answers


def _said(sniffer: socket.socket) -> str:
    """What has come from the target, as words."""
    said: Counter[str] = Counter()
    while True:
        try:
            frame = sniffer.recv(65535)
        except BlockingIOError:
            break
        if frame[22:38] != parse_address(ADDRESS6):
            continue
        protocol, at = frame[20], 54
        if protocol == 44:  # a fragment: told of once
            if int.from_bytes(frame[at + 2 : at + 4], "big") & 0xFFF8:
                continue
            protocol, at = frame[at], at + 8
        kind, code = frame[at], frame[at + 1]
        if protocol != 58 or kind in (135, 136):
            continue
        said["echo reply" if kind == 129 else f"error {kind}:{code}"] += 1
    return ", ".join(f"{count} x {what}" for what, count in sorted(said.items())) or "nothing"
