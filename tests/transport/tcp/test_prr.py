"""RFC 9937 (and 6937), proportional rate reduction: what leaves for what arrives while the window goes down."""

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp import recovery
from asyncstack.transport.tcp.congestion import AckSample
from asyncstack.transport.tcp.congestion.prr import ProportionalRateReduction
from tests.transport.tcp.dialogue import Dialogue

MSS = 1000
RTT = 0.1


def edge(n):
    return 1 + n * MSS


def segments(*numbers):
    return tuple((edge(n), edge(n + 1)) for n in numbers)


def sending(count=10, total=100):
    """`count` segments have left a round trip ago. CUBIC: ssthresh is 0.7 of the window."""
    config = TcpConfig(initial_window=count)
    d = Dialogue.established(config, RTT, mss=MSS, peer_mss=MSS, timestamps=False, window=1 << 20)
    d.write(total * MSS)
    d.expect_data(*segments(*range(min(count, total))))
    d.wait(RTT)
    return d


def look(d):
    info = d.connection.info(d.now)
    return info.ca_state, info.snd_cwnd, info.snd_ssthresh


def test_one_loss_of_twenty_seven_leave_for_ten_that_arrive():
    d = sending(20)
    d.inject(ack=edge(0), sack=((edge(1), edge(4)),))
    left = len(d.sent)
    d.sent.clear()
    for n in range(4, 20):
        d.inject(ack=edge(0), sack=((edge(1), edge(n + 1)),))
        assert len(d.sent) <= 1, "the ACK clock goes on: no gap, no burst"
        left += len(d.sent)
        d.sent.clear()
    assert left == 14  # of 19 that have arrived, rounded up
    d.wait(RTT)
    d.inject(ack=edge(20))
    assert look(d)[0] == "open"
    assert look(d)[2] == 14


def test_in_flight_at_ssthresh_one_leaves_for_each_that_arrives():
    """Section 6.2, CRB: with nothing to send at first, what is in flight falls to ssthresh by itself."""
    d = sending(10, 10)
    for n in range(1, 4):
        d.inject(ack=edge(0), sack=((edge(1), edge(n + 1)),))
    d.expect_data(*segments(0))
    assert look(d) == ("recovery", 7, 7)
    d.write(7 * MSS)
    d.expect_data()
    for n in range(4, 10):
        d.inject(ack=edge(0), sack=((edge(1), edge(n + 1)),))
        d.expect_data(*segments(n + 6))
    d.inject(ack=edge(10))
    d.expect_data(*segments(16))
    assert look(d) == ("open", 7, 7), "section 6.4: the window is ssthresh in the end"


def test_heavy_loss_slow_start_with_each_ack_that_advances():
    """Section 6.2, SSRB: fewer are in flight than ssthresh, so an ACK that moves SND.UNA lets one more leave."""
    d = sending(20, 20)
    d.inject(ack=edge(0), sack=((edge(16), edge(19)),))
    d.expect_data(*segments(0, 1, 2))  # as many as have arrived: no burst of all that ssthresh allows
    d.inject(ack=edge(0), sack=((edge(16), edge(20)),))
    d.expect_data(*segments(3))
    d.wait(RTT)
    d.inject(ack=edge(1), sack=((edge(16), edge(20)),))
    d.expect_data(*segments(4, 5))
    d.inject(ack=edge(2), sack=((edge(16), edge(20)),))
    d.expect_data(*segments(6, 7))


def test_an_ack_that_shows_more_loss_is_not_safe():
    d = sending(20, 20)
    d.inject(ack=edge(0), sack=((edge(10), edge(13)),))
    d.expect_data(*segments(0, 1, 2))
    d.wait(RTT)
    d.inject(ack=edge(1), sack=((edge(16), edge(17)), (edge(10), edge(13))))
    d.expect_data(*segments(3, 4))


def test_the_fast_retransmission_leaves_in_any_case():
    reduction = ProportionalRateReduction(100 * MSS)
    sample = AckSample()
    sample.pipe, sample.sent = 98 * MSS, 7000
    assert reduction.window(sample, 50 * MSS, MSS) == 99 * MSS


def test_an_ecn_echo_reduces_by_the_same_rule():
    d = sending(20)
    d.write(20 * MSS)
    recovery.enter_cwr(d.connection.sender, d.now)
    left = 0
    for n in range(1, 21):
        d.inject(ack=edge(n))
        assert len(d.sent) <= 2
        left += len(d.sent)
        d.sent.clear()
    assert left == 14
    assert look(d) == ("cwr", 14, 14)
    d.inject(ack=edge(21))
    assert look(d)[0] == "open"


@pytest.mark.parametrize("pipe", range(21))
@pytest.mark.parametrize("delivered", [0, 1, 3, 20])
def test_never_more_leaves_than_ssthresh_and_what_arrives_allow(pipe, delivered):
    reduction = ProportionalRateReduction(20 * MSS)
    sample = AckSample()
    sample.pipe, sample.delivered_now, sample.sent = pipe * MSS, delivered * MSS, 0
    cwnd = reduction.window(sample, 14 * MSS, MSS)
    assert pipe * MSS <= cwnd <= max(14, pipe + delivered, pipe + 1) * MSS
    assert cwnd - pipe * MSS <= max(delivered, 1) * MSS


def test_an_ack_that_was_overtaken_still_tells_what_is_sacked():
    """Its number lies below SND.UNA; what it SACKs has left the network all the same."""
    d = sending(10, 10)
    for blocks in ((edge(1), edge(2)),), ((edge(1), edge(3)),), ((edge(1), edge(3)), (edge(8), edge(9))):
        d.inject(ack=edge(0), sack=blocks)
    d.expect_data(*segments(0))
    d.wait(RTT)
    d.inject(ack=edge(4), sack=((edge(8), edge(9)),))
    d.expect_data(*segments(4, 5, 6))
    d.write(10 * MSS)
    d.wait(0.02)
    d.inject(ack=edge(3), sack=((edge(5), edge(7)),))
    d.expect_data(*segments(7, 10))
