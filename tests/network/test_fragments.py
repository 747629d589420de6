import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.counters import Counters
from asyncstack.network.fragments import Reassembly
from asyncstack.wire.packet import Packet

A, B = b"\x0a\0\0\x01", b"\x0a\0\0\x02"
UDP, TCP = 17, 6


def piece(payload, offset, more, ident=1, src=A, protocol=UDP, tos=0):
    header = b"header"
    raw = memoryview(header + payload)
    return Packet(
        src,
        B,
        protocol,
        raw[len(header) :],
        raw,
        ident=ident,
        fragment_offset=offset,
        more_fragments=more,
        tos=tos,
    )


def cut(payload, step, **facts):
    return [
        piece(payload[at : at + step], at, at + step < len(payload), **facts)
        for at in range(0, len(payload), step)
    ]


def source(number):
    return b"\x0a\1" + number.to_bytes(2, "big")


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def reassembly(counters):
    return Reassembly("ip", counters, timeout=30.0)


def feed(reassembly, fragments, now=0.0):
    """The payloads that became complete."""
    return [whole[1] for f in fragments if (whole := reassembly.receive_fragment(f, now)) is not None]


@st.composite
def deliveries(draw):
    """A payload, its fragments, and an order of delivery with duplicates and perhaps losses."""
    payload = draw(st.binary(min_size=9, max_size=200))
    fragments = cut(payload, draw(st.integers(1, 6)) * 8)
    order = draw(st.permutations(range(len(fragments))))
    kept = draw(st.integers(0, len(fragments)))
    order = order[: kept if draw(st.booleans()) else None]
    for extra in draw(st.lists(st.sampled_from(order), max_size=8)) if order else ():
        order.insert(draw(st.integers(0, len(order))), extra)
    return payload, fragments, order


@given(deliveries())
def test_any_order_with_duplicates_and_losses(delivery):
    payload, fragments, order = delivery
    reassembly = Reassembly("ip", Counters(), timeout=30.0)
    seen = set()
    for index in order:
        whole = reassembly.receive_fragment(fragments[index], 0.0)
        seen.add(index)
        if len(seen) == len(fragments):
            assert whole is not None
            assert whole[1] == payload
            seen.clear()  # a duplicate that comes later begins another datagram
        else:
            assert whole is None
    assert len(reassembly) == bool(seen)
    reassembly.timer_expired(30.0)
    assert (len(reassembly), reassembly.bytes, reassembly.deadline) == (0, 0, math.inf)


class Model:
    """The rules again, without regard to cost: one datagram as a list of (start, end, bytes, more)."""

    def __init__(self):
        self.pieces, self.refused = [], False

    def add(self, start, payload, more):
        end = start + len(payload)
        new = (start, end, payload, more)
        if self.refused or new in self.pieces:
            return None
        ends = [other[1] for other in self.pieces if not other[3]] + ([] if more else [end])
        overlap = any(start < other[1] and other[0] < end for other in self.pieces)
        beyond = any(other[1] > ends[0] for other in [*self.pieces, new]) if ends else False
        touches = bool(ends) and any(other[3] and other[1] >= ends[0] for other in [*self.pieces, new])
        if overlap or len(ends) > 1 or beyond or touches:
            self.pieces, self.refused = [], True
            return None
        self.pieces.append(new)
        if ends and sum(other[1] - other[0] for other in self.pieces) == ends[0]:
            whole = b"".join(other[2] for other in sorted(self.pieces))
            self.pieces = []
            return whole
        return None


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 4), st.sampled_from(b"ab"), st.booleans()), max_size=20
    )
)
def test_arbitrary_fragments_follow_the_rules(attempts):
    reassembly, model = Reassembly("ip", Counters(), timeout=30.0), Model()
    for start, units, letter, more in attempts:
        payload = bytes([letter]) * units * 8
        whole = reassembly.receive_fragment(piece(payload, start * 8, more), 0.0)
        assert (whole[1] if whole else None) == model.add(start * 8, payload, more)


