"""Two stacks on a cable, in virtual time: nobody uses an address that another one has."""

import asyncio
import errno
from ipaddress import ip_address

import pytest

from asyncstack import Stack, StackConfig
from asyncstack.link.memory import memory_pair

pytestmark = pytest.mark.virtual_time(limit=600)

WANTED = ip_address("2001:db8::5").packed


def joined(a, b, ours=(), theirs=()):
    near, far = memory_pair(ethernet=True, rng=a._rng)
    return a.attach(near, ours), b.attach(far, theirs)


def discovery(interface):
    """The neighbour solicitations and advertisements that go in and out from now on."""
    seen = []

    def tap(_, frame):
        data = bytes(frame.data) if hasattr(frame, "data") else b"".join(frame.parts)
        if data[20] == 58 and data[54] in (135, 136):
            seen.append(data)

    interface.taps.append(tap)
    return seen


async def test_a_free_address_takes_a_second():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        interface, _ = joined(a, b)
        asked = discovery(interface)
        before = a.clock()
        await a.check_address(interface, WANTED)
        assert a.clock() - before == 1.0
        assert WANTED not in a.addresses.local
        assert a.addresses.groups.of(interface) == []
        assert len(asked) == 1


async def test_an_address_in_use_is_refused_and_its_owner_named():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        interface, other = joined(a, b, theirs=["2001:db8::5/64"])
        before = a.clock()
        with pytest.raises(
            OSError, match=f"2001:db8::5 on .*: {other.device.address.hex(':')} has it"
        ) as caught:
            await a.check_address(interface, WANTED)
        assert (caught.value.errno, a.clock() - before) == (errno.EADDRINUSE, 0.0)
        assert (await b.ping("2001:db8::5")).ttl == 64  # and it is still there


async def test_two_that_begin_at_once_both_lose():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        first, second = joined(a, b)
        errors = await asyncio.gather(
            a.check_address(first, WANTED), b.check_address(second, WANTED), return_exceptions=True
        )
        assert [error.errno for error in errors] == [errno.EADDRINUSE] * 2
        assert "somebody else is about to take it" in str(errors[0])


async def test_a_loop_in_the_link_is_no_duplicate():
    async with Stack(seed=1) as a:
        near, far = memory_pair(ethernet=True, rng=a._rng)
        interface = a.attach(near)

        async def mirror():
            while True:
                for frame in await far.receive():
                    near._put(frame)

        far.start(mirror())
        before = a.clock()
        await a.check_address(interface, WANTED)
        assert (a.clock() - before, a.counters["ndp.looped_back"]) == (4.0, 4)
        far.stop()


async def test_without_transmits_nothing_is_asked():
    async with Stack(StackConfig(dad_transmits=0), seed=1) as a, Stack(seed=2) as b:
        interface, _ = joined(a, b, theirs=["2001:db8::5/64"])
        await a.check_address(interface, WANTED)


async def test_who_asks_for_the_same_address_shares_the_answer():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        interface, _ = joined(a, b)
        asked = discovery(interface)
        first = asyncio.ensure_future(a.check_address(interface, WANTED))
        await asyncio.sleep(0.4)
        second = asyncio.ensure_future(a.check_address(interface, WANTED))
        await asyncio.sleep(0.4)
        first.cancel()
        await second
        assert (a.clock(), len(asked)) == (1.0, 1)


async def test_a_cancelled_check_leaves_nothing():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        interface, _ = joined(a, b)
        task = asyncio.ensure_future(a.check_address(interface, WANTED))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert a.addresses.groups.of(interface) == []
        await a.check_address(interface, WANTED)


async def test_an_interface_that_goes_down_meanwhile():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        interface, _ = joined(a, b)
        task = asyncio.ensure_future(a.check_address(interface, WANTED))
        await asyncio.sleep(0.5)
        await a.remove_interface(interface)
        with pytest.raises(OSError, match="went down") as raised:
            await task
        assert (raised.value.errno, a.clock()) == (errno.ENETDOWN, 0.5)


async def test_the_check_that_fails_ends_the_others():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        near, far = memory_pair(ethernet=True, rng=a._rng)
        b.attach(far, ["2001:db8::6/64"])
        before = asyncio.all_tasks()
        with pytest.raises(OSError, match="2001:db8::6 on memory0"):
            await a.add_interface(near, ["2001:db8::5/64", "2001:db8::6/64"])
        assert a.clock() < 1.0
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


