"""TIME-WAIT (RFC 9293 3.6.1, 6191, 1337), RST without connection, ISNs (RFC 6528), sequence arithmetic."""

import math
import random

import pytest

from asyncstack.transport.tcp.isn import InitialNumbers
from asyncstack.transport.tcp.reset import reset_for
from asyncstack.transport.tcp.sequence import newer, timestamp, unwrap
from asyncstack.transport.tcp.time_wait import TimeWaitEntry, TimeWaitTable
from asyncstack.wire.tcp import ACK, FIN, RST, SYN, Segment

ENTRY = TimeWaitEntry(snd_nxt=5000, rcv_nxt=9000, window=500, ts_recent=777, ts_offset=100)
BARE = ENTRY._replace(ts_recent=-1)


def segment(seq=9000, flags=ACK, ack=5000, payload=b"", ts_val=778):
    return Segment(4000, 80, seq, ack, flags, 1000, payload, ts_val)


def table(entry=ENTRY, limit=10):
    held = TimeWaitTable(limit, 60.0)
    held.add("key", entry, 0.0)
    return held


def test_entry_lasts_two_msl():
    held = table()
    assert held.deadline == 60.0
    held.timer_expired(59.9)
    assert "key" in held
    held.timer_expired(60.0)
    assert "key" not in held
    assert held.deadline == math.inf


def test_repeated_fin_is_acknowledged_and_starts_the_wait_anew():
    held = table()
    answer = held.receive_segment("key", segment(seq=8999, flags=FIN | ACK), 30.0)
    assert (answer.seq, answer.ack, answer.flags, answer.window) == (5000, 9000, ACK, 500)
    assert (answer.src_port, answer.dst_port) == (80, 4000)
    assert (answer.ts_val, answer.ts_ecr) == (30_100, 777)
    assert held.deadline == 90.0


def test_old_data_is_acknowledged_without_timestamps_if_there_were_none():
    answer = table(BARE).receive_segment("key", segment(seq=8000, payload=b"old"), 1.0)
    assert answer.ack == 9000
    assert answer.ts_val == -1


def test_pure_ack_and_reset_are_not_answered():
    held = table()
    assert held.receive_segment("key", segment(), 1.0) is None
    assert held.receive_segment("key", segment(flags=RST), 1.0) is None
    assert held.receive_segment("other", segment(flags=FIN | ACK), 1.0) is None
    assert "key" in held, "RFC 1337: a reset does not assassinate TIME-WAIT"


@pytest.mark.parametrize(
    "entry, seq, ts_val, taken",
    [
        (ENTRY, 100, 778, True),  # later timestamp, whatever the number
        (ENTRY, 100, 777, False),  # same timestamp: the number decides
        (ENTRY, 9001, 777, True),
        (ENTRY, 9001, 776, False),
        (ENTRY, 9001, -1, True),
        (ENTRY, 9000, -1, False),
        (BARE, 9001, 778, True),
        (BARE, 9000, 778, False),
        (BARE, 8000, 778, False),
    ],
)
def test_syn_that_is_certainly_new_is_taken_rfc6191(entry, seq, ts_val, taken):
    held = table(entry)
    iss = held.take_syn("key", segment(seq=seq, flags=SYN, ts_val=ts_val))
    assert (iss is not None) is taken
    assert ("key" in held) is not taken
    if taken:
        assert iss > entry.snd_nxt + 65535


@pytest.mark.parametrize("flags", [ACK, SYN | ACK, SYN | RST, FIN])
def test_only_a_plain_syn_is_taken(flags):
    assert table().take_syn("key", segment(seq=9001, flags=flags)) is None


def test_syn_that_is_not_new_is_answered_with_an_ack():
    answer = table().receive_segment("key", segment(seq=9000, flags=SYN, ts_val=700), 1.0)
    assert (answer.flags, answer.ack) == (ACK, 9000)


def test_table_is_bounded_the_oldest_goes():
    held = TimeWaitTable(3, 60.0)
    for n in range(5):
        held.add(n, ENTRY, float(n))
    assert [n in held for n in range(5)] == [False, False, True, True, True]
    assert len(held) == 3
    held = TimeWaitTable(0, 60.0)
    held.add(1, ENTRY, 0.0)
    assert len(held) == 0


# resets


def test_reset_for_a_segment_with_ack():
    reset = reset_for(segment(ack=123, payload=b"xx"))
    assert (reset.seq, reset.flags, reset.src_port, reset.dst_port) == (123, RST, 80, 4000)


@pytest.mark.parametrize("flags, length", [(SYN, 1), (0, 0), (FIN, 1), (SYN | FIN, 2)])
def test_reset_for_a_segment_without_ack(flags, length):
    reset = reset_for(segment(seq=0xFFFFFFFF, flags=flags, payload=b"ab"))
    assert (reset.seq, reset.ack, reset.flags) == (0, length + 1, RST | ACK)


def test_reset_is_never_answered():
    assert reset_for(segment(flags=RST)) is None
    assert reset_for(segment(flags=RST | ACK)) is None


# numbers


def test_initial_numbers_grow_by_the_clock_and_differ_by_the_tuple():
    numbers = InitialNumbers(random.Random(1))
    here, there = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    first = numbers.sequence(here, 1, there, 2, 100.0)
    assert (numbers.sequence(here, 1, there, 2, 101.0) - first) & 0xFFFFFFFF == 250_000
    others = {
        numbers.sequence(*four_tuple, 100.0)
        for four_tuple in [
            (here, 2, there, 2),
            (here, 1, there, 3),
            (there, 1, here, 2),
            (here, 12, there, 2),
            (here, 1, there, 22),
        ]
    }
    assert len(others | {first}) == 6
    assert InitialNumbers(random.Random(2)).sequence(here, 1, there, 2, 100.0) != first
    assert InitialNumbers(random.Random(1)).sequence(here, 1, there, 2, 100.0) == first


def test_timestamp_offset_is_one_for_a_pair_of_hosts():
    numbers = InitialNumbers(random.Random(1))
    offset = numbers.timestamp_offset(b"aaaa", b"bbbb")
    assert offset == numbers.timestamp_offset(b"aaaa", b"bbbb")
    assert offset != numbers.timestamp_offset(b"aaaa", b"bbbc")
    assert 0 <= offset < 1 << 32


def test_unwrap_finds_the_nearest():
    for near in (5, 1 << 32, (7 << 32) + 3, (1 << 40) - 1):
        for distance in (0, 1, -1, 1000, -1000, (1 << 31) - 1, -(1 << 31)):
            assert unwrap((near + distance) & 0xFFFFFFFF, near) == near + distance


def test_newer_compares_round_the_wrap():
    assert newer(1, 0xFFFFFFFF)
    assert not newer(0xFFFFFFFF, 1)
    assert not newer(5, 5)
    assert timestamp(1.5, 0xFFFFFFFF) == 1499
