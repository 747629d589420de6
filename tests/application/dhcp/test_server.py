"""Dialogues with scripted clients and relay agents, in virtual time."""

import asyncio
import errno
import gc
from socket import inet_aton

import pytest

from asyncstack.application.dhcp import BindingAdded, BindingRemoved, DhcpServer, Pool
from asyncstack.link.memory import memory_pair
from asyncstack.stack import Stack
from asyncstack.wire import ipv4, udp
from asyncstack.wire.dhcp import Type
from tests.application.dhcp.offices import POOL, US, mac, office
from tests.application.dhcp.world import BROADCAST, EVERYBODY, NOBODY, seconds

pytestmark = pytest.mark.virtual_time(limit=200_000)


def held(wire):
    return [str(one) for one in wire.server.bindings]


async def test_a_lease_with_all_that_belongs_to_it():
    pool = Pool(
        **POOL,
        lease_time=1000,
        nameservers=["10.0.0.53", "10.0.0.54"],
        domain="example.org",
        search=["a.example.org", "example.org"],
        routes=[("10.1.0.0/16", "10.0.0.7")],
        mtu=1400,
        options={252: b"http://10.0.0.1/wpad.dat"},
    )
    async with office(pool) as wire:
        loop = asyncio.get_running_loop()
        ack = await wire.lease(options={61: b"\1" + mac(1), 12: b"Alice"})
        assert (
            ack.time - loop.time() == 0.0 and 0.5 <= loop.time() < 1
        )  # it looked whether the address is used
        assert (ack[51], ack[58], ack[59]) == (seconds(1000), seconds(500), seconds(875))
        assert (ack[1], ack[3], ack[54]) == (inet_aton("255.255.255.0"), US, US)
        assert (ack[6], ack[15]) == (inet_aton("10.0.0.53") + inet_aton("10.0.0.54"), b"example.org")
        assert ack[121] == bytes.fromhex("100a010a000007 000a000001".replace(" ", ""))
        assert (ack[26], ack[61]) == ((1400).to_bytes(2, "big"), b"\1" + mac(1))
        assert ack[252] == b"http://10.0.0.1/wpad.dat"
        assert held(wire) == [f"{'.'.join(map(str, ack.message.yiaddr))} bound 02:00:00:00:00:01 alice"]


async def test_only_what_was_asked_for_is_told_in_the_order_asked():
    pool = Pool(**POOL, nameservers=["10.0.0.53"], domain="example.org")
    async with office(pool) as wire:
        offer = await wire.ask(Type.DISCOVER, options={55: bytes([6, 1, 3])})
        assert list(offer.message.options) == [53, 54, 51, 58, 59, 6, 1, 3]


async def test_answers_go_to_the_mac_or_to_all_as_the_client_wants():
    async with office() as wire:
        offer = await wire.ask(Type.DISCOVER)
        assert (offer.mac, offer.destination, offer.source) == (mac(1), offer.message.yiaddr, US)
        offer = await wire.ask(Type.DISCOVER, broadcast=True)
        assert (offer.mac, offer.destination, offer.message.broadcast) == (BROADCAST, EVERYBODY, True)
        nak = await wire.ask(Type.REQUEST, options={50: inet_aton("192.168.0.1")})
        assert (nak.kind, nak.mac, nak.destination) == (Type.NAK, BROADCAST, EVERYBODY)
        assert (nak.message.yiaddr, nak[51], nak[1], nak[54]) == (NOBODY, None, None, US)


async def test_a_client_keeps_its_address_and_gets_it_again():
    async with office() as wire:
        first = (await wire.lease()).message.yiaddr
        assert (await wire.lease()).message.yiaddr == first
        wire.say(wire.message(Type.RELEASE, options={54: US}, ciaddr=first), first, US)
        await asyncio.sleep(1)
        assert held(wire) == []
        assert (await wire.lease(mac(2))).message.yiaddr != first
        assert (await wire.lease()).message.yiaddr == first


async def test_a_wish_is_granted_where_possible():
    async with office() as wire:
        wish = {50: inet_aton("10.0.0.123")}
        assert (await wire.ask(Type.DISCOVER, mac(1), wish)).message.yiaddr == inet_aton("10.0.0.123")
        assert (await wire.ask(Type.DISCOVER, mac(2), wish)).message.yiaddr != inet_aton("10.0.0.123")
        outside = {50: inet_aton("10.0.0.5"), 51: seconds(120)}
        offer = await wire.ask(Type.DISCOVER, mac(3), outside)
        assert offer.message.yiaddr != inet_aton("10.0.0.5") and offer[51] == seconds(120)


