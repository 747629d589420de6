"""uvicorn with FastAPI: requests per second, and one long answer over TLS."""

from __future__ import annotations

from ..subjects import NotOfferedError, Subject
from .case import PORT, Case, Scale
from .http import load


def requests(subject: Subject, scale: Scale) -> dict[str, float]:
    """Requests answered per second, over 50 connections."""
    _check(subject)
    with subject.server() as server:
        server.ask("serve", app="asgi", host=subject.addresses[0], port=PORT)
        return {"asgi-50": load(subject, 50, scale.seconds)}


def download(subject: Subject, scale: Scale) -> dict[str, float]:
    """Gbit/s of an answer's body over TLS 1.3."""
    _check(subject)
    with subject.server() as server, subject.client() as client:
        server.ask("serve", app="asgi-tls", host=subject.addresses[0], port=PORT)
        moved = client.ask(
            "download_https",
            host=subject.addresses[0],
            port=PORT,
            seconds=scale.seconds,
            timeout=scale.seconds + 20,
        )
    return {"https-download": moved["bytes"] * 8 / moved["seconds"] / 1e9}


def _check(subject: Subject) -> None:
    if subject.name == "pmd-pytcp":
        raise NotOfferedError("its connections are no asyncio transports")


ASGI = (
    Case("asgi-50", ("asgi-50",), "wrk", requests),
    Case("https-download", ("https-download",), "blocking ssl socket", download),
)
