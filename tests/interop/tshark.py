"""tshark as a judge of captures: with its checksum checks on, is any packet malformed or wrong?"""

import asyncio
from pathlib import Path

from tests.programs import require_program

CHECKS = ("ip.check_checksum", "tcp.check_checksum", "udp.check_checksum")
BAD = " || ".join(f"{layer}.checksum.status == 0" for layer in ("ip", "tcp", "udp", "icmp", "icmpv6"))
# An ICMP error may quote a packet whose checksum the device below was still to complete; Linux does so too.
QUOTING = "icmp.type in {3, 11, 12} || icmpv6.type in {1 .. 4}"
WRONG = f"_ws.malformed || ((_ws.expert.severity == error || {BAD}) && !({QUOTING}))"
WRONG_ERROR = "ip.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0"


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


async def faults(path: Path) -> list[str]:
    """A line about each packet that is malformed or has a bad checksum."""
    return (await tshark(path, "-Y", f"{WRONG} || {WRONG_ERROR}")).splitlines()