async def test_renewals_get_a_new_time():
    async with office() as wire:
        ours = (await wire.lease()).message.yiaddr
        wire.owners[ours] = mac(1)
        await asyncio.sleep(3000)
        ack = await wire.ask(Type.REQUEST, source=ours, destination=US, ciaddr=ours)
        assert (ack.kind, ack.destination, ack.message.ciaddr) == (Type.ACK, ours, ours)
        await asyncio.sleep(3000)
        rebound = await wire.ask(Type.REQUEST, source=ours, ciaddr=ours)
        assert rebound.kind is Type.ACK and rebound.destination == ours
        await asyncio.sleep(3599)
        assert len(held(wire)) == 1
        await asyncio.sleep(2)
        assert held(wire) == []


async def test_after_a_restart_of_the_client_it_is_told_whether_its_address_is_good():
    async with office() as wire:
        ours = (await wire.lease()).message.yiaddr
        assert (await wire.ask(Type.REQUEST, options={50: ours})).kind is Type.ACK
        assert (await wire.ask(Type.REQUEST, options={50: inet_aton("10.0.0.140")})).kind is Type.NAK
        assert (await wire.ask(Type.REQUEST, mac(2), {50: inet_aton("10.9.0.1")})).kind is Type.NAK
        await wire.silence(Type.REQUEST, mac(2), {50: inet_aton("10.0.0.140")})  # perhaps of another server


async def test_an_authoritative_server_says_something_to_those_it_does_not_know():
    async with office(authoritative=True) as wire:
        ours = (await wire.lease()).message.yiaddr
        assert (await wire.ask(Type.REQUEST, mac(2), {50: ours})).kind is Type.NAK
        ack = await wire.ask(Type.REQUEST, mac(2), {50: inet_aton("10.0.0.140")})
        assert (ack.kind, ack.message.yiaddr) == (Type.ACK, inet_aton("10.0.0.140"))


async def test_who_takes_the_offer_of_another_server_frees_ours():
    async with office(Pool(**POOL | {"last": "10.0.0.100"})) as wire:
        await wire.ask(Type.DISCOVER)
        await wire.silence(Type.DISCOVER, mac(2))
        await wire.silence(Type.REQUEST, mac(1), {50: inet_aton("10.0.0.9"), 54: inet_aton("10.0.0.2")})
        assert (await wire.ask(Type.DISCOVER, mac(2))).kind is Type.OFFER


async def test_an_offer_is_held_for_a_minute():
    async with office(Pool(**POOL | {"last": "10.0.0.100"})) as wire:
        await wire.ask(Type.DISCOVER)
        await asyncio.sleep(50)
        await wire.silence(Type.DISCOVER, mac(2))
        await asyncio.sleep(10)
        assert (await wire.ask(Type.DISCOVER, mac(2))).kind is Type.OFFER
        late = await wire.ask(Type.REQUEST, mac(1), {50: inet_aton("10.0.0.100"), 54: US})
        assert late.kind is Type.NAK


async def test_reservations_by_mac_and_by_identifier():
    reservations = {"02:00:00:00:00:01": "10.0.0.10", b"\0peer": "10.0.0.110"}
    async with office(Pool(**POOL, reservations=reservations)) as wire:
        assert (await wire.lease(mac(1))).message.yiaddr == inet_aton("10.0.0.10")
        assert (await wire.lease(mac(2), {61: b"\0peer"})).message.yiaddr == inet_aton("10.0.0.110")
        wish = {50: inet_aton("10.0.0.10")}
        assert (await wire.ask(Type.DISCOVER, mac(3), wish)).message.yiaddr != inet_aton("10.0.0.10")
        assert (await wire.ask(Type.REQUEST, mac(1), {50: inet_aton("10.0.0.120")})).kind is Type.NAK


async def test_addresses_that_somebody_uses_are_not_offered():
    pool = Pool(**POOL | {"last": "10.0.0.101"})
    async with office(pool) as wire:
        wire.owners[inet_aton("10.0.0.100")] = mac(77)  # it answers ARP, but no ping
        for number in (1, 2, 3):
            wire.say(wire.message(Type.DISCOVER, mac(number)))
        await asyncio.sleep(5)
        assert [seen.message.yiaddr for seen in wire.seen] == [inet_aton("10.0.0.101")]
        assert wire.server.stack.counters["dhcp.address_in_use"] == 1


