"""Hostile frames at a live stack: every truncation of valid frames, and seeded mutations of them (see `storm`).

Shown for each kind of device: no exception leaves `receive()`, every table stays within its bound, a connection ends
only by a segment that an RFC lets end it, nobody reads a byte that did not come in an acceptable segment, and then
everything still works.

FUZZ_SEED, FUZZ_MUTATIONS (all kinds together) and FUZZ_KIND choose the storm; the same ones repeat it frame for frame.
"""

import asyncio
import contextlib
import gc
import hashlib
import os
import tracemalloc

import dpkt
import pytest

from asyncstack.link import tuntap
from asyncstack.link.capture import Capture
from tests.fuzz.storm import MUTATIONS, SEED, Storm
from tests.fuzz.victims import ROLES
from tests.fuzz.world import KINDS, PORT, Sink, World

pytestmark = pytest.mark.virtual_time

CHOSEN = os.environ.get("FUZZ_KIND", "").split() or KINDS
MEMORY_DURING = 3 << 20  # bytes, tests and all; the receive buffers alone may hold more
MEMORY_AFTERWARDS = 1 << 20  # when the victims are gone and the honest have finished

# How often each has to happen at least in 25,000 mutations, or the storm has lost its teeth.
BITES = {
    "accept": 2000,
    "none": 3000,
    "icmp none": 500,
    "icmp hint": 50,
    "icmp reset": 5,
    "reassembled": 50,
    "TIME-WAIT taken over": 5,
    "death: RST at RCV.NXT": 100,
    "death: RST with the ACK of our SYN": 2,
    "death: hard ICMP error before the connection is open": 5,
    "ESTABLISHED -> CLOSE_WAIT": 20,
    "ESTABLISHED -> FIN_WAIT_1": 20,
    "FIN_WAIT_1 -> FIN_WAIT_2": 10,
    "FIN_WAIT_1 -> CLOSING": 10,
    "FIN_WAIT_2 -> TIME_WAIT": 5,
    "CLOSING -> TIME_WAIT": 5,
    "LAST_ACK -> CLOSED": 5,
    "SYN_SENT -> ESTABLISHED": 5,
    "SYN_SENT -> SYN_RECEIVED": 5,
    "SYN_RECEIVED -> ESTABLISHED": 50,
}


@pytest.fixture(autouse=True)
def batches_do_not_depend_on_real_time(monkeypatch):
    monkeypatch.setattr(tuntap, "monotonic", lambda: 0.0)


@contextlib.contextmanager
def repeatable(storm):
    """Say how to see a failure again."""
    try:
        yield
    except AssertionError as exc:
        kind = storm.world.kind
        exc.add_note(
            f"after {storm.sent} frames; repeat with FUZZ_SEED={SEED} FUZZ_KIND={kind} FUZZ_MUTATIONS={MUTATIONS}"
        )
        raise


async def fresh_connection(world, family):
    """A connection made after the storm carries data both ways and ends in order."""
    host = ("10.0.0.1", "fd00::1")[family]
    _, sink = await world.peer.create_connection(lambda: Sink(None), host, PORT)
    await asyncio.sleep(1)
    address, port, theirs, their_port = sink.key
    ours = world.accepted[theirs, their_port, address, port]
    sink.write(300_000)
    ours.write(300_000)
    await asyncio.sleep(20)
    assert (ours.received, sink.received) == (300_000, 300_000)
    assert not ours.corrupt and not sink.corrupt
    sink.end()
    ours.end()
    await asyncio.sleep(5)
    assert ours.eof and sink.eof and ours.error is None and sink.error is None
    for side in (ours, sink):
        side.transport.close()


async def aftermath(world, storm):
    """Tables have emptied by themselves, and everything works."""
    await storm.maintain()
    await asyncio.sleep(70)
    world.check_bounds()
    for ip in (world.stack.ipv4, world.stack.ipv6):
        assert len(ip.reassembly) == 0 and ip.reassembly.bytes == 0
    for family in (0, 1):
        await fresh_connection(world, family)
    for honest in storm.honest:
        honest.check()
        await honest.finish()
    world.check_bounds()
    assert world.peer.counters["interface.receive_error"] == 0


