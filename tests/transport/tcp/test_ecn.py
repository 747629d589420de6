"""Dialogues about RFC 3168. Flags E and C are ECE and CWR; `ecn` is the codepoint in the IP header."""

import itertools

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.ecn import CE, ECT0, ECT1, NOT_ECT
from asyncstack.transport.tcp.phase import Phase
from tests.transport.tcp.dialogue import Dialogue
from tests.transport.tcp.pair import Pair

MSS = 1448


def accepted(mode: str = "passive", **options) -> Dialogue:
    """A peer with ECN has opened a connection to us."""
    d = Dialogue(TcpConfig(ecn=mode), **options)
    d.inject("SEC", seq=0, ack=None)
    d.expect("SAE", ecn=NOT_ECT)
    d.inject("A", seq=1, ack=1)
    return d


def opened(mode: str = "on") -> Dialogue:
    """We have opened a connection to a peer with ECN."""
    d = Dialogue(TcpConfig(ecn=mode))
    d.connection.open(d.now)
    d.expect("SEC", ecn=NOT_ECT)
    d.inject("SAE", seq=0, ack=1)
    d.expect("A", ecn=NOT_ECT)
    return d


# 6.1.1 TCP initialization


@pytest.mark.parametrize(
    ("mode", "flags", "answer"),
    [
        ("off", "SEC", "SA"),
        ("passive", "SEC", "SAE"),
        ("on", "SEC", "SAE"),
        ("accecn", "SEC", "SAE"),
        ("passive", "SECN", "SAE"),  # what AccECN asks with contains what RFC 3168 asks with
        ("passive", "SE", "SA"),
        ("passive", "SC", "SA"),
        ("passive", "S", "SA"),
    ],
)
def test_rfc3168_6_1_1_the_answer_to_a_syn(mode, flags, answer):
    d = Dialogue(TcpConfig(ecn=mode))
    d.inject(flags, seq=0, ack=None)
    d.expect(answer, ecn=NOT_ECT)
    d.inject("A", seq=1, ack=1)
    d.write(100)
    d.expect("A", length=100, ecn=ECT0 if "E" in answer else NOT_ECT)


@pytest.mark.parametrize("codepoint", [ECT0, ECT1, CE])
def test_rfc3168_6_1_1_a_syn_with_a_codepoint_came_through_a_broken_path(codepoint):
    d = Dialogue()
    d.inject("SEC", seq=0, ack=None, ecn=codepoint)
    d.expect("SA")


@pytest.mark.parametrize(
    ("mode", "flags", "answer", "agreed"),
    [
        ("off", "S", "SAE", False),
        ("passive", "S", "SAE", False),
        ("on", "SEC", "SAE", True),
        ("on", "SEC", "SAEC", False),  # a reflector of flags, not ECN
        ("on", "SEC", "SAC", False),
        ("on", "SEC", "SA", False),
    ],
)
def test_rfc3168_6_1_1_our_syn_and_its_answer(mode, flags, answer, agreed):
    d = Dialogue(TcpConfig(ecn=mode))
    d.connection.open(d.now)
    d.expect(flags, ecn=NOT_ECT)
    d.inject(answer, seq=0, ack=1)
    d.expect("A", ecn=NOT_ECT)
    d.write(100)
    d.expect("A", length=100, ecn=ECT0 if agreed else NOT_ECT)


def test_rfc3168_6_1_1_1_a_repeated_syn_asks_no_more():
    d = Dialogue(TcpConfig(ecn="on"))
    d.connection.open(d.now)
    d.expect("SEC")
    d.wait(1.0)
    d.expect("S")
    d.inject("SA", seq=0, ack=1)
    d.expect("A")
    d.write(100)
    d.expect("A", length=100, ecn=NOT_ECT)


def test_rfc3168_6_1_1_1_the_answer_to_the_first_syn_counts_after_a_second():
    d = Dialogue(TcpConfig(ecn="on"))
    d.connection.open(d.now)
    d.expect("SEC")
    d.wait(1.0)
    d.expect("S")
    d.inject("SAE", seq=0, ack=1)
    d.expect("A")
    d.write(100)
    d.expect("A", length=100, ecn=ECT0)


