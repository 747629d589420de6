"""TCP_DEFER_ACCEPT, as Linux has it: a connection is accepted when its first data is there, or after the time given."""

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.state import State
from tests.transport.tcp.dialogue import Dialogue


def deferring(seconds=10, **config):
    d = Dialogue(TcpConfig(defer_accept=seconds, **config))
    d.inject("S", seq=0, ack=None)
    d.expect("SA", seq=0, ack=1, at=0.0)
    return d


def test_the_bare_ack_opens_nothing():
    d = deferring()
    d.wait(0.01)
    d.inject("A", seq=1, ack=1)
    d.quiet()
    assert d.state is State.SYN_RECEIVED and not d.events


def test_data_opens_it_with_a_full_first_window():
    """The time that the client took to think is no round trip, and nothing was lost."""
    d = deferring()
    d.inject("A", seq=1, ack=1)
    d.wait(6.0)  # two time-outs of a SYN-ACK that was answered
    d.quiet()
    d.inject("A", seq=1, ack=1, data=b"GET")
    assert d.state is State.ESTABLISHED
    assert d.events == ["opened", "readable"]
    assert d.read() == b"GET"
    d.sent.clear()
    d.write(20_000)
    d.expect_data(*((1 + 1448 * n, 1 + 1448 * (n + 1)) for n in range(10)))
    assert d.connection.sender.rtt.rto < 3.0


def test_a_fin_opens_it():
    d = deferring()
    d.inject("A", seq=1, ack=1)
    d.inject("FA", seq=1, ack=1)
    assert d.state is State.CLOSE_WAIT
    assert d.events == ["opened", "eof"]


def test_data_without_the_ack_before_it_opens_it():
    d = deferring()
    d.wait(0.1)
    d.inject("A", seq=1, ack=1, data=b"GET")
    assert d.events == ["opened", "readable"]
    assert d.connection.sender.rtt.rto == pytest.approx(0.3, abs=0.05)  # this is a round trip


@pytest.mark.parametrize(("seconds", "at"), [(1, 1), (2, 3), (3, 3), (5, 7), (10, 15), (15, 15), (16, 31)])
def test_when_the_time_is_over_the_client_is_asked_once_more(seconds, at):
    """1, 2, 4 ... seconds, as many as reach the time given; its answer then opens the connection without data."""
    d = deferring(seconds)
    d.inject("A", seq=1, ack=1)
    d.wait(at - 0.01)
    d.quiet()
    d.wait(0.02)
    d.expect("SA", seq=0, ack=1, at=at)
    d.inject("A", seq=1, ack=1)
    assert d.state is State.ESTABLISHED and d.events == ["opened"]


def test_a_client_that_is_gone_by_then_is_forgotten():
    d = deferring(5)
    d.inject("A", seq=1, ack=1)
    d.wait(200)
    assert d.state is State.CLOSED and d.events == ["closed"]
    assert [round(at) for at, _ in d.sent] == [7, 15, 31]  # 5 time-outs are the limit for any SYN-ACK


def test_a_syn_ack_that_is_lost_is_repeated_all_the_same():
    d = deferring(10)
    d.wait(3.1)
    assert [round(at) for at, _ in d.sent] == [1, 3]
    d.sent.clear()
    d.inject("A", seq=1, ack=1)
    d.wait(5)
    d.expect("SA", at=7.0) if d.sent else None
    assert d.state is State.SYN_RECEIVED


def test_without_it_nothing_is_deferred():
    d = deferring(0)
    d.inject("A", seq=1, ack=1)
    assert d.state is State.ESTABLISHED
