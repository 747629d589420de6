"""A server and clients on one simulated network, and questions as bytes."""

import asyncio
import contextlib
import socket

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from asyncstack import DnsConfig, StackConfig
from asyncstack.application.dns import DnsServer


class Site:
    """`client` asks `host` (10.0.0.53, 10.0.0.54, fd00::53), where the server is; `upstream` is 10.0.1.53."""

    def __init__(self, network):
        self.network = network
        dns_config = DnsConfig(nameservers=["10.0.0.53"])
        self.client = network.host("client", "10.0.0.1/24", "fd00::1/64", config=StackConfig(dns=dns_config))
        self.host = network.host("host", "10.0.0.53/24", "10.0.0.54/24", "fd00::53/64", "10.0.1.1/24")
        self.upstream = network.host("upstream", "10.0.1.53/24")
        network.link(self.client, self.host, delay=0.001)
        network.link(self.host, self.upstream, delay=0.010)
        self.query = self.client.resolver.query

    def serve(self, *args, **options):
        return DnsServer(self.host, *args, **options)

    async def exchange(self, data, server="10.0.0.53", timeout=30.0):
        """(answer, its sender) of a datagram; None after `timeout`."""
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        async with self.client.socket(family, socket.SOCK_DGRAM) as sock:
            await sock.sendto(data, (server, 53))
            try:
                async with asyncio.timeout(timeout):
                    answer, sender = await sock.recvfrom(65535)
            except TimeoutError:
                return None
        return answer, sender[0]

    async def ask(self, name, kind="A", server="10.0.0.53", **options):
        """The answer to a question over UDP; `options` are dnspython's for a query."""
        options.setdefault("use_edns", 0)
        found = await self.exchange(dns.message.make_query(name, kind, **options).to_wire(), server)
        return dns.message.from_wire(found[0])

    @contextlib.asynccontextmanager
    async def connected(self):
        reader, writer = await self.client.open_connection("10.0.0.53", 53)
        try:
            yield Talk(reader, writer)
        finally:
            writer.close()


class Talk:
    """A TCP connection to the server."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, name, kind="A", ident=None):
        wire = dns.message.make_query(name, kind, id=ident).to_wire()
        self.writer.write(len(wire).to_bytes(2, "big") + wire)

    async def receive(self):
        size = int.from_bytes(await self.reader.readexactly(2), "big")
        return dns.message.from_wire(await self.reader.readexactly(size))


def summary(answer):
    """(response code, flags, answer section as text)"""
    lines = [line for rrset in answer.answer for line in rrset.to_text().split("\n")]
    return dns.rcode.to_text(answer.rcode()), dns.flags.to_text(answer.flags), lines


def sections(answer):
    """Names and types of the authority and the additional section."""
    return [
        [f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)}" for rrset in section]
        for section in (answer.authority, answer.additional)
    ]
