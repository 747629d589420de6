"""Valid frames of every kind that a stack understands, and some that it does not: what mutations start from."""

from __future__ import annotations

import struct

from asyncstack.wire import arp, ethernet, icmp, icmpv6, ipv6, ndp, udp
from asyncstack.wire.tcp import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, Segment
from tests.fuzz.world import (
    ECHO_PORT,
    OURS,
    PORT,
    SCRIPTED,
    SCRIPTED_MAC,
    THEIRS,
    World,
    ip_packet,
    tcp_packet,
    with_checksum,
)

UNKNOWN_PORT = 9
ALL_NODES = bytes.fromhex("ff02000000000000000000000000 0001".replace(" ", ""))
EXTENSIONS = bytes.fromhex(
    "3c00050200000100"  # hop-by-hop: router alert
    "2b011e050000000000010500000000 00".replace(" ", "")  # destination options: an unknown one, PadN
    + "2c02040000000000" + "00" * 16  # routing, no segments left
    + "3c00000012345678"  # an atomic fragment
)  # fmt: skip
LAST_EXTENSION = bytes.fromhex("0000010400000000")  # destination options; the first byte says what follows
STRANGE_OPTIONS = bytes.fromhex(
    "1312" + "aa" * 16  # MD5 (RFC 2385)
    + "220a0102030405060708"  # fast open cookie
    + "fd04f989" + "1e040000" + "0101"  # experimental, multipath
)  # fmt: skip


def segments(port: int, seq: int = 1000, ack: int = 2000) -> list[Segment]:
    """All option kinds and flags, as a peer's port `port` says them to a server."""

    def make(flags: int, payload: bytes = b"", **fields) -> Segment:
        return Segment(port, PORT, seq, ack if flags & ACK else 0, flags, 500, payload, **fields)

    return [
        make(SYN, ts_val=5, mss=1460, window_scale=7, sack_permitted=True),
        make(SYN | ACK, ts_val=5, ts_ecr=6, mss=536, window_scale=0, sack_permitted=True),
        make(ACK | PSH, b"GET / HTTP/1.1\r\n", ts_val=5, ts_ecr=6),
        make(ACK, ts_val=5, ts_ecr=6, sack=((3000, 4000), (5000, 6000), (7000, 8000))),
        make(ACK, sack=((3000, 4000), (5000, 6000), (7000, 8000), (1, 2))),
        make(FIN | ACK, b"bye"),
        make(RST | ACK),
        make(RST),
        make(ACK | URG | PSH, b"urgent", urgent=3),
        make(ACK | ECE | CWR, b"x" * 40, ts_val=5, ts_ecr=6),
    ]


def strange_segment(src: bytes, dst: bytes) -> bytes:
    """A SYN with options that nobody here knows, and a reserved flag."""
    options = STRANGE_OPTIONS[:40]
    header = struct.pack("!HHIIHHHH", 4001, PORT, 9, 0, (20 + len(options)) << 10 | 0x100 | SYN, 100, 0, 0)
    return ip_packet(src, dst, 6, with_checksum(src, dst, 6, header + options, 16))


def datagram(src: bytes, dst: bytes, port: int, payload: bytes, **fields) -> bytes:
    data = udp.build(5353, port, len(payload)) + payload
    return ip_packet(src, dst, 17, with_checksum(src, dst, 17, data, 6), **fields)


def fragments4() -> list[bytes]:
    src, dst = SCRIPTED[0], OURS[0]
    data = with_checksum(src, dst, 17, udp.build(5353, ECHO_PORT, 92) + bytes(range(92)), 6)
    pieces = [(0, data[:48], True), (48, data[48:80], True), (80, data[80:], False)]
    return [
        ip_packet(src, dst, 17, piece, ident=77, dont_fragment=False, more_fragments=more, fragment_offset=at)
        for at, piece, more in pieces
    ]


def fragments6() -> list[bytes]:
    src, dst = SCRIPTED[1], OURS[1]
    data = with_checksum(src, dst, 17, udp.build(5353, ECHO_PORT, 92) + bytes(range(92)), 6)
    pieces = [(0, data[:48], True), (48, data[48:80], True), (80, data[80:], False)]
    return [
        ip_packet(src, dst, 44, ipv6.build_fragment(17, at, more, 77) + piece) for at, piece, more in pieces
    ]


def errors4(quoted: bytes) -> list[bytes]:
    kinds = [(3, 0, 0), (3, 1, 0), (3, 2, 0), (3, 3, 0), (3, 4, 1400), (3, 13, 0), (4, 0, 0), (5, 1, 0),
             (11, 0, 0), (11, 1, 0), (12, 0, 0)]  # fmt: skip
    return [
        ip_packet(SCRIPTED[0], OURS[0], 1, icmp.build(kind, code, rest, quoted)) for kind, code, rest in kinds
    ]


def errors6(quoted: bytes) -> list[bytes]:
    kinds = [(1, 0, 0), (1, 1, 0), (1, 3, 0), (1, 4, 0), (2, 0, 1300), (3, 0, 0), (3, 1, 0), (4, 1, 6)]
    src, dst = SCRIPTED[1], OURS[1]
    return [
        ip_packet(src, dst, 58, icmpv6.build(src, dst, kind, code, rest, quoted))
        for kind, code, rest in kinds
    ]


