"""Samples of the delivery rate, and what is noted with them (draft-cheng-iccrg-delivery-rate-estimation)."""

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.congestion import AckSample
from asyncstack.transport.tcp.delivery_rate import take_sample
from asyncstack.transport.tcp.scoreboard import Scoreboard
from tests.transport.tcp.dialogue import Dialogue

MSS = 1000


def edge(n):
    return 1 + n * MSS


def sending(segments=10, window=10):
    d = Dialogue(
        TcpConfig(congestion="reno", initial_window=window),
        mss=MSS,
        peer_mss=MSS,
        timestamps=False,
        window=1 << 20,
    )
    d.inject("S", seq=0, ack=None)
    d.expect("SA", seq=0, ack=1)
    d.wait(0.1)
    d.inject("A", seq=1, ack=1)
    d.write(segments * MSS)
    d.sent.clear()
    return d, d.connection.sender.sample


def test_rate_of_what_was_delivered_since_the_segment_left():
    d, sample = sending(30)
    d.wait(0.1)
    d.inject(ack=edge(4))
    assert (sample.fresh, sample.delivered, sample.interval) == (True, 4 * MSS, pytest.approx(0.1))
    d.wait(0.05)
    d.inject(ack=edge(10))
    assert (sample.delivered, sample.interval) == (10 * MSS, pytest.approx(0.15))
    d.wait(0.05)  # what left with the first ACK
    d.inject(ack=edge(14))
    assert (sample.delivered, sample.interval) == (10 * MSS, pytest.approx(0.1))
    assert (sample.prior_delivered, sample.total_delivered) == (4 * MSS, 14 * MSS)
    assert sample.latest_rtt == pytest.approx(0.1)
    assert d.connection.info(d.now).delivery_rate == pytest.approx(100_000)


def test_rate_is_bounded_by_that_of_sending():
    """ACKs that waited somewhere arrive at once and tell nothing of the path (4.1.2 of the draft)."""
    d, _ = sending(2)
    d.wait(0.1)
    d.inject(ack=edge(2))
    for _ in range(8):
        d.write(MSS)
        d.wait(0.01)
    d.wait(0.02)
    for n in range(3, 11):
        d.inject(ack=edge(n))
    sample = d.connection.sender.sample
    assert sample.delivered == 8 * MSS
    assert sample.interval == pytest.approx(0.1), "0.03 s since the last one left, but they left over 0.07 s"


def test_a_bubble_of_the_application_marks_what_is_in_flight_with_it():
    d, _ = sending(14)
    d.wait(0.1)
    d.inject(ack=edge(10))
    assert d.connection.sender.sample.app_limited, "before anything was delivered nobody can tell"
    d.wait(0.1)
    d.inject(ack=edge(14))
    assert not d.connection.sender.sample.app_limited, (
        "there was more when the tenth left; only then the queue ran dry"
    )
    d.write(2 * MSS)
    d.wait(0.1)
    d.inject(ack=edge(16))
    assert d.connection.sender.sample.app_limited, "they left behind a bubble"
    d.write(100 * MSS)
    d.wait(0.1)
    d.inject(ack=edge(20))
    assert d.connection.sender.sample.app_limited
    d.wait(0.1)
    d.inject(ack=edge(40))
    assert not d.connection.sender.sample.app_limited, "sent when all of the bubble was delivered"


def test_a_writer_that_leaves_something_over_is_not_limited():
    """The window is not full yet, but the queue is not empty either."""
    d = Dialogue.established(
        TcpConfig(congestion="reno", initial_window=10), mss=MSS, peer_mss=MSS, window=4 * MSS
    )
    d.write(30 * MSS)
    d.wait(0.1)
    d.inject(ack=1 + 4 * (MSS - 12))
    d.wait(0.1)
    d.inject(ack=1 + 8 * (MSS - 12))
    sample = d.connection.sender.sample
    assert (sample.delivered, sample.app_limited) == (4 * (MSS - 12), False)


def test_a_repetition_that_answers_too_soon_gives_no_sample():
    """The ACK is of an earlier transmission: sent and delivered in less than a round trip."""
    board, sample = Scoreboard(), AckSample()
    board.sent(0, 1000, MSS, 1.0, 1000)
    again = board.sent(1000, 2000, MSS, 1.0, 2000)
    board.acknowledge(1000)
    take_sample(board, sample, 0.1, 1.1)
    assert (sample.fresh, sample.delivered, sample.latest_rtt) == (True, 1000, pytest.approx(0.1))
    board.mark_lost(again)
    board.sent_again(again, 1000, MSS, 1.11, 1000, 2000)
    again.first_sent = 1.11
    board.acknowledge(2000)
    take_sample(board, sample, 0.1, 1.115)
    assert not sample.fresh
    assert (sample.delivered, sample.interval) == (1000, pytest.approx(0.1)), "the last sound one stays"
    assert sample.latest_rtt == 0.0


def test_the_segment_sent_last_counts_not_the_one_that_stands_last():
    """A repetition of the first segment is newer than all behind it."""
    d, sample = sending(10)
    d.wait(0.1)
    d.inject(ack=edge(0), sack=((edge(1), edge(4)),))
    d.expect(seq=edge(0), length=MSS)
    d.wait(0.1)
    d.inject(ack=edge(10))
    assert sample.prior_delivered == 3 * MSS
    assert (sample.delivered, sample.interval) == (7 * MSS, pytest.approx(0.1))
    assert sample.lost_since == 0, "the loss was found before the repetition left"


def test_flight_and_loss_are_noted():
    d, sample = sending(10)
    lost = []
    d.connection.sender.board.on_lost = lambda size, in_flight, *_: lost.append((in_flight, size))
    d.wait(0.1)
    d.inject(ack=edge(0), sack=((edge(5), edge(10)),))
    assert sample.in_flight == 10 * MSS, "the tenth left with all of them in the network"
    assert sum(size for _, size in lost) == sample.lost_since == 5 * MSS
    assert lost[0] == (1 * MSS, MSS)
    assert lost[-1] == (5 * MSS, MSS)


def test_an_exchange_of_messages_puts_its_samples_off_until_somebody_asks():
    d = Dialogue.established(TcpConfig(congestion="reno"), mss=MSS, peer_mss=MSS, window=100 * MSS)
    sender = d.connection.sender
    for n in range(1, 4):
        d.write(100)
        d.wait(0.1)
        d.inject(ack=1 + 100 * n)
    assert sender._sample is None, "nobody has asked"
    info = d.connection.info(d.now)
    assert (info.delivery_rate, info.delivery_rate_app_limited) == (pytest.approx(1000), True)
    assert (sender.sample.delivered, sender.sample.interval) == (100, pytest.approx(0.1))
