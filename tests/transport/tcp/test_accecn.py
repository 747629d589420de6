"""Dialogues about RFC 9768. Flags N, C and E are AE, CWR and ECE: the ACE field is N=4, C=2, E=1, so "NE" is its
start, 5. `accecn` is the option: order, counters; we send order 1: e1b, ceb, e0b."""

import itertools

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.ecn import CE, ECT0, ECT1, NOT_ECT
from asyncstack.transport.tcp.phase import Phase
from asyncstack.transport.tcp.state import State
from tests.transport.tcp.dialogue import Dialogue
from tests.transport.tcp.pair import Pair
from tests.transport.tcp.test_ecn import marking

MSS = 1436  # 1,460 less timestamps and AccECN
START = (1, 1, 0, 1)
CONFIG = {"ecn": "accecn"}


def accepted(
    third: str = "AC", option: tuple[int, ...] | None = START, rtt: float = 0.0, **settings
) -> Dialogue:
    """A peer with AccECN has opened a connection to us."""
    options = {name: settings.pop(name) for name in ("most", "timestamps") if name in settings}
    d = Dialogue(TcpConfig(**(CONFIG | settings)), **options)
    d.inject("SNCE", seq=0, ack=None)
    d.expect("SAC", ecn=NOT_ECT)
    d.wait(rtt)
    d.inject(third, seq=1, ack=1, ecn=ECT0, accecn=option)
    assert d.connection.state is State.ESTABLISHED
    d.connection.receiver.quick = 1000
    return d


def opened(answer: str = "SAC", option: tuple[int, ...] | None = START, **settings) -> Dialogue:
    """We have sent our SYN to a peer with AccECN and have its answer."""
    d = Dialogue(TcpConfig(**(CONFIG | settings)))
    d.connection.open(d.now)
    d.expect("SNCE", ecn=NOT_ECT)
    d.inject(answer, seq=0, ack=1, accecn=option)
    return d


def ecn_of(d: Dialogue):
    return d.connection.ecn


# 3.1.1, 3.1.2 negotiation, table 2


@pytest.mark.parametrize(
    ("flags", "codepoint", "answer"),
    [
        ("SNCE", NOT_ECT, "SAC"),
        ("SNCE", ECT1, "SACE"),
        ("SNCE", ECT0, "SAN"),
        ("SNCE", CE, "SANC"),
        ("SCE", NOT_ECT, "SAE"),  # RFC 3168
        ("S", NOT_ECT, "SA"),
        ("SE", NOT_ECT, "SAC"),  # what is reserved is taken for AccECN (3.1.2)
        ("SC", NOT_ECT, "SAC"),
        ("SN", NOT_ECT, "SAC"),
        ("SNE", NOT_ECT, "SAC"),
        ("SNC", NOT_ECT, "SAC"),
    ],
)
def test_rfc9768_3_1_2_the_answer_to_a_syn(flags, codepoint, answer):
    d = Dialogue(TcpConfig(**CONFIG))
    d.inject(flags, seq=0, ack=None, ecn=codepoint)
    segment = d.expect(answer, ecn=NOT_ECT)
    assert segment.accecn == (START if answer not in ("SA", "SAE") else None)


@pytest.mark.parametrize(
    ("answer", "third", "data"),
    [
        ("SAC", "AC", ("ANE", ECT0)),
        ("SACE", "AC", ("ANE", NOT_ECT)),  # accurate, but our SYN was not sent with ECT(1)
        ("SAN", "AC", ("ANE", NOT_ECT)),
        ("SANC", "AC", ("ANE", NOT_ECT)),
        ("SAE", "A", ("A", ECT0)),  # RFC 3168
        ("SANE", "A", ("A", ECT0)),  # the nonce of RFC 3540, reserved now: RFC 3168
        ("SA", "A", ("A", NOT_ECT)),
        ("SANCE", "A", ("A", NOT_ECT)),  # reflects flags: broken
    ],
)
def test_rfc9768_3_1_2_the_answer_to_our_syn(answer, third, data):
    d = opened(answer, None)
    d.expect(third)
    d.write(100)
    d.expect(data[0], length=100, ecn=data[1])


