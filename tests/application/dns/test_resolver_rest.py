"""What else the resolver does: failures are remembered, services come in order."""

import asyncio

import dns.rcode
import pytest

from asyncstack.application.dns import A, ServerFailure
from tests.application.dns.nameserver import refusing

pytestmark = pytest.mark.virtual_time

WEB = "www.example.org. 60 IN A 10.0.0.80"


async def test_a_failure_is_remembered_until_there_are_other_nameservers(world):
    """RFC 9520: nobody is asked again at once."""
    await world.start(WEB, servers=["10.0.0.53"])
    world.server.rules.append(refusing(dns.rcode.SERVFAIL))
    for _ in range(5):
        with pytest.raises(ServerFailure, match="SERVFAIL"):
            await world.query("www.example.org")
    assert len(world.server.asked) == 2  # attempts of one question
    await asyncio.sleep(1.1)
    with pytest.raises(ServerFailure):
        await world.query("www.example.org")
    assert len(world.server.asked) == 4
    world.client.resolver.config.nameservers = ["10.0.1.53"]
    assert await world.query("www.example.org") == [A("www.example.org", 60, "10.0.0.80")]


async def test_services_in_the_order_of_rfc_2782(world):
    await world.start(
        "_s._tcp.example.org. 0 IN SRV 20 0 1 last.example.org.",
        "_s._tcp.example.org. 0 IN SRV 10 30 1 rarely.example.org.",
        "_s._tcp.example.org. 0 IN SRV 10 70 1 mostly.example.org.",
        "_s._tcp.example.org. 0 IN SRV 10 0 1 never.example.org.",
    )
    first = []
    for _ in range(200):
        targets = [one.target.partition(".")[0] for one in await world.query("_s._tcp.example.org", "SRV")]
        assert (len(set(targets)), targets[3]) == (4, "last")
        first.append(targets[0])
    assert 110 < first.count("mostly") < 170
    assert first.count("never") < 15  # "a very small chance"
