"""Loss, by the number: which bytes are sent again, when, and with what window.

RFC 5681, 6582 (NewReno), 6675 (SACK), 3042 (limited transmit), 6298 (timer).
"""

import errno

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.state import State
from tests.transport.tcp.dialogue import Dialogue
from tests.transport.tcp.pair import Pair

MSS = 1000


def segments(first, last):
    """The byte ranges of segments number `first` to `last`, counted from 0."""
    return tuple((1 + n * MSS, 1 + (n + 1) * MSS) for n in range(first, last + 1))


def edge(n):
    """The number at which segment `n` begins."""
    return 1 + n * MSS


RTT = 0.1


def sending(
    count=10, *, total=100, congestion="reno", sack=True, probe=False, timestamps=False, rtt=RTT, frto=True
):
    """Established, with `count` segments out, all there is room for in the first window, a round trip ago."""
    config = TcpConfig(
        congestion=congestion,
        sack=sack,
        initial_window=count,
        tail_loss_probe=probe,
        frto=frto,
        mtu_probing=False,
    )
    d = Dialogue.established(
        config, rtt, mss=MSS, peer_mss=MSS, sack=sack, timestamps=timestamps, window=1 << 20
    )
    d.write(total * MSS)
    d.expect_data(*segments(0, min(count, total) - 1))
    d.wait(rtt)
    return d


def test_sack_recovery_sends_the_hole_and_keeps_the_pipe_full():
    d = sending(10)
    d.inject(ack=edge(0), sack=((edge(1), edge(2)),))
    d.expect_data(*segments(10, 10))  # limited transmit
    d.inject(ack=edge(0), sack=((edge(1), edge(3)),))
    d.expect_data(*segments(11, 11))
    d.inject(ack=edge(0), sack=((edge(1), edge(4)),))
    info = d.connection.info(d.now)
    assert info.ca_state == "recovery"
    assert info.snd_ssthresh == 6  # half of 12
    d.expect_data(*segments(0, 0))
    # 9 fly, and shall be 6: about six leave for every ten that arrive (see test_prr)
    fresh = {4: 12, 6: 13, 9: 14, 10: 15}
    for n in range(4, 11):
        d.inject(ack=edge(0), sack=((edge(1), edge(n + 1)),))
        d.expect_data(*(segments(fresh[n], fresh[n]) if n in fresh else ()))
    assert d.connection.info(d.now).pipe == 6 * MSS
    d.inject(ack=edge(8), sack=((edge(9), edge(11)),))
    assert d.connection.info(d.now).ca_state == "recovery", "what was sent before the loss is not all there"
    d.inject(ack=edge(12))
    assert d.connection.info(d.now).ca_state == "open"


def test_several_holes_in_one_window_are_filled_in_one_round_trip():
    d = sending(10)
    d.inject(ack=edge(0), sack=((edge(9), edge(10)), (edge(6), edge(8)), (edge(2), edge(5))))
    # six are SACKed, so all before 9 that have not come are lost: 0, 1, 5, 8; five may be in flight
    d.expect_data(*segments(0, 1), *segments(5, 5), *segments(8, 8), *segments(10, 10))
    assert d.connection.info(d.now).total_retrans == 4


def test_two_sacked_segments_show_nothing_and_three_show_the_loss_rfc6675():
    """DupThresh holds where no reordering has been seen."""
    d = sending(10)
    d.inject(ack=edge(0), sack=((edge(8), edge(10)),))
    d.expect_data(*segments(10, 11))
    assert d.connection.info(d.now).lost == 0
    d.wait(0.001)
    d.inject(ack=edge(0), sack=((edge(8), edge(11)),))
    assert d.connection.info(d.now).pipe == 2 * MSS
    d.expect_data(*segments(0, 0))  # one more has arrived, so one leaves: PRR
    assert d.connection.info(d.now).lost == 8


def test_three_duplicate_acks_count_where_sacked_segments_are_small():
    config = TcpConfig(congestion="reno")
    d = Dialogue.established(config, RTT, mss=MSS, peer_mss=MSS, timestamps=False)
    for _ in range(5):
        d.write(10)
    d.expect_data(*((1 + 10 * n, 11 + 10 * n) for n in range(5)))
    d.wait(RTT)
    for n in range(1, 3):
        d.inject(ack=1, sack=((11, 11 + 10 * n),))
        d.expect_data()
    d.inject(ack=1, sack=((11, 41),))
    d.expect_data((1, 11))


