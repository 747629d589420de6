"""Whole IP packets: script lines to bytes, and bytes of ours to what can be held against a line."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from asyncstack.testing.packetdrill.tcp_options import Words, decode_options, encode_options
from asyncstack.wire.checksum import checksum, verify
from asyncstack.wire.checksum import pseudo_header_sum as pseudo

TCP: Final = 6
UDP: Final = 17
ICMP: Final = {4: 1, 6: 58}

LETTERS: Final = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "W": 128, "C": 128, "A": 256}
_ORDER: Final = "SFRPUEWA."

_TCP = struct.Struct("!HHIIHHHH")


@dataclass(slots=True)
class Tuple4:
    """Addresses and ports of a packet, from its sender."""

    src: bytes
    src_port: int
    dst: bytes
    dst_port: int

    def reverse(self) -> Tuple4:
        """Those of an answer."""
        return Tuple4(self.dst, self.dst_port, self.src, self.src_port)


@dataclass(slots=True)
class Seen:
    """A packet that the stack sent, read. Numbers are those on the wire until flow.py maps them."""

    time: float
    ends: Tuple4
    protocol: int
    tos: int
    ttl: int
    flow_label: int
    payload: bytes
    flags: int = 0
    seq: int = 0
    ack: int = 0
    window: int = 0
    urgent: int = 0
    options: list[Words] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # wrong checksums and lengths
    full: bool = False  # a whole segment, or several that were glued to one

    @property
    def length(self) -> int:
        """Payload bytes."""
        return len(self.payload)


def flag_letters(flags: int) -> str:
    """The flags as a script writes them; "-" for none."""
    return "".join(letter for letter in _ORDER if flags & LETTERS[letter]) or "-"


def flag_bits(letters: str, ace: int | None) -> int:
    """The bits of `letters` and of the AccECN counter `ace` (RFC 9768: AE is its highest bit)."""
    bits = sum({LETTERS[letter] for letter in letters})
    if ace is not None:
        bits |= (ace & 4) << 6 | (ace & 2) << 6 | (ace & 1) << 6
    return bits


# build


def build_ip(
    ends: Tuple4, protocol: int, payload: bytes, *, tos: int = 0, ttl: int = 255, flow: int = 0
) -> bytes:
    """An IP packet around `payload`."""
    if len(ends.src) == 16:
        first = 6 << 28 | tos << 20 | flow
        return struct.pack("!IHBB", first, len(payload), protocol, ttl) + ends.src + ends.dst + payload
    header = (
        struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(payload), 0, 0, ttl, protocol, 0) + ends.src + ends.dst
    )
    total = checksum(header).to_bytes(2, "big")
    return header[:10] + total + header[12:] + payload


def build_tcp(
    ends: Tuple4,
    *,
    flags: int,
    seq: int,
    ack: int,
    window: int,
    urgent: int = 0,
    options: list[Words] | None = None,
    sack_offset: int = 0,
    length: int = 0,
) -> bytes:
    """A segment with its checksum and `length` bytes of payload, all zero."""
    block = encode_options(options or [], sack_offset)
    offset = (20 + len(block)) >> 2
    header = _TCP.pack(
        ends.src_port,
        ends.dst_port,
        seq & 0xFFFFFFFF,
        ack & 0xFFFFFFFF,
        offset << 12 | flags,
        window,
        0,
        urgent,
    )
    segment = header + block + bytes(length)
    total = _sum(ends, TCP, segment)
    return segment[:16] + total.to_bytes(2, "big") + segment[18:]


def build_udp(ends: Tuple4, length: int) -> bytes:
    """A datagram with its checksum and `length` bytes of payload, all zero."""
    datagram = struct.pack("!HHHH", ends.src_port, ends.dst_port, 8 + length, 0) + bytes(length)
    return datagram[:6] + (_sum(ends, UDP, datagram) or 0xFFFF).to_bytes(2, "big") + datagram[8:]


def build_icmp(ends: Tuple4, kind: int, code: int, rest: int, quoted: bytes) -> bytes:
    """An ICMP message of the family of `ends`."""
    message = struct.pack("!BBHI", kind, code, 0, rest) + quoted
    total = checksum(message) if len(ends.src) == 4 else _sum(ends, ICMP[6], message)
    return message[:2] + total.to_bytes(2, "big") + message[4:]


def _sum(ends: Tuple4, protocol: int, data: bytes) -> int:
    # any even place will do for the sum of the pseudo-header
    return checksum(pseudo(ends.src, ends.dst, protocol, len(data)).to_bytes(2, "big"), data)


# read


def read_packet(data: bytes, time: float) -> Seen:
    """What the stack sent at `time`."""
    faults: list[str] = []
    if data[0] >> 4 == 4:
        header = (data[0] & 15) << 2
        tos, total, ttl, protocol = data[1], int.from_bytes(data[2:4], "big"), data[8], data[9]
        src, dst, flow = data[12:16], data[16:20], 0
        if not verify(memoryview(data)[:header]):
            faults.append("IPv4 header checksum")
    else:
        header = 40
        first, length, protocol, ttl = struct.unpack_from("!IHBB", data)
        tos, flow, total = first >> 20 & 0xFF, first & 0xFFFFF, 40 + length
        src, dst = data[8:24], data[24:40]
    if total != len(data):
        faults.append(f"IP length {total} of {len(data)} bytes")
    body = data[header:]
    if protocol in (TCP, UDP, 58) and not verify(body, pseudo(src, dst, protocol, len(body))):
        faults.append({TCP: "TCP checksum", UDP: "UDP checksum"}.get(protocol, "ICMPv6 checksum"))
    seen = Seen(time, Tuple4(src, 0, dst, 0), protocol, tos, ttl, flow, body, faults=faults)
    if protocol == TCP:
        _read_tcp(seen, body)
    elif protocol == UDP:
        seen.ends.src_port, seen.ends.dst_port = struct.unpack_from("!HH", body)
        seen.payload = body[8:]
    return seen


def _read_tcp(seen: Seen, body: bytes) -> None:
    ends = seen.ends
    ends.src_port, ends.dst_port, seen.seq, seen.ack, word, seen.window, _, seen.urgent = _TCP.unpack_from(
        body
    )
    size = word >> 10 & 0x3C
    seen.flags = word & 0x1FF
    if word & 0xE00:
        seen.faults.append(f"reserved bits {word >> 9 & 7:03b}")
    seen.options = decode_options(body[20:size])
    seen.payload = body[size:]