def open_files():
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", CHOSEN)
async def test_storm(kind):
    loop = asyncio.get_running_loop()
    before = open_files()
    number = MUTATIONS // len(CHOSEN)
    async with World(kind, SEED) as world:
        storm = Storm(world, SEED)
        await storm.prepare()
        with repeatable(storm):
            assert await storm.truncate() > 80
            truncations, storm.repaired = storm.sent, 0
            assert truncations > 10_000
            await storm.rage(number)
            assert storm.sent >= truncations + number and storm.repaired > number / 2
            assert storm.replaced <= len(ROLES) + number // 10_000
            await aftermath(world, storm)
            counts = world.watch.counts
            rare = {
                what: counts[what] for what, least in BITES.items() if counts[what] < least * number // 25_000
            }
            assert not rare, "these hardly happened"
    stack = world.stack
    await asyncio.sleep(0)
    assert not stack.tcp.connections and not stack.udp.endpoints and not stack.interfaces
    assert stack.tcp.memory.held == 0
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left
    assert loop.timers == 0
    assert open_files() == before


@pytest.mark.timeout(300)
async def test_memory_stays_bounded():
    """What the stack holds during a storm, and what it holds of it when the victims are gone."""
    async with World("ethernet", SEED) as world:
        storm = Storm(world, SEED + 1)
        await storm.prepare()
        await storm.rage(3000)
        tracemalloc.start()
        try:
            await storm.rage(12_000)
            world.sent.clear()
            world.watch.forget_all()
            gc.collect()
            during = tracemalloc.get_traced_memory()[0]
            for script in storm.scripts:
                script.give_up()
            for key, sink in list(world.accepted.items()):
                if key not in storm.honest_keys:
                    sink.transport.abort()
            for honest in storm.honest:
                await honest.finish()
            await asyncio.sleep(200)
            world.sent.clear()
            world.watch.forget_all()
            del storm, honest, script, sink
            gc.collect()
            afterwards = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert during < MEMORY_DURING
        assert afterwards < MEMORY_AFTERWARDS


async def fingerprint(kind):
    """A short storm, and everything that the stack said to it."""
    said = hashlib.sha256()
    async with World(kind, SEED) as world:
        world.interface.taps.append(
            lambda interface, frame: said.update(b"".join(getattr(frame, "parts", ())))
        )
        storm = Storm(world, SEED)
        await storm.prepare()
        await storm.rage(2000)
        return said.hexdigest(), storm.sent, world.watch.counts, dict(world.stack.counters), world.loop.time()


@pytest.mark.parametrize("kind", ("ethernet", "tun"))
async def test_the_same_seed_makes_the_same_storm(kind):
    first = await fingerprint(kind)
    loop = asyncio.get_running_loop()
    loop._now = 0.0  # the second storm begins at the same hour
    assert await fingerprint(kind) == first


@pytest.mark.hostile("a storm of what has no sense")
@pytest.mark.parametrize("kind", ("memory", "tap"))
async def test_a_storm_is_captured(kind, tmp_path):
    """A tap sees every frame first, whatever it holds; the file is sound and has them all."""
    async with World(kind, SEED) as world, Capture(tmp_path / "storm.pcapng") as capture:
        storm = Storm(world, SEED)
        await storm.prepare()
        capture.attach(world.interface)
        await storm.rage(2000)
        capture.detach(world.interface)
        world.check_bounds()
        await capture.flush()
        with open(tmp_path / "storm.pcapng", "rb") as file:
            packets = sum(1 for _ in dpkt.pcapng.Reader(file))
        assert packets == capture.captured > 2000 and not capture.dropped


# frames that once did harm; more with FUZZ_REPLAY=hex,hex (and FUZZ_KIND)
REGRESSIONS = [
    ("memory", ""),
    ("memory", "45"),
    ("ethernet", "ffffffffffff02666666666608004500001c00004000400126a20a0000420a0000010800f7fd00010001"),
    ("tun", "0101ffffffffffffffff"),
    ("tun", "01048e05280028ffff00"),
    ("tap", "030400000000ffffffff"),
    *((CHOSEN[0], frame) for frame in os.environ.get("FUZZ_REPLAY", "").split(",") if frame),
]


@pytest.mark.parametrize(("kind", "frame"), REGRESSIONS)
async def test_replay(kind, frame):
    async with World(kind, SEED) as world:
        storm = Storm(world, SEED)
        await storm.prepare()
        raw = bytes.fromhex(frame)
        for _ in range(3):
            if raw or not world.vnet:
                world.put(raw)
            await world.settle()
        world.check_bounds()
        await fresh_connection(world, 0)