@pytest.mark.parametrize(("codepoint", "third"), [(NOT_ECT, "AC"), (ECT1, "ACE"), (ECT0, "AN"), (CE, "ANC")])
def test_rfc9768_3_2_2_1_the_end_of_the_handshake_tells_the_codepoint_of_the_syn_ack(codepoint, third):
    d = Dialogue(TcpConfig(**CONFIG))
    d.connection.open(d.now)
    d.expect("SNCE")
    d.inject("SAC", seq=0, ack=1, ecn=codepoint, accecn=(0, 1, 0, 1))
    d.expect(third, ecn=ECT0, accecn=START)
    d.write(10)
    d.expect("ANC" if codepoint == CE else "ANE", length=10, ecn=ECT0, accecn=START)


def test_rfc9768_3_2_2_1_a_repeated_syn_ack_is_answered_like_the_first():
    d = opened()
    d.expect("AC")
    d.inject("SAC", seq=0, ack=1, ecn=ECT0)
    d.expect("AN", seq=1, ack=1)
    d.write(10)
    d.expect("ANE", length=10)


def test_rfc9768_3_1_4_1_the_flags_of_a_syn_go_at_its_second_repetition():
    d = Dialogue(TcpConfig(**CONFIG))
    d.connection.open(d.now)
    d.expect("SNCE")
    d.wait(1.0)
    d.expect("SNCE")
    d.wait(2.0)
    d.expect("S")
    d.inject("SAC", seq=0, ack=1, accecn=START)  # the answer to one of the first
    d.expect("AC", ecn=ECT0)


def test_rfc9768_3_1_4_2_a_repeated_syn_ack_loses_the_option_then_the_flags():
    d = Dialogue(TcpConfig(**CONFIG))
    d.inject("SNCE", seq=0, ack=None)
    assert d.expect("SAC").accecn == START
    d.wait(1.0)
    assert d.expect("SAC").accecn is None
    d.wait(2.0)
    assert d.expect("SA").accecn is None


@pytest.mark.parametrize(("third", "data"), [("A", ("A", NOT_ECT)), ("AC", ("ANE", ECT0))])
def test_rfc9768_3_1_4_2_the_ack_shows_which_syn_ack_it_answers(third, data):
    d = Dialogue(TcpConfig(**CONFIG))
    d.inject("SNCE", seq=0, ack=None)
    d.wait(3.0)
    d.sent.clear()
    d.inject(third, seq=1, ack=1)
    d.write(10)
    d.expect(data[0], length=10, ecn=data[1])


def test_rfc9768_3_1_4_1_a_peer_that_gave_up_on_ecn_gets_no_codepoint_but_counts():
    d = Dialogue(TcpConfig(**CONFIG))
    d.inject("SNCE", seq=0, ack=None, ecn=ECT0)
    d.expect("SAN")
    d.inject("S", seq=0, ack=None)
    d.expect("SAC")  # of the SYN that came last
    d.inject("AC", seq=1, ack=1, accecn=START)
    d.write(10)
    d.expect("ANE", length=10, ecn=NOT_ECT, accecn=START)


def test_without_the_option_flags_are_all():
    d = accepted(accecn_option=False)
    d.write(2000)
    d.expect("ANE", length=1448, ecn=ECT0, accecn=None)


@pytest.mark.parametrize(
    ("mode", "ours", "theirs", "answer"),
    [
        ("accecn-on", "SCE", "SNCE", "SAC"),
        ("accecn-on", "SCE", "SCE", "SAE"),
        ("accecn-passive", "S", "SNCE", "SAC"),
        ("accecn-passive", "S", "SCE", "SAE"),
        ("accecn-passive", "S", "S", "SA"),
    ],
)
def test_what_is_asked_for_and_what_is_given_may_differ(mode, ours, theirs, answer):
    d = Dialogue(TcpConfig(ecn=mode))
    d.connection.open(d.now)
    d.expect(ours)
    d = Dialogue(TcpConfig(ecn=mode))
    d.inject(theirs, seq=0, ack=None)
    d.expect(answer)


def test_without_having_asked_for_it_an_answer_of_accecn_is_none():
    d = Dialogue(TcpConfig(ecn="accecn-on"))
    d.connection.open(d.now)
    d.expect("SCE")
    d.inject("SAC", seq=0, ack=1)
    d.expect("A")


