"""ARP as dialogues: packets in with an explicit `now`, packets out, read by dpkt."""

import random

import dpkt
import pytest

from asyncstack.counters import Counters
from asyncstack.link.arp import ArpProtocol
from asyncstack.link.claims import Claims
from asyncstack.link.neighbors import NeighborTable
from asyncstack.link.reachability import State
from asyncstack.wire import arp
from asyncstack.wire.ethernet import BROADCAST

OURS, ALSO_OURS = b"\x0a\x09\0\x02", b"\xc0\xa8\x01\x02"
PEER, THIRD = b"\x0a\x09\0\x01", b"\x0a\x09\0\x03"
SUBNET_BROADCAST = b"\x0a\x09\0\xff"
NOBODY = bytes(4)
MAC, PEER_MAC, EVIL_MAC = (bytes((2, 0, 0, 0, 0, n)) for n in (2, 1, 0xEE))
NO_MAC = bytes(6)


class Host:
    """An ArpProtocol with its table, and what it sends as (to, operation, sender, target) from dpkt."""

    def __init__(self):
        self.counters = Counters()
        self.table = NeighborTable("arp", rng=random.Random(1), counters=self.counters, lock_time=1.0)
        self.addresses = {OURS: None, ALSO_OURS: None, b"\xfd" + bytes(15): None}
        self.claims = Claims(random.Random(2))
        self.arp = ArpProtocol(
            MAC,
            self.addresses,
            self.table,
            self.counters,
            lambda address: address == SUBNET_BROADCAST,
            self.claims,
        )

    def receive(self, operation, sender_mac, sender, target, now=0.0, *, target_mac=NO_MAC, to_us=False):
        packet = dpkt.arp.ARP(op=operation, sha=sender_mac, spa=sender, tha=target_mac, tpa=target)
        self.arp.receive(memoryview(bytes(packet) + bytes(18)), to_us, now)  # padded to the smallest frame
        return self.sent(now)

    def sent(self, now=0.0):
        packets = [(to, dpkt.arp.ARP(data)) for to, data in self.arp.packets_to_send(now)]
        assert all(len(packet) == 28 and packet.data == b"" for _, packet in packets)
        return [(to, p.op, (p.sha, p.spa), (p.tha, p.tpa)) for to, p in packets]

    def state(self, address=PEER):
        entry = self.table.entries.get(address)
        return None if entry is None else (entry.state, entry.mac)


@pytest.fixture
def host():
    return Host()


ANNOUNCEMENT = (BROADCAST, arp.REQUEST, (MAC, OURS), (NO_MAC, OURS))


# requests


@pytest.mark.parametrize("to_us", [False, True])
def test_a_request_for_us_is_answered_and_the_asker_kept(host, to_us):
    answer = host.receive(arp.REQUEST, PEER_MAC, PEER, OURS, to_us=to_us)
    assert answer == [(PEER_MAC, arp.REPLY, (MAC, OURS), (PEER_MAC, PEER))]
    assert host.state() == (State.STALE, PEER_MAC)
    assert host.table.lookup(PEER, 1.0) == PEER_MAC  # the answer to what comes next needs no question


def test_every_address_of_ours_is_answered_for(host):
    [(_, _, sender, _)] = host.receive(arp.REQUEST, PEER_MAC, PEER, ALSO_OURS)
    assert sender == (MAC, ALSO_OURS)
    del host.addresses[ALSO_OURS]
    assert host.receive(arp.REQUEST, PEER_MAC, PEER, ALSO_OURS) == []


def test_a_request_for_another_is_not_answered_and_makes_no_entry(host):
    assert host.receive(arp.REQUEST, PEER_MAC, PEER, THIRD) == []
    assert host.state() is None


def test_any_packet_updates_an_entry_that_is_there(host):
    host.receive(arp.REQUEST, PEER_MAC, PEER, OURS)
    host.receive(arp.REQUEST, EVIL_MAC, PEER, THIRD, now=5.0)  # RFC 826: the merge flag
    assert host.state() == (State.STALE, EVIL_MAC)


