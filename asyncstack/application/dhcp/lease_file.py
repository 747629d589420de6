"""A server's bindings on disk, so that a crash loses none that a client was told of (RFC 2131 4.3.1).

A file of lines, each one binding as JSON behind the CRC-32 of it; of several for one address the last counts. Lines are
appended and synced; now and then, and at each start, the file is written anew beside and put into place by an atomic
rename. A crash leaves at most a torn last line, which its CRC gives away. Whoever keeps the file has a lock on it
(`flock`), which goes with the process; the new file is locked before it takes the old one's place. A file of which no
line can be read is somebody else's; one with damaged lines is kept beside, as FILE.damaged, before it is written anew.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import logging
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Final

import aiofiles
import aiofiles.os

from asyncstack.application.dhcp.bindings import Binding, Phase
from asyncstack.errors import os_error
from asyncstack.network.addresses import format_address, parse_address

SLACK: Final = 1000  # lines that say what is not true any more, beyond as many as do
_BEGUN: Final = re.compile(rb"[0-9a-f]{1,8}|[0-9a-f]{8} (\{.*)?")  # what a crash may leave of a first line


class LeaseFile:
    """The file at `path`. `to_wall` and `to_clock` turn clock seconds into seconds since 1970 and back: clocks begin
    anew with each process. `damaged`: lines that could not be read."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        to_wall: Callable[[float], float],
        to_clock: Callable[[float], float],
    ) -> None:
        self.path = os.fspath(path)
        self.damaged = 0
        self._to_wall = to_wall
        self._to_clock = to_clock
        self._file: Any = None
        self._lines = 0

    async def open(self) -> list[Binding]:
        """What the file holds; none, if there is no file. Raises OSError, EBUSY if another `LeaseFile` has it;
        ValueError, and leaves it alone, if no line of it is a binding."""
        found: dict[bytes, Binding] = {}
        line = b""
        self._file = file = await aiofiles.open(self.path, "a+b")
        try:
            self._lock(file)
            await file.seek(0)
            async for line in file:
                binding = self._read(line)
                if binding is not None:
                    found[binding.address] = binding
            if self.damaged:
                if not found and not (self.damaged == 1 and _BEGUN.fullmatch(line)):
                    raise ValueError(f"{self.path} is no lease file: no line of it can be read")
                await self._keep_damaged()
            await self.rewrite(found.values())
        except BaseException:
            await self.close()
            raise
        return list(found.values())

    def _lock(self, file: Any) -> None:
        """Have the file to ourselves; not one that somebody has just put another in the place of."""
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
        except BlockingIOError:
            ours = False
        if not ours:
            raise os_error(
                errno.EBUSY, f"{self.path} is in use by another DHCP server: give each its own file"
            )

    async def _keep_damaged(self) -> None:
        beside = f"{self.path}.damaged"
        await _in_thread(_copy, self.path, beside)
        logging.getLogger("asyncstack.dhcp").warning(
            "%s: lines that can not be read: %d; the file as it was is kept as %s",
            self.path,
            self.damaged,
            beside,
        )

    def _read(self, line: bytes) -> Binding | None:
        check, _, text = line.rstrip(b"\n").partition(b" ")
        try:
            if not line.endswith(b"\n") or int(check, 16) != zlib.crc32(text):
                raise ValueError("torn")
            said = json.loads(text)
            return Binding(
                parse_address(said["address"]),
                bytes.fromhex(said["client"]),
                bytes.fromhex(said["mac"]),
                str(said["hostname"]),
                Phase(said["phase"]),
                self._to_clock(float(said["expires"])),
            )
        except (ValueError, KeyError, TypeError):
            self.damaged += 1
            return None

    def _line(self, binding: Binding) -> bytes:
        text = json.dumps(
            {
                "address": format_address(binding.address),
                "client": binding.client.hex(),
                "mac": binding.mac.hex(),
                "hostname": binding.hostname,
                "phase": binding.phase.value,
                "expires": self._to_wall(binding.expires),
            }
        ).encode()
        return b"%08x %s\n" % (zlib.crc32(text), text)

    async def append(self, bindings: Iterable[Binding]) -> None:
        """Return when `bindings` are on the disk. Raises OSError; then nothing is certain, and the next try has to be
        `rewrite`."""
        lines = [self._line(binding) for binding in bindings]
        await self._write(self._file, b"".join(lines))
        self._lines += len(lines)

    def is_long(self, alive: int) -> bool:
        """Whether most of what it holds is not true any more, if `alive` bindings are."""
        return self._lines > 2 * alive + SLACK

    async def rewrite(self, bindings: Iterable[Binding]) -> None:
        """Have `bindings` on the disk, and nothing else. Raises OSError; then the file is whole, the old or the new."""
        lines = [self._line(binding) for binding in bindings]
        beside = f"{self.path}.new"
        file = await aiofiles.open(beside, "wb")
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            await self._write(file, b"".join(lines))
            await aiofiles.os.replace(beside, self.path)
        except BaseException:
            await file.close()
            raise
        former, self._file, self._lines = self._file, file, len(lines)
        await former.close()
        await _in_thread(_sync_folder, os.path.dirname(self.path) or ".")

    @staticmethod
    async def _write(file: Any, data: bytes) -> None:
        await file.write(data)
        await file.flush()
        await _in_thread(os.fsync, file.fileno())

    async def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            file, self._file = self._file, None
            await file.close()


async def _in_thread(call: Callable[..., None], *arguments: Any) -> None:
    await asyncio.get_running_loop().run_in_executor(None, call, *arguments)


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)


def _sync_folder(path: str) -> None:
    """Have a rename survive."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
