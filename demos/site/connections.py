"""The server's TCP connections, as rows of the page's table."""

from typing import Any

from asyncstack import TcpInfo
from asyncstack.network.addresses import format_address, parse_address
from asyncstack.transport.tcp.endpoint import Key
from demos.site.transfer import PORT
from demos.site.world import SERVER, World

UNLIMITED = 0x7FFFFFFF  # segments: no loss yet

Connections = list[tuple[Key, TcpInfo]]


def connections(world: World) -> Connections:
    """All of them, in the order in which they were made."""
    tcp = world.server.tcp
    now = tcp.clock()
    return [(key, endpoint.connection.info(now)) for key, endpoint in tcp.connections.items()]


def watched(found: Connections) -> tuple[Key, TcpInfo] | tuple[None, None]:
    """The newest connection of the transfer."""
    source = parse_address(SERVER), PORT
    return next(((key, info) for key, info in reversed(found) if key[:2] == source), (None, None))


def row(key: Key, info: TcpInfo) -> dict[str, Any]:
    """Bytes, seconds and segments, for JSON."""
    local, remote = names(key)
    return {
        "local": local,
        "remote": remote,
        "link": "faulty" if key[0] == parse_address(SERVER) else "clean",
        "state": info.state.name.replace("_", "-"),
        "phase": info.ca_state,
        "cwnd": info.snd_cwnd_bytes,
        "ssthresh": None if info.snd_ssthresh == UNLIMITED else info.snd_ssthresh_bytes,
        "rtt": info.rtt,
        "pipe": info.pipe,
        "retransmits": info.total_retrans,
        "acked": info.bytes_acked,
    }


def names(key: Key) -> tuple[str, str]:
    """The two ends as "192.0.2.2:5001"."""
    local, local_port, remote, remote_port = key
    return f"{format_address(local)}:{local_port}", f"{format_address(remote)}:{remote_port}"
