"""The TCP header (RFC 9293 3.1, RFC 9768 3.1 for the AE flag) and its options (RFC 9293 3.2, 2018, 7323, 7413, 9768).

parse(data: memoryview) -> Segment
build(segment: Segment, checksum: int) -> bytes        header with options, the checksum field set as given
build_partial(segment: Segment, pseudo: int) -> bytes  the same with a partial checksum

`Segment` is the one record for both directions. The checksum needs the pseudo-header:
`checksum.verify(data, pseudo_header_sum(src, dst, 6, len(data)))`.

Handshake options (MSS, window scale, SACK permitted, Fast Open) live on SYN segments: build writes them and parse
reads them only there. Options leave in the order that Linux uses: MSS, SACK permitted, timestamps, AccECN, window
scale, SACK, Fast Open.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from asyncstack.errors import WireError

PROTOCOL: Final = 6
HEADER_SIZE: Final = 20
CHECKSUM_OFFSET: Final = 16
MAX_OPTIONS: Final = 40
MAX_WINDOW_SCALE: Final = 14  # RFC 7323 2.3

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80
AE: Final = 0x100  # RFC 9768; NS of RFC 3540 before

# option kinds
_END: Final = 0
_NOP: Final = 1
_MSS: Final = 2
_WINDOW_SCALE: Final = 3
_SACK_PERMITTED: Final = 4
_SACK: Final = 5
_TIMESTAMPS: Final = 8
_FAST_OPEN: Final = 34  # RFC 7413 4.1.1
_ACCECN0: Final = 172  # RFC 9768 3.2.3
_ACCECN1: Final = 174
_EXPERIMENT: Final = 254  # RFC 6994
_FAST_OPEN_MAGIC: Final = b"\xf9\x89"  # RFC 7413 appendix: before kind 34 was assigned

_COOKIES: Final = (0, 4, 6, 8, 10, 12, 14, 16)  # lengths of Fast Open cookies, bytes; 0 asks for one
_NOPS: Final = (b"", b"\1\1\1", b"\1\1", b"\1")  # by size & 3: what makes it a multiple of 4

_NOP_NOP_TIMESTAMPS: Final = 0x0101080A  # RFC 7323 appendix A: how nearly every sender lays them out
# kind and length of the options of most SYNs, in this order: MSS, SACK permitted, timestamps, NOP and window scale
_SYN_LAYOUT: Final = (0x0204, 0x0402, 0x080A, 0x0103, 3)

_HEADER = struct.Struct("!HHIIHHHH")
_HEADER_TIMESTAMPS = struct.Struct("!HHIIHHHHIII")
_TIMESTAMPS_BLOCK = struct.Struct("!III")
_SYN_BLOCK = struct.Struct("!HHHHIIHBB")
_PAIR = struct.Struct("!II")
_unpack_header = _HEADER.unpack_from
_unpack_timestamps = _TIMESTAMPS_BLOCK.unpack_from
_unpack_pair = _PAIR.unpack_from
_pack_header = _HEADER.pack
_pack_header_timestamps = _HEADER_TIMESTAMPS.pack


@dataclass(slots=True)
class Segment:
    """A segment, received or to be sent. `seq`, `ack` and timestamps are raw 32-bit numbers.

    `window` is the field, unscaled. An absent option is `ts_val` -1, `window_scale` -1, `mss` 0, `sack` ().
    `sack` holds (left edge, right edge) pairs in the order of the wire. `gso_size` not 0: this is a
    super-segment, cut below us into pieces of that many payload bytes. `checksum` is the field as received.

    `ecn` is the codepoint of the IP header around it (RFC 3168 5): 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE; `parse` does
    not see it. `fast_open` is a Fast Open cookie, b"" asks for one; `experimental`: its option has the form from
    before kind 34. `accecn` holds the order (0 or 1) and up to three 24-bit counters as the option has them: e0b, ceb,
    e1b in order 0, e1b, ceb, e0b in order 1.
    """

    src_port: int
    dst_port: int
    seq: int
    ack: int
    flags: int
    window: int
    payload: bytes | memoryview = b""
    ts_val: int = -1
    ts_ecr: int = 0
    sack: tuple[tuple[int, int], ...] = ()
    mss: int = 0
    window_scale: int = -1
    sack_permitted: bool = False
    urgent: int = 0
    gso_size: int = 0
    checksum: int = 0
    ecn: int = 0
    fast_open: bytes | None = None
    accecn: tuple[int, ...] | None = None
    experimental: bool = False


def parse(data: memoryview) -> Segment:
    """The segment in `data`, which starts at the TCP header and ends where the IP packet ends.

    Raises WireError when the data offset is below 5 or past the end. Broken options do not make a segment
    invalid: what comes before the break counts, as in Linux. Unknown options are skipped.
    """
    size = len(data)
    if size < 20:
        raise WireError(f"TCP: {size} bytes, a header has 20")
    src_port, dst_port, seq, ack, offset_flags, window, checksum, urgent = _unpack_header(data)
    header = offset_flags >> 10 & 0x3C
    if not 20 <= header <= size:
        raise WireError(f"TCP: data offset {header}, {size} bytes received")
    ts_val, ts_ecr, options = -1, 0, header > 20
    if header == 32:
        layout, value, echo = _unpack_timestamps(data, 20)
        if layout == _NOP_NOP_TIMESTAMPS:
            ts_val, ts_ecr, options = value, echo, False
    segment = Segment(
        src_port,
        dst_port,
        seq,
        ack,
        offset_flags & 0x1FF,
        window,
        data[header:] if size > header else b"",
        ts_val,
        ts_ecr,
        (),
        0,
        -1,
        False,
        urgent,
        0,
        checksum,
    )
    if options and not (header == 40 and offset_flags & SYN and _parse_syn_block(data, segment)):
        _parse_options(bytes(data[20:header]), segment)
    return segment


def _parse_syn_block(data: memoryview, segment: Segment) -> bool:
    """Take the options of a SYN that has them as most do. False: it has not."""
    a, mss, b, c, ts_val, ts_ecr, d, e, scale = _SYN_BLOCK.unpack_from(data, 20)
    if (a, b, c, d, e) != _SYN_LAYOUT:
        return False
    segment.mss, segment.sack_permitted = mss, True
    segment.ts_val, segment.ts_ecr = ts_val, ts_ecr
    segment.window_scale = min(scale, MAX_WINDOW_SCALE)
    return True


def _parse_options(options: bytes, segment: Segment) -> None:
    at, end = 0, len(options)
    while at < end:
        kind = options[at]
        if kind == _NOP:
            at += 1
            continue
        if kind == _END or at + 1 >= end:
            return
        length = options[at + 1]
        if length < 2 or at + length > end:
            return
        _parse_option(kind, options[at + 2 : at + length], segment)
        at += length


def _parse_option(kind: int, value: bytes, segment: Segment) -> None:
    length = len(value)
    if kind == _TIMESTAMPS:
        if length == 8:
            segment.ts_val, segment.ts_ecr = _unpack_pair(value)
    elif kind == _SACK:
        if length and length % 8 == 0:
            segment.sack = tuple(_PAIR.iter_unpack(value))
    elif kind in (_ACCECN0, _ACCECN1):
        # RFC 9768 3.2.3: of another length, the whole fields that fit count
        counters = [int.from_bytes(value[at : at + 3], "big") for at in range(0, min(length, 9) - 2, 3)]
        segment.accecn = (int(kind == _ACCECN1), *counters)
    elif not segment.flags & SYN:
        return
    elif kind == _MSS:
        if length == 2:
            segment.mss = value[0] << 8 | value[1]
    elif kind == _WINDOW_SCALE:
        if length == 1:
            segment.window_scale = min(value[0], MAX_WINDOW_SCALE)
    elif kind == _SACK_PERMITTED:
        if length == 0:
            segment.sack_permitted = True
    else:
        _parse_fast_open(kind, value, segment)


def _parse_fast_open(kind: int, value: bytes, segment: Segment) -> None:
    experimental = kind == _EXPERIMENT and value[:2] == _FAST_OPEN_MAGIC
    if experimental:
        value = value[2:]
    if (experimental or kind == _FAST_OPEN) and len(value) in _COOKIES:
        segment.fast_open, segment.experimental = value, experimental


def build(segment: Segment, checksum: int) -> bytes:
    """The header with options; `checksum` goes into its field as it is.

    What does not fit the 40 bytes of options is left out: SACK blocks, the last ones first, then counters of AccECN.
    A number that does not fit its field raises struct.error (a counter of AccECN: OverflowError).
    """
    if segment.sack or segment.flags & SYN or segment.accecn is not None:
        return _with_options(segment, _build_options(segment), checksum)
    return _plain(segment, checksum)


def build_partial(segment: Segment, pseudo: int) -> bytes:
    """`build` for whom the device or the link completes the checksum: its field holds the sum of the pseudo-header.
    `pseudo`: that sum, folded or not, before the length is added."""
    length = len(segment.payload)
    if segment.sack or segment.flags & SYN or segment.accecn is not None:
        options = _build_options(segment)
        length += HEADER_SIZE + len(options)
        return _with_options(segment, options, (pseudo + length) % 0xFFFF or 0xFFFF)
    if segment.ts_val < 0:
        return _with_options(segment, b"", (pseudo + length + HEADER_SIZE) % 0xFFFF or 0xFFFF)
    return _pack_header_timestamps(  # `_plain`, a call less
        segment.src_port,
        segment.dst_port,
        segment.seq,
        segment.ack,
        0x8000 | segment.flags,
        segment.window,
        (pseudo + length + 32) % 0xFFFF or 0xFFFF,
        segment.urgent,
        _NOP_NOP_TIMESTAMPS,
        segment.ts_val,
        segment.ts_ecr,
    )


def _with_options(segment: Segment, options: bytes, checksum: int) -> bytes:
    header = _pack_header(
        segment.src_port,
        segment.dst_port,
        segment.seq,
        segment.ack,
        0x5000 + (len(options) << 10) | segment.flags,
        segment.window,
        checksum,
        segment.urgent,
    )
    return header + options


def _plain(segment: Segment, checksum: int) -> bytes:
    """A header with timestamps or without any options."""
    if segment.ts_val < 0:
        return _with_options(segment, b"", checksum)
    return _pack_header_timestamps(
        segment.src_port,
        segment.dst_port,
        segment.seq,
        segment.ack,
        0x8000 | segment.flags,
        segment.window,
        checksum,
        segment.urgent,
        _NOP_NOP_TIMESTAMPS,
        segment.ts_val,
        segment.ts_ecr,
    )


def _build_options(segment: Segment) -> bytes:
    """The option block, each option brought to a multiple of 4 bytes by NOPs in front of it.

    AccECN and Fast Open begin at such a multiple; the NOPs come behind, or the next option does where it fits.
    """
    if segment.flags & SYN:
        options = _build_handshake_options(segment)
    else:
        options = b""
        if segment.ts_val >= 0:
            options = b"\x01\x01" + bytes((_TIMESTAMPS, 10)) + _PAIR.pack(segment.ts_val, segment.ts_ecr)
        if segment.accecn is not None:
            options += _build_accecn(segment.accecn, MAX_OPTIONS - len(options))
    if segment.sack:
        blocks = segment.sack[: (MAX_OPTIONS - 2 - len(options)) >> 3]
        if blocks:
            options += _NOPS[(len(options) + 2) & 3] + bytes((_SACK, 2 + 8 * len(blocks)))
            options += b"".join([_PAIR.pack(left, right) for left, right in blocks])
    return options + _NOPS[len(options) & 3]


def _build_handshake_options(segment: Segment) -> bytes:
    """The options of a SYN, but for SACK blocks."""
    if (
        segment.mss
        and segment.sack_permitted
        and segment.ts_val >= 0
        and segment.window_scale >= 0
        and segment.accecn is None
        and segment.fast_open is None
    ):
        a, b, c, d, e = _SYN_LAYOUT
        return _SYN_BLOCK.pack(
            a, segment.mss, b, c, segment.ts_val, segment.ts_ecr, d, e, segment.window_scale
        )
    options = bytes((_MSS, 4, segment.mss >> 8, segment.mss & 0xFF)) if segment.mss else b""
    behind = _build_fast_open(segment)
    scale = segment.window_scale
    permitted = bytes((_SACK_PERMITTED, 2)) if segment.sack_permitted else b""
    if segment.ts_val >= 0:
        # SACK permitted takes the place of two NOPs
        options += (permitted or b"\x01\x01") + bytes((_TIMESTAMPS, 10))
        options += _PAIR.pack(segment.ts_val, segment.ts_ecr)
        permitted = b""
    if segment.accecn is not None:
        room = MAX_OPTIONS - len(options) - len(behind) - (4 if permitted else 0) - (4 if scale >= 0 else 0)
        options += _build_accecn(segment.accecn, room)
    if permitted:
        options += _NOPS[(len(options) + 2) & 3] + permitted
    if scale >= 0:
        options += _NOPS[(len(options) + 3) & 3] + bytes((_WINDOW_SCALE, 3, scale))
    if behind:
        options += _NOPS[len(options) & 3] + behind
    return options


def _build_accecn(accecn: tuple[int, ...], room: int) -> bytes:
    """The AccECN option with as many counters as `room` bytes hold, or b""."""
    order, counters = accecn[0], accecn[1 : 1 + max(room - 2, 0) // 3]
    if room < 2:
        return b""
    kind = _ACCECN1 if order else _ACCECN0
    return bytes((kind, 2 + 3 * len(counters))) + b"".join(
        [counter.to_bytes(3, "big") for counter in counters]
    )


def _build_fast_open(segment: Segment) -> bytes:
    cookie = segment.fast_open
    if cookie is None:
        return b""
    if segment.experimental:
        option = bytes((_EXPERIMENT, 4 + len(cookie))) + _FAST_OPEN_MAGIC + cookie
    else:
        option = bytes((_FAST_OPEN, 2 + len(cookie))) + cookie
    return option + _NOPS[len(option) & 3]
