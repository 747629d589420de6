"""dnsmasq as a child program: a nameserver, a DHCP server, a router, or all in one, as its options say."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.interop.kernel import talking, until
from tests.interop.medium import PEER, PEER6

# port 53 of the kernel's addresses; each query is a line of what it says
NAMESERVER = (f"--listen-address={PEER}", f"--listen-address={PEER6}", "--log-queries", "--no-poll")
# gives the addresses from 10.9.0.50 to 10.9.0.60 on as0, from the lowest
DHCP4 = (
    *("--port=0", "--interface=as0", "--no-ping", "--dhcp-sequential-ip"),
    *("--dhcp-range=10.9.0.50,10.9.0.60,255.255.255.0,2m", "--dhcp-option=option:dns-server,10.9.0.53"),
    *("--dhcp-option=option:mtu,1400", "--dhcp-option=option:domain-search,a.example.org,example.org"),
)


@asynccontextmanager
async def dnsmasq(folder: Path, *options: str) -> AsyncIterator[list[str]]:
    """dnsmasq with `options` and no file of the system's, from when it serves; the lines that it says. Its leases are
    in `folder`/leases."""
    own = (
        *("--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"),
        *("--bind-interfaces", f"--pid-file={folder}/pid", f"--dhcp-leasefile={folder}/leases"),
        "--log-facility=-",
    )
    async with talking("dnsmasq", *own, *options) as (process, said):
        await until(lambda: process.returncode is not None or count(said, "started"))
        assert process.returncode is None, said
        yield said


def count(said: list[str], pattern: str) -> int:
    """How many of the lines hold what the regular expression says."""
    return sum(bool(re.search(pattern, line)) for line in said)
