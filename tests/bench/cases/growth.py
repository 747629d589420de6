"""Cost with the work: latency and CPU per request with 10 and with 10,000 open connections."""

from __future__ import annotations

from ..subjects import Subject
from ..workers import Worker
from .case import PORT, Case, Scale

FEW = 10
PATIENCE = 40.0


def growth(subject: Subject, scale: Scale) -> dict[str, float]:
    """Many over few. Requests go over all open connections in turn, so that no cache hides their number."""
    held = min(scale.held, subject.most_held)
    with subject.server() as server, subject.client() as client:
        server.ask("serve", app="echo", host=subject.addresses[0], port=PORT)
        few = _cost(server, client, subject.addresses[0], FEW, scale.seconds)
        many = _cost(server, client, subject.addresses[0], held, scale.seconds)
    return {"growth-latency": many[0] / few[0], "growth-cpu": many[1] / few[1]}


def _cost(server: Worker, client: Worker, host: str, connections: int, seconds: float) -> tuple[float, float]:
    client.ask("hold", host=host, port=PORT, count=connections, seconds=PATIENCE, timeout=PATIENCE + 10)
    client.ask("ping_pong", seconds=0.5)
    before = server.ask("stats")
    times = client.ask("ping_pong", seconds=seconds, timeout=seconds + 20)
    after = server.ask("stats")
    return times["median"], (after["cpu"] - before["cpu"]) / (after["requests"] - before["requests"])


GROWTH = Case("growth", ("growth-latency", "growth-cpu"), "blocking sockets", growth)
