"""Hostile bytes into every parser of `wire`: WireError is the only thing that may come out of them."""

import random
from itertools import pairwise

import pytest

from asyncstack.errors import WireError
from asyncstack.wire import (
    arp,
    checksum,
    dhcp,
    dhcp6,
    dhcp_options,
    ethernet,
    icmp,
    icmpv6,
    igmp,
    ipv4,
    ipv6,
    membership,
    mld,
    ndp,
    ntp,
    tcp,
    tftp,
    udp,
    virtio_net,
)

SEED = 20240607
MUTATIONS = 20_000

SRC4, DST4 = b"\x0a\0\0\1", b"\x0a\0\0\2"
SRC6, DST6 = bytes.fromhex("fe80" + "00" * 13 + "01"), bytes.fromhex("fe80" + "00" * 13 + "02")
MAC = b"\2\0\0\0\0\1"

SYN = tcp.Segment(80, 4000, 1, 0, tcp.SYN, 64240, b"", 5, 6, (), 1460, 7, True)
DATA = tcp.Segment(80, 4000, 1, 9, tcp.ACK | tcp.PSH, 512, b"payload", 5, 6)
HOLES = tcp.Segment(80, 4000, 1, 9, tcp.ACK, 512, b"", 5, 6, ((20, 30), (40, 50), (60, 70)))
PLAIN = tcp.Segment(80, 4000, 1, 9, tcp.FIN | tcp.ACK, 512, b"bye")

EXTENSIONS = bytes.fromhex(
    "3c 00 0502 0000 0100"  # hop-by-hop: router alert
    "2b 01 1e05 0000000000 0105 0000000000"  # destination options: an unknown one, PadN
    "2c 02 0400 00000000 00000000000000000000000000000000"  # routing, no segments left
    "3c 00 0000 12345678"  # an atomic fragment
    "06 00 0104 00000000"  # destination options
)
ADVERTISEMENT = ndp.RouterAdvertisement(
    1800, 64, True, False, 30000, 1000, MAC, 1400, [ndp.Prefix(SRC6, 64), ndp.Prefix(DST6, 64)]
)
OPTIONS = ndp.RouterAdvertisement(
    1800,
    preference=1,
    routes=[ndp.RouteInformation(SRC6, 64, -1, 600)],
    rdnss=[ndp.Rdnss(600, [SRC6, DST6])],
    dnssl=[ndp.Dnssl(600, ["example.org", "lan"])],
)
NDP_RECORDS = [
    ndp.NeighborSolicitation(DST6, MAC),
    ndp.NeighborAdvertisement(DST6, MAC, True, True, True),
    ndp.NeighborSolicitation(DST6, b"", MAC),
    ndp.Redirect(SRC6, DST6, MAC),
    ndp.RouterSolicitation(MAC),
    ADVERTISEMENT,
    OPTIONS,
]


def packet4(protocol, payload, **fields):
    return ipv4.build(SRC4, DST4, protocol, len(payload), **fields) + payload


def packet6(next_header, payload):
    return ipv6.build(SRC6, DST6, next_header, len(payload)) + payload


def tcp_bytes(segment):
    return tcp.build(segment, 0x1234) + segment.payload


def parse_packet4(data):
    packet = ipv4.parse(data)
    assert len(packet.raw) == 20 + len(packet.options) + len(packet.payload) <= len(data)


def parse_packet6(data):
    packet = ipv6.parse(data)
    assert len(packet.payload) + 40 <= len(packet.raw) <= len(data)
    mld.has_router_alert(packet.raw)
    packet.more_fragments, packet.fragment_offset = False, 0
    ipv6.skip_extensions(packet)


def parse_segment(data):
    """A parsed segment is sane enough to be built again, and reads the same then."""
    segment = tcp.parse(data)
    assert len(segment.payload) <= len(data) - 20
    if not segment.flags & tcp.SYN:
        assert tcp.parse(memoryview(tcp.build(segment, segment.checksum) + bytes(segment.payload))) == segment


def parse_datagram(data):
    datagram = udp.parse(data)
    assert len(datagram.payload) == datagram.length - 8


def parse_dhcp(data):
    """With what its readers make of each option, and built again."""
    message = dhcp.parse(data)
    for value in message.options.values():
        dhcp_options.read_domains(value)
        dhcp_options.read_routes(value)
        dhcp_options.read_text(value)
        dhcp_options.read_mask(value)
    again = dhcp.parse(memoryview(dhcp.build(message, 65535)))
    assert (again, again.type) == (message, message.type)


