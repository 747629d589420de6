"""Which worker a frame is for; the frames are made by dpkt."""

import itertools

import dpkt
import pytest

from asyncstack.workers.steering import EVERYBODY, OWNER, Steering

OURS, PEER, GROUP = b"\x0a\x09\0\x02", b"\x0a\x09\0\x01", b"\xe0\0\0\xfb"
OURS6, PEER6, GROUP6 = (
    b"\xfd" + bytes(14) + b"\x02",
    b"\xfd" + bytes(14) + b"\x01",
    b"\xff\x02" + bytes(13) + b"\xfb",
)
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
ME, COUNT = 2, 3


def steering(ethernet: bool = False, **options) -> Steering:
    return Steering(ME, COUNT, ethernet=ethernet, **{"shared": frozenset((80,)), **options})


def ip(protocol: int, data, dst: bytes = OURS, **fields) -> dpkt.ip.IP:
    return dpkt.ip.IP(src=PEER, dst=dst, p=protocol, data=data, **fields)


def ip6(protocol: int, data, dst: bytes = OURS6) -> dpkt.ip6.IP6:
    packet = dpkt.ip6.IP6(src=PEER6, dst=dst, nxt=protocol, plen=len(bytes(data)), data=data)
    packet.extension_hdrs = {}
    return packet


def tcp(port: int, flags: int = dpkt.tcp.TH_ACK) -> dpkt.tcp.TCP:
    return dpkt.tcp.TCP(sport=9, dport=port, flags=flags)


def udp(port: int) -> dpkt.udp.UDP:
    return dpkt.udp.UDP(sport=9, dport=port)


def icmp(kind: int) -> dpkt.icmp.ICMP:
    return dpkt.icmp.ICMP(type=kind, data=dpkt.icmp.ICMP.Echo())


def icmp6(kind: int) -> bytes:
    return bytes((kind, 0, 0, 0)) + bytes(24)


def behind(headers: list[int], protocol: int, data, dst: bytes = OURS6, fragment: int = 0) -> dpkt.ip6.IP6:
    """An IPv6 packet with extension headers; those of fragments say `fragment` of offset and flags."""
    chain = [*headers, protocol]
    parts = []
    for number, (kind, after) in enumerate(itertools.pairwise(chain)):
        if kind == 44:
            parts.append(bytes((after, 0)) + fragment.to_bytes(2, "big") + bytes(4))
        else:
            parts.append(bytes((after, number % 2, 1, 0)) + bytes(4 + 8 * (number % 2)))
    return ip6(chain[0], b"".join(parts) + bytes(data), dst)


PACKETS = {
    "a served port": (ip(TCP, tcp(80)), ME),
    "a served port, IPv6": (ip6(TCP, tcp(80)), ME),
    "after options": (ip(TCP, tcp(32768), opts=bytes(8), hl=7), 0),
    "the first ephemeral port of all": (ip(TCP, tcp(32768)), 0),
    "that of the second": (ip(TCP, tcp(32768 + 9410)), 1),
    "the last one": (ip(TCP, tcp(60997)), 2),
    "IPv6": (ip6(TCP, tcp(32768 + 9410)), 1),
    "one after all that are shared out": (ip(TCP, tcp(60998)), ME),
    "UDP": (ip(UDP, udp(32768)), 0),
    "UDP, IPv6": (ip6(UDP, udp(53)), ME),
    "a group": (ip(UDP, udp(5353), dst=GROUP), OWNER),
    "a group, IPv6": (ip6(UDP, udp(5353), dst=GROUP6), OWNER),
    "the first fragment": (ip(UDP, udp(53), mf=1), OWNER),
    "the last fragment": (ip(TCP, b"x" * 40, offset=8), OWNER),
    "a fragment, IPv6": (behind([44], UDP, udp(32768), fragment=1), OWNER),
    "echo request": (ip(ICMP, icmp(8)), OWNER),
    "echo reply": (ip(ICMP, icmp(0)), EVERYBODY),
    "unreachable": (ip(ICMP, icmp(3)), EVERYBODY),
    "echo request, IPv6": (ip6(ICMP6, icmp6(128)), OWNER),
    "echo reply, IPv6": (ip6(ICMP6, icmp6(129)), EVERYBODY),
    "packet too big": (ip6(ICMP6, icmp6(2)), EVERYBODY),
    "neighbour solicitation": (ip6(ICMP6, icmp6(135)), OWNER),
    "neighbour advertisement": (ip6(ICMP6, icmp6(136)), EVERYBODY),
    "another protocol": (ip(47, b"x" * 30), OWNER),
    "another protocol, IPv6": (ip6(47, b"x" * 30), OWNER),
    "behind hop-by-hop options": (behind([0], TCP, tcp(80)), ME),
    "an ephemeral port behind them": (behind([0, 60, 43], TCP, tcp(32768 + 9410)), 1),
    "UDP behind destination options": (behind([60], UDP, udp(32768)), 0),
    "a group behind destination options": (behind([60], UDP, udp(5353), dst=GROUP6), OWNER),
    "echo request behind a routing header": (behind([43], ICMP6, icmp6(128)), OWNER),
    "packet too big behind options": (behind([0, 60], ICMP6, icmp6(2)), EVERYBODY),
    "a query of MLD": (behind([0], ICMP6, icmp6(130), dst=GROUP6), OWNER),
    "another protocol behind options": (behind([60], 47, b"x" * 30), OWNER),
    "the first fragment behind options": (behind([60, 44], UDP, udp(32768), fragment=1), OWNER),
    "the last fragment behind options": (behind([60, 44], UDP, bytes(8), fragment=8), OWNER),
    "a fragment that is whole": (behind([44], TCP, tcp(32768 + 9410)), 1),
    "too many headers": (behind([60] * 9, TCP, tcp(32768)), ME),
}