def test_newreno_sends_one_segment_per_partial_ack():
    d = sending(10, sack=False)
    d.inject(ack=edge(0))
    d.expect_data(*segments(10, 10))  # limited transmit
    d.inject(ack=edge(0))
    d.expect_data(*segments(11, 11))
    d.inject(ack=edge(0))
    d.expect_data(*segments(0, 0))
    info = d.connection.info(d.now)
    assert (info.ca_state, info.snd_ssthresh) == ("recovery", 6)
    d.inject(ack=edge(3))  # 3 is missing too
    d.expect_data(*segments(3, 3))
    d.inject(ack=edge(7))
    sent = d.sent[0][1]
    assert (sent.seq - 0xFFFFF000) & 0xFFFFFFFF == edge(7)
    d.sent.clear()
    d.inject(ack=edge(12))
    assert d.connection.info(d.now).ca_state == "open"


def test_newreno_inflates_and_deflates():
    d = sending(10, sack=False)
    for _ in range(3):
        d.inject(ack=edge(0))
    d.expect_data(*segments(10, 11), *segments(0, 0))
    # 12 out, 3 presumed to have left, 1 lost and sent again: 9 fly, and shall be 6
    fresh = {1: 12, 3: 13, 6: 14, 7: 15}
    for n in range(1, 8):
        d.inject(ack=edge(0))
        d.expect_data(*(segments(fresh[n], fresh[n]) if n in fresh else ()))
    assert d.connection.info(d.now).pipe == 6 * MSS


def test_duplicates_after_recovery_start_no_second_one_rfc6582():
    d = sending(10, sack=False)
    for _ in range(3):
        d.inject(ack=edge(0))
    d.expect_data(*segments(10, 11), *segments(0, 0))
    d.inject(ack=edge(12))
    d.sent.clear()
    window = d.connection.info(d.now).snd_cwnd_bytes
    for _ in range(4):
        d.inject(ack=edge(12))
    assert d.connection.info(d.now).ca_state == "disorder"
    assert d.connection.info(d.now).total_retrans == 1
    assert d.connection.info(d.now).snd_cwnd_bytes == window


@pytest.mark.parametrize(
    "change", [{"data": b"x"}, {"window": 1 << 19}], ids=["with payload", "window changed"]
)
def test_what_is_no_duplicate_ack_rfc5681(change):
    d = sending(10, sack=False)
    for n in range(6):
        if "window" in change:
            change = {"window": (1 << 19) + n * 1024}
        d.inject(ack=edge(0), **change)
    d.wait(0.05)
    assert d.connection.info(d.now).total_retrans == 0


def test_retransmission_that_is_lost_again_is_found_without_the_timer():
    """RFC 8985 6.2: something sent after it has arrived."""
    d = sending(10)
    d.inject(ack=edge(0), sack=((edge(1), edge(4)),))
    d.expect_data(*segments(0, 0), *segments(10, 10))
    d.wait(0.01)
    d.inject(ack=edge(0), sack=((edge(1), edge(10)),))
    d.expect_data(*segments(11, 13))
    d.wait(0.1)
    d.inject(ack=edge(0), sack=((edge(1), edge(11)),))
    d.expect_data(*segments(14, 14))  # 10 left together with the retransmission
    d.inject(ack=edge(0), sack=((edge(1), edge(12)),))
    d.expect_data(*segments(0, 0), *segments(15, 15))  # 11 left later
    assert d.connection.info(d.now).retransmits == 0


def test_retransmission_timeout_backs_off_and_shrinks_the_window():
    d = sending(10)
    rto = d.connection.info(0.0).rto
    assert rto == pytest.approx(RTT + 0.2, abs=0.01)  # nothing but the smallest
    due = RTT
    for n in range(5):
        due += rto * 2**n
        assert d.wait_for_segment() == pytest.approx(due, abs=1e-3)
        d.expect_data(*segments(0, 0))
        info = d.connection.info(d.now)
        assert (info.snd_cwnd, info.snd_ssthresh, info.ca_state) == (1, 5, "loss")
        assert (info.backoff, info.retransmits) == (n + 1, n + 1)


