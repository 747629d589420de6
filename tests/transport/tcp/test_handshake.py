"""Opening: RFC 9293 3.5, options (RFC 6691, 7323, 2018), retries (RFC 6298)."""

import errno

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.state import State
from tests.transport.tcp.dialogue import OUR_ISS, PEER_ISS, Dialogue
from tests.transport.tcp.pair import Pair

MASK = 0xFFFFFFFF


def connecting(config=None, **options):
    d = Dialogue(config, **options)
    d.connection.open(0.0)
    return d


def test_active_open_rfc9293_figure_6():
    d = connecting()
    syn = d.expect("S", seq=0, at=0.0)
    assert (syn.mss, syn.sack_permitted, syn.window, syn.ack) == (1460, True, 65535, 0)
    assert syn.window_scale == 7, "the smallest shift that lets 6 MiB fit"
    assert syn.ts_val >= 0
    d.inject("SA", seq=0, ack=1)
    d.expect("A", seq=1, ack=1)
    assert d.state is State.ESTABLISHED
    assert d.events == ["opened"]
    d.quiet()


def test_passive_open():
    d = Dialogue()
    d.inject("S", seq=0, ack=None)
    answer = d.expect("SA", seq=0, ack=1)
    assert (answer.mss, answer.window_scale, answer.sack_permitted) == (1460, 7, True)
    assert answer.ts_ecr == 5000, "the SYN's timestamp comes back"
    assert d.state is State.SYN_RECEIVED
    assert d.events == []
    d.inject("A", seq=1, ack=1)
    assert d.state is State.ESTABLISHED
    assert d.events == ["opened"]


def test_data_may_come_with_the_ack_that_opens():
    d = Dialogue()
    d.inject("S", seq=0, ack=None)
    d.expect("SA")
    d.inject("A", seq=1, ack=1, data=b"hello")
    assert d.events == ["opened", "readable"]
    assert d.read() == b"hello"


def test_simultaneous_open_rfc9293_figure_7():
    d = connecting()
    d.expect("S", seq=0)
    d.inject("S", seq=0, ack=None)
    assert d.state is State.SYN_RECEIVED
    d.expect("SA", seq=0, ack=1)
    d.inject("SA", seq=0, ack=1)
    assert d.state is State.ESTABLISHED
    assert d.events == ["opened"]


def test_simultaneous_open_of_two_real_ones():
    pair = Pair()
    pair.a.connection.open(pair.now)
    pair.b.connection.open(pair.now)
    pair.a.to_send, pair.b.to_send = b"a" * 5000, b"b" * 7000
    pair.run()
    assert bytes(pair.a.received) == b"b" * 7000
    assert bytes(pair.b.received) == b"a" * 5000
    assert pair.a.events[0] == pair.b.events[0] == "opened"


def test_syn_is_repeated_with_doubled_intervals_and_ends_in_etimedout():
    d = connecting()
    d.wait(126.9)
    assert [t for t, _ in d.sent] == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0]
    assert d.state is State.SYN_SENT
    d.wait(0.1)
    assert d.connection.error == errno.ETIMEDOUT
    assert d.events == ["closed"]
    assert d.connection.deadline == float("inf")


def test_syn_ack_is_repeated_and_given_up():
    d = Dialogue(TcpConfig(synack_retries=2))
    d.inject("S", seq=0, ack=None)
    d.wait(60.0)
    assert [t for t, _ in d.sent] == [0.0, 1.0, 3.0]
    assert d.state is State.CLOSED


def test_repeated_syn_is_answered_again():
    d = Dialogue()
    d.inject("S", seq=0, ack=None)
    d.expect("SA")
    d.now = 0.5
    d.inject("S", seq=0, ack=None)
    assert d.expect("SA", seq=0, ack=1).ts_ecr == 5500, "the echo is of this SYN, not of the first"


def test_repeated_syn_takes_no_repetition_from_the_syn_ack():
    """A SYN that came twice must not shorten the handshake: all five repetitions are made, as on Linux."""
    d = Dialogue()
    d.inject("S", seq=0, ack=None)
    d.expect("SA", at=0.0)
    d.inject("S", seq=0, ack=None)
    d.expect("SA", at=0.0)
    for at in (1.0, 3.0, 7.0, 15.0, 31.0):
        d.wait_for_segment()
        d.expect("SA", at=at)
    d.wait(31.9)
    assert d.connection.state is State.SYN_RECEIVED
    d.wait(0.2)
    assert d.connection.state is State.CLOSED


