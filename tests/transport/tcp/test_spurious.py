"""Needless retransmissions are found out, and the window comes back: RFC 5682 (F-RTO), 3522 and 4015 (Eifel), DSACK.

Segments of 1,000 bytes, a round trip of 100 ms.
"""

import pytest

from asyncstack.config import TcpConfig
from tests.transport.tcp.dialogue import Dialogue

MSS = 1000
RTT = 0.1
INFINITE = 0x7FFFFFFF


def edge(n):
    return 1 + n * MSS


def segments(*numbers):
    return tuple((edge(n), edge(n + 1)) for n in numbers)


def sending(count=10, total=100, *, sack=True, timestamps=False, **settings):
    """`count` segments have left a round trip ago."""
    settings = {"initial_window": count, "tail_loss_probe": False} | settings
    d = Dialogue.established(
        TcpConfig(sack=sack, **settings),
        RTT,
        mss=MSS + 12 * timestamps,
        peer_mss=MSS + 12 * timestamps,
        sack=sack,
        timestamps=timestamps,
        window=1 << 20,
    )
    d.write(total * MSS)
    d.expect_data(*segments(*range(min(count, total))))
    d.wait(RTT)
    return d


def look(d):
    info = d.connection.info(d.now)
    return info.ca_state, info.snd_cwnd, info.snd_ssthresh


def timed_out(**options):
    """The timer expired, and the first segment has left once more."""
    d = sending(**options)
    first = d.our_ts
    d.wait_for_segment()
    d.expect_data(*segments(0))
    assert look(d)[:2] == ("loss", 1)
    d.wait(0.02)
    return d, first


def test_rfc5682_section_3_1_a_sack_of_what_was_sent_once_proves_the_timeout_spurious():
    d, _ = timed_out()
    d.inject(ack=edge(0), sack=((edge(1), edge(2)),))
    assert look(d)[0] == "disorder"
    assert look(d)[1:] == (10, INFINITE)
    assert d.connection.info(d.now).lost == 0


def test_rfc5682_section_2_1_two_acks_without_sack():
    """Step 2b: new data instead of repetitions; step 3b: the next ACK covers what was sent once."""
    d, _ = timed_out(sack=False)
    d.inject(ack=edge(1))
    d.expect_data(*segments(10, 11))
    assert look(d)[0] == "loss"
    d.inject(ack=edge(2))
    assert look(d) == ("open", 10 + 1, INFINITE)  # and slow start goes on
    d.expect_data(*segments(12))


def test_rfc5682_section_2_1_step_3a_a_duplicate_means_that_the_loss_was_real():
    d, _ = timed_out(sack=False)
    d.inject(ack=edge(1))
    d.expect_data(*segments(10, 11))
    d.inject(ack=edge(1))
    d.expect_data(*segments(1))
    assert look(d)[0] == "loss"
    assert look(d)[2] < 10
    d.inject(ack=edge(2))
    d.expect_data(*segments(2, 3))


def test_rfc5682_section_3_1_step_3a_news_of_the_new_data_means_that_the_loss_was_real():
    d, _ = timed_out()
    d.inject(ack=edge(1))
    d.expect_data(*segments(10, 11))
    d.inject(ack=edge(1), sack=((edge(10), edge(11)),))
    d.expect_data(*segments(1))
    assert look(d)[0] == "loss"
    assert look(d)[2] == 7


def test_rfc5682_step_2b_without_new_data_the_conventional_recovery_follows():
    d, _ = timed_out(total=10)
    d.inject(ack=edge(1))
    d.expect_data(*segments(1, 2))


def test_rfc5682_step_2b_the_peers_window_may_forbid_new_data():
    d, _ = timed_out()
    d.inject(ack=edge(1), window=9 * 1024)
    d.expect_data(*segments(1, 2))


def test_rfc5682_section_2_1_step_1_not_for_a_timeout_in_fast_recovery():
    d = sending()
    d.inject(ack=edge(0), sack=((edge(1), edge(4)),))
    d.sent.clear()
    d.wait_for_segment()
    d.expect_data(*segments(0))
    assert look(d)[0] == "loss"
    d.inject(ack=edge(0), sack=((edge(1), edge(6)),))
    assert look(d)[0] == "loss"


def test_rfc5682_may_be_turned_off():
    d, _ = timed_out(frto=False)
    d.inject(ack=edge(0), sack=((edge(1), edge(2)),))
    assert look(d)[0] == "loss"


