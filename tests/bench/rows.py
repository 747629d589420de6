"""The rows of the table and their goals: shared/TARGETS.md as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Against(Enum):
    """What a goal is measured against."""

    KERNEL = "kernel"  # ratio to the kernel's value of the same run
    ITSELF = "itself"  # the value itself, in the row's unit
    NOTHING = "nothing"  # shown without a goal


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `first` and `final` are the goals of the first issue and of the project; lower is better for a row with
    `lower`. `peer` is how many times better than pmd-pytcp it has to be (first, final).
    """

    name: str
    title: str
    api: str
    unit: str
    lower: bool = False
    against: Against = Against.NOTHING
    first: float = 0.0
    final: float = 0.0
    peer: tuple[float, float] | None = None

    def reached(self, figure: float, goal: float) -> bool:
        """Whether `figure` (a ratio or a value, as `against` says) is at least as good as `goal`."""
        return figure <= goal if self.lower else figure >= goal

    def times_better(self, ours: float, theirs: float) -> float:
        """How many times better `ours` is than `theirs`; inf where theirs is nothing."""
        better, worse = (theirs, ours) if self.lower else (ours, theirs)
        return better / worse if worse else float("inf")


KERNEL, ITSELF = Against.KERNEL, Against.ITSELF
PEER = (20.0, 50.0)
GBIT, US, RATE = "Gbit/s", "us", "/s"

ROWS = (
    Row("upload-streams", "upload, 1 connection", "streams", GBIT, False, KERNEL, 0.25, 0.5, PEER),
    Row("upload-buffered", "upload, 1 connection", "BufferedProtocol", GBIT, False, KERNEL, 0.25, 0.5, PEER),
    Row("download-streams", "download, 1 connection", "streams", GBIT, False, KERNEL, 0.35, 0.8, PEER),
    Row("download-buffered", "download, 1 connection", "BufferedProtocol", GBIT, False, KERNEL, 0.35, 0.8, PEER),
    Row("latency-1cpu", "64 bytes there and back, one CPU", "Protocol", US, True, KERNEL, 3.0, 1.25, PEER),
    Row("latency-1cpu-p99", "  p99, one CPU", "Protocol", US, True),
    Row("latency-2cpu", "64 bytes there and back, two CPUs", "Protocol", US, True),
    Row("latency-2cpu-p99", "  p99, two CPUs", "Protocol", US, True),
    Row("http-1", "HTTP keep-alive, 1 connection", "Protocol", RATE, False, KERNEL, 0.35, 0.8, PEER),
    Row("http-50", "HTTP keep-alive, 50 connections", "Protocol", RATE, False, KERNEL, 0.3, 0.8, PEER),
    Row("http-200", "HTTP keep-alive, 200 connections", "Protocol", RATE, False, KERNEL, 0.3, 0.8, PEER),
    Row("asgi-50", "uvicorn and FastAPI, 50 connections", "ASGI", RATE, False, KERNEL, 0.5, 0.9),
    Row("https-download", "one answer over HTTPS, uvicorn", "ASGI", GBIT),
    Row("connections", "connect, 1 byte, close: 50 at once", "Protocol", RATE, False, KERNEL, 0.15, 0.5, PEER),
    Row("memory", "memory per idle connection", "Protocol", "bytes", True, ITSELF, 16384, 6144),
    Row("segments-received", "segments received per CPU second", "BufferedProtocol", RATE, False, ITSELF, 30e3, 100e3),
    Row("segments-sent", "segments sent per CPU second", "BufferedProtocol", RATE, False, ITSELF, 30e3, 100e3),
    Row("one-process-bulk", "two ends in one process, bulk", "Protocol", GBIT, False, ITSELF, 5, 20),
    Row("one-process-latency", "two ends in one process, 64 bytes", "Protocol", RATE, False, KERNEL, 0.4, 1.0),
    Row("import", "import asyncstack, Stack", "", "ms", True, ITSELF, 80, 30),
    Row("idle-stack-time", "one more idle stack: time", "", "ms", True, ITSELF, 1, 0.3),
    Row("idle-stack-memory", "one more idle stack: memory", "", "KiB", True, ITSELF, 100, 30),
    Row("simulated", "simulated packets, impaired link", "Protocol", RATE, False, ITSELF, 12e3, 50e3),
    Row("site-configured", "200 hosts get addresses by DHCP and SLAAC", "", "s", True),
    Row("site-time", "  and ask two others each, by name", "HTTP", "s", True),
    Row("site-memory", "  memory per host", "", "KiB", True),
    Row("growth-latency", "latency, many / 10 connections", "Protocol", "times", True, ITSELF, 1.3, 1.1),
    Row("growth-cpu", "CPU per request, many / 10", "Protocol", "times", True, ITSELF, 1.3, 1.1),
    Row("flood-lag", "UDP flood: worst lag of sleep(0.01)", "Protocol", "ms", True),
    Row("flood-transfer", "UDP flood: download on the other interface", "Protocol", GBIT),
    Row("flood-before", "no flood: the same download", "Protocol", GBIT),
    Row("flood-rate", "UDP flood: datagrams sent", "", RATE),
)  # fmt: skip
BY_NAME = {row.name: row for row in ROWS}
