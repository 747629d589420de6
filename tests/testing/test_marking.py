"""A link that sets CE: by a threshold of its queue, or as a rule says."""

import pytest

from asyncstack.link.frame import OutgoingFrame
from asyncstack.testing import Impairments, Verdict
from asyncstack.testing.marking import marked
from asyncstack.wire import ipv4, ipv6
from tests.testing.test_links import simulate

A, B = b"\x0a\0\0\1", b"\x0a\0\0\2"
A6, B6 = bytes(15) + b"\1", bytes(15) + b"\2"


def packet(ecn, family=4, size=100):
    if family == 4:
        return ipv4.build(A, B, 17, size, tos=0x40 | ecn) + bytes(size)
    return ipv6.build(A6, B6, 17, size, traffic_class=0x40 | ecn) + bytes(size)


def tos_of(data, family=4):
    return (ipv4 if family == 4 else ipv6).parse(memoryview(data)).tos


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 3), (2, 3), (3, 3)])
@pytest.mark.parametrize("ethernet", [False, True])
def test_rfc3168_5_ce_is_set_where_the_sender_knows_ecn(family, before, after, ethernet):
    header = bytes(12) + (b"\x08\x00" if family == 4 else b"\x86\xdd") if ethernet else b""
    data = header + packet(before, family)
    result = marked(data, len(header))
    assert tos_of(result[len(header) :], family) == 0x40 | after  # parsing checks the checksum
    assert (result is data) == (before in (0, 3))


@pytest.mark.parametrize("data", [b"", b"\x45" + bytes(10), bytes(12) + b"\x08\x06" + bytes(40)])
def test_what_is_no_ip_packet_passes(data):
    assert marked(data, 14 if len(data) > 14 else 0) is data


def test_packets_are_marked_while_more_waits_than_the_threshold():
    async def work(link, a, b):
        for _ in range(10):
            link.ends[0].send(OutgoingFrame([packet(2, size=980)]))  # 1,000 bytes
        for _ in range(2):
            link.ends[0].send(OutgoingFrame([packet(0, size=980)]))

    link, _, b = simulate(work, rate=8e6, mark=3000)
    assert [tos_of(frame.data) & 3 for frame in b.frames] == [2, 2, 2, 2] + [3] * 6 + [0, 0]
    assert (link.forward.stats.marked, link.backward.stats.marked) == (6, 0)
    assert link.mark == 3000


def test_a_rule_may_mark():
    async def work(link, a, b):
        for _ in range(4):
            link.ends[0].send(OutgoingFrame([packet(1)]))

    rule = lambda passing: Verdict.MARK if passing.number == 3 else Verdict.PASS  # noqa: E731
    link, _, b = simulate(work, rule=rule)
    assert [tos_of(frame.data) & 3 for frame in b.frames] == [1, 1, 3, 1]
    assert link.forward.stats.marked == 1


def test_a_threshold_below_0_is_an_error_of_use():
    with pytest.raises(ValueError, match="mark=-1"):
        Impairments(mark=-1)