def test_the_headers_are_those_of_the_first_fragment(reassembly):
    first, last = cut(b"0123456789abcdef", 8)
    assert reassembly.receive_fragment(last, 0.0) is None
    whole = reassembly.receive_fragment(first, 0.0)
    assert bytes(whole[0].raw) == b"header01234567"
    assert bytes(whole[0].payload) == b"01234567"


def test_nothing_of_the_received_buffer_is_kept(reassembly):
    payload = bytearray(b"header" + b"0" * 8)
    fragment = Packet(A, B, UDP, memoryview(payload)[6:], memoryview(payload), more_fragments=True)
    reassembly.receive_fragment(fragment, 0.0)
    payload[:] = b"x" * len(payload)
    assert feed(reassembly, [piece(b"end", 8, False, ident=0)]) == [b"00000000end"]


@pytest.mark.parametrize("differs", [{"ident": 2}, {"src": B}, {"protocol": 200}])
def test_fragments_of_different_datagrams_do_not_mix(reassembly, differs):
    assert feed(reassembly, [piece(b"0" * 8, 0, True), piece(b"end", 8, False, **differs)]) == []
    assert len(reassembly) == 2


def test_those_of_two_links_do_not_mix_where_addresses_mean_something_on_one(reassembly):
    """Linux: net.ipv6's fragments are told apart by the interface too, if it matters."""
    links = [SimpleNamespace(index=1), SimpleNamespace(index=2)]
    near, far, group = (bytes.fromhex(text) + bytes(14) for text in ("fe80", "fd00", "ff02"))
    for src, dst, mixes in ((near, near, False), (near, group, False), (near, far, False), (far, far, True)):
        pieces = [piece(b"0" * 8, 0, True, src=src), piece(b"end", 8, False, src=src)]
        for one, link in zip(pieces, links, strict=True):
            one.dst, one.interface = dst, link
        assert bool(feed(reassembly, pieces)) is mixes
        reassembly.clear()


def test_an_ipv6_datagram_is_known_without_its_next_header(reassembly):
    six = bytes(16)
    fragments = [piece(b"0" * 8, 0, True, src=six), piece(b"end", 8, False, src=six, protocol=200)]
    assert feed(reassembly, fragments) == [b"00000000end"]


def test_an_overlap_drops_the_datagram_with_what_is_still_to_come(reassembly, counters):
    good = cut(b"0123456789abcdefABCDEFGH", 8)
    feed(reassembly, good[:1])
    assert feed(reassembly, [piece(b"evil" * 4, 0, True)]) == []
    assert feed(reassembly, good) == []
    assert (counters["ip.fragment_overlap"], counters["ip.fragment_refused"]) == (1, 3)
    assert reassembly.timer_expired(30.0) == []  # nobody is told about an attack
    assert feed(reassembly, good, 31.0) == [b"0123456789abcdefABCDEFGH"]


@pytest.mark.parametrize(
    "second",
    [
        piece(b"x" * 8, 8, True),  # the same place, other bytes
        piece(b"x" * 16, 0, True),  # from the left
        piece(b"x" * 16, 16, True),  # from the right
        piece(b"x" * 8, 16, True),  # inside
        piece(b"x" * 40, 0, True),  # all around
        piece(b"y" * 24, 8, False),  # the same bytes, but the last: disagree about the end
        piece(b"x", 16, False),
    ],
)
def test_every_way_to_overlap(reassembly, counters, second):
    reassembly.receive_fragment(piece(b"y" * 24, 8, True), 0.0)
    assert reassembly.receive_fragment(second, 0.0) is None
    assert counters["ip.fragment_overlap"] == 1


@pytest.mark.parametrize(
    "second", [piece(b"x" * 8, 16, True), piece(b"x" * 8, 8, True), piece(b"xx", 16, False)]
)
def test_no_data_beyond_the_last_fragment(reassembly, counters, second):
    """The last fragment says that the datagram has 16 bytes."""
    reassembly.receive_fragment(piece(b"y" * 8, 8, False), 0.0)
    reassembly.receive_fragment(second, 0.0)
    assert counters["ip.fragment_overlap"] == 1


