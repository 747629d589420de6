"""Persist, keepalive, and the deadline (RFC 9293 3.8.4, 3.8.6.1)."""

import errno
import math
from dataclasses import replace

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.state import State
from tests.transport.tcp.dialogue import Dialogue


def closed_window(config=None):
    d = Dialogue.established(config)
    d.inject(window=0)
    d.write(5000)
    d.quiet()
    return d


def test_zero_window_is_probed_ever_less_often():
    d = closed_window(TcpConfig(max_rto=10.0))
    times = []
    for _ in range(9):
        times.append(d.wait_for_segment())
        d.expect("A", seq=0, length=0)  # one below SND.UNA: the peer has to answer
        d.inject(window=0)
        d.quiet()
    gaps = [b - a for a, b in zip([0.0, *times], times, strict=False)]
    assert gaps == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0], abs=0.01)


def test_peer_that_answers_may_keep_its_window_closed_for_ever():
    d = closed_window(TcpConfig(user_timeout=60.0))
    for _ in range(200):
        d.wait_for_segment()
        d.sent.clear()
        d.inject(window=0)
    assert d.now > 1000.0
    assert d.state is State.ESTABLISHED
    d.inject(window=65535)
    assert sum(len(s.payload) for _, s in d.sent) == 5000


def test_peer_that_does_not_answer_probes_is_given_up():
    d = closed_window(TcpConfig(user_timeout=60.0))
    d.wait(59.9)
    assert d.state is State.ESTABLISHED
    d.wait(0.2)
    assert (d.state, d.connection.error) == (State.CLOSED, errno.ETIMEDOUT)


def test_orphan_is_given_up_though_the_peer_answers():
    d = closed_window(TcpConfig(user_timeout=60.0))
    d.connection.close(0.0)
    while d.state is not State.CLOSED:
        d.wait(0.5)
        d.sent.clear()
        d.inject(window=0)
        d.sent.clear()
        assert d.now < 70.0


def test_window_update_after_a_probe_sends_at_once_and_resets_the_back_off():
    d = closed_window()
    for _ in range(4):
        d.wait_for_segment()
        d.sent.clear()
    d.inject(window=1024)
    d.quiet()  # too small: wait, but from the start
    assert d.connection.deadline - d.now == pytest.approx(0.2, abs=0.01)
    d.inject(window=65535)
    assert len(d.sent) == 4


def test_window_that_closes_with_data_in_flight_is_left_to_the_retransmission_timer():
    d = Dialogue.established(
        TcpConfig(user_timeout=60.0), sack=False, mss=1000, peer_mss=1000, timestamps=False
    )
    d.write(3000)
    d.sent.clear()
    d.inject(ack=1001, window=0)  # two segments fly beyond the window
    for _ in range(10):
        d.wait_for_segment()
        d.expect("A", seq=1001, length=1000)
        d.inject(ack=1001, window=0)
        d.sent.clear()
    assert d.now > 60.0
    assert d.state is State.ESTABLISHED
    d.inject(ack=1001, window=10_240)
    d.wait(200.0)
    assert d.state is State.CLOSED, "now the peer should have acknowledged"


def test_fin_waits_for_a_window_too():
    d = Dialogue.established(window=0)
    d.connection.shutdown(0.0)
    d.quiet()
    d.wait_for_segment()
    d.expect("A", seq=0)
    d.inject(window=128)
    d.expect("FA", seq=1)


def test_answer_to_a_window_probe():
    """Ours to theirs: a segment below the window is answered; without data at most twice a second."""
    d = Dialogue.established()
    d.inject(seq=0)
    d.expect("A", ack=1)
    d.inject(seq=0)
    d.quiet()
    d.wait(0.5)
    d.inject(seq=0)
    d.expect("A", ack=1)
    d.inject(seq=0, data=b"x")
    d.expect("A", ack=1)


KEEN = TcpConfig(keepalive=True, keepalive_idle=100.0, keepalive_interval=10.0, keepalive_count=3)


def test_keepalive_asks_an_idle_peer_and_gives_up():
    d = Dialogue.established(KEEN)
    for at in (100.0, 110.0, 120.0):
        assert d.wait_for_segment() == pytest.approx(at)
        d.expect("A", seq=0, ack=1, length=0)
    d.wait(9.9)
    assert d.state is State.ESTABLISHED
    d.wait(0.2)
    assert (d.state, d.connection.error) == (State.CLOSED, errno.ETIMEDOUT)
    d.expect("RA")


def test_keepalive_is_content_with_any_segment():
    d = Dialogue.established(KEEN)
    d.wait(105.0)
    d.expect("A", seq=0)
    d.inject()
    d.wait(99.0)
    d.quiet()
    d.inject(data=b"x")
    d.wait(99.0)
    d.expect("A", ack=2)  # delayed or quick, but no probe
    d.quiet()
    d.wait(2.0)
    d.expect("A", seq=0)