# 3.2.2 the ACE field


def test_rfc9768_3_2_2_the_count_of_marked_packets_wraps():
    d = accepted()
    expected = itertools.cycle(["ANC", "ANCE", "A", "AE", "AC", "ACE", "AN", "ANE"])
    for number in range(1, 20):
        d.inject("ANE", data=bytes(100), ecn=CE)
        d.expect(next(expected), ack=1 + 100 * number, accecn=(1, 1, 100 * number, 1))
    assert ecn_of(d).received_ce == 19


def test_rfc9768_3_2_1_packets_without_data_count_too():
    d = accepted()
    d.write(10)
    d.expect("ANE", length=10)
    d.inject("ANE", ack=11, ecn=CE)
    d.inject("ANE", data=bytes(100), ecn=ECT0)
    d.expect("ANC", ack=101, accecn=(1, 1, 0, 101))


def test_a_marked_super_segment_counts_its_packets():
    d = accepted()
    d.inject("ANE", data=bytes(350), ecn=CE, gso_size=100)
    d.expect("AE", ack=351, accecn=(1, 1, 350, 1))  # 5 + 4 packets


def test_rfc9768_3_2_2_3_the_bytes_of_every_codepoint_are_counted():
    d = accepted()
    d.inject("ANE", data=bytes(1000), ecn=ECT0)
    d.expect("ANE", accecn=(1, 1, 0, 1001))
    d.inject("ANE", data=bytes(500), ecn=ECT1)
    d.expect("ANE", accecn=(1, 501, 0, 1001))
    d.inject("ANE", data=bytes(20), ecn=CE)
    d.expect("ANC", accecn=(1, 501, 20, 1001))
    d.inject("ANE", data=bytes(7), ecn=NOT_ECT)
    d.expect("ANC", accecn=(1, 501, 20, 1001))


def test_rfc9768_3_2_2_5_1_a_change_of_codepoint_is_told_at_once():
    d = accepted()
    d.inject("ANE", data=bytes(100), ecn=ECT0)
    d.expect("ANE")
    d.connection.receiver.quick = 0
    d.inject("ANE", data=bytes(100), ecn=ECT0)
    d.quiet()
    d.inject("ANE", data=bytes(100), ecn=CE)
    d.expect("ANC", ack=301, at=d.now)
    d.inject("ANE", data=bytes(100), ecn=CE)
    d.quiet()
    d.inject("ANE", data=bytes(100), ecn=CE)  # the second since the last ACK
    d.expect("A", ack=501, at=d.now)
    d.inject("ANE", data=bytes(100), ecn=ECT0)
    d.expect("A", ack=601, at=d.now)


def test_rfc9768_3_2_2_5_1_marks_on_acks_are_told_before_the_field_wraps():
    d = accepted()
    d.write(10 * MSS)
    d.sent.clear()
    for number in range(1, 6):
        d.inject("ANE", ack=1 + number * MSS, ecn=CE)
    d.quiet()
    d.inject("ANE", ack=1 + 6 * MSS, ecn=CE)
    d.expect("ACE", ack=1)  # 5 + 6


# feedback: what ACKs tell the controller


class Ear:
    """What a controller hears."""

    def __init__(self, d: Dialogue) -> None:
        self.heard: list[int] = []
        self.events = 0
        control = d.connection.sender.congestion
        self.on_ack, self.on_event = control.on_ack, control.on_congestion_event
        ear = self

        class Listening(type(control)):
            __slots__ = ()

            def on_ack(self, sample, now):
                ear.heard.append(sample.ce)
                super().on_ack(sample, now)

            def on_congestion_event(self, flight, now):
                ear.events += 1
                super().on_congestion_event(flight, now)

        control.__class__ = Listening


