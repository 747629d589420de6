"""What waits for more: Nagle (RFC 896), TCP_CORK, MSG_MORE, TCP_NOTSENT_LOWAT; TCP_MAXSEG, TCP_QUICKACK, SO_LINGER."""

from dataclasses import replace

import pytest

from asyncstack import TcpConfig
from asyncstack.transport.tcp.state import State
from tests.transport.tcp.dialogue import Dialogue

MSS = 1448


def configure(d, **changes):
    d.connection.configure(replace(d.connection.config, **changes), d.now)
    d.flush()


def test_nagle_keeps_a_part_back_while_anything_is_outstanding():
    d = Dialogue.established(TcpConfig(nodelay=False))
    d.write(b"a" * 100)
    d.expect("A", seq=1, length=100)
    d.write(b"b" * 100)
    d.write(b"c" * MSS)
    d.expect("A", seq=101, length=MSS)
    d.quiet()
    d.inject("A", ack=101 + MSS)
    d.expect("A", seq=101 + MSS, length=100)


def test_nodelay_set_later_lets_the_part_go():
    d = Dialogue.established(TcpConfig(nodelay=False))
    d.write(b"a" * 100)
    d.expect("A", seq=1, length=100)
    d.write(b"b" * 100)
    d.quiet()
    configure(d, nodelay=True)
    d.expect("A", seq=101, length=100)


def test_cork_keeps_a_part_back_also_when_nothing_is_outstanding():
    d = Dialogue.established(TcpConfig(cork=True))
    d.write(b"a" * 100)
    d.wait(0.19)
    d.quiet()
    d.write(b"b" * MSS)
    d.expect("A", seq=1, length=MSS)
    d.quiet()
    configure(d, cork=False)
    d.expect("A", seq=1 + MSS, length=100)


def test_what_is_corked_waits_no_longer_than_200_ms():
    d = Dialogue.established(TcpConfig(cork=True))
    d.write(b"a" * 100)
    assert d.wait_for_segment() == pytest.approx(0.2, abs=1e-3)
    d.expect("A", seq=1, length=100)
    d.inject("A", ack=101)
    d.write(b"b" * 100)
    d.quiet()
    d.wait(d.connection.sender.rtt.rto)
    d.expect("A", seq=101, length=100)


def test_a_fin_pulls_the_cork():
    d = Dialogue.established(TcpConfig(cork=True))
    d.write(b"a" * 100)
    d.quiet()
    d.connection.shutdown(d.now)
    d.expect("FA", seq=1, length=100)


def test_nodelay_pushes_what_is_corked_once():
    d = Dialogue.established(TcpConfig(cork=True, nodelay=False))
    d.write(b"a" * 100)
    d.connection.sender.push()
    d.flush()
    d.expect("A", seq=1, length=100)
    d.inject("A", ack=101)
    d.write(b"b" * 100)
    d.quiet()


def test_more_is_a_cork_for_one_write():
    d = Dialogue.established()
    d.connection.sender.hold(True)
    d.write(b"a" * 100)
    d.quiet()
    d.connection.sender.hold(False)
    d.write(b"b" * 50)
    d.expect("A", seq=1, length=150)


def test_room_is_bounded_by_what_was_never_sent():
    d = Dialogue.established(TcpConfig(notsent_lowat=1000), window=2 * MSS, scale=0)
    d.write(bytes(2 * MSS))
    assert d.connection.room > 0
    d.write(bytes(999))  # beyond the window
    assert d.connection.sender.unsent == 999
    assert d.connection.room > 0
    d.write(b"x")
    assert d.connection.room == 0
    d.inject("A", ack=1 + MSS, window=2 * MSS)
    assert d.connection.room > 0


def test_maxseg_bounds_what_is_told_and_what_is_sent():
    d = Dialogue(TcpConfig(max_segment=1000))
    d.inject("S", seq=0, ack=None)
    assert d.expect("SA").mss == 1000
    d.inject("A", seq=1, ack=1)
    d.write(bytes(3000))
    d.expect_data((1, 989), (989, 1977), (1977, 2965), (2965, 3001))


def test_a_larger_maxseg_than_the_path_s_changes_nothing():
    d = Dialogue(TcpConfig(max_segment=9000))
    d.inject("S", seq=0, ack=None)
    assert d.expect("SA").mss == 1460


def test_quickack():
    d = Dialogue.established()
    receiver = d.connection.receiver
    receiver.quickack(False)
    d.inject("A", data=b"x" * 10)
    d.quiet()
    receiver.quickack(True)
    d.expect("A", ack=11)
    d.inject("A", data=b"x" * 10)
    d.expect("A", ack=21)


def test_linger_of_zero_is_a_reset():
    d = Dialogue.established(TcpConfig(linger=0.0))
    d.write(b"never arrives")
    d.sent.clear()
    d.connection.close(d.now)
    d.expect("RA")
    assert d.state is State.CLOSED


def test_a_window_clamp():
    d = Dialogue(TcpConfig(window_clamp=20_000))
    d.inject("S", seq=0, ack=None)
    d.expect("SA", window=20_000)
    d.inject("A", seq=1, ack=1)
    for _ in range(200):
        d.inject("A", data=b"x" * 1400)
        d.read()
        d.wait(0.05)
    assert {segment.window << d.connection.receiver.scale for _, segment in d.sent} <= set(
        range(20_000 + 128)
    )
    d.sent.clear()


def test_times_of_the_sender_s_history():
    d = Dialogue.established(window=2 * MSS, scale=0)
    d.write(bytes(4000))
    d.wait(0.1)
    info = d.connection.info(d.now)
    assert info.busy_time == pytest.approx(0.1)
    assert info.rwnd_limited == pytest.approx(0.1)
    d.inject("A", ack=1 + 2 * MSS, window=65535)
    d.inject("A", ack=4001)
    d.wait(5)
    info = d.connection.info(d.now)
    assert info.busy_time == pytest.approx(0.1)
    assert info.rwnd_limited == pytest.approx(0.1)
    assert info.total_rto == 0
    d.write(b"x")
    d.wait(2)
    info = d.connection.info(d.now)
    assert info.total_rto >= 1
    assert info.total_rto_recoveries == 0
    d.inject("A", ack=4002)
    assert d.connection.info(d.now).total_rto_recoveries == 1