def test_keepalive_leaves_outstanding_data_to_the_retransmission_timer():
    d = Dialogue.established(
        TcpConfig(keepalive=True, keepalive_idle=1.0, keepalive_interval=1.0, keepalive_count=2)
    )
    d.write(100)
    d.wait(30.0)
    assert d.state is State.ESTABLISHED
    assert all(len(s.payload) == 100 for _, s in d.sent)


def test_keepalive_can_be_turned_on_and_off():
    d = Dialogue.established()
    assert d.connection.deadline == math.inf
    d.connection.configure(KEEN, 0.0)
    assert d.connection.deadline == 100.0
    d.connection.configure(TcpConfig(), 1.0)
    assert d.connection.deadline == math.inf
    d.wait(1000.0)
    d.quiet()


def test_keepalive_is_off_by_default():
    d = Dialogue.established()
    d.wait(1e6)
    d.quiet()
    assert d.state is State.ESTABLISHED


def test_deadline_is_the_earliest_timer():
    d = Dialogue.established(KEEN)
    assert d.connection.deadline == 100.0
    d.connection.receiver.quick = 0
    d.inject(data=b"x")
    assert d.connection.deadline == pytest.approx(0.04)
    d.write(b"y")
    assert d.connection.deadline == pytest.approx(0.2, abs=1e-5)  # PTO of one segment: its ACK may be delayed
    d.inject(ack=2)
    assert d.connection.deadline == 100.0


def test_early_and_repeated_calls_of_the_timer_are_harmless():
    d = Dialogue.established(KEEN)
    d.write(b"x")
    d.sent.clear()
    for n in range(100):
        d.connection.timer_expired(n * 0.001)
    d.flush()
    d.quiet()


def test_late_timer_runs_everything_that_is_due():
    d = Dialogue.established(KEEN)
    d.connection.receiver.quick = 0
    d.write(b"x")
    d.sent.clear()
    d.inject(data=b"y")
    d.now = 50.0
    d.connection.timer_expired(50.0)
    d.flush()
    d.expect("A", ack=2, data=b"x")
    d.quiet()


def test_window_that_closes_on_data_in_flight_and_opens_again_lets_it_leave_at_once_rfc9293_3_8_6():
    """The peer did not take what it had offered room for: no waiting for a timer that has backed off."""
    d = Dialogue.established(TcpConfig(mtu_probing=False), mss=1000, peer_mss=1000, timestamps=False)
    d.write(5000)
    d.sent.clear()
    d.inject(ack=1, window=0)
    for _ in range(5):
        d.wait_for_segment()
        d.sent.clear()  # one segment again, which probes the window too
        d.inject(ack=1, window=0)
        d.sent.clear()
    assert d.now > 2.0
    d.inject(ack=1, window=1 << 17)
    d.expect("A", seq=1, length=1000)
    d.inject(ack=1001)
    d.expect_data((1001, 2001), (2001, 3001))
    assert d.connection.info(d.now).rto < 0.5
    assert d.connection.info(d.now).ca_state == "loss"


def test_window_that_shuts_and_opens_before_the_timer_rfc9293_3_8_6():
    d = Dialogue.established(mss=1000, peer_mss=1000, timestamps=False)
    d.write(3000)
    d.sent.clear()
    d.inject(ack=1, window=0)
    d.quiet()
    d.inject(ack=1, window=65_536)
    d.expect_data((1, 1001), (1001, 2001), (2001, 3001))
    assert d.connection.info(d.now).snd_ssthresh == 0x7FFFFFFF, "no sign of congestion"


def test_window_used_up_exactly_is_not_taken_for_shut():
    d = Dialogue.established(mss=1000, peer_mss=1000, timestamps=False, window=3072)
    d.write(6000)
    d.expect_data((1, 1001), (1001, 2001), (2001, 3001))
    d.inject(ack=3001, window=0)
    d.quiet()
    d.inject(ack=3001, window=3072)
    d.expect_data((3001, 4001), (4001, 5001), (5001, 6001))
    assert d.connection.info(d.now).total_retrans == 0


# the user timeout (RFC 9293 3.8.3, RFC 5482), as TCP_USER_TIMEOUT sets it

SET = TcpConfig(user_timeout=30.0, user_timeout_is_set=True)


def test_user_timeout_that_is_set_ends_a_closed_window_though_the_peer_answers_rfc5482():
    """Linux: the application said how long its data may wait, for whatever reason."""
    d = closed_window(SET)
    while d.state is not State.CLOSED:
        d.wait(0.5)
        d.sent.clear()
        d.inject(window=0)
        d.sent.clear()
        assert d.now < 32.0
    assert d.now > 29.0
    assert d.connection.error == errno.ETIMEDOUT