def test_rfc9768_3_2_2_marks_reach_the_controller_and_reduce_its_window_once():
    d = accepted()
    ear = Ear(d)
    d.write(10 * MSS)
    d.sent.clear()
    d.inject("ANE", ack=1 + 2 * MSS, ecn=ECT0, accecn=(0, 1 + 2 * MSS, 0, 1))
    d.inject("ANC", ack=1 + 4 * MSS, ecn=ECT0, accecn=(0, 1 + 3 * MSS, MSS, 1))
    assert d.connection.sender.phase is Phase.CWR
    d.inject("ANCE", ack=1 + 6 * MSS, ecn=ECT0, accecn=(0, 1 + 4 * MSS, 2 * MSS, 1))
    d.inject("ANCE", ack=1 + 8 * MSS, ecn=ECT0, accecn=(0, 1 + 6 * MSS, 2 * MSS, 1))
    assert ear.heard == [0, MSS, MSS, 0]
    assert ear.events == 1
    ecn = ecn_of(d)
    assert (ecn.delivered_ce, ecn.delivered_bytes) == (2, [0, 0, 6 * MSS, 2 * MSS])
    d.write(100)
    assert all(
        not segment.flags & 0x80 or segment.flags & 0x140 for _, segment in d.sent
    )  # no CWR of RFC 3168


def test_rfc9768_3_2_2_marks_on_sacked_data_reduce_the_window():
    d = accepted(rtt=0.1)  # what is overtaken has a quarter of this to come yet
    d.write(3 * MSS)
    d.sent.clear()
    d.wait(0.1)
    d.inject("ANC", ack=1, sack=((1 + MSS, 1 + 2 * MSS),), ecn=ECT0)
    assert ecn_of(d).delivered_ce == 1
    assert d.connection.sender.phase is Phase.CWR


def test_rfc9768_3_2_2_5_an_ack_that_acknowledges_nothing_and_is_not_newer_says_nothing():
    d = accepted(timestamps=False)
    d.write(1000)
    d.expect("ANE", length=1000)
    d.inject("ANC", ack=1, accecn=(0, 1, 1000, 1))
    assert (ecn_of(d).delivered_ce, ecn_of(d).delivered_bytes[CE]) == (0, 0)


def test_an_ack_that_acknowledges_nothing_but_has_a_later_timestamp_counts():
    d = accepted()
    d.wait(0.01)
    d.write(1000)
    d.expect("ANE", length=1000)
    d.inject("ANC", ack=1)
    assert ecn_of(d).delivered_ce == 1


@pytest.mark.parametrize(
    ("acks", "marks"),
    [
        ([(10, "ANC")], 1),  # ACKs are far apart as a rule: the least
        ([(10, "AN")], 7),
        ([(1, "ANE"), (10, "ANE")], 8),  # a large one among small ones: the most
        ([(1, "ANE"), (8, "ANE")], 8),
        ([(1, "ANE"), (7, "ANE")], 0),
    ],
)
def test_rfc9768_3_2_2_5_2_an_ack_for_more_than_seven_packets(acks, marks):
    d = accepted(accecn_option=False, option=None, initial_window=20, timestamps=False)
    mss = d.connection.sender.mss
    d.write(20 * mss)
    d.sent.clear()
    acked = 0
    for packets, flags in acks:
        acked += packets
        d.inject(flags, ack=1 + acked * mss)
    assert ecn_of(d).delivered_ce == marks


@pytest.mark.parametrize(("ceb", "marks"), [(0, 0), (1, 8), (8 * MSS, 8)])
def test_rfc9768_3_2_2_5_2_the_option_says_how_often_the_field_has_wrapped(ceb, marks):
    d = accepted(initial_window=20)
    d.write(20 * MSS)
    d.sent.clear()
    d.inject("ANE", ack=1 + MSS, accecn=(0, 1 + MSS, 0, 1))
    d.inject("ANE", ack=1 + 10 * MSS, accecn=(0, 1 + 10 * MSS - ceb, ceb, 1))
    assert ecn_of(d).delivered_ce == marks


# 3.2.2.3, 3.2.2.4 mangling


def test_rfc9768_3_2_2_4_an_ace_field_of_zero_at_the_end_of_the_handshake():
    d = accepted(third="A")
    d.write(10)
    d.expect("ANE", length=10, ecn=NOT_ECT, accecn=START)


def test_rfc9768_3_2_2_4_an_ace_field_of_zero_in_the_first_segment_for_the_client():
    d = opened()
    d.expect("AC", ecn=ECT0)
    d.inject("A", data=bytes(10), accecn=START)
    d.expect("ANE", ecn=NOT_ECT)


