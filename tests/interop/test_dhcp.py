"""The DHCP client against dnsmasq; udhcpc and dhclient against the server; over a TAP."""

import contextlib
import json
import re
import signal

import pytest

import asyncstack
from asyncstack.application.dhcp import BindingRemoved, Dhcp4Client, DhcpServer, Pool
from asyncstack.application.dhcp import machine as client_machine
from tests.interop.dnsmasq import DHCP4, count, dnsmasq
from tests.interop.kernel import run, talking, until
from tests.interop.loops import on_uvloop

pytestmark = [pytest.mark.tun, pytest.mark.usefixtures("quick_claims")]

SCRIPT = """#!/bin/sh
# what udhcpc and dhclient call: notes why, and sets the address
reason=${reason:-$1}
ip=${new_ip_address:-$ip}
mask=${new_subnet_mask:-$subnet}
case "$reason" in
deconfig|PREINIT|EXPIRE|RELEASE) ip -4 addr flush dev as0 ;;
bound|renew|BOUND|RENEW|REBOOT|REBIND) test -n "$ip" && command -p ip addr replace $ip/$mask dev as0 ;;
esac
told="${new_routers:-$router} ${new_domain_name_servers:-$dns} ${new_dhcp_lease_time:-$lease}"
echo "$reason $ip $mask $told" >> "$NOTES"
"""


@contextlib.asynccontextmanager
async def client(capture, **options):
    """Our client, not started, on a TAP whose kernel side is 10.9.0.1."""
    config = asyncstack.StackConfig(ipv4_conflict_probes=1)
    async with asyncstack.Stack(config, name="ours") as stack:
        interface = await stack.add_interface(asyncstack.TapDevice("as0", peer=["10.9.0.1/24"]))
        capture.attach(interface)
        one = Dhcp4Client(stack, interface, **options)
        yield stack, interface, one
        await one.stop()


def own(stack, interface):
    return [str(entry) for entry in stack.addresses.of(interface, 4)]


async def test_a_lease_from_dnsmasq_its_renewal_and_its_end(checked_capture, tmp_path):
    async with client(checked_capture) as (stack, interface, ours):
        async with dnsmasq(
            tmp_path, *DHCP4, "--dhcp-option=option:T1,3", "--dhcp-option=option:router,10.9.0.1"
        ) as said:
            await ours.start()
            entry, until_then = stack.addresses.local[ours.lease.address], ours.lease.expires
            assert own(stack, interface) == ["10.9.0.50/24"]
            assert [str(one) for one in stack.resolver.config.nameservers] == ["10.9.0.53"]
            assert list(stack.resolver.config.search) == ["a.example.org", "example.org"]
            assert interface.mtu == 1400
            assert stack.routes.reaches(b"\x08\x08\x08\x08")
            assert (await stack.ping("10.9.0.1")).source == "10.9.0.1"
            await until(lambda: count(said, r"DHCPACK.*10\.9\.0\.50.*ours") == 1)
            await until(lambda: ours.lease.expires > until_then)
            assert stack.addresses.local[ours.lease.address] is entry
            await until(lambda: count(said, "DHCPACK") == 2)
            assert count(said, "DHCPDISCOVER") == 1
            await ours.stop()
            await until(lambda: count(said, "DHCPRELEASE"))
            assert own(stack, interface) == []
        assert (tmp_path / "leases").read_text() == ""


async def test_dnsmasq_refuses_an_address_of_another_network(checked_capture, tmp_path):
    known = client(checked_capture, request="10.77.0.5")
    async with known as (stack, interface, ours), dnsmasq(tmp_path, *DHCP4, "--dhcp-authoritative") as said:
        await ours.start()
        await until(lambda: count(said, r"DHCPNAK.*10\.77\.0\.5") == 1)
        assert own(stack, interface) == ["10.9.0.50/24"]


async def test_an_address_that_is_taken_is_declined_to_dnsmasq(checked_capture, tmp_path, monkeypatch):
    monkeypatch.setattr(client_machine, "SETBACK", 0.5)
    async with client(checked_capture) as (stack, interface, ours):
        await run("ip", "addr", "add", "10.9.0.50/32", "dev", "lo")  # the kernel answers for it
        async with dnsmasq(tmp_path, *DHCP4) as said:
            await ours.start()
            await until(lambda: count(said, r"DHCPDECLINE.*10\.9\.0\.50") == 1)
            assert own(stack, interface) == ["10.9.0.51/24"]


