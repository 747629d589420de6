"""How valid frames become hostile ones: at random, and by fields; and how their checksums are made right again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz.dissect import ones_sum

Rng = random.Random
EDGES = (0, 1, 2, 3, 4, 5, 8, 0x3F, 0x7F, 0x80, 0xFE, 0xFF)
LONG_EDGES = (0, 1, 7, 8, 19, 20, 0x7FFF, 0x8000, 0xFFF8, 0xFFFE, 0xFFFF)
CHECKSUM_AT = {1: 2, 58: 2, 6: 16, 17: 6}

# (offset, size) of the fields of each header
IPV4_FIELDS = ((0, 1), (1, 1), (2, 2), (4, 2), (6, 2), (6, 2), (8, 1), (9, 1), (10, 2), (12, 4), (16, 4))
IPV6_FIELDS = ((0, 1), (1, 1), (4, 2), (4, 2), (6, 1), (6, 1), (7, 1), (8, 16), (24, 16))
TCP_FIELDS = ((0, 2), (2, 2), (4, 4), (8, 4), (12, 1), (12, 1), (13, 1), (13, 1), (14, 2), (16, 2), (18, 2))
UDP_FIELDS = ((0, 2), (2, 2), (4, 2), (4, 2), (6, 2))
ICMP_FIELDS = ((0, 1), (1, 1), (2, 2), (4, 2), (6, 2), (6, 2))
ARP_FIELDS = ((0, 2), (2, 2), (4, 1), (5, 1), (6, 2), (8, 6), (14, 4), (18, 6), (24, 4))
ETHERNET_FIELDS = ((0, 6), (6, 6), (12, 2))
TRANSPORT_FIELDS = {6: TCP_FIELDS, 17: UDP_FIELDS, 1: ICMP_FIELDS, 58: ICMP_FIELDS}


@dataclass(slots=True)
class Layout:
    """Where the headers are; -1 for none. `protocol` is the transport's."""

    network: int = -1
    version: int = 0
    transport: int = -1
    protocol: int = -1


def layout(frame: bytes | bytearray, link: int) -> Layout:
    """Best effort: `link` bytes of Ethernet header, then what the fields say."""
    if len(frame) < link + 20:
        return Layout()
    version = frame[link] >> 4
    if version == 4:
        return Layout(link, 4, link + (frame[link] & 15) * 4, frame[link + 9])
    if version != 6 or len(frame) < link + 40:
        return Layout()
    at, protocol = link + 40, frame[link + 6]
    for _ in range(8):
        if protocol not in (0, 43, 44, 60) or at + 2 > len(frame):
            break
        size = 8 if protocol == 44 else (frame[at + 1] + 1) * 8
        protocol, at = frame[at], at + size
    return Layout(link, 6, at, protocol)


def repair(frame: bytearray, link: int) -> None:
    """Make the checksums right, as far as the headers say where they are."""
    where = layout(frame, link)
    if where.network < 0:
        return
    network, at = where.network, where.transport
    if where.version == 4:
        end = network + int.from_bytes(frame[network + 2 : network + 4], "big")
        if 20 <= at - network <= len(frame) - network:
            frame[network + 10 : network + 12] = b"\0\0"
            frame[network + 10 : network + 12] = (0xFFFF - ones_sum(bytes(frame[network:at]))).to_bytes(
                2, "big"
            )
        addresses = bytes(frame[network + 12 : network + 20])
    else:
        end = network + 40 + int.from_bytes(frame[network + 4 : network + 6], "big")
        addresses = bytes(frame[network + 8 : network + 40])
    end = min(end, len(frame))
    field = CHECKSUM_AT.get(where.protocol)
    if where.protocol == 17 and at + 8 <= end:
        end = min(end, at + int.from_bytes(frame[at + 4 : at + 6], "big"))
    if field is None or at + field + 2 > end:
        return
    frame[at + field : at + field + 2] = b"\0\0"
    data = bytes(frame[at:end])
    pseudo = (
        b"" if where.protocol == 1 else addresses + bytes((0, where.protocol)) + len(data).to_bytes(2, "big")
    )
    frame[at + field : at + field + 2] = (0xFFFF - ones_sum(pseudo + data)).to_bytes(2, "big")


def repair_lengths(frame: bytearray, link: int) -> None:
    """Let the length fields say how long the frame is."""
    if len(frame) >= link + 20 and frame[link] >> 4 == 4:
        frame[link + 2 : link + 4] = (min(len(frame) - link, 0xFFFF)).to_bytes(2, "big")
    elif len(frame) >= link + 40 and frame[link] >> 4 == 6:
        frame[link + 4 : link + 6] = min(len(frame) - link - 40, 0xFFFF).to_bytes(2, "big")
    where = layout(frame, link)
    if where.protocol == 17 and 0 <= where.transport <= len(frame) - 8:
        length = len(frame) - where.transport
        frame[where.transport + 4 : where.transport + 6] = min(length, 0xFFFF).to_bytes(2, "big")


# at random


def flip_bit(data: bytearray, rng: Rng) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_byte(data: bytearray, rng: Rng) -> None:
    data[rng.randrange(len(data))] = rng.choice(EDGES)


def set_word(data: bytearray, rng: Rng) -> None:
    at = rng.randrange(len(data))
    data[at : at + 2] = rng.choice(LONG_EDGES).to_bytes(2, "big")


def cut(data: bytearray, rng: Rng) -> None:
    del data[rng.randrange(1, len(data) + 1) :]


