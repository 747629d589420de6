"""Connections per second: connect, a byte each way, close by the server; 50 at once."""

from __future__ import annotations

from ..subjects import Subject
from ..workers import StepError
from .case import PORT, Case, Scale

AT_ONCE = 50


def connections(subject: Subject, scale: Scale) -> dict[str, float]:
    """Connections completed per second."""
    with subject.server() as server, subject.client() as client:
        server.ask("serve", app="one-byte", host=subject.addresses[0], port=PORT)
        done = client.ask(
            "connect_and_close",
            host=subject.addresses[0], port=PORT, at_once=AT_ONCE, seconds=scale.seconds, timeout=scale.seconds + 20,
        )  # fmt: skip
    if done["failed"]:
        raise StepError(f"{done['failed']} connections failed, {done['connections']} completed")
    return {"connections": done["connections"] / done["seconds"]}


CONNECTIONS = Case("connections", ("connections",), "epoll client", connections)