def parse_ndp(data):
    ndp.parse(icmpv6.parse(data, SRC6, DST6))


def parse_mld(data):
    mld.parse(icmpv6.parse(data, SRC6, DST6))


def listened(address):
    """Every message of IGMP, or MLD, about `address`."""
    records = [membership.Record(kind, address, (address,) * kind) for kind in membership.Kind]
    return [
        membership.Query(membership.Version.THIRD, address, 12.8, (address,) * 3, True, 2, 125),
        membership.Query(membership.Version.SECOND, address, 10.0),
        membership.Membership(address),
        membership.Membership(address, leave=True),
        membership.Report(records),
    ]


def parse_vnet(data):
    """With what a device does next: completing the checksum at offsets that came from outside."""
    _, _, _, _, start, offset = virtio_net.parse(data)
    checksum.complete(bytearray(data[virtio_net.HEADER_SIZE :]), start, offset)


def repair(at, initial=0):
    """A function that sets the checksum at `at` right, so that a mutation gets past it."""

    def repaired(data):
        if len(data) >= at + 2:
            data[at : at + 2] = b"\0\0"
            covered = data[: (data[0] & 0x0F) * 4] if at == 10 else data
            pseudo = initial and checksum.pseudo_header_sum(SRC6, DST6, initial, len(data))
            value = 0xFFFF - checksum.fold(pseudo + checksum.sum16(covered))
            data[at : at + 2] = value.to_bytes(2, "big")

    return repaired


def leave(data):
    pass


ECHO6 = icmpv6.build_echo(SRC6, DST6, 1, 2, b"data")
ERROR6 = icmpv6.build(SRC6, DST6, icmpv6.PACKET_TOO_BIG, 0, 1400, packet6(6, tcp_bytes(DATA)))
NDP = [ndp.build(record, SRC6, DST6) for record in NDP_RECORDS]

DHCP_OPTIONS = {
    53: b"\5",
    54: SRC4,
    51: b"\0\0\x0e\x10",
    1: b"\xff\xff\xff\0",
    3: SRC4,
    6: SRC4 * 2,
    119: b"\3eng\7example\3org\0\2hr\xc0\4",
    121: b"\x18\x0a\1\1\x0a\0\0\1\0\x0a\0\0\1",
    61: b"\xff" + MAC,
    82: b"\1\4port",
}
DHCP = dhcp.Message(dhcp.REPLY, b"xid!", MAC, DHCP_OPTIONS, yiaddr=DST4, file=b"boot")
LONG_DHCP = dhcp.Message(dhcp.REPLY, b"xid!", MAC, DHCP_OPTIONS | {43: bytes(range(230)), 224: bytes(50)})

LEASE = dhcp6.IaNa(1, 50, 80, [dhcp6.IaAddress(DST6, 100, 200)], dhcp6.Status(0, "fine"))
DHCP6 = [
    dhcp6.build(dhcp6.Message(dhcp6.SOLICIT, 1, MAC, requested=[23, 24], elapsed=0, rapid_commit=True)),
    dhcp6.build(
        dhcp6.Message(
            dhcp6.REPLY, 1, MAC, MAC, [LEASE], nameservers=[SRC6], search=["example.org"], refresh=9
        )
    ),
]

TFTP = [
    tftp.build(packet)
    for packet in (
        tftp.Request(tftp.READ, "file", options={"blksize": "1428", "tsize": "0"}),
        tftp.Data(1, b"data"),
        tftp.Error(1, "File not found"),
        tftp.OptionAck({"blksize": "1428"}),
    )
]

