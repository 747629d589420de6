"""A flood of 64-byte UDP datagrams on one interface: does the loop live, does a transfer on another go on?"""

from __future__ import annotations

from ..subjects import Subject
from .case import PORT, Case, Scale

CLOSED_PORT = 9


def flood(subject: Subject, scale: Scale) -> dict[str, float]:
    """The worst lag in ms, and the download with and without the flood in Gbit/s.

    Flood and download come from the same CPU, so the download loses its share of that too.
    """
    seconds = scale.seconds
    address, other = subject.addresses
    job = {"host": other, "port": PORT, "seconds": seconds}
    with (
        subject.server(interfaces=2) as server,
        subject.client() as client,
        subject.client() as flooder,
    ):
        server.ask("serve", app="source", host=other, port=PORT)
        before = client.ask("download", timeout=seconds + 20, **job)
        flooder.send("flood", host=address, port=CLOSED_PORT, seconds=seconds + 0.5)
        server.ask("watch", seconds=seconds)
        during = client.ask("download", timeout=seconds + 30, **job)
        flooded = flooder.wait(seconds + 30, "end of the flood")
        lag = server.ask("watched", timeout=seconds + 30)["lag"]
    return {
        "flood-lag": lag * 1e3,
        "flood-transfer": during["bytes"] * 8 / during["seconds"] / 1e9,
        "flood-before": before["bytes"] * 8 / before["seconds"] / 1e9,
        "flood-rate": flooded["rate"],
    }


FLOOD = Case(
    "flood",
    ("flood-lag", "flood-transfer", "flood-before", "flood-rate"),
    "blocking, UDP",
    flood,
)