def test_rfc3522_the_echo_of_the_original_proves_the_timeout_spurious():
    d, first = timed_out(timestamps=True, sack=False, frto=False)
    d.inject(ack=edge(1), ts_ecr=first)
    assert look(d) == ("open", 11, INFINITE)
    assert d.connection.info(d.now).lost == 0


def test_rfc3522_the_echo_of_the_repetition_proves_nothing():
    d, _ = timed_out(timestamps=True, frto=False)
    d.wait(RTT)
    d.inject(ack=edge(1))
    assert look(d)[0] == "loss"


def test_rfc4015_section_3_2_after_a_spurious_timeout_the_rto_covers_the_longer_round_trip():
    d, first = timed_out(timestamps=True)
    before = d.connection.info(d.now)
    assert before.backoff == 1
    taken = d.now - RTT
    d.inject(ack=edge(1), ts_ecr=first)
    info = d.connection.info(d.now)
    assert (info.backoff, info.retransmits) == (0, 0)
    d.wait(taken)
    d.inject(ack=edge(2))
    info = d.connection.info(d.now)
    assert info.rtt > 2 * RTT, "the sample counts in full"
    assert info.rto > info.rtt + 2 * info.rttvar


def test_rfc3522_a_fast_retransmission_that_was_needless_is_taken_back():
    """Three segments overtook one; its ACK echoes the timestamp of the original."""
    d = sending(timestamps=True)
    first = d.our_ts
    d.wait(0.005)
    d.inject(ack=edge(0), sack=((edge(1), edge(4)),), ts_ecr=first)
    assert look(d)[0] == "recovery"
    assert look(d)[2] == 7
    d.wait(0.002)
    d.inject(ack=edge(4), ts_ecr=first)
    assert look(d)[1:] == (10 + 1, INFINITE)
    assert look(d)[0] == "open"


@pytest.mark.parametrize("late", [False, True], ids=["in recovery", "after it"])
def test_rfc2883_every_repetition_reported_as_a_duplicate_takes_the_reduction_back(late):
    d = sending()
    d.inject(ack=edge(0), sack=((edge(1), edge(4)),))
    d.expect_data(*segments(0))
    d.wait(0.02)
    d.inject(ack=edge(10) if late else edge(4))
    assert look(d)[0] == ("open" if late else "recovery")
    assert look(d)[2] == 7
    d.inject(ack=edge(10) if late else edge(4), sack=((edge(0), edge(1)),))
    assert look(d)[0] == "open"
    assert look(d)[2] == INFINITE
    assert look(d)[1] >= 10


def test_rfc2883_one_of_two_repetitions_is_not_enough():
    d = sending()
    d.inject(ack=edge(0), sack=((edge(2), edge(6)),))
    d.expect_data(*segments(0, 1, 10))
    d.inject(ack=edge(6))
    d.inject(ack=edge(6), sack=((edge(0), edge(1)),))
    assert look(d)[::2] == ("recovery", 7)
    d.inject(ack=edge(6), sack=((edge(1), edge(2)),))
    assert look(d)[::2] == ("open", INFINITE)


def test_a_dsack_of_what_was_never_sent_again_does_nothing():
    d = sending()
    d.inject(ack=edge(3))
    d.sent.clear()
    d.inject(ack=edge(3), sack=((edge(1), edge(2)),))
    assert look(d)[0] == "open"
    d.inject(ack=edge(3), sack=((edge(4), edge(7)),))
    d.inject(ack=edge(3), sack=((edge(1), edge(2)), (edge(4), edge(7))))
    assert look(d)[0] == "recovery"


def test_a_reduction_that_ecn_asked_for_is_not_taken_back():
    from asyncstack.transport.tcp import recovery

    d = sending()
    recovery.enter_cwr(d.connection.sender, d.now)
    d.inject(ack=edge(0), sack=((edge(1), edge(4)),))
    assert look(d)[0] == "recovery"
    d.inject(ack=edge(4))
    d.inject(ack=edge(4), sack=((edge(0), edge(1)),))
    assert look(d)[2] == 7


def test_cubic_goes_on_along_its_curve_rfc9438_section_4_9():
    d = sending(congestion="cubic")
    control = d.connection.sender.congestion
    before = control._w_max, control._k
    d.inject(ack=edge(0), sack=((edge(1), edge(4)),))
    assert (control._w_max, control._k) != before
    d.inject(ack=edge(4))
    d.inject(ack=edge(4), sack=((edge(0), edge(1)), (edge(0), edge(1))))
    d.sent.clear()
    assert (control._w_max, control._k) == before