@contextlib.asynccontextmanager
async def server(capture, leases=None, **options):
    """Our server at 10.9.0.1, on a TAP whose kernel side has no address."""
    pool = Pool(
        network="10.9.0.0/24",
        first="10.9.0.100",
        last="10.9.0.110",
        routers=["10.9.0.1"],
        nameservers=["10.9.0.1"],
        domain="example.org",
        **options,
    )
    async with asyncstack.Stack(name="server") as stack:
        interface = await stack.add_interface(asyncstack.TapDevice("as0"), ["10.9.0.1/24"])
        await run("ip", "link", "set", "as0", "up")
        capture.attach(interface)
        async with DhcpServer(stack, interface, pool, leases=leases) as one:
            yield stack, one


async def kernels_address():
    text = await run("ip", "-4", "-o", "addr", "show", "dev", "as0")
    return re.findall(r"inet (\S+)", text)


def script(folder):
    path = folder / "script"
    path.write_text(SCRIPT)
    path.chmod(0o755)
    return str(path), folder / "notes"


async def noted(notes, reason):
    await until(
        lambda: notes.exists() and any(line.startswith(reason) for line in notes.read_text().splitlines())
    )
    return [line for line in notes.read_text().splitlines() if line.startswith(reason)]


@on_uvloop
async def test_udhcpc_is_leased_renews_and_releases(checked_capture, tmp_path):
    path, notes = script(tmp_path)
    async with server(checked_capture, lease_time=600) as (stack, ours):
        arguments = ("-f", "-i", "as0", "-s", path, "-x", "hostname:box")
        async with talking("udhcpc", *arguments, NOTES=str(notes)) as (process, _):
            [bound] = await noted(notes, "bound")
            address = bound.split()[1]
            assert bound.split()[1:] == [address, "255.255.255.0", "10.9.0.1", "10.9.0.1", "600"]
            assert await kernels_address() == [f"{address}/24"]
            assert [(one.hostname, one.mac) for one in ours.bindings] == [("box", await mac_of("as0"))]
            assert (await stack.ping(address)).source == address
            expires = ours.bindings[0].expires
            process.send_signal(signal.SIGUSR1)
            await noted(notes, "renew")
            assert ours.bindings[0].expires > expires
            process.send_signal(signal.SIGUSR2)
            await until(lambda: not ours.bindings)
            assert isinstance([await anext(ours) for _ in range(2)][-1], BindingRemoved)


@on_uvloop
async def test_dhclient_is_leased_renews_and_releases(checked_capture, tmp_path):
    path, notes = script(tmp_path)
    files = ("-lf", f"{tmp_path}/lease", "-pf", f"{tmp_path}/pid", "-cf", "/dev/null", "-sf", path)
    async with server(checked_capture, tmp_path / "kept", lease_time=600, t1=1) as (_, ours):
        note = ("-e", f"NOTES={notes}")
        async with talking("dhclient", "-4", "-d", *files, *note, "as0") as (_process, said):
            [bound] = await noted(notes, "BOUND")
            address = bound.split()[1]
            assert bound.split()[1:] == [address, "255.255.255.0", "10.9.0.1", "10.9.0.1", "600"]
            assert await kernels_address() == [f"{address}/24"]
            await noted(notes, "RENEW")
            assert count(said, "bad .*checksum") == 0
            async with talking("dhclient", "-4", "-r", "-d", *files, *note, "as0"):
                await until(lambda: not ours.bindings)
    kept = [json.loads(line.partition(" ")[2]) for line in (tmp_path / "kept").read_text().splitlines()]
    first, renewed = kept[0], kept[1:-1]
    assert [one["phase"] for one in kept] == ["bound", *["bound" for _ in renewed], "ended"]
    assert renewed and all(one["expires"] > first["expires"] for one in renewed)


async def mac_of(name):
    text = await run("ip", "-o", "link", "show", "dev", name)
    return bytes.fromhex(re.search(r"link/ether (\S+)", text)[1].replace(":", ""))