def test_without_fallback_a_repeated_syn_asks_again():
    d = Dialogue(TcpConfig(ecn="on", ecn_fallback=False))
    d.connection.open(d.now)
    d.expect("SEC")
    d.wait(1.0)
    d.expect("SEC")


def test_a_simultaneous_open_agrees_too():
    d = Dialogue(TcpConfig(ecn="on"))
    d.connection.open(d.now)
    d.expect("SEC")
    d.inject("SEC", seq=0, ack=None)
    d.expect("SAE")
    d.inject("SAE", seq=0, ack=1)
    d.write(100)
    d.expect("A", length=100, ecn=ECT0)


def test_an_unknown_mode_is_an_error_of_use():
    with pytest.raises(ValueError, match="ecn='yes'"):
        TcpConfig(ecn="yes")


# 6.1.2 the sender


def test_rfc3168_6_1_2_an_echo_halves_the_window_once_and_is_answered_by_cwr():
    d = accepted()
    control = d.connection.sender.congestion
    d.write(10 * MSS)
    for number in range(10):
        d.expect("A", seq=1 + number * MSS, length=MSS, ecn=ECT0)
    before = control.cwnd
    d.inject("AE", ack=1 + 2 * MSS)
    assert d.connection.sender.phase is Phase.CWR
    assert d.connection.info(d.now).ca_state == "cwr"
    assert control.ssthresh < before
    after = control.ssthresh
    d.write(20 * MSS)
    for acked in (4, 6, 8):
        d.inject("AE", ack=1 + acked * MSS)  # echoes of the same mark
        assert control.ssthresh == after
    fresh = [segment for _, segment in d.sent]
    d.sent.clear()
    assert [bool(segment.flags & 0x80) for segment in fresh] == [True] + [False] * (len(fresh) - 1)
    assert all(segment.ecn == ECT0 for segment in fresh)
    d.inject("AE", ack=1 + 10 * MSS)  # all that was sent before the reduction: it can not know of the CWR
    assert control.ssthresh == after
    d.flush()
    end = max((segment.seq + len(segment.payload) for _, segment in d.sent), default=0)
    assert end
    d.sent.clear()
    d.inject("AE", ack=1 + 11 * MSS)  # a new mark, after the CWR
    assert control.ssthresh < after


def test_rfc3168_6_1_2_cwr_waits_for_new_data():
    d = accepted()
    d.write(2 * MSS)
    d.expect("A", length=MSS)
    d.expect("A", length=MSS)
    d.inject("AE", ack=1 + 2 * MSS)
    d.inject("A", data=b"x", ack=1 + 2 * MSS)
    d.wait(0.05)
    d.expect("A", ecn=NOT_ECT)
    d.write(100)
    d.expect("AC", length=100, ecn=ECT0)
    d.write(100)
    d.expect("A", length=100, ecn=ECT0)


def test_rfc3168_6_1_2_a_reduction_for_loss_is_told_by_cwr():
    d = accepted()
    d.write(5 * MSS)
    for _ in range(5):
        d.expect("A", length=MSS)
    d.inject("A", ack=1, sack=((1 + MSS, 1 + 5 * MSS),))
    d.expect("A", seq=1, length=MSS, ecn=NOT_ECT)  # 6.1.5: no codepoint on what is sent again
    d.write(100)
    d.expect("AC", seq=1 + 5 * MSS, length=100, ecn=ECT0)


def test_an_echo_that_nobody_agreed_on_says_nothing():
    d = Dialogue.established()
    d.write(3 * MSS)
    before = d.connection.sender.congestion.cwnd
    d.inject("AE", ack=1 + MSS)
    assert d.connection.sender.phase is Phase.OPEN
    assert d.connection.sender.congestion.cwnd >= before