async def test_a_declined_address_is_set_aside_for_ten_minutes():
    async with office(Pool(**POOL | {"last": "10.0.0.100"})) as wire:
        ours = (await wire.lease()).message.yiaddr
        await wire.silence(Type.DECLINE, mac(2), {50: ours, 54: US})
        assert len(held(wire)) == 1  # it is not that client's to decline
        await wire.silence(Type.DECLINE, mac(1), {50: ours, 54: US})
        assert held(wire) == []
        await wire.silence(Type.DISCOVER)
        await wire.silence(Type.DISCOVER, mac(2))
        await asyncio.sleep(600)
        assert (await wire.ask(Type.DISCOVER)).message.yiaddr == ours


async def test_a_client_that_is_there_already_is_no_other_host():
    """It has asked for its former address while that was still looked for, and uses it."""
    async with office() as wire:
        ours = (await wire.lease()).message.yiaddr
        wire.say(wire.message(Type.RELEASE, options={54: US}, ciaddr=ours), ours, US)
        wire.say(wire.message(Type.DISCOVER))
        ack = await wire.ask(Type.REQUEST, options={50: ours})
        assert (ack.kind, ack.message.yiaddr) == (Type.ACK, ours)
        wire.has(ours, mac(1))
        await asyncio.sleep(5)
        assert [one.address for one in wire.server.bindings] == [ours] and wire.seen == []
        assert wire.server.stack.counters["dhcp.address_in_use"] == 0


async def test_inform_is_answered_without_an_address():
    async with office(Pool(**POOL, nameservers=["10.0.0.53"])) as wire:
        own = inet_aton("10.0.0.7")
        wire.owners[own] = mac(1)
        ack = await wire.ask(Type.INFORM, source=own, ciaddr=own)
        assert (ack.kind, ack.destination, ack.message.yiaddr, ack[51]) == (Type.ACK, own, NOBODY, None)
        assert ack[6] == inet_aton("10.0.0.53")
        assert held(wire) == []


async def test_relay_agents():
    """Their fields come back as they were, and say which network the client is on."""
    far = Pool(network="10.7.0.0/16", routers=["10.7.0.1"])
    other = Pool(network="10.8.0.0/16")
    relay, agent = inet_aton("10.7.0.1"), b"\1\4port\2\3sw1"
    async with office([Pool(**POOL), far, other]) as wire:
        stack = wire.server.stack
        stack.routes.add(inet_aton("10.7.0.0"), 16, wire.server.interface, inet_aton("10.0.0.254"))
        wire.owners[inet_aton("10.0.0.254")] = mac(99)
        wire.port = 67
        fields = {"source": relay, "destination": US, "giaddr": relay, "hops": 1}
        ack = await wire.lease(mac(1), {82: agent}, **fields)
        assert (ack.destination, ack.mac, ack.message.giaddr) == (relay, mac(99), relay)
        assert ack.message.yiaddr.startswith(b"\x0a\7") and ack[3] == relay
        assert (ack[82], list(ack.message.options)[-1]) == (agent, 82)
        nak = await wire.ask(Type.REQUEST, options={50: inet_aton("10.0.0.120"), 82: agent}, **fields)
        assert (nak.kind, nak.destination, nak.message.broadcast, nak[82]) == (Type.NAK, relay, True, agent)
        chosen = await wire.ask(
            Type.DISCOVER, mac(2), {82: agent + b"\5\4" + inet_aton("10.8.0.1")}, **fields
        )
        assert chosen.message.yiaddr.startswith(b"\x0a\x08")
        selected = await wire.ask(Type.DISCOVER, mac(3), {118: inet_aton("10.8.0.0")}, **fields)
        assert selected.message.yiaddr.startswith(b"\x0a\x08") and selected[118] == inet_aton("10.8.0.0")
        unknown = dict(fields, giaddr=inet_aton("10.9.0.1"))
        wire.say(wire.message(Type.DISCOVER, mac(4), giaddr=unknown["giaddr"]), relay, US)
        await asyncio.sleep(5)
        assert wire.seen == [] and stack.counters["dhcp.no_pool"] == 1


