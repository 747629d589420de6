"""dnspython's asynchronous resolver, and a name server out of its messages on UDP and TCP."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from tests.ecosystem.site import Exchange, Site

PORT = 53
LONG = " ".join(f'"{"x" * 200}{number}"' for number in range(20))  # fits no UDP message
Zone = dict[tuple[str, str], str]  # the record of a name and type
ZONE: Zone = {
    ("www.server.example.", "A"): "192.0.2.80",
    ("www.server.example.", "AAAA"): "2001:db8::80",
    ("long.server.example.", "TXT"): LONG,
}


def answer(query: bytes, limit: int, zone: Zone) -> bytes:
    """The answer from `zone`; one longer than `limit` is truncated, RFC 1035 4.2.1."""
    request = dns.message.from_wire(query)
    response = dns.message.make_response(request)
    question = request.question[0]
    name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
    if (name, kind) in zone:
        response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, zone[name, kind]))
    elif all(name != known for known, _ in zone):
        response.set_rcode(dns.rcode.NXDOMAIN)
    wire = response.to_wire()
    if len(wire) > limit:
        response.answer.clear()
        response.flags |= dns.flags.TC
        wire = response.to_wire()
    return wire


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple) -> None:
        self.transport.sendto(answer(data, 1232, self._zone), addr)


@asynccontextmanager
async def serve(site: Site, zone: Zone = ZONE) -> AsyncIterator[None]:
    """A name server for `zone`."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        wire = answer(await reader.readexactly(length), 65535, zone)
        writer.write(struct.pack(">H", len(wire)) + wire)
        writer.close()
        await writer.wait_closed()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(zone), local_addr=(site.host, PORT))
    async with await asyncio.start_server(stream, site.host, PORT):
        try:
            yield
        finally:
            transport.close()


async def use(site: Site) -> None:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [site.host], PORT
    for kind in ("A", "AAAA"):
        found = await resolver.resolve("www.server.example", kind)
        assert found.nameserver == site.host
        assert [one.to_text() for one in found] == [ZONE["www.server.example.", kind]]
    (text,) = await resolver.resolve("long.server.example", "TXT")  # truncated: asked again by TCP
    assert text.to_text() == LONG
    (one,) = await resolver.resolve("www.server.example", "A", tcp=True)
    assert one.to_text() == "192.0.2.80"
    with pytest.raises(dns.resolver.NXDOMAIN):
        await resolver.resolve("nowhere.server.example", "A")


resolver = Exchange(serve, use)
