"""Takes a script through: each event at its time, each expectation held against what happens."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Final

from asyncstack.testing.clock import TimeLimitError, VirtualTimeLoop
from asyncstack.testing.packetdrill.code import Code
from asyncstack.testing.packetdrill.compare import describe_line, describe_seen, differences
from asyncstack.testing.packetdrill.constants import errno_name, number
from asyncstack.testing.packetdrill.reader import read_script
from asyncstack.testing.packetdrill.report import Mismatch, Outcome, Result, describe_event, side_by_side
from asyncstack.testing.packetdrill.script import (
    DOTS,
    CallLine,
    Clock,
    CodeLine,
    CommandLine,
    Event,
    PacketLine,
    Script,
    ScriptError,
    UnsupportedError,
    When,
)
from asyncstack.testing.packetdrill.settings import Settings
from asyncstack.testing.packetdrill.stage import Options, Stage

TOLERANCE: Final = 0.004  # seconds, packetdrill's own
_PATIENCE: Final = 3 * 3600.0  # how long `*` waits, virtual seconds
_EPSILON: Final = 1e-9


def run_file(path: str | Path, defined: Mapping[str, str] | None = None, **options: str) -> Result:
    """Run the script at `path`. `defined` are words with a meaning, as `--define=NAME=VALUE` gives them; `options` are
    its flags (`ip_version="ipv6"`, `tolerance_usecs="10000"`) and stand above those in the file. Raises OSError if it
    can not be read."""
    text = Path(path).read_text(encoding="utf-8")
    if "ip_version" not in options and re.search(r"ipv6|[-_]v6", Path(path).stem):
        options["ip_version"] = "ipv6"
    return run_text(text, str(path), defined, **options)


def run_text(
    text: str, path: str = "<script>", defined: Mapping[str, str] | None = None, **options: str
) -> Result:
    """Run the script in `text`; `path` is what reports call it. Nothing that a script says makes it raise."""
    try:
        script = read_script(text, defined)
        settings = Settings()
        for event in script.init:
            assert isinstance(event.action, CommandLine)
            settings.run(event.action.text)
    except UnsupportedError as exc:
        return Result(path, Outcome.UNSUPPORTED, str(exc))
    except ScriptError as exc:
        return Result(path, Outcome.FAIL, str(exc))
    runner = Runner(path, script, settings, {**dict(script.options), **options})
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as loop:
        return loop.run(runner.run())


class Runner:
    """One run of one script, on a `VirtualTimeLoop`."""

    def __init__(self, path: str, script: Script, settings: Settings, options: Options) -> None:
        self._path = path
        self._script = script
        self._settings = settings
        self._options = options
        self._tolerance = int(options.get("tolerance_usecs", TOLERANCE * 1e6)) / 1e6 + _EPSILON
        self._tick = int(options.get("tcp_ts_tick_usecs", "0")) / 1e6
        self._code = Code()
        self._running: _Running | None = None
        self._errors: list[str] = []  # what the stack raised into the loop
        self._last: tuple[Event, float] | None = None  # the event before, and its time

    async def run(self) -> Result:
        """The result; the script's failures do not raise."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._note_error)
        event = None
        outcome, reason, details = Outcome.PASS, "", []
        stage = None
        try:
            self._stage = stage = Stage(self._settings, self._options)
            for event in self._script.events:
                await self._settle()
                await self._play(event)
                self._raise_errors()
            await self._finish_call()
        except UnsupportedError as exc:
            outcome, reason = Outcome.UNSUPPORTED, str(exc)
        except (Mismatch, ScriptError, TimeLimitError) as exc:
            outcome, reason = Outcome.FAIL, str(exc)
            details = self._details(event, getattr(exc, "details", []))
        except Exception as exc:  # of the stack, or of this runner: told like any failure
            outcome, reason = Outcome.FAIL, f"{type(exc).__name__}: {exc}"
            details = traceback.format_exc().splitlines()[-7:-1]
        finally:
            await self._end(stage)
        line = event.line if event is not None and outcome is not Outcome.PASS else 0
        return Result(self._path, outcome, reason, line, details, self._code.output)

    def _details(self, event: Event | None, known: list[str]) -> list[str]:
        details = list(known)
        if event is not None and not known:
            details.append(f"script  {describe_event(event)}")
        details.append(f"clock   {self._loop.time():.6f}")
        details.append(f"state   {self._stage.state()}")
        left = self._stage.left()
        if left:
            details += ["sent and not asked for:", *(f"  {line}" for line in left)]
        return details

    def _note_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _raise_errors(self) -> None:
        if self._errors:
            raise Mismatch(f"the stack raised: {self._errors[0]}")

    async def _end(self, stage: Stage | None) -> None:
        if self._running is not None:
            self._running.task.cancel()
            await asyncio.gather(self._running.task, return_exceptions=True)
        if stage is not None:
            await stage.close()

    async def _settle(self) -> None:
        """Let everything happen that is due now."""
        rest = self._loop.create_future()
        self._loop.call_soon_threadsafe(rest.set_result, None)
        await rest

    # time

    def _times(self, event: Event) -> tuple[float, float]:
        """When the event is due on the loop's clock: (from, to), equal where the script gives no range."""
        when = event.when
        if when.clock is Clock.ABSOLUTE:
            return when.start, when.end
        base = self._base(event)
        if when.clock is Clock.ANY:
            return base, base + _PATIENCE
        return base + when.start, base + when.end

    def _base(self, event: Event) -> float:
        """What a relative time counts from: now, but of a row of injected packets the time of the one before."""
        last = self._last
        if last is not None and _injects(last[0]) and _injects(event):
            return last[1]
        return self._loop.time()

    async def _sleep_until(self, time: float) -> None:
        if time > self._loop.time():
            await asyncio.sleep(time - self._loop.time())
            await self._settle()

    # events

    async def _play(self, event: Event) -> None:
        start, end = self._times(event)
        action = event.action
        if isinstance(action, PacketLine) and action.outbound:
            await self._expect(event, action, start, end)
        else:
            if start < self._loop.time() - self._tolerance:
                raise Mismatch(f"it is {self._loop.time():.6f} already, and the script says {start:.6f}")
            await self._sleep_until(start)
            if isinstance(action, PacketLine):
                self._stage.inject(action)
                await self._settle()
            elif isinstance(action, CallLine):
                await self._call(event, action, start)
            elif isinstance(action, CodeLine):
                self._code.run(action.source, self._stage.code_values())
            else:
                self._settings.run(action.text)
        self._stage.calls.observe()
        self._last = event, start if _injects(event) else self._loop.time()

    async def _expect(self, event: Event, line: PacketLine, start: float, end: float) -> None:
        seen = await self._stage.expect(line, end + self._tolerance, self._tolerance)
        wanted_at = _time_text(event.when, start, end)
        script = describe_line(line)
        if seen is None:
            now = f"{self._loop.time():.6f}"
            raise Mismatch("no packet", side_by_side(script, "(nothing)", wanted_at, now)[:2])
        wrong = differences(line, seen, self._tick, self._tolerance)
        if (
            not start - self._tolerance <= seen.time <= end + self._tolerance
            and event.when.clock is not Clock.ANY
        ):
            wrong.append("time")
        if wrong:
            actual = describe_seen(seen, line)
            raise Mismatch(
                f"another packet: {', '.join(wrong)}",
                side_by_side(script, actual, wanted_at, f"{seen.time:.6f}"),
            )

    async def _call(self, event: Event, line: CallLine, start: float) -> None:
        await self._finish_call()
        due = start if line.end is None else line.end
        if event.when.clock is Clock.RELATIVE and line.end is not None:
            due += start - event.when.start
        self._running = _Running(self._stage.calls.call(line), event, due)
        if line.end is None:
            await self._finish_call()
        else:
            await self._settle()

    async def _finish_call(self) -> None:
        """Wait for the call that is under way, and check how and when it ended."""
        running = self._running
        if running is None:
            return
        wait = max(running.due + self._tolerance - self._loop.time(), 0.0)
        await asyncio.wait([running.task], timeout=wait)
        await self._settle()
        script = f"script  {describe_event(running.event)}"
        if not running.task.done():
            raise Mismatch(f"{running.line.name}() has not returned", [script])
        self._running = None
        _check_result(running.line, running.task, script)
        if abs(running.ended_at - running.due) > self._tolerance:
            what = f"{running.line.name}() returned at {running.ended_at:.6f}"
            raise Mismatch(f"{what}, the script says {running.due:.6f}", [script])


