"""`python -m tests.bench.loss`: the command line."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path
from typing import Final

import click

from asyncstack.transport.tcp.congestion import Controllers

from .measure import KERNEL, ROOT, STACK, Cell, Pairing, RunError, measure
from .report import BASE, Results, remarks, table, write_json

QUIET_LOCK: Final = Path("/tmp/quiet.lock")
LOSSES: Final = (0.0, 0.001, 0.01, 0.03, 0.10)
TRIPS: Final = (0.001, 0.020, 0.100)
OVERHEAD: Final = 1.5  # seconds of a run beside the measurement: three processes start, a handshake
QUICK: Final = ((0.0, 0.020), (0.01, 0.020), (0.03, 0.001))


def chosen_cells(words: str, quick: bool) -> list[Cell]:
    """The cells: all, or those like `1%x20` (loss in percent, RTT in milliseconds), separated by commas."""
    if not words:
        return [Cell(*pair) for pair in QUICK] if quick else [Cell(p, trip) for p in LOSSES for trip in TRIPS]
    cells = []
    for word in words.split(","):
        loss, _, trip = word.strip().partition("x")
        try:
            cells.append(Cell(float(loss.rstrip("%")) / 100, float(trip) / 1000))
        except ValueError:
            raise click.UsageError(f"--cells {word!r}: write 1%x20 for 1 % loss and 20 ms") from None
        if not (0.0 <= cells[-1].loss < 1.0 and 0.0 < cells[-1].trip <= 1.0):
            raise click.UsageError(f"--cells {word!r}: a loss below 100 % and an RTT of up to 1000 ms")
    return cells


def chosen_pairings(words: str) -> list[Pairing]:
    """Kernel to kernel, kernel to us, and us to the kernel with each of the controls named."""
    known = Controllers().names
    names = (
        [word.strip() for word in words.split(",")] if words else [n for n in ("cubic", "bbr") if n in known]
    )
    for name in names:
        if name not in known:
            raise click.UsageError(f"--controllers: no {name!r}; choose from {', '.join(known)}")
    return [BASE, Pairing(KERNEL, STACK, "cubic"), *(Pairing(STACK, KERNEL, name) for name in names)]


@click.command()
@click.option("--cells", default="", help="Only these, e.g. 1%x20,10%x100 (loss x RTT in ms).")
@click.option("--seeds", type=click.IntRange(1, 100), help="Runs of a cell, default 5; 1 with --quick.")
@click.option(
    "--seconds", type=click.FloatRange(0.5, 600), help="Length of a run, default 10; 3 with --quick."
)
@click.option("--controllers", default="", help="Ours, as senders; default cubic,bbr.")
@click.option(
    "--quick", is_flag=True, help="Three cells, short, to see that it works; the figures mean little."
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=ROOT / "build", help="Where the file goes."
)
def main(
    cells: str, seeds: int | None, seconds: float | None, controllers: str, quick: bool, output: Path
) -> None:
    """Goodput on a bad link beside Linux's, on the same link with the same losses."""
    seeds = seeds or (1 if quick else 5)
    seconds = seconds or (3.0 if quick else 10.0)
    results = Results(chosen_pairings(controllers), chosen_cells(cells, quick), seconds)
    if sys.platform != "linux" or os.geteuid() != 0:
        raise click.ClickException("this makes network namespaces: run it on Linux, as root")
    total = len(results.cells) * len(results.pairings) * seeds
    click.echo(
        f"{total} runs of {seconds:g} s: about {total * (seconds + OVERHEAD) / 60:.0f} minutes", err=True
    )
    output.mkdir(parents=True, exist_ok=True)
    try:
        run_all(results, seeds)
    except KeyboardInterrupt:
        results.failures.append("Interrupted: some cells have fewer seeds, or none.")
    click.echo(table(results))
    for note in remarks(results):
        click.echo(note)
    write_json(results, output / "bench_loss.json")
    click.echo(f"written: {output / 'bench_loss.json'}")


def run_all(results: Results, seeds: int) -> None:
    """Seed by seed, so that what comes first is a whole table; the pairings of a cell one after the other."""
    for seed in range(1, seeds + 1):
        for cell in results.cells:
            with QUIET_LOCK.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # one measurement at a time on this machine
                for pairing in results.pairings:
                    run_one(results, pairing, cell, seed)


def run_one(results: Results, pairing: Pairing, cell: Cell, seed: int) -> None:
    begin = time.monotonic()
    where = f"seed {seed} {cell} {pairing}"
    try:
        run = measure(pairing, cell, seed, results.seconds)
    except (RunError, OSError) as exc:
        results.failures.append(f"{where}: {exc}")
        click.echo(results.failures[-1], err=True)
        return
    results.runs[cell, pairing, seed] = run
    click.echo(
        f"{where}: {run.goodput:.2f} Mbit/s (link {run.link_cpu:.0%} CPU, {time.monotonic() - begin:.1f} s)",
        err=True,
    )


if __name__ == "__main__":
    main()
