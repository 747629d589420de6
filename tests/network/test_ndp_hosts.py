"""What neighbour discovery hands on: advertisements and redirects of routers, addresses being checked, conflicts."""

import asyncio
from types import SimpleNamespace

import pytest

from asyncstack.counters import Counters
from asyncstack.link.reachability import State
from asyncstack.wire import icmpv6, ndp
from tests.network.test_ndp import (
    ALL_NODES,
    EVIL_MAC,
    GLOBAL,
    LOCAL,
    MAC,
    PEER_GLOBAL,
    PEER_LOCAL,
    PEER_MAC,
    SOURCE_MAC,
    TARGET_MAC,
    UNSPECIFIED,
    Cable,
    O,
    R,
    S,
)

pytestmark = pytest.mark.virtual_time(limit=300)

OTHER = PEER_GLOBAL[:15] + b"\x09"


class Host:
    """A HostSide and a Check that keep what they are told."""

    def __init__(self):
        self.told = []

    def receive_advertisement(self, *told):
        self.told.append(told)

    def neighbor_settled(self, *told):
        self.told.append(told)
        return False

    def no_router(self, address):
        self.told.append(address)

    def receive_solicitation(self, nonce):
        self.told.append(nonce)


def listening():
    cable, host = Cable(), Host()
    cable.ndp.be_host(cable.interface, host)
    return cable, host


def advertise_router(cable, options=SOURCE_MAC + PEER_MAC, body=bytes(8), rest=1800, **fields):
    fields = {"dst": ALL_NODES, **fields}
    cable.receive(icmpv6.ROUTER_ADVERTISEMENT, rest, body + options, **fields)


async def test_an_advertisement_is_handed_on_and_its_sender_known():
    cable, host = listening()
    advertise_router(cable)
    [(source, record)] = host.told
    assert (source, record.lifetime, cable.state()) == (PEER_LOCAL, 1800, (State.STALE, PEER_MAC))
    cable.ndp.be_host(cable.interface, None)
    advertise_router(cable)
    assert (len(host.told), cable.counters["ndp.ignored"]) == (1, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"src": PEER_GLOBAL},
        {"src": UNSPECIFIED},
        {"src": LOCAL},
        {"ttl": 254},
        {"code": 1},
        {"body": bytes(7), "options": b""},
        {"options": b"\x01\x00" + PEER_MAC},
        {"options": b"\x05\x02" + bytes(6)},
        {"options": SOURCE_MAC + b"\xff" * 6},
    ],
)
async def test_invalid_advertisements_are_counted(fields):
    """RFC 4861 6.1.2."""
    cable, host = listening()
    advertise_router(cable, **fields)
    assert (host.told, len(cable.link.neighbors6)) == ([], 0)
    assert cable.counters == Counters({"ndp.invalid": 1})


# redirects


def redirected(believed=True):
    cable = Cable()
    cable.told = []
    cable.ndp._redirects = SimpleNamespace(receive=lambda *told: cable.told.append(told) or believed)
    return cable


def redirect(
    cable, target=PEER_LOCAL[:15] + b"\x07", destination=OTHER, option=TARGET_MAC + EVIL_MAC, **fields
):
    cable.receive(icmpv6.REDIRECT, 0, target + destination + option, **fields)
    return target


@pytest.mark.parametrize("target", [PEER_LOCAL[:15] + b"\x07", OTHER])
async def test_a_redirect_is_handed_on_and_its_target_known(target):
    cable = redirected()
    redirect(cable, target)
    assert cable.told == [(PEER_LOCAL, OTHER, target, cable.interface)]
    assert cable.state(target) == (State.STALE, EVIL_MAC)


async def test_one_that_is_not_believed_makes_no_entry():
    cable = redirected(believed=False)
    redirect(cable)
    assert (len(cable.told), len(cable.link.neighbors6)) == (1, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"src": PEER_GLOBAL},
        {"src": LOCAL},
        {"ttl": 64},
        {"code": 1},
        {"target": PEER_GLOBAL},  # neither a router's link-local address nor the destination
        {"destination": ALL_NODES},
        {"option": TARGET_MAC + b"\x01" + bytes(5)},
        {"option": b"\x02\x00" + EVIL_MAC},
    ],
)
async def test_invalid_redirects_are_counted(fields):
    """RFC 4861 8.1."""
    cable = redirected()
    redirect(cable, **fields)
    assert (cable.told, cable.counters) == ([], Counters({"ndp.invalid": 1}))