class _Running:
    """A system call under way: when it is `due` to return, and when it did."""

    def __init__(self, call: Awaitable[int], event: Event, due: float) -> None:
        assert isinstance(event.action, CallLine)
        self.line = event.action
        self.event = event
        self.due = due
        self.ended_at = 0.0
        self.task: asyncio.Future[int] = asyncio.ensure_future(call)
        self.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[int]) -> None:
        self.ended_at = task.get_loop().time()


def _injects(event: Event) -> bool:
    return isinstance(event.action, PacketLine) and not event.action.outbound


def _time_text(when: When, start: float, end: float) -> str:
    if when.clock is Clock.ANY:
        return "*"
    return f"{start:.6f}" if start == end else f"{start:.6f}~{end:.6f}"


def _check_result(line: CallLine, task: asyncio.Future[int], script: str) -> None:
    """Hold what a call returned, or its errno, against the script."""
    error = task.exception()
    if error is not None and not isinstance(error, OSError):
        raise error
    if isinstance(error, OSError):
        name = errno_name(error.errno)
        if line.result is DOTS or (line.result == -1 and line.errno in (name, "")):
            return
        raise Mismatch(f"{line.name}() failed with {name}", [script, f"actual  -1 {name} ({error})"])
    found = task.result()
    if line.result is not DOTS and found != number(line.result):
        wanted = f"-1 {line.errno}" if line.errno else str(number(line.result))
        raise Mismatch(f"{line.name}() returned {found}, not {wanted}", [script, f"actual  {found}"])
