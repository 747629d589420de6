"""64 bytes there and back, one at a time: client and server on one CPU, and on two."""

from __future__ import annotations

from functools import partial

from ..subjects import Subject
from .case import PORT, Case, Scale


def ping_pong(subject: Subject, scale: Scale, *, cpu: int, row: str) -> dict[str, float]:
    """Median and 99th percentile, microseconds."""
    with subject.server() as server, subject.client(cpu) as client:
        server.ask("serve", app="echo", host=subject.addresses[0], port=PORT)
        client.ask("hold", host=subject.addresses[0], port=PORT, count=1, seconds=5)
        client.ask("ping_pong", seconds=0.1)  # warm up
        times = client.ask("ping_pong", seconds=scale.seconds, timeout=scale.seconds + 20)
    return {row: times["median"] * 1e6, f"{row}-p99": times["p99"] * 1e6}


LATENCY = tuple(
    Case(row, (row, f"{row}-p99"), "blocking socket", partial(ping_pong, cpu=cpu, row=row))
    for cpu, row in ((0, "latency-1cpu"), (1, "latency-2cpu"))
)
