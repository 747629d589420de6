"""SEGMENT ARRIVES (RFC 9293 3.10.7.4), PAWS (RFC 7323 5), and the end of connections (RFC 9293 3.6)."""

import errno

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.state import State
from asyncstack.transport.tcp.time_wait import entry_of
from tests.transport.tcp.dialogue import Dialogue


def test_orderly_close_rfc9293_figure_12():
    d = Dialogue.established()
    d.connection.close(0.0)
    d.expect("FA", seq=1, ack=1)
    assert d.state is State.FIN_WAIT_1
    d.inject("A", ack=2)
    assert d.state is State.FIN_WAIT_2
    d.inject("FA")
    d.expect("A", seq=2, ack=2)
    assert d.state is State.TIME_WAIT
    assert "closed" in d.events
    assert d.connection.error == 0
    entry = entry_of(d.connection)
    assert entry.ts_recent == 5000


def test_simultaneous_close_rfc9293_figure_13():
    d = Dialogue.established()
    d.connection.close(0.0)
    d.expect("FA", seq=1, ack=1)
    d.inject("FA", ack=1)
    d.expect("A", seq=2, ack=2)
    assert d.state is State.CLOSING
    d.inject("A", ack=2)
    assert d.state is State.TIME_WAIT


def test_half_close_leaves_the_other_direction_open():
    d = Dialogue.established()
    d.connection.shutdown(0.0)
    d.expect("FA", seq=1)
    d.inject("A", ack=2, data=b"still")
    d.inject("A", data=b" talking")
    assert d.read() == b"still talking"
    d.sent.clear()
    d.inject("FA")
    assert d.state is State.TIME_WAIT


def test_half_closed_by_the_peer_may_send_on():
    d = Dialogue.established()
    d.inject("FA", data=b"question")
    assert d.read() == b"question"
    assert d.events == ["readable", "eof"]
    d.sent.clear()
    d.write(b"answer")
    d.expect("A", seq=1, ack=10, data=b"answer")
    d.inject("A", ack=7)
    d.connection.shutdown(d.now)
    d.expect("FA", seq=7)
    assert d.state is State.LAST_ACK
    d.inject("A", ack=8)
    assert (d.state, d.connection.error) == (State.CLOSED, 0)
    d.quiet()


def test_fin_behind_a_hole_waits_for_it():
    d = Dialogue.established()
    d.inject("FA", seq=6, data=b"world")
    d.expect("A", ack=1, sack=((6, 11),))
    assert d.state is State.ESTABLISHED
    d.inject("A", seq=1, data=b"hello")
    d.expect("A", ack=12)
    assert d.state is State.CLOSE_WAIT
    assert d.read() == b"helloworld"


def test_data_behind_a_fin_does_not_exist():
    d = Dialogue.established()
    d.inject("FA", seq=4, data=b"end")
    d.inject("A", seq=7, data=b"beyond")
    d.inject("A", seq=1, data=b"the")
    assert d.read() == b"theend"
    assert d.state is State.CLOSE_WAIT
    d.inject("A", seq=8, data=b"beyond")
    assert d.connection.unread == 0


def test_second_fin_elsewhere_is_ignored():
    d = Dialogue.established()
    d.inject("FA", seq=10)
    d.inject("FA", seq=4)
    d.inject("A", seq=1, data=b"012345678")
    assert d.read() == b"012345678"
    assert d.state is State.CLOSE_WAIT


def test_repeated_fin_is_acknowledged_again():
    d = Dialogue.established()
    d.inject("FA")
    d.expect("A", ack=2, at=0.0)
    d.inject("FA", seq=1)
    d.expect("A", ack=2)
    assert d.events == ["eof"]


def test_our_fin_takes_the_ack_of_the_peers_along():
    d = Dialogue.established()
    d.inject("A", data=b"bye")
    d.expect("A", ack=4)
    d.read()
    d.inject("FA", seq=4)
    d.quiet()
    d.connection.close(d.now)
    d.expect("FA", seq=1, ack=5)
    d.wait(0.1)
    d.quiet()


def test_fin_fits_a_closed_window():
    d = Dialogue.established(TcpConfig(receive_buffer=1000, window_scaling=False))
    d.inject("A", data=bytes(1000))
    d.sent.clear()
    d.inject("FA", seq=1001)
    assert d.state is State.CLOSE_WAIT


def test_close_with_unread_data_resets_rfc2525():
    d = Dialogue.established()
    d.inject("A", data=b"unread")
    d.sent.clear()
    d.connection.close(0.0)
    d.expect("RA", seq=1, ack=7)
    assert (d.state, d.connection.error) == (State.CLOSED, 0)


@pytest.mark.parametrize("finned", [False, True])
def test_data_after_close_is_reset(finned):
    d = Dialogue.established()
    d.connection.close(0.0)
    d.expect("FA")
    if finned:
        d.inject("A", ack=2)
    d.inject("A", data=b"nobody reads this")
    d.expect("RA", ack=1)
    assert d.state is State.CLOSED
    d.quiet()


def test_old_data_after_close_is_only_acknowledged():
    d = Dialogue.established()
    d.inject("A", data=b"abc")
    d.read()
    d.sent.clear()
    d.connection.close(0.0)
    d.expect("FA", ack=4)
    d.inject("A", seq=1, data=b"abc")
    d.expect("A", ack=4)
    assert d.state is State.FIN_WAIT_1