def test_a_probe_for_our_address_is_answered(host):
    answer = host.receive(arp.REQUEST, PEER_MAC, NOBODY, OURS)
    assert answer == [(PEER_MAC, arp.REPLY, (MAC, OURS), (PEER_MAC, NOBODY))]
    assert len(host.table) == 0


def test_a_probe_for_another_address_is_none_of_our_business(host):
    assert host.receive(arp.REQUEST, PEER_MAC, NOBODY, THIRD) == []
    assert (len(host.table), sum(host.counters.values())) == (0, 0)


@pytest.mark.parametrize(
    "sender",
    [b"\x7f\0\0\x01", b"\0\0\0\x01", b"\xe0\0\0\x01", b"\xf0\0\0\x01", b"\xff\xff\xff\xff", SUBNET_BROADCAST],
)
def test_what_can_be_no_host_is_neither_kept_nor_answered(host, sender):
    assert host.receive(arp.REQUEST, PEER_MAC, sender, OURS) == []
    assert (len(host.table), host.counters["arp.malformed"]) == (0, 1)


# replies


def test_a_question_is_broadcast_from_our_address_on_that_network(host):
    assert host.table.lookup(PEER, 0.0) is None
    assert host.sent() == [(BROADCAST, arp.REQUEST, (MAC, OURS), (NO_MAC, PEER))]
    host.table.lookup(b"\xc0\xa8\x01\x01", 0.0)
    [(_, _, sender, _)] = host.sent()
    assert sender == (MAC, ALSO_OURS)


def test_a_question_without_an_address_of_ours_is_a_probe(host):
    host.addresses.clear()
    host.table.lookup(PEER, 0.0)
    [(_, _, sender, _)] = host.sent()
    assert sender == (MAC, NOBODY)


def test_the_answer_resolves(host):
    host.table.lookup(PEER, 0.0)
    host.sent()
    assert host.receive(arp.REPLY, PEER_MAC, PEER, OURS, 0.1, target_mac=MAC, to_us=True) == []
    assert host.state() == (State.REACHABLE, PEER_MAC)


def test_a_broadcast_answer_resolves_but_proves_nothing(host):
    host.table.lookup(PEER, 0.0)
    host.receive(arp.REPLY, PEER_MAC, PEER, PEER, 0.1)
    assert host.state() == (State.STALE, PEER_MAC)


def test_an_answer_nobody_asked_for_is_counted(host):
    assert host.receive(arp.REPLY, EVIL_MAC, PEER, OURS, target_mac=MAC, to_us=True) == []
    assert (len(host.table), host.counters["arp.unexpected_reply"]) == (0, 1)


def test_the_first_of_two_answers_wins(host):
    host.table.lookup(PEER, 0.0)
    host.receive(arp.REPLY, PEER_MAC, PEER, OURS, 0.1, to_us=True)
    host.receive(arp.REPLY, EVIL_MAC, PEER, OURS, 0.2, to_us=True)
    assert host.state() == (State.STALE, PEER_MAC)
    assert host.counters["arp.conflicting_reply"] == 1


def test_a_mac_that_changes_unasked_is_used_but_has_to_be_verified(host):
    host.table.lookup(PEER, 0.0)
    host.receive(arp.REPLY, PEER_MAC, PEER, OURS, 0.1, to_us=True)
    host.receive(arp.REPLY, EVIL_MAC, PEER, OURS, 5.0, to_us=True)
    assert host.state() == (State.STALE, EVIL_MAC)


def test_a_unicast_question_verifies_a_stale_neighbor(host):
    host.receive(arp.REQUEST, PEER_MAC, PEER, OURS)
    host.table.lookup(PEER, 10.0)
    host.table.timer_expired(15.0)
    assert host.sent(15.0) == [(PEER_MAC, arp.REQUEST, (MAC, OURS), (PEER_MAC, PEER))]
    host.receive(arp.REPLY, PEER_MAC, PEER, OURS, 15.1, to_us=True)
    assert host.state() == (State.REACHABLE, PEER_MAC)


# gratuitous ARP and conflicts


def test_an_address_is_announced(host):
    host.claims.announce(OURS)
    assert host.sent() == [ANNOUNCEMENT]


