"""What came of a script, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from asyncstack.testing.packetdrill.script import Event


class Outcome(Enum):
    """How a script ended."""

    PASS = "pass"
    FAIL = "fail"
    UNSUPPORTED = "unsupported"


@dataclass(slots=True)
class Result:
    """The outcome of one script. `reason` is one line, `details` what else helps; `line` is 0 if none is to blame."""

    path: str
    outcome: Outcome
    reason: str = ""
    line: int = 0
    details: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)  # of print() in the script's code

    @property
    def passed(self) -> bool:
        """Whether everything was as the script says."""
        return self.outcome is Outcome.PASS

    def text(self) -> str:
        """All of it, over several lines for a failure."""
        if self.passed:
            return f"{self.path}: pass"
        where = f"{self.path}:{self.line}" if self.line else self.path
        if self.outcome is Outcome.UNSUPPORTED:
            return f"{where}: unsupported: {self.reason}"
        return "\n".join([f"{where}: fail: {self.reason}", *(f"  {line}" for line in self.details)])


class Mismatch(Exception):
    """Something is not as the script says. `details` are lines below the reason."""

    def __init__(self, reason: str, details: list[str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details = details or []


def side_by_side(script: str, actual: str, wanted_at: str, seen_at: str) -> list[str]:
    """The two lines, one above the other with their times, and marks below what differs."""
    width = max(len(wanted_at), len(seen_at))
    lines = [f"script {wanted_at:>{width}}  > {script}", f"actual {seen_at:>{width}}  > {actual}"]
    marks = "".join(
        " " if a == b else "^"
        for a, b in zip(script.ljust(len(actual)), actual.ljust(len(script)), strict=True)
    )
    return [*lines, " " * (width + 11) + marks.rstrip()] if marks.strip() else lines


def describe_event(event: Event) -> str:
    """The event as the script has it, on one line."""
    return event.text if len(event.text) <= 200 else event.text[:197] + "..."


def summarize(results: list[Result]) -> str:
    """How many passed, failed, and are unsupported."""
    counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    named = [
        f"{count} {outcome.value if outcome is Outcome.UNSUPPORTED else outcome.value + 'ed'}"
        for outcome, count in counts.items()
        if count
    ]
    return ", ".join(named) or "no scripts"