def lengthen(data: bytearray, rng: Rng) -> None:
    data += rng.randbytes(rng.choice((1, 2, 8, 40, 400)))


def copy_slice(data: bytearray, rng: Rng) -> None:
    source, target, size = rng.randrange(len(data)), rng.randrange(len(data)), rng.randrange(1, 12)
    data[target : target + size] = data[source : source + size]


RANDOM: tuple[Callable[[bytearray, Rng], None], ...] = (
    flip_bit, flip_bit, flip_bit, set_byte, set_byte, set_word, cut, lengthen, copy_slice,
)  # fmt: skip


# by fields


def edit_field(data: bytearray, rng: Rng, link: int) -> None:
    """Give one field of one header a value at the edge, near to what it was, or any."""
    where = layout(data, link)
    choices = []
    if link:
        choices.append((0, ETHERNET_FIELDS))
        if data[12:14] == b"\x08\x06":
            choices += [(link, ARP_FIELDS)] * 4
    if where.network >= 0:
        choices.append((where.network, IPV4_FIELDS if where.version == 4 else IPV6_FIELDS))
        fields = TRANSPORT_FIELDS.get(where.protocol)
        if fields is not None:
            choices += [(where.transport, fields)] * 2
    if not choices:
        flip_bit(data, rng)
        return
    base, fields = rng.choice(choices)
    at, size = rng.choice(fields)
    at += base
    old = int.from_bytes(data[at : at + size], "big")
    how = rng.random()
    if how < 0.4:
        new = rng.choice(EDGES if size == 1 else LONG_EDGES)
    elif how < 0.7:
        new = old + rng.choice((-9, -8, -1, 1, 8, 9))
    else:
        new = rng.getrandbits(size * 8)
    if at + size <= len(data):
        data[at : at + size] = (new & (1 << size * 8) - 1).to_bytes(size, "big")


def edit_extension(data: bytearray, rng: Rng, link: int) -> None:
    """Between the IP header and the transport: options of IPv4, extension headers of IPv6."""
    where = layout(data, link)
    first = link + (20 if where.version == 4 else 40)
    if where.network >= 0 and where.transport > first and len(data) > first:
        at = rng.randrange(first, min(where.transport, len(data)))
        data[at] = rng.choice(EDGES)
    else:
        set_byte(data, rng)


def option_soup(rng: Rng) -> bytes:
    """TCP options: right ones, wrong ones, with lengths that lie; at most 40 bytes, a multiple of 4."""
    options = b""
    while len(options) < 36 and rng.random() < 0.8:
        kind = rng.choice((0, 1, 1, 2, 3, 4, 5, 5, 8, 8, 19, 28, 30, 34, rng.randrange(256)))
        right = {2: 4, 3: 3, 4: 2, 5: rng.choice((10, 18, 26, 34)), 8: 10}.get(kind, 2 + rng.randrange(8))
        if kind < 2:
            options += bytes((kind,))
            continue
        length = right if rng.random() < 0.7 else rng.choice((0, 1, 2, 3, 9, 10, 11, 40, 255))
        options += bytes((kind, length)) + rng.randbytes(max(right - 2, 0))
    options = options[:40]
    return options + rng.choice((b"\0", b"\1")) * (-len(options) % 4)


def edit_options(data: bytearray, rng: Rng, link: int) -> None:
    """Other TCP options, with the data offset that fits, or nearly."""
    where = layout(data, link)
    at = where.transport
    if where.protocol != 6 or len(data) < at + 20:
        flip_bit(data, rng)
        return
    header = max((data[at + 12] >> 4) * 4, 20)
    soup = option_soup(rng)
    data[at + 20 : at + header] = soup
    words = 5 + len(soup) // 4
    if rng.random() < 0.1:
        words = rng.randrange(16)
    data[at + 12] = (words & 15) << 4 | data[at + 12] & 15
    repair_lengths(data, link)


def splice(one: bytes, other: bytes, rng: Rng) -> bytearray:
    """The front of a frame and the end of another."""
    return bytearray(one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :])


def mutate(frame: bytes, corpus: list[bytes], rng: Rng, link: int) -> bytearray:
    """Change `frame` in one to four ways; never empty."""
    data = bytearray(frame)
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        how = rng.random()
        if how < 0.35:
            rng.choice(RANDOM)(data, rng)
        elif how < 0.75:
            edit_field(data, rng, link)
        elif how < 0.8:
            edit_extension(data, rng, link)
        elif how < 0.9:
            edit_options(data, rng, link)
        elif how < 0.95:
            data = splice(bytes(data), rng.choice(corpus), rng)
        else:
            repair_lengths(data, link)
        if not data:
            data = bytearray(b"\0")
    return data


def vnet_header(rng: Rng, packet: bytes, plain: float) -> bytes:
    """A virtio-net header: one that says nothing with probability `plain`, else any."""
    if rng.random() < plain:
        return bytes(10)
    flags = rng.choice((0, 0, 1, 1, 2, 3, 4, rng.randrange(256)))
    kind = rng.choice((0, 1, 3, 4, 5, 0x81, 0x84, rng.randrange(256)))
    size = len(packet)
    numbers = (0, 1, 2, 14, 16, 20, 34, 40, 54, size - 2, size - 1, size, size + 1, 1448, 0x7FFF, 0xFFFF)
    fields = b"".join(max(rng.choice(numbers), 0).to_bytes(2, "little") for _ in range(4))
    return bytes((flags, kind)) + fields
