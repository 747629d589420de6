"""Our DHCPv6 client against dnsmasq, on the kernel's side of a TAP."""

import asyncio
from contextlib import asynccontextmanager

import pytest

import asyncstack
from asyncstack.application.dhcp6 import Dhcp6Client
from asyncstack.application.dhcp6.lease import Lease
from asyncstack.application.dhcp6.states import State
from asyncstack.network.addresses import Origin, format_address, parse_address
from asyncstack.wire.dhcp6 import IaAddress, IaNa
from tests.interop.dnsmasq import count, dnsmasq
from tests.interop.kernel import run, until
from tests.interop.tshark import faults, tshark

pytestmark = pytest.mark.tun

MAC = "02:00:00:00:00:01"
OURS = "fe80::1/64"
LEASE = 120  # the shortest that dnsmasq gives
SERVER = ("--port=0", "--interface=as0", "--log-dhcp", "--no-ping")


@asynccontextmanager
async def tap(capture, dad_transmits=0):
    """A stack and its interface; the kernel has fd00:6::1 on the other side."""
    async with asyncstack.Stack(asyncstack.StackConfig(dad_transmits=dad_transmits)) as stack:
        device = asyncstack.TapDevice("as0", address=MAC, peer="fd00:6::1/64")
        interface = await stack.add_interface(device, [OURS])
        capture.attach(interface)
        yield stack, interface


def leased(stack, interface):
    return [e for e in stack.addresses.of(interface, 16) if e.origin is Origin.DHCP6]


POOL = [
    *SERVER,
    f"--dhcp-range=fd00:6::100,fd00:6::1ff,64,{LEASE}",
    "--dhcp-option=option6:dns-server,[fd00:6::53]",
    "--dhcp-option=option6:domain-search,example.org,lan",
]


@pytest.mark.parametrize("rapid", [False, True])
async def test_an_address_from_dnsmasq(checked_capture, tmp_path, rapid):
    async with tap(checked_capture) as (stack, interface), dnsmasq(tmp_path, *POOL) as said:
        client = Dhcp6Client(stack, interface, rapid_commit=rapid)
        await client.start()
        [entry] = leased(stack, interface)
        address = format_address(entry.address)
        assert address.startswith("fd00:6::1")
        assert LEASE - 5 < entry.preferred_until - stack.clock() <= LEASE
        assert stack.resolver.config.nameservers == ["fd00:6::53"]
        assert stack.resolver.config.search == ["example.org", "lan"]
        await until(lambda: address in (tmp_path / "leases").read_text())
        stack.routes.add(entry.address, 64, interface)  # a router would say that, not DHCPv6
        reply = await run("ping", "-6", "-c", "1", "-W", "5", address)
        assert "1 received" in reply
        words = (
            ["DHCPSOLICIT", "DHCPREPLY"]
            if rapid
            else ["DHCPSOLICIT", "DHCPADVERTISE", "DHCPREQUEST", "DHCPREPLY"]
        )
        await until(lambda: count(said, "DHCPREPLY"))
        logged = [word for line in said for word in words if f" {word}(as0)" in line]
        assert list(dict.fromkeys(logged)) == words
        await client.stop()
        await until(lambda: count(said, r"DHCPRELEASE\(as0\)"))
        assert leased(stack, interface) == []
        await until(lambda: address not in (tmp_path / "leases").read_text())


async def test_what_tshark_reads_in_our_messages(tmp_path):
    """Our messages are the only ones: there is no server."""
    async with asyncstack.Capture(tmp_path / "ours.pcapng") as capture, tap(capture) as (stack, interface):
        client = Dhcp6Client(stack, interface, timeout=1.2)  # it asks within a second
        with pytest.raises(TimeoutError):
            await client.start()
        client.machine.lease = Lease(b"\0\3\0\1\2\0\0\0\0\x09")
        given = IaNa(interface.index, 5, 8, [IaAddress(parse_address("fd00:6::7"), 100, 200)])
        client.machine.lease.update(client.machine.lease.server_id, given, stack.clock())
        for state in (State.RENEWING, State.REBINDING, State.RELEASING, State.INFORMING):
            client.machine._enter(state, stack.clock())
            client._serve()
            await until(lambda: client.machine._exchange.sent)
        await client.stop()
    fields = [
        "msgtype",
        "duidll.link_layer_addr",
        "iaid",
        "iaaddr.ip",
        "requested_option_code",
        "elapsed_time",
    ]
    columns = [word for field in fields for word in ("-e", f"dhcpv6.{field}")]
    lines = (await tshark(capture.path, "-Y", "dhcpv6", "-T", "fields", *columns)).splitlines()
    found = {kind: rest for kind, *rest in (line.split("\t") for line in reversed(lines))}
    iaid = f"{interface.index:08x}"
    server = f"{MAC},02:00:00:00:00:09"
    assert found == {
        "1": [MAC, iaid, "", "23,24,82", "0"],
        "5": [server, iaid, "fd00:6::7", "23,24,82", "0"],
        "6": [MAC, iaid, "fd00:6::7", "23,24,82", "0"],
        "8": [server, iaid, "", "", "0"],
        "11": [MAC, "", "", "23,24,32,83", "0"],
    }
    assert await faults(capture.path) == []