@pytest.mark.parametrize("operation", [arp.REQUEST, arp.REPLY])
def test_gratuitous_arp_updates_what_we_know_and_nothing_else(host, operation):
    host.receive(arp.REQUEST, PEER_MAC, PEER, OURS)
    assert host.receive(operation, EVIL_MAC, PEER, PEER, 5.0) == []
    assert host.state() == (State.STALE, EVIL_MAC)
    assert host.receive(operation, EVIL_MAC, THIRD, THIRD, 5.0) == []
    assert host.state(THIRD) is None


@pytest.mark.parametrize("operation", [arp.REQUEST, arp.REPLY])
@pytest.mark.parametrize("target", [OURS, PEER, THIRD])
def test_a_claim_to_our_address_is_counted_and_defended_once_in_ten_seconds(host, operation, target):
    sent = {now: host.receive(operation, EVIL_MAC, OURS, target, now) for now in (0.0, 0.1, 5.0, 9.9, 10.0)}
    assert sent == {0.0: [ANNOUNCEMENT], 0.1: [], 5.0: [], 9.9: [], 10.0: [ANNOUNCEMENT]}
    assert host.counters["arp.address_conflict"] == 5
    assert len(host.table) == 0


def test_each_address_is_defended_by_itself(host):
    assert host.receive(arp.REPLY, EVIL_MAC, OURS, OURS) == [ANNOUNCEMENT]
    [(_, _, sender, _)] = host.receive(arp.REPLY, EVIL_MAC, ALSO_OURS, ALSO_OURS)
    assert sender == (MAC, ALSO_OURS)


def test_an_address_that_was_removed_is_not_defended(host):
    host.receive(arp.REPLY, EVIL_MAC, OURS, OURS)
    del host.addresses[OURS]
    host.claims.give_up(OURS)
    assert host.receive(arp.REPLY, EVIL_MAC, OURS, OURS, 60.0) == []
    host.addresses[OURS] = None  # it is ours again: the old rate limit is gone
    assert host.receive(arp.REPLY, EVIL_MAC, OURS, OURS, 3.0) == [ANNOUNCEMENT]


def test_our_own_packet_coming_back_is_no_conflict(host):
    assert host.receive(arp.REQUEST, MAC, OURS, OURS) == []
    assert host.receive(arp.REQUEST, MAC, OURS, PEER) == []
    assert sum(host.counters.values()) == 0


# malformed


REQUEST_FOR_US = arp.build(arp.Arp(arp.REQUEST, PEER_MAC, PEER, NO_MAC, OURS))


def patched(offset, value):
    data = bytearray(REQUEST_FOR_US)
    data[offset : offset + len(value)] = value
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        *(REQUEST_FOR_US[:length] for length in range(28)),
        patched(0, b"\0\x06"),  # hardware: IEEE 802
        patched(2, b"\x86\xdd"),  # protocol: IPv6
        patched(4, b"\x08"),
        patched(5, b"\x10"),
        patched(6, b"\0\x03"),  # RARP
        patched(6, b"\0\0"),
        patched(8, b"\xff" * 6),  # sender: broadcast
        patched(8, b"\x01\0\x5e\0\0\x01"),  # sender: a group
        patched(8, NO_MAC),
    ],
)
def test_malformed_packets_are_counted_and_do_nothing(host, data):
    host.arp.receive(memoryview(data), False, 0.0)
    assert (host.sent(), len(host.table)) == ([], 0)
    assert host.counters == Counters({"arp.malformed": 1})


def test_mutations_leave_the_tables_bounded(host):
    script = random.Random(7)
    host.table.lookup(PEER, 0.0)
    host.sent()
    for step in range(20000):
        data = bytearray(REQUEST_FOR_US)
        for _ in range(script.randrange(1, 6)):
            data[script.randrange(6, 28)] = script.randrange(256)
        host.arp.receive(memoryview(data), script.random() < 0.5, step * 0.001)
        assert len(host.arp.packets_to_send(step * 0.001)) <= 1  # nothing is amplified
    assert len(host.table) <= 1024
    assert OURS not in host.table.entries
    assert all(not entry.mac or not entry.mac[0] & 1 for entry in host.table.entries.values())
