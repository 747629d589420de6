"""The server's TCP connections, as rows of the page's table."""

from typing import Any

from asyncstack import TcpInfo
from demos.site.transfer import PORT
from demos.site.world import World

UNLIMITED = 0x7FFFFFFF  # segments: no loss yet


def connections(world: World) -> list[TcpInfo]:
    """All of them, in the order in which they were made."""
    return world.server.connections()


def watched(world: World, found: list[TcpInfo]) -> TcpInfo | None:
    """The newest connection of the transfer."""
    return next((info for info in reversed(found) if info.local[:2] == (world.address, PORT)), None)


def row(world: World, info: TcpInfo) -> dict[str, Any]:
    """Bytes, seconds and segments, for JSON."""
    return {
        "local": name(info.local),
        "remote": name(info.remote),
        "link": "faulty" if info.local[0] == world.address else "clean",
        "state": info.state.name.replace("_", "-"),
        "phase": info.ca_state,
        "cwnd": info.snd_cwnd_bytes,
        "ssthresh": None if info.snd_ssthresh == UNLIMITED else info.snd_ssthresh_bytes,
        "rtt": info.rtt,
        "pipe": info.pipe,
        "retransmits": info.total_retrans,
        "acked": info.bytes_acked,
    }


def name(address: tuple[Any, ...]) -> str:
    """One end as "192.0.2.2:5001", or "[2001:db8:1::2]:5001"."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
