"""What TUN and TAP have in common: a non-blocking fd on the event loop that gives and takes one frame per call.

Each frame follows a virtio-net header (linux/virtio_net.h) where the kernel grants it: TCP super-segments and
partial checksums then cross the fd in both directions, and one system call moves up to 64 KiB.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Coroutine, Sequence
from functools import lru_cache
from time import monotonic
from typing import Any, ClassVar, Final

from asyncstack.errors import WireError
from asyncstack.link.attach import Attachment, adopt, attach, check_name
from asyncstack.link.carrier import Carrier
from asyncstack.link.device import BATCH_BYTES, BATCH_FRAMES, Device
from asyncstack.link.frame import Buffer, Frame, OutgoingFrame
from asyncstack.link.kernel import KernelSide, interface_mtu, parse_peer
from asyncstack.wire import virtio_net
from asyncstack.wire.virtio_net import F_DATA_VALID, F_NEEDS_CSUM, GSO_TCPV4, GSO_TCPV6, HEADER_SIZE

BATCH_SECONDS: Final = 0.001
WATCH_SECONDS: Final = 0.5
# The largest IP packet, a link header with a VLAN tag, and the virtio-net header. Reading into a fresh bytes
# object costs less than a kept buffer and a copy: CPython shrinks it in place, and the frame owns its memory.
READ_SIZE: Final = 65535 + 18 + HEADER_SIZE
MAX_BUFFERS: Final = 1000  # IOV_MAX is 1024
HEADER_CACHE: Final = 256
TCP_FLAGS: Final = 13  # offset in the TCP header
CWR: Final = 0x80
NO_ROOM: Final = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)
GONE: Final = (errno.EBADFD, errno.EBADF, errno.ENODEV, errno.ENXIO, errno.EFAULT)


class TunTapDevice(Device):
    """The base of `TunDevice` and `TapDevice`; `kind` is the IFF flag of the subclass.

    counters: `device.malformed` (received, no whole virtio-net header), `device.interface_down`,
    `device.refused` (the kernel would not have the frame) and `device.no_room` (dropped, not sent).
    """

    kind: ClassVar[int]

    def __init__(
        self,
        name: str = "",
        *,
        peer: str | Sequence[str] | None = None,
        mtu: int = 1500,
        offload: bool = True,
        fd: int | None = None,
    ) -> None:
        super().__init__()
        if not 68 <= mtu <= 65535:
            raise ValueError(f"mtu {mtu} is not between 68 and 65535 bytes")
        self.name = check_name(name)
        self.mtu = self.max_segment = mtu
        self._peers = parse_peer(peer)
        self._offload = offload
        self._given_fd = fd
        self._fd = -1
        self._vnet_header = False
        self._kernel: KernelSide | None = None
        self._carrier: Carrier | None = None
        self._pending: Sequence[Buffer] | None = None
        self._failed = False
        self._forgetful = False  # the loop, about fds
        self._watch_handle: asyncio.TimerHandle | None = None
        self._headers: dict[tuple[int, int, int, bool, bool], bytes] = {}
        self._loop: asyncio.AbstractEventLoop

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or '(new)'} mtu {self.mtu} {'open' if self._fd >= 0 else 'closed'}>"

    # open and close

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Attach to the interface, which is made if it is not there, and set up the kernel's side of it.

        Raises OSError with what is missing and what to do: EPERM or EACCES without the permission, ENOENT
        without /dev/net/tun, EBUSY while another program uses the interface, EINVAL if it is of another kind.
        """
        if self._fd >= 0:
            raise OSError(errno.EALREADY, f"{self.name} is open already")
        self._loop = loop
        self._forgetful = not isinstance(loop, asyncio.BaseEventLoop)
        attachment = self._attach()
        self._fd = attachment.fd
        self.name = attachment.name
        self._vnet_header = attachment.vnet_header
        self.checksum_offload = self._offload and attachment.vnet_header
        self._failed = False
        self.writable = True
        try:
            await self._configure(attachment)
            self._carrier = Carrier(self.name, self._link_changed)
        except BaseException:
            await self.close()
            raise
        self.max_segment = 65535 if self.checksum_offload else self.mtu

    def _attach(self) -> Attachment:
        if self._given_fd is not None:
            fd, self._given_fd = self._given_fd, -1  # closed by `close`, so not to be opened again
            return adopt(fd, self.kind, self._offload)
        return attach(self.name, self.kind, self._offload)

    async def _configure(self, attachment: Attachment) -> None:
        mtu = interface_mtu(self.name)
        if not self._peers and mtu == self.mtu:
            return
        kernel = KernelSide(self.name, self._peers, self.mtu)
        try:
            await kernel.configure()
        except OSError as exc:
            if self._peers or exc.errno != errno.EPERM:
                raise
            self.mtu = min(self.mtu, mtu)  # not ours to change
            return
        if attachment.persistent or self._given_fd is not None:
            self._kernel = kernel  # the interface may outlive our fd

    async def close(self) -> None:
        """Stop, undo the kernel's side, close the fd (also one that was handed in). Safe to call twice."""
        self.stop()
        fd, self._fd = self._fd, -1
        kernel, self._kernel = self._kernel, None
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.close()
        if fd < 0:
            return
        self._drop_pending(fd)
        self.writable = False
        try:
            if kernel is not None:
                await kernel.restore()
        finally:
            os.close(fd)

    def start(self, receiver: Coroutine[Any, Sequence[Frame], None]) -> None:
        """Run `receiver` up to its first `receive()`. What came before waits in the kernel's queue."""
        super().start(receiver)
        self._loop.add_reader(self._fd, self._read_batch)
        if self._carrier is not None:
            self._carrier.start(self._loop)

    def _link_changed(self, up: bool) -> None:
        if not self._failed:
            self.on_link(up)

    def stop(self) -> None:
        """End the receive coroutine; nothing is read any more."""
        if self._fd >= 0:
            self._watch_no_more()
        super().stop()

    def _fail(self, error: OSError) -> None:
        """The interface is gone: say so once. Its fd polls as ready for ever, so the loop must forget it."""
        if self._failed or self._fd < 0:
            return
        self._failed = True
        self._watch_no_more()
        self._drop_pending(self._fd)
        self.writable = False
        reason = OSError(errno.ENETDOWN, f"interface {self.name} is gone: {error.strerror}")
        reason.__cause__ = error
        self._loop.call_soon(self._tell_down, reason)

    def _tell_down(self, reason: OSError) -> None:
        if self._fd >= 0:
            self.on_down(reason)

    # receive

    def _read_batch(self) -> None:
        fd, plain = self._fd, not self._vnet_header
        frames: list[Frame] = []
        size = 0
        failure: OSError | None = None
        until = monotonic() + BATCH_SECONDS
        try:
            while size < BATCH_BYTES and len(frames) < BATCH_FRAMES and monotonic() < until:
                data = os.read(fd, READ_SIZE)
                size += len(data)
                frames.append(Frame(memoryview(data)) if plain else parse_frame(data))
        except BlockingIOError:
            pass
        except WireError:
            self.counters["device.malformed"] += 1
        except OSError as exc:
            failure = exc
        if self._forgetful and self._watch_handle is None:
            self._watch_handle = self._loop.call_later(WATCH_SECONDS if frames else 0.0, self._watch_again)
        if frames:
            self.deliver(frames)
        if failure is not None:
            self._fail(failure)

    def _watch_again(self) -> None:
        """uvloop watches an fd no longer once it polled with an error. That is before reads fail, if the kernel is
        deleting the interface just then: so a while after the last frame, and when there was none, look again."""
        self._watch_handle = None
        self._loop.remove_reader(self._fd)
        self._loop.add_reader(self._fd, self._read_batch)

    def _watch_no_more(self) -> None:
        self._loop.remove_reader(self._fd)
        if self._watch_handle is not None:
            self._watch_handle.cancel()
            self._watch_handle = None

    # send

    def send(self, frame: OutgoingFrame) -> bool:
        """Write one frame; what the fd has no room for is kept, one frame, and `writable` is False till it left."""
        if not self.writable:
            self.counters["device.no_room"] += 1
            return False
        parts = frame.parts
        if len(parts) > MAX_BUFFERS:
            parts = (b"".join(parts),)
        buffers = (self._header(frame), *parts) if self._vnet_header else parts
        try:
            os.writev(self._fd, buffers)
            return True
        except OSError as exc:
            return self._not_sent(exc, buffers)

    def _header(self, frame: OutgoingFrame) -> bytes:
        if not frame.checksum_start:
            return virtio_net.PLAIN
        ipv6 = reduced = False
        if frame.gso_size:
            # the EtherType of IPv6 is 86DD, of IPv4 0800
            first = frame.parts[0]
            ipv6 = first[12] == 0x86 if self.ethernet else first[0] >> 4 == 6
            reduced = _has_cwr(frame)
        key = (frame.checksum_start, frame.checksum_offset, frame.gso_size, ipv6, reduced)
        header = self._headers.get(key)
        if header is None:
            if len(self._headers) >= HEADER_CACHE:
                self._headers.clear()
            header = self._headers[key] = build_header(*key)
        return header

    def _not_sent(self, error: OSError, buffers: Sequence[Buffer]) -> bool:
        """What to do with a frame that the kernel did not take. True: it is kept and leaves later."""
        if error.errno in NO_ROOM:
            self._pending = buffers
            self.writable = False
            self._loop.add_writer(self._fd, self._write_pending)
            return True
        if error.errno in GONE:
            self._fail(error)
        elif error.errno == errno.EIO:
            # Down, but there: a cable pulled. Connections outlive that, so it is a loss and no end.
            self.counters["device.interface_down"] += 1
        else:
            self.counters["device.refused"] += 1
        return False

    def _write_pending(self) -> None:
        buffers = self._pending
        if buffers is None:
            return
        try:
            os.writev(self._fd, buffers)
        except OSError as exc:
            if exc.errno in NO_ROOM:
                return
            self._not_sent(exc, buffers)
        if not self._failed:
            self._drop_pending(self._fd)
            self.writable = True
            self.on_writable()

    def _drop_pending(self, fd: int) -> None:
        if self._pending is not None:
            self._pending = None
            self._loop.remove_writer(fd)