def test_a_last_fragment_before_data_already_here(reassembly, counters):
    reassembly.receive_fragment(piece(b"y" * 8, 24, True), 0.0)
    reassembly.receive_fragment(piece(b"x", 8, False), 0.0)
    assert counters["ip.fragment_overlap"] == 1


@pytest.mark.parametrize(
    ("fragment", "reason"),
    [
        (piece(b"", 0, True), "malformed"),
        (piece(b"", 8, False), "malformed"),
        (piece(b"x" * 9, 0, True), "malformed"),
        (piece(b"x" * 8, 65528, False), "oversized"),  # the ping of death: 65,536 bytes
        (piece(b"x" * 1480, 65000, False), "oversized"),
        (piece(b"x" * 16, 0, True, protocol=TCP), "tiny"),
    ],
)
def test_unsound_fragments_leave_no_trace(reassembly, counters, fragment, reason):
    assert reassembly.receive_fragment(fragment, 0.0) is None
    assert counters == {f"ip.fragment_{reason}": 1}
    assert (len(reassembly), reassembly.bytes) == (0, 0)


def test_the_largest_datagram(reassembly):
    payload = bytes(range(256)) * 255 + bytes(255)
    assert len(payload) == 65535
    assert feed(reassembly, cut(payload, 1480)) == [payload]


def test_late_datagrams_are_dropped_and_their_first_fragments_returned(reassembly, counters):
    feed(reassembly, cut(b"0" * 24, 8, ident=1)[:2], 0.0)
    feed(reassembly, cut(b"1" * 24, 8, ident=2)[1:], 10.0)  # without the first
    feed(reassembly, cut(b"2" * 24, 8, ident=3)[:1], 20.0)
    assert reassembly.deadline == 30.0
    assert [first.ident for first in reassembly.timer_expired(30.0)] == [1]
    assert reassembly.deadline == 40.0
    assert reassembly.timer_expired(40.0) == []
    assert [first.ident for first in reassembly.timer_expired(1000.0)] == [3]
    assert (counters["ip.reassembly_timeout"], reassembly.bytes) == (3, 0)


def test_more_fragments_do_not_give_more_time(reassembly):
    fragments = cut(b"0" * 24, 8)
    reassembly.receive_fragment(fragments[0], 0.0)
    reassembly.receive_fragment(fragments[1], 29.0)
    assert reassembly.deadline == 30.0


def test_datagrams_are_bounded_and_the_oldest_makes_room(counters):
    reassembly = Reassembly("ip", counters, timeout=30.0, datagrams=3)
    for number in range(5):
        reassembly.receive_fragment(piece(b"0" * 8, 0, True, src=source(number)), number)
    assert (len(reassembly), counters["ip.reassembly_evicted"]) == (3, 2)
    assert feed(reassembly, [piece(b"end", 8, False, src=source(4))]) == [b"00000000end"]
    assert feed(reassembly, [piece(b"end", 8, False, src=source(0))]) == []


def test_one_source_has_a_share_of_the_datagrams(counters):
    reassembly = Reassembly("ip", counters, timeout=30.0, datagrams=16)
    honest = cut(b"honest datagrams", 8, src=source(1))
    feed(reassembly, honest[:1])
    for ident in range(1000):
        reassembly.receive_fragment(piece(b"0" * 8, 0, True, ident=ident, src=source(2)), 1.0)
        assert len(reassembly) <= 5
    assert feed(reassembly, honest[1:]) == [b"honest datagrams"]
    newest = [piece(b"end", 8, False, ident=ident, src=source(2)) for ident in range(999, 990, -1)]
    assert len(feed(reassembly, newest, 2.0)) == 4


