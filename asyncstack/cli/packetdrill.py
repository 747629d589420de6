"""`asyncstack packetdrill`: run scripts, say what came of each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from asyncstack.testing.packetdrill import Outcome, Result, run_file
from asyncstack.testing.packetdrill.report import summarize

_STYLES = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.UNSUPPORTED: "yellow"}


def collect(paths: Iterable[Path]) -> list[Path]:
    """The scripts that `paths` name: files as they are, of a directory all *.pkt below, sorted."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob("*.pkt")) if path.is_dir() else [path]
    return found


def run_scripts(
    paths: Iterable[Path], verbose: bool, options: dict[str, str], defined: Iterable[str] = ()
) -> bool:
    """Run all, print failures (and with `verbose` everything) and a summary. False if one failed."""
    results = []
    for path in collect(paths):
        result = run_file(path, dict(word.split("=", 1) for word in defined), **options)
        results.append(result)
        _print(result, verbose)
    click.echo(summarize(results))
    return bool(results) and all(result.outcome is not Outcome.FAIL for result in results)


def _print(result: Result, verbose: bool) -> None:
    if verbose:
        for line in result.output:
            click.echo(line)
    if verbose or result.outcome is not Outcome.PASS:
        first, *rest = result.text().splitlines()
        click.secho(first, fg=_STYLES[result.outcome])
        for line in rest:
            click.echo(line)
