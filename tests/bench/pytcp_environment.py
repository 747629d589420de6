"""The virtual environment of pmd-pytcp, under build/. It is a peer to measure, never a dependency."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .workers import ROOT, NotOfferedError

FOLDER = ROOT / "build" / "pmd-pytcp"
PACKAGES = ("pmd-pytcp", "uvloop", "httptools")
WORKS = "import pmd_pytcp.stack, pmd_pytcp.socket, uvloop, httptools"


def make() -> Path:
    """Its interpreter, made first if need be. Raises NotOfferedError when it can not be had here."""
    interpreter = FOLDER / "bin" / "python"
    if _run([str(interpreter), "-c", WORKS]) is None:
        return interpreter
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(FOLDER)],
        [str(interpreter), "-m", "pip", "install", "--quiet", *PACKAGES],
        [str(interpreter), "-c", WORKS],
    ):
        if reason := _run(command):
            raise NotOfferedError(f"can not be installed: {reason}")
    return interpreter


def version() -> str:
    """The version installed, for the record."""
    code = "import importlib.metadata as m; print(m.version('pmd-pytcp'))"
    done = subprocess.run(
        [str(FOLDER / "bin" / "python"), "-c", code], capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


def _run(command: list[str]) -> str | None:
    """None if it worked, else the last line of what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return str(exc)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