def test_user_timeout_counts_anew_once_the_window_has_opened():
    d = closed_window(SET)
    for _ in range(3):
        for _ in range(20):
            d.wait(1.0)
            d.sent.clear()
            d.inject(window=0)
            d.sent.clear()
        d.inject(window=2048)
        d.wait(0.3)
        size = sum(len(s.payload) for _, s in d.sent)
        assert size
        d.sent.clear()
        d.inject(ack=d.acked + size, window=0)
        d.sent.clear()
    assert d.now > 60.0
    assert d.state is State.ESTABLISHED


def test_user_timeout_takes_the_place_of_the_count_of_keepalive_probes():
    config = TcpConfig(
        keepalive=True, keepalive_idle=10.0, keepalive_interval=5.0, keepalive_count=2, user_timeout=33.0
    )
    d = Dialogue.established(replace(config, user_timeout_is_set=True))
    d.wait(34.0)
    assert len(d.sent) == 5  # at 10, 15, 20, 25, 30
    assert d.state is State.ESTABLISHED
    d.wait(2.0)
    assert (d.state, d.connection.error) == (State.CLOSED, errno.ETIMEDOUT)
    d = Dialogue.established(config)
    d.wait(20.1)
    assert d.state is State.CLOSED, "two probes where no user timeout is set"


def test_user_timeout_ends_an_open_too():
    d = Dialogue(TcpConfig(user_timeout=5.0))
    d.connection.open(0.0)
    d.wait(4.9)
    assert len(d.sent) == 3  # at 0, 1 and 3 seconds
    assert d.state is State.SYN_SENT
    d.wait(0.2)
    assert (d.state, d.connection.error) == (State.CLOSED, errno.ETIMEDOUT)


def test_user_timeout_shorter_than_the_first_retransmission():
    d = Dialogue(TcpConfig(user_timeout=0.5))
    d.connection.open(0.0)
    d.wait(0.6)
    assert (d.state, d.connection.error) == (State.CLOSED, errno.ETIMEDOUT)


# keepalive (RFC 9293 3.8.4) set on a connection that is open


def test_keepalive_switched_on_counts_from_now():
    d = Dialogue.established()
    d.wait(50.0)
    d.connection.configure(KEEN, d.now)
    assert d.wait_for_segment() == pytest.approx(150.0)


def test_shorter_idle_time_counts_the_silence_so_far():
    d = Dialogue.established(KEEN)
    d.wait(50.0)
    d.connection.configure(replace(KEEN, keepalive_idle=60.0), d.now)
    assert d.wait_for_segment() == pytest.approx(60.0)
    d = Dialogue.established(KEEN)
    d.wait(50.0)
    d.connection.configure(replace(KEEN, keepalive_idle=20.0), d.now)
    assert d.wait_for_segment() == pytest.approx(50.0)
    d.connection.configure(replace(KEEN, keepalive=False), d.now)
    assert d.connection.deadline == math.inf


# ICMP errors (RFC 5461, RFC 5927)


@pytest.mark.parametrize("hard", [True, False])
def test_icmp_error_does_not_end_an_open_connection_rfc5461_4_1(hard):
    d = Dialogue.established(TcpConfig(user_timeout=5.0))
    d.write(b"data")
    seq = d.sent[-1][1].seq
    d.connection.receive_error(errno.ECONNREFUSED, hard, seq, d.now)
    assert d.state is State.ESTABLISHED
    d.wait(6.0)
    assert (d.state, d.connection.error) == (State.CLOSED, errno.ECONNREFUSED), "but it explains the end"


@pytest.mark.parametrize("offset", [-1, 4, 1000, 1 << 31])
def test_icmp_error_about_what_is_not_in_flight_is_ignored_rfc5927_4_1(offset):
    d = Dialogue.established(TcpConfig(user_timeout=5.0))
    d.write(b"data")
    seq = (d.sent[-1][1].seq + offset) & 0xFFFFFFFF
    assert not d.connection.in_flight(seq)
    d.connection.receive_error(errno.ECONNREFUSED, True, seq, d.now)
    d.wait(6.0)
    assert d.connection.error == errno.ETIMEDOUT


def test_hard_error_about_our_syn_ends_the_open_rfc5461_4_1():
    d = Dialogue()
    d.connection.open(0.0)
    seq = d.expect("S").seq
    d.connection.receive_error(errno.ECONNREFUSED, True, (seq + 1) & 0xFFFFFFFF, d.now)
    assert d.state is State.SYN_SENT, "not of that SYN"
    d.connection.receive_error(errno.EHOSTUNREACH, False, seq, d.now)
    assert d.state is State.SYN_SENT, "soft: another try may get through"
    d.connection.receive_error(errno.ECONNREFUSED, True, seq, d.now)
    assert (d.state, d.connection.error) == (State.CLOSED, errno.ECONNREFUSED)


def test_user_timeout_does_not_count_before_the_syn_has_left():
    """The next hop may have to be found first; whoever looks for it says so if that fails."""
    d = Dialogue()
    d.now = 5000.0
    d.connection.open(d.now)
    for _ in range(3):
        d.now = d.connection.deadline
        d.connection.timer_expired(d.now)
    assert d.state is State.SYN_SENT