async def test_what_happens_to_leases_is_told():
    async with office() as wire:
        await wire.lease(options={12: b"alice"})
        ours = (await wire.lease(mac(2), {12: b"bob.example.org"})).message.yiaddr
        await wire.lease(mac(2), {12: b"robert"})
        wire.say(wire.message(Type.RELEASE, mac(2), {54: US}, ciaddr=ours), ours, US)
        await asyncio.sleep(4000)
    events = [event async for event in wire.server]
    assert [type(event) for event in events] == [BindingAdded] * 3 + [BindingRemoved] * 2
    assert [event.binding.hostname for event in events] == ["alice", "robert", "robert", "robert", "alice"]
    assert [event.reason for event in events[3:]] == ["the client gave it back", "its time is up"]


async def test_a_storm_of_clients_stays_within_bounds():
    """A thief who takes all addresses: the table is the pool's size, answers are limited, and time heals it."""
    async with office(Pool(**POOL), per_second=20) as wire:
        for number in range(2000):
            wire.say(wire.message(Type.DISCOVER, mac(number)))
            if number % 100 == 99:
                await asyncio.sleep(1)
        stack, machine = wire.server.stack, wire.server._machine
        assert stack.counters["dhcp.rate_limited"] > 1000
        assert len(machine.bindings.by_address) <= 51
        await asyncio.sleep(100)
        wire.seen.clear()
        assert len(machine.bindings.by_address) == 1  # our own
        assert (await wire.ask(Type.DISCOVER, mac(5000))).kind is Type.OFFER


