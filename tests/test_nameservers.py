"""Nameservers that interfaces have learned."""

import asyncio
import socket
from ipaddress import ip_address

import dns.message
import dns.rcode
import dns.rrset
import pytest

from asyncstack import DnsConfig, Stack, StackConfig
from asyncstack.nameservers import MOST

ONE, TWO, LINK_LOCAL = (ip_address(text).packed for text in ("10.0.0.1", "fd00::2", "fe80::3"))


def asked(stack):
    return list(stack.resolver.config.nameservers), list(stack.resolver.config.search)


async def test_the_configured_ones_come_first():
    config = StackConfig(dns=DnsConfig(nameservers=["10.0.0.9", "10.0.0.1"], search=["home.example"]))
    async with Stack(config) as stack:
        stack.learn_nameservers("dhcp4", [ONE], ["office.example"])
        stack.learn_nameservers(
            "slaac", [LINK_LOCAL, TWO], ["home.example", "lab.example"], stack.interfaces[0]
        )
        assert asked(stack) == (
            ["10.0.0.9", "10.0.0.1", "fe80::3%1", "fd00::2"],
            ["home.example", "office.example", "lab.example"],
        )
        stack.learn_nameservers("slaac", [TWO])
        assert asked(stack) == (["10.0.0.9", "10.0.0.1", "fd00::2"], ["home.example", "office.example"])
        stack.forget_nameservers("slaac")
        stack.forget_nameservers("dhcp4")
        stack.forget_nameservers("nobody")
        assert asked(stack) == (["10.0.0.9", "10.0.0.1"], ["home.example"])
        assert stack.resolver.config is stack.config.dns


async def test_the_resolver_is_made_when_a_name_is_asked_for():
    async with Stack() as stack:
        with pytest.raises(socket.gaierror, match="no nameservers"):
            await stack.getaddrinfo("www.example", 80)
        stack.learn_nameservers("dhcp4", [ONE])
        assert "resolver" not in vars(stack)
        with pytest.raises(socket.gaierror, match=r"10\.0\.0\.1"):
            await stack.getaddrinfo("www.example", 80)
        assert "resolver" in vars(stack)
        stack.forget_nameservers("dhcp4")
        with pytest.raises(socket.gaierror, match="no nameservers"):
            await stack.getaddrinfo("www.example", 80)


async def test_other_nameservers_are_asked_anew():
    async with Stack() as stack, stack.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 53))
        questions = []
        serving = asyncio.create_task(answer(sock, questions))
        for source in ("dhcp4", "slaac"):  # the second says the same server, and something else
            stack.learn_nameservers(source, [ip_address("127.0.0.1").packed], [source])
            for _ in range(2):
                with pytest.raises(socket.gaierror, match="does not exist"):
                    await stack.resolver.query("www.example")
        assert len(questions) == 2
        serving.cancel()


async def answer(sock, questions):
    """A nameserver that has no name, for an hour."""
    while True:
        data, client = await sock.recvfrom(4096)
        question = dns.message.from_wire(data)
        questions.append(question)
        reply = dns.message.make_response(question)
        reply.set_rcode(dns.rcode.NXDOMAIN)
        soa = "ns.example. root.example. 1 3600 3600 3600 3600"
        reply.authority.append(dns.rrset.from_text("example.", 3600, "IN", "SOA", soa))
        await sock.sendto(reply.to_wire(), client)


async def test_a_network_can_not_give_more_than_are_asked():
    many = [bytes([10, 0, 0, number]) for number in range(1, 60)]
    async with Stack(StackConfig(dns=DnsConfig(nameservers=["10.1.0.1"]))) as stack:
        stack.learn_nameservers("slaac", many, [f"d{number}.example" for number in range(60)])
        servers, search = asked(stack)
        assert (len(servers), len(search), servers[0]) == (MOST, MOST, "10.1.0.1")