def test_after_a_timeout_the_window_opens_in_slow_start_and_sends_all_again():
    d = sending(10)
    d.wait_for_segment()
    d.expect_data(*segments(0, 0))
    d.wait(RTT)
    d.inject(ack=edge(1))
    d.expect_data(*segments(10, 11))  # F-RTO's question; see test_spurious
    d.wait(RTT)
    d.inject(ack=edge(1), sack=((edge(10), edge(11)),))
    d.expect_data(*segments(1, 1))
    d.inject(ack=edge(2), sack=((edge(10), edge(11)),))
    d.expect_data(*segments(2, 3))
    d.inject(ack=edge(4), sack=((edge(10), edge(11)),))
    d.expect_data(*segments(4, 7))
    d.inject(ack=edge(12))
    assert d.connection.info(d.now).ca_state == "open"


def test_the_ack_that_ends_the_loss_phase_still_grows_the_window():
    """RFC 5681 3.1: slow start from one segment, by what the application has sent or not."""
    d = sending(10, total=1)
    d.wait_for_segment()
    d.expect_data(*segments(0, 0))
    d.inject(ack=edge(1))
    assert d.connection.info(d.now).snd_cwnd == 2


def test_what_is_sacked_is_not_sent_again_after_a_timeout():
    d = sending(10, frto=False)
    d.wait_for_segment()
    d.expect_data(*segments(0, 0))
    d.wait(RTT)
    d.inject(ack=edge(1), sack=((edge(2), edge(4)),))
    d.expect_data(*segments(1, 1), *segments(4, 6))  # three have arrived: in slow start as many and one leave


def test_peer_that_reneged_gets_what_it_had_sacked():
    """RFC 2018 8: after a timeout whose ACK stops at SACKed data, the SACKs are void."""
    d = sending(10)
    d.inject(ack=edge(0), sack=((edge(1), edge(2)),))
    d.inject(ack=edge(1))
    d.sent.clear()
    d.wait_for_segment()
    d.expect_data(*segments(1, 1))


def test_timer_restarts_with_each_ack_that_advances():
    d = sending(10)
    rto = d.connection.info(0.0).rto
    d.wait(rto * 0.9)
    d.inject(ack=edge(1))
    d.sent.clear()
    rto = d.connection.info(d.now).rto
    d.wait(rto * 0.99)
    d.expect_data()
    d.wait(rto * 0.02)
    d.expect_data(*segments(1, 1))


def test_karn_no_sample_from_what_was_sent_twice():
    d = sending(10)
    d.wait_for_segment()
    before = d.connection.info(d.now)
    d.wait(0.05)
    d.inject(ack=edge(1))
    after = d.connection.info(d.now)
    assert (after.rtt, after.rto) == (before.rtt, before.rto), "the back-off stays until there is a sample"
    d.wait(0.05)
    d.sent.clear()
    d.inject(ack=edge(12))


def test_timestamps_tell_which_transmission_arrived():
    d = Dialogue.established(TcpConfig(), mss=MSS, peer_mss=MSS)
    d.write(900)
    d.expect("A", length=900)
    d.wait_for_segment()
    d.expect("A", length=900)
    d.wait(0.05)
    d.inject(ack=901)
    info = d.connection.info(d.now)
    assert info.rtt < 0.05, "7/8 of next to nothing and 1/8 of 50 ms"
    assert info.backoff == 0


def test_echo_of_the_first_arrival_is_no_round_trip_where_a_dsack_says_it_came_twice():
    d = Dialogue.established(TcpConfig(), mss=MSS, peer_mss=MSS)
    d.write(900)
    first = d.expect("A", length=900)
    d.wait(3.0)
    d.inject(ack=901, sack=((1, 901),), ts_ecr=first.ts_val)
    assert d.connection.info(d.now).rtt < 0.5


