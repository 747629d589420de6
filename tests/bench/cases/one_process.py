"""What needs no client: both ends in one process, the cost of an import and of a stack, a simulated link."""

from __future__ import annotations

from functools import partial

from ..subjects import Subject
from ..workers import NotOfferedError, Worker, pinned, python
from .case import Case, Scale

OURS = ("asyncstack",)
BOTH_FAMILIES = ("asyncstack", "asyncstack-ipv6")
ALL = ("kernel", *BOTH_FAMILIES)


def alone(
    subject: Subject, scale: Scale, *, do: str, rows: dict[str, float], by: tuple[str, ...]
) -> dict[str, float]:
    """Ask a process of the subject's for a result; `rows` gives each value's factor to the row's unit."""
    if subject.name not in by:
        reasons = {"kernel": "no such thing", "asyncstack-ipv6": "the family makes no difference"}
        raise NotOfferedError(reasons.get(subject.name, "one stack per process"))
    command = [*subject.server_namespace.prefix, *pinned(0), *python("alone", subject.name)]
    with Worker(command, f"{subject.name} process") as worker:
        result = worker.ask(do, seconds=scale.seconds, timeout=scale.seconds + 60)
    return {row: result[row] * factor for row, factor in rows.items()}


def _case(name: str, client: str, rows: dict[str, float], by: tuple[str, ...]) -> Case:
    do = name.replace("-", "_")
    return Case(name, tuple(rows), client, partial(alone, do=do, rows=rows, by=by))


ONE_PROCESS = (
    _case("one-process-bulk", "same process", {"one-process-bulk": 8e-9}, ALL),
    _case("one-process-latency", "same process", {"one-process-latency": 1.0}, ALL),
    _case("import", "fresh interpreters", {"import": 1e3}, OURS),
    _case("idle-stack", "same process", {"idle-stack-time": 1e3, "idle-stack-memory": 1 / 1024}, OURS),
    _case("simulated", "virtual time", {"simulated": 1.0}, BOTH_FAMILIES),
    _case("site", "virtual time", {"site-configured": 1.0, "site-time": 1.0, "site-memory": 1 / 1024}, OURS),
)