def discovery() -> list[bytes]:
    group = ndp.solicited_node_multicast(OURS[1])
    records = [
        (SCRIPTED[1], group, ndp.NeighborSolicitation(OURS[1], SCRIPTED_MAC)),
        (THEIRS[1], OURS[1], ndp.NeighborSolicitation(OURS[1])),
        (bytes(16), group, ndp.NeighborSolicitation(OURS[1])),
        (SCRIPTED[1], OURS[1], ndp.NeighborAdvertisement(SCRIPTED[1], SCRIPTED_MAC, False, True, True)),
        (SCRIPTED[1], ALL_NODES, ndp.NeighborAdvertisement(SCRIPTED[1], SCRIPTED_MAC, override=True)),
        (SCRIPTED[1], ndp.ALL_ROUTERS, ndp.RouterSolicitation(SCRIPTED_MAC)),
        (
            SCRIPTED[1],
            ALL_NODES,
            ndp.RouterAdvertisement(1800, 64, prefixes=[ndp.Prefix(OURS[1], 64)], mtu=1400),
        ),
    ]
    return [ip_packet(src, dst, 58, ndp.build(r, src, dst), hop_limit=255) for src, dst, r in records]


def packets4(live: list[bytes]) -> list[bytes]:
    src, dst = SCRIPTED[0], OURS[0]
    tcp = [tcp_packet(src, dst, segment) for segment in segments(4000)]
    echo = icmp.build_echo(1, 2, b"ping" * 6)
    return [
        *tcp,
        strange_segment(src, dst),
        ip_packet(src, dst, 6, tcp[0][20:], options=b"\x94\x04\0\0" + b"\x07\x0b\x04" + bytes(9), tos=0xB8),
        ip_packet(src, dst, 1, echo),
        ip_packet(src, dst, 1, icmp.build_echo(1, 2, b"pong", reply=True)),
        ip_packet(src, dst, 1, icmp.build(13, 0, 0, bytes(12))),
        ip_packet(src, b"\xff\xff\xff\xff", 1, echo),
        ip_packet(src, b"\xe0\0\0\1", 1, echo),
        datagram(src, dst, ECHO_PORT, b"echo this"),
        datagram(src, dst, UNKNOWN_PORT, b"nobody"),
        datagram(src, b"\x0a\0\0\xff", ECHO_PORT, b"to all"),
        ip_packet(src, dst, 17, udp.build(5353, ECHO_PORT, 6) + b"no sum"),
        ip_packet(src, dst, 47, bytes(16)),
        ip_packet(src, dst, 2, b"\x11\0\xee\xff\0\0\0\0"),
        *fragments4(),
        *(packet for packet in errors4((live[0] if live else tcp[2])[:48])),
    ]


def packets6(live: list[bytes]) -> list[bytes]:
    src, dst = SCRIPTED[1], OURS[1]
    tcp = [tcp_packet(src, dst, segment) for segment in segments(4000)]
    chained = EXTENSIONS + b"\x06" + LAST_EXTENSION[1:] + tcp[2][40:]
    return [
        *tcp,
        strange_segment(src, dst),
        ip_packet(src, dst, 0, chained),
        ip_packet(src, dst, 58, icmpv6.build_echo(src, dst, 1, 2, b"ping" * 6)),
        ip_packet(src, dst, 58, icmpv6.build_echo(src, dst, 1, 2, b"pong", reply=True)),
        ip_packet(src, ALL_NODES, 58, icmpv6.build_echo(src, ALL_NODES, 1, 2, b"all")),
        ip_packet(src, dst, 58, icmpv6.build(src, dst, 130, 0, 0, bytes(16))),
        datagram(src, dst, ECHO_PORT, b"echo this"),
        datagram(src, dst, UNKNOWN_PORT, b"nobody"),
        ip_packet(src, dst, 17, udp.build(5353, ECHO_PORT, 6) + b"no sum"),
        ip_packet(src, dst, 59, b""),
        ip_packet(src, dst, 132, bytes(16)),
        *fragments6(),
        *errors6((live[1] if len(live) > 1 else tcp[2])[:88]),
        *discovery(),
    ]


def arp_packets() -> list[bytes]:
    mac, them, us = SCRIPTED_MAC, SCRIPTED[0], OURS[0]
    return [
        arp.build(arp.Arp(arp.REQUEST, mac, them, bytes(6), us)),
        arp.build(arp.Arp(arp.REPLY, mac, them, mac, us)),
        arp.build(arp.Arp(arp.REQUEST, mac, them, bytes(6), them)),  # gratuitous
        arp.build(arp.Arp(arp.REQUEST, mac, bytes(4), bytes(6), us)),  # a probe
        arp.build(arp.Arp(arp.REPLY, mac, us, mac, us)),  # a claim to our address
        arp.build(arp.Arp(3, mac, them, mac, us)),
    ]


def link_frames(world: World) -> list[bytes]:
    """What is Ethernet's own."""
    if not world.ethernet:
        return []
    head = ethernet.build(world.mac, SCRIPTED_MAC, 0x0806)
    every = ethernet.build(ethernet.BROADCAST, SCRIPTED_MAC, 0x0806)
    frames = [head + packet for packet in arp_packets()] + [every + packet for packet in arp_packets()]
    tagged = ethernet.build(world.mac, SCRIPTED_MAC, 0x8100) + b"\0\5\x08\0"
    frames.append(tagged + ip_packet(SCRIPTED[0], OURS[0], 1, icmp.build_echo(1, 2, b"vlan")))
    frames.append(ethernet.build(world.mac, SCRIPTED_MAC, 60) + bytes(60))
    frames.append(ethernet.build(world.mac, SCRIPTED_MAC, 0x88CC) + bytes(46))
    return frames


def corpus(world: World, live: list[bytes] | None = None) -> list[bytes]:
    """Frames for `world`, without virtio-net headers. `live`: what ICMP errors quote, a packet for each family."""
    packets = packets4(live or []) + packets6(live or [])
    return [world.frame(packet) for packet in packets] + link_frames(world)