def parse_frame(data: bytes) -> Frame:
    """A frame as read: virtio-net header and packet. Raises WireError if it is shorter than the header.

    Fields that do not fit the packet are taken as absent; the transport's checksum then decides.
    """
    valid, gso_size, start, offset = _facts(data[:HEADER_SIZE])
    packet = memoryview(data)[HEADER_SIZE:]
    if start and start + offset + 2 > len(packet):
        return Frame(packet)
    return Frame(packet, valid, gso_size, start, offset)


@lru_cache(maxsize=HEADER_CACHE)
def _facts(header: bytes) -> tuple[bool, int, int, int]:
    """What a virtio-net header, of which there are few different ones, says to `Frame`."""
    flags, gso_type, _, gso_size, start, offset = virtio_net.parse(memoryview(header))
    if gso_type & ~virtio_net.GSO_ECN not in (GSO_TCPV4, GSO_TCPV6):
        gso_size = 0
    if flags & F_NEEDS_CSUM:
        return (True, gso_size, start, offset) if start else (False, 0, 0, 0)
    return flags & F_DATA_VALID != 0, gso_size, 0, 0


def _has_cwr(frame: OutgoingFrame) -> bool:
    """Whether a TCP super-segment has CWR set, which only its first piece may keep."""
    at = frame.checksum_start + TCP_FLAGS
    for part in frame.parts:
        if at < len(part):
            return part[at] & CWR != 0
        at -= len(part)
    return False


def build_header(
    checksum_start: int, checksum_offset: int, gso_size: int, ipv6: bool, cwr: bool = False
) -> bytes:
    """The virtio-net header for a partial checksum, and for a TCP super-segment if `gso_size` is not 0."""
    gso_type, header_length = virtio_net.GSO_NONE, 0
    if gso_size:
        gso_type = (GSO_TCPV6 if ipv6 else GSO_TCPV4) | (virtio_net.GSO_ECN if cwr else 0)
        header_length = checksum_start + 20  # a hint; the kernel looks at the TCP header itself
    return virtio_net.build(F_NEEDS_CSUM, gso_type, header_length, gso_size, checksum_start, checksum_offset)