async def test_a_router_believes_no_redirects():
    """RFC 4861 8.3: it has its routes from elsewhere."""
    cable = redirected()
    cable.ndp.be_router(cable.interface, lambda: None)
    redirect(cable)
    assert (cable.told, cable.counters["ndp.ignored"]) == ([], 1)


# neighbours


@pytest.mark.parametrize(
    ("flags", "option", "told"),
    [
        (S | O, TARGET_MAC + PEER_MAC, [PEER_LOCAL]),
        (R | S | O, TARGET_MAC + PEER_MAC, []),
        (S, TARGET_MAC + EVIL_MAC, []),  # it may not override, and so it says nothing at all (RFC 4861 7.2.5)
    ],
)
async def test_a_neighbour_without_the_router_flag_is_no_router(flags, option, told):
    cable, host = listening()
    advertise_router(cable)
    host.told.clear()
    cable.advertise(flags=flags, option=option)
    assert host.told == told


async def test_who_answers_and_who_does_not():
    cable, host = listening()
    for target in (PEER_LOCAL, PEER_GLOBAL):
        cable.link.resolve(target, cable.interface.clock())
    cable.advertise(flags=R | S | O)
    assert host.told == [(PEER_LOCAL, True)]
    await asyncio.sleep(3.1)
    assert host.told == [(PEER_LOCAL, True), (PEER_GLOBAL, False)]


# addresses being checked


def checking():
    cable, check = Cable(), Host()
    cable.ndp.set_check(cable.interface, OTHER, check)
    return cable, check


async def test_only_who_has_no_address_wants_the_same():
    """RFC 4862 5.4.3: the others look for a neighbour, and hear nothing."""
    cable, check = checking()
    group = ndp.solicited_node_multicast(OTHER)
    cable.solicit(OTHER, dst=group)
    assert (await cable.sent(), check.told) == ([], [])
    cable.solicit(OTHER, src=UNSPECIFIED, dst=group, option=b"\x0e\x01nonce1")
    cable.solicit(OTHER, src=UNSPECIFIED, dst=group, option=b"")
    assert (await cable.sent(), check.told) == ([], [b"nonce1", b""])


async def test_who_advertises_it_has_it():
    cable, check = checking()
    cable.advertise(OTHER, O, TARGET_MAC + EVIL_MAC, dst=ALL_NODES)
    assert check.told == [(EVIL_MAC,)]
    cable.ndp.set_check(cable.interface, OTHER, None)
    cable.advertise(OTHER, O, TARGET_MAC + EVIL_MAC, dst=ALL_NODES)
    assert (len(check.told), len(cable.link.neighbors6)) == (1, 0)


async def test_the_question_whether_it_is_free_comes_from_nobody():
    cable = Cable()
    cable.ndp.ask_whether_free(cable.interface, OTHER, b"nonce1")
    group = ndp.solicited_node_multicast(OTHER)
    [sent] = await cable.sent()
    assert sent == (ndp.multicast_mac(group), UNSPECIFIED, group, 135, 0, OTHER, b"\x0e\x01nonce1")


async def test_a_conflict_is_told_on_the_link():
    cable = Cable()
    told = []
    cable.link.on_conflict = lambda *conflict: told.append(conflict)
    cable.advertise(GLOBAL, O, TARGET_MAC + EVIL_MAC, dst=ALL_NODES)
    cable.advertise(GLOBAL, O, TARGET_MAC + MAC, dst=ALL_NODES)  # our own, that a loop brings back
    cable.solicit(OTHER, src=LOCAL, option=SOURCE_MAC + EVIL_MAC)
    assert told == [(GLOBAL, EVIL_MAC, False)]
