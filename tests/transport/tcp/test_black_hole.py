"""Paths that silently drop large packets (RFC 4821, RFC 8899): as dialogues, and whole transfers over such a link."""

import asyncio
import ipaddress

import pytest

from asyncstack import StackConfig
from asyncstack.config import TcpConfig
from asyncstack.testing import Verdict
from asyncstack.transport.tcp.phase import OPEN
from tests.transport.tcp.dialogue import Dialogue
from tests.transport.tcp.pair import Pair

OPTIONS = 12
FULL = 1460 - OPTIONS
BASE = 1024 - OPTIONS


def timeouts(d, count):
    """Let the retransmission timer expire `count` times (before the first there is a tail loss probe)."""
    until = d.connection.sender.timeouts + count
    while d.connection.sender.timeouts < until:
        d.sent.clear()
        d.wait_for_segment()


def lengths(d):
    sizes = [len(segment.payload) for _, segment in d.sent]
    d.sent.clear()
    return sizes


def in_black_hole(config=None, size=100_000, **options):
    """Established; nothing of the first flight arrived, and the third timeout has made segments smaller."""
    d = Dialogue.established(config, window=1 << 20, **options)
    d.write(size)
    timeouts(d, 3)
    return d


def pair_in_black_hole(largest, size=3_000_000, **config):
    """A transfer that has found a black hole for segments larger than `largest`, and gone on."""
    pair = Pair(config_a=TcpConfig(**config), delay=0.01, rate=5e6, largest=largest)
    pair.a.to_send = bytes(size)
    pair.open()
    pair.run_while(lambda: pair.a.connection.sender.search is None)
    assert pair.a.connection.sender.mss == BASE
    return pair


def check_complete(pair, size=3_000_000):
    pair.run()
    assert len(pair.b.received) == size
    assert pair.b.connection.error == 0


def data_sizes(pair):
    return [len(segment.payload) for _, segment in pair.a.link.carried if segment.payload]


def test_third_timeout_of_a_full_segment_makes_segments_smaller_rfc4821_7_7():
    d = Dialogue.established(window=1 << 20)
    d.write(20_000)
    timeouts(d, 2)
    assert lengths(d) == [FULL]
    timeouts(d, 1)
    assert lengths(d) == [BASE]
    assert d.connection.info(d.now).snd_mss == BASE
    assert d.now < 3.0


def test_every_further_timeout_halves_them():
    d = in_black_hole()
    timeouts(d, 1)
    assert lengths(d) == [512 - OPTIONS]
    timeouts(d, 1)
    assert lengths(d) == [256 - OPTIONS]
    timeouts(d, 3)
    assert lengths(d) == [216 - OPTIONS], "no search below"


def test_loss_of_small_segments_is_no_black_hole():
    d = Dialogue.established(window=1 << 20)
    d.write(200)
    timeouts(d, 5)
    assert d.connection.info(d.now).snd_mss == FULL


def test_setting_switches_it_off():
    d = Dialogue.established(TcpConfig(mtu_probing=False), window=1 << 20)
    d.write(20_000)
    timeouts(d, 5)
    assert lengths(d) == [FULL]


def test_outage_that_looked_like_a_black_hole_is_over_with_the_first_probe():
    pair = pair_in_black_hole(FULL - 1)
    pair.a.link.largest = FULL
    del pair.a.link.carried[:]
    check_complete(pair)
    sizes = data_sizes(pair)
    assert sizes.index(FULL) < 50
    assert sizes.count(FULL) > 1900
    assert set(sizes[sizes.index(FULL) + 60 : -1]) == {FULL}


