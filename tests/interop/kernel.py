"""Runs the programs of `peers.py`, and others, in the network namespace of the test."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.programs import require_program

HERE = Path(__file__).parent
SECONDS = 60  # for anything; a test that waits this long has failed


class Program:
    """A running program that talks JSON, a line at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def said(self) -> Any:
        """Its next line. Fails if it ended without one."""
        async with asyncio.timeout(SECONDS):
            line = await self._process.stdout.readline()
        assert line, "the program ended without a word"
        return json.loads(line)

    def tell(self) -> None:
        """Let it go on."""
        self._process.stdin.write(b"\n")

    async def ended(self) -> Any:
        """What it said last. It must end well."""
        async with asyncio.timeout(SECONDS):
            output = await self._process.stdout.read()
            assert await self._process.wait() == 0
        lines = output.splitlines()
        return json.loads(lines[-1]) if lines else None

    async def kill(self) -> None:
        """SIGKILL: the kernel closes what it had open."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def peer(
    name: str, site: bool = False, file: str = "peers.py", **arguments: Any
) -> AsyncIterator[Program]:
    """Function `name` of `peers.py`, or another `file`, in a process of its own; killed at the end if it still runs."""
    pipe = asyncio.subprocess.PIPE
    flags = ("-I",) if site else ("-I", "-S")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *flags, str(HERE / file), name, json.dumps(arguments), stdin=pipe, stdout=pipe
    )
    program = Program(process)
    try:
        yield program
    finally:
        process.stdin.close()
        await program.kill()


async def run(command: str, *arguments: str, status: int = 0) -> str:
    """What a program of the system prints; it must end with `status`."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        require_program(command), *arguments, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    text = output.decode()
    assert process.returncode == status, f"{command} {arguments}: {process.returncode}\n{text}"
    return text


@asynccontextmanager
async def talking(
    command: str, *arguments: str, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """A program of the system that runs until the end; its process, and the lines that it has said."""
    process = await asyncio.create_subprocess_exec(
        require_program(command),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | environment,
    )
    said: list[str] = []

    async def listen() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            said.append(line.decode().rstrip())

    listening = asyncio.create_task(listen())
    try:
        yield process, said
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await listening
        print(*said, sep="\n")  # shown if the test fails


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` holds; the loop runs meanwhile."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.005)
