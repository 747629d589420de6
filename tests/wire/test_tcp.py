import dataclasses
import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import checksum, tcp
from asyncstack.wire.tcp import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG, Segment

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
addresses = st.binary(min_size=4, max_size=4)
timestamps = st.one_of(st.just((-1, 0)), st.tuples(u32, u32))
cookies = st.integers(2, 8).flatmap(lambda half: st.binary(min_size=2 * half, max_size=2 * half)) | st.just(
    b""
)


def accecn(room):
    """None, or order and counters for an option of at most `room` bytes."""
    if room < 2:
        return st.none()
    counters = st.lists(st.integers(0, 0xFFFFFF), max_size=(room - 2) // 3)
    return st.none() | st.builds(lambda order, fields: (order, *fields), st.integers(0, 1), counters)


@st.composite
def segments(draw):
    flags = draw(st.integers(0, 0x1FF))
    ts_val, ts_ecr = draw(timestamps)
    segment = Segment(
        draw(u16), draw(u16), draw(u32), draw(u32), flags, draw(u16), draw(st.binary(max_size=40))
    )
    segment.ts_val, segment.ts_ecr, segment.urgent = ts_val, ts_ecr, draw(u16)
    if flags & SYN:
        segment.mss = draw(u16)
        segment.window_scale = draw(st.integers(-1, 14))
        segment.sack_permitted = draw(st.booleans())
        segment.fast_open = draw(st.one_of(st.none(), cookies))
        segment.experimental = segment.fast_open is not None and draw(st.booleans())
        room = 20 if segment.fast_open is None else 20 - (4 + len(segment.fast_open) + 3 & ~3)
        segment.accecn = draw(accecn(min(room, 11)))
    else:
        segment.accecn = draw(accecn(11))
        room = 40 - (12 if ts_val >= 0 else 0) - (1 + 3 * len(segment.accecn or ()))
        segment.sack = tuple(draw(st.lists(st.tuples(u32, u32), max_size=(room - 4) // 8)))
    return segment


def parse(data):
    return tcp.parse(memoryview(data))


def options_of(segment):
    """The options as dpkt lists them, NOPs left out."""
    return [option for option in dpkt.tcp.parse_opts(segment.opts) if option[0] != dpkt.tcp.TCP_OPT_NOP]


def expected_options(segment):
    options = []
    if segment.mss:
        options.append((dpkt.tcp.TCP_OPT_MSS, struct.pack("!H", segment.mss)))
    if segment.sack_permitted:
        options.append((dpkt.tcp.TCP_OPT_SACKOK, b""))
    if segment.ts_val >= 0:
        options.append((dpkt.tcp.TCP_OPT_TIMESTAMP, struct.pack("!II", segment.ts_val, segment.ts_ecr)))
    if segment.window_scale >= 0:
        options.append((dpkt.tcp.TCP_OPT_WSCALE, bytes([segment.window_scale])))
    if segment.sack:
        edges = b"".join(struct.pack("!II", *block) for block in segment.sack)
        options.append((dpkt.tcp.TCP_OPT_SACK, edges))
    if segment.fast_open is not None:
        kind, magic = (254, b"\xf9\x89") if segment.experimental else (34, b"")
        options.append((kind, magic + segment.fast_open))
    if segment.accecn is not None:
        order, *counters = segment.accecn
        options.append((174 if order else 172, b"".join(counter.to_bytes(3, "big") for counter in counters)))
    return options


@given(segments(), u16)
def test_ours_is_read_by_dpkt(segment, value):
    header = tcp.build(segment, value)
    read = dpkt.tcp.TCP(header + segment.payload)
    assert (read.sport, read.dport) == (segment.src_port, segment.dst_port)
    assert (read.seq, read.ack, read.flags) == (segment.seq, segment.ack, segment.flags)
    assert (read.win, read.sum, read.urp) == (segment.window, value, segment.urgent)
    assert read.data == segment.payload
    assert (read.off * 4, header[12] & 0x0E) == (len(header), 0)
    assert sorted(options_of(read)) == sorted(expected_options(segment))


@st.composite
def option_blocks(draw, segment):
    """The options of `segment` in any order with NOPs between them, at most 40 bytes."""
    encoded = [bytes([kind, 2 + len(data)]) + data for kind, data in expected_options(segment)]
    room = 40 - sum(map(len, encoded))
    block = b""
    for option in draw(st.permutations(encoded)):
        padding = draw(st.integers(0, min(room, 3)))
        room -= padding
        block += b"\1" * padding + option
    return block + b"\0" * (-len(block) % 4)


@given(segments(), u16, st.data())
def test_dpkt_is_read_by_ours_whatever_the_order_of_options(segment, value, data):
    block = data.draw(option_blocks(segment))
    packet = dpkt.tcp.TCP(
        sport=segment.src_port,
        dport=segment.dst_port,
        seq=segment.seq,
        ack=segment.ack,
        win=segment.window,
        sum=value,
        urp=segment.urgent,
        opts=block,
        data=segment.payload,
    )
    packet.off, packet.flags = 5 + len(block) // 4, segment.flags
    segment.checksum = value
    assert parse(bytes(packet)) == segment


@given(segments(), u16)
def test_round_trip(segment, value):
    segment.checksum = value
    assert parse(tcp.build(segment, value) + segment.payload) == segment


@given(addresses, addresses, segments())
def test_a_partial_checksum_completed_is_the_one_of_dpkt(src, dst, segment):
    blank = tcp.build(segment, 0)
    packet = dpkt.ip.IP(src=src, dst=dst, p=6, data=dpkt.tcp.TCP(blank + segment.payload))
    theirs = bytes(packet)[20:]
    pseudo = checksum.pseudo_header_sum(src, dst, tcp.PROTOCOL, len(theirs))
    ours = bytearray(tcp.build(segment, pseudo))
    checksum.complete(ours, 0, tcp.CHECKSUM_OFFSET, segment.payload)
    if theirs[16:18] == b"\0\0":  # zero may be written both ways, and only UDP has to
        ours[16:18] = b"\0\0"
    assert ours + segment.payload == theirs
    assert checksum.verify(theirs, pseudo)


PLAIN = Segment(80, 4000, 1000, 2000, ACK, 512)
LAYOUTS = [
    ({}, ""),
    ({"ts_val": 1, "ts_ecr": 2}, "0101080a 00000001 00000002"),
    ({"ts_val": 0, "ts_ecr": 0}, "0101080a 00000000 00000000"),
    ({"sack": ((1, 2),)}, "0101050a 00000001 00000002"),
    (
        {"sack": ((1, 2), (5, 6)), "ts_val": 3, "ts_ecr": 4},
        "0101080a 00000003 00000004 01010512 00000001 00000002 00000005 00000006",
    ),
    ({"flags": SYN, "mss": 1460}, "020405b4"),
    ({"flags": SYN, "sack_permitted": True}, "01010402"),
    ({"flags": SYN, "window_scale": 0}, "01030300"),
    (
        {
            "flags": SYN | ACK,
            "mss": 1460,
            "sack_permitted": True,
            "ts_val": 5,
            "ts_ecr": 6,
            "window_scale": 7,
        },
        "020405b4 0402080a 00000005 00000006 01030307",
    ),
    ({"flags": SYN, "mss": 536, "ts_val": 5}, "02040218 0101080a 00000005 00000000"),
    ({"flags": SYN, "fast_open": b""}, "2202 0101"),
    ({"flags": SYN, "fast_open": b"abcdefgh"}, "220a 6162636465666768 0101"),
    ({"flags": SYN, "fast_open": b"", "experimental": True}, "fe04f989"),
    ({"flags": SYN, "fast_open": b"abcd", "experimental": True}, "fe08f989 61626364"),
    ({"accecn": (1,)}, "ae02 0101"),
    ({"accecn": (0, 1)}, "ac05 000001 010101"),
    ({"accecn": (1, 1, 2)}, "ae08 000001 000002"),
    ({"accecn": (1, 1, 2, 0xFFFFFE)}, "ae0b 000001 000002 fffffe 01"),
    ({"accecn": (1, 7), "sack": ((1, 2),)}, "ae05 000007 01 050a 00000001 00000002"),
    ({"accecn": (1,), "sack": ((1, 2),)}, "ae02 050a 00000001 00000002"),
    (
        {"ts_val": 1, "ts_ecr": 2, "accecn": (1, 1, 2, 3), "sack": ((1, 2),)},
        "0101080a 00000001 00000002 ae0b 000001 000002 000003 01 0101050a 00000001 00000002",
    ),
    (
        {
            "flags": SYN | ACK,
            "mss": 1460,
            "sack_permitted": True,
            "ts_val": 5,
            "ts_ecr": 6,
            "window_scale": 7,
            "accecn": (1, 1, 0, 1),
        },
        "020405b4 0402080a 00000005 00000006 ae0b 000001 000000 000001 01 01030307",
    ),
    (
        {"flags": SYN, "mss": 1460, "sack_permitted": True, "window_scale": 7, "accecn": (1, 1)},
        "020405b4 ae05 000001 01 0402 01030307",
    ),
]


@pytest.mark.parametrize(("fields", "options"), LAYOUTS)
def test_the_layout_of_options(fields, options):
    segment = dataclasses.replace(PLAIN, **fields)
    assert tcp.build(segment, 0)[20:] == bytes.fromhex(options)
    assert parse(tcp.build(segment, 0)) == segment


@pytest.mark.parametrize(("ts_val", "fits"), [(-1, 4), (9, 3)])
def test_sack_blocks_that_do_not_fit_are_left_out_from_the_end(ts_val, fits):
    blocks = tuple((at, at + 1) for at in range(0, 12, 2))
    header = tcp.build(dataclasses.replace(PLAIN, ts_val=ts_val, sack=blocks), 0)
    assert len(header) <= 60
    assert parse(header).sack == blocks[:fits]


def test_a_syn_with_every_option_leaves_room_for_two_sack_blocks():
    segment = dataclasses.replace(PLAIN, flags=SYN, mss=1460, ts_val=5, window_scale=7, sack_permitted=True)
    segment.sack = ((1, 2), (3, 4), (5, 6))
    assert parse(tcp.build(segment, 0)).sack == ((1, 2), (3, 4))


def test_counters_of_accecn_that_do_not_fit_a_syn_with_a_cookie_are_left_out():
    segment = dataclasses.replace(
        PLAIN, flags=SYN | ACK, mss=1460, ts_val=5, window_scale=7, sack_permitted=True, fast_open=bytes(8)
    )
    segment.accecn = (1, 1, 2, 3)
    read = parse(tcp.build(segment, 0))
    assert (read.accecn, read.fast_open) == ((1, 1, 2), bytes(8))
    segment.fast_open = bytes(16)
    read = parse(tcp.build(segment, 0))
    assert (read.accecn, read.fast_open) == (None, bytes(16))


def test_sack_blocks_give_way_to_accecn():
    segment = dataclasses.replace(PLAIN, ts_val=5, sack=((1, 2), (3, 4), (5, 6)), accecn=(1, 1, 2, 3))
    read = parse(tcp.build(segment, 0))
    assert (read.sack, read.accecn) == (((1, 2),), (1, 1, 2, 3))


def test_handshake_options_are_built_only_on_a_syn():
    segment = dataclasses.replace(PLAIN, mss=1460, window_scale=7, sack_permitted=True, fast_open=b"abcd")
    assert tcp.build(segment, 0) == tcp.build(PLAIN, 0)


def with_options(block, flags):
    block += b"\0" * (-len(block) % 4)
    header = tcp.build(dataclasses.replace(PLAIN, flags=flags), 0)
    return header[:12] + bytes([0x50 + (len(block) << 2)]) + header[13:] + block + b"payload"


# what Linux makes of them: a broken length ends the options, what came before counts
READ = [
    ("MSS", "020405b4", {"mss": 1460}),
    ("MSS of 0 is no MSS", "02040000", {"mss": 0}),
    (
        "MSS with a wrong length, then timestamps",
        "020505b400 080a0000000100000002",
        {"ts_val": 1, "ts_ecr": 2},
    ),
    ("window scale with a wrong length", "03040707", {}),
    ("window scale above 14", "03030f", {"window_scale": 14}),
    ("window scale 255", "0303ff", {"window_scale": 14}),
    ("SACK permitted with a length of 3", "040300", {}),
    ("timestamps of 9 bytes", "0809 00000001000000", {}),
    ("SACK of 9 bytes", "0509 00000001000000", {}),
    ("SACK without blocks", "0502", {}),
    ("SACK of one block and a half", "050e 000000010000000200000003", {}),
    ("unknown kind skipped", "fd04aaaa 020405b4", {"mss": 1460}),
    ("unknown kind of length 2", "fd02 020405b4", {"mss": 1460}),
    ("length 0 ends it", "020405b4 fd00 03030700", {"mss": 1460}),
    ("length 1 ends it", "020405b4 fd01 03030700", {"mss": 1460}),
    ("length past the end ends it", "020405b4 080a0000", {"mss": 1460}),
    ("kind as the last byte", "010101 02", {}),
    ("end of options", "00 020405b4", {}),
    ("only NOPs", "01010101", {}),
    (
        "NOPs between",
        "01 020405b4 01 030307 01 0402",
        {"mss": 1460, "window_scale": 7, "sack_permitted": True},
    ),
    ("the last of two counts", "020405b4 02040218", {"mss": 536}),
    ("timestamps without NOPs, 12 bytes", "080a0000000100000002 0000", {"ts_val": 1, "ts_ecr": 2}),
    ("NOPs behind timestamps", "080a0000000100000002 0101", {"ts_val": 1, "ts_ecr": 2}),
    (
        "timestamps with their highest bit",
        "0101080a ffffffff fffffffe",
        {"ts_val": 2**32 - 1, "ts_ecr": 2**32 - 2},
    ),
    ("twelve bytes that are no timestamps", "01010101 01010101 01010101", {}),
    ("40 bytes of NOPs", "01" * 40, {}),
    ("Fast Open with an odd cookie", "2207 0102030405", {}),
    ("Fast Open with a cookie of 2 bytes", "2204 0102", {}),
    ("Fast Open with a cookie of 18 bytes", "2214" + "01" * 18, {}),
    ("Fast Open that asks", "2202", {"fast_open": b""}),
    ("another experiment", "fe08f98a 61626364", {}),
    ("an experiment without a magic number", "fe03f9", {}),
    ("AccECN of 10 bytes: the whole fields count", "ac0a 000001 000002 0000", {"accecn": (0, 1, 2)}),
    ("AccECN of 13 bytes", "ae0d 000001 000002 000003 0000", {"accecn": (1, 1, 2, 3)}),
    ("AccECN of 4 bytes", "ae04 0000", {"accecn": (1,)}),
]


@pytest.mark.parametrize(("block", "expected"), [pytest.param(b, e, id=name) for name, b, e in READ])
def test_options_are_read_leniently(block, expected):
    read = parse(with_options(bytes.fromhex(block), SYN))
    assert read == dataclasses.replace(PLAIN, flags=SYN, payload=b"payload", **expected)


@pytest.mark.parametrize("block", ["020405b4", "030307", "0402", "2202", "fe04f989"])
def test_handshake_options_are_read_only_from_a_syn(block):
    assert parse(with_options(bytes.fromhex(block), ACK)) == dataclasses.replace(PLAIN, payload=b"payload")


def test_every_flag():
    flags = [FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE]
    assert flags == [1 << bit for bit in range(9)]
    for flag in flags:
        assert parse(tcp.build(dataclasses.replace(PLAIN, flags=flag), 0)).flags == flag


def test_the_reserved_bits_are_ignored():
    header = bytearray(tcp.build(PLAIN, 0))
    header[12] |= 0x0E
    assert parse(header) == PLAIN


@pytest.mark.parametrize("size", range(40))
def test_a_truncated_header_is_refused(size):
    segment = dataclasses.replace(PLAIN, flags=SYN, mss=1460, ts_val=5, window_scale=7, sack_permitted=True)
    with pytest.raises(WireError):
        parse(tcp.build(segment, 0)[:size])


@pytest.mark.parametrize("words", [0, 1, 4, 6, 15])
def test_a_wrong_data_offset_is_refused(words):
    header = bytearray(tcp.build(PLAIN, 0))
    header[12] = words << 4
    with pytest.raises(WireError):
        parse(header)


def test_the_payload_is_not_copied():
    data = bytearray(tcp.build(PLAIN, 0) + bytes(4))
    read = tcp.parse(memoryview(data))
    data[20] = 9
    assert read.payload[0] == 9


@pytest.mark.parametrize("field", ["src_port", "seq", "ack", "window", "ts_val", "urgent"])
def test_a_number_too_large_for_its_field_is_an_error_of_use(field):
    with pytest.raises(struct.error):
        tcp.build(dataclasses.replace(PLAIN, **{field: 2**32}), 0)
