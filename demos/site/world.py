"""Two hosts of a simulated network: a faulty link for the transfer that is watched, a clean one for those who watch.

The addresses are those kept for documentation (RFC 5737, RFC 3849), so that they are on no TUN.
"""

from dataclasses import dataclass

import asyncstack
from asyncstack.testing.links import Link

FAULTY = {4: "192.0.2.{}", 6: "2001:db8:1::{}"}  # addresses by IP version: 2 is the server, 1 the client
CLEAN = {4: "198.51.100.{}", 6: "2001:db8:2::{}"}
BITS = {4: 24, 6: 64}

# The window may grow to what the worst setting of the controls holds: 50 Mbit/s there and 400 ms back.
CONFIG = asyncstack.StackConfig(
    tcp=asyncstack.TcpConfig(receive_buffer=8 << 20, send_buffer=8 << 20), close_timeout=0.5
)
QUEUE = 64 << 10  # bytes that wait before the faulty link; more are dropped


@dataclass(slots=True)
class World:
    server: asyncstack.Stack
    client: asyncstack.Stack
    faulty: Link  # its forward direction, and its end 0, are the server's: the data flows from there
    address: str  # the server's on the faulty link
    clean_address: str


def build(net: asyncstack.Network, version: int = 4) -> World:
    """The hosts and their links, as the page finds them. version: of IP."""
    server, client = net.host("server", config=CONFIG), net.host("client", config=CONFIG)
    faulty_ends, clean_ends = (
        [f"{prefix[version].format(host)}/{BITS[version]}" for host in (2, 1)] for prefix in (FAULTY, CLEAN)
    )
    net.link(server, client, addresses=(clean_ends[0], clean_ends[1]))
    faulty = net.link(
        server,
        client,
        delay=0.020,
        loss=0.0002,
        rate=20e6,
        queue=QUEUE,
        addresses=(faulty_ends[0], faulty_ends[1]),
    )
    return World(server, client, faulty, FAULTY[version].format(2), CLEAN[version].format(2))
