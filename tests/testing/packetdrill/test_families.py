"""The conversations of IPv4 over IPv6 as well: TCP says the same."""

import pytest

from asyncstack.testing.packetdrill import Outcome, run_file
from tests.running import CHECKOUT

CONVERSATIONS = CHECKOUT / "tests" / "conversations"
HEADERS_DIFFER = {"ip_version": "ipv6", "mtu": "1520"}  # so that the MSS is the same
OF_IPV4 = {
    "linux-a-syn-too-large-goes-again-at-once": "a path MTU below 1280",
    "rfc1191-6.4-a-smaller-path": "a path MTU below 1280; rfc8201-5.4-a-smaller-path-ipv6 is its twin",
    "rfc6691-2-the-mss-told-is-the-links": "a path MTU below 1280",
    "rfc7413-4.1.2-a-bad-cookie": "its addresses: the cookie is made of them",
    "rfc7413-4.2-server": "its addresses",
    "rfc7413-4.2.2-read-before-the-handshake": "its addresses",
}
SCRIPTS = [path for path in sorted(CONVERSATIONS.rglob("*.pkt")) if "--ip_version" not in path.read_text()]


@pytest.mark.parametrize(
    "path", [path for path in SCRIPTS if path.stem not in OF_IPV4], ids=lambda path: path.stem
)
def test_over_ipv6(path):
    result = run_file(path, **HEADERS_DIFFER)
    assert result.outcome is Outcome.PASS, result.text()


def test_those_left_out_are_there():
    assert set(OF_IPV4) < {path.stem for path in SCRIPTS}