def test_rfc9768_3_2_2_3_a_mark_on_the_syn_ack_that_nobody_can_have_made():
    d = accepted(third="ANC")  # CE, though our SYN-ACK was Not-ECT
    d.write(10)
    d.expect("ANE", length=10, ecn=NOT_ECT)
    assert ecn_of(d).delivered_ce == 0


def test_without_the_checks_a_mark_on_the_syn_ack_counts():
    d = accepted(third="ANC", ecn_fallback=False)
    assert ecn_of(d).delivered_ce == 1
    d.write(10)
    d.expect("ANE", length=10, ecn=ECT0)


def test_distrusted_marks_reduce_nothing():
    d = accepted(third="A")
    d.write(4 * MSS)
    d.inject("ANCE", ack=1 + 2 * MSS)
    assert d.connection.sender.phase is Phase.OPEN


def test_the_same_end_of_the_handshake_again_says_nothing():
    d = accepted()
    d.write(10)
    d.expect("ANE", length=10)
    d.inject("AC", seq=1, ack=1, ecn=ECT0)
    assert ecn_of(d).delivered_ce == 0
    d.inject("ANE", ack=11)
    assert ecn_of(d).delivered_ce == 0


def test_the_first_data_may_end_the_handshake():
    d = Dialogue(TcpConfig(**CONFIG))
    d.inject("SNCE", seq=0, ack=None)
    d.expect("SAC")
    d.inject("ANE", seq=1, ack=1, data=bytes(100), ecn=CE, accecn=START)
    d.expect("ANC", ack=101, ecn=ECT0, accecn=(1, 1, 100, 1))
    assert ecn_of(d).delivered_ce == 0


# 3.2.3 the option


def test_rfc9768_3_2_3_2_the_option_waits_until_the_peer_shows_that_it_knows_it():
    d = opened(option=None)
    assert d.expect("AC").accecn is None
    d.write(1000)
    assert d.expect("ANE", length=1000).accecn is None
    d.inject("ANE", ack=1001, ecn=ECT0, accecn=(0, 1001, 0, 1))
    d.write(1000)
    d.expect("ANE", length=1000, accecn=START)


def test_rfc9768_3_2_3_2_4_counters_that_start_at_zero_are_not_believed():
    d = accepted(option=(0, 0, 0, 0))
    d.write(2 * MSS)
    d.inject("ANE", ack=1 + 2 * MSS, accecn=(0, 1 + MSS, MSS, 1))
    assert ecn_of(d).delivered_bytes == [0, 0, 0, 0]


def test_counters_go_back_only_in_an_ack_that_was_overtaken():
    d = accepted()
    d.write(4 * MSS)
    d.inject("ANE", ack=1 + 3 * MSS, accecn=(0, 1 + 3 * MSS, 0, 1))
    d.inject("ANE", ack=1 + 4 * MSS, accecn=(0, 1 + 2 * MSS, 0, 1))
    assert ecn_of(d).delivered_bytes[ECT0] == 3 * MSS


def test_counters_of_24_bits_wrap():
    d = accepted()
    ecn = ecn_of(d)
    ecn.received_bytes[ECT0] = (1 << 24) - 100
    ecn.delivered_bytes[ECT0] = (1 << 24) - 100
    d.inject("ANE", data=bytes(1000), ecn=ECT0)
    d.expect("ANE", accecn=(1, 1, 0, 901))
    d.write(1000)
    d.inject("ANE", ack=1001, accecn=(1, 1, 0, 901))
    assert ecn.delivered_bytes[ECT0] == (1 << 24) + 900


def test_rfc9768_3_2_3_3_the_option_shares_its_room_with_sack_blocks():
    d = accepted()
    d.inject("ANE", seq=1001, data=bytes(100), ecn=ECT1)
    assert len(d.expect("ANE", accecn=(1, 101, 0, 1)).sack) == 1
    d.inject("ANE", seq=3001, data=bytes(100), ecn=ECT1)
    assert len(d.expect("ANE", accecn=(1, 201, 0)).sack) == 2
    d.inject("ANE", seq=5001, data=bytes(100), ecn=CE)
    assert len(d.expect("ANC", accecn=(1, 201, 100)).sack) == 2  # instead of three
    d.inject("ANE", seq=7001, data=bytes(100), ecn=ECT0)
    segment = d.expect("ANC")  # e0b would need all three fields
    assert (len(segment.sack), segment.accecn) == (3, None)
    d.inject("ANE", seq=1, data=bytes(7000), ecn=ECT0)
    d.expect("ANC", accecn=(1, 201, 100, 7101))


