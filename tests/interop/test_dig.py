"""dig against our server."""

import asyncio

import pytest

from asyncstack.application.dns import DnsServer, Zone
from tests.interop.dig import Dig, run_dig
from tests.interop.medium import OURS, OURS6, PEER, TAP, host

pytestmark = pytest.mark.tun

FILE = """
$ORIGIN example.test.
$TTL 300
@        IN SOA ns root 2026112301 7200 900 1209600 30
         IN NS ns
         IN MX 10 mail
ns       IN A 10.9.0.2
mail     IN A 10.0.0.25
www      IN A 10.0.0.1
         IN AAAA fd00::1
alias    IN CNAME www
chain    IN CNAME alias
loop     IN CNAME loop2
loop2    IN CNAME loop
away     IN CNAME www.example.org.
_http._tcp IN SRV 10 5 8080 www
text     IN TXT "two" "strings"
caa      IN CAA 0 issue "ca.example.net"
*.apps   IN A 10.0.0.9
sub      IN NS ns.sub
ns.sub   IN A 10.0.0.99
many     IN A 10.1.0.1
""" + "".join(f"         IN A 10.1.0.{i}\n" for i in range(2, 121))


@pytest.fixture
async def dig(medium, ours, tmp_path):
    path = tmp_path / "zone"
    path.write_text(FILE)

    async def ask(*arguments):
        return Dig(await run_dig(f"@{ours}", *arguments))

    async with host(medium) as made, DnsServer(made.stack, [Zone.from_file(path)]) as server:
        ask.stack, ask.server = made.stack, server
        yield ask


MEDIA = pytest.mark.parametrize(("medium", "ours"), [(TAP, OURS), (TAP, OURS6)])


@MEDIA
async def test_every_type(dig, medium, ours):
    for name, kind, expected in (
        ("www", "A", ["300 IN A 10.0.0.1"]),
        ("www", "AAAA", ["300 IN AAAA fd00::1"]),
        ("alias", "CNAME", ["300 IN CNAME www.example.test."]),
        ("_http._tcp", "SRV", ["300 IN SRV 10 5 8080 www.example.test."]),
        ("text", "TXT", ['300 IN TXT "two" "strings"']),
        ("caa", "CAA", ['300 IN CAA 0 issue "ca.example.net"']),
        ("x.y.apps", "A", ["300 IN A 10.0.0.9"]),
        ("www", "ANY", ["300 IN A 10.0.0.1"]),
    ):
        for way in ("+notcp", "+tcp"):
            found = await dig(f"{name}.example.test", kind, way)
            assert (found.status, found.flags) == ("NOERROR", {"qr", "aa", "rd"})
            size = len(expected)
            assert found.records[:size] == [f"{name}.example.test. {line}" for line in expected], found.text
            assert found.sizes[0] == size
    found = await dig("example.test", "MX", "+noedns")
    assert found.records == [
        "example.test. 300 IN MX 10 mail.example.test.",
        "mail.example.test. 300 IN A 10.0.0.25",
    ]
    found = await dig("example.test", "NS")
    assert found.records == ["example.test. 300 IN NS ns.example.test.", "ns.example.test. 300 IN A 10.9.0.2"]
    found = await dig("example.test", "SOA")
    soa = "ns.example.test. root.example.test. 2026112301 7200 900 1209600 30"
    assert found.records == [f"example.test. 300 IN SOA {soa}"]
    found = await dig("no.example.test")
    assert (found.status, found.records) == ("NXDOMAIN", [f"example.test. 30 IN SOA {soa}"])
    found = await dig("text.example.test", "A")
    assert (found.status, found.records) == ("NOERROR", [f"example.test. 30 IN SOA {soa}"])


@MEDIA
async def test_chains_loops_and_delegations(dig, medium, ours):
    found = await dig("chain.example.test")
    assert [line.split()[3] for line in found.records] == ["CNAME", "CNAME", "A"]
    assert (await dig("loop.example.test")).sizes[0] == 2
    assert (await dig("away.example.test")).records == ["away.example.test. 300 IN CNAME www.example.org."]
    found = await dig("www.sub.example.test", "+norecurse")
    assert (found.flags, found.sizes[:2]) == ({"qr"}, (0, 1))
    assert found.records == [
        "sub.example.test. 300 IN NS ns.sub.example.test.",
        "ns.sub.example.test. 300 IN A 10.0.0.99",
    ]


@MEDIA
async def test_sizes(dig, medium, ours):
    """Truncation, then TCP by itself; as large as dig says, at most 1,232 bytes."""
    name = "many.example.test"
    for size, options in (
        (512, ["+noedns"]),
        (512, ["+bufsize=512"]),
        (900, ["+bufsize=900"]),
        (1232, ["+bufsize=4096"]),
    ):
        found = await dig(name, "+ignore", *options)
        assert "tc" in found.flags
        assert found.bytes <= size
        found = await dig(name, *options)
        assert (found.sizes[0], "tc" in found.flags) == (120, False)
        assert "(TCP)" in found.text or "Truncated, retrying in TCP mode" in found.text
    assert (await dig(name, "+tcp")).sizes[0] == 120


@MEDIA
async def test_what_is_refused(dig, medium, ours):
    for arguments, status in (
        (["www.example.org"], "REFUSED"),
        (["version.bind", "CH", "TXT"], "REFUSED"),
        (["www.example.test", "+edns=1", "+noednsnegotiation"], "BADVERS"),
        (["www.example.test", "+opcode=status"], "NOTIMP"),
        (["www.example.test", "+opcode=notify"], "NOTIMP"),
        (["+header-only"], "FORMERR"),
        (["www.example.test", "+ednsopt=65001:0102"], "NOERROR"),
        (["www.example.test", "+cookie"], "NOERROR"),
        (["www.example.test", "+nsid", "+subnet=10.0.0.0/8", "+dnssec"], "NOERROR"),
    ):
        assert (await dig(*arguments)).status == status, arguments
    for kind in ("AXFR", "IXFR=1"):
        text = await run_dig(f"@{ours}", "example.test", kind, "+tcp")
        assert "Transfer failed." in text, text


@pytest.mark.parametrize(("medium", "ours"), [(TAP, OURS)])
async def test_registered_names(dig, medium, ours):
    dig.server.register("host.example.test", PEER)
    assert (await dig("host.example.test")).records == [f"host.example.test. 60 IN A {PEER}"]
    assert (await dig("-x", PEER)).records == ["1.0.9.10.in-addr.arpa. 60 IN PTR host.example.test."]
    dig.server.unregister("host.example.test", PEER)
    assert (await dig("host.example.test")).status == "NXDOMAIN"
    assert (await dig("-x", PEER)).status == "NXDOMAIN"


@pytest.mark.parametrize(("medium", "ours"), [(TAP, OURS)])
async def test_many_at_once(dig, medium, ours, tmp_path):
    """200 questions of one dig over one connection, and 50 digs."""
    batch = tmp_path / "batch"
    batch.write_text("".join(f"n{i}.apps.example.test\n" for i in range(200)))
    text = await run_dig(f"@{ours}", "+tcp", "+keepopen", "+short", "-f", str(batch))
    assert text.split() == ["10.0.0.9"] * 200
    assert dig.stack.counters["dns.server_clients"] == 1
    found = await asyncio.gather(*(dig(f"n{i}.apps.example.test") for i in range(50)))
    assert {one.status for one in found} == {"NOERROR"}