def test_unacknowledged_data_ends_the_connection_at_the_user_timeout():
    d = Dialogue.established(TcpConfig(user_timeout=5.0))
    d.write(100)
    d.wait(4.99)
    assert d.state is State.ESTABLISHED
    d.wait(0.02)
    assert (d.state, d.connection.error) == (State.CLOSED, errno.ETIMEDOUT)
    assert d.events == ["closed"]


def test_user_timeout_starts_anew_with_each_advance():
    d = Dialogue.established(TcpConfig(user_timeout=5.0))
    d.write(200)
    for n in range(1, 5):
        d.wait(4.0)
        d.inject(ack=1 + n * 20)
    assert d.state is State.ESTABLISHED
    d.wait(5.01)
    assert d.state is State.CLOSED


def test_soft_icmp_error_is_the_reason_of_the_timeout():
    d = Dialogue.established(TcpConfig(user_timeout=5.0))
    d.write(100)
    seq = (0xFFFFF000 + 1) & 0xFFFFFFFF
    d.connection.receive_error(errno.EHOSTUNREACH, True, seq, 0.0)
    assert d.state is State.ESTABLISHED
    d.wait(6.0)
    assert d.connection.error == errno.EHOSTUNREACH


def test_soft_icmp_error_before_the_last_answer_explains_nothing():
    d = Dialogue.established(TcpConfig(user_timeout=5.0))
    d.write(100)
    d.connection.receive_error(errno.EHOSTUNREACH, True, d.sent[0][1].seq, 0.0)
    d.wait(1.0)
    d.inject(ack=51)
    d.wait(6.0)
    assert d.connection.error == errno.ETIMEDOUT


def test_orphan_gives_up_after_eight_repetitions():
    d = Dialogue.established()
    d.write(100)
    d.connection.close(0.0)
    d.wait(900.0)
    assert d.state is State.CLOSED
    assert len([s for _, s in d.sent if s.payload]) == 10  # a probe (RFC 8985 7) counts for nothing
    assert d.now > 100.0


def test_fin_is_repeated_like_data():
    d = Dialogue.established()
    d.connection.shutdown(0.0)
    d.expect("FA", seq=1, at=0.0)
    d.wait_for_segment()
    d.expect("FA", seq=1, at=0.2)  # a probe
    d.wait_for_segment()
    d.expect("FA", seq=1, at=0.4)
    d.wait_for_segment()
    d.expect("FA", seq=1, at=0.8)
    d.inject(ack=2)
    assert d.state is State.FIN_WAIT_2


def test_lost_fin_rides_on_the_last_data_again():
    d = Dialogue.established(mss=MSS, peer_mss=MSS, timestamps=False)
    d.connection.write(bytes(1500))
    d.connection.shutdown(0.0)
    d.expect("A", seq=1, length=1000)
    d.expect("FA", seq=1001, length=500)
    d.inject(ack=1001)
    d.wait_for_segment()
    d.expect("FA", seq=1001, length=500)


def test_smaller_path_mtu_cuts_and_repeats_at_once():
    """RFC 1191 6.5: no congestion, no waiting for the timer."""
    d = sending(10)
    d.connection.set_path_mss(500, d.now)
    d.flush()
    starts = [(s.seq - 0xFFFFF000) & 0xFFFFFFFF for _, s in d.sent]
    assert starts == [1 + 1000 * n for n in range(10)]
    assert all(s.gso_size == 500 for _, s in d.sent)
    assert d.connection.info(d.now).snd_cwnd_bytes == 10 * MSS
    d.sent.clear()
    d.inject(ack=edge(10))
    assert d.connection.info(d.now).ca_state == "open"


def test_larger_path_mtu_changes_only_what_is_sent_next():
    d = sending(10)
    d.connection.set_path_mss(1460, d.now)
    d.quiet()


def test_super_segment_loses_one_piece_and_repeats_only_that():
    config = TcpConfig(congestion="reno", initial_window=10)
    d = Dialogue.established(config, mss=MSS, most=10 * MSS, peer_mss=MSS, timestamps=False)
    d.write(10 * MSS)
    segment = d.expect("A", seq=1, length=10 * MSS)
    assert segment.gso_size == MSS
    d.inject(ack=edge(0), sack=((edge(3), edge(10)),))
    first = d.expect("A", seq=1, length=3 * MSS) if len(d.sent[0][1].payload) > MSS else None
    if first is None:
        d.expect_data(*segments(0, 0), *segments(1, 2))
    assert d.connection.info(d.now).bytes_retrans == 3 * MSS


