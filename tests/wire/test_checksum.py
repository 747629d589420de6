import random

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire.checksum import checksum, complete, fold, pseudo_header_sum, sum16, verify


def words_added_up(data: bytes) -> int:
    """RFC 1071 as its section 4.1 writes it: word by word, carries folded at the end."""
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | (data[at + 1] if at + 1 < len(data) else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


CASES = [
    (b"", 0xFFFF),
    (b"\0", 0xFFFF),
    (bytes(20), 0xFFFF),
    (b"\xff", 0x00FF),
    (b"\xff\xff", 0x0000),
    (b"\xff" * 20, 0x0000),
    (b"\xff\xfe\x00\x01", 0x0000),
    (b"\x00\x01", 0xFFFE),
    (b"\x00\x01\xff", 0x00FE),
    (bytes.fromhex("0001f203f4f5f6f7"), 0x220D),  # the example of RFC 1071 section 3: ddf2
    (bytes.fromhex("4500003044224000800600008c7c19acae241e2b"), 0x442E),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_known_sums(data, expected):
    assert checksum(data) == expected
    assert checksum(bytearray(data)) == expected
    assert checksum(memoryview(b"\xaa" + data + b"\xbb")[1:-1]) == expected
    assert sum16(data) == 0xFFFF - expected


@given(st.binary(max_size=300))
def test_agrees_with_dpkt_and_with_rfc_1071(data):
    assert checksum(data) == 0xFFFF - words_added_up(data)
    if data:
        assert checksum(data) == dpkt.dpkt.in_cksum(data)


@pytest.mark.parametrize("size", [4095, 4096, 4097, 8191, 8192, 8193, 65000, 65535])
@pytest.mark.parametrize("fill", ["random", "zero", "ones"])
def test_large_buffers(size, fill):
    data = {"random": random.Random(size).randbytes(size), "zero": bytes(size), "ones": b"\xff" * size}[fill]
    assert checksum(data) == 0xFFFF - words_added_up(data)
    assert checksum(memoryview(data)) == 0xFFFF - words_added_up(data)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_buffers_count_as_one(parts):
    joined = b"".join(parts)
    assert checksum(*parts) == checksum(joined)
    assert sum16(*map(memoryview, parts)) == words_added_up(joined)


def test_odd_large_buffer_in_the_middle():
    parts = [b"\1\2\3", random.Random(1).randbytes(9001), b"\4\5\6\7"]
    assert checksum(*parts) == checksum(b"".join(parts))


@given(st.binary(min_size=2, max_size=64), st.integers(0, 31), st.integers(0, 0xFFFF))
def test_a_stored_checksum_verifies_and_a_changed_byte_does_not(data, word, initial):
    data = bytearray(data)
    at = word * 2 % (len(data) & ~1)
    data[at : at + 2] = b"\0\0"
    value = 0xFFFF - fold(sum16(data) + initial)
    data[at : at + 2] = value.to_bytes(2, "big")
    nothing_to_sum = initial == 0 and not any(data)
    assert verify(data, initial) is not nothing_to_sum
    data[at] ^= 0x10
    assert not verify(data, initial)


def test_all_zero_does_not_verify():
    assert not verify(b"")
    assert not verify(bytes(20))
    assert verify(b"\xff\xff")
    assert verify(b"", 0xFFFF)


@pytest.mark.parametrize(
    ("total", "expected"),
    [(0, 0), (1, 1), (0xFFFF, 0xFFFF), (0x10000, 1), (0x1FFFE, 0xFFFF), (0x1FFFF, 1), (0x12345678, 0x68AC)],
)
def test_fold(total, expected):
    assert fold(total) == expected


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4), st.integers(0, 0xFFFF))
def test_pseudo_header_of_ipv4(src, dst, length):
    assert pseudo_header_sum(src, dst, 6, length) == words_added_up(
        src + dst + b"\0\6" + length.to_bytes(2, "big")
    )


@pytest.mark.parametrize(
    ("src", "dst", "protocol", "length", "expected"),
    [
        (bytes(4), bytes(4), 0, 0, 0),
        (b"\xff" * 4, bytes(4), 0, 0, 0xFFFF),
        (bytes(16), bytes(16), 6, 0xFFF9, 0xFFFF),
    ],
)
def test_the_two_zeros_of_a_pseudo_header(src, dst, protocol, length, expected):
    assert pseudo_header_sum(src, dst, protocol, length) == expected


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), st.integers(0, 0xFFFFFFFF))
def test_pseudo_header_of_ipv6(src, dst, length):
    header = src + dst + length.to_bytes(4, "big") + b"\0\0\0\x3a"
    assert pseudo_header_sum(src, dst, 58, length) == words_added_up(header)


@given(st.binary(min_size=8, max_size=60), st.binary(max_size=60), st.integers(0, 20), st.integers(0, 0xFFFF))
def test_complete_finishes_a_partial_checksum(header, payload, start, partial):
    data = bytearray(bytes(start) + header)
    data[start + 6 : start + 8] = partial.to_bytes(2, "big")
    complete(data, start, 6, payload)
    covered = bytes(data[start:]) + payload
    if any(header[:6]) or any(header[8:]) or any(payload) or partial:
        assert verify(covered, partial)
    assert data[start + 6 : start + 8] != b"\0\0"
    assert data[:start] == bytes(start)


def test_complete_stores_ffff_for_zero_in_udp_alone():
    data = bytearray(b"\xff\xff\0\0\0\0\0\0")
    complete(data, 0, 6)
    assert data == b"\xff\xff\0\0\0\0\xff\xff"
    data = bytearray(b"\xff\xff\0\0")
    complete(data, 0, 2)
    assert data == b"\xff\xff\0\0"


def test_complete_works_through_a_memoryview():
    data = bytearray(b"\0\1\0\0\0\2")
    complete(memoryview(data)[2:], 0, 0)
    assert data == b"\0\1\xff\xfd\0\2"


@pytest.mark.parametrize(("start", "offset"), [(0, 7), (0, 8), (8, 0), (7, 0), (60000, 16), (-1, 3), (2, -2)])
def test_complete_refuses_a_field_outside(start, offset):
    data = bytearray(range(8))
    with pytest.raises(WireError):
        complete(data, start, offset)
    assert data == bytes(range(8))
