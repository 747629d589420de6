"""The interface: turns of the ready queue, and what becomes of a super-segment that meets a full device."""

import asyncio
import hashlib

import pytest

from asyncstack import Stack, memory_pair


async def test_pieces_of_a_super_segment_wait_for_room():
    """An inbox of three frames is far less than the pieces of one super-segment: none of them may be lost."""
    async with Stack() as a, Stack() as b:
        left, right = memory_pair(offload=False, inbox_frames=3)
        await a.add_interface(left, ["10.0.0.1/24"])
        await b.add_interface(right, ["10.0.0.2/24"])
        received = hashlib.sha256()
        done = asyncio.Event()

        async def sink(reader, writer):
            while data := await reader.read(65536):
                received.update(data)
            writer.close()
            done.set()

        await b.start_server(sink, "10.0.0.2", 80)
        _, writer = await a.open_connection("10.0.0.2", 80)
        data = bytes(range(256)) * 8192
        writer.write(data)
        writer.write_eof()
        await done.wait()
        assert received.digest() == hashlib.sha256(data).digest()
        assert a.counters["device.no_room"] == 0
        writer.close()
        await writer.wait_closed()


async def test_retransmissions_are_not_needed_on_a_full_device():
    async with Stack() as a, Stack() as b:
        left, right = memory_pair(offload=False, inbox_frames=3)
        await a.add_interface(left, ["10.0.0.1/24"])
        await b.add_interface(right, ["10.0.0.2/24"])

        async def answer(reader, writer):
            await reader.read(1)
            writer.write(bytes(1_000_000))
            writer.close()

        await b.start_server(answer, "10.0.0.2", 80)
        reader, writer = await a.open_connection("10.0.0.2", 80)
        writer.write(b"?")
        assert len(await reader.read(-1)) == 1_000_000
        assert b.counters["device.no_room"] == 0
        assert all(info.total_retrans == 0 for info in b.connections())
        writer.close()


async def test_a_link_that_takes_less_than_every_link_has_to_is_refused():
    """There would be no end to cutting a datagram into pieces of nothing."""
    async with Stack() as stack:
        device, _ = memory_pair(mtu=67)
        before = list(stack.interfaces)
        with pytest.raises(ValueError, match="mtu 67"):
            stack.attach(device, ["10.0.0.1/24"])
        assert stack.interfaces == before
