"""RFC 8985, RACK: what is lost, by the time at which it left. Segments of 1,000 bytes, a round trip of 100 ms."""

import pytest

from asyncstack.config import TcpConfig
from tests.transport.tcp.dialogue import Dialogue

MSS = 1000
RTT = 0.1


def edge(n):
    """The number at which segment `n` begins."""
    return 1 + n * MSS


def segments(first, last):
    return tuple((edge(n), edge(n + 1)) for n in range(first, last + 1))


def sending(count, *, most=0, timestamps=False, **settings):
    """Segments 0 to count - 1 have left, a round trip ago."""
    settings = {"congestion": "reno", "initial_window": 20, "tail_loss_probe": False} | settings
    d = Dialogue.established(
        TcpConfig(**settings),
        RTT,
        mss=MSS + 12 * timestamps,
        most=most,
        peer_mss=MSS + 12 * timestamps,
        timestamps=timestamps,
        window=1 << 20,
    )
    d.write(count * MSS)
    if not most:
        d.expect_data(*segments(0, count - 1))
    d.sent.clear()
    d.wait(RTT)
    return d


def phase(d):
    return d.connection.info(d.now).ca_state


def after_reordering(d, upto):
    """Segment 0 was overtaken by 1 and arrives late; then everything to `upto`."""
    d.inject(ack=edge(0), sack=((edge(1), edge(2)),))
    d.wait(0.01)
    d.inject(ack=edge(2))
    assert d.connection.sender.rack.reordering_seen == 1
    if upto > 2:
        d.inject(ack=edge(upto))
    d.quiet()


def test_section_6_2_what_was_overtaken_gets_a_quarter_of_a_round_trip():
    """Step 4, 5 and 6.3: too few are SACKED to be sure, so the reordering timer decides."""
    d = sending(3)
    d.inject(ack=edge(0), sack=((edge(1), edge(2)),))
    d.quiet()
    assert phase(d) == "disorder"
    d.wait_for_segment()
    assert d.now == pytest.approx(3 * RTT + RTT / 4 + 0.002 - RTT, abs=1e-3)
    d.expect_data(*segments(0, 0))
    assert phase(d) == "recovery"
    d.inject(ack=edge(3))
    assert d.connection.info(d.now).retransmits == 0


def test_section_6_2_what_arrives_late_but_in_time_is_not_sent_again():
    d = sending(3)
    d.inject(ack=edge(0), sack=((edge(1), edge(2)),))
    d.wait(RTT / 4)
    d.inject(ack=edge(2))
    d.wait(0.1)
    d.quiet()
    assert phase(d) == "open"
    info = d.connection.info(d.now)
    assert (info.total_retrans, info.reordering) == (0, 3)


def test_section_6_2_dup_thresh_holds_while_no_reordering_was_seen():
    """RFC 6675: the third SACKED segment starts recovery at once."""
    d = sending(5)
    d.inject(ack=edge(0), sack=((edge(1), edge(3)),))
    d.quiet()
    d.inject(ack=edge(0), sack=((edge(1), edge(4)),))
    d.expect_data(*segments(0, 0))


def test_section_6_2_where_reordering_was_seen_three_are_not_enough():
    d = sending(10)
    after_reordering(d, 2)
    d.wait(0.005)
    d.inject(ack=edge(2), sack=((edge(3), edge(9)),))
    d.quiet()
    assert phase(d) == "disorder"
    d.wait_for_segment()
    d.expect_data(*segments(2, 2))


def test_section_6_2_step_3_the_degree_of_reordering_shows_in_the_info():
    d = sending(12)
    d.inject(ack=edge(0), sack=((edge(10), edge(11)),))
    d.inject(ack=edge(0), sack=((edge(3), edge(4)), (edge(10), edge(11))))
    assert d.connection.info(d.now).reordering == 8
    d.inject(ack=edge(11))
    assert d.connection.info(d.now).reordering == 11
    d.quiet()


def test_section_6_2_the_reordering_window_grows_by_dsack_and_lasts_sixteen_recoveries():
    d = sending(10)
    after_reordering(d, 2)
    rack, board = d.connection.sender.rack, d.connection.sender.board
    rtt = d.connection.sender.rtt
    narrow = rack.window(rtt, 0, False)
    assert narrow == pytest.approx(RTT / 4, abs=1e-3)
    d.inject(ack=edge(2), sack=((edge(3), edge(4)),))
    d.wait(0.05)
    d.expect_data(*segments(2, 2))  # too early: it was only late
    d.inject(ack=edge(4))
    d.inject(ack=edge(4), sack=((edge(2), edge(3)),))
    assert rack.window(rtt, 0, False) == pytest.approx(2 * narrow)
    d.inject(ack=edge(4), sack=((edge(2), edge(3)),))
    assert rack.window(rtt, 0, False) == pytest.approx(2 * narrow), "once in a round trip"
    for _ in range(15):
        rack.recovered()
    assert rack.window(rtt, 0, False) == pytest.approx(2 * narrow)
    rack.recovered()
    assert rack.window(rtt, 0, False) == pytest.approx(narrow)
    assert board.lost == 0


