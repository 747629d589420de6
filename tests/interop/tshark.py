"""tshark as a judge of captures: with its checksum checks on, is any packet malformed or wrong?"""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from tests.programs import require_program

CHECKS = ("ip.check_checksum", "tcp.check_checksum", "udp.check_checksum")
BAD = " || ".join(f"{layer}.checksum.status == 0" for layer in ("ip", "tcp", "udp", "icmp", "icmpv6", "igmp"))
# An ICMP error may quote a packet whose checksum the device below was still to complete; Linux does so too.
QUOTING = "icmp.type in {3, 11, 12} || icmpv6.type in {1 .. 4}"
WRONG = f"_ws.malformed || ((_ws.expert.severity == error || {BAD}) && !({QUOTING}))"
WRONG_ERROR = "ip.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0"
ANYWHERE = f"{WRONG} || {WRONG_ERROR}"
# What we quote may be as wrong as what we have received.
OUTGOING = f"frame.packet_flags_direction == 2 && ({WRONG_ERROR} || (({WRONG}) && !({QUOTING})))"


async def tshark(path: Path, *arguments: str) -> str:
    """What tshark prints about a capture, its checksum checks on."""
    options = [word for check in CHECKS for word in ("-o", f"{check}:TRUE")]
    process = await asyncio.create_subprocess_exec(
        require_program("tshark"),
        "-r",
        str(path),
        *options,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def faults(path: Path, wrong: str = ANYWHERE) -> list[str]:
    """A line about each packet that is malformed or has a bad checksum: ANYWHERE or in what is OUTGOING."""
    return (await tshark(path, "-Y", wrong)).splitlines()


async def faults_by_file(paths: Iterable[Path], wrong: str = ANYWHERE) -> dict[Path, list[str]]:
    """As `faults`, for many files: those of each that has some, or why it can not be read to its end."""
    turns = asyncio.Semaphore(os.cpu_count() or 1)

    async def judge(path: Path) -> list[str]:
        async with turns:
            try:
                return await faults(path, wrong)
            except AssertionError as exc:
                return [str(exc).strip()]

    paths = list(paths)
    found = await asyncio.gather(*map(judge, paths))
    return {path: lines for path, lines in zip(paths, found, strict=True) if lines}


async def packets_in(paths: Iterable[Path]) -> int:
    """How many they have together."""
    process = await asyncio.create_subprocess_exec(
        require_program("capinfos"), "-TMrcB", *map(str, paths), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return sum(int(line.split("\t")[1]) for line in output.decode().splitlines())


# Packets of many tests in one file belong to no common streams or datagrams.
APART = ("-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-d", "tcp.port==1-65535,data")
# What tests send to any port they like is none of the thousand other protocols that have some port.
KNOWN = {
    "eth",
    "ethertype",
    "arp",
    "ip",
    "ipv6",
    "ipv6.hopopts",
    "ipv6.dstopts",
    "ipv6.routing",
    "ipv6.fraghdr",
}
KNOWN |= {
    "icmp",
    "icmpv6",
    "igmp",
    "udp",
    "tcp",
    "dhcp",
    "dhcpv6",
    "dns",
    "mdns",
    "ntp",
    "tftp",
    "data",
    "raw",
}


async def faults_by_interface(path: Path) -> dict[str, list[str]]:
    """As `faults`, for a file with an interface for each of many tests: their names and lines."""
    names = ("frame.interface_name", "frame.protocols", "frame.number", "_ws.col.Info")
    fields = [word for name in names for word in ("-e", name)]
    found: dict[str, list[str]] = {}
    text = await tshark(path, *APART, "-Y", ANYWHERE, "-T", "fields", *fields)
    for line in text.splitlines():
        name, protocols, rest = line.split("\t", 2)
        if KNOWN.issuperset(protocols.removesuffix(":_ws.malformed").split(":")):
            found.setdefault(name, []).append(rest)
    return found


async def how_many(path: Path, filters: dict[str, str]) -> dict[str, int]:
    """The number of packets that each of the display filters finds."""
    text = await tshark(path, *APART, "-q", "-z", "io,stat,0," + ",".join(filters.values()))
    [row] = [line for line in text.splitlines() if "<>" in line]
    frames = [int(cell) for cell in row.split("|")[2:-1:2]]
    return dict(zip(filters, frames, strict=True))
