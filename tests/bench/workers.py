"""A process of the benchmark, seen from the benchmark: commands with a time limit, and an end for certain."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class StepError(Exception):
    """A step of a case went wrong; the text is the reason shown in the table."""


class NotOfferedError(Exception):
    """The subject has no such thing; the text is the reason shown in the table."""


def pinned(cpu: int | None) -> list[str]:
    """The command prefix that holds a process on one CPU (modulo those there are)."""
    return [] if cpu is None else ["taskset", "-c", str(cpu % (os.cpu_count() or 1))]


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package with this interpreter."""
    return [sys.executable, "-m", f"tests.bench.{module}", *arguments]


class Worker:
    """A child that answers JSON lines. A context manager; leaving it ends the child."""

    def __init__(self, command: Sequence[str], name: str) -> None:
        self.name = name
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed by end()
        # Its own session: Ctrl-C reaches the benchmark alone, which then ends everything in order.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=ROOT,
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._received = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    def ask(self, do: str, *, timeout: float = 15.0, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its reply."""
        self.send(do, **arguments)
        return self.wait(timeout, do)

    def send(self, do: str, **arguments: Any) -> None:
        """Send a command; `wait` for the reply later."""
        try:
            self._stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._stdin.flush()
        except OSError:
            raise StepError(f"{self.name} has ended: {self._last_words()}") from None

    def wait(self, timeout: float, what: str = "reply") -> dict[str, Any]:
        """The next reply. Raises StepError when there is none in `timeout` seconds, or when it is an error."""
        line = self._read_line(time.monotonic() + timeout, f"{self.name}: no {what} in {timeout:g} s")
        result: dict[str, Any] = json.loads(line)
        if "error" in result:
            raise StepError(f"{self.name}: {result['error']}")
        return result

    def _read_line(self, until: float, too_late: str) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(max(until - time.monotonic(), 0.0)):
                    raise StepError(too_late)
                data = os.read(self._stdout.fileno(), 65536)
                if not data:
                    raise StepError(f"{self.name} has ended: {self._last_words()}")
                self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _last_words(self) -> str:
        """The last line of what it wrote to stderr, which is where a traceback has the reason."""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def end(self) -> None:
        """End the child: by the end of its input, else by force. Its pipes are closed."""
        try:
            self._stdin.close()
        except OSError:
            pass
        for patience, force in ((5.0, self._process.terminate), (2.0, self._process.kill), (5.0, None)):
            try:
                self._process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                if force is not None:
                    force()
        self._stdout.close()
        self._stderr.close()