@pytest.mark.parametrize("sack", [True, False])
def test_probes_find_what_passes_and_their_loss_is_no_congestion_rfc4821_7_5(sack):
    """A path of 1,200 bytes of payload: found to within 8 bytes, and the window is not reduced for it."""
    pair = pair_in_black_hole(1200, sack=sack)
    snd = pair.a.connection.sender
    pair.run_while(lambda: snd.search.outstanding is None)
    reductions, cwnd = 0, snd.congestion.cwnd
    del pair.a.link.carried[:]
    while not snd.search.rests_until:
        pair.step()
        reductions += snd.congestion.cwnd < cwnd
        cwnd = snd.congestion.cwnd
    assert 1200 - 8 < snd.mss <= 1200
    assert reductions == 0
    assert snd.phase is OPEN
    lost = [size for size in data_sizes(pair) if 1200 < size < FULL]
    assert lost
    assert {lost.count(size) for size in lost} == {3}, "each size three times (RFC 8899 5.1.2)"
    assert pair.a.connection.info(pair.now).total_retrans < 200
    check_complete(pair)


def test_search_begins_anew_after_a_while_and_finds_that_the_path_has_changed():
    pair = pair_in_black_hole(1200, mtu_probe_interval=1.0, size=20_000_000)
    snd = pair.a.connection.sender
    pair.run_while(lambda: not snd.search.rests_until)
    pair.a.link.largest = FULL
    assert snd.mss <= 1200
    del pair.a.link.carried[:]
    pair.run_while(lambda: snd.mss < FULL)
    assert data_sizes(pair).count(FULL) == 1, "the first probe has the full size"
    pair.run_while(lambda: snd.search is not None)
    check_complete(pair, 20_000_000)
    assert set(data_sizes(pair)[-1000:-1]) == {FULL}


def test_super_segments_are_cut_by_the_new_size():
    pair = pair_in_black_hole(1200)
    units = set()
    carry = pair.a.link.carry
    pair.a.link.carry = lambda segment, now: units.add(segment.gso_size) or carry(segment, now)
    check_complete(pair)
    assert BASE in units
    assert max(units) <= 1200


def test_router_still_has_its_say():
    """RFC 8201: less than the search has found is taken at once; more is for the search to find out."""
    pair = pair_in_black_hole(1200)
    connection = pair.a.connection
    connection.set_path_mss(900, pair.now)
    assert connection.sender.mss == 900 - OPTIONS
    connection.set_path_mss(1300, pair.now)
    assert connection.sender.mss == 900 - OPTIONS
    pair.a.link.largest = FULL
    pair.run_while(lambda: connection.sender.mss < 1300 - OPTIONS)
    check_complete(pair)


class Hole:
    """Drops packets of more than `size` bytes, and says nothing."""

    def __init__(self, size):
        self.size = size

    def __call__(self, packet):
        return Verdict.DROP if len(packet.data) > self.size else Verdict.PASS


@pytest.mark.virtual_time
@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2"])
@pytest.mark.parametrize("size", [1000, 1400])
@pytest.mark.parametrize("sack", [True, False])
async def test_transfer_through_a_black_hole_that_goes_away(network, address, size, sack):
    config = StackConfig(tcp=TcpConfig(mtu_probe_interval=60.0, sack=sack))
    a = network.host("a", "10.0.0.1/24", "fd00::1/64", config=config)
    b = network.host("b", "10.0.0.2/24", "fd00::2/64")
    link = network.link(a, b, delay=0.01, rate=50e6, rule=Hole(size))
    received = 0

    async def sink(reader, writer):
        nonlocal received
        while data := await reader.read(1 << 18):
            received += len(data)
        writer.close()

    await b.start_server(sink, None, 5001)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    _, writer = await a.open_connection(address, 5001)
    writer.write(bytes(2_000_000))
    while received < 2_000_000:
        await asyncio.sleep(0.1)
        assert loop.time() - begun < 12.0, "seconds, not minutes"
    (info,) = a.connections()
    headers = (20 if "." in address else 40) + 32
    assert size - 160 <= info.snd_mss + headers <= size
    assert a.routes.lookup(ipaddress.ip_address(address).packed).mtu == 1500, "others hear nothing of it"
    link.set(rule=None)
    await asyncio.sleep(61.0)
    writer.write(bytes(500_000))
    while received < 2_500_000:
        await asyncio.sleep(0.1)
    (info,) = a.connections()
    assert info.snd_mss == 1500 - headers
    writer.close()
    await writer.wait_closed()
