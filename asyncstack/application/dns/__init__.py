"""DNS: the resolver of a stack, and a server, over its own UDP and TCP.

    async with Stack(StackConfig(dns=DnsConfig(nameservers=["10.9.0.1"], search=["example.org"]))) as stack:
        await stack.getaddrinfo("www", 80)
        for record in await stack.resolver.query("_http._tcp.example.org", "SRV"):
            print(record.target, record.port, record.ttl)

`Resolver` is the shell, which has the sockets and the time. `lookup.Lookup` is the protocol of one question,
`cache.Cache` what is remembered of the answers, `messages` the codec.

    async with DnsServer(stack, {"www.example.test": "10.0.0.1"}, upstreams=["192.0.2.53"]) as server:
        server.register("printer.example.test", "10.0.0.7")

`DnsServer` is the shell of `zones.Zones` (what it has itself), `queries` (the codec) and `elsewhere` (who else knows).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from asyncstack.application.dns.errors import DnsError, NoAnswer, NoData, NxDomain, ServerFailure
from asyncstack.application.dns.messages import Question
from asyncstack.application.dns.records import AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT, A, Record
from asyncstack.application.dns.resolver import Resolver

if TYPE_CHECKING:
    from asyncstack.application.dns.server import DnsServer, ServerLimits
    from asyncstack.application.dns.zone import Zone

# imported on first use: a resolver needs none of them
_HOMES = {"DnsServer": "server", "ServerLimits": "server", "Zone": "zone"}

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
    "DnsServer",
    "NoAnswer",
    "NoData",
    "NxDomain",
    "Question",
    "Record",
    "Resolver",
    "ServerFailure",
    "ServerLimits",
    "Zone",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