def test_section_6_2_the_reordering_window_never_exceeds_srtt():
    d = sending(3)
    rack = d.connection.sender.rack
    rack.reordering_seen, rack.multiplier = 1, 255
    assert rack.window(d.connection.sender.rtt, 0, True) == d.connection.sender.rtt.srtt


def test_section_6_2_a_lost_retransmission_is_found_by_what_left_after_it():
    d = sending(8)
    d.inject(ack=edge(0), sack=((edge(1), edge(5)),))
    d.expect_data(*segments(0, 0))
    d.wait(0.01)
    d.write(2 * MSS)
    d.inject(ack=edge(0), sack=((edge(1), edge(8)),))
    d.expect_data(*segments(8, 9))
    d.wait(RTT)
    d.inject(ack=edge(0), sack=((edge(1), edge(9)),))
    d.expect_data(*segments(0, 0))
    info = d.connection.info(d.now)
    assert (info.total_retrans, info.retransmits) == (2, 0)


def test_section_6_2_an_ack_of_the_original_says_nothing_about_the_retransmission():
    """Step 2: an answer within less than the least round trip is one to the transmission before."""
    d = sending(6)
    d.inject(ack=edge(0), sack=((edge(2), edge(6)),))
    d.expect_data(*segments(0, 1))
    sent_at = d.connection.sender.rack.sent_at
    d.wait(0.005)
    d.inject(ack=edge(1), sack=((edge(2), edge(6)),))
    assert d.connection.sender.rack.sent_at == sent_at
    d.quiet()


def test_section_6_2_a_timestamp_tells_which_transmission_arrived():
    d = sending(6, timestamps=True)
    before = d.our_ts
    d.inject(ack=edge(0), sack=((edge(2), edge(6)),))
    d.expect_data(*segments(0, 1))
    sent_at = d.connection.sender.rack.sent_at
    d.wait(2 * RTT)
    d.inject(ack=edge(1), sack=((edge(2), edge(6)),), ts_ecr=before)
    assert d.connection.sender.rack.sent_at == sent_at


def test_pieces_of_a_super_segment_are_lost_each_by_itself():
    d = sending(10, most=10 * MSS)
    d.inject(ack=edge(0), sack=((edge(1), edge(4)), (edge(5), edge(10))))
    d.expect_data(*segments(0, 0), *segments(4, 4))
    info = d.connection.info(d.now)
    assert (info.sacked, info.lost, info.retrans, info.pipe) == (8, 2, 2, 2 * MSS)


def test_an_ack_does_not_walk_the_whole_board():
    """What was judged is not looked at again: ten thousand segments with one hole, SACKED one at a time."""
    config = TcpConfig(initial_window=20_000, tail_loss_probe=False)
    d = Dialogue.established(config, RTT, mss=MSS, peer_mss=MSS, timestamps=False, window=8 << 20, scale=10)
    d.write(8000 * MSS)
    d.sent.clear()
    d.wait(RTT)
    board = d.connection.sender.board
    looked = 0

    class Counting(list):
        def __getitem__(self, key):
            nonlocal looked
            looked += 1
            return super().__getitem__(key)

    for n in range(1, 2000):
        d.inject(ack=edge(0), sack=((edge(1), edge(n + 1)),))
        if n == 100:
            board.records = Counting(board.records)
            looked = 0
    assert looked < 100 * 1900


def test_retransmissions_that_nobody_looks_for_leave_no_trace():
    """Without SACK losses are not looked for by time; the queue of retransmissions stays short all the same."""
    config = TcpConfig(sack=False)
    d = Dialogue.established(config, RTT, mss=MSS, peer_mss=MSS, sack=False, timestamps=False, window=1 << 20)
    for n in range(200):
        d.write(MSS)
        d.sent.clear()
        d.wait(d.connection.sender.rtt.rto + 0.01)
        d.inject(ack=edge(n + 1))
    assert len(d.connection.sender.board.resent) <= 2
