"""Seeded mutations of header options and of fragments, both families; and a flood of fragments against the memory."""

import random
import tracemalloc

import pytest

from asyncstack.network.addresses import parse_address as A
from asyncstack.wire import icmp, ipv4, ipv4_options, ipv6
from asyncstack.wire.checksum import checksum
from tests.fuzz.test_parsers import mutated
from tests.network.host import Host

SEED = 20261123
MUTATIONS = 20_000
EXPERIMENT = 253
US4, PEER4, US6, PEER6 = A("10.0.0.1"), A("10.0.0.9"), A("fd00::1"), A("fd00::9")

OPTIONS = [
    bytes.fromhex(text)
    for text in (
        "07 27 04" + "00" * 36 + "00",
        "44 24 05 01" + "00" * 32,
        "44 0c 05 03 0a000001 00000000 07 07 04 00000000 00",
        "94 04 00 00 01 01 82 0b 0000000000000000ff 00 00 00",
        "44 08 09 e0 00000000",
        "83 0b 04 0a000001 0a000002 00",
    )
]


def test_options():
    """BadOption is all that comes out of them, and what is written stays within them."""
    rng = random.Random(f"{SEED} options")
    refused = 0
    for number in range(MUTATIONS):
        options = bytes(mutated(OPTIONS[number % len(OPTIONS)], rng))[:40]
        try:
            found = ipv4_options.parse(options)
            found.stamp(US4, 7, lambda address: address == US4, arriving=True)
        except ipv4_options.BadOption as exc:
            assert 20 <= exc.pointer < 20 + len(options)
            refused += 1
            continue
        assert len(found.data) == len(options)
        assert len(ipv4_options.copied(options)) <= len(options)
        reply = found.reply()
        reply.stamp(US4, 7, lambda address: True, arriving=False)
        assert len(reply.data) <= len(options)
    assert MUTATIONS // 10 < refused < MUTATIONS * 9 // 10


def test_whole_packets_with_options():
    """Every answer to a damaged packet is one that can be read."""
    rng = random.Random(f"{SEED} packets")
    host = Host(errors_per_second=1e9)
    message = icmp.build_echo(1, 2, bytes(64))
    answers = 0
    for number in range(MUTATIONS // 4):
        options = bytes(mutated(OPTIONS[number % len(OPTIONS)], rng))[:40]
        packet = ipv4.build(PEER4, US4, 1, len(message), options=options) + message
        for reply in host.receive(packet):
            answers += 1
            read = ipv4.parse(memoryview(reply))
            icmp.parse(read.payload)
            ipv4_options.parse(read.options)
    assert answers > MUTATIONS // 10
    assert not any("receive_error" in name for name in host.counters)


def pieces4(payload, ident, source=PEER4, step=64, options=b""):
    for at in range(0, len(payload), step):
        piece = payload[at : at + step]
        header = ipv4.build(
            source,
            US4,
            EXPERIMENT,
            len(piece),
            ident=ident,
            dont_fragment=False,
            more_fragments=at + step < len(payload),
            fragment_offset=at,
            options=options,
        )
        yield header + piece


def pieces6(payload, ident, source=PEER6, step=64):
    for at in range(0, len(payload), step):
        piece = payload[at : at + step]
        header = ipv6.build(source, US6, ipv6.FRAGMENT, 8 + len(piece))
        yield header + ipv6.build_fragment(EXPERIMENT, at, at + step < len(payload), ident) + piece


def repaired(packet):
    """With the header checksum of IPv4, without which nothing gets anywhere."""
    size = (packet[0] & 0x0F) << 2
    if packet and packet[0] >> 4 == 4 and 20 <= size <= len(packet):
        packet[10:12] = b"\0\0"
        packet[10:12] = checksum(bytes(packet[:size])).to_bytes(2, "big")
    return bytes(packet)


FAMILIES = pytest.mark.parametrize("cut", [pieces4, pieces6], ids=["IPv4", "IPv6"])


def check_bounds(reassembly, datagrams, max_bytes):
    held = reassembly._datagrams
    assert len(held) <= datagrams
    assert 0 <= reassembly.bytes <= max_bytes
    assert reassembly.bytes == sum(datagram.cost for datagram in held.values())
    assert reassembly.bytes == sum(source.cost for source in reassembly._sources.values())
    assert sum(len(source.keys) for source in reassembly._sources.values()) == len(held)


@FAMILIES
def test_mutated_fragments(cut):
    """Damaged, doubled, out of order; a sound datagram from elsewhere arrives in between."""
    rng = random.Random(f"{SEED} fragments")
    host = Host(fragment_datagrams=32, fragment_bytes=256 << 10)
    layer, honest = (host.ipv4, A("10.0.0.77")) if cut is pieces4 else (host.ipv6, A("fd00::77"))
    recorder = host.register(EXPERIMENT, layer)
    for number in range(400):
        payload = rng.randbytes(rng.randrange(9, 600))
        batch = list(cut(payload, rng.randrange(8), step=8 * rng.randrange(1, 12)))
        batch += [repaired(mutated(rng.choice(batch), rng)) for _ in range(len(batch))]
        batch = [data for data in batch if data]
        rng.shuffle(batch)
        for data in batch:
            host.receive(data)
        check_bounds(layer.reassembly, 32, 256 << 10)
        sound = rng.randbytes(500)
        for data in cut(sound, number, source=honest):
            host.receive(data)
        assert [got.payload for got in recorder.packets if got.src == honest] == [sound]
        recorder.packets.clear()
        host.loop.advance(rng.choice((0.0, 1.0, 40.0)))
    host.loop.advance(100.0)
    assert (len(layer.reassembly), layer.reassembly.bytes, host.loop.pending) == (0, 0, [])


@FAMILIES
def test_memory_under_a_flood_of_fragments(cut):
    """From one source and from many, tiny pieces and large ones: the bytes that Python holds stay in proportion."""
    limit = 512 << 10
    host = Host(fragment_datagrams=256, fragment_bytes=limit)
    layer = host.ipv4 if cut is pieces4 else host.ipv6
    recorder = host.register(EXPERIMENT, layer)
    rng = random.Random(f"{SEED} flood")
    prefix = PEER4[:2] if cut is pieces4 else PEER6[:14]
    size = {8: 24, 1400: 4200}
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(6000):
            step = rng.choice((8, 1400))
            source = rng.choice((prefix + rng.randbytes(2), prefix + b"\0\x09"))
            first, second, _last = cut(bytes(size[step]), rng.randrange(65536), source=source, step=step)
            host.receive(first)
            host.receive(second)
            if not number % 500:
                check_bounds(layer.reassembly, 256, limit)
                host.sent()
        host.counters.clear()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 2 * limit, held
    assert len(layer.reassembly) > 50
    honest = bytes(range(256)) * 8
    for data in cut(honest, 7, source=prefix + b"\0\x4d"):
        host.receive(data)
    assert [got.payload for got in recorder.packets] == [honest]
