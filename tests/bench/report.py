"""What a run shows: the table on the terminal, and build/bench.json."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from . import pytcp_environment
from .rows import BY_NAME, Against
from .run import Outcome, Results
from .verdict import OURS, PEER, Verdict, judge

WIDTH = 176


def verdicts(results: Results) -> list[Verdict]:
    """One for each row of the run, in the order of the table."""
    return [judge(BY_NAME[row], results) for case in results.cases for row in case.rows]


def number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def cell(outcome: Outcome) -> str:
    """Median and spread, and the rounds that failed; or why there is nothing."""
    if outcome.median is None:
        return f"[dim]{outcome.reason.partition(':')[0] or '-'}[/]"
    failed = f" [red]{outcome.failures} failed[/]" if outcome.failures else ""
    return f"{number(outcome.median)} [dim]±{outcome.spread:.0%}[/]{failed}"


def goal(verdict: Verdict, value: float, reached: bool | None) -> str:
    """A goal with a tick or a cross; `?` where nothing was measured."""
    row = verdict.row
    if row.against is Against.NOTHING:
        return ""
    mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]?[/]"}[reached]
    return (
        f"{'≤' if row.lower else '≥'} {number(value)}{' x' if row.against is Against.KERNEL else ''} {mark}"
    )


def families(verdict: Verdict) -> str:
    """How much better IPv6 does than IPv4, with a tick unless it does clearly worse."""
    if verdict.gain is None:
        return ""
    return f"{verdict.gain:+.0%} {'[green]✓[/]' if verdict.alike else '[red]✗[/]'}"


def table(results: Results) -> Table:
    """The rows, a column for each subject."""
    shown = Table(title="asyncstack benchmark", title_justify="left", show_edge=False, pad_edge=False)
    for title in ("row", "API", "client", "unit"):
        shown.add_column(title, overflow="fold")
    for name in (*results.subjects, "ratio", "first goal", "the goal", "IPv6", "x pmd-pytcp"):
        shown.add_column(name, justify="right", no_wrap=True)
    client = {row: case.client for case in results.cases for row in case.rows}
    for verdict in verdicts(results):
        row = verdict.row
        peer = "" if verdict.times_peer is None or verdict.times_peer <= 0 else number(verdict.times_peer)
        if row.peer and verdict.peer is not None:
            peer += " [green]✓[/]" if verdict.peer else " [red]✗[/]"
        shown.add_row(
            row.title, row.api, client[row.name], row.unit,
            *(cell(results.outcome(row.name, name)) for name in results.subjects),
            "" if verdict.ratio is None else number(verdict.ratio),
            goal(verdict, row.first, verdict.first),
            goal(verdict, row.final, verdict.final),
            families(verdict),
            peer,
        )  # fmt: skip
    return shown


def show(results: Results, notes: list[str]) -> None:
    """Print the table, what failed and why, and the notes."""
    console = Console()
    if console.width < WIDTH:
        console = Console(width=WIDTH)
    console.print()
    console.print(table(results))
    reasons: dict[tuple[str, str], list[str]] = {}
    for (row, subject), outcome in results.outcomes.items():
        if outcome.reason:
            reasons.setdefault((subject, outcome.reason), []).append(row)
    for (subject, reason), rows in reasons.items():
        where = "all rows" if len(rows) == len(verdicts(results)) else ", ".join(rows)
        console.print(f"[yellow]{subject}[/] ({where}): {reason}", highlight=False, soft_wrap=True)
    for note in notes:
        console.print(note, highlight=False, style="dim", soft_wrap=True)


def machine() -> dict[str, Any]:
    """What a figure is worth nothing without."""
    versions = {name: importlib.metadata.version(name) for name in ("asyncstack", "uvloop", "httptools")}
    return {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "wrk": shutil.which("wrk") is not None,
        "versions": versions,
    }


def as_json(results: Results, notes: list[str]) -> dict[str, Any]:
    """The run as plain data."""
    rows = []
    for verdict in verdicts(results):
        row = verdict.row
        subjects = {}
        for name in results.subjects:
            outcome = results.outcome(row.name, name)
            subjects[name] = {
                "median": outcome.median, "spread": outcome.spread,
                "values": outcome.values, "reason": outcome.reason, "failures": outcome.failures,
            }  # fmt: skip
        rows.append(
            {
                "row": row.name, "title": row.title.strip(), "api": row.api, "unit": row.unit,
                "lower_is_better": row.lower, "subjects": subjects,
                "ratio_to_kernel": verdict.ratio, "times_better_than_pmd_pytcp": verdict.times_peer,
                "goal_against": row.against.value, "first_goal": row.first, "goal": row.final,
                "first_goal_reached": verdict.first, "goal_reached": verdict.final,
                "peer_goal_reached": verdict.peer, "ipv6_gain": verdict.gain,
            }
        )  # fmt: skip
    facts = machine()
    if PEER in results.subjects and not results.outcome(rows[0]["row"], PEER).reason.startswith("not run"):
        facts["versions"][PEER] = pytcp_environment.version()
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(results.started)),
        "seconds": round(results.seconds, 1), "rounds": results.rounds, "complete": results.complete,
        "load_average": results.load, "notes": notes, "machine": facts, "subject": OURS, "rows": rows,
    }  # fmt: skip


def write_json(results: Results, notes: list[str], path: Path) -> None:
    path.write_text(json.dumps(as_json(results, notes), indent=1) + "\n")
