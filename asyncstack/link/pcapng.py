"""The blocks of a pcapng file (draft-ietf-opsawg-pcapng section 4) that a capture needs, little-endian.

dpkt makes the blocks that come once. A packet's block is built here, in a fraction of the time.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

LINKTYPE_ETHERNET: Final = 1
LINKTYPE_RAW: Final = 101  # starts at the IP header, of either version
NANOSECONDS: Final = 9  # if_tsresol: timestamps count units of 10**-9 s
INBOUND: Final = 1
OUTBOUND: Final = 2

_ENHANCED_PACKET: Final = 6
# block type, block length, interface, timestamp (high and low half), captured length, original length
_HEAD: Final = Struct("<IIIIIII")
# option epb_flags, its length, the flags; end of options; block length
_TAIL: Final = Struct("<HHIII")
_EPB_FLAGS: Final = 2


def section_header() -> bytes:
    """The block that a file starts with."""
    from dpkt import pcapng

    application = pcapng.PcapngOptionLE(code=pcapng.PCAPNG_OPT_SHB_USERAPPL, data=b"asyncstack")
    return bytes(pcapng.SectionHeaderBlockLE(opts=[application, pcapng.PcapngOptionLE()]))


def interface_description(name: str, link_type: int) -> bytes:
    """Declares the next interface; packets refer to interfaces by number, from 0 in the order of these blocks."""
    from dpkt import pcapng

    options = [
        pcapng.PcapngOptionLE(code=pcapng.PCAPNG_OPT_IF_NAME, data=name.encode()),
        pcapng.PcapngOptionLE(code=pcapng.PCAPNG_OPT_IF_TSRESOL, data=bytes([NANOSECONDS])),
        pcapng.PcapngOptionLE(),
    ]
    return bytes(pcapng.InterfaceDescriptionBlockLE(linktype=link_type, snaplen=0, opts=options))


def packet(interface: int, nanoseconds: int, size: int, direction: int) -> tuple[bytes, bytes]:
    """What goes before and after the `size` bytes of a packet. `direction` is INBOUND or OUTBOUND."""
    padding = -size % 4
    length = _HEAD.size + size + padding + _TAIL.size
    high, low = nanoseconds >> 32 & 0xFFFFFFFF, nanoseconds & 0xFFFFFFFF
    head = _HEAD.pack(_ENHANCED_PACKET, length, interface, high, low, size, size)
    return head, bytes(padding) + _TAIL.pack(_EPB_FLAGS, 4, direction, 0, length)
