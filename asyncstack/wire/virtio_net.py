"""The header before each frame of a TUN/TAP device with IFF_VNET_HDR (virtio 1.2, 5.1.6; linux/virtio_net.h).

parse(data: memoryview) -> (flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)
build(flags, gso_type, hdr_len, gso_size, csum_start, csum_offset) -> bytes     10 bytes, in the host's byte order

Offsets count from the end of this header, sizes are bytes. `csum_offset` counts from `csum_start`.
"""

from __future__ import annotations

import struct
from typing import Final

from asyncstack.errors import WireError

HEADER_SIZE: Final = 10

# flags
F_NEEDS_CSUM: Final = 1  # the checksum is partial: complete it from csum_start on
F_DATA_VALID: Final = 2  # the checksum was checked

# gso_type
GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_UDP: Final = 3  # UFO: to be cut into IP fragments
GSO_TCPV6: Final = 4
GSO_UDP_L4: Final = 5  # USO: to be cut into datagrams
GSO_ECN: Final = 0x80  # or-ed: TCP with CWR set

PLAIN: Final = bytes(HEADER_SIZE)  # the header of a frame that asks for nothing

_HEADER = struct.Struct("=BBHHHH")
_unpack_from = _HEADER.unpack_from

Fields = tuple[int, int, int, int, int, int]


def parse(data: memoryview) -> Fields:
    """The fields as they are: whether they fit the frame is for the device to judge. Raises WireError."""
    if len(data) < HEADER_SIZE:
        raise WireError(f"virtio-net: {len(data)} bytes, a header has 10")
    return _unpack_from(data)


build = _HEADER.pack
