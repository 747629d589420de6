"""RFC 8985 7, TLP: the loss of the last segments of a flight costs no timeout. The round trip is 100 ms."""

import pytest

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp.state import State
from tests.transport.tcp.dialogue import Dialogue

MSS = 1000
RTT = 0.1


def edge(n):
    return 1 + n * MSS


def segments(first, last):
    return tuple((edge(n), edge(n + 1)) for n in range(first, last + 1))


def sending(count, total=0, *, sack=True, timestamps=False, window=1 << 20, **settings):
    """Segments 0 to count - 1 leave now, at time RTT, of `total`."""
    config = TcpConfig(initial_window=count, **settings)
    d = Dialogue.established(
        config, RTT, mss=MSS, peer_mss=MSS, sack=sack, timestamps=timestamps, window=window
    )
    d.write((total or count) * MSS)
    d.expect_data(*segments(0, count - 1))
    return d


def look(d):
    return d.connection.info(d.now)


def test_section_7_2_pto_is_two_round_trips():
    d = sending(3)
    assert d.wait_for_segment() == pytest.approx(RTT + 2 * RTT + 0.002)
    d.expect_data(*segments(2, 2))
    assert (look(d).ca_state, look(d).snd_cwnd) == ("open", 3)


def test_section_7_2_one_segment_waits_for_a_delayed_ack_too():
    d = sending(1)
    rto = look(d).rto
    assert rto < 2 * RTT + 0.2, "the timeout would be earlier: it becomes the probe"
    assert d.wait_for_segment() == pytest.approx(RTT + rto)
    d.expect_data(*segments(0, 0))
    assert look(d).ca_state == "open"
    d.wait_for_segment()
    assert d.now == pytest.approx(RTT + 2 * rto)
    assert look(d).ca_state == "loss"


def test_section_7_2_the_probe_waits_from_the_last_ack_on():
    d = sending(5)
    d.wait(0.15)
    d.inject(ack=edge(2))
    pto = 2 * look(d).rtt + 0.002
    assert d.wait_for_segment() == pytest.approx(RTT + 0.15 + pto)


def test_section_7_2_no_probe_without_sack():
    d = sending(3, sack=False)
    rto = look(d).rto
    assert d.wait_for_segment() == pytest.approx(RTT + rto)
    d.expect_data(*segments(0, 0))
    assert look(d).ca_state == "loss"


def test_section_7_2_no_probe_where_the_settings_say_so():
    d = sending(3, tail_loss_probe=False)
    d.wait_for_segment()
    d.expect_data(*segments(0, 0))
    assert look(d).ca_state == "loss"


def test_section_7_3_new_data_is_the_better_probe():
    d = sending(3, 10)
    d.wait_for_segment()
    d.expect_data(*segments(3, 3))  # though the congestion window is full
    assert look(d).total_retrans == 0


def test_section_7_3_new_data_stays_within_the_peers_window():
    d = sending(3, 10, window=3072)
    d.wait_for_segment()
    d.expect_data((edge(3), edge(3) + 72))


def test_section_7_3_a_fin_is_probed_with_the_data_before_it():
    d = Dialogue.established(TcpConfig(), RTT, mss=MSS, peer_mss=MSS, timestamps=False)
    d.connection.write(bytes(2 * MSS + 10))
    d.connection.shutdown(d.now)
    d.flush()
    d.sent.clear()
    d.wait_for_segment()
    d.expect("FA", seq=edge(2), length=10)
    d.wait(RTT)
    # a peer that SACKs the data and says nothing of the FIN
    d.inject(ack=edge(0), sack=((edge(2), edge(2) + 10),))
    d.expect_data(*segments(0, 0))
    d.wait(RTT)
    d.inject(ack=edge(1), sack=((edge(2), edge(2) + 10),))
    d.expect_data(*segments(1, 1))
    d.inject(ack=edge(2) + 11)
    d.quiet()
    assert d.state is State.FIN_WAIT_2


def test_section_7_3_one_probe_at_a_time_then_the_timer():
    d = sending(3)
    rto = look(d).rto
    probed = d.wait_for_segment()
    d.expect_data(*segments(2, 2))
    assert d.wait_for_segment() == pytest.approx(probed + rto)
    d.expect_data(*segments(0, 0))
    assert look(d).ca_state == "loss"


