"""HTTP keep-alive requests per second: wrk where it is installed, else a client of our own."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import partial

from ..subjects import Subject
from ..workers import StepError, pinned
from .case import PORT, Case, Scale

WRK = shutil.which("wrk")


def requests(subject: Subject, scale: Scale, *, connections: int, row: str) -> dict[str, float]:
    """Requests answered per second."""
    with subject.server() as server:
        server.ask("serve", app="http", host=subject.addresses[0], port=PORT)
        return {row: load(subject, connections, scale.seconds)}


def load(subject: Subject, connections: int, seconds: float) -> float:
    """Requests per second, of GET /."""
    return (_wrk if WRK else _own)(subject, connections, seconds)


def _wrk(subject: Subject, connections: int, seconds: float) -> float:
    whole = max(round(seconds), 1)  # wrk counts in whole seconds
    host = f"[{address}]" if ":" in (address := subject.addresses[0]) else address
    command = [
        *subject.client_namespace.prefix, *pinned(1),
        "wrk", "-t1", f"-c{connections}", f"-d{whole}s", f"http://{host}:{PORT}/",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=whole + 20)
    except subprocess.TimeoutExpired:
        raise StepError("wrk did not end") from None
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if rate is None or float(rate[1]) == 0:
        raise StepError(f"wrk: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    if errors := re.search(r"Socket errors: (.*)|Non-2xx.*", done.stdout):
        raise StepError(f"wrk: {errors[0]}")
    return float(rate[1])


def _own(subject: Subject, connections: int, seconds: float) -> float:
    with subject.client() as client:
        done = client.ask(
            "http",
            host=subject.addresses[0],
            port=PORT,
            connections=connections,
            seconds=seconds,
            timeout=seconds + 20,
        )
    return done["responses"] / done["seconds"]


HTTP = tuple(
    Case(
        f"http-{connections}",
        (f"http-{connections}",),
        "wrk" if WRK else "epoll client",
        partial(requests, connections=connections, row=f"http-{connections}"),
    )
    for connections in (1, 50, 200)
)
