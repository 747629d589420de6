"""Runs a command's coroutine: on uvloop, ended by Ctrl-C or SIGTERM alike, errors of use in one line."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn

import click

USAGE_ERROR = 2


def fail(message: str) -> NoReturn:
    """Say `message` in one line and end with exit status 2."""
    click.echo(f"asyncstack: {' '.join(message.split())}", err=True)
    raise SystemExit(USAGE_ERROR)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end, or until SIGINT or SIGTERM cancels it; what it holds is given back either way."""
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(main))
    except socket.gaierror as exc:
        fail(exc.strerror or str(exc))
    except (OSError, ValueError) as exc:
        fail(exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc))


async def _until_signal(main: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
