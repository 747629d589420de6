"""A run: rounds, in each every case, in each every subject, so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

import contextlib
import fcntl
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .cases import Case, Scale
from .subjects import SUBJECTS, NotOfferedError, StepError, Subject

QUIET_LOCK = Path("/tmp/quiet.lock")
Say = Callable[[str], None]


@dataclass
class Outcome:
    """What became of a row with a subject: a value for each round that went well, and why others did not.

    `reason` is the last one; `failures` counts rounds. A subject that has no such thing has a reason and no failures.
    """

    values: list[float] = field(default_factory=list)
    reason: str = ""
    failures: int = 0

    @property
    def hopeless(self) -> bool:
        """Another round would be a waste of time."""
        return bool(self.reason) and not self.values and self.failures != 1

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    @property
    def spread(self) -> float:
        """Half the distance between the extremes, as a share of the median."""
        if len(self.values) < 2 or not self.median:
            return 0.0
        return (max(self.values) - min(self.values)) / 2 / abs(self.median)


@dataclass
class Results:
    """All outcomes, by (row, subject)."""

    subjects: list[str]
    cases: list[Case]
    held: int  # connections, in the cases that hold many
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    seconds: float = 0.0
    load: float = 0.0  # highest 1-minute load average seen before a case
    rounds: int = 0  # rounds completed
    complete: bool = False

    def outcome(self, row: str, subject: str) -> Outcome:
        return self.outcomes.setdefault((row, subject), Outcome())


def run(results: Results, rounds: int, scale: Scale, say: Say) -> None:
    """Fill `results`. Everything made is removed, however this ends; what was measured until then stays."""
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        subjects = [s for name in results.subjects if (s := _open(name, stack, results, say))]
        try:
            for number in range(rounds):
                for index, case in enumerate(results.cases):
                    _round(case, subjects, results, scale, say, f"{number + 1}/{rounds}", index)
                results.rounds += 1
            results.complete = True
        finally:
            results.seconds = time.monotonic() - begin


def _open(name: str, stack: contextlib.ExitStack, results: Results, say: Say) -> Subject | None:
    subject = SUBJECTS[name]()
    stack.callback(subject.close)
    try:
        subject.open()
    except (NotOfferedError, StepError) as exc:
        say(f"{name}: not run: {exc}")
        for case in results.cases:
            for row in case.rows:
                results.outcome(row, name).reason = f"not run: {exc}"
        return None
    return subject


def _round(
    case: Case, subjects: Sequence[Subject], results: Results, scale: Scale, say: Say, number: str, index: int
) -> None:
    """One round of a case. The subjects take turns in who goes first."""
    with _quiet(say):
        results.load = max(results.load, os.getloadavg()[0])
        turn = (index + results.rounds) % max(len(subjects), 1)
        for subject in [*subjects[turn:], *subjects[:turn]]:
            begin = time.monotonic()
            outcomes = {row: results.outcome(row, subject.name) for row in case.rows}
            if any(outcome.hopeless for outcome in outcomes.values()):
                continue
            failed = 0
            try:
                values = case.run(subject, scale)
            except NotOfferedError as exc:
                reason = f"not offered: {exc}"
            except Exception as exc:
                failed = 1
                reason = f"failed: {exc if isinstance(exc, StepError) else repr(exc)}"
            else:
                for row, value in values.items():
                    outcomes[row].values.append(value)
                say(
                    f"{number} {case.name} {subject.name} ({time.monotonic() - begin:.1f} s): {_brief(values)}"
                )
                continue
            say(f"{number} {case.name} {subject.name}: {reason}")
            for outcome in outcomes.values():
                outcome.reason = reason
                outcome.failures += failed


def _brief(values: dict[str, float]) -> str:
    return ", ".join(f"{row} {value:,.4g}" for row, value in values.items())


@contextlib.contextmanager
def _quiet(say: Say) -> Iterator[None]:
    """One measurement at a time on this machine, whoever makes it."""
    with open(QUIET_LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting: another benchmark holds {QUIET_LOCK}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