@pytest.mark.parametrize("packet, place", PACKETS.values(), ids=PACKETS)
@pytest.mark.parametrize("ethernet", [False, True])
def test_place(packet, place, ethernet):
    data = bytes(packet)
    if ethernet:
        kind = dpkt.ethernet.ETH_TYPE_IP6 if data[0] >> 4 == 6 else dpkt.ethernet.ETH_TYPE_IP
        data = bytes(dpkt.ethernet.Ethernet(data=data, type=kind))
    assert steering(ethernet).place(memoryview(data)) == place


@pytest.mark.parametrize("operation, place", [(1, OWNER), (2, EVERYBODY)])
def test_arp(operation, place):
    data = bytes(
        dpkt.ethernet.Ethernet(type=dpkt.ethernet.ETH_TYPE_ARP, data=bytes(dpkt.arp.ARP(op=operation)))
    )
    assert steering(ethernet=True).place(memoryview(data)) == place


@pytest.mark.parametrize("packet", [packet for packet, _ in PACKETS.values()], ids=PACKETS)
@pytest.mark.parametrize("ethernet", [False, True])
def test_what_is_cut_short(packet, ethernet):
    """Nothing is raised, whatever is missing."""
    data = memoryview(bytes(packet))
    one = steering(ethernet)
    for length in range(len(data)):
        assert one.place(data[:length]) in (EVERYBODY, 0, 1, 2)
        assert one.is_syn(data[:length]) is False


def test_a_served_port_among_the_ephemeral_ones():
    one = steering(shared=frozenset((40000,)))
    assert one.place(memoryview(bytes(ip(TCP, tcp(40000))))) == ME
    assert one.place(memoryview(bytes(ip(TCP, tcp(40001))))) == 0


def test_ephemeral_ports_of_all_are_apart_and_found():
    ranges = [
        Steering(index, COUNT, ethernet=False, shared=frozenset()).ephemeral_ports() for index in range(COUNT)
    ]
    ports = [set(range(first, last + 1)) for first, last in ranges]
    assert sum(map(len, ports)) == len(set().union(*ports)) > 28000
    for index, mine in enumerate(ports):
        assert {steering().of_port(port) for port in mine} == {index}


def behind_options(protocol: int, data) -> dpkt.ip6.IP6:
    return behind([0, 60], protocol, data)


@pytest.mark.parametrize("wrap", [ip, ip6, behind_options])
def test_syn(wrap):
    for flags, opens in (("S", True), ("SA", False), ("A", False), ("R", False)):
        bits = sum({"S": dpkt.tcp.TH_SYN, "A": dpkt.tcp.TH_ACK, "R": dpkt.tcp.TH_RST}[one] for one in flags)
        data = memoryview(bytes(wrap(TCP, tcp(80, bits))))
        assert steering().is_syn(data) is opens
    assert not steering().is_syn(memoryview(bytes(wrap(UDP, udp(80)))))