async def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="no IPv4 network"):
        Pool(network="fd00::/64")
    with pytest.raises(ValueError, match=r"no part of 10\.0\.0\.0/24"):
        Pool(network="10.0.0.0/24", first="10.0.1.1")
    with pytest.raises(ValueError, match="65536 at most"):
        Pool(network="10.0.0.0/8")
    with pytest.raises(ValueError, match="reservations"):
        Pool(network="10.0.0.0/24", reservations={"02:00:00:00:00:01": "10.0.1.1"})
    for wrong in ({"t1": 0}, {"t2": -1}, {"t1": 1 << 32}, {"mtu": 70000}, {"mtu": 20}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Pool(network="10.0.0.0/24", **wrong)
    for code in (0, 52, 53, 255, 300):
        with pytest.raises(ValueError, match=f"option {code}"):
            Pool(network="10.0.0.0/24", options={code: b"x"})
    async with office() as wire:
        with pytest.raises(ValueError, match=r"10\.0\.0\.0/24 and 10\.0\.0\.0/16 overlap"):
            DhcpServer(wire.server.stack, wire.server.interface, [Pool(**POOL), Pool(network="10.0.0.0/16")])
        with pytest.raises(OSError) as raised:
            async with DhcpServer(wire.server.stack, wire.server.interface, Pool(**POOL)):
                pass
        assert raised.value.errno == errno.EADDRINUSE


async def test_what_does_not_fit_is_left_out_the_least_wanted_first():
    many = {224: bytes(200), 225: bytes(200), 226: bytes(200)}
    async with office(Pool(**POOL, options=many)) as wire:
        small = await wire.ask(Type.DISCOVER, options={55: bytes([1, 3, 226, 225, 224])})
        assert list(small.message.options) == [53, 54, 51, 58, 59, 1, 3, 226, 225]
        large = await wire.ask(
            Type.DISCOVER, options={55: bytes([1, 226, 225, 224]), 57: (1500).to_bytes(2, "big")}
        )
        assert {224, 225, 226} <= large.message.options.keys()


async def test_a_reserved_address_that_another_host_uses_is_not_given():
    async with office(Pool(**POOL, reservations={"02:00:00:00:00:01": "10.0.0.10"})) as wire:
        wire.owners[inet_aton("10.0.0.10")] = mac(77)
        await wire.silence(Type.DISCOVER)
        await wire.silence(Type.DISCOVER)
        del wire.owners[inet_aton("10.0.0.10")]
        await asyncio.sleep(600)
        assert (await wire.ask(Type.DISCOVER)).message.yiaddr == inet_aton("10.0.0.10")


async def test_renewals_without_end_leave_no_times_behind():
    async with office(per_second=1e6) as wire:
        ours = (await wire.lease()).message.yiaddr
        wire.owners[ours] = mac(1)
        bindings = wire.server._machine.bindings
        for _ in range(3000):
            assert (await wire.ask(Type.REQUEST, ciaddr=ours)).kind is Type.ACK
        assert len(bindings._times) < 1100
        await asyncio.sleep(3599)
        assert len(held(wire)) == 1
        await asyncio.sleep(2)
        assert held(wire) == []


async def test_what_is_malformed_is_counted_and_passed_over():
    async with office() as wire:
        counters = wire.server.stack.counters
        wire.say(wire.message(Type.DISCOVER, bytes(6)))  # from nobody
        data = b"\1\1\6\0" + bytes(232) + b"BOOT" + bytes(60)
        packet = ipv4.build(NOBODY, EVERYBODY, 17, 8 + len(data)) + udp.build(68, 67, len(data)) + data
        wire.send_frame(BROADCAST, 0x0800, packet)
        await asyncio.sleep(5)
        assert (wire.seen, counters["dhcp.malformed"]) == ([], 2)
        long = {61: bytes(range(200)) * 2}  # no identifier, so that the MAC counts
        assert (await wire.ask(Type.DISCOVER, mac(1), long)).message.yiaddr == (
            await wire.lease()
        ).message.yiaddr


async def test_who_asks_while_the_stack_is_being_closed_gets_nothing():
    said = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    async with office() as wire:
        stack = wire.server.stack
        drain = stack.tcp.drain

        async def slow(timeout):
            wire.say(wire.message(Type.DISCOVER))
            await asyncio.sleep(3)
            await drain(timeout)

        stack.tcp.drain = slow
        await stack.close()
        assert stack.counters["dhcp.address_in_use"] == 0 and wire.seen == []
    gc.collect()
    await asyncio.sleep(0)
    assert said == []


async def test_where_it_can_not_serve_it_says_so():
    async with Stack(seed=1) as stack:
        with pytest.raises(OSError) as raised:
            DhcpServer(stack, stack.interfaces[0], Pool(**POOL))
        assert raised.value.errno == errno.EOPNOTSUPP
        with pytest.raises(TypeError, match="'eth0' is no interface: give what `add_interface` returned"):
            DhcpServer(stack, "eth0", Pool(**POOL))
        interface = stack.attach(memory_pair(ethernet=True)[0])
        with pytest.raises(OSError) as raised:
            async with DhcpServer(stack, interface, Pool(**POOL)):
                pass
        assert raised.value.errno == errno.EADDRNOTAVAIL


async def test_a_pool_for_nobody_on_the_link_is_refused():
    elsewhere = Pool(network="10.5.0.0/24")
    said = r"no pool \(10\.5\.0\.0/24\) is for a network of eth0 \(10\.0\.0\.1/24\).*relays_only=True"
    with pytest.raises(ValueError, match=said):
        async with office(elsewhere):
            pass
    async with office(elsewhere, relays_only=True) as wire:
        await wire.silence(Type.DISCOVER)
        relay, wire.port = inet_aton("10.5.0.1"), 67
        wire.server.stack.routes.add(inet_aton("10.5.0.0"), 24, wire.server.interface)
        wire.owners[relay] = mac(99)
        offer = await wire.ask(Type.DISCOVER, source=relay, destination=US, giaddr=relay)
        assert offer.message.yiaddr.startswith(b"\x0a\5")


async def test_of_several_addresses_the_one_of_the_pool_serves():
    async with office(others=["10.9.0.1/24"]) as wire:
        assert (await wire.lease())[54] == US


async def test_an_answer_is_no_larger_than_the_link_takes():
    many = {224: bytes(200), 225: bytes(200), 226: bytes(200)}
    async with office(Pool(**POOL, options=many), mtu=600) as wire:
        offer = await wire.ask(Type.DISCOVER, options={57: b"\x05\xdc", 55: bytes(many)})
        assert offer.kind is Type.OFFER and any(code in offer.message.options for code in many)


@pytest.mark.parametrize("name", ["routers", "nameservers", "ntp_servers", "search"])
def test_a_pool_wants_lists(name):
    with pytest.raises(ValueError, match=rf"{name}='10\.0\.0\.1': give a list"):
        Pool(network="10.0.0.0/24", **{name: "10.0.0.1"})


def test_a_pool_whose_last_is_before_its_first():
    with pytest.raises(ValueError, match=r"10\.0\.0\.50 to 10\.0\.0\.40: the last is before the first"):
        Pool(network="10.0.0.0/24", first="10.0.0.50", last="10.0.0.40")