def test_sack_that_cuts_inside_a_segment_is_rounded_to_segments():
    """A peer can not crumble the scoreboard: only whole segments count as SACKed."""
    config = TcpConfig(congestion="reno", initial_window=10)
    d = Dialogue.established(config, mss=MSS, most=10 * MSS, peer_mss=MSS, timestamps=False)
    d.write(10 * MSS)
    for n in range(200):
        d.inject(ack=1, sack=((2 + 2 * n, 3 + 2 * n),))
    assert len(d.connection.sender.board.records) <= 11
    assert d.connection.info(d.now).sacked == 0


@pytest.mark.parametrize(
    "blocks",
    [
        ((0, 1),),
        ((edge(5), edge(5)),),
        ((edge(6), edge(5)),),
        ((edge(50), edge(60)),),
        ((edge(5), edge(500)),),
        ((-5000, edge(3)),),
    ],
)
def test_nonsense_blocks_are_ignored(blocks):
    d = sending(10)
    d.inject(ack=edge(0), sack=blocks)
    assert d.connection.info(d.now).sacked == 0


def test_spurious_loss_mark_is_forgotten_when_the_segment_arrives():
    d = sending(10)
    d.inject(ack=edge(0), sack=((edge(2), edge(6)),))
    d.sent.clear()
    d.inject(ack=edge(10))
    info = d.connection.info(d.now)
    assert (info.lost, info.sacked, info.pipe) == (0, 0, len(d.sent) * MSS)


def dropped(*numbers, size=200_000, **link):
    """A transfer whose wire segments with these numbers (from 1) are dropped. Returns (seconds, pair)."""
    pair = Pair(**link)
    pair.a.to_send = bytes(size)
    pair.a.link.drop = set(numbers)
    pair.open()
    start = pair.now
    pair.run()
    assert len(pair.b.received) == size
    return pair.now - start, pair


@pytest.mark.parametrize("lost", [(3,), (3, 4, 5), (2, 5, 8), tuple(range(15, 25)), (20,), (20, 30, 40)])
def test_holes_with_data_behind_them_never_wait_for_the_timer(lost):
    seconds, pair = dropped(*lost)
    info = pair.a.connection.info(pair.now)
    assert info.total_retrans == len(lost)
    assert seconds < 0.35
    assert max(b[0] - a[0] for a, b in zip(pair.a.link.carried, pair.a.link.carried[1:], strict=False)) < 0.1


@pytest.mark.parametrize("lost", [(137,), (135, 136, 137, 138)])
def test_lost_tail_costs_no_timeout(lost):
    size = 138 * 1448
    seconds, pair = dropped(*lost, size=size)
    assert pair.a.connection.info(pair.now).total_retrans == len(lost)
    assert seconds < 0.25


def test_echo_of_the_first_transmission_counts_only_if_it_can_not_answer_the_second():
    """Without DSACK: after a lost ACK the echo would count the wait for the timer; after a delay it is the truth."""
    for pause, believed in ((0.3, False), (0.05, True)):
        d = Dialogue(TcpConfig(sack=False), mss=MSS)
        d.inject("S", seq=0, ack=None)
        d.wait(0.1)
        d.inject("A", seq=1, ack=1)
        d.sent.clear()
        d.write(900)
        first = d.expect("A", length=900)
        d.wait_for_segment()
        d.wait(pause)
        d.inject(ack=901, ts_ecr=first.ts_val)
        assert (d.connection.info(d.now).rtt > 0.1) is believed


def test_one_segment_leaves_whatever_the_controller_says():
    d = Dialogue.established(TcpConfig(), RTT, mss=MSS, peer_mss=MSS, timestamps=False)
    d.connection.sender.congestion.cwnd = 10
    d.write(3 * MSS)
    d.expect_data(*segments(0, 0))
    d.inject(ack=edge(1))
    d.expect_data(*segments(1, 1))
