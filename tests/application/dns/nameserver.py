"""A nameserver for the tests: a zone in text, and rules for answers that no honest server gives."""

import asyncio
import ipaddress

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

SOA = "example.org. 300 IN SOA ns.example.org. root.example.org. 1 2 3 4 30"


class Nameserver:
    """Answers for the zone example.org on UDP and TCP port 53 of `stack`.

    asked: what came, (name in lower case, type, "udp" or "tcp"). rules: called with (query, way) before the zone is
    looked into; the first that does not return None has the answer: a message, bytes, or SILENCE. limit: bytes of a
    datagram, more is truncated.
    """

    def __init__(self, stack, *records):
        self.stack = stack
        self.zone = {}
        self.asked = []
        self.queries = []
        self.rules = []
        self.limit = 1232
        for record in records:
            self.add(record)

    def add(self, text):
        name, ttl, _, kind, data = text.split(None, 4)
        rrset = dns.rrset.from_text(name, int(ttl), "IN", kind, data)
        key = (name.lower(), kind)
        if key in self.zone:
            self.zone[key].add(rrset[0])
        else:
            self.zone[key] = rrset

    async def start(self):
        for address in self.stack.names.resolve(self.stack.name):
            await self.stack.create_datagram_endpoint(
                lambda: Datagrams(self), (ipaddress.ip_address(address), 53)
            )
        await self.stack.start_server(self._stream, None, 53)
        return self

    def answer(self, data, way):
        query = dns.message.from_wire(data)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((question.name.to_text().lower().rstrip("."), kind, way))
        self.queries.append(query)
        for rule in self.rules:
            answer = rule(query, way)
            if answer is not None:
                break
        else:
            answer = self.look_up(query)
        if isinstance(answer, bytes):
            return answer
        wire = answer.to_wire(max_size=65535)
        if way == "udp" and len(wire) > self.limit:
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.TC
            wire = answer.to_wire()
        return wire

    def look_up(self, query):
        answer = dns.message.make_response(query)
        name, kind = query.question[0].name.to_text().lower(), dns.rdatatype.to_text(query.question[0].rdtype)
        while (name, "CNAME") in self.zone and kind != "CNAME" and len(answer.answer) < 30:
            rrset = self.zone[name, "CNAME"]
            answer.answer.append(rrset)
            name = rrset[0].target.to_text().lower()
        if (name, kind) in self.zone:
            answer.answer.append(self.zone[name, kind])
        else:
            if not any(known == name for known, _ in self.zone):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            answer.authority.append(dns.rrset.from_text(*SOA.split(None, 4)))
        return answer

    async def _stream(self, reader, writer):
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                answer = self.answer(await reader.readexactly(size), "tcp")
                if answer:
                    writer.write(len(answer).to_bytes(2, "big") + answer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server):
        self.server = server

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        answer = self.server.answer(data, "udp")
        if answer:
            self.transport.sendto(answer, address)


SILENCE = b""


def silent(query, way):
    """Never answers."""
    return SILENCE


def refusing(code):
    """Answers with a response code and nothing else."""

    def rule(query, way):
        answer = dns.message.make_response(query)
        answer.set_rcode(code)
        return answer

    return rule
