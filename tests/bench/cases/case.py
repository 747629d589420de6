"""What a case is: a measurement of one subject that gives the values of some rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..subjects import Subject

PORT = 80


@dataclass(frozen=True)
class Scale:
    """How much of everything. `seconds` is the length of one measurement, `held` the open connections."""

    seconds: float
    held: int


FULL = Scale(seconds=1.5, held=10_000)
QUICK = Scale(seconds=0.5, held=2_000)


@dataclass(frozen=True)
class Case:
    """`run(subject, scale)` returns values by the names in `rows`; it raises StepError or NotOfferedError.

    `client` names the load, for the table.
    """

    name: str
    rows: tuple[str, ...]
    client: str
    run: Callable[[Subject, Scale], dict[str, float]]