def test_syn_repeated_for_ever_does_not_keep_a_connection_half_open():
    d = Dialogue(TcpConfig(synack_retries=3))
    d.inject("S", seq=0, ack=None)
    for _ in range(30):  # 1 + 2 + 4 + 8 seconds
        d.inject("S", seq=0, ack=None)
        d.wait(0.5)
    assert d.state is State.CLOSED
    assert d.connection.error == errno.ETIMEDOUT


def test_round_trip_after_a_simultaneous_open_counts_from_the_first_syn():
    d = connecting()
    d.expect("S")
    d.wait(0.1)
    d.inject("S", seq=0, ack=None)
    d.expect("SA")
    d.wait(0.1)
    d.inject("SA", seq=0, ack=1)
    assert d.connection.info(d.now).rtt == pytest.approx(0.2)


def test_refused():
    d = connecting()
    d.expect("S")
    d.inject("RA", seq=0, ack=1)
    assert d.state is State.CLOSED
    assert d.connection.error == errno.ECONNREFUSED


@pytest.mark.parametrize("flags, ack", [("R", None), ("RA", 7), ("RA", 0)])
def test_reset_without_the_right_ack_is_ignored(flags, ack):
    d = connecting()
    d.expect("S")
    d.inject(flags, seq=0, ack=ack)
    assert d.state is State.SYN_SENT
    d.quiet()


def test_old_syn_ack_is_reset_rfc9293_figure_9():
    """Recovery from an old duplicate: an ACK for what was never sent is answered by RST, the open goes on."""
    d = connecting()
    d.expect("S")
    d.inject("SA", seq=0, ack=91)
    d.expect("R", seq=91)
    assert d.state is State.SYN_SENT
    d.inject("SA", seq=0, ack=1)
    d.expect("A", seq=1, ack=1)


def test_wrong_ack_in_syn_received_is_reset():
    d = Dialogue()
    d.inject("S", seq=0, ack=None)
    d.expect("SA")
    d.inject("A", seq=1, ack=2)
    d.expect("R", seq=2)
    assert d.state is State.SYN_RECEIVED
    d.inject("A", seq=1, ack=1)
    assert d.state is State.ESTABLISHED


def test_reset_in_syn_received_closes_quietly():
    d = Dialogue()
    d.inject("S", seq=0, ack=None)
    d.expect("SA")
    d.inject("R", seq=1, ack=None)
    assert d.state is State.CLOSED
    d.quiet()


def test_options_only_where_both_offer_them():
    d = Dialogue(scale=-1, sack=False, timestamps=False)
    d.inject("S", seq=0, ack=None)
    answer = d.expect("SA")
    assert (answer.window_scale, answer.sack_permitted, answer.ts_val) == (-1, False, -1)
    d.inject("A", seq=1, ack=1, window=5000)
    info = d.connection.info(d.now)
    assert info.options == ()
    assert (info.snd_mss, info.snd_wnd) == (1460, 5000)


def test_options_that_we_do_not_want():
    d = Dialogue(TcpConfig(timestamps=False, sack=False, window_scaling=False))
    d.connection.open(0.0)
    syn = d.expect("S")
    assert (syn.window_scale, syn.sack_permitted, syn.ts_val) == (-1, False, -1)


def test_window_in_a_syn_is_not_scaled():
    d = connecting()
    d.expect("S")
    d.inject("SA", seq=0, ack=1, window=65535)
    assert d.connection.info(0.0).snd_wnd == 65535
    d.inject("A", window=1 << 20)
    assert d.connection.info(0.0).snd_wnd == 1 << 20


@pytest.mark.parametrize(
    "ours, peers, segment", [(1460, 536, 524), (536, 1460, 524), (1460, 0, 524), (1460, 1, 76)]
)
def test_mss_is_the_smaller_one_less_options(ours, peers, segment):
    """RFC 6691; a peer that does not say gets 536, one that says nonsense the least that makes sense."""
    d = Dialogue.established(mss=ours, peer_mss=peers)
    assert d.connection.info(0.0).snd_mss == segment


@pytest.mark.parametrize(
    "size, shift", [(65535, 0), (65536, 1), (1 << 20, 5), (4 << 20, 7), (1 << 30, 14), (1 << 40, 14)]
)
def test_window_shift_fits_the_receive_buffer(size, shift):
    d = connecting(TcpConfig(receive_buffer=size))
    assert d.expect("S").window_scale == shift


def test_first_round_trip_time_comes_from_the_handshake():
    d = connecting()
    d.expect("S")
    d.wait(0.3)
    d.inject("SA", seq=0, ack=1)
    info = d.connection.info(d.now)
    assert info.rtt == pytest.approx(0.3)
    assert info.rto == pytest.approx(0.3 + 4 * 0.15)
    assert info.snd_cwnd == 10