def test_section_7_4_the_tail_is_repaired_without_a_timeout():
    d = sending(10)
    d.wait(RTT)
    d.inject(ack=edge(6))
    d.wait_for_segment()
    d.expect_data(*segments(9, 9))
    d.wait(RTT)
    d.inject(ack=edge(6), sack=((edge(9), edge(10)),))
    d.expect_data(*segments(6, 6))
    d.wait(RTT)
    d.inject(ack=edge(7), sack=((edge(9), edge(10)),))
    d.expect_data(*segments(7, 8))
    d.wait(RTT)
    d.inject(ack=edge(10))
    assert (look(d).ca_state, look(d).retransmits) == ("open", 0)
    assert look(d).snd_cwnd == 11, "0.7 of 16"


def test_section_7_4_2_a_repaired_loss_is_congestion_all_the_same():
    """Only the last segment was lost and the probe replaced it: the next ACK beyond tells."""
    d = sending(10)
    d.wait(RTT)
    d.inject(ack=edge(9))
    d.wait_for_segment()
    d.expect_data(*segments(9, 9))
    d.wait(RTT)
    d.inject(ack=edge(10))
    before = look(d).snd_cwnd
    assert look(d).snd_ssthresh == 0x7FFFFFFF, "it may still turn out to have come twice"
    d.write(MSS)
    d.expect_data(*segments(10, 10))
    d.wait(RTT)
    d.inject(ack=edge(11))
    assert look(d).snd_ssthresh < before
    assert look(d).snd_cwnd <= look(d).snd_ssthresh + 1


@pytest.mark.parametrize("dsack", [True, False], ids=["dsack", "duplicate"])
def test_section_7_4_2_what_came_twice_was_not_lost(dsack):
    d = sending(10)
    d.wait(RTT)
    d.inject(ack=edge(9))
    before = look(d).snd_cwnd
    d.wait_for_segment()
    d.expect_data(*segments(9, 9))
    d.inject(ack=edge(10))
    d.inject(ack=edge(10), sack=((edge(9), edge(10)),) if dsack else ())
    d.write(MSS)
    d.wait(RTT)
    d.inject(ack=edge(11))
    assert look(d).snd_cwnd >= before
    assert look(d).snd_ssthresh == 0x7FFFFFFF


def test_section_7_4_1_a_probe_of_new_data_needs_no_answer_but_its_ack():
    d = sending(3, 4)
    d.wait_for_segment()
    d.expect_data(*segments(3, 3))
    d.inject(ack=edge(4))
    d.write(MSS)
    d.inject(ack=edge(5))
    assert look(d).snd_ssthresh == 0x7FFFFFFF


def test_in_recovery_the_loss_of_the_last_retransmission_costs_no_timeout():
    """RFC 6675's rescue, by the clock: everything has left again and nothing comes."""
    d = sending(10)
    d.wait(RTT)
    d.inject(ack=edge(0), sack=((edge(1), edge(9)),))
    d.expect_data(*segments(0, 0))  # it is lost again, and so is 9
    d.wait_for_segment()
    d.expect_data(*segments(9, 9))
    d.wait(RTT)
    d.inject(ack=edge(0), sack=((edge(1), edge(10)),))
    d.expect_data(*segments(0, 0))
    d.wait(RTT)
    d.inject(ack=edge(10))
    assert (look(d).ca_state, look(d).retransmits) == ("open", 0)


def test_in_recovery_a_lone_hole_is_probed_itself():
    d = sending(10)
    d.wait(RTT)
    d.inject(ack=edge(0), sack=((edge(1), edge(10)),))
    d.expect_data(*segments(0, 0))
    d.wait_for_segment()
    assert d.now < 2 * RTT + look(d).rto
    d.expect_data(*segments(0, 0))
    d.inject(ack=edge(10))
    assert look(d).ca_state == "open"


def test_nothing_outstanding_no_timer():
    d = sending(3)
    d.inject(ack=edge(3))
    assert d.connection.deadline == float("inf")


def test_the_user_timeout_comes_before_a_probe():
    d = sending(1, user_timeout=0.1)
    d.wait(1.0)
    d.quiet()
    assert d.state is State.CLOSED
