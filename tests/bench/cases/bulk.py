"""One connection, as much as goes through, each way; streams and a BufferedProtocol."""

from __future__ import annotations

from functools import partial

from ..subjects import Subject
from .case import PORT, Case, Scale


def transfer(subject: Subject, scale: Scale, *, direction: str, app: str, row: str) -> dict[str, float]:
    """Gbit/s of payload."""
    with subject.server() as server, subject.client() as client:
        server.ask("serve", app=app, host=subject.addresses[0], port=PORT)
        moved = client.ask(
            direction, host=subject.addresses[0], port=PORT, seconds=scale.seconds, timeout=scale.seconds + 20
        )
    return {row: moved["bytes"] * 8 / moved["seconds"] / 1e9}


BULK = tuple(
    Case(row, (row,), "blocking socket", partial(transfer, direction=direction, app=app, row=row))
    for direction, app, row in (
        ("upload", "sink-streams", "upload-streams"),
        ("upload", "sink-buffered", "upload-buffered"),
        ("download", "source-streams", "download-streams"),
        ("download", "source-buffered", "download-buffered"),
    )
)
