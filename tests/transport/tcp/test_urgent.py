"""The urgent pointer (RFC 9293 3.8.5, RFC 6093)."""

import asyncio
import errno
import socket

import pytest

from asyncstack.testing import Verdict
from asyncstack.transport.tcp import urgent
from asyncstack.wire.tcp import URG
from tests.transport.tcp.dialogue import Dialogue


def write_urgent(d, data):
    d.connection.write(data)
    urgent.mark(d.connection)
    d.flush()


@pytest.mark.parametrize("pointer", [0, 1, 3, 6, 7, 1000, 0xFFFF])
def test_urgent_data_is_read_in_line_whatever_the_pointer_says_rfc6093_4(pointer):
    d = Dialogue.established()
    d.inject("UA", data=b"before", urgent=pointer)
    d.inject("UA", data=b"!", urgent=1)
    d.inject("A", data=b"after")
    assert d.read() == b"before!after"


def test_urg_without_data_says_nothing_rfc6093():
    d = Dialogue.established()
    d.inject("UA", urgent=100)
    d.quiet()
    assert d.read() == b""


def test_pointer_names_the_byte_behind_the_urgent_data_rfc6093_3_1():
    d = Dialogue.established()
    d.write(b"calm")
    d.expect("A", data=b"calm")
    write_urgent(d, b"now!")
    segment = d.expect("UA", seq=5, data=b"now!")
    assert segment.urgent == 4
    d.write(b"calm again")
    assert d.expect("A", seq=9, data=b"calm again").urgent == 0
    d.inject("A", ack=19)
    assert d.connection.urgent_end < 0 or d.connection.segment_to_send(d.now) is None
    d.write(b"later")
    assert d.expect("A", data=b"later").urgent == 0
    assert d.connection.urgent_end < 0


def test_segments_before_the_urgent_data_carry_it_too_one_by_one():
    d = Dialogue.established(most=64_000)
    write_urgent(d, bytes(4000))
    for at in (0, 1448, 2896):
        segment = d.expect("UA", seq=1 + at, length=min(1448, 4000 - at))
        assert segment.urgent == 4000 - at
        assert not segment.gso_size
    d.inject("A", ack=4001)
    d.write(bytes(4000))
    assert d.expect("A", seq=4001, length=4000).gso_size == 1448, "large segments again"


def test_a_pointer_that_is_too_far_says_65535():
    d = Dialogue.established(window=1 << 20)
    write_urgent(d, bytes(100_000))
    assert d.sent[0][1].urgent == 0xFFFF
    assert d.sent[0][1].flags & URG


def test_retransmission_carries_it_too():
    d = Dialogue.established()
    write_urgent(d, b"!")
    d.expect("UA", data=b"!")
    d.wait_for_segment()
    assert d.expect("UA", seq=1, data=b"!").urgent == 1


def test_closed_window_still_hears_that_something_is_urgent():
    """RFC 9293 3.8.5, 3.8.6: urgent information goes even where data can not."""
    d = Dialogue.established(window=0)
    write_urgent(d, b"stop")
    d.inject("A", data=b"x", window=0)
    d.wait(0.05)
    assert d.expect("UA", seq=1).urgent == 4


def test_mark_without_data_does_nothing():
    d = Dialogue.established()
    urgent.mark(d.connection)
    d.quiet()
    d.write(b"x")
    assert d.expect("A", data=b"x").urgent == 0


@pytest.mark.virtual_time
async def test_msg_oob_of_a_socket(network):
    a, b = network.host("a", "10.0.0.1/24"), network.host("b", "10.0.0.2/24")
    seen = []

    def watch(packet):
        if packet.tcp is not None and packet.tcp.flags & URG:
            seen.append((bytes(packet.tcp.payload), packet.tcp.urgent))
        return Verdict.PASS

    network.link(a, b, delay=0.001, rule=watch)
    listening = b.socket()
    listening.bind(("10.0.0.2", 80))
    listening.listen()
    sock = a.socket()
    await sock.connect(("10.0.0.2", 80))
    accepted, _ = await listening.accept()
    assert await sock.send(b"abc", socket.MSG_OOB) == 3
    await asyncio.sleep(0.1)
    assert await accepted.recv(100) == b"abc"
    assert seen == [(b"abc", 3)]
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE) == 1
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    with pytest.raises(OSError, match="in line") as caught:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 0)
    assert caught.value.errno == errno.EINVAL
    for one in (sock, accepted, listening):
        one.close()
