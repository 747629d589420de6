"""The process that keeps a network namespace alive; started inside it."""

from __future__ import annotations

from pathlib import Path

from .lines import serve_lines


def settings(values: dict[str, str]) -> None:
    """Write sysctls of this namespace; those that this kernel does not have are left alone."""
    for name, value in values.items():
        path = Path("/proc/sys") / name
        if path.exists():
            path.write_text(value)


serve_lines({"settings": settings})
