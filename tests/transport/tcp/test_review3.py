"""Where two mechanisms meet that were built apart; each case was a defect."""

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp import urgent
from asyncstack.transport.tcp.black_hole import MtuSearch
from asyncstack.transport.tcp.ecn import CE
from asyncstack.transport.tcp.scoreboard import Transmission
from asyncstack.wire.tcp import CWR
from tests.transport.tcp.dialogue import Dialogue
from tests.transport.tcp.pair import Pair
from tests.transport.tcp.test_accecn import accepted


@pytest.mark.parametrize("settings", [{"congestion": "bbr"}, {"pacing": True}, {"nodelay": False}])
def test_count_with_the_bit_of_cwr_is_not_sent_on_super_segments_whatever_paces(settings):
    """AccECN: what cuts below us leaves CWR on the first piece only; the pacer has its own idea of a super-segment."""
    d = accepted(most=16 * 1460, rtt=0.1, initial_window=100, **settings)
    for _ in range(2):
        d.inject("ANE", data=bytes(100), ecn=CE)
    d.sent.clear()
    d.connection.configure(d.connection.config, d.now)
    d.write(100_000)
    d.wait(0.05)
    marked = [segment for _, segment in d.sent if segment.flags & CWR]
    assert marked
    assert not any(segment.gso_size for segment in marked)


def test_path_change_keeps_the_count_off_super_segments():
    d = accepted(most=16 * 1460, initial_window=100)
    for _ in range(2):
        d.inject("ANE", data=bytes(100), ecn=CE)
    d.sent.clear()
    d.connection.set_path_mss(1000, d.now)
    d.write(20_000)
    marked = [segment for _, segment in d.sent if segment.flags & CWR]
    assert marked
    assert not any(segment.gso_size for segment in marked)


@pytest.mark.parametrize("size", [700, 1000, 1012])
def test_black_hole_swallows_a_segment_that_is_small_already(size):
    """RFC 4821 7.7: less than the base, and yet too large for the path."""
    pair = Pair(delay=0.01, largest=500)
    pair.a.to_send = bytes(size)
    pair.open()
    pair.run()
    assert len(pair.b.received) == size


def test_urgent_data_leaves_in_single_segments_where_pacing_has_its_own_idea_of_their_size():
    d = Dialogue.established(TcpConfig(pacing=True, initial_window=100), rtt=0.1, most=16 * 1460)
    d.connection.write(bytes(20_000))
    urgent.mark(d.connection)
    d.wait(0.09)
    assert len(d.sent) == 14
    assert not any(segment.gso_size for _, segment in d.sent)


def test_probe_on_its_way_says_nothing_of_the_size_that_the_path_is_said_to_carry_since():
    search = MtuSearch(500, 1000)
    search.outstanding = Transmission(0, 1000, 1000, 0.0, 0.0, 0, 0.0, False, 1000, 0)
    search.limit(9000)
    if search.outstanding is not None:
        search.succeeded()
    assert search.low <= 1000
