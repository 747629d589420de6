"""The supervisor's side of an interface that workers share: it holds the queues, and sets up the kernel's side."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

from asyncstack.link.attach import attach_queues
from asyncstack.link.tuntap import TunTapDevice
from asyncstack.workers.flows import make_memory
from asyncstack.workers.handover import make_inbox
from asyncstack.workers.seat import Seat


class SharedInterface:
    """An interface with `count` queues, as a context manager. `kind`, `name` and `options`: of a device."""

    def __init__(
        self, kind: type[TunTapDevice], name: str, count: int, *, offload: bool, **options: Any
    ) -> None:
        self._kind = kind
        self._name = name
        self._count = count
        self._offload = offload
        self._options = options
        self._closing = AsyncExitStack()
        self._queues: list[int] = []
        self._inboxes: list[tuple[socket.socket, socket.socket]] = []
        self._flows: list[int] = []
        self._device: TunTapDevice

    async def __aenter__(self) -> SharedInterface:
        async with AsyncExitStack() as opening:
            attachments = attach_queues(self._name, self._kind.kind, self._offload, self._count)
            self._queues = [attachment.fd for attachment in attachments]
            for fd in self._queues[1:]:
                opening.callback(os.close, fd)
            # One device is opened, for the kernel's side, and never read; it closes its queue.
            self._device = self._kind("", fd=self._queues[0], offload=self._offload, **self._options)
            opening.push_async_callback(self._device.close)
            await self._device.open(asyncio.get_running_loop())
            for _ in range(self._count):
                self._flows.append(make_memory())
                opening.callback(os.close, self._flows[-1])
                self._inboxes.append(make_inbox())
                for end in self._inboxes[-1]:
                    opening.callback(end.close)
            self._closing = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    def seat(self, index: int) -> Seat:
        """For worker `index`, whoever had it before."""
        return Seat(
            index,
            self._count,
            self._device.address.hex(),
            self._device.mtu,
            self._queues[index],
            self._inboxes[index][0].fileno(),
            [outbox.fileno() for _, outbox in self._inboxes],
            self._flows[index],
        )
