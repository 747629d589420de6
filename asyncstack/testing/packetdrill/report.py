"""What came of a script, and how it is told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import SequenceMatcher
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
    """The two lines, one above the other with their times, and marks below the words that differ."""
    width = max(len(wanted_at), len(seen_at))
    lines = [f"script {wanted_at:>{width}}  > {script}", f"actual {seen_at:>{width}}  > {actual}"]
    marks = _marks(script, actual)
    return [*lines, " " * (width + 11) + marks] if marks else lines


def _marks(script: str, actual: str) -> str:
    """Carets below the words of `actual` that `script` does not have at their place."""
    wanted, seen = (re.findall(r"[^\s,<>]+|[\s,<>]", line) for line in (script, actual))
    marks = [" " * len(word) for word in seen] + [""]
    for kind, _, _, start, end in SequenceMatcher(None, wanted, seen, autojunk=False).get_opcodes():
        if kind == "delete":
            marks[start] = "^" + marks[start][1:]
        elif kind != "equal":
            marks[start:end] = ["^" * len(word) for word in seen[start:end]]
    return "".join(marks).rstrip()


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
