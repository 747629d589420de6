"""Memory that goes to and fro: what a batch frees is there for the next, instead of being mapped anew each time."""

import platform
import sys

import pytest

from tests.running import run

MEGABYTES = 256
# A fresh process, so that nothing has set the C library's limits yet: page faults of a transfer between streams.
TRANSFER = f"""
import asyncio, resource
from asyncstack import Stack, memory_pair

async def serve(reader, writer):
    chunk = bytes(256 << 10)
    for _ in range({MEGABYTES} << 2):
        writer.write(chunk)
        await writer.drain()
    writer.close()

async def main():
    async with Stack() as a, Stack() as b:
        ours, theirs = memory_pair()
        a.attach(ours, ["10.0.0.1/24"])
        b.attach(theirs, ["10.0.0.2/24"])
        await a.start_server(serve, "10.0.0.1", 80)
        reader, writer = await b.open_connection("10.0.0.1", 80)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        received = 0
        while data := await reader.read(256 << 10):
            received += len(data)
        print(received >> 20, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        writer.close()

asyncio.run(main())
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries have other limits: glibc only"
)
def test_a_transfer_does_not_fault_in_its_memory_again_and_again():
    done = run(sys.executable, "-c", TRANSFER)
    assert done.returncode == 0, done.stderr
    received, faults = map(int, done.stdout.split())
    assert received == MEGABYTES
    pages = MEGABYTES << 8
    assert faults < pages / 16, f"{faults} pages were mapped for {pages} that passed"