async def test_renewal_rebinding_and_a_server_that_has_forgotten(checked_capture, tmp_path):
    """T1 is a minute away with dnsmasq, so the machine is told that it has come."""
    async with tap(checked_capture) as (stack, interface):
        async with dnsmasq(tmp_path, *POOL) as said:
            client = Dhcp6Client(stack, interface)
            await client.start()
            [entry] = leased(stack, interface)
            for word in ("DHCPRENEW", "DHCPREBIND"):
                before = entry.preferred_until
                await asyncio.sleep(0.2)
                lease, now = client.machine.lease, stack.clock()
                lease.t1, lease.t2 = now, now + (0 if word == "DHCPREBIND" else 1000)
                client._timer_expired(now)
                await until(lambda: client.machine.state is State.BOUND)
                await until(lambda word=word: count(said, rf" {word}\(as0\)"))
                assert leased(stack, interface) == [entry]
                assert entry.preferred_until > before + 0.2
            client.link_up()
            await until(lambda: count(said, r"DHCPCONFIRM\(as0\)"))
            await until(lambda: client.machine.state is State.BOUND)
        leases = tmp_path / "leases"
        leases.write_text(
            "".join(line for line in leases.read_text().splitlines(True) if line.startswith("duid"))
        )
        async with dnsmasq(tmp_path, *POOL) as said:
            client.machine.lease.t1 = stack.clock()
            client._timer_expired(stack.clock())
            await until(lambda: client.machine.state is State.BOUND)
            await until(lambda: count(said, r"DHCPRENEW\(as0\)"))
            assert len(leased(stack, interface)) == 1
            await client.stop()


async def test_an_address_that_the_kernel_answers_for_is_declined(checked_capture, tmp_path):
    """The address that dnsmasq has for us is somebody else's: of what the kernel has itself dnsmasq would know."""
    taken = "fd00:6::177"
    options = [*POOL, f"--dhcp-host={MAC},[{taken}]"]
    async with tap(checked_capture, 1) as (stack, interface), dnsmasq(tmp_path, *options) as said:
        for setting in ("conf.as0.forwarding=1", "conf.as0.proxy_ndp=1", "neigh.as0.proxy_delay=0"):
            await run("sysctl", "-q", "-w", f"net.ipv6.{setting}")
        await run("ip", "-6", "neigh", "add", "proxy", taken, "dev", "as0")
        client = Dhcp6Client(stack, interface)
        await client.start()
        [entry] = leased(stack, interface)
        assert format_address(entry.address) != taken
        await until(lambda: count(said, r"DHCPDECLINE\(as0\)"))
        await until(lambda: count(said, rf"DHCPREPLY\(as0\).*{taken}"))
        await client.stop()


async def test_only_nameservers(checked_capture, tmp_path):
    options = [*SERVER, "--dhcp-range=fd00:6::,static,64", *POOL[len(SERVER) + 1 :]]
    async with tap(checked_capture) as (stack, interface), dnsmasq(tmp_path, *options):
        client = Dhcp6Client(stack, interface, stateful=False)
        await client.start()
        assert stack.resolver.config.nameservers == ["fd00:6::53"]
        await client.stop()


async def test_a_pool_that_is_empty(checked_capture, tmp_path):
    options = [*SERVER, "--dhcp-range=fd00:6::,static,64"]
    async with tap(checked_capture) as (stack, interface), dnsmasq(tmp_path, *options):
        client = Dhcp6Client(stack, interface, timeout=3)
        with pytest.raises(TimeoutError, match=r"no address by DHCPv6 on as0 within 3 s: .*NoAddrsAvail"):
            await client.start()
        await client.stop()


async def test_as_words_of_add_interface(checked_capture, tmp_path):
    """dnsmasq is the router too: what it advertises says how to reach others, DHCPv6 who we are."""
    await run("ip", "tuntap", "add", "dev", "as0", "mode", "tap")  # so that it is asked, not waited for
    await run("ip", "address", "add", "fd00:6::1/64", "dev", "as0", "nodad")
    await run("ip", "link", "set", "as0", "up")
    options = [
        *SERVER,
        "--dhcp-range=fd00:6::100,fd00:6::1ff,slaac,64,120",
        "--enable-ra",
        *POOL[len(SERVER) + 1 :],
    ]
    async with asyncstack.Stack() as stack, dnsmasq(tmp_path, *options) as said:
        device = asyncstack.TapDevice("as0", address=MAC)
        interface = await stack.add_interface(device, ["slaac", "dhcp6"], wait=False)
        checked_capture.attach(interface)
        await until(lambda: leased(stack, interface) and _of(stack, interface, Origin.SLAAC))
        [entry], [other] = leased(stack, interface), _of(stack, interface, Origin.SLAAC)
        for address in (entry.address, other.address):
            reply = await run("ping", "-6", "-c", "1", "-W", "5", format_address(address))
            assert "1 received" in reply
        await stack.remove_interface(interface)
        await until(lambda: count(said, r"DHCPRELEASE\(as0\)"))


def _of(stack, interface, origin):
    return [entry for entry in stack.addresses.of(interface, 16) if entry.origin is origin]
