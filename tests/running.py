"""Programs that the tests start: what they print, and how they end."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

CHECKOUT = Path(__file__).parents[1]

PR_SET_PDEATHSIG = 1


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Of a program under test, in any folder."""
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONWARNINGS": "error", "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(paths)}
    return {**os.environ, **own, **environment}


def die_with_parent() -> None:
    """Have the calling process killed when the one that forked it ends, however that ends. Credentials come before."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Running:
    """A program in the checkout (or `cwd`), killed at the end of the `with` if it has not ended by itself."""

    def __init__(
        self, *command: str, cwd: Path = CHECKOUT, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=_variables(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self, timeout: float = 30.0) -> str:
        """The next line of its output; "" at the end, also of `timeout` seconds."""
        watchdog = threading.Timer(timeout, self.process.kill)
        watchdog.start()
        try:
            return self.process.stdout.readline().rstrip("\n")
        finally:
            watchdog.cancel()

    def url(self) -> str:
        """The first URL of the next line."""
        line = self.line()
        return next((word for word in line.split() if "://" in word), f"no URL in {line!r}")

    def end(self, number: int = signal.SIGINT, timeout: float = 30.0) -> tuple[int, str, str]:
        """Send a signal; (exit status, rest of the output, errors)."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


def run(
    *command: str,
    cwd: Path = CHECKOUT,
    timeout: float = 60.0,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    variables = _variables(environment)
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=timeout)


def cli(*arguments: str) -> Sequence[str]:
    """The command line of `asyncstack` with `arguments`."""
    return (sys.executable, "-m", "asyncstack", *arguments)
