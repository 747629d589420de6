"""What is in a frame, found out without `asyncstack.wire`: the oracle must not share the mistakes of what it judges.

It is lenient where a stack may be strict (extension headers, options): it says what a frame may do, not what it must.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
IPV4, IPV6 = 0x0800, 0x86DD
WALKED = 12  # IPv6 extension headers; more than any stack takes

Key = tuple[bytes, int, bytes, int]  # of the receiver's connection: its address and port, the sender's


@dataclass(slots=True)
class Tcp:
    key: Key
    seq: int
    ack: int
    flags: int
    window: int
    payload: bytes
    ts_val: int  # -1: no timestamps option
    scale: int = -1


@dataclass(slots=True)
class Error:
    """An ICMP error. `key` is that of the connection whose segment it quotes."""

    version: int
    type: int
    code: int
    key: Key
    protocol: int
    seq: int


@dataclass(slots=True)
class Fragment:
    flow: tuple[bytes, bytes, int, int]
    offset: int
    payload: bytes


@dataclass(slots=True)
class Found:
    """At most one of these is set; nothing for what no host should act upon."""

    tcp: Tcp | None = None
    udp: tuple[Key, bytes] | None = None
    error: Error | None = None
    fragment: Fragment | None = None


@dataclass(slots=True)
class Ip:
    src: bytes
    dst: bytes
    protocol: int
    payload: bytes
    headers: bytes = field(repr=False, default=b"")


def ones_sum(data: bytes) -> int:
    """RFC 1071, word by word."""
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def transport_sum(ip: Ip, data: bytes) -> int:
    pseudo = ip.src + ip.dst + struct.pack("!IHH", len(data), 0, ip.protocol)
    return ones_sum(pseudo + data)


def ethernet_payload(frame: bytes) -> tuple[int, bytes]:
    if len(frame) < 14:
        return 0, b""
    return int.from_bytes(frame[12:14], "big"), frame[14:]


def dissect(frame: bytes, *, mac: bytes = b"", trusted: bool = False) -> Found:
    """`mac`: ours, on an Ethernet. `trusted`: the virtio-net header vouches for the transport checksum."""
    if mac:
        if frame[:6] != mac:
            return Found()  # to a group no segment, error or datagram for one host (RFC 1122 3.3.6)
        kind, data = ethernet_payload(frame)
        if kind != (IPV4 if data[:1] and data[0] >> 4 == 4 else IPV6):
            return Found()
    else:
        data = frame
    if not data:
        return Found()
    if data[0] >> 4 == 4:
        return _ipv4(data, trusted)
    return _ipv6(data, trusted) if data[0] >> 4 == 6 else Found()


def _ipv4(data: bytes, trusted: bool) -> Found:
    if len(data) < 20:
        return Found()
    header = (data[0] & 15) * 4
    total, ident, fragment = struct.unpack("!2xHHH", data[:8])
    if header < 20 or not header <= total <= len(data) or ones_sum(data[:header]) != 0xFFFF:
        return Found()
    ip = Ip(data[12:16], data[16:20], data[9], data[header:total])
    if fragment & 0x3FFF:
        flow = (ip.src, ip.dst, ip.protocol, ident)
        return Found(fragment=Fragment(flow, (fragment & 0x1FFF) * 8, ip.payload))
    return transport(ip, trusted)


def _ipv6(data: bytes, trusted: bool) -> Found:
    if len(data) < 40:
        return Found()
    length, protocol = struct.unpack("!4xHB", data[:7])
    if 40 + length > len(data):
        return Found()
    ip = Ip(data[8:24], data[24:40], protocol, data[40 : 40 + length])
    for _ in range(WALKED):
        rest = ip.payload
        if ip.protocol == 44:
            if len(rest) < 8:
                return Found()
            offset, ident = struct.unpack("!2xHI", rest[:8])
            ip.protocol, ip.payload = rest[0], rest[8:]
            if offset & 0xFFF9:
                return Found(fragment=Fragment((ip.src, ip.dst, 0, ident), offset & 0xFFF8, ip.payload))
        elif ip.protocol in (0, 43, 60):
            if len(rest) < 8 or (rest[1] + 1) * 8 > len(rest) or (ip.protocol == 43 and rest[3]):
                return Found()
            ip.protocol, ip.payload = rest[0], rest[(rest[1] + 1) * 8 :]
        else:
            return transport(ip, trusted)
    return Found()


def transport(ip: Ip, trusted: bool) -> Found:
    if ip.protocol == TCP:
        return Found(tcp=_tcp(ip, trusted))
    if ip.protocol == UDP:
        return Found(udp=_udp(ip, trusted))
    if (ip.protocol == ICMP and len(ip.src) == 4) or (ip.protocol == ICMPV6 and len(ip.src) == 16):
        return Found(error=_error(ip, trusted))
    return Found()


def _tcp(ip: Ip, trusted: bool) -> Tcp | None:
    data = ip.payload
    if len(data) < 20:
        return None
    sport, dport, seq, ack, offset, flags, window = struct.unpack("!HHIIBBH", data[:16])
    header = (offset >> 4) * 4
    if not 20 <= header <= len(data):
        return None
    if not trusted and transport_sum(ip, data) != 0xFFFF:
        return None
    ts_val, scale = _options(data[20:header])
    return Tcp((ip.dst, dport, ip.src, sport), seq, ack, flags, window, data[header:], ts_val, scale)


def _options(data: bytes) -> tuple[int, int]:
    ts_val = scale = -1
    while len(data) > 1 and data[0]:
        if data[0] == 1:
            data = data[1:]
            continue
        size = data[1]
        if size < 2 or size > len(data):
            break
        if data[0] == 8 and size == 10:
            ts_val = int.from_bytes(data[2:6], "big")
        elif data[0] == 3 and size == 3:
            scale = data[2]
        data = data[size:]
    return ts_val, scale


def _udp(ip: Ip, trusted: bool) -> tuple[Key, bytes] | None:
    data = ip.payload
    if len(data) < 8:
        return None
    sport, dport, length, checksum = struct.unpack("!HHHH", data[:8])
    if not 8 <= length <= len(data):
        return None
    data = data[:length]
    if not trusted and not (checksum == 0 and len(ip.src) == 4) and transport_sum(ip, data) != 0xFFFF:
        return None
    return (ip.dst, dport, ip.src, sport), data[8:]


def _error(ip: Ip, trusted: bool) -> Error | None:
    data = ip.payload
    if len(data) < 8:
        return None
    version = 4 if ip.protocol == ICMP else 6
    if not trusted and (ones_sum(data) if version == 4 else transport_sum(ip, data)) != 0xFFFF:
        return None
    quoted = data[8:]
    start = 40
    if version == 4:
        if len(quoted) < 20:
            return None
        start = (quoted[0] & 15) * 4
        src, dst, protocol = quoted[12:16], quoted[16:20], quoted[9]
    else:
        if len(quoted) < 40:
            return None
        src, dst, protocol = quoted[8:24], quoted[24:40], quoted[6]
        if protocol == 44 and len(quoted) > 48:
            protocol, start = quoted[40], 48
    head = quoted[start : start + 8]
    if len(head) < 8:
        return None
    sport, dport, seq = struct.unpack("!HHI", head)
    return Error(version, data[0], data[1], (src, sport, dst, dport), protocol, seq)