def test_rfc9768_3_2_3_2_2_data_that_never_arrives_goes_without_the_option():
    d = accepted()
    d.write(1000)
    d.expect("ANE", length=1000, accecn=START)
    d.wait_for_segment()
    d.expect("ANE", length=1000, accecn=START)  # a probe
    d.wait_for_segment()
    assert d.expect("ANE", length=1000).accecn is None
    d.inject("ANE", ack=1001)
    d.write(1000)
    assert d.expect("ANE", length=1000).accecn is None


def test_rfc9768_3_2_3_2_2_data_that_was_sacked_shows_that_the_option_gets_through():
    d = accepted()
    d.write(3 * MSS)
    d.sent.clear()
    d.inject("ANE", ack=1, sack=((1 + 2 * MSS, 1 + 3 * MSS),), accecn=START)
    d.wait_for_segment()
    assert d.expect("ANE", seq=1, length=MSS).accecn == START


def test_rfc9768_3_2_3_2_2_acks_with_the_option_that_never_arrive():
    d = accepted()
    d.inject("ANE", seq=1, data=bytes(100), ecn=ECT0)
    d.expect("ANE", accecn=(1, 1, 0, 101))
    d.inject("ANE", seq=1, data=bytes(100), ecn=ECT0)
    d.expect("ANE", ack=101, accecn=(1, 1, 0, 201))
    d.inject("ANE", seq=1, data=bytes(100), ecn=ECT0)
    assert d.expect("ANE", ack=101).accecn is None
    d.inject("ANE", data=bytes(100), ecn=ECT0)
    assert d.expect("ANE", ack=201).accecn is None


def test_once_acks_with_the_option_have_arrived_repetitions_mean_other_losses():
    d = accepted()
    for number in range(70):
        d.inject("ANE", data=bytes(1000), ecn=ECT0)
        d.expect("ANE", ack=1001 + 1000 * number)
        d.read()
    for _ in range(4):
        d.inject("ANE", seq=69_001, data=bytes(1000), ecn=ECT0)
        assert d.expect("ANE", ack=70_001).accecn is not None


# super-segments


def test_a_count_with_the_bit_of_cwr_is_not_sent_on_super_segments():
    d = accepted(most=10 * MSS)
    d.write(4 * MSS)
    d.expect("ANE", length=4 * MSS)
    d.inject("ANE", ack=1 + 4 * MSS, data=bytes(10), ecn=CE)
    d.expect("ANC")
    d.write(3 * MSS)
    for _ in range(3):
        d.expect("ANC", length=MSS)
    d.inject("ANE", data=bytes(10), ecn=CE)
    d.inject("ANE", ack=1 + 7 * MSS, data=bytes(10), ecn=CE)
    d.expect("A")
    d.write(3 * MSS)
    d.expect("A", length=3 * MSS)


def test_two_connections_with_a_marking_path():
    config = TcpConfig(**CONFIG)
    p = Pair(config_a=config, config_b=config, delay=0.01)
    p.a.to_send = bytes(500_000)
    p.b.to_send = bytes(100_000)
    marking(p.a.link, 50)
    marking(p.b.link, 70)
    p.open()
    p.run()
    assert bytes(p.b.received) == p.a.to_send
    assert bytes(p.a.received) == p.b.to_send
    assert p.a.connection.sender.segments_sent_again == 0
    for sending, receiving in ((p.a, p.b), (p.b, p.a)):
        told, counted = sending.connection.ecn, receiving.connection.ecn
        assert 0 < told.delivered_ce <= counted.received_ce
        assert counted.received_ce - told.delivered_ce <= 2  # marks on the last ACKs, of which nobody tells
        assert told.delivered_bytes[ECT0] == counted.received_bytes[ECT0]
