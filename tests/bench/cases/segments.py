"""Segments of MTU 1500 per CPU second of the server's process, offload off: the cost of a segment."""

from __future__ import annotations

from functools import partial

from ..subjects import Subject
from ..workers import StepError
from .case import PORT, Case, Scale

MTU = 1500


def segments(subject: Subject, scale: Scale, *, direction: str, app: str, row: str) -> dict[str, float]:
    """Packets in the direction of the data, as the kernel's side of the TUN counts them, per CPU second.

    What goes the other way (ACKs) is part of the cost, not of the count.
    """
    interface = subject.counted_interface()
    with subject.server(offload=False) as server, subject.client() as client:
        server.ask("serve", app=app, host=subject.addresses[0], port=PORT)
        cpu = server.ask("stats")["cpu"]
        from_server, to_server = subject.client_namespace.packets(interface)
        moved = client.ask(
            direction, host=subject.addresses[0], port=PORT, seconds=scale.seconds, timeout=scale.seconds + 20
        )
        cpu = server.ask("stats")["cpu"] - cpu
        after_from_server, after_to_server = subject.client_namespace.packets(interface)
    count = after_to_server - to_server if direction == "upload" else after_from_server - from_server
    if moved["bytes"] > count * MTU:
        raise StepError(f"{moved['bytes']} bytes in {count} packets: offload was not off")
    return {row: count / cpu}


SEGMENTS = tuple(
    Case(row, (row,), "blocking socket", partial(segments, direction=direction, app=app, row=row))
    for direction, app, row in (
        ("upload", "sink-buffered", "segments-received"),
        ("download", "source-buffered", "segments-sent"),
    )
)
