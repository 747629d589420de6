"""RFC 6298: the retransmission timer backs off, and what ends that. No timestamps; the round trip is 100 ms."""

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.rtt import RttEstimator
from tests.transport.tcp.dialogue import Dialogue
from tests.transport.tcp.pair import Pair

MSS = 1000
RTT = 0.1


def timed_out(times, *, wait=0.0):
    """One segment, sent `times` times more by the timer."""
    config = TcpConfig(sack=False, mtu_probing=False)
    d = Dialogue.established(config, RTT, mss=MSS, peer_mss=MSS, sack=False, timestamps=False)
    d.write(MSS)
    d.expect("A", seq=1, length=MSS)
    for _ in range(times):
        d.wait_for_segment()
        d.expect("A", seq=1, length=MSS)
    d.wait(wait)
    return d


def look(d):
    return d.connection.info(d.now)


def test_section_5_5_each_timeout_doubles():
    first = look(timed_out(0)).rto
    assert look(timed_out(4)).rto == pytest.approx(16 * first)
    assert look(timed_out(12)).rto == 120.0


def test_section_3_karn_an_ack_of_a_repetition_is_no_sample():
    d = timed_out(4, wait=RTT)
    before = look(d)
    d.inject(ack=1 + MSS)
    assert (look(d).rtt, look(d).rttvar) == (before.rtt, before.rttvar)


def test_an_answer_in_the_usual_time_ends_the_backoff():
    """It fits the estimate, so there is nothing to back off from: the losses were losses."""
    d = timed_out(4, wait=RTT)
    d.inject(ack=1 + MSS)
    assert look(d).backoff == 0
    assert look(d).rto < 0.5


@pytest.mark.parametrize("late", [0.01, 1.0], ids=["too early to be one", "too late to be one"])
def test_section_5_7_another_answer_keeps_it(late):
    d = timed_out(4, wait=late)
    rto = look(d).rto
    d.inject(ack=1 + MSS)
    assert look(d).rto == rto
    d.write(MSS)
    d.wait(RTT)
    d.inject(ack=1 + 2 * MSS)
    assert look(d).rto < 0.5, "a sample ends it"


def test_one_segment_in_five_lost_without_sack_and_timestamps():
    """Samples are rare there. (105 s with a backoff that only they end; the RTO stood at 120 s.)"""
    seconds = []
    for seed in range(5):
        pair = Pair(
            seed,
            *(TcpConfig(sack=False, timestamps=False, mtu_probing=False) for _ in range(2)),
            loss=0.2,
            delay=0.02,
        )
        pair.a.to_send = bytes(100_000)
        pair.open()
        start = pair.now
        pair.run_while(lambda pair=pair: len(pair.b.received) < 100_000, limit=1000.0)
        seconds.append(pair.now - start)
    assert max(seconds) < 60.0, seconds


def test_a_path_of_the_smallest_packets_carries_data():
    """RFC 791: 68 bytes; with timestamps 16 are left for data, and none beside SACK blocks."""
    d = Dialogue.established(TcpConfig(), RTT, mss=1460, peer_mss=1460)
    d.connection.set_path_mss(28, d.now)
    d.inject(seq=1001, data=bytes(100))
    d.inject(seq=2001, data=bytes(100))
    d.sent.clear()
    d.write(40)
    (segment,) = [s for _, s in d.sent if s.payload]
    assert (len(segment.payload), segment.gso_size, segment.sack) == (40, 16, ())


def test_answer_to_a_smaller_repetition_comes_sooner():
    """A slow link carries half a segment in less time than any round trip so far took."""
    rtt = RttEstimator(1.0, 0.2, 120.0)
    for _ in range(20):
        rtt.update(0.1)
    assert rtt.expects(0.06)
    assert not rtt.expects(0.03)  # more likely the answer to an earlier transmission
