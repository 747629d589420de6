"""What a congestion controller is told: one `AckSample` for every ACK that brings something, in every phase."""

from asyncstack.config import TcpConfig
from asyncstack.transport.tcp import recovery
from tests.transport.tcp.dialogue import Dialogue

MSS = 1000


def edge(n):
    return 1 + n * MSS


class Listening:
    """Stands in for the controller's `on_ack`: keeps what it hears and passes it on."""

    def __init__(self, dialogue):
        self.heard = []
        self.control = dialogue.connection.sender.congestion
        dialogue.connection.sender.congestion = self

    def __getattr__(self, name):
        return getattr(self.control, name)

    def on_ack(self, sample, now):
        self.heard.append((sample.acked, sample.delivered_now, sample.lost, sample.recovering))
        self.control.on_ack(sample, now)

    def last(self):
        (one,) = self.heard
        self.heard.clear()
        return one


def sending(sack=True):
    d = Dialogue.established(
        TcpConfig(congestion="reno", sack=sack),
        0.1,
        mss=MSS,
        peer_mss=MSS,
        sack=sack,
        timestamps=False,
        window=1 << 20,
    )
    d.write(10 * MSS)
    d.sent.clear()
    d.wait(0.1)
    return d, Listening(d)


def test_every_ack_is_told_in_every_phase():
    d, listening = sending()
    d.inject(ack=edge(1))
    assert listening.last() == (MSS, MSS, 0, False)
    d.inject(ack=edge(1), sack=((edge(2), edge(4)),))
    assert listening.last() == (0, 2 * MSS, 0, False), "nothing grows before SND.UNA moves"
    d.inject(ack=edge(1), sack=((edge(2), edge(5)),))
    assert listening.last() == (0, MSS, MSS, True), "three above: the first is lost"
    d.inject(ack=edge(5))
    assert listening.last() == (0, MSS, 0, True)
    d.inject(ack=edge(10))
    assert listening.last() == (5 * MSS, 5 * MSS, 0, False), "recovery is over"
    d.inject(ack=edge(10))
    assert listening.heard == []


def test_duplicates_without_sack_deliver_a_segment_each_and_are_not_counted_twice():
    d, listening = sending(sack=False)
    for lost in (0, 0, MSS):
        d.inject(ack=edge(0))
        assert listening.last() == (0, MSS, lost, lost > 0)
    d.inject(ack=edge(4))
    acked, delivered, _, recovering = listening.last()
    assert (acked, delivered, recovering) == (0, MSS, True)


def test_an_ecn_echo_reduces_once_until_all_that_was_out_is_acknowledged():
    d, listening = sending()
    snd = d.connection.sender
    recovery.enter_cwr(snd, d.now)
    recovery.enter_cwr(snd, d.now)
    info = d.connection.info(d.now)
    assert (info.ca_state, info.snd_ssthresh) == ("cwr", 5)
    d.inject(ack=edge(3))
    assert listening.last() == (0, 3 * MSS, 0, True)
    d.inject(ack=edge(3), sack=((edge(4), edge(7)),))
    info = d.connection.info(d.now)
    assert (info.ca_state, info.snd_ssthresh) == ("recovery", 5), "loss in the same window reduces no further"
    d.inject(ack=edge(10))
    assert d.connection.info(d.now).ca_state == "open"
