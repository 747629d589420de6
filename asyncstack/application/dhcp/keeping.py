"""What waits for the disk: replies that may leave only when their binding is there (RFC 2131 3.1, step 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Final

from asyncstack.application.dhcp.answering import Reply
from asyncstack.application.dhcp.bindings import Binding, Bindings, Phase

if TYPE_CHECKING:
    from asyncstack.application.dhcp.lease_file import LeaseFile

WAITING_LIMIT: Final = 1024  # replies; who gets none asks again


class Keeping:
    """Writes to `file`, as many bindings at once as have come meanwhile, and then lets `send` have the replies.

    `failed(error)`: the disk refuses; the replies that waited are dropped, and the next try writes all anew.
    """

    def __init__(
        self,
        file: LeaseFile,
        bindings: Bindings,
        send: Callable[[Reply], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._file = file
        self._bindings = bindings
        self._send = send
        self._failed = failed
        self._waiting: list[tuple[Binding, Reply | None]] = []
        self._broken = False
        self._work: asyncio.Task[None] | None = None

    def keep(self, binding: Binding, reply: Reply | None) -> bool:
        """Have `binding`, as it is now, on the disk, then send `reply`. False: too many wait, and it is dropped."""
        if len(self._waiting) >= WAITING_LIMIT:
            return False
        self._waiting.append((copy(binding), reply))
        if self._work is None:
            self._work = asyncio.get_running_loop().create_task(self._run())
        return True

    async def _run(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                if self._broken or self._file.is_long(len(self._bindings.by_address)):
                    await self._file.rewrite(worth_keeping(self._bindings))
                else:
                    await self._file.append(binding for binding, _ in waiting)
            except OSError as exc:
                self._broken = True
                self._failed(exc)
                continue
            self._broken = False
            for _, reply in waiting:
                if reply is not None:
                    self._send(reply)
        self._work = None

    async def close(self) -> None:
        """Return when nothing waits."""
        try:
            if self._work is not None:
                await self._work
        finally:
            await self._file.close()


def worth_keeping(bindings: Bindings) -> list[Binding]:
    """Those that a restart has to know: no offers."""
    return [one for one in bindings.by_address.values() if one.client and one.phase is not Phase.OFFERED]
