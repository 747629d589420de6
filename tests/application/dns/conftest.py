"""A client and nameservers on one simulated network."""

import pytest

from asyncstack import DnsConfig, StackConfig
from tests.application.dns.nameserver import Nameserver


class World:
    """`client` asks `server` (10.0.0.53) and `second` (10.0.1.53); `link` and `link2` lead to them."""

    def __init__(self, network):
        self.network = network

    async def start(self, *records, servers=("10.0.0.53", "10.0.1.53"), delay=0.010, **dns):
        config = StackConfig(dns=DnsConfig(nameservers=servers, **dns))
        self.client = self.network.host("client", "10.0.0.1/24", "fd00::1/64", "10.0.1.1/24", config=config)
        hosts = [
            self.network.host("ns1", "10.0.0.53/24", "fd00::53/64"),
            self.network.host("ns2", "10.0.1.53/24"),
        ]
        self.link, self.link2 = (self.network.link(self.client, host, delay=delay) for host in hosts)
        self.server = await Nameserver(hosts[0], *records).start()
        self.second = await Nameserver(hosts[1], *records).start()
        self.query = self.client.resolver.query
        self.counters = self.client.counters
        return self


@pytest.fixture
async def world(network):
    """Not started. At its end the resolver must have nothing left: no question, task or endpoint."""
    made = World(network)
    yield made
    resolver = made.client.resolver
    assert (resolver._flights, resolver._ending, resolver._slots.locked()) == ({}, set(), False)
    assert made.client.udp.endpoints == {}
    assert len(made.client._sockets) == len(resolver._connections) <= 2  # kept for the next query
