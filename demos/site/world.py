"""Two hosts of a simulated network: a faulty link for the transfer that is watched, a clean one for those who watch.

The addresses are those kept for documentation (RFC 5737), so that they are on no TUN.
"""

from dataclasses import dataclass

import asyncstack
from asyncstack.testing.links import Link

SERVER, CLIENT = "192.0.2.2", "192.0.2.1"  # on the faulty link
CLEAN_SERVER, CLEAN_CLIENT = "198.51.100.2", "198.51.100.1"

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


def build(net: asyncstack.Network) -> World:
    """The hosts and their links, as the page finds them."""
    server, client = net.host("server", config=CONFIG), net.host("client", config=CONFIG)
    net.link(server, client, addresses=(f"{CLEAN_SERVER}/24", f"{CLEAN_CLIENT}/24"))
    faulty = net.link(
        server,
        client,
        delay=0.020,
        loss=0.0002,
        rate=20e6,
        queue=QUEUE,
        addresses=(f"{SERVER}/24", f"{CLIENT}/24"),
    )
    return World(server, client, faulty)