# name: what parses, how to repair a mutation, valid inputs
PARSERS = {
    "ethernet": (ethernet.parse, leave, [ethernet.build(MAC, MAC, 0x0800) + bytes(46)]),
    "arp": (arp.parse, leave, [arp.build(arp.Arp(arp.REQUEST, MAC, SRC4, bytes(6), DST4))]),
    "ipv4": (
        parse_packet4,
        repair(10),
        [
            packet4(6, tcp_bytes(DATA)),
            packet4(17, bytes(16), more_fragments=True, fragment_offset=64),
            packet4(1, bytes(8), options=b"\x94\x04\0\0" * 3),
        ],
    ),
    "ipv6": (
        parse_packet6,
        leave,
        [
            packet6(6, tcp_bytes(DATA)),
            packet6(0, EXTENSIONS + tcp_bytes(DATA)),
            packet6(44, ipv6.build_fragment(60, 0, True, 7) + EXTENSIONS[-8:] + bytes(16)),
        ],
    ),
    "icmp": (
        icmp.parse,
        repair(2),
        [icmp.build_echo(1, 2, b"data"), icmp.build(3, 4, 1400, packet4(6, tcp_bytes(DATA)))],
    ),
    "icmpv6": (lambda data: icmpv6.parse(data, SRC6, DST6), repair(2, 58), [ECHO6, ERROR6]),
    "ndp": (parse_ndp, repair(2, 58), NDP),
    "igmp": (igmp.parse, repair(2), [igmp.build(message) for message in listened(SRC4)]),
    "mld": (parse_mld, repair(2, 58), [mld.build(message, SRC6, DST6) for message in listened(SRC6)]),
    "udp": (parse_datagram, leave, [udp.build(53, 4000, 12) + bytes(12)]),
    "tcp": (parse_segment, leave, [tcp_bytes(segment) for segment in (SYN, DATA, HOLES, PLAIN)]),
    "dhcp": (parse_dhcp, leave, [dhcp.build(DHCP), dhcp.build(LONG_DHCP)]),
    "dhcp6": (dhcp6.parse, leave, DHCP6),
    "tftp": (tftp.parse, leave, TFTP),
    "ntp": (ntp.parse, leave, [ntp.build(ntp.Packet(ntp.SERVER, stratum=1, transmitted=1 << 63))]),
    "virtio_net": (parse_vnet, leave, [virtio_net.build(1, 1, 54, 1448, 14, 16) + bytes(60)]),
}


def flip_bit(data, rng):
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_byte(data, rng):
    data[rng.randrange(len(data))] = rng.choice(
        (0, 1, 2, 3, 5, 8, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256))
    )


def set_word(data, rng):
    at = rng.randrange(len(data))
    data[at : at + 2] = rng.choice((b"\0\0", b"\0\1", b"\x7f\xff", b"\x80\0", b"\xff\xfe", b"\xff\xff"))


def cut(data, rng):
    del data[rng.randrange(1, len(data) + 1) :]


def lengthen(data, rng):
    data += rng.randbytes(rng.randrange(1, 40))


def copy_slice(data, rng):
    source, target, size = rng.randrange(len(data)), rng.randrange(len(data)), rng.randrange(1, 12)
    data[target : target + size] = data[source : source + size]


CHANGES = (flip_bit, flip_bit, set_byte, set_byte, set_byte, set_word, cut, lengthen, copy_slice)


def mutated(sample, rng):
    data = bytearray(sample)
    for _ in range(rng.randrange(1, 5)):
        rng.choice(CHANGES)(data, rng)
    return data


def refused(name, data, where):
    """Whether the parser refuses `data`; anything but WireError fails the test with what it takes to repeat it."""
    try:
        PARSERS[name][0](memoryview(data))
    except WireError:
        return True
    except Exception as exc:
        pytest.fail(f"{name}: {exc!r} from {bytes(data).hex()} ({where})")
    return False


@pytest.mark.parametrize("name", PARSERS)
def test_valid_inputs_and_every_truncation(name):
    for sample in PARSERS[name][2]:
        assert not refused(name, sample, "valid")
        verdicts = [refused(name, sample[:size], f"cut to {size}") for size in range(len(sample) + 1)]
        # a shorter payload is valid in TCP, a shorter header with fewer words is not; DHCP ends between any two options
        if name not in ("tcp", "dhcp", "dhcp6", "tftp"):
            assert sorted(verdicts, reverse=True) == verdicts


@pytest.mark.parametrize("name", PARSERS)
def test_mutations(name):
    """Half of the mutations have their checksum repaired; a fair part has to get past the first checks."""
    _, repair_checksum, samples = PARSERS[name]
    rng = random.Random(f"{SEED} {name}")
    accepted = 0
    for number in range(MUTATIONS):
        data = mutated(samples[number % len(samples)], rng)
        if number & 1:
            repair_checksum(data)
        accepted += not refused(name, data, f"seed {SEED}, mutation {number}")
    assert MUTATIONS // 50 < accepted < MUTATIONS


@pytest.mark.parametrize("name", PARSERS)
def test_noise(name):
    rng = random.Random(f"{SEED} noise {name}")
    for number in range(2_000):
        refused(name, rng.randbytes(rng.randrange(120)), f"seed {SEED}, noise {number}")


def test_the_same_seed_makes_the_same_mutations():
    sample = PARSERS["tcp"][2][0]
    first, second = random.Random(SEED), random.Random(SEED)
    runs = [[mutated(sample, rng) for _ in range(50)] for rng in (first, second)]
    assert runs[0] == runs[1]
    assert any(one != other for one, other in pairwise(runs[0]))
