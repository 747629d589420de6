"""Which files of tests run on which loops, what in them does not apply, and the table of what came out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
UVLOOP = ROOT / "build" / "peers" / "uvloop"
EXCLUDED = HERE / "excluded.toml"
COUNTS = HERE / "counts.txt"
SECONDS = 300  # for one file


CPYTHON = (
    "test_streams",
    "test_server",
    "test_buffered_proto",
    "test_sendfile",
    "test_sock_lowlevel",
    "test_sslproto",
    "test_ssl",
    "test_events",
)
PEER_UVLOOP = ("test_tcp", "test_udp", "test_sockets", "test_context")


@dataclass(frozen=True)
class File:
    """One file of a peer's tests on one kind of loop."""

    peer: str
    name: str
    loop: str

    @property
    def chosen(self) -> str:
        """The pattern for tests that are for this kind of loop: uvloop runs some of its own on asyncio's too."""
        return "*" if self.peer == "cpython" else "*UV*" if self.loop == "uvloop" else "*AIO*"

    @property
    def key(self) -> str:
        return f"{self.peer}/{self.name}"

    def __str__(self) -> str:
        return f"{self.key} on {self.loop}"


FILES = [
    *(File("cpython", name, "selector") for name in CPYTHON),
    *(File("uvloop", name, loop) for name in PEER_UVLOOP for loop in ("uvloop", "selector")),
]


@dataclass
class Group:
    """Tests that do not apply, for one reason. `beyond`: Unix sockets, pipes and subprocesses, which are not counted
    against a file."""

    reason: str
    patterns: dict[str, list[str]]
    loops: list[str]
    beyond: bool = False


def groups() -> list[Group]:
    """What `excluded.toml` says."""
    table = tomllib.loads(EXCLUDED.read_text())
    return [
        Group(one["reason"], one["tests"], one.get("loops", ["selector", "uvloop"]), one.get("beyond", False))
        for one in table["group"]
    ]


def excluded_in(file: File) -> list[tuple[Group, str]]:
    """The patterns that leave tests of `file` out."""
    return [
        (group, pattern)
        for group in groups()
        if file.loop in group.loops
        for pattern in group.patterns.get(file.key, [])
    ]


@dataclass
class Result:
    """What came of a file. `failed`: the text of each failure; `beyond`: excluded, but not counted against the file."""

    file: File
    passed: int = 0
    over_stack: int = 0
    excluded: int = 0
    beyond: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)

    @property
    def row(self) -> str:
        numbers = (self.passed, self.over_stack, self.excluded, self.beyond, self.skipped, len(self.failed))
        return f"{self.file.key:<28} {self.file.loop:<9}" + "".join(f"{number:>10}" for number in numbers)


HEADER = f"{'file':<28} {'loop':<9}" + "".join(
    f"{name:>10}" for name in ("passed", "by stack", "excluded", "beyond", "skipped", "failed")
)


def run(file: File, *, seconds: float = SECONDS) -> Result:
    """Run the tests of `file` that apply, in a child process. Raises RuntimeError if that breaks down."""
    left_out = excluded_in(file)
    command = [sys.executable, "-m", "tests.peers.child", file.loop, file.key, file.chosen]
    command += [f"!{pattern}" for _, pattern in left_out]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    if done.returncode or not done.stdout:
        raise RuntimeError(f"{file}: {done.stderr[-2000:]}")
    return count(file, left_out, json.loads(done.stdout.splitlines()[-1]))


def count(file: File, left_out: list[tuple[Group, str]], report: dict[str, Any]) -> Result:
    """The numbers of one report of a child."""
    result = Result(file)
    for name in report["excluded"]:
        group = next(group for group, pattern in left_out if fnmatchcase(name, pattern))
        if group.beyond:
            result.beyond += 1
        else:
            result.excluded += 1
    result.stale = report["stale"]
    kinds = Counter(text.partition(":")[0] for text in report["outcomes"].values())
    result.passed, result.skipped = kinds["passed"], kinds["skipped"]
    result.over_stack = len(report["over_stack"])
    for name, text in report["outcomes"].items():
        if text != "passed" and not text.startswith("skipped:"):
            result.failed[name] = text
    return result