async def test_an_interface_with_an_ipv6_address_has_a_link_local_one_without_a_word():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        interface, other = joined(a, b)
        seen = discovery(other)
        a.add_address(interface, WANTED, 64)
        await asyncio.sleep(0)
        [_, own] = a.addresses.of(interface, 16)
        assert (own.address[:8], own.prefix_length) == (b"\xfe\x80" + bytes(6), 64)
        assert own.origin.value == "link-local"
        b.add_address(other, ip_address("2001:db8::6").packed, 64)
        await asyncio.sleep(0)
        assert len(seen) == 2  # each announces the address it was given
        [_, theirs] = b.addresses.of(other, 16)
        assert theirs.address != own.address
        reply = await a.ping(str(ip_address(theirs.address)))
        assert reply.source == str(ip_address(theirs.address))


async def test_one_that_is_given_is_enough():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        interface, _ = joined(a, b, ours=["2001:db8::5/64", "fe80::5/64"])
        assert [str(entry) for entry in a.addresses.of(interface, 16)] == ["fe80::5/64", "2001:db8::5/64"]


async def test_the_ethernet_address_may_be_part_of_it():
    async with Stack(StackConfig(address_generation="eui64"), seed=1) as a, Stack(seed=2) as b:
        interface, _ = joined(a, b, ours=["2001:db8::5/64"])
        mac = interface.device.address
        identifier = bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]
        assert a.addresses.of(interface, 16)[1].address[8:] == identifier


async def test_two_interfaces_with_one_mac_have_addresses_of_their_own():
    """RFC 7217 5: what names the interface has to be different for each."""
    mac = b"\2\0\0\0\0\1"
    async with Stack(seed=1) as a:
        near = [memory_pair(ethernet=True, addresses=(mac, None))[0] for _ in range(3)]
        made = [a.attach(near[0], ["fd00::1/64"]), a.attach(near[1], ["fd01::1/64"])]
        made.append(await a.add_interface(near[2], ["fd02::1/64"]))
        assert [len(a.addresses.of(interface, 16)) for interface in made] == [2, 2, 2]


async def test_a_secret_keeps_the_addresses():
    made = []
    for _ in range(2):
        async with Stack(StackConfig(stable_secret=b"secret")) as a, Stack() as b:
            near, far = memory_pair(ethernet=True, addresses=("02:00:00:00:00:01", "02:00:00:00:00:02"))
            interface = a.attach(near, ["2001:db8::5/64"])
            b.attach(far)
            made.append(a.addresses.of(interface, 16)[1].address)
    assert made[0] == made[1]


async def test_a_static_address_waits_until_both_of_its_kind_are_checked():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        near, far = memory_pair(ethernet=True, rng=a._rng)
        b.attach(far, ["2001:db8::6/64"])
        interface = await a.add_interface(near, ["2001:db8::5/64"])
        assert a.clock() == 1.0
        origins = [entry.origin.value for entry in a.addresses.of(interface, 16)]
        assert sorted(origins) == ["link-local", "static"]
        near, far = memory_pair(ethernet=True, rng=a._rng)
        b.attach(far, ["2001:db8::7/64"])
        with pytest.raises(OSError, match=r"2001:db8::7 on memory0#2: .* has it") as caught:
            await a.add_interface(near, ["2001:db8::7/64"])
        assert caught.value.errno == errno.EADDRINUSE
        assert a.interfaces[1:] == [interface]


async def test_a_link_local_address_that_somebody_has_is_made_anew():
    async with Stack(seed=1) as a, Stack(seed=2) as b:
        interface, other = joined(a, b)
        prefix = b"\xfe\x80" + bytes(6)
        taken = [a.own_address(interface, prefix, counter) for counter in range(3)]
        b.add_address(other, taken[0], 64)
        await a.have_link_local(interface)
        assert [entry.address for entry in a.addresses.of(interface, 16)] == [taken[1]]
        a.remove_address(taken[1])
        for address in taken[1:]:
            b.add_address(other, address, 64)
        with pytest.raises(OSError, match="has it"):
            await a.have_link_local(interface)
