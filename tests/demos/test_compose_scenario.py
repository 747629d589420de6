"""docker-compose.yml without Docker: its two services as network namespaces on one wire, with its own commands."""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import pytest
import yaml
from pyroute2 import IPRoute

from asyncstack.link.kernel import IFA_F_NODAD
from tests.netns import NetworkNamespace
from tests.running import CHECKOUT, Running, run

COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES, NETWORK = COMPOSE["services"], COMPOSE["networks"]["default"]
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
SUBNETS = [ip_network(text) for text in ("172.30.0.0/24", NETWORK["ipam"]["config"][0]["subnet"])]
WEB, CLIENT = ([subnet[number] for subnet in SUBNETS] for number in (2, 3))  # as Docker gives them


def command(service: str) -> list[str]:
    """The service's command, with this interpreter, and an address for the name that Docker would resolve."""
    words = shlex.split(SERVICES[service]["command"])
    of_web = {address.version: f"={address}" for address in WEB}
    resolved = [word.replace("=web", of_web[6 if ":" in word else 4]) for word in words]
    return [sys.executable, *resolved[1:]]


def apply_sysctls(service: str) -> None:
    """Set the service's sysctls in the namespace that the thread is in."""
    for name, value in SERVICES[service].get("sysctls", {}).items():
        Path("/proc/sys", *name.split(".")).write_text(value)


def use(interface: str, addresses: Sequence[IPv4Address | IPv6Address]) -> None:
    with IPRoute() as route:
        (index,) = route.link_lookup(ifname=interface)
        route.link("set", index=index, state="up")
        for address, subnet in zip(addresses, SUBNETS, strict=True):
            flags = {"flags": IFA_F_NODAD} if address.version == 6 else {}
            route.addr("add", index=index, address=str(address), prefixlen=subnet.prefixlen, **flags)


@pytest.fixture
def containers() -> Iterator[tuple[NetworkNamespace, NetworkNamespace]]:
    """The namespaces of `web` and `client`, joined by a veth pair where Docker has its bridge."""
    with ExitStack() as closing:
        web, client = (closing.enter_context(NetworkNamespace()) for _ in range(2))
        with web.entered(), IPRoute() as route:
            route.link(
                "add", ifname="eth0", kind="veth", index=100, peer={"ifname": "eth0", "net_ns_fd": client.fd}
            )
        for namespace, addresses in ((web, WEB), (client, CLIENT)):
            with namespace.entered():
                use("eth0", addresses)
        with web.entered():
            apply_sysctls("web")
        yield web, client


@pytest.mark.tun
def test_the_client_gets_the_page_through_the_network(containers):
    web, client = containers
    with ExitStack() as closing:
        with web.entered():
            site = closing.enter_context(Running(*command("web")))
        assert [site.url() for _ in range(3)] == [
            "http://10.9.0.2:80/",
            "http://[fd09::2]:80/",
            "http://0.0.0.0:8080/",
        ]
        with client.entered():
            done = run(*command("client"))
            published = run(sys.executable, "-m", "demos.site.visit", f"http://{WEB[0]}:8080/")
        assert done.returncode == published.returncode == 0, (done, published)
        assert re.fullmatch(r"(OK: \d+ bytes of page, goodput \d+\.\d Mbit/s\n){2}", done.stdout)
        assert f"10.9.0.0/24 via {WEB[0]} dev eth0" in client.run("ip", "route")
        assert f"fd09::/64 via {WEB[1]} dev eth0" in client.run("ip", "-6", "route")
        assert site.end() == (0, "", "")


def test_what_the_services_need():
    web, client = SERVICES["web"], SERVICES["client"]
    assert web["devices"] == ["/dev/net/tun"]
    assert web["sysctls"] == {
        "net.ipv4.ip_forward": "1",
        "net.ipv6.conf.all.disable_ipv6": "0",
        "net.ipv6.conf.all.forwarding": "1",
    }
    for service in (web, client):
        assert service["cap_add"] == ["NET_ADMIN"]
        assert service["user"] == "root"
        assert service["build"] == "."


def test_the_network_is_of_both_families_and_not_internal():
    assert list(COMPOSE["networks"]) == ["default"]
    assert set(NETWORK) == {"enable_ipv6", "ipam"}
    assert [subnet.version for subnet in SUBNETS] == [4, 6]


def test_the_image():
    assert "ARG BASE_IMAGE=python:3.11-slim\nFROM ${BASE_IMAGE}\n" in DOCKERFILE
    let_in = (CHECKOUT / ".dockerignore").read_text().splitlines()
    for words in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE):
        for name in words.split():
            assert (CHECKOUT / name).exists()
            assert f"!{name}" in let_in
    assert not any("image" in service for service in SERVICES.values())
