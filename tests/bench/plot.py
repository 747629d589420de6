"""The picture of a run, build/bench.png: how far each row is from its goals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from .report import number, verdicts
from .rows import Against, Row
from .run import Results
from .verdict import KERNEL, OURS, PEER

COLOURS = {OURS: "#2a6f97", PEER: "#c77d3a"}
FIRST, FINAL = "#d1495b", "#2e933c"
REFERENCE = "#222222"
BACKGROUND = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
BAR = 0.38


def draw(results: Results, path: Path) -> None:
    """Two panels: rows against the kernel, and rows with a goal of their own. Log scale, right is better."""

    def median(row: Row, subject: str) -> float | None:
        return results.outcome(row.name, subject).median or None

    rows = [verdict.row for verdict in verdicts(results)]
    panels: list[tuple[str, list[Row], Callable[[Row], float]]] = [
        (
            "share of the kernel's performance in the same run",
            [
                row
                for row in rows
                if row.against is not Against.ITSELF and median(row, KERNEL) and row.name != "flood-rate"
            ],
            lambda row: median(row, KERNEL) or 1.0,
        ),
        (
            "share of the first goal, rows with a goal of their own",
            [row for row in rows if row.against is Against.ITSELF],
            lambda row: row.first,
        ),
    ]
    panels = [panel for panel in panels if panel[1]]
    if not panels:
        return
    figure, axes = plt.subplots(
        len(panels), 1, squeeze=False, constrained_layout=True,
        figsize=(10, 1.0 + sum(1.2 + 0.4 * len(rows) for _, rows, _ in panels)),
        height_ratios=[len(rows) + 3 for _, rows, _ in panels],
    )  # fmt: skip
    for axis, (title, rows, reference) in zip(axes[:, 0], panels, strict=True):
        _panel(axis, title, rows, reference, median)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(
    axis: Axes,
    title: str,
    rows: list[Row],
    reference: Callable[[Row], float],
    median: Callable[[Row, str], float | None],
) -> None:
    """A bar for each row and subject, its length the performance over the reference's; goals as ticks."""
    extent = [0.1, 1.0]
    for index, row in enumerate(rows):
        for place, (name, colour) in enumerate(COLOURS.items()):
            value = median(row, name)
            if value is None:
                continue
            length = row.times_better(value, reference(row))
            where = index + (place - 0.5) * BAR
            axis.barh(where, length, BAR, color=colour)
            axis.annotate(
                f" {number(value)} {row.unit}", (length, where), va="center", fontsize=7, color=REFERENCE
            )
            extent.append(length)
        for goal, colour in ((row.first, FIRST), (row.final, FINAL)):
            if row.against is not Against.NOTHING:
                at = row.times_better(goal, row.first if row.against is Against.ITSELF else 1.0)
                axis.vlines(at, index - 0.42, index + 0.42, color=colour, linewidth=2)
                extent.append(at)
    axis.axvline(1.0, color=REFERENCE, linewidth=0.8, zorder=0)
    axis.set_xscale("log")
    axis.set_xlim(min(extent) / 2, max(extent) * 3)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=8)
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(f"{title} (log scale, right is better)", loc="left", fontsize=10)
    _legend(axis)


def _label(row: Row) -> str:
    return row.title.strip() + (f" ({row.api})" if row.api in ("streams", "BufferedProtocol") else "")


def _legend(axis: Axes) -> None:
    bars = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in COLOURS.values()]
    ticks = [plt.Line2D([], [], color=colour, linewidth=2) for colour in (FIRST, FINAL)]
    axis.legend(
        [*bars, *ticks], [*COLOURS, "first goal", "the goal"],
        loc="upper center", bbox_to_anchor=(0.5, -0.06 if len(axis.get_yticks()) > 6 else -0.15),
        ncols=4, fontsize=8, frameon=False,
    )  # fmt: skip
