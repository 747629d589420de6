"""DNS: the resolver of a stack, over its own UDP and TCP.

    async with Stack(StackConfig(dns=DnsConfig(nameservers=["10.9.0.1"], search=["example.org"]))) as stack:
        await stack.getaddrinfo("www", 80)
        for record in await stack.resolver.query("_http._tcp.example.org", "SRV"):
            print(record.target, record.port, record.ttl)

`Resolver` is the shell, which has the sockets and the time. `lookup.Lookup` is the protocol of one question,
`cache.Cache` what is remembered of the answers, `messages` the codec.
"""

from asyncstack.application.dns.errors import DnsError, NoAnswer, NoData, NxDomain, ServerFailure
from asyncstack.application.dns.records import AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT, A, Record
from asyncstack.application.dns.resolver import Resolver

__all__ = [
    "AAAA",
    "CNAME",
    "MX",
    "NS",
    "PTR",
    "SOA",
    "SRV",
    "TXT",
    "A",
    "DnsError",
    "NoAnswer",
    "NoData",
    "NxDomain",
    "Record",
    "Resolver",
    "ServerFailure",
]
