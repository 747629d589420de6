"""What the stacks of all tests have sent, judged by tshark: of this run, or of one that left it in SENT_PACKETS."""

import shutil
from pathlib import Path

import pytest

from tests.interop.tshark import faults_by_interface, how_many
from tests.sampling import SAMPLING

LEFT = Path("build/sent.pcapng")  # where the packets are if there is a fault
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


pytestmark = [pytest.mark.after_all, pytest.mark.timeout(120)]


@pytest.fixture
def sent(request: pytest.FixtureRequest) -> Path:
    path = request.config.stash[SAMPLING].joined()
    if path.stat().st_size < 1000:
        pytest.skip("no test that sends anything ran before this one")
    return path


async def test_tshark_finds_no_fault_in_what_was_sent(sent):
    found = await faults_by_interface(sent)
    if found:
        LEFT.parent.mkdir(exist_ok=True)
        shutil.copy(sent, LEFT)
        lines = [f"{test}: packet {lines[0]}" for test, lines in found.items()]
        pytest.fail("\n".join([f"tshark -r {LEFT}:", *lines]), pytrace=False)


async def test_every_protocol_was_among_it(request, sent):
    if not request.config.stash[SAMPLING].whole:
        pytest.skip("not all tests ran")
    counts = await how_many(sent, PROTOCOLS)
    assert not [name for name, count in counts.items() if not count], counts
