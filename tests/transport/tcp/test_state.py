"""Every state with every event: RFC 9293 figure 5 and 3.10, with the challenges of RFC 5961."""

import errno

import pytest

from asyncstack.transport.tcp.state import SYNCHRONIZED, TRANSITIONS, State, Trigger
from asyncstack.transport.tcp.time_wait import entry_of
from tests.transport.tcp.dialogue import Dialogue

S = State


def syn_sent():
    d = Dialogue()
    d.connection.open(0.0)
    d.expect("S")
    return d


def syn_received():
    d = Dialogue()
    d.inject("S", seq=0, ack=None)
    d.expect("SA")
    return d


def established():
    return Dialogue.established()


def fin_wait_1():
    d = established()
    d.connection.shutdown(0.0)
    d.expect("FA", seq=1)
    return d


def fin_wait_2():
    d = fin_wait_1()
    d.inject("A", ack=2)
    return d


def close_wait():
    d = established()
    d.inject("FA")
    d.expect("A", ack=2)
    return d


def closing():
    d = fin_wait_1()
    d.inject("FA", ack=1)
    d.expect("A", ack=2)
    return d


def last_ack():
    d = close_wait()
    d.connection.shutdown(0.0)
    d.expect("FA", seq=1)
    return d


def time_wait():
    d = fin_wait_2()
    d.inject("FA")
    d.expect("A", ack=2)
    return d


def closed():
    d = established()
    d.connection.abort(0.0)
    d.expect("RA")
    return d


REACH = {
    S.SYN_SENT: syn_sent,
    S.SYN_RECEIVED: syn_received,
    S.ESTABLISHED: established,
    S.FIN_WAIT_1: fin_wait_1,
    S.FIN_WAIT_2: fin_wait_2,
    S.CLOSE_WAIT: close_wait,
    S.CLOSING: closing,
    S.LAST_ACK: last_ack,
    S.TIME_WAIT: time_wait,
    S.CLOSED: closed,
}
OPEN_STATES = tuple(state for state in REACH if state in SYNCHRONIZED)
RECEIVING = (S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2)


def fresh(state):
    d = REACH[state]()
    assert d.state is state
    d.quiet()
    d.events.clear()
    d.now += 1.0  # past the limit on challenges
    return d


def every(*states):
    return pytest.mark.parametrize("state", states, ids=lambda state: state.name)


def test_table_names_only_transitions_of_figure_5():
    figure = {
        (S.CLOSED, Trigger.ACTIVE_OPEN, S.SYN_SENT),
        (S.CLOSED, Trigger.PASSIVE_OPEN, S.LISTEN),
        (S.LISTEN, Trigger.SYN, S.SYN_RECEIVED),
        (S.SYN_SENT, Trigger.SYN, S.SYN_RECEIVED),
        (S.SYN_SENT, Trigger.SYN_ACK, S.ESTABLISHED),
        (S.SYN_RECEIVED, Trigger.ACK_OF_SYN, S.ESTABLISHED),
        (S.ESTABLISHED, Trigger.CLOSE, S.FIN_WAIT_1),
        (S.ESTABLISHED, Trigger.FIN, S.CLOSE_WAIT),
        (S.FIN_WAIT_1, Trigger.ACK_OF_FIN, S.FIN_WAIT_2),
        (S.FIN_WAIT_1, Trigger.FIN, S.CLOSING),
        (S.FIN_WAIT_2, Trigger.FIN, S.TIME_WAIT),
        (S.CLOSING, Trigger.ACK_OF_FIN, S.TIME_WAIT),
        (S.CLOSE_WAIT, Trigger.CLOSE, S.LAST_ACK),
        (S.LAST_ACK, Trigger.ACK_OF_FIN, S.CLOSED),
    }
    assert {(a, t, b) for (a, t), b in TRANSITIONS.items() if t is not Trigger.END} == figure
    ends = {(state, Trigger.END) for state in S if state is not S.CLOSED}
    assert {key for key in TRANSITIONS if key[1] is Trigger.END} == ends
    assert all(TRANSITIONS[key] is S.CLOSED for key in ends)


@pytest.mark.parametrize(
    "key", [k for k in TRANSITIONS if k[0] in REACH and k[1] is not Trigger.END], ids=str
)
def test_each_transition_is_made_by_its_event(key):
    state, trigger = key
    if state is S.CLOSED:
        d = Dialogue()
        if trigger is Trigger.ACTIVE_OPEN:
            d.connection.open(0.0)
            assert d.state is S.SYN_SENT
        else:
            d.inject("S", seq=0, ack=None)
            assert d.state is S.SYN_RECEIVED
        return
    d = fresh(state)
    if trigger is Trigger.SYN:
        d.inject("S", seq=0, ack=None)
    elif trigger is Trigger.SYN_ACK:
        d.inject("SA", seq=0, ack=1)
    elif trigger is Trigger.ACK_OF_SYN:
        d.inject("A", seq=1, ack=1)
    elif trigger is Trigger.CLOSE:
        d.connection.shutdown(d.now)
        d.expect("FA")
    elif trigger is Trigger.FIN:
        d.inject("FA")
        d.wait(0.04)
        d.expect("A", ack=d.peer_nxt)
    else:
        d.inject("A", ack=2)
    assert d.state is TRANSITIONS[key]


@every(*[state for state in OPEN_STATES if state is not S.TIME_WAIT])
def test_exact_reset_ends(state):
    d = fresh(state)
    d.inject("R", ack=None)
    assert d.state is S.CLOSED
    d.quiet()
    # in the last two the peer had everything
    words = {S.CLOSE_WAIT: errno.EPIPE, S.CLOSING: 0, S.LAST_ACK: 0}
    assert d.connection.error == words.get(state, errno.ECONNRESET)
    assert d.events == ["closed"]
    assert d.connection.deadline == float("inf")


