"""`asyncstack run`: a program as Python would run it, on loops that have a stack."""

from __future__ import annotations

import importlib.util
import os
import runpy
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final, NoReturn

import click

from asyncstack.cli.running import explain, fail, say

if TYPE_CHECKING:
    from types import TracebackType

    from asyncstack.cli.interface import InterfaceOptions
    from asyncstack.loop.settings import Settings

LAST_SECONDS: Final = 1.0  # after the stack's close: captures are written, interfaces taken down


class ProgramCommand(click.Command):
    """A command whose options end at `-m MODULE` or at the script: what follows is the program's, as Python has it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's."""
        options = {
            name: one for one in self.get_params(ctx) if isinstance(one, click.Option) for name in one.opts
        }
        at = 0
        while at < len(args) and args[at].startswith("-") and args[at] != "--":
            name, equals, _ = args[at].partition("=")
            if name == "-m":
                return super().parse_args(ctx, [*args[: at + 2], "--", *args[at + 2 :]])
            found = options.get(name)
            at += 1 if equals or found is None or found.is_flag else 2
        return super().parse_args(ctx, args)


def settings_of(interface: InterfaceOptions, network: str | None, config: str | None) -> Settings:
    """What was asked for, by options or else by the environment. Raises SettingsError, OSError, click.UsageError."""
    from asyncstack.loop.running import of_network
    from asyncstack.loop.settings import Settings

    if network is not None and config is not None:
        raise click.UsageError("--network and --config: one file says all of it")
    if network is not None or config is not None:
        interface.check_unused(
            "--network is for a simulated network" if network else "--config says what there is"
        )
        return of_network(network) if network is not None else Settings.read(config or "")
    if interface.tun is None and interface.tap is None:
        found = Settings.from_environment(os.environ)
        if found is not None:
            return found
        raise click.UsageError(
            "say which interface: one of --tun NAME, --tap NAME, --network FILE, --config FILE"
        )
    interface.check()
    return Settings(interface=[interface.settings()])


def run_program(settings: Settings, module: str | None, arguments: tuple[str, ...]) -> NoReturn:
    """Run `module`, or the script that is the first of `arguments`, and end as it ends."""
    from asyncstack.loop.program import Program
    from asyncstack.loop.replacing import replaced

    if module is None and not arguments:
        raise click.UsageError("say what to run: a script, or -m MODULE")
    program = Program(settings, say)
    _close_at_sigterm(settings.stack.close_timeout)
    with replaced(program):
        try:
            _as_python_does(module, arguments)
        except Exception as exc:
            if exc is program.failure and isinstance(exc, (OSError, ValueError)):
                fail(explain(exc))
            trace = _of_the_program(exc.__traceback__)
            sys.excepthook(type(exc), exc.with_traceback(trace), trace)
            raise SystemExit(1) from None
    raise SystemExit(0)


def _close_at_sigterm(close_timeout: float) -> None:
    """Have SIGTERM end the program by SystemExit, on whose way out the stack is closed, unless it gets a handler of its
    own. Another SIGTERM, or a way out that takes too long, is the end."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    process = os.getpid()

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != process:  # a child that the program forked has no stack to close
            os.kill(os.getpid(), number)
        last = threading.Timer(close_timeout + LAST_SECONDS, os.kill, (process, number))
        last.daemon = True
        last.start()
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)


def _as_python_does(module: str | None, arguments: tuple[str, ...]) -> None:
    """Run it as `__main__`, with `sys.argv` and `sys.path` as they would be."""
    sys.argv = [*arguments] if module is None else [module, *arguments]
    script = sys.argv[0]
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd() if module is not None else os.path.dirname(os.path.abspath(script))
    if module is not None:
        if not _is_there(module):
            fail(f"can not run -m {module}: no such module")
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif os.path.exists(script):
        runpy.run_path(script, run_name="__main__")
    else:
        fail(f"can not run {script!r}: no such file")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False  # nor the package that it would be in


def _of_the_program(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from where the program begins."""
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__")
        if name not in ("runpy", __name__) and "importlib" not in str(name):
            return trace
        trace = trace.tb_next
    return trace