def test_fin_wait_2_ends_after_close_but_not_after_shutdown():
    d = Dialogue.established(TcpConfig(fin_wait_2=30.0))
    d.connection.close(0.0)
    d.expect("FA")
    d.inject("A", ack=2)
    d.wait(29.9)
    assert d.state is State.FIN_WAIT_2
    d.wait(0.2)
    assert (d.state, d.connection.error) == (State.CLOSED, 0)

    d = Dialogue.established(TcpConfig(fin_wait_2=30.0))
    d.connection.shutdown(0.0)
    d.expect("FA")
    d.inject("A", ack=2)
    d.wait(1000.0)
    assert d.state is State.FIN_WAIT_2
    d.connection.close(d.now)
    d.wait(30.1)
    assert d.state is State.CLOSED


def test_reset_tells_the_application():
    d = Dialogue.established()
    d.inject("A", data=b"last words")
    d.inject("RA")
    assert d.events == ["readable", "closed"]
    assert d.connection.error == errno.ECONNRESET
    assert d.read() == b"last words"


def test_challenges_are_limited_rfc5961_7():
    d = Dialogue.established()
    for _ in range(50):
        d.inject("S", seq=5, ack=None)
        d.inject("R", seq=9, ack=None)
    d.expect("A")
    d.quiet()
    d.wait(0.5)
    d.inject("R", seq=9, ack=None)
    d.expect("A")


def test_challenge_lets_a_peer_that_restarted_in():
    """RFC 5961 4: the peer forgot the connection, its SYN is challenged, its RST then stands exactly right."""
    d = Dialogue.established()
    d.write(b"x")
    d.sent.clear()
    d.inject("S", seq=0x12345, ack=None)
    challenge = d.expect("A", ack=1)
    d.inject("R", seq=(challenge.ack - 0xFFFFFF00) & 0xFFFFFFFF, ack=None)
    assert (d.state, d.connection.error) == (State.CLOSED, errno.ECONNRESET)


def test_paws_drops_what_an_old_timestamp_marks_as_old():
    d = Dialogue.established()
    d.now = 10.0
    d.inject("A", data=b"new", ts_val=20_000)
    d.sent.clear()
    d.inject("A", data=b"old", ts_val=19_999)
    d.expect("A", ack=4)
    assert d.read() == b"new"


def test_paws_lets_a_reset_through():
    d = Dialogue.established()
    d.inject("A", data=b"new", ts_val=20_000)
    d.inject("R", ack=None, ts_val=1)
    assert d.state is State.CLOSED


def test_paws_forgets_after_24_days():
    d = Dialogue.established()
    d.inject("A", data=b"new", ts_val=20_000)
    d.now = 25 * 86400.0
    d.inject("A", data=b"er", ts_val=(20_000 - 100_000) & 0xFFFFFFFF)
    assert d.read() == b"newer"


def test_segment_without_the_timestamps_agreed_on_is_dropped_rfc7323_3_2():
    d = Dialogue.established()
    d.timestamps = False
    d.inject("A", data=b"naked")
    assert d.connection.unread == 0
    d.inject("R", seq=1, ack=None)
    assert d.state is State.CLOSED, "but a reset counts"


def test_timestamp_echo_is_of_the_segment_that_the_ack_is_for():
    """RFC 7323 4.3: of the first of two segments acknowledged together; not of one out of order."""
    d = Dialogue.established()
    d.connection.receiver.quick = 0
    d.inject("A", data=bytes(1448), ts_val=6000)
    d.inject("A", data=bytes(1448), ts_val=6010)
    assert d.expect("A", ack=2897).ts_ecr == 6000
    d.inject("A", seq=4345, data=b"ahead", ts_val=6020)
    assert d.expect("A", ack=2897).ts_ecr == 6000
    d.inject("A", seq=2897, data=bytes(1448), ts_val=6030)
    assert d.expect("A", ack=4350).ts_ecr == 6030


def test_urgent_data_is_read_in_line_rfc6093():
    d = Dialogue.established()
    d.inject("UA", data=b"be!fore", urgent=3)
    assert d.read() == b"be!fore"


def test_window_shrunk_by_the_peer_is_obeyed():
    d = Dialogue.established(mss=1000, peer_mss=1000, timestamps=False, window=10_240)
    d.write(20_000)
    assert len(d.sent) == 10
    d.sent.clear()
    d.inject("A", ack=2001, window=4096)
    d.inject("A", ack=4001, window=4096)
    d.quiet()  # 6,000 bytes fly, a window of 4,096
    d.inject("A", ack=10_001, window=4096)
    d.expect_data((10_001, 11_001), (11_001, 12_001), (12_001, 13_001), (13_001, 14_001))


def test_old_window_does_not_replace_a_newer_one():
    """SND.WL1: a segment that was overtaken says nothing about the window."""
    d = Dialogue.established(window=10_240)
    d.inject("A", data=b"second", seq=8, window=20_480)
    d.inject("A", data=b"first.!", seq=1, window=5120)
    assert d.connection.info(0.0).snd_wnd == 20_480


def test_icmp_errors_after_the_open_are_only_noted():
    d = Dialogue.established()
    d.write(b"x")
    seq = d.sent[-1][1].seq
    assert d.connection.in_flight(seq)
    assert not d.connection.in_flight(seq + 1)
    assert not d.connection.in_flight(seq - 1)
    d.connection.receive_error(errno.ECONNREFUSED, True, seq, 0.0)
    d.connection.receive_unreachable(errno.EHOSTUNREACH, 0.0)
    assert d.state is State.ESTABLISHED
