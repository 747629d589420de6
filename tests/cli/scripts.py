"""Scripts for `asyncstack run`, and what they print."""

import json
import urllib.request
from pathlib import Path

from tests.running import cli, run

NETWORK = ("run", "--network", "net.toml")

ECHO = """
import asyncio, sys

async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
    writer.close()

async def main():
    async with await asyncio.start_server(echo, "10.8.0.2", 7):
        reader, writer = await asyncio.open_connection("server", 7)
        writer.write(b"hello")
        print((await reader.readexactly(5)).decode(), type(writer.transport).__name__)
        writer.close()
        await writer.wait_closed()
"""


def output(folder: Path, program: str, *arguments: str, options: tuple[str, ...] = NETWORK) -> list[str]:
    """The lines that a script prints, which has nothing to complain about."""
    (folder / "script.py").write_text(program)
    done = run(*cli(*options, "script.py", *arguments), cwd=folder)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


def answer(port: int) -> dict[str, list]:
    """What the application says it was asked by whom, through the published port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
        return json.load(response)