def test_one_source_has_a_share_of_the_bytes(counters):
    reassembly = Reassembly("ip", counters, timeout=30.0, max_bytes=1 << 20)
    honest = cut(bytes(20_000), 1480, src=source(1))
    feed(reassembly, honest[:-1])
    for ident in range(64):
        feed(reassembly, cut(bytes(60_000), 1480, ident=ident, src=source(2))[:-1])
        assert reassembly.bytes < (1 << 18) + 30_000
    assert feed(reassembly, honest[-1:]) == [bytes(20_000)]
    assert feed(reassembly, cut(bytes(65_535), 1480, ident=99, src=source(2))) == [bytes(65_535)]


def test_a_datagram_may_not_come_in_crumbs(reassembly, counters):
    smallest = cut(bytes(65_535), 48)
    assert feed(reassembly, smallest) == [bytes(65_535)]
    crumbs = cut(bytes(8 * 2000), 8, ident=2)
    assert feed(reassembly, crumbs) == []
    assert counters["ip.fragment_too_many"] == 1
    assert reassembly.bytes < 1000


def test_bytes_are_bounded_bookkeeping_included(counters):
    reassembly = Reassembly("ip", counters, timeout=30.0, datagrams=10_000, max_bytes=50_000)
    for number in range(1000):
        for fragment in cut(b"0" * 4000, 800, src=source(number))[:-1]:
            reassembly.receive_fragment(fragment, 0.0)
            assert reassembly.bytes <= 50_000
    # a datagram costs more than its 3,200 bytes, so fewer fit than 50,000 / 3,200
    assert 5 < len(reassembly) < 15
    assert feed(reassembly, cut(b"0" * 4000, 800, src=source(999))[-1:]) == [b"0" * 4000]


def test_many_small_fragments_cost_more_than_their_bytes(counters):
    reassembly = Reassembly("ip", counters, timeout=30.0, max_bytes=50_000)
    for fragment in cut(b"0" * 8 * 1000, 8)[:-1]:
        reassembly.receive_fragment(fragment, 0.0)
        assert reassembly.bytes <= 50_000
    # it outgrew the bound alone, and its memory is free
    assert counters["ip.reassembly_evicted"] == 1
    assert counters["ip.fragment_refused"] > 500
    assert reassembly.bytes < 1000


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.integers(0, 9), st.integers(0, 50), st.booleans(), st.integers(0, 20)
        ),
        max_size=60,
    )
)
def test_nothing_exceeds_the_bounds(attempts):
    reassembly = Reassembly("ip", Counters(), timeout=30.0, datagrams=3, max_bytes=2000)
    now = 0.0
    for ident, start, size, more, pause in attempts:
        now += pause
        reassembly.timer_expired(now)
        reassembly.receive_fragment(piece(bytes(size), start * 8, more, ident=ident), now)
        assert len(reassembly) <= 3
        assert 0 <= reassembly.bytes <= 2000
        assert reassembly.deadline > now
    reassembly.timer_expired(now + 30.0)
    assert (len(reassembly), reassembly.bytes) == (0, 0)


ECT0, CE = 0b10, 0b11


@pytest.mark.parametrize(
    ("first", "second", "whole"), [(0, 0, 0), (ECT0, CE, CE), (CE, CE, CE), (ECT0, ECT0, ECT0), (0, CE, None)]
)
def test_congestion_marks_survive(reassembly, first, second, whole):
    """RFC 3168 5.3; the class of service (here 0x20) is the first fragment's."""
    reassembly.receive_fragment(piece(b"0" * 8, 0, True, tos=0x20 | first), 0.0)
    result = reassembly.receive_fragment(piece(b"end", 8, False, tos=second), 0.0)
    assert (result[0].tos if result else None) == (None if whole is None else 0x20 | whole)
    assert reassembly.bytes == 0


def test_clear(reassembly):
    feed(reassembly, cut(b"0" * 24, 8)[:1])
    reassembly.clear()
    assert (len(reassembly), reassembly.bytes, reassembly.deadline) == (0, 0, math.inf)
