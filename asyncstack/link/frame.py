"""What crosses a device: bytes, and the facts that a virtio-net header holds about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Buffer = bytes | bytearray | memoryview


@dataclass(slots=True)
class Frame:
    """A received frame: `data` starts at the Ethernet header, or at the IP header on a TUN.

    `checksum_valid`: no look at the transport checksum is needed. When `checksum_start` is not 0 the
    checksum in `data` is partial (it never crossed a wire): the sum from `checksum_start` on belongs at
    `checksum_start + checksum_offset`. `gso_size` is the payload per wire segment of a super-segment, else 0.
    """

    data: memoryview
    checksum_valid: bool = False
    gso_size: int = 0
    checksum_start: int = 0
    checksum_offset: int = 0


@dataclass(slots=True)
class OutgoingFrame:
    """A frame to send: buffers that leave as one, header first.

    `checksum_start` (bytes from the start of the frame; 0 means that the checksum is complete): the transport
    header there holds only its pseudo-header sum at `checksum_offset`. `gso_size` not 0 marks a TCP
    super-segment that leaves the wire in pieces of that many payload bytes.
    """

    parts: Sequence[Buffer]
    checksum_start: int = 0
    checksum_offset: int = 0
    gso_size: int = 0

    def __len__(self) -> int:
        return sum(map(len, self.parts))
