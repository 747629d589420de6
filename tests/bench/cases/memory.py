"""Memory of an idle connection: what the server's resident size grows by, per connection held."""

from __future__ import annotations

import time

from ..subjects import Subject
from ..workers import StepError, Worker
from .case import PORT, Case, Scale

WARM = 100  # connections opened before, so that what is made once is not counted
PATIENCE = 40.0


def memory(subject: Subject, scale: Scale) -> dict[str, float]:
    """Bytes per connection. The kernel's own memory for its sockets is not in it."""
    held = min(scale.held, subject.most_held)
    with subject.server() as server, subject.client() as client:
        server.ask("serve", app="echo", host=subject.addresses[0], port=PORT)
        client.ask("hold", host=subject.addresses[0], port=PORT, count=WARM, seconds=10)
        before = settled(server, WARM)
        client.ask(
            "hold",
            host=subject.addresses[0],
            port=PORT,
            count=WARM + held,
            seconds=PATIENCE,
            timeout=PATIENCE + 10,
        )
        after = settled(server, WARM + held)
    return {"memory": (after - before) / held}


def settled(server: Worker, connections: int) -> float:
    """The resident bytes once the server has seen all connections, after a garbage collection."""
    for _ in range(50):
        if server.ask("stats")["open"] == connections:
            time.sleep(0.3)  # handshake timers and the like
            return float(server.ask("stats", collect=True)["resident"])
        time.sleep(0.1)
    raise StepError(f"the server has not seen {connections} connections open")


MEMORY = Case("memory", ("memory",), "blocking sockets", memory)
