"""Runs a command's coroutine: on uvloop, ended by Ctrl-C or SIGTERM alike, errors of use in one line."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, NoReturn

import click

USAGE_ERROR = 2
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def say(message: str) -> None:
    """Write `message` to stderr, in one line."""
    click.echo(f"asyncstack: {' '.join(message.split())}", err=True)


def fail(message: str) -> NoReturn:
    """Say `message` in one line and end with exit status 2."""
    say(message)
    raise SystemExit(USAGE_ERROR)


def invoke(command: click.Command, name: str) -> NoReturn:
    """Run `command` on the arguments of this process and end the process; a wrong use is told in one line."""
    try:
        raise SystemExit(command.main(prog_name=name, standalone_mode=False) or 0)
    except click.UsageError as exc:
        where = exc.ctx.command_path if exc.ctx is not None else name
        if exc.ctx is not None and exc.message == exc.ctx.get_help():  # no arguments at all
            click.echo(exc.message, err=True)
            raise SystemExit(USAGE_ERROR) from None
        fail(f"{exc.format_message().rstrip('.')} (see {where} --help)")
    except click.ClickException as exc:
        fail(exc.format_message())
    except (click.Abort, KeyboardInterrupt):
        raise SystemExit(128 + signal.SIGINT) from None


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end, or until SIGINT or SIGTERM cancels it; what it holds is given back either way."""
    from asyncstack.loop.loops import EventLoop

    try:
        with asyncio.Runner(loop_factory=EventLoop) as runner:
            runner.run(_until_signal(main))
    except (OSError, ValueError) as exc:
        fail(explain(exc))


def explain(exc: OSError | ValueError) -> str:
    """What to say of `exc`: what, and where."""
    if not isinstance(exc, OSError) or not exc.strerror:
        return str(exc)
    return f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror


class NotBegunError(Exception):
    """A signal ended a command that had done nothing yet of what it is for."""


@contextlib.contextmanager
def beginning() -> Iterator[None]:
    """A signal that comes meanwhile is no good end of the command: its exit status tells of the signal."""
    try:
        yield
    except asyncio.CancelledError:
        raise NotBegunError from None


async def _until_signal(main: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    came = []

    def ended(number: int) -> None:
        came.append(number)
        task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, ended, number)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    except NotBegunError:
        raise SystemExit(128 + came[0]) from None
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def on_signal(callback: Callable[[int], object]) -> Iterator[None]:
    """Have SIGINT and SIGTERM call `callback(number)` meanwhile, instead of cancelling the command's task, this one."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in SIGNALS:
        loop.add_signal_handler(number, callback, number)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.add_signal_handler(number, task.cancel)


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()
