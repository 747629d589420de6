"""The command line. Everything heavy is imported when a command runs."""

from __future__ import annotations


def main() -> None:
    """Entry point of `asyncstack` and of `python -m asyncstack`."""
    from asyncstack.cli.commands import cli
    from asyncstack.cli.running import invoke

    invoke(cli, "asyncstack")
