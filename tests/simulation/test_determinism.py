"""Same seed, same run, packet for packet, in any process."""

import os
import subprocess
import sys

import pytest

SCENARIO = """
import asyncio, sys
from asyncstack.testing.clock import run
from asyncstack.testing.network import Network

async def serve(reader, writer):
    data = await reader.read()
    await asyncio.to_thread(len, data)
    writer.write(data[::-1])
    writer.close()
    await writer.wait_closed()

async def talk(stack, number):
    await asyncio.sleep(number * 0.01)
    reader, writer = await stack.open_connection(["b", "b6"][number % 2], 80)
    writer.write(bytes([number]) * 200_000)
    writer.write_eof()
    assert len(await reader.read()) == 200_000
    writer.close()
    await writer.wait_closed()

async def main(path):
    async with Network() as net:
        a = net.host("a", "10.0.0.1/24", "fd00::1/64")
        b = net.host("b", "10.0.0.2/24")
        c = net.host("b6", "fd00::3/64")
        async with net.capture(path):
            faults = {"loss": 0.02, "jitter": 0.002, "reorder": 0.05, "duplicate": 0.02, "corrupt": 0.01}
            net.link(a, b, delay=0.01, rate=50e6, ethernet=True, **faults)
            net.link(a, c, delay=0.02, **faults)
            for stack in (b, c):
                await stack.start_server(serve, None, 80)
            await asyncio.gather(*(talk(a, number) for number in range(10)), b.ping("a"), c.ping("fd00::1"))
    print(asyncio.get_running_loop().time())

run(main(sys.argv[1]), seed=int(sys.argv[2]))
"""


def run(path, seed, hash_seed):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", SCENARIO, path, str(seed)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return path.read_bytes(), done.stdout


@pytest.mark.hostile("the links damage packets")
def test_two_processes_capture_the_same_packets(tmp_path):
    first, ended = run(tmp_path / "first.pcapng", 7, "1")
    second, ended_again = run(tmp_path / "second.pcapng", 7, "2")
    other, _ = run(tmp_path / "other.pcapng", 8, "1")
    assert len(first) > 2_000_000
    assert first == second
    assert ended == ended_again
    assert first != other
