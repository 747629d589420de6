"""`python -m tests.bench`: the command line."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import click

from . import plot, report
from .cases import CASES, Case
from .cases.case import FULL, QUICK
from .namespaces import missing_programs
from .run import Results, run
from .subjects import SUBJECTS
from .workers import ROOT

BUSY = 0.7  # load average above which figures are doubtful


def chosen_cases(words: str) -> list[Case]:
    """The cases whose name, or one of whose rows, starts with one of the words; all without words."""
    wanted = [word.strip() for word in words.split(",") if word.strip()]
    found = [
        case
        for case in CASES
        if not wanted or any(name.startswith(word) for word in wanted for name in (case.name, *case.rows))
    ]
    if not found:
        raise click.UsageError(f"no row begins with {words!r}; rows: {', '.join(c.name for c in CASES)}")
    return found


def chosen_subjects(words: str) -> list[str]:
    """The subjects named; all without words."""
    wanted = [word.strip() for word in words.split(",") if word.strip()] or list(SUBJECTS)
    for name in wanted:
        if name not in SUBJECTS:
            raise click.UsageError(f"no subject {name!r}; subjects: {', '.join(SUBJECTS)}")
    return wanted


def check_machine() -> None:
    """Complain before anything is started."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise click.ClickException("the benchmark makes network namespaces: run it on Linux, as root")
    if missing := missing_programs():
        raise click.ClickException(
            f"not installed: {', '.join(missing)} (Debian: apt-get install iproute2 util-linux)"
        )


def _terminated(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


@click.command()
@click.option("--rounds", type=click.IntRange(1), help="Default 3; 1 with --quick.")
@click.option("--rows", default="", help="Only rows that begin so, separated by commas.")
@click.option("--subjects", default="", help=f"Only these: {','.join(SUBJECTS)}.")
@click.option("--quick", is_flag=True, help="Short and small, to see that it works; its figures mean little.")
@click.option("--output", type=click.Path(path_type=Path), default=ROOT / "build", help="Where files go.")
def main(rounds: int | None, rows: str, subjects: str, quick: bool, output: Path) -> None:
    """Measure asyncstack beside the kernel and pmd-pytcp."""
    scale = QUICK if quick else FULL
    results = Results(chosen_subjects(subjects), chosen_cases(rows), scale.held)
    check_machine()
    signal.signal(signal.SIGTERM, _terminated)
    output.mkdir(parents=True, exist_ok=True)
    interrupted = False
    try:
        run(
            results,
            rounds or (1 if quick else 3),
            QUICK if quick else FULL,
            lambda text: click.echo(text, err=True),
        )
    except KeyboardInterrupt:
        interrupted = True
    notes = remarks(results, quick, interrupted)
    report.show(results, notes)
    report.write_json(results, notes, output / "bench.json")
    plot.draw(results, output / "bench.png")
    click.echo(f"written: {output / 'bench.json'}, {output / 'bench.png'}")
    sys.exit(130 if interrupted else 0)


def remarks(results: Results, quick: bool, interrupted: bool) -> list[str]:
    """What a reader of the figures has to know."""
    notes = [
        f"{results.rounds} rounds in {results.seconds:.0f} s; medians, ± half the range; "
        "ratio: asyncstack / kernel. Server on CPU 0, client on CPU 1 unless the row says otherwise."
    ]
    if results.load > BUSY:
        notes.append(
            f"The machine was not quiet (load average {results.load:.1f}): do not trust these figures."
        )
    for name in results.subjects:
        if SUBJECTS[name].most_held < results.held:
            notes.append(
                f"{name} holds {SUBJECTS[name].most_held:,} connections where others hold {results.held:,}."
            )
    if quick:
        notes.append("--quick: short and small; do not quote these figures.")
    if interrupted:
        notes.append("Interrupted: some rows have fewer rounds, or none.")
    return notes


if __name__ == "__main__":
    main()
