"""The resolver of a stack against dnsmasq, on the kernel's side of a TUN."""

import socket

import pytest

from asyncstack import DnsConfig, StackConfig
from asyncstack.application.dns import CNAME, SRV, TXT, A, NoData, NxDomain
from tests.interop.dnsmasq import NAMESERVER, dnsmasq
from tests.interop.medium import OURS, OURS6, PEER, PEER6, TUN, host

pytestmark = pytest.mark.tun

MANY = [f"10.1.0.{i}" for i in range(1, 121)]  # 120 addresses do not fit into 1,232 bytes
ZONE = [
    "--local=/example.org/",  # what is not here does not exist
    "--host-record=www.example.org,10.9.0.1,fd09::1",
    "--cname=alias.example.org,www.example.org",
    "--srv-host=_http._tcp.example.org,www.example.org,8080,10,5",
    "--txt-record=text.example.org,two,strings",
    *(f"--host-record=many.example.org,{address}" for address in MANY),
    "--local-ttl=77",
    "--auth-soa=1",
]


@pytest.mark.parametrize(("medium", "ours", "server"), [(TUN, OURS, PEER), (TUN, OURS6, PEER6)])
async def test_dnsmasq(medium, ours, server, tmp_path):
    config = StackConfig(dns=DnsConfig(nameservers=[server], search=["example.org"]))
    async with host(medium, config) as made, dnsmasq(tmp_path, *NAMESERVER, *ZONE) as said:
        stack, query = made.stack, made.stack.resolver.query
        found = await stack.getaddrinfo("alias", 80, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
        assert [(name, address[0]) for *_, name, address in found] == [
            ("www.example.org", "fd09::1"),
            ("", "10.9.0.1"),
        ]
        assert await query("www.example.org") == [A("www.example.org", 77, "10.9.0.1")]
        assert await query("alias.example.org", "CNAME") == [
            CNAME("alias.example.org", 77, "www.example.org")
        ]
        assert await query("_http._tcp.example.org", "SRV") == [
            SRV("_http._tcp.example.org", 77, 10, 5, 8080, "www.example.org")
        ]
        assert await query("text.example.org", "TXT") == [TXT("text.example.org", 77, (b"two", b"strings"))]
        assert await stack.getnameinfo((PEER, 80)) == ("www.example.org", "http")
        for name, kind, error in (("no.example.org", "A", NxDomain), ("text.example.org", "A", NoData)):
            with pytest.raises(error):
                await query(name, kind)
        before = stack.counters["dns.over_tcp"]
        records = await query("many.example.org")
        assert sorted(record.address for record in records) == sorted(MANY)
        assert stack.counters["dns.over_tcp"] == before + 1
        counters = stack.counters
        assert (counters["dns.mismatched"], counters["dns.malformed"], counters["dns.timeouts"]) == (0, 0, 0)
        assert stack.udp.endpoints == {}
    asked = [line for line in said if "query[a] many.example.org" in line.lower()]
    assert [line.rsplit(maxsplit=1)[1] for line in asked] == [ours, ours]  # over UDP, and over TCP
