"""What a router under load does to a packet of a sender that knows ECN: it sets CE (RFC 3168 5)."""

from __future__ import annotations

from asyncstack.wire.checksum import checksum

CE = 3
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"


def marked(data: bytes, link_header: int) -> bytes:
    """The frame `data`, whose IP packet begins after `link_header` bytes, with CE set; `data` itself if it is no IP
    packet, Not-ECT, or marked already."""
    kind = data[12:14] if link_header else (_IPV6 if data[:1] >= b"\x60" else _IPV4)
    packet = bytearray(data)
    at = link_header
    if kind == _IPV4 and len(data) >= at + 20:
        end = at + (data[at] & 0x0F) * 4
        if data[at + 1] & CE in (0, CE):
            return data
        packet[at + 1] |= CE
        packet[at + 10 : at + 12] = b"\0\0"
        packet[at + 10 : at + 12] = checksum(packet[at:end]).to_bytes(2, "big")
        return bytes(packet)
    if kind == _IPV6 and len(data) >= at + 40 and data[at + 1] >> 4 & CE not in (0, CE):
        packet[at + 1] |= CE << 4
        return bytes(packet)
    return data
