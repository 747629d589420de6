"""What came out, as a table and as JSON: each pairing beside kernel to kernel with CUBIC, seed by seed."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from .measure import KERNEL, RATE, Cell, Pairing, Run

BASE: Final = Pairing(KERNEL, KERNEL, "cubic")
AT_LEAST: Final = 0.9  # of Linux, with CUBIC
BUSY_LOSS: Final = 0.01  # from here on BBR has to be ahead of Linux CUBIC
PAYLOAD_SHARE: Final = 1448 / 1500
LINK_FULL: Final = 0.95  # what kernel to kernel has to reach without loss, or the link is the limit


@dataclass
class Results:
    """Runs by cell, pairing and seed, and what went wrong."""

    pairings: list[Pairing]
    cells: list[Cell]
    seconds: float
    runs: dict[tuple[Cell, Pairing, int], Run] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def goodputs(self, cell: Cell, pairing: Pairing) -> dict[int, float]:
        """Seed -> Mbit/s."""
        return {seed: run.goodput for (c, p, seed), run in self.runs.items() if c == cell and p == pairing}

    def ratios(self, cell: Cell, pairing: Pairing) -> list[float]:
        """To the base with the same seed, that is with the same losses."""
        base = self.goodputs(cell, BASE)
        mine = self.goodputs(cell, pairing)
        return [mine[seed] / base[seed] for seed in sorted(mine) if base.get(seed)]


def goal(pairing: Pairing, cell: Cell) -> float | None:
    """The ratio that a pairing has to reach, None where nothing was promised."""
    if pairing == BASE:
        return None
    if pairing.congestion == "cubic":
        return AT_LEAST
    return 1.0 if cell.loss >= BUSY_LOSS and pairing.congestion == "bbr" else None


def spread(values: list[float]) -> float:
    """Half the distance between the extremes."""
    return (max(values) - min(values)) / 2


def table(results: Results) -> str:
    """The text: Mbit/s of the base, ratios of the others; `!` marks what misses its goal."""
    others = [pairing for pairing in results.pairings if pairing != BASE]
    width = max([len(str(pairing)) for pairing in others] + [16]) + 2
    head = f"{'loss':>6} {'RTT':>9}  {'kernel > kernel cubic':>22}"
    lines = [head + "".join(f"{pairing!s:>{width}}" for pairing in others)]
    for cell in results.cells:
        values = list(results.goodputs(cell, BASE).values())
        text = f"{statistics.median(values):7.2f} ±{spread(values):5.2f} Mbit/s" if values else "-"
        line = f"{cell}  {text:>22}"
        for pairing in others:
            line += f"{_ratio(results.ratios(cell, pairing), goal(pairing, cell)):>{width}}"
        lines.append(line)
    return "\n".join(lines)


def _ratio(ratios: list[float], wanted: float | None) -> str:
    if not ratios:
        return "-  "
    middle = statistics.median(ratios)
    mark = "!" if wanted is not None and middle < wanted else " "
    return f"{middle:6.2f} ±{spread(ratios):4.2f} {mark}"


def remarks(results: Results) -> list[str]:
    """What a reader of the figures has to know."""
    notes = []
    if results.runs:
        cpu = max(run.link_cpu for run in results.runs.values())
        late = max(run.seen["late"] for run in results.runs.values())
        notes.append(
            f"The link process took at most {cpu:.0%} of a CPU; {late:.1%} of its turns were late by 1 ms."
        )
    for cell in results.cells:
        values = list(results.goodputs(cell, BASE).values())
        if not cell.loss and values and statistics.median(values) < LINK_FULL * RATE / 1e6 * PAYLOAD_SHARE:
            notes.append(f"Kernel to kernel does not fill the link at{cell}: do not trust these figures.")
    return notes + results.failures


def write_json(results: Results, path: Path) -> None:
    """All runs."""
    runs: list[dict[str, Any]] = [
        {**asdict(cell), **asdict(pairing), "seed": seed, **asdict(run)}
        for (cell, pairing, seed), run in results.runs.items()
    ]
    told = {"rate": RATE, "seconds": results.seconds, "runs": runs, "notes": remarks(results)}
    path.write_text(json.dumps(told, indent=1) + "\n")