@pytest.mark.parametrize("offset", [0, 1])
def test_reset_does_not_end_time_wait_rfc1337(offset):
    d = fresh(S.TIME_WAIT)
    d.inject("R", seq=d.peer_nxt + offset, ack=None)
    assert d.state is S.TIME_WAIT
    d.quiet()


@every(*[state for state in OPEN_STATES if state is not S.TIME_WAIT])
def test_reset_elsewhere_in_the_window_is_challenged_rfc5961_3(state):
    d = fresh(state)
    d.inject("R", seq=d.peer_nxt + 1, ack=None)
    assert d.state is state
    d.expect("A")
    d.quiet()


@every(*OPEN_STATES, S.SYN_RECEIVED)
@pytest.mark.parametrize("offset", [-1, 1 << 21])
def test_reset_outside_the_window_is_ignored(state, offset):
    d = fresh(state)
    d.inject("R", seq=d.peer_nxt + offset, ack=None)
    assert d.state is state
    d.quiet()


@every(*OPEN_STATES)
@pytest.mark.parametrize("offset", [0, 100, -5])
def test_syn_is_challenged_rfc5961_4(state, offset):
    d = fresh(state)
    d.inject("S", seq=d.peer_nxt + offset, ack=None)
    assert d.state is state
    d.expect("A")
    d.quiet()


@every(*OPEN_STATES)
def test_ack_of_what_was_never_sent_is_challenged_rfc5961_5(state):
    d = fresh(state)
    d.inject("A", ack=50)
    d.acked = 1
    assert d.state is state
    d.expect("A")
    d.inject("A", ack=60)
    d.quiet()  # one challenge in half a second


@every(*OPEN_STATES)
def test_very_old_ack_is_challenged_and_its_data_dropped(state):
    d = fresh(state)
    d.inject("A", ack=1 - 100_000, data=b"injected")
    d.expect("A")
    assert d.connection.unread == 0


@every(*OPEN_STATES)
def test_segment_without_ack_is_dropped(state):
    d = fresh(state)
    d.inject("F", ack=None, data=b"no ack")
    assert d.state is state
    assert d.connection.unread == 0
    d.quiet()


@every(*OPEN_STATES)
def test_old_segment_is_answered_with_what_is_expected(state):
    """RFC 9293 3.10.7.4, first check: unacceptable, an ACK goes back and nothing else happens."""
    d = fresh(state)
    expected = d.peer_nxt
    d.inject("A", seq=expected - 1, data=b"x")
    d.expect("A", ack=expected)
    assert d.state is state


@every(*OPEN_STATES)
def test_data_counts_only_before_the_peers_fin(state):
    d = fresh(state)
    d.inject("A", data=b"late or not")
    assert d.connection.unread == (11 if state in RECEIVING else 0)
    d.wait(0.1)
    d.expect("A", ack=d.peer_nxt if state in RECEIVING else 2)


@every(*OPEN_STATES)
def test_fin_of_the_peer(state):
    d = fresh(state)
    d.inject("FA", seq=1 if state not in RECEIVING else None)
    after = {S.ESTABLISHED: S.CLOSE_WAIT, S.FIN_WAIT_1: S.CLOSING, S.FIN_WAIT_2: S.TIME_WAIT}
    assert d.state is after.get(state, state)
    d.wait(0.04)
    d.expect("A", ack=2)
    assert ("eof" in d.events) is (state in RECEIVING)


def test_fin_that_acknowledges_ours_goes_straight_to_time_wait():
    d = fresh(S.FIN_WAIT_1)
    d.inject("FA", ack=2)
    assert d.state is S.TIME_WAIT
    d.expect("A", seq=2, ack=2)
    assert d.events == ["eof", "writable", "closed"]


@every(*REACH)
def test_abort(state):
    d = fresh(state)
    d.connection.abort(d.now)
    assert d.state is S.CLOSED
    if state not in (S.SYN_SENT, S.TIME_WAIT, S.CLOSED):
        d.expect("RA", ack=d.connection.receiver.nxt - d.connection.receiver.start + 1)
    d.quiet()
    assert d.connection.error == 0
    assert d.connection.deadline == float("inf")


@every(*REACH)
def test_close(state):
    d = fresh(state)
    d.connection.close(d.now)
    after = {
        S.SYN_SENT: S.CLOSED,
        S.ESTABLISHED: S.FIN_WAIT_1,
        S.CLOSE_WAIT: S.LAST_ACK,
    }
    assert d.state is after.get(state, state)
    d.connection.close(d.now)  # harmless


@every(*REACH)
def test_fail_ends_without_a_word(state):
    d = fresh(state)
    d.connection.fail(errno.ENETDOWN)
    d.quiet()
    assert d.state is S.CLOSED
    assert d.connection.error == (0 if state is S.CLOSED else errno.ENETDOWN)


@every(*REACH)
def test_every_method_is_harmless_in_every_state(state):
    d = fresh(state)
    connection = d.connection
    connection.timer_expired(d.now)
    connection.receive_error(errno.EHOSTUNREACH, False, 12345, d.now)
    connection.set_path_mss(1000, d.now)
    connection.configure(connection.config, d.now)
    assert connection.read() == []
    connection.info(d.now)
    assert (entry_of(connection) is not None) is (state is S.TIME_WAIT)
    assert connection.queued == connection.unread == 0
    assert connection.send_buffer_limit >= 128 << 10
    connection.shutdown(d.now)
    connection.shutdown(d.now)
    with pytest.raises(RuntimeError):
        connection.write(b"too late")
