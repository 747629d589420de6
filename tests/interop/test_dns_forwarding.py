"""Nameservers in a row: our resolver asks dnsmasq, which asks our server; dig asks ours, which asks dnsmasq."""

import asyncio

import pytest

from asyncstack import DnsConfig, StackConfig
from asyncstack.application.dns import MX, SRV, TXT, DnsServer, NoData, NxDomain, ServerFailure
from tests.interop.dig import Dig, run_dig
from tests.interop.dnsmasq import NAMESERVER, count, dnsmasq
from tests.interop.kernel import until
from tests.interop.medium import OURS, OURS6, PEER, PEER6, TAP, host

pytestmark = pytest.mark.tun

MANY = [f"10.1.0.{i}" for i in range(1, 121)]
TABLE = {
    "www.example.test": ["10.0.0.1", "fd00::1"],
    "alias.example.test": "CNAME www.example.test",
    **{f"c{i}.example.test": f"CNAME c{i + 1}.example.test" for i in range(9)},
    "c9.example.test": "10.0.0.9",
    "loop.example.test": "CNAME loop2.example.test",
    "loop2.example.test": "CNAME loop.example.test",
    "self.example.test": "CNAME self.example.test",
    "many.example.test": MANY,
    "_http._tcp.example.test": "SRV 10 5 8080 www.example.test",
    "example.test": ["MX 10 mail.example.test", 'TXT "x"'],
    "*.apps.example.test": "10.0.0.7",
}
MEDIA = pytest.mark.parametrize(
    ("medium", "ours", "peer"), [(TAP, OURS, PEER), (TAP, OURS6, PEER6)]
)  # each on another loop


@MEDIA
async def test_dnsmasq_asks_our_server(medium, ours, peer, tmp_path):
    config = StackConfig(dns=DnsConfig(nameservers=[peer]))
    upstream = (f"--server={ours}", "--cache-size=100", "--rebind-localhost-ok")
    async with (
        host(medium, config) as made,
        dnsmasq(tmp_path, *NAMESERVER, *upstream),
        DnsServer(made.stack, TABLE) as server,
    ):
        query, counters = made.stack.resolver.query, made.stack.counters
        assert [one.address for one in await query("www.example.test")] == ["10.0.0.1"]
        assert [one.address for one in await query("www.example.test", "AAAA")] == ["fd00::1"]
        assert [one.address for one in await query("c0.example.test")] == ["10.0.0.9"]
        assert [one.address for one in await query("x.apps.example.test")] == ["10.0.0.7"]
        assert (await query("example.test", "MX"))[0] == MX("example.test", 60, 10, "mail.example.test")
        assert (await query("example.test", "TXT"))[0] == TXT("example.test", 60, (b"x",))
        service = SRV("_http._tcp.example.test", 60, 10, 5, 8080, "www.example.test")
        assert await query("_http._tcp.example.test", "SRV") == [service]
        for name, kind, error in (
            ("no.example.test", "A", NxDomain),
            ("www.example.test", "TXT", NoData),
            ("loop.example.test", "A", ServerFailure),
            ("self.example.test", "A", ServerFailure),
            ("www.elsewhere.test", "A", ServerFailure),
        ):
            with pytest.raises(error):
                await query(name, kind)
        before = counters["dns.server_clients"]
        assert sorted(one.address for one in await query("many.example.test")) == sorted(MANY)
        assert counters["dns.server_clients"] == before + 1  # dnsmasq came by TCP too
        before = counters["dns.server_queries"]
        await query("www.example.test")
        assert counters["dns.server_queries"] == before  # both of them remember
        assert (counters["dns.mismatched"], counters["dns.malformed"]) == (0, 0)
        assert (server._tasks, counters["dns.server_malformed"]) == (set(), 0)


ZONE = [
    "--no-resolv",
    "--local=/example.org/",
    "--host-record=www.example.org,10.9.0.1,fd09::1",
    *(f"--cname=c{i}.example.org,c{i + 1}.example.org" for i in range(9)),
    "--cname=c9.example.org,www.example.org",
    "--srv-host=_http._tcp.example.org,www.example.org,8080,10,5",
    "--mx-host=example.org,www.example.org,10",
    "--txt-record=text.example.org,two,strings",
    *(f"--host-record=many.example.org,{address}" for address in MANY),
    "--dns-rr=strange.example.org,65400,01:02:03:04",
    "--local-ttl=77",
]


@MEDIA
async def test_our_server_asks_dnsmasq(medium, ours, peer, tmp_path):
    table = {"here.example.test": "10.0.0.1", "there.example.test": "CNAME c0.example.org"}

    async def dig(*arguments):
        return Dig(await run_dig(f"@{ours}", *arguments))

    async with (
        host(medium) as made,
        dnsmasq(tmp_path, *NAMESERVER, *ZONE) as said,
        DnsServer(made.stack, table, upstreams=[peer]) as server,
    ):
        assert (await dig("here.example.test")).flags == {"qr", "aa", "rd", "ra"}
        found = await dig("www.example.org")
        assert (found.status, found.flags) == ("NOERROR", {"qr", "rd", "ra"})
        assert found.records == ["www.example.org. 77 IN A 10.9.0.1"]
        found = await dig("there.example.test")
        kinds = [line.split()[3] for line in found.records]
        assert (found.status, kinds, found.records[-1]) == (
            "NOERROR",
            ["CNAME"] * 11 + ["A"],
            "www.example.org. 77 IN A 10.9.0.1",
        )
        assert (await dig("_http._tcp.example.org", "SRV")).records == [
            "_http._tcp.example.org. 77 IN SRV 10 5 8080 www.example.org."
        ]
        assert (await dig("example.org", "MX")).records == ["example.org. 77 IN MX 10 www.example.org."]
        assert (await dig("text.example.org", "TXT")).records == [
            'text.example.org. 77 IN TXT "two" "strings"'
        ]
        assert (await dig("strange.example.org", "TYPE65400")).records == [
            "strange.example.org. 77 IN TYPE65400 \\# 4 01020304"
        ]
        assert (await dig("no.example.org")).status == "NXDOMAIN"
        found = await dig("text.example.org")
        assert (found.status, found.sizes[0]) == ("NOERROR", 0)
        assert (await dig("www.example.org", "+norecurse")).status == "REFUSED"
        for options in (["+noedns"], ["+bufsize=1232"], ["+tcp"]):
            assert (await dig("many.example.org", *options)).sizes[0] == len(MANY)
        assert "tc" in (await dig("many.example.org", "+noedns", "+ignore")).flags
        await asyncio.gather(*(dig("www.example.org", "AAAA") for _ in range(20)))
        await dig("last.example.org")
        await until(lambda: count(said, "(?i)last.example.org"))
        assert count(said, r"(?i)query\[AAAA\] www.example.org") == 1  # merged, or remembered
        assert server._tasks == set()
