"""The connections of a worker, in memory that outlives it: so its successor can end them.

A peer that waits for an answer would wait for ever. So it gets an ACK that fits nothing; to that TCP answers with an
ACK of its own (RFC 9293 3.10.7.4), which belongs to no connection here and is answered by a RST with the right number.
"""

from __future__ import annotations

import asyncio
import mmap
import os
from struct import Struct
from typing import TYPE_CHECKING, Final

from asyncstack.transport.tcp.endpoint import Key
from asyncstack.wire.tcp import ACK, Segment

if TYPE_CHECKING:
    from asyncstack.stack import Stack

CAPACITY: Final = 65536
BATCH: Final = 8  # at a time, BATCH_SECONDS apart: fewer a second than the RSTs that a stack sends
BATCH_SECONDS: Final = 0.01
_SLOT: Final = Struct("!B16sH16sHxxx")  # bytes of an address, 0: free; local address and port, remote ones


def make_memory() -> int:
    """A file descriptor of memory for a `Flows`, all free."""
    fd = os.memfd_create("asyncstack-flows")
    os.ftruncate(fd, CAPACITY * _SLOT.size)
    return fd


class Flows:
    """The table in the memory behind `fd`, which it closes. A `Register` of the TCP layer: a slot per connection."""

    def __init__(self, fd: int) -> None:
        size = CAPACITY * _SLOT.size
        before = os.pread(fd, size, 0)
        os.ftruncate(fd, 0)
        os.ftruncate(fd, size)
        self._memory = mmap.mmap(fd, size)
        os.close(fd)
        # what is left by the worker before, whose place is taken
        self.left: list[Key] = [
            (local[:length], local_port, remote[:length], remote_port)
            for length, local, local_port, remote, remote_port in _SLOT.iter_unpack(before)
            if length
        ]
        self._slots: dict[Key, int] = {}
        self._free: list[int] = []
        self._unused = 0  # from this slot on none was ever taken

    def add(self, key: Key) -> None:
        """A connection begins. One too many is not noted."""
        if self._free:
            slot = self._free.pop()
        elif self._unused < CAPACITY:
            slot, self._unused = self._unused, self._unused + 1
        else:
            return
        self._slots[key] = slot
        _SLOT.pack_into(self._memory, slot * _SLOT.size, len(key[0]), *key)

    def remove(self, key: Key) -> None:
        """It is over."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._memory[slot * _SLOT.size] = 0
            self._free.append(slot)

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()


async def end_flows(stack: Stack, keys: list[Key]) -> None:
    """Have the peers of connections that `stack` does not have speak up, and be told."""
    for number, (local, local_port, remote, remote_port) in enumerate(keys):
        if number % BATCH == BATCH - 1:
            await asyncio.sleep(BATCH_SECONDS)
        try:
            path = stack.routes.lookup(remote, local)
        except OSError:
            continue
        stack.tcp.strays.reply(path, Segment(local_port, remote_port, 0, 0, ACK, 0))
