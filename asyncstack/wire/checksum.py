"""The Internet checksum (RFC 1071): the 16-bit one's complement sum, and its complement.

    sum16(*buffers) -> int                                     the folded sum, 0 to 0xFFFF
    checksum(*buffers) -> int                                  its complement: what a header field holds
    verify(data, initial=0) -> bool                            data contains its own checksum
    fold(total) -> int                                         any sum of 16-bit words to 16 bits
    pseudo_header_sum(src, dst, protocol, length) -> int       folded, not complemented; both families
    complete(data, start, offset, *more) -> None               finish a partial checksum in place

A buffer is bytes, bytearray or a memoryview of bytes. Several buffers count as one, joined; each may have any
length, the missing byte of an odd total counts as zero.

2**16 is 1 modulo 0xFFFF, so the sum of the 16-bit words of a buffer is the buffer read as one big integer,
modulo 0xFFFF. Where that is 0 the sum is 0 only if every byte is; otherwise it is 0xFFFF.
"""

from __future__ import annotations

from typing import Final

from asyncstack.errors import WireError

Buffer = bytes | bytearray | memoryview

# The remainder costs more per byte than the reading: a large buffer is added up in pieces of this many bytes.
_PIECE: Final = 4096
UDP_CHECKSUM: Final = 6  # where the field lies in a UDP header; TCP has it at 16, ICMP at 2

_from_bytes = int.from_bytes


def fold(total: int) -> int:
    """Add up the carries of `total`, a sum of 16-bit words, until 16 bits are left. Zero only for zero."""
    return (total % 0xFFFF or 0xFFFF) if total else 0


def _word_sum(data: Buffer) -> int:
    """The words of `data` (any sum equal to theirs modulo 0xFFFF), an odd last byte shifted up."""
    length = len(data)
    if length <= _PIECE:
        total = _from_bytes(data, "big")
    else:
        total = 0
        whole = length - length % _PIECE
        for start in range(0, whole, _PIECE):
            total += _from_bytes(data[start : start + _PIECE], "big")
        rest = _from_bytes(data[whole:], "big")
        # the pieces end at even offsets; only the rest may be odd
        return total + (rest << 8 if length & 1 else rest)
    return total << 8 if length & 1 else total


def _total(buffers: tuple[Buffer, ...]) -> int:
    """A sum equal to that of the joined buffers modulo 0xFFFF, and zero only if they are all zero."""
    total = length = 0
    for data in buffers:
        # a buffer that starts at an odd offset has its words swapped: RFC 1071 section 2 (B)
        total += fold(_word_sum(data)) << 8 if length & 1 else fold(_word_sum(data))
        length += len(data)
    return total


def sum16(*buffers: Buffer) -> int:
    """The folded sum of the buffers, not complemented."""
    return fold(_total(buffers))


def checksum(*buffers: Buffer) -> int:
    """The checksum of the buffers: the complement of their folded sum."""
    total = _word_sum(buffers[0]) if len(buffers) == 1 else _total(buffers)
    return -total % 0xFFFF if total else 0xFFFF


def verify(data: Buffer, initial: int = 0) -> bool:
    """Whether `data`, its checksum field included, sums to 0xFFFF together with `initial`.

    `initial` is the pseudo-header sum for a transport header, 0 for IPv4 and ICMPv4.
    """
    total = _word_sum(data) + initial
    return total != 0 and total % 0xFFFF == 0


def pseudo_header_sum(src: bytes, dst: bytes, protocol: int, length: int) -> int:
    """The folded sum of the pseudo-header: RFC 9293 3.1 for 4-byte addresses, RFC 8200 8.1 for 16-byte ones.

    `length`: bytes of transport header and payload. This is what a partial checksum field holds.
    """
    total = _from_bytes(src, "big") + _from_bytes(dst, "big") + protocol + length
    return (total % 0xFFFF or 0xFFFF) if total else 0


def complete(data: bytearray | memoryview, start: int, offset: int, *more: Buffer) -> None:
    """Finish the partial checksum at `start + offset` of the packet `data` + `more`, in place.

    The field holds the pseudo-header sum and lies in `data` (writable); the checksum covers everything from
    `start` on. UDP, known by its offset, has 0xFFFF for a result of 0, which would mean "no checksum" (RFC 768).
    Raises WireError when the field does not lie within `data`.
    """
    field = start + offset
    if start < 0 or offset < 0 or field + 2 > len(data):
        raise WireError(f"checksum field at {start}+{offset} is outside of {len(data)} bytes")
    value = checksum(memoryview(data)[start:], *more)
    if not value and offset == UDP_CHECKSUM:
        value = 0xFFFF
    data[field] = value >> 8
    data[field + 1] = value & 0xFF
