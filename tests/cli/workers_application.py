"""What the tests have workers serve: each connection is told by whom, then every line comes back."""

import asyncio
import os
import threading


async def who(reader, writer):
    writer.write(b"%d\n" % os.getpid())
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def dying(reader, writer):
    """Never called: the process ends before."""


def __getattr__(name):
    if name == "mortal":  # dies soon after it has begun to listen
        threading.Timer(1.0, os._exit, [9]).start()
        return dying
    raise AttributeError(name)


async def outward(reader, writer):
    """A connection from here to port 9000 of the kernel's side; what comes from there goes to the client."""
    there, to_there = await asyncio.open_connection("10.9.0.1", 9000)
    writer.write(b"%d\n" % os.getpid())
    writer.write(await there.readline())
    to_there.close()
    writer.close()
