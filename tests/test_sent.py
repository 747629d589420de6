"""What the stacks of all tests have sent, and all captures that the tests have made, judged by tshark: of this run, or
of one that left them in SENT_PACKETS."""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.tshark import OUTGOING, faults_by_file, faults_by_interface, how_many, packets_in
from tests.sampling import ALL, OUTBOUND, SAMPLING, Sampling, made_by
from tests.tapping.packet_taps import file_of

LEFT = Path("build/faulty")  # where the packets are if there is a fault
# each of them is sent by some test
PROTOCOLS = {
    "ARP": "arp",
    "DHCP client": "dhcp.type == 1",
    "DHCP server": "dhcp.type == 2",
    "DHCPv6": "dhcpv6",
    "DNS query": "dns.flags.response == 0 && udp.port == 53",
    "DNS response": "dns.flags.response == 1 && udp.port == 53",
    "router solicitation": "icmpv6.type == 133",
    "router advertisement": "icmpv6.type == 134",
    "neighbor solicitation": "icmpv6.type == 135",
    "neighbor advertisement": "icmpv6.type == 136",
    "MLDv1": "icmpv6.type == 131",
    "MLDv2": "icmpv6.type == 143",
    "IGMPv2": "igmp.type == 0x16",
    "IGMPv3": "igmp.type == 0x22",
    "TFTP": "tftp",
    "SNTP": "ntp",
    "mDNS": "mdns",
    "IPv4 fragments": "ip.flags.mf == 1",
    "IPv6 fragments": "ipv6.fraghdr",
    "TCP over IPv4": "ip && tcp",
    "TCP over IPv6": "ipv6 && tcp",
}


pytestmark = [pytest.mark.after_all, pytest.mark.timeout(300)]


@pytest.fixture
def sampling(request: pytest.FixtureRequest) -> Sampling:
    return request.config.stash[SAMPLING]


@pytest.fixture
def sent(sampling: Sampling) -> Path:
    if not sampling.processes:
        pytest.skip("no test that sends anything ran before this one")
    return sampling.joined()


def left(path: Path, name: str) -> str:
    """The command that shows a file whose folder may soon be gone."""
    LEFT.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, LEFT / name)
    return shlex.join(["tshark", "-r", str(LEFT / name)])


async def test_tshark_finds_no_fault_in_what_was_sent(sampling, sent):
    packets, processes = await packets_in([sent]), len(sampling.processes)
    faulty = []
    for test in await faults_by_interface(sent):
        # a dissector may have clung to the port of another test
        alone = sampling.joined(test)
        for lines in (await faults_by_interface(alone)).values():
            faulty.append(f"{test}: {left(alone, file_of(test))}: {len(lines)} faults, packet {lines[0]}")
    if faulty:
        pytest.fail("\n".join(faulty), pytrace=False)
    sampling.judged.append(f"{packets} packets that {processes} processes have sent")


async def test_tshark_finds_no_fault_in_captures(sampling):
    whole, outbound = sampling.captures(ALL), sampling.captures(OUTBOUND)
    if not (captures := whole + outbound):
        pytest.skip("no test that captures anything ran before this one")
    if found := await faults_by_file(whole) | await faults_by_file(outbound, OUTGOING):
        pytest.fail("\n".join(told(found)), pytrace=False)
    sampling.judged.append(f"{len(captures)} captures with {await packets_in(captures)} packets")


def told(found: dict[Path, list[str]]) -> Iterator[str]:
    """Of each file the test, where it is, and the first of its faults."""
    for path, lines in found.items():
        yield f"{made_by(path)}: {left(path, path.name)}: {len(lines)} faults, packet {lines[0].strip()}"


async def test_every_protocol_was_among_it(sampling, sent):
    if not sampling.whole:
        pytest.skip("not all tests ran")
    counts = await how_many(sent, PROTOCOLS)
    assert not [name for name, count in counts.items() if not count], counts
