"""What the simulated links carry, judged by tshark."""

import asyncio

import pytest

from asyncstack.testing import Network, run
from tests.interop.tshark import OUTGOING, faults, tshark
from tests.office import exchange, office, switch_on


async def serve(reader, writer):
    writer.write(await reader.read())
    writer.close()
    await writer.wait_closed()


async def talk(stack, host):
    reader, writer = await stack.open_connection(host, 80)
    writer.write(bytes(500_000))
    writer.write_eof()
    assert len(await reader.read()) == 500_000
    writer.close()
    await writer.wait_closed()


async def converse(path, parameters):
    async with Network() as net:
        a = net.host("a", "10.0.0.1/24", "fd00::1/64")
        b = net.host("b", "10.0.0.2/24", "fd00::2/64")
        async with net.capture(path):
            net.link(a, b, **parameters)
            await b.start_server(serve, None, 80)
            pings = [b.ping("a", size=3000), a.ping("fd00::2", size=3000)]
            await asyncio.gather(talk(a, "10.0.0.2"), talk(a, "fd00::2"), *pings)


@pytest.mark.parametrize("ethernet", [False, True], ids=["ip", "ethernet"])
@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({}, id="clear"),
        pytest.param({"delay": 0.01, "rate": 100e6}, id="delayed"),
        pytest.param({"delay": 0.01, "reorder": 0.1, "duplicate": 0.05}, id="confused"),
    ],
)
def test_tshark_finds_no_fault(tmp_path, parameters, ethernet):
    path = tmp_path / "run.pcapng"
    run(converse(path, {**parameters, "ethernet": ethernet}), seed=1)
    assert path.stat().st_size > 2_000_000
    assert asyncio.run(faults(path)) == []


def test_a_segment_of_hosts_that_configure_themselves(tmp_path):
    """ARP, DHCP, router advertisements, DAD, DNS and HTTP, and what is given back at the end."""
    path = tmp_path / "office.pcapng"

    async def site():
        async with office(10) as made, made.net.capture(path):
            await switch_on(made)
            await exchange(made, rounds=2)
            await asyncio.gather(*(host.close() for host in made.hosts))
            await asyncio.sleep(0.1)

    run(site(), seed=1)
    assert asyncio.run(faults(path)) == []
    for kind in (
        "arp",
        "dhcp.option.dhcp == 7",
        "icmpv6.type == 134",
        "icmpv6.type == 143",
        "dns.aaaa",
        "http.response",
    ):
        assert asyncio.run(tshark(path, "-Y", kind)), kind


@pytest.mark.hostile("the link damages packets")
def test_tshark_finds_damage(tmp_path):
    """The judge is awake: on a link that damages packets it finds them."""
    path = tmp_path / "run.pcapng"

    async def damaged():
        async with Network() as net:
            a, b = net.host("a", "10.0.0.1/24"), net.host("b", "10.0.0.2/24")
            link = net.link(a, b, delay=0.01)
            link.backward.set(corrupt=0.1)
            async with net.capture(path):
                await b.start_server(serve, None, 80)
                await talk(a, "b")
            return link.backward.stats.corrupted

    corrupted = run(damaged(), seed=1)
    assert corrupted > 30
    assert len(asyncio.run(faults(path))) >= corrupted
    assert asyncio.run(faults(path, OUTGOING)) == [], "the host itself sends nothing wrong"
