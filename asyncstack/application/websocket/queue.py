"""Received messages that nobody has taken yet: bounded by asking the reader to stop."""

from __future__ import annotations

import asyncio
from collections import deque

Message = str | bytes


class MessageQueue:
    """Messages in order, for one reader task that puts and one application task that takes.

    `full` once `messages` of them or `size` bytes wait; the reader then waits in `wait_for_room` until half of it
    is gone.
    """

    def __init__(self, messages: int, size: int) -> None:
        self._waiting: deque[Message] = deque()
        self._size = 0
        self._max_messages = max(messages, 1)
        self._max_size = size
        self._getter: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self.closed = False

    @property
    def full(self) -> bool:
        """Whether the reader ought to stop."""
        return not self._room.is_set()

    def put(self, message: Message) -> None:
        """Append; never refuses."""
        self._waiting.append(message)
        self._size += len(message)
        if len(self._waiting) >= self._max_messages or self._size >= self._max_size:
            self._room.clear()
        self._wake()

    async def get(self) -> Message | None:
        """The oldest message; None once the queue is closed and empty. RuntimeError if another task waits."""
        while not self._waiting:
            if self.closed:
                return None
            if self._getter is not None:
                raise RuntimeError("another task is waiting in recv(): one task receives, others may send")
            self._getter = asyncio.get_running_loop().create_future()
            try:
                await self._getter
            finally:
                self._getter = None
        message = self._waiting.popleft()
        self._size -= len(message)
        if len(self._waiting) * 2 <= self._max_messages and self._size * 2 <= self._max_size:
            self._room.set()
        return message

    async def wait_for_room(self) -> None:
        """Until the application has taken enough, or the queue is closed."""
        await self._room.wait()

    def close(self) -> None:
        """No more messages; what is there can still be taken."""
        self.closed = True
        self._room.set()
        self._wake()

    def discard(self) -> None:
        """Nobody will take what waits."""
        self._waiting.clear()
        self._size = 0
        self._room.set()

    def _wake(self) -> None:
        if self._getter is not None and not self._getter.done():
            self._getter.set_result(None)
