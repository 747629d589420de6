"""From the outcomes of a row to what the table says about it."""

from __future__ import annotations

from dataclasses import dataclass

from .rows import Against, Row
from .run import Results

KERNEL, OURS, IPV6, PEER = "kernel", "asyncstack", "asyncstack-ipv6", "pmd-pytcp"
CLOSE = 0.05  # what the families may differ by


@dataclass
class Verdict:
    """`figure` is what the goals are compared with: the ratio to the kernel, or the value; None: not measured.

    `first`, `final`, `peer` say whether the goal is reached; None where there is none, or nothing to judge.
    """

    row: Row
    ratio: float | None  # ours to the kernel's
    times_peer: float | None  # how many times better than pmd-pytcp
    figure: float | None
    first: bool | None = None
    final: bool | None = None
    peer: bool | None = None
    gain: float | None = None  # of IPv6 over IPv4, as a share: below -CLOSE it is a second-class family
    alike: bool | None = None


def judge(row: Row, results: Results) -> Verdict:
    """Compare medians of one run."""
    kernel, ours, peer = (results.outcome(row.name, name).median for name in (KERNEL, OURS, PEER))
    ratio = ours / kernel if ours is not None and kernel else None
    times_peer = row.times_better(ours, peer) if ours is not None and peer is not None else None
    figure = {Against.KERNEL: ratio, Against.ITSELF: ours, Against.NOTHING: None}[row.against]
    verdict = Verdict(row, ratio, times_peer, figure)
    if figure is not None:
        verdict.first = row.reached(figure, row.first)
        verdict.final = row.reached(figure, row.final)
    six = results.outcome(row.name, IPV6).median
    if ours and six:
        verdict.gain = row.times_better(six, ours) - 1.0
        verdict.alike = verdict.gain >= -CLOSE
    if row.peer and times_peer is not None:
        verdict.peer = times_peer >= row.peer[0]
    return verdict
