"""A site of 200 hosts that configure themselves, in one process and in virtual time."""

import asyncio

import pytest

from asyncstack.network.addresses import Origin, format_address, parse_address
from asyncstack.testing.clock import run
from tests.office import DOMAIN, ROUTER, ROUTER6, exchange, office, switch_on

HOSTS = 200


def given(host, origin):
    return [format_address(one.address) for one in host.addresses.local.values() if one.origin is origin]


@pytest.mark.virtual_time
async def test_two_hundred_hosts():
    async with office(HOSTS) as site:
        await switch_on(site)
        leased = [given(host, Origin.DHCP4) for host in site.hosts]
        made = [given(host, Origin.SLAAC) for host in site.hosts]
        assert [len(one) for one in leased] == [len(one) for one in made] == [1] * HOSTS
        assert len({one for (one,) in leased}) == len({one for (one,) in made}) == HOSTS
        assert len(site.dhcp.bindings) == HOSTS
        for host in site.hosts:
            assert list(host.resolver.config.nameservers) in ([ROUTER, ROUTER6], [ROUTER6, ROUTER])
            assert {len(route.prefix) for route in host.routes.routes() if route.gateway} == {4, 16}
        answers = await exchange(site, rounds=2)
        assert [answer["hello"] for answer in answers[:HOSTS]] == [host.name for host in site.hosts]
        assert len(answers) == 2 * HOSTS
        (four,), (six,) = leased[6], made[6]
        assert {answer["to"] for answer in answers} <= {one for (one,) in leased + made}
        first = site.hosts[0]
        assert {record.address for record in await first.resolver.query(f"pc7.{DOMAIN}")} == {four}
        for address in (four, six):  # by its reverse name
            assert await first.resolver.name_of(parse_address(address)) == f"pc7.{DOMAIN}"
        lost = sum(host.counters["interface.receive_error"] for host in site.hosts)
        assert (lost, sum(cable.forward.stats.dropped for cable in site.lan.cables.values())) == (0, 0)
        await asyncio.gather(*(host.close() for host in site.hosts))
        await asyncio.sleep(0.1)
        assert not site.dhcp.bindings  # each gave its lease back
    assert not any(host.interfaces for host in site.hosts)


def test_the_same_seed_gives_the_same_site():
    async def history(seed):
        async with office(10, seed) as site:
            await switch_on(site)
            answers = await exchange(site, rounds=3)
            frames = [cable.forward.stats.sent for cable in site.lan.cables.values()]
            return answers, frames, site.hosts[0].clock()

    assert run(history(3)) == run(history(3))
    assert run(history(3)) != run(history(4))
