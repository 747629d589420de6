"""Where two mechanisms meet that were built apart; each case was a defect."""

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp import urgent
from asyncstack.transport.tcp.black_hole import MtuSearch
from asyncstack.transport.tcp.ecn import CE
from asyncstack.transport.tcp.memory import MemoryBudget
from asyncstack.transport.tcp.phase import LOSS, OPEN, Phase
from asyncstack.transport.tcp.scoreboard import Scoreboard, Transmission
from asyncstack.transport.tcp.state import State
from asyncstack.wire.tcp import CWR
from tests.transport.tcp.dialogue import Dialogue
from tests.transport.tcp.pair import Pair
from tests.transport.tcp.test_accecn import accepted
from tests.transport.tcp.test_black_hole import in_black_hole

MSS = 1448


@pytest.mark.parametrize("settings", [{"congestion": "bbr"}, {"pacing": True}, {"nodelay": False}])
def test_count_with_the_bit_of_cwr_is_not_sent_on_super_segments_whatever_paces(settings):
    """AccECN: what cuts below us leaves CWR on the first piece only; the pacer has its own idea of a super-segment."""
    d = accepted(most=16 * 1460, rtt=0.1, initial_window=100, **settings)
    for _ in range(2):
        d.inject("ANE", data=bytes(100), ecn=CE)
    d.sent.clear()
    d.connection.configure(d.connection.config, d.now)
    d.write(100_000)
    d.wait(0.05)
    marked = [segment for _, segment in d.sent if segment.flags & CWR]
    assert marked
    assert not any(segment.gso_size for segment in marked)


def test_path_change_keeps_the_count_off_super_segments():
    d = accepted(most=16 * 1460, initial_window=100)
    for _ in range(2):
        d.inject("ANE", data=bytes(100), ecn=CE)
    d.sent.clear()
    d.connection.set_path_mss(1000, d.now)
    d.write(20_000)
    marked = [segment for _, segment in d.sent if segment.flags & CWR]
    assert marked
    assert not any(segment.gso_size for segment in marked)


@pytest.mark.parametrize("size", [700, 1000, 1012])
def test_black_hole_swallows_a_segment_that_is_small_already(size):
    """RFC 4821 7.7: less than the base, and yet too large for the path."""
    pair = Pair(delay=0.01, largest=500)
    pair.a.to_send = bytes(size)
    pair.open()
    pair.run()
    assert len(pair.b.received) == size


def test_urgent_data_leaves_in_single_segments_where_pacing_has_its_own_idea_of_their_size():
    d = Dialogue.established(TcpConfig(pacing=True, initial_window=100), rtt=0.1, most=16 * 1460)
    d.connection.write(bytes(20_000))
    urgent.mark(d.connection)
    d.wait(0.09)
    assert len(d.sent) == 14
    assert not any(segment.gso_size for _, segment in d.sent)


def test_probe_on_its_way_says_nothing_of_the_size_that_the_path_is_said_to_carry_since():
    search = MtuSearch(500, 1000)
    search.outstanding = Transmission(Scoreboard(), 0, 1000, 1000, 0.0, 1000)
    search.limit(9000)
    if search.outstanding is not None:
        search.succeeded()
    assert search.low <= 1000


def test_spurious_timeout_does_not_take_back_what_an_ecn_echo_asked_for():
    """An earlier recovery has left its mark that the window was reduced."""
    d = Dialogue(TcpConfig(ecn="passive", tail_loss_probe=False))
    d.inject("SCE", seq=0, ack=None)
    d.expect("SAE")
    d.wait(0.1)
    d.inject("A", seq=1, ack=1)
    sender, control = d.connection.sender, d.connection.sender.congestion
    d.write(10 * MSS)
    d.wait(0.1)
    d.inject(ack=1, sack=((1 + MSS, 1 + 4 * MSS),))
    d.wait(0.1)
    d.inject(ack=1 + 10 * MSS)
    assert sender.phase is OPEN
    d.write(10 * MSS)
    d.sent.clear()
    before = control.cwnd
    d.wait(0.1)
    echoed = d.our_ts
    d.inject("AE", ack=1 + 11 * MSS)
    assert sender.phase is Phase.CWR
    threshold = control.ssthresh
    assert threshold < before
    d.sent.clear()
    d.wait_for_segment()
    while sender.phase is not LOSS:
        d.sent.clear()
        d.wait_for_segment()
    d.inject(ack=1 + 12 * MSS, ts_ecr=echoed)
    d.inject(ack=1 + 13 * MSS, ts_ecr=echoed)
    assert sender.phase is OPEN, "the timeout came too early"
    assert control.ssthresh == threshold


def test_pieces_joined_to_be_sent_again_remember_all_that_was_in_flight():
    """BBR takes the root of it: below 0 that raises."""
    board = Scoreboard()
    board.sent(0, 10, 1448, 0.0, 10)
    board.sent(10, 1448, 1448, 0.0, 1448)
    first, second = board.records
    board.mark_lost(first)
    board.mark_lost(second)
    board.gather(first, 1448)
    board.unmark_lost()  # the window had no room, and then it was a mistake
    board.cut(first, 1412)
    assert all(record.in_flight >= record.end - record.start for record in board.records)


def test_reset_lets_go_of_what_was_held_ahead_of_a_hole():
    """Nobody will ever read that; what came in order can still be read."""
    memory = MemoryBudget(1 << 20)
    d = Dialogue.established(memory=memory)
    d.inject(data=bytes(100))
    d.inject(seq=1101, data=bytes(1000))
    d.inject("RA", seq=101)
    assert d.state is State.CLOSED
    assert d.connection.unread == 100
    assert memory.held <= 100


def test_no_probe_where_its_loss_could_not_be_told_from_an_old_one():
    """RFC 6582 3.2: without SACK, duplicates right after a recovery show no loss; a probe lost then costs a timeout."""
    d = in_black_hole(TcpConfig(initial_window=20), sack=False)
    d.sent.clear()
    d.inject(ack=1 + 20 * MSS)
    assert d.connection.sender.congestion.cwnd > 11 * 1012
    assert {len(segment.payload) for _, segment in d.sent} == {1012}
    d.sent.clear()
    d.inject(ack=1 + 20 * MSS + 2 * 1012)
    assert len(d.sent[0][1].payload) == MSS, "the probe, once something new has arrived"


@pytest.mark.parametrize("second", ["off", "passive", "on", "accecn"])
@pytest.mark.parametrize("first", ["off", "passive", "on", "accecn"])
def test_simultaneous_open_ends_with_one_idea_of_ecn(first, second):
    """Who sends ECT to a peer that ignores the marks does not react to congestion."""
    pair = Pair(config_a=TcpConfig(ecn=first), config_b=TcpConfig(ecn=second))
    pair.a.close_after = pair.b.close_after = False
    pair.open()
    pair.b.connection.open(pair.now)
    pair.run(10.0)
    ends = [pair.a.connection, pair.b.connection]
    assert [end.state for end in ends] == [State.ESTABLISHED] * 2
    assert len({type(end.ecn) for end in ends}) == 1


def test_largest_segment_set_on_a_live_connection_sends_nothing_again():
    """As on Linux the handshake has settled it; a path that becomes wider is no reason to give up what is in flight."""
    d = Dialogue.established()
    d.write(5 * MSS)
    d.sent.clear()
    d.connection.configure(TcpConfig(max_segment=500), d.now)
    d.connection.set_path_mss(1460, d.now)
    d.quiet()
    assert d.connection.sender.mss == MSS