def test_an_echo_before_anything_was_sent_says_nothing():
    d = accepted()
    d.inject("AE", ack=1, data=b"x")
    assert d.connection.sender.phase is Phase.OPEN


# 6.1.3 the receiver


def test_rfc3168_6_1_3_a_mark_is_echoed_until_cwr_comes():
    d = accepted()
    d.connection.receiver.quick = 0
    d.inject("A", data=bytes(1000), ecn=CE)
    d.expect("AE", ack=1001, at=d.now)  # at once
    d.inject("A", data=bytes(1000), ecn=ECT0)
    d.expect("AE", ack=2001)
    d.write(100)
    d.expect("AE", ack=2001, length=100)
    d.inject("AC", data=bytes(1000), ecn=ECT0, ack=101)
    d.expect("A", ack=3001, at=d.now)


def test_rfc3168_6_1_3_a_mark_on_the_segment_with_cwr_is_a_new_one():
    d = accepted()
    d.inject("A", data=bytes(1000), ecn=CE)
    d.expect("AE")
    d.inject("AC", data=bytes(1000), ecn=CE)
    d.expect("AE", ack=2001)


def test_rfc3168_6_1_3_a_mark_ahead_of_a_hole_is_echoed():
    d = accepted()
    d.inject("A", seq=2001, data=bytes(1000), ecn=CE)
    d.expect("AE", ack=1)


def test_rfc3168_6_1_4_a_mark_on_a_segment_without_data_says_nothing():
    d = accepted()
    d.write(100)
    d.expect("A", length=100)
    d.inject("A", ack=101, ecn=CE)
    d.inject("A", data=b"x", ecn=ECT0)
    d.wait(0.05)
    d.expect("A", ack=2)


def test_rfc3168_6_1_5_a_mark_outside_of_the_window_says_nothing():
    d = accepted()
    d.inject("A", data=bytes(1000), ecn=ECT0)
    d.expect("A", ack=1001)
    d.inject("A", seq=1, data=bytes(1000), ecn=CE)
    d.expect("A", ack=1001)


def test_a_mark_that_nobody_agreed_on_says_nothing():
    d = Dialogue.established()
    d.inject("A", data=bytes(1000), ecn=CE)
    d.expect("A", ack=1001)


# what has no codepoint


def test_rfc3168_6_1_6_probes_of_a_closed_window_have_no_codepoint():
    d = accepted()
    d.write(100)
    d.expect("A", length=100)
    d.inject("A", ack=101, window=0)
    d.write(100)
    d.wait_for_segment()
    d.expect("A", length=0, ecn=NOT_ECT)


def test_rfc3168_6_1_5_a_repetition_after_a_timeout_has_no_codepoint():
    d = accepted()
    d.write(100)
    d.expect("A", length=100, ecn=ECT0)
    d.wait_for_segment()
    d.expect("A", length=100, ecn=NOT_ECT)


def test_a_reset_and_a_fin_have_no_codepoint():
    d = accepted()
    d.connection.shutdown(d.now)
    d.expect("FA", ecn=NOT_ECT)
    d.connection.abort(d.now)
    d.expect("RA", ecn=NOT_ECT)


def marking(link, every):
    """Let `link` mark each so many capable segments."""
    carry, capable = link.carry, itertools.count(1)

    def carry_and_mark(segment, now):
        arrivals = carry(segment, now)
        for _, piece in arrivals:
            piece.ecn = CE if segment.ecn and next(capable) % every == 0 else segment.ecn
        return arrivals

    link.carry = carry_and_mark


def test_two_connections_with_a_marking_path():
    p = Pair(config_a=TcpConfig(ecn="on"), delay=0.01)
    p.a.to_send = bytes(500_000)
    marking(p.a.link, 50)
    p.open()
    p.run()
    assert bytes(p.b.received) == p.a.to_send
    assert p.a.connection.sender.segments_sent_again == 0
    assert p.b.connection.ecn.received_ce > 0
    assert p.a.connection.sender.congestion.ssthresh < 1 << 40
