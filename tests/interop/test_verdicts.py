"""Scanners and attack programs find what the files in verdicts/ say, and leave nothing behind.

Their packets come from the network, and so do the answers of ours that are compared: see verdicts/__main__.py.
"""

import asyncio
import os

import pytest

import asyncstack
from asyncstack.link.frame import Frame
from asyncstack.network.addresses import format_address
from tests.interop.loops import on_uvloop
from tests.interop.verdicts import extensions, record, scans, target
from tests.programs import require_program

pytestmark = [pytest.mark.tun, pytest.mark.slow]

# those that are answered, and answered at once
QUICK_IMPLEMENTATION = [1, 3, 4, 5, 7, 11, 12, 14, 18, 19, 22, 23, 24, 25, 26, 27, 30, 32, 35, 37, 39, 49, 50]
QUICK_FRAGMENTATION = [9, 26]
QUIET = 70.0  # longer than fragments wait, and than TIME-WAIT lasts


def check_tables(one: target.Target) -> None:
    """Nothing has gone wrong, and every table is within its bound."""
    stack, config = one.stack, one.stack.config
    assert one.complaints == []
    assert stack.counters["interface.receive_error"] == stack.counters["interface.send_error"] == 0
    assert len(stack.tcp.connections) <= 64 + sum(listener.half_open for listener in stack.tcp.listeners)
    assert all(listener.half_open <= 1024 for listener in stack.tcp.listeners)
    assert 0 <= stack.tcp.memory.held <= config.memory
    for ip in (stack.ipv4, stack.ipv6):
        assert len(ip.reassembly) <= config.fragment_datagrams
        assert ip.reassembly.bytes <= config.fragment_bytes
    for table in (one.interface.link.neighbors4, one.interface.link.neighbors6):
        assert len(table) <= config.neighbor_limit
    assert len(stack.routes.pmtu) <= 1024
    assert len(stack.addresses.groups) <= 16
    assert {format_address(entry.address) for entry in stack.addresses.of(one.interface)} == {
        target.ADDRESS,
        target.ADDRESS6,
        target.LINK_LOCAL,
    }


def check_nothing_left(one: target.Target) -> None:
    """What was held for the attacker is given back."""
    stack = one.stack
    assert not stack.tcp.connections and not len(stack.tcp._time_wait)
    assert stack.tcp.memory.held == 0
    assert all(listener.half_open == 0 for listener in stack.tcp.listeners)
    assert [(len(ip.reassembly), ip.reassembly.bytes) for ip in (stack.ipv4, stack.ipv6)] == [(0, 0)] * 2


async def usable(one: target.Target) -> None:
    """The addresses still answer; what is left of a flood in the kernel's queues may cost a packet."""
    for words in (["-4", target.ADDRESS], ["-6", target.ADDRESS6]):
        said = await target.run(one, "ping", words[0], "-c1", "-w9", words[1], seconds=10)
        assert " 1 received" in said, said


def compare(tool: str, answers: dict[str, str], whole: bool = True) -> None:
    known, _ = record.read(tool)
    expected = known if whole else {question: known.get(question) for question in answers}
    assert answers and answers == expected, f"if this is better: {record.COMMAND} {tool}"


@pytest.mark.parametrize("tool", record.REASONS)
def test_every_difference_from_linux_has_a_reason(tool):
    assert record.read(tool)[1] == []


@on_uvloop
@pytest.mark.parametrize(
    ("tool", "ask"),
    [
        pytest.param("nmap", scans.scan, id="nmap"),
        pytest.param(
            "implementation6",
            lambda one: extensions.implementation(one, QUICK_IMPLEMENTATION),
            id="implementation6",
        ),
        pytest.param(
            "fragmentation6",
            lambda one: extensions.fragmentation(one, QUICK_FRAGMENTATION),
            id="fragmentation6",
        ),
    ],
)
async def test_ours_says_what_the_file_says(tool, ask):
    async with target.ours() as one:
        await usable(one)  # with the first program uvloop opens what it keeps
        tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        compare(tool, await ask(one), whole=tool == "nmap")
        check_tables(one)
        await usable(one)
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) <= tasks
        assert len(os.listdir("/proc/self/fd")) <= descriptors


@on_uvloop
@pytest.mark.long
@pytest.mark.timeout(600)
async def test_all_of_them_and_nothing_is_left():
    async with target.ours() as one:
        await usable(one)  # with the first program uvloop opens what it keeps
        tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        compare("nmap", await scans.scan(one))
        compare("implementation6", await extensions.implementation(one))
        compare("fragmentation6", await extensions.fragmentation(one))
        check_tables(one)
        await asyncio.sleep(QUIET)
        check_nothing_left(one)
        await usable(one)
        assert len(asyncio.all_tasks()) <= tasks
        assert len(os.listdir("/proc/self/fd")) <= descriptors


ALL, TARGET = "eth0", ["eth0", target.ADDRESS6]
# those of neighbour discovery are in test_slaac.py
FLOODS = {
    "flood_mld6": [ALL],
    "flood_unreach6": TARGET,
    "thcsyn6": [*TARGET, str(target.HTTP)],
    "rsmurf6": TARGET,
}
MORE_FLOODS = {
    "flood_router26": [ALL],
    "flood_advertise6": [ALL],
    "flood_mld26": [ALL],
    "flood_mldrouter6": [ALL],
    "fake_advertise6": TARGET,
    "fake_router26": ["-A", "2001:db8:66::/64", ALL],
    "fake_mld26": ["-l", ALL, "add", "ff02::77"],
    "parasite6": ["-l", ALL],
    "randicmp6": TARGET,
}


SLOW = ("fake_advertise6", "fake_router26", "parasite6")  # they say it again after seconds


@on_uvloop
@pytest.mark.parametrize(
    "tool", [*FLOODS, *(pytest.param(tool, marks=pytest.mark.long) for tool in MORE_FLOODS)]
)
async def test_a_flood_of_a_second(tool):
    config = asyncstack.StackConfig(neighbor_limit=128, dad_transmits=0)
    async with target.ours(config) as one:
        program = require_program(f"atk6-{tool}")
        frames = []
        one.interface.taps.append(lambda interface, frame: frames.append(type(frame)))
        try:
            await target.run(one, program, *(FLOODS | MORE_FLOODS)[tool], seconds=1)
        except TimeoutError:
            pass  # it goes on for ever
        assert frames.count(Frame) >= (1 if tool in SLOW else 10)
        check_tables(one)
        await usable(one)