def test_lost_syn_means_a_window_of_one_segment_and_a_long_rto():
    """RFC 5681 3.1 and RFC 6298 5.7, where no timestamp says which SYN was answered."""
    d = connecting(TcpConfig(timestamps=False), timestamps=False)
    d.expect("S")
    d.wait(1.0)
    d.expect("S")
    d.inject("SA", seq=0, ack=1)
    info = d.connection.info(d.now)
    assert (info.snd_cwnd, info.rto) == (1, 3.0)


def test_lost_syn_with_timestamps_still_gives_a_sample():
    d = connecting()
    d.expect("S")
    d.wait(1.0)
    d.expect("S")
    d.wait(0.05)
    d.inject("SA", seq=0, ack=1)
    info = d.connection.info(d.now)
    assert info.rtt == pytest.approx(0.05, abs=0.002)
    assert info.snd_cwnd == 1


def test_answer_to_a_syn_of_long_ago_is_no_round_trip():
    """A SYN-ACK that the peer repeats still echoes the SYN that it got, however long ago that was. Taken for a round
    trip it would put the first retransmission of data off by a minute."""
    d = connecting()
    d.expect("S")
    first = d.our_ts
    for at in (1.0, 3.0, 7.0, 15.0):
        d.wait_for_segment()
        d.expect("S", at=at)
    d.wait(10.0)
    d.inject("SA", seq=0, ack=1, ts_ecr=first)
    info = d.connection.info(d.now)
    assert (info.rto, info.rtt) == (3.0, 0.0), "RFC 6298 5.7"


def test_hard_icmp_error_ends_the_open_and_a_soft_one_explains_the_timeout():
    d = connecting()
    d.expect("S")
    d.connection.receive_error(errno.EHOSTUNREACH, False, OUR_ISS, 0.0)
    assert d.state is State.SYN_SENT
    d.wait(200.0)
    assert d.connection.error == errno.EHOSTUNREACH

    d = connecting()
    d.expect("S")
    d.connection.receive_error(errno.ECONNREFUSED, True, OUR_ISS + 1, 0.0)
    assert d.state is State.SYN_SENT, "that number was never sent (RFC 5927)"
    d.connection.receive_error(errno.ECONNREFUSED, True, OUR_ISS, 0.0)
    assert d.connection.error == errno.ECONNREFUSED


def test_next_hop_unreachable_ends_an_open_at_once():
    d = connecting()
    d.connection.receive_unreachable(errno.EHOSTUNREACH, 0.0)
    assert (d.state, d.connection.error) == (State.CLOSED, errno.EHOSTUNREACH)


def test_abort_before_anything_was_agreed_says_nothing():
    d = connecting()
    d.expect("S")
    d.connection.abort(0.1)
    d.quiet()
    assert d.state is State.CLOSED


def test_abort_in_syn_received_sends_reset():
    d = Dialogue()
    d.inject("S", seq=0, ack=None)
    d.expect("SA")
    d.connection.abort(0.1)
    d.expect("RA", seq=1, ack=1)


def test_shutdown_and_data_before_the_open_wait_for_it():
    d = connecting()
    d.connection.write(b"early")
    d.connection.shutdown(0.0)
    d.expect("S")
    d.quiet()
    d.inject("SA", seq=0, ack=1)
    d.expect("FA", seq=1, ack=1, data=b"early")
    assert d.state is State.FIN_WAIT_1


def test_payload_of_a_syn_is_left_for_the_peer_to_repeat():
    d = Dialogue()
    d.inject("S", seq=0, ack=None, data=b"fast")
    d.expect("SA", ack=1)
    d.inject("A", seq=1, ack=1, data=b"fast")
    assert d.read() == b"fast"


def test_syn_with_fin_and_all_lights_on():
    """A Christmas-tree SYN-ACK opens, and its FIN ends the peer's half (RFC 9293 3.10.7.3)."""
    d = connecting()
    d.expect("S")
    d.inject("SFUPA", seq=0, ack=1)
    assert d.state is State.CLOSE_WAIT
    d.expect("A", ack=2)


def test_data_on_a_syn_ack_is_taken():
    d = connecting()
    d.expect("S")
    d.inject("SA", seq=0, ack=1, data=b"hello")
    d.expect("A", ack=6)
    assert d.read() == b"hello"


def test_ports_and_numbers_on_the_wire():
    d = Dialogue.established()
    d.write(b"x")
    segment = d.expect("A", data=b"x")
    assert (segment.src_port, segment.dst_port) == (80, 4000)
    assert segment.seq == (OUR_ISS + 1) & MASK
    assert segment.ack == (PEER_ISS + 1) & MASK
